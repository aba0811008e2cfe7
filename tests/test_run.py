"""``python -m rethink.run``: MMDetection's scripts as they are, with rethink imported first."""

import json
import os
import pickle
import re
import subprocess
import sys

import cv2
import pytest
from conftest import ROOT, run_tool, write_coco, write_detector
from rethink.errors import ConfigError
from rethink.run import find, folder, listing
from warm_python import warm_python

SCRIPTS = ['confusion_matrix', 'browse_dataset', 'get_flops', 'analyze_results', 'eval_metric']


def run(*arguments, cwd=ROOT, cold=False, **environment) -> subprocess.CompletedProcess:
    env = os.environ | dict(CUDA_VISIBLE_DEVICES='', MPLBACKEND='Agg') | environment
    command = [sys.executable if cold else warm_python(), '-m', 'rethink.run', *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture(scope='module')
def tested(tmp_path_factory):
    """A folder with ``tiny.py`` and its predictions ``found.pkl``."""
    at = tmp_path_factory.mktemp('run')
    more = "model['test_cfg']['score_thr'] = 0.0"
    config = write_detector(at / 'tiny.py', write_coco(at / 'data', images=4), more)
    for tool, *arguments in (
        ('train.py', config, '--work-dir', at / 'work', '--cfg-options', 'train_cfg.max_iters=2', 'val_cfg=None',
         'val_dataloader=None', 'val_evaluator=None', 'train_cfg.val_interval=9'),
        ('test.py', config, at / 'work/iter_2.pth', '--out', at / 'found.pkl', '--work-dir', at / 'test'),
    ):  # fmt: skip
        done = run_tool(tool, *arguments)
        assert done.returncode == 0, done.stderr
    return at


def ran(at, *arguments, cold=False):
    done = run(*arguments, cwd=at, cold=cold)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_confusion_matrix(tested):
    ran(tested, 'confusion_matrix.py', 'tiny.py', 'found.pkl', 'matrix', '--score-thr', 0, cold=True)
    assert cv2.imread(str(tested / 'matrix/confusion_matrix.png')) is not None


def test_browse_dataset(tested):
    ran(tested, 'analysis_tools/browse_dataset.py', 'tiny.py', '--output-dir', 'seen', '--not-show')
    assert sorted(path.name for path in (tested / 'seen').iterdir()) == [f'{index:03d}.png' for index in range(4)]
    assert all(cv2.imread(str(path)).shape[2] == 3 for path in (tested / 'seen').iterdir())


def test_values_of_cfg_options_keep_their_spaces(tested):
    """MMEngine's DictAction takes them away; MMDetection's script then finds no such folder."""
    (tested / 'my data').symlink_to(tested / 'data')
    roots = [f'{part}_dataloader.dataset.data_root={tested}/my data/' for part in ('train', 'val')]
    options = ['--output-dir', 'spaces', '--not-show', '--cfg-options', *roots]
    ran(tested, 'analysis_tools/browse_dataset.py', 'tiny.py', *options)
    assert len(list((tested / 'spaces').iterdir())) == 4
    done = run('browse_dataset.py', 'tiny.py', '--not-show', '--cfg-options', 'model', cwd=tested)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.splitlines()[-1].startswith("error: --cfg-options: the override 'model' is not of the form")


def test_a_config_of_a_package_is_its_file(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text('import sys\nprint(*sys.argv[1:], sep="\\n")\n')
    given = 'rethink::rethink/scratch_r50_gn_6x.py', 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', 'a::b', '--x'
    ours, theirs, *rest = ran(tmp_path, script, *given).splitlines()
    assert os.path.samefile(ours, ROOT / 'configs/rethink/scratch_r50_gn_6x.py') and os.path.isfile(theirs)
    assert theirs.endswith(given[1].partition('::')[2]) and rest == ['a::b', '--x']
    done = run(script, 'rethink::rethink/scratch_r50_gn_7x.py', cwd=tmp_path)
    assert done.returncode == 2 and 'scratch_r50_gn_7x' in done.stderr and done.stderr.count('\n') == 1


def test_get_flops(tested):
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    printed = ran(tested, 'get_flops.py', 'tiny.py', '--num-images', 2)
    assert re.search(r'Flops: [\d.]+M', printed)
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(tested / 'tiny.py').model)
    number = sum(value.numel() for value in model.parameters())
    assert f'Params: {number / 1000:.3f}K'.rstrip('0') in printed


def test_analyze_results(tested):
    ran(tested, 'mmdet::analysis_tools/analyze_results.py', 'tiny.py', 'found.pkl', 'results', '--topk', 1)
    assert [len(list((tested / 'results' / name).iterdir())) for name in ('good', 'bad')] == [1, 1]


def test_eval_metric_gives_what_the_metric_gives(tested):
    printed = ran(tested, 'eval_metric', 'tiny.py', 'found.pkl')
    (of_test,) = (tested / 'test').glob('*/*.json')
    for name, value in json.loads(of_test.read_text()).items():
        if name.startswith('coco/'):
            assert f"'{name}': {value}" in printed


def test_a_pickle_that_would_run_code_is_refused(tested):
    class Evil:
        def __reduce__(self):
            return os.system, (f'touch {tested}/ran',)

    (tested / 'evil.pkl').write_bytes(pickle.dumps([Evil()]))
    done = run('eval_metric.py', 'tiny.py', 'evil.pkl', cwd=tested)
    assert done.returncode == 2 and not (tested / 'ran').exists()
    assert done.stderr.strip().splitlines()[-1].startswith('error: ')
    assert 'holds more than values' in done.stderr


def test_the_list_has_all_of_them_and_imports_nothing():
    done = run()
    assert done.returncode == 0 and done.stdout.strip() == listing()
    assert done.stdout.index('rethink, in ') < done.stdout.index('mmdet, in ')
    of_mmdet = done.stdout[done.stdout.index('mmdet, in ') : done.stdout.index('mmpretrain, in ')]
    assert all(f'{name}.py' in of_mmdet for name in SCRIPTS)
    own = done.stdout[: done.stdout.index('mmdet, in ')]
    assert all(path.name in own for path in (ROOT / 'tools').rglob('*.py'))


def test_of_two_that_have_a_name_ours_is_first():
    script, others = find('train.py')
    assert script == ROOT / 'tools/train.py' and others[0] == 'mmdet::train.py'
    script, others = find('mmdet::train')
    assert script == folder('mmdet') / 'train.py' and others == []
    script, others = find('browse_dataset')
    assert script == folder('mmdet') / 'analysis_tools/browse_dataset.py'
    assert 'mmdet::analysis_tools/mot/browse_dataset.py' in others
    done = run('print_config.py', '--help')
    assert done.returncode == 0 and 'of this name there is also mmdet::misc/print_config.py' in done.stderr


def test_a_file_runs_as_python_runs_it(tmp_path):
    (tmp_path / 'beside.py').write_text('value = 7\n')
    (tmp_path / 'mine.py').write_text(
        'import sys\nfrom beside import value\nfrom mmcv.ops import nms\nprint(__name__, __file__, value, sys.argv)\n'
    )
    done = run('mine.py', 'a', '--b', cwd=tmp_path, cold=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ['__main__', 'mine.py', '7', "['mine.py',", "'a',", "'--b']"]
    (tmp_path / 'fails.py').write_text('import sys\nsys.exit(5)\n')
    assert run(tmp_path / 'fails.py').returncode == 5


def test_what_is_none_is_told():
    for name in ('no_such_tool.py', 'mmdet::train.txt', 'none::train.py'):
        with pytest.raises(ConfigError, match='there is no script'):
            find(name)
    done = run('no_such_tool.py')
    assert done.returncode == 2 and done.stderr.startswith('error: there is no script no_such_tool.py')
