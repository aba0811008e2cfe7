"""A training that is resumed with another config: what the checkpoint would override is asked for, not ignored."""

import itertools
import json
import os
import re

import pytest
import torch
from conftest import write_detector
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from rethink.checks import resumable
from rethink.configs import provenance
from rethink.engine import launch, resuming
from rethink.errors import ConfigError
from rethink.trust.checkpoints import latest_checkpoint
from torch import nn
from torch.utils.data import DataLoader
from web_server import web_server

BEFORE = dict(
    optim_wrapper=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.1),
        paramwise_cfg=dict(norm_decay_mult=0.0),
    ),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
        dict(type='MultiStepLR', by_epoch=False, begin=0, end=8, milestones=[6, 7]),
    ],
    train_cfg=dict(type='IterBasedTrainLoop', max_iters=8),
)


def config(tmp_path, **changed) -> Config:
    """That of :data:`BEFORE` with other values, to be resumed from a checkpoint that has it within."""
    text = Config(BEFORE).pretty_text
    torch.save(dict(meta=dict(cfg=text, iter=4, epoch=0), state_dict={}), tmp_path / 'iter_4.pth')
    cfg = Config(BEFORE, filename=None)
    cfg.merge_from_dict(changed)
    cfg.load_from, cfg.resume = str(tmp_path / 'iter_4.pth'), True
    return cfg


RATE = {'optim_wrapper.optimizer.lr': 0.02}
MANY = RATE | {
    'optim_wrapper.optimizer.nesterov': True,
    'optim_wrapper.paramwise_cfg.norm_decay_mult': 1.0,
    'param_scheduler.1.milestones': [10, 12],
    'param_scheduler.1.end': 16,
    'train_cfg.max_iters': 16,
}
NAMES = [
    'param_scheduler[1].end',
    'param_scheduler[1].milestones',
    'optim_wrapper.optimizer.lr',
    'optim_wrapper.optimizer.nesterov',
    'optim_wrapper.paramwise_cfg.norm_decay_mult',
    'train_cfg.max_iters',
]


def test_what_differs_is_listed_with_both_values(tmp_path):
    cfg = config(tmp_path, **MANY)
    found = resuming.changes(BEFORE, cfg)
    assert [one.name for one in found] == NAMES
    assert found[1][1:] == ([6, 7], [10, 12]) and found[2][1:] == (0.01, 0.02)
    with pytest.raises(ConfigError) as error:
        resuming.settle(cfg, None)
    text = str(error.value)
    assert all(name in text for name in NAMES) and '\n' not in text
    assert 'optim_wrapper.optimizer.lr 0.01 there, 0.02 here' in text
    assert '--resume-with new' in text and '--resume-with old' in text


def test_what_a_checkpoint_does_not_override_is_nobodys_business(tmp_path, capsys):
    cfg = config(
        tmp_path, **{'optim_wrapper.clip_grad': dict(max_norm=1), 'optim_wrapper.type': 'AmpOptimWrapper', 'x': 1}
    )
    assert resuming.settle(cfg, None) is False
    assert not capsys.readouterr().out


def test_a_tuple_is_a_list(tmp_path):
    assert resuming.settle(config(tmp_path, **{'param_scheduler.1.milestones': (6, 7)}), None) is False


def test_another_number_of_schedulers(tmp_path):
    cfg = config(tmp_path)
    cfg.param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, T_max=8)]
    with pytest.raises(ConfigError, match=r'param_scheduler\[0\].type LinearLR there, CosineAnnealingLR here'):
        resuming.settle(cfg, None)


def test_a_longer_training_goes_on_and_is_told_what_its_schedule_is(tmp_path, capsys):
    assert resuming.settle(config(tmp_path, **{'train_cfg.max_iters': 16}), None) is False
    (line,) = capsys.readouterr().out.splitlines()
    assert 'train_cfg.max_iters is 16, and was 8' in line and 'param_scheduler.1.milestones [6, 7]' in line


def test_with_the_old_config_all_of_it_holds(tmp_path, capsys):
    cfg = config(tmp_path, **MANY)
    assert resuming.settle(cfg, 'old') is False
    assert resuming.changes(BEFORE, cfg) == []
    assert cfg.train_cfg.max_iters == 8 and 'nesterov' not in cfg.optim_wrapper.optimizer
    said = capsys.readouterr().out
    assert all(name in said for name in NAMES)


def test_what_is_taken_is_said(tmp_path, capsys):
    for which, first in (('new', '0.01 → 0.02'), ('old', '0.02 → 0.01')):
        assert resuming.settle(config(tmp_path, **RATE), which) is (which == 'new')
        assert first in capsys.readouterr().out


def test_a_checkpoint_without_a_config(tmp_path):
    cfg = config(tmp_path, **RATE)
    torch.save(dict(meta=dict(iter=4), state_dict={}), tmp_path / 'iter_4.pth')
    assert resuming.settle(cfg, None) is False


