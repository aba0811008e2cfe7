"""Detection of study B in miniature, through the scripts that a user calls, on a few generated scenes."""

import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import run_tool
from mmengine.runner import IterBasedTrainLoop, Runner, ValLoop
from rethink.analysis.logs import read_run
from rethink.configs.overrides import parse_options
from rethink.engine import launch
from rethink.engine.hooks import ReestimateBNHook

CONFIG = 'configs/shapes/finetune_r18_c4_mask_1x.py'
ITERS, INTERVAL = 6, 3
STATISTICS = ('running_mean', 'running_var')
# R18 has 20 layers of BN, and behind res5 there is one more.
LAYERS = 21


def sizes(**more) -> list[str]:
    """Overrides: iterations, images."""
    values = dict(
        {'train_cfg.max_iters': ITERS, 'train_cfg.val_interval': INTERVAL, 'default_hooks.checkpoint.interval': 3},
        **{'train_dataloader.batch_size': 4, 'default_hooks.logger.interval': 1, 'randomness.seed': 0},
        # A handful of iterations gives no box of a high score, and MMDetection logs no AP where there is none.
        **{'model.test_cfg.rcnn.score_thr': 0.0, 'custom_hooks.1.num_images': 14},
    )
    return [f'{key}={value}' for key, value in (values | more).items()]


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    numbers = ['--train', 16, '--val', 3, '--crop-train', 20, '--crop-val', 5]
    done = run_tool('dataset_converters/make_shapes.py', folder, *numbers)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='module')
def base(data, tmp_path_factory) -> Path:
    """The backbone of two iterations of MoCo on crops, as the hierarchy hands it on."""
    folder = tmp_path_factory.mktemp('base')
    images = dict(data_root=f'{data}/classification/', data_prefix='train')
    options = [f'train_dataloader.dataset.{key}={value}' for key, value in images.items()]
    options += ['train_dataloader.batch_size=8', 'train_cfg.max_iters=2', 'param_scheduler.0.end=2']
    options += ['model.queue_len=16']
    done = run_tool('train.py', 'configs/shapes/base_moco_r18.py', '--work-dir', folder, '--cfg-options', *options)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / 'backbone.pth'


def places(data: Path) -> list[str]:
    root = f'{data}/detection/'
    options = [f'{part}_dataloader.dataset.data_root={root}' for part in ('train', 'val', 'test')]
    return options + [
        f'{part}_evaluator.ann_file={root}annotations/instances_val2017.json' for part in ('val', 'test')
    ]


@pytest.fixture
def train(data, base, tmp_path, monkeypatch):
    """Train the miniature in this process with more overrides; its work directory, and BN at each evaluation."""
    monkeypatch.setenv('HPT_BASE', str(base))
    evaluated = []
    run_loop = ValLoop.run

    def watched(loop):
        state = loop.runner.model.state_dict()
        evaluated.append({key: one.clone() for key, one in state.items() if key.endswith(STATISTICS)})
        return run_loop(loop)

    monkeypatch.setattr(ValLoop, 'run', watched)

    def run(name, **more):
        # What MMEngine keeps for a whole process goes by these names.
        options = [*places(data), *sizes(**more), f'experiment_name={name}', f'visualizer.name={name}']
        cfg = launch.load_config(CONFIG, parse_options(options), str(tmp_path / name))
        evaluated.clear()
        Runner.from_cfg(cfg).train()
        return tmp_path / name, list(evaluated)

    return run


def weights(folder: Path, at: int) -> dict[str, torch.Tensor]:
    return torch.load(folder / f'iter_{at}.pth', weights_only=False)['state_dict']


