"""The wheel: what it carries, and that another project can build on its configs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import rethink
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The unpacked wheel, built from the files that git knows of."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    files = subprocess.run(['git', 'ls-files'], cwd=ROOT, text=True, capture_output=True, check=True).stdout.split(
        '\n'
    )
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = folder.glob('rethink-*.whl')
    zipfile.ZipFile(built).extractall(folder / 'site')
    return folder / 'site'


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
    assert (wheel / 'rethink' / 'ops.py').is_file()


def test_another_project_builds_on_a_config_of_the_wheel(wheel, tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = __import__('rethink').config_path('rethink/scratch_r50_gn_6x.py')\nmax_iters = 7\n"
    )
    script = (
        'import rethink; from mmengine.config import Config; c = Config.fromfile("mine.py"); '
        'print(rethink.__file__, c.max_iters, c.model.backbone.frozen_stages, c.param_scheduler[1].milestones)'
    )
    environment = {**os.environ, 'PYTHONPATH': str(wheel)}
    done = subprocess.run(
        [sys.executable, '-c', script], cwd=tmp_path, env=environment, text=True, capture_output=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f'{wheel}/rethink/__init__.py 7 -1 [480000, 520000]'


def test_config_path_of_the_checkout():
    assert rethink.config_path('rethink/scratch_r50_gn_6x.py') == str(ROOT / 'configs/rethink/scratch_r50_gn_6x.py')
    with pytest.raises(FileNotFoundError, match=r"no config 'rethink/scratch_r50_7x\.py' in .*; name one by its path"):
        rethink.config_path('rethink/scratch_r50_7x.py')
