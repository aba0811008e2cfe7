"""What the wheel carries."""

import email
from pathlib import Path

import rethink
import yaml
from modelindex.load_model_index import load

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_carries_configs_tools_and_model_index(wheel):
    mim = wheel / 'rethink' / '.mim'
    for folder in ('configs', 'tools'):
        here = {
            str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob('*') if path.suffix in ('.py', '.sh', '.yml')
        }
        assert here <= {str(path.relative_to(mim)) for path in mim.rglob('*')}
    index = yaml.safe_load((mim / 'model-index.yml').read_text())
    for name in index['Import']:
        assert all((mim / model['Config']).is_file() for model in yaml.safe_load((mim / name).read_text())['Models'])
    assert not list(wheel.rglob('__pycache__')) and not (wheel / 'tests').exists()
    assert (wheel / 'rethink' / 'ops/extension.py').is_file()


def test_what_the_wheel_says_of_itself(wheel):
    """`mim` finds the package of a distribution that is called otherwise by top_level.txt."""
    (metadata,) = wheel.glob('rethink_detection-*.dist-info')
    assert metadata.name == f'rethink_detection-{rethink.__version__}.dist-info'
    assert (metadata / 'top_level.txt').read_text() == 'rethink\n'
    fields = email.message_from_string((metadata / 'METADATA').read_text())
    assert fields['Name'] == 'rethink-detection' and fields['License-Expression'] == 'Apache-2.0'
    # Two families of packages have the import names that it needs: neither may be installed on top of the other.
    assert fields.get_all('Requires-Dist') is None


def test_the_index_can_be_listed_by_mim(wheel):
    """``python -m mim search rethink`` reads the index with this loader and joins what is a list as texts."""
    index = load(str(wheel / 'rethink' / '.mim' / 'model-index.yml'))
    assert {model.config.split('/')[1] for model in index.models} == {'rethink', 'hpt', 'frozen'}
    for part in [*index.models, *index.collections]:
        for key, value in part.metadata.data.items():
            assert not isinstance(value, list) or all(isinstance(one, str) for one in value), (part.name, key)