def test_a_training_keeps_its_seed(tmp_path, capsys):
    cfg = config(tmp_path, randomness=dict(seed=77))
    assert resuming.settle(cfg, None) is False
    content = torch.load(cfg.load_from)
    torch.save(content | dict(meta=content['meta'] | dict(seed=3)), cfg.load_from)
    for which in (None, 'new'):
        with pytest.raises(ConfigError, match='with the seed 3 and .* has 77, and a training keeps its seed'):
            resuming.settle(cfg, which)
    assert resuming.settle(cfg, 'old') is False
    assert cfg.randomness.seed == 3 and 'with the seed 3' in capsys.readouterr().out
    cfg.pop('randomness')
    assert resuming.settle(cfg, None) is False


# --- the schedule ----------------------------------------------------------------------------------------------------


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.rates = []

    def forward(self, numbers, mode):
        return dict(loss=self.layer(numbers).square().mean())

    def train_step(self, data, optim_wrapper):
        (group,) = optim_wrapper.param_groups
        self.rates.append((group['lr'], group['weight_decay'], group['momentum']))
        return super().train_step(data, optim_wrapper)


def train(folder, until, schedulers, by_epoch=False, resume=None, **optimizer):
    runner = Runner(
        model=Line(),
        work_dir=str(folder),
        train_dataloader=DataLoader(torch.ones(6, 2), batch_size=2, collate_fn=lambda n: dict(numbers=torch.stack(n))),
        train_cfg=dict(by_epoch=True, max_epochs=until) if by_epoch else dict(by_epoch=False, max_iters=until),
        optim_wrapper=dict(optimizer=dict(dict(type='SGD', lr=0.1, momentum=0.9), **optimizer)),
        param_scheduler=schedulers,
        default_hooks=dict(checkpoint=dict(type='AtomicCheckpointHook', interval=1, by_epoch=by_epoch)),
        load_from=resume,
        resume=resume is not None,
        experiment_name=f'{folder}',
    )
    resumable.guard(runner)
    if resume:
        resuming.use_new_schedule(runner)
    runner.train()
    return runner


OLD = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2)]
NEW = [
    dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=3),
    dict(type='MultiStepLR', by_epoch=False, milestones=[5, 7], gamma=0.3),
]
COSINE = [dict(type='CosineAnnealingLR', by_epoch=False, T_max=8, eta_min=0.001)]
EPOCHS = [dict(type='LinearLR', start_factor=0.5, by_epoch=False, end=4), dict(type='StepLR', step_size=1, gamma=0.5)]


