"""The switch from Mask R-CNN to a cascade: weights, momentum, schedule, both phases through the tool, wrong input."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mmdet
import pytest
import torch
from conftest import ROOT, run_tool
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from rethink.analysis.logs import read_run
from rethink.engine import scaling, switch
from rethink.errors import ConfigError
from warm_python import warm_python

CONFIG = 'configs/shapes/scratch_r18_gn_cascade_6x.py'


def config(work_dir, **switch_from) -> Config:
    register_all_modules()
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / CONFIG)
    cfg.work_dir, cfg.launcher = str(work_dir), 'none'
    cfg.switch_from.update(switch_from)
    return cfg


@pytest.mark.parametrize('agnostic', [True, False])
def test_every_stage_begins_with_the_boxes_of_mask_rcnn(agnostic):
    """The units of a stage differ; the box that comes out must not."""
    torch.manual_seed(0)
    old, classes, rois = 'roi_head.bbox_head.', 3, torch.tensor([[10.0, 20.0, 60.0, 50.0], [0.0, 0.0, 30.0, 90.0]])
    weights = {old + 'fc_reg.weight': torch.randn(4 * classes, 8) / 8, old + 'fc_reg.bias': torch.randn(4 * classes)}
    weights |= {old + 'fc_cls.weight': torch.randn(4, 8), 'roi_head.mask_head.x': torch.ones(1)}
    coder = dict(target_means=[0.0, 0.1, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2])
    stages = [
        ConfigDict(reg_class_agnostic=agnostic, bbox_coder=dict(target_means=[0.0] * 4, target_stds=stds))
        for stds in ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
    ]
    result = switch.seeded(weights, ConfigDict(bbox_coder=coder), stages)
    features = torch.rand(2, 8)
    deltas = features @ weights[old + 'fc_reg.weight'].T + weights[old + 'fc_reg.bias']
    if agnostic:
        deltas = deltas.reshape(2, classes, 4).mean(1)
    expected = DeltaXYWHBBoxCoder(**coder).decode(rois, deltas)
    assert (expected.reshape(2, -1, 4) - rois[:, None]).abs().max() > 1
    for number, stage in enumerate(stages):
        head = f'{old}{number}.'
        deltas = features @ result[head + 'fc_reg.weight'].T + result[head + 'fc_reg.bias']
        found = DeltaXYWHBBoxCoder(**stage.bbox_coder).decode(rois, deltas)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
        assert torch.equal(result[head + 'fc_cls.weight'], weights[old + 'fc_cls.weight'])
    assert torch.equal(result['roi_head.mask_head.x'], torch.ones(1)) and not any(
        'bbox_head.fc' in key for key in result
    )


def test_the_first_phase_is_the_same_training_with_another_model(tmp_path):
    cfg = config(tmp_path)
    first = switch.first_phase(cfg)
    plain = Config.fromfile(ROOT / 'configs/shapes/scratch_r18_gn_6x.py')
    assert first.model == plain.model and first.param_scheduler == plain.param_scheduler == cfg.param_scheduler
    assert first.train_cfg.max_iters == 1200 and cfg.train_cfg.max_iters == 1800
    for key in ('optim_wrapper', 'train_dataloader', 'val_evaluator'):
        assert first[key] == cfg[key] == plain[key]
    assert first.default_hooks == plain.default_hooks
    assert cfg.default_hooks == plain.default_hooks | dict(switch=dict(type='SwitchHook'))
    assert first.work_dir == str(tmp_path / 'before_switch') and 'switch_from' not in first
    fine_tuned = config(tmp_path)
    fine_tuned.load_from = 'detector.pth'
    assert switch.first_phase(fine_tuned).load_from == 'detector.pth', 'the training begins with the first part'
    overridden = switch.first_phase(config(tmp_path, model=dict(roi_head=dict(mask_head=dict(num_convs=2)))))
    assert overridden.model.roi_head.mask_head.num_convs == 2


def test_auto_scale_moves_the_switch_with_the_schedule(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/rethink/scratch_r50_gn_aug_cascade_9x.py')
    assert cfg.switch_from.iteration == 540_000
    scaling.scale(cfg, 1)
    assert cfg.train_cfg.max_iters == 8 * 810_000 and cfg.switch_from.iteration == 8 * 540_000


# --- through the tool ------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    numbers = ['--train', 24, '--val', 2, '--crop-train', 5, '--crop-val', 5]
    assert run_tool('dataset_converters/make_shapes.py', folder, *numbers).returncode == 0
    return folder / 'detection'


def options(shapes) -> list[str]:
    """Eight iterations, the switch after the fourth, drops after the sixth and seventh."""
    return [
        *[f'{name}_dataloader.dataset.data_root={shapes}/' for name in ('train', 'val')],
        *[f'{name}_dataloader.{key}' for name in ('train', 'val') for key in ('num_workers=0', 'batch_size=2')],
        *[f'{name}_dataloader.persistent_workers=False' for name in ('train', 'val')],
        f'val_evaluator.ann_file={shapes}/annotations/instances_val2017.json',
        'train_cfg.max_iters=8',
        'train_cfg.val_interval=8',
        'switch_from.iteration=4',
        'default_hooks.checkpoint.interval=2',
        'default_hooks.logger.interval=1',
        'log_processor.window_size=1',
        'param_scheduler.0.end=2',
        'param_scheduler.1.milestones=[6,7]',
        'param_scheduler.1.end=8',
        'randomness.seed=0',
    ]


def command(shapes, work_dir, *more) -> list[str]:
    return [warm_python(), 'tools/train.py', CONFIG, '--work-dir', work_dir, *more, '--cfg-options', *options(shapes)]


@pytest.fixture(scope='module')
def killed(shapes, tmp_path_factory):
    """A work directory of both phases, the second killed after its first checkpoint."""
    work_dir = tmp_path_factory.mktemp('work')
    env = os.environ | dict(CUDA_VISIBLE_DEVICES='')
    with open(work_dir / 'output', 'w') as output:
        process = subprocess.Popen(
            [str(part) for part in command(shapes, work_dir)], cwd=ROOT, env=env, stdout=output, stderr=output
        )
        # The file that names it comes after the checkpoint.
        while process.poll() is None and not (work_dir / 'last_checkpoint').exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (work_dir / 'iter_6.pth').exists(), (work_dir / 'output').read_text()[-3000:]
    return work_dir


def rates(work_dir) -> dict[int, float]:
    return {step: entry['lr'] for step, entry in read_run(work_dir).train.items()}


def load(path) -> dict:
    return torch.load(path, weights_only=False)


def test_both_phases_run_in_order_and_the_second_resumes(shapes, killed, tmp_path):
    work_dir = tmp_path / 'work'
    shutil.copytree(killed, work_dir)
    for path in (work_dir / 'last_checkpoint', work_dir / 'before_switch/last_checkpoint'):
        path.write_text(path.read_text().replace(str(killed), str(work_dir)))
    before = {path: path.stat().st_mtime_ns for path in (work_dir / 'before_switch').rglob('*.pth')}
    done = subprocess.run(
        [str(part) for part in command(shapes, work_dir, '--resume')], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in before} == before, 'the first phase is over'
    first, second = rates(work_dir / 'before_switch'), rates(work_dir)
    assert list(first) == [1, 2, 3, 4] and list(second) == [1, 2, 3, 4, 5, 6, 7, 8], 'both parts are one log'
    full = 0.04
    assert [first[3], first[4], second[5], second[6]] == [pytest.approx(full)] * 4
    assert [second[7], second[8]] == [pytest.approx(full / 10), pytest.approx(full / 100)]
    log = read_run(work_dir)
    assert 'coco/segm_mAP' in log.val[8]
    assert {'s0.loss_cls', 's2.loss_mask'} <= log.train[8].keys() and 'loss_mask' not in log.train[8]
    assert load(work_dir / 'iter_8.pth')['meta']['iter'] == 8


def test_what_is_carried_over(killed):
    before = load(killed / 'before_switch/iter_4.pth')
    after = load(killed / 'switched_at_4.pth')
    assert after['meta']['iter'] == 4 and after['param_schedulers'] == before['param_schedulers']
    cfg = config(killed)
    names = [name for name, _ in MODELS.build(cfg.model).named_parameters()]
    old_names = [name for name, _ in MODELS.build(switch.first_phase(cfg).model).named_parameters()]
    old, new = before['optimizer']['state'], after['optimizer']['state']
    carried = 0
    for index, name in enumerate(names):
        if name.startswith('roi_head.bbox_head.'):
            assert index not in new
        else:
            momentum = old[old_names.index(name)]['momentum_buffer']
            assert torch.equal(new[index]['momentum_buffer'], momentum) and momentum.abs().sum() > 0
            assert torch.equal(after['state_dict'][name], before['state_dict'][name])
            carried += 1
    assert carried > 80
    assert (
        after['message_hub']['runtime_info']['sampler_seed'] == before['message_hub']['runtime_info']['sampler_seed']
    )
    assert not {'keep_ckpt_ids', 'last_ckpt'} & set(after['message_hub']['runtime_info'])


def test_each_parameter_keeps_its_learning_rate_where_biases_have_another(killed, tmp_path):
    """Detectron's optimiser has a group for each parameter, and a cascade has other parameters than Mask R-CNN."""
    cfg = config(tmp_path, iteration=4)
    paramwise = Config.fromfile(ROOT / 'configs/rethink/scratch_r50_gn_aug_cascade_9x.py').optim_wrapper.paramwise_cfg
    cfg.optim_wrapper.paramwise_cfg = paramwise
    first = switch.first_phase(cfg)
    model = MODELS.build(first.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedulers = [PARAM_SCHEDULERS.build(dict(one, optimizer=wrapper)) for one in cfg.param_scheduler]
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    wrapper.step()
    content = load(killed / 'before_switch/iter_4.pth')
    content['optimizer'] = wrapper.state_dict()
    content['param_schedulers'] = [one.state_dict() for one in schedulers]
    torch.save(content, tmp_path / 'grouped.pth')

    after = switch.convert(cfg, first, str(tmp_path / 'grouped.pth'))
    cascade = MODELS.build(cfg.model)
    resumed = build_optim_wrapper(cascade, cfg.optim_wrapper)
    for one, state in zip(cfg.param_scheduler, after['param_schedulers'], strict=True):
        PARAM_SCHEDULERS.build(dict(one, optimizer=resumed)).load_state_dict(state)
    resumed.load_state_dict(after['optimizer'])
    old = dict(model.named_parameters())
    options = {
        name: (group['lr'], group['weight_decay'], group['initial_lr'])
        for (name, _), group in zip(cascade.named_parameters(), resumed.optimizer.param_groups, strict=True)
    }
    assert len(options) > len(old) and all(
        len(state['base_values']) == len(options) for state in after['param_schedulers']
    )
    warm = 0.04 / 3  # the first iteration of the warm-up
    for name, parameter in cascade.named_parameters():
        of_norm = isinstance(cascade.get_submodule(name.rpartition('.')[0]), torch.nn.GroupNorm)
        rate = 2 if name.endswith('.bias') and not of_norm else 1
        decay = 0.0 if parameter.dim() == 1 else 1e-4
        assert options[name] == (pytest.approx(warm * rate), decay, pytest.approx(0.04 * rate)), name
        if name in old:
            momentum = wrapper.optimizer.state[old[name]]['momentum_buffer']
            assert torch.equal(resumed.optimizer.state[parameter]['momentum_buffer'], momentum)
        else:
            assert name.startswith('roi_head.bbox_head.') and parameter not in resumed.optimizer.state
    first.optim_wrapper.paramwise_cfg = None
    with pytest.raises(ConfigError, match=r'has 124 groups of 124 .*set optim_wrapper\.paramwise_cfg to what it was'):
        switch.convert(cfg, first, str(tmp_path / 'grouped.pth'))


def test_the_first_phase_resumes_in_two_processes(shapes, killed, tmp_path):
    """Killed before the switch: one command goes on in the first phase and through the second."""
    first = tmp_path / 'before_switch'
    first.mkdir()
    shutil.copy(killed / 'before_switch/iter_2.pth', first)
    (first / 'last_checkpoint').write_text(str(first / 'iter_2.pth'))
    done = run_tool('dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, '--resume', '--cfg-options', *options(shapes))
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(rates(first)) == [3, 4] and list(rates(tmp_path)) == [3, 4, 5, 6, 7, 8]
    assert (tmp_path / 'iter_8.pth').exists()


# --- wrong input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(iteration=6), r'iter_4\.pth was saved at iteration 4, and the switch is at 6'),
        (
            dict(model=dict(backbone=dict(depth=34))),
            r'is not of the model that the training switches from .* match \(',
        ),
        (dict(iteration=1800), 'switch_from.iteration is 1800, which is not between 0 and train_cfg.max_iters, 1800'),
        (dict(config='nowhere.py'), 'the config nowhere.py of switch_from does not exist'),
        (dict(checkpiont='x.pth'), 'switch_from is dict'),
        (dict(config=str(ROOT / CONFIG)), 'and .* a single one'),
        (dict(model=dict(roi_head=dict(bbox_head=dict(fc_out_channels=64)))), 'cannot go on from the model of'),
    ],
)
def test_another_model_or_another_iteration_is_one_sentence(wrong, message, killed, shapes, tmp_path, monkeypatch):
    cfg = config(tmp_path, **(dict(checkpoint=str(killed / 'before_switch/iter_4.pth'), iteration=4) | wrong))
    if 'backbone' in wrong.get('model', {}):
        cfg.model.backbone.depth = 34
    with pytest.raises(ConfigError, match=message):
        next(switch.phases(cfg))
    assert not list(tmp_path.rglob('*.pth'))


