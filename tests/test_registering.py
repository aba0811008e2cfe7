"""In whose registries classes are looked for."""

from mmengine.registry import MODELS, DefaultScope
from rethink.registering import use_scope


def test_two_scopes_in_turn_are_each_in_use_and_nothing_is_said(capfd):
    kind = MODELS.switch_scope_and_registry
    for scope in ('mmdet', 'mmpretrain', 'mmdet', 'mmdet', 'mmpretrain', 'mmdet'):
        use_scope(scope)
        assert DefaultScope.get_current_instance().scope_name == scope
        with kind(None) as registry:
            assert registry.get('ResNet').__module__.split('.')[0] == scope
    assert capfd.readouterr() == ('', '')