@pytest.mark.parametrize(('schedulers', 'by_epoch'), [(NEW, False), (COSINE, False), (EPOCHS, True)])
def test_the_new_schedule_is_where_it_would_be(tmp_path, schedulers, by_epoch, monkeypatch):
    """To the bit that of a training that began with it, of another number of schedulers than the checkpoint has."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setattr('time.sleep', lambda seconds: None)  # of MMEngine, between two rounds of the data
    new = dict(lr=0.3, weight_decay=0.01, momentum=0.5)
    whole = train(tmp_path / 'whole', 3 if by_epoch else 9, schedulers, by_epoch, **new)
    before = train(tmp_path / 'old', 1 if by_epoch else 4, OLD, by_epoch)
    path = tmp_path / 'old' / ('epoch_1.pth' if by_epoch else 'iter_4.pth')
    after = train(tmp_path / 'new', 3 if by_epoch else 9, schedulers, by_epoch, str(path), **new)
    done = len(before.model.rates)
    assert after.model.rates == whole.model.rates[done:]
    assert after.model.rates[0] != before.model.rates[-1]
    # The momentum that was gathered, and not that of a beginning.
    states = [one.optim_wrapper.optimizer.state_dict()['state'] for one in (before, after)]
    assert states[1].keys() == states[0].keys() != set()


def logged(work_dir) -> dict[int, float]:
    logs = [log.read_text().splitlines() for log in sorted(work_dir.glob('*/vis_data/scalars.json'))]
    return {line['step']: line['lr'] for line in map(json.loads, itertools.chain(*logs)) if 'lr' in line}


def test_the_tool_asks_and_does_what_it_is_told(tmp_path, data, run_in_process, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)

    def run(name, *arguments):
        more = "val_dataloader = val_cfg = val_evaluator = None\nparam_scheduler = []\ntrain_cfg['max_iters'] = 4\n"
        file = write_detector(tmp_path / 'tiny.py', data, f"{more}visualizer['name'] = '{tmp_path}/{name}'")
        return run_in_process('train.py', file, '--work-dir', work_dir, *arguments)

    work_dir = tmp_path / 'work'
    code, printed = run('first', '--cfg-options', 'train_cfg.max_iters=2')
    assert code is None, printed
    rate = ('--cfg-options', 'optim_wrapper.optimizer.lr=0.02')
    code, printed = run('refused', '--resume', *rate)
    assert code == 2 and 'optim_wrapper.optimizer.lr 0.01 there, 0.02 here' in printed.splitlines()[-1]
    assert sorted(logged(work_dir)) == [1, 2]
    with web_server() as web:
        address = web.put('iter_2.pth', (work_dir / 'iter_2.pth').read_bytes())
        code, printed = run('address', '--resume', address, *rate)
    assert code == 2 and 'optim_wrapper.optimizer.lr 0.01 there, 0.02 here' in printed.splitlines()[-1]
    code, printed = run('new', '--resume', '--resume-with', 'new', *rate)
    assert code is None, printed
    assert logged(work_dir) == {1: 0.01, 2: 0.01, 3: 0.02, 4: 0.02}
    # Of iteration 4, whose config had the new rate.
    code, printed = run('old', '--resume', '--resume-with', 'old', '--cfg-options', 'train_cfg.max_iters=6')
    assert code is None and re.search(r'train_cfg.max_iters +6 → 4', printed), printed
    assert provenance.read(str(work_dir)).values['optim_wrapper']['optimizer']['lr'] == 0.02
    code, printed = run('without', '--resume-with', 'new')
    assert code == 2


def test_classes_in_another_order_or_with_other_names(tmp_path, data, run_in_process, monkeypatch):
    """What was learnt as one class would go on as another: the tool ends; a class that is called otherwise is said."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    content = json.loads((data / 'annotations.json').read_text())
    names = [one['name'] for one in content['categories']]

    def run(until: int, name: str, classes: list, *arguments):
        listed = [dict(id=names.index(one) + 1 if one in names else at, name=one) for at, one in enumerate(classes, 1)]
        annotations = tmp_path / f'{name}.json'
        annotations.write_text(json.dumps(content | dict(categories=listed)))
        more = 'val_dataloader = val_cfg = val_evaluator = None\nparam_scheduler = []\n'
        more += f"train_cfg['max_iters'] = {until}\n"
        more += f"train_dataloader['dataset'].update(ann_file='{annotations}', metainfo=dict(classes={classes}))\n"
        file = write_detector(tmp_path / 'tiny.py', data, f"{more}visualizer['name'] = '{tmp_path}/{name}'")
        return run_in_process('train.py', file, '--work-dir', tmp_path / 'work', *arguments)

    code, printed = run(2, 'first', names)
    assert code is None, printed
    code, printed = run(4, 'reversed', names[::-1], '--resume')
    last = printed.splitlines()[-1]
    assert code == 2 and "in another order (from place 1 on 'square', 'bar' and 'bar', 'square')" in last
    assert (
        'iter_2.pth' in last and 'what it learnt as one class goes on as another' in last and '--no-check' not in last
    )
    code, printed = run(4, 'renamed', ['square', 'Bar'], '--resume')
    assert code is None and "with other names (from place 2 on 'bar' and 'Bar')" in printed, printed
    assert sorted(logged(tmp_path / 'work')) == [1, 2, 3, 4]


# --- which checkpoint ------------------------------------------------------------------------------------------------


def write_checkpoint(path, iteration, optimizer=True):
    content = dict(meta=dict(iter=iteration, epoch=0), state_dict=dict(weight=torch.ones(3)))
    torch.save(dict(content, optimizer={}) if optimizer else content, path)


def test_without_a_pointer_the_iteration_in_the_file_decides(tmp_path, capsys):
    for number, time in ((2000, 3), (10000, 1), (9000, 2)):
        write_checkpoint(tmp_path / f'iter_{number}.pth', number)
        os.utime(tmp_path / f'iter_{number}.pth', (time, time))
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'iter_10000.pth')
    # A half one, and the best so far, which has no optimiser.
    whole = (tmp_path / 'iter_10000.pth').read_bytes()
    (tmp_path / 'iter_10000.pth').write_bytes(whole[:-100])
    write_checkpoint(tmp_path / 'best_coco_bbox_mAP_iter_12000.pth', 12000, optimizer=False)
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'iter_9000.pth')
    # One of another name (filename_tmpl).
    write_checkpoint(tmp_path / 'step11000.pth', 11000)
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'step11000.pth')
    assert 'there is no' in capsys.readouterr().out


def test_what_is_further_than_the_pointer_is_said(tmp_path, capsys):
    for number in (2, 8):
        write_checkpoint(tmp_path / f'iter_{number}.pth', number)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_2.pth'))
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'iter_2.pth')
    assert 'iter_8.pth is of iteration 8' in capsys.readouterr().out
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_8.pth'))
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'iter_8.pth')
    assert not capsys.readouterr().out


def test_a_training_that_begins_over_others_says_so(tmp_path, capsys):
    cfg = Config(dict(work_dir=str(tmp_path)))
    launch.use_resume(cfg, None)
    assert not capsys.readouterr().out
    write_checkpoint(tmp_path / 'iter_8.pth', 8)
    launch.use_resume(cfg, None)
    assert '1 checkpoint of an earlier training (the last, iter_8.pth, at iteration 8)' in capsys.readouterr().out
    launch.use_resume(cfg, 'auto')
    assert cfg.load_from == str(tmp_path / 'iter_8.pth')