def test_a_checkpoint_without_optimiser_is_one_sentence(killed, tmp_path, monkeypatch):
    content = load(killed / 'before_switch/iter_4.pth')
    del content['optimizer']
    torch.save(content, tmp_path / 'bare.pth')
    with pytest.raises(ConfigError, match=r'bare\.pth cannot be resumed from: it has no optimizer, without'):
        next(switch.phases(config(tmp_path, checkpoint=str(tmp_path / 'bare.pth'), iteration=4)))


def test_what_is_no_checkpoint_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / 'half.pth').write_bytes(b'PK\x03\x04 and no more')
    torch.save(dict(state_dict={}, meta=dict(iter=4), other=Path), tmp_path / 'code.pth')
    for name, message in (
        ('half', 'may be half-written|not a PyTorch checkpoint'),
        ('code', 'holds more than values'),
    ):
        with pytest.raises(ConfigError, match=message):
            next(switch.phases(config(tmp_path, checkpoint=str(tmp_path / f'{name}.pth'), iteration=4)))


def test_without_a_switch_there_is_one_training(tmp_path):
    cfg = Config.fromfile(Path(ROOT / 'configs/shapes/scratch_r18_gn_6x.py'))
    assert list(switch.phases(cfg)) == [cfg]


def test_mmdetections_own_tool_stops_before_training(shapes, tmp_path):
    """It knows nothing of the switch, and would train the cascade from the beginning."""
    tool = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'train.py'
    arguments = [CONFIG, '--work-dir', tmp_path, '--cfg-options', *options(shapes)]
    done = subprocess.run(
        [sys.executable, *map(str, [tool, *arguments])], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode != 0
    assert re.search(
        r'ConfigError: .*scratch_r18_gn_6x\.py up to iteration 4 first .*train it with tools/train\.py of rethink',
        done.stderr,
    )
    assert not read_run(tmp_path).train and not list(tmp_path.glob('*.pth'))
