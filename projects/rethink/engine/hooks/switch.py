"""A guard for configs that change their detector on the way, which not every tool knows how to train."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...errors import ConfigError


@HOOKS.register_module()
class SwitchHook(Hook):
    """Refuses to train the second part of a config with ``switch_from`` from the beginning.

    Our ``tools/train.py`` trains the first part first (:mod:`rethink.engine.switch`). MMDetection's does not know of
    it and would train the second one all the way, which is another experiment.

    Raises:
        ConfigError: when training starts before the iteration of the switch.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        spec = runner.cfg.get('switch_from')
        if spec and runner.iter < spec['iteration']:
            raise ConfigError(
                f'the config trains {spec["config"]} up to iteration {spec["iteration"]} first (switch_from), which '
                'this tool does not do; train it with tools/train.py of rethink, or take switch_from=None to train '
                'its model from the beginning.'
            )