def test_statistics_are_estimated_before_each_evaluation_and_change_nothing_else(base, train, capsys):
    precise, evaluated = train('precise')
    assert (
        f'{base} (base, written by MMPretrain or MMDetection): backbone 100 of 100 tensors' in capsys.readouterr().out
    )
    plain, _ = train('plain', **{'custom_hooks.1.interval': None})

    log = read_run(precise)
    assert set(log.train) == set(range(1, ITERS + 1)) and set(log.val) == {3, 6}
    assert all('coco/bbox_mAP' in entry and 'coco/segm_mAP' in entry for entry in log.val.values())
    # Training is the one without, number by number.
    losses, wanted = ([run.train[at]['loss'] for at in sorted(run.train)] for run in (log, read_run(plain)))
    assert losses == wanted
    # Six losses of six batches need not fall; that all of the model trains is seen by what has moved since.
    early, late = weights(plain, 3), weights(plain, 6)
    trained = [key for key in early if not key.endswith((*STATISTICS, 'num_batches_tracked'))]
    assert len(trained) > 3 * LAYERS and not [key for key in trained if torch.equal(early[key], late[key])]
    (text,) = [file.read_text() for file in precise.rglob('*.log')]
    # The last batch of 14 images would not be whole.
    estimated = re.findall(r'Estimated the statistics of (\d+) BN layers on (\d+) training images', text)
    assert estimated == [(str(LAYERS), '12')] * 2
    for at, seen in zip((3, 6), evaluated, strict=True):
        with_hook, without = weights(precise, at), weights(plain, at)
        changed = {key for key, value in with_hook.items() if not torch.equal(value, without[key])}
        assert len(changed) == 2 * LAYERS and all(key.endswith(STATISTICS) for key in changed)
        # Checkpoint and evaluation have the same.
        assert seen.keys() == changed and all(torch.equal(value, with_hook[key]) for key, value in seen.items())


@pytest.mark.parametrize(('begin', 'interval', 'length'), [(1, 4, 12), (1, 5, 12), (7, 3, 12), (1, 20, 12)])
def test_before_each_evaluation_is_when_the_loop_evaluates(begin, interval, length, monkeypatch):
    """Also where the last iteration is no multiple, and where evaluations begin late."""
    estimated, evaluated = [], []
    hook = ReestimateBNHook(num_images=8, interval='val')
    monkeypatch.setattr(hook, 'estimate', lambda runner: estimated.append(runner.iter + 1))
    runner = SimpleNamespace(iter=0, max_iters=length)
    monkeypatch.setattr(IterBasedTrainLoop, '__init__', lambda self: None)
    loop = runner.train_loop = IterBasedTrainLoop()
    loop._iter, loop._epoch, loop._max_iters, loop.val_begin, loop.val_interval = 0, 0, length, begin, interval
    loop.dynamic_milestones, loop.dynamic_intervals = [0], [interval]
    loop.stop_training, loop.dataloader_iterator, loop.dataloader = False, itertools.count(), []
    runner.val_loop = SimpleNamespace(run=lambda: evaluated.append(loop._iter))
    runner.call_hook = lambda *_, **__: None
    runner.model = torch.nn.Identity()
    loop._runner = runner

    def step(self, batch):
        hook.after_train_iter(runner, self._iter)
        self._iter += 1
        runner.iter = self._iter

    monkeypatch.setattr(IterBasedTrainLoop, 'run_iter', step)
    loop.run()
    assert estimated == evaluated and evaluated[-1] == length


def test_a_base_without_the_last_stage_is_one_sentence(data, base, tmp_path, monkeypatch, run_in_process):
    content = torch.load(base, weights_only=True)
    content['state_dict'] = {key: one for key, one in content['state_dict'].items() if '.layer4.' not in key}
    torch.save(content, tmp_path / 'part.pth')
    monkeypatch.setenv('HPT_BASE', str(tmp_path / 'part.pth'))
    options = [*places(data), *sizes(), 'experiment_name=part', 'visualizer.name=part']
    code, printed = run_in_process('train.py', CONFIG, '--work-dir', tmp_path / 'run', '--cfg-options', *options)
    (line,) = [line for line in printed.splitlines() if line.startswith('error: ')]
    assert code == 2 and "75 of 100 tensors match, 25 are missing ('layer4.0.bn1.bias'" in line
    assert not list(tmp_path.rglob('iter_*.pth'))


def test_two_processes_with_bn(data, base, tmp_path):
    """On CPU, where SyncBN cannot be in several processes; the estimate is of the images of both."""
    bn = {f'model.{part}.norm_cfg.type': 'BN' for part in ('backbone', 'roi_head.shared_head')}
    length = dict.fromkeys(['train_cfg.max_iters', 'train_cfg.val_interval', 'default_hooks.checkpoint.interval'], 2)
    options = [*places(data), *sizes(**bn, **length, **{'train_dataloader.batch_size': 2})]
    script = ['dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, '--cfg-options']
    done = run_tool(*script, *options, HPT_BASE=str(base), PORT='29647')
    assert done.returncode == 0, done.stderr[-3000:]
    log = read_run(tmp_path)
    assert set(log.train) == {1, 2} and {'coco/bbox_mAP', 'coco/segm_mAP'} <= log.val[2].keys()
    (text,) = [file.read_text() for file in tmp_path.rglob('*.log')]
    assert text.count(f'Estimated the statistics of {LAYERS} BN layers on 12 training images.') == 1
