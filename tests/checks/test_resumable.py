"""A checkpoint that is no place to go on from is refused in a sentence, before MMEngine makes anything of it."""

import copy
import functools
import itertools
import math
import os
import shutil

import pytest
import torch
from conftest import write_detector
from mmengine.model import BaseModel
from mmengine.runner import Runner
from rethink.checks import optimizer_state, resumable
from rethink.checks.weights import check_weights
from rethink.engine import launch
from rethink.errors import ConfigError
from torch import nn
from torch.utils.data import DataLoader

NAMES = itertools.count()


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))

    def forward(self, numbers, mode='tensor'):
        return dict(loss=self.layers(numbers).square().mean())


SGD = dict(type='SGD', lr=0.1, momentum=0.9)
ADAM = dict(type='AdamW', lr=0.1)


def runner(folder, until=4, optimizer=SGD, schedulers=None, **options):
    schedulers = schedulers or [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
        dict(type='MultiStepLR', by_epoch=False, milestones=[3], begin=0, end=8),
    ]
    built = Runner(
        model=Net(),
        work_dir=str(folder),
        train_dataloader=DataLoader(
            torch.randn(8, 2), batch_size=4, collate_fn=lambda n: dict(numbers=torch.stack(n))
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=until),
        optim_wrapper=dict(optimizer=optimizer) | options.pop('wrapper', {}),
        param_scheduler=schedulers,
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='AtomicCheckpointHook', interval=4, by_epoch=False),
        ),
        experiment_name=f'resumable{next(NAMES)}',
        **options,
    )
    resumable.guard(built)
    return built


@functools.cache
def kept(folder, kind):
    """The content of a checkpoint at iteration 4."""
    torch.manual_seed(0)
    options = dict(sgd={}, adam=dict(optimizer=ADAM), ema=dict(custom_hooks=[dict(type='EMAHook')]))[kind]
    runner(folder / kind, **options).train()
    return torch.load(folder / kind / 'iter_4.pth')


@pytest.fixture
def good(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / 'good'
    return lambda kind='sgd': copy.deepcopy(kept(folder, kind))


def resume(content, tmp_path, until=6, **options):
    path = tmp_path / 'iter_4.pth'
    torch.save(content, path)
    going_on = runner(tmp_path / 'work', until, load_from=str(path), resume=True, **options)
    going_on.train()
    return going_on


def refused(content, tmp_path, sentence, **options):
    """In one sentence, and before anything was trained."""
    with pytest.raises(ConfigError, match=sentence) as error:
        resume(content, tmp_path, **options)
    assert '\n' not in str(error.value) and str(error.value).endswith('.') and len(str(error.value)) < 500
    assert not (tmp_path / 'work' / 'last_checkpoint').exists()


def put(content, place, value):
    *way, last = place
    for key in way:
        content = content[key]
    if value is GONE:
        del content[last]
    else:
        content[last] = value


GONE = object()
NAN = math.nan


@pytest.mark.parametrize('kind', ['sgd', 'adam', 'ema'])
def test_a_good_one_is_gone_on_from(good, tmp_path, kind, capsys):
    options = dict(sgd={}, adam=dict(optimizer=ADAM), ema=dict(custom_hooks=[dict(type='EMAHook')]))[kind]
    assert resume(good(kind), tmp_path, **options).iter == 6
    assert 'brings its schedule' not in capsys.readouterr().out


NO_NUMBERS = (-1, 2**63, 10**30, 1.5, NAN, True, '4', None)
WRONG = [
    *(('meta', value, 'meta is .* and not a dict') for value in (None, [], 'x', 3, 1.5, torch.zeros(0))),
    *((part, GONE, f'has no {part}') for part in ('meta', 'message_hub')),
    *(
        ('meta.iter', value, 'meta.iter is')
        for value in (-1, 2**63, 10**30, 1.5, NAN, True, '4', None, torch.zeros(2))
    ),
    *(('meta.epoch', value, 'meta.epoch is') for value in NO_NUMBERS),
    ('meta.iter', GONE, 'no meta.iter'),
    ('meta.iter', 7, 'saved at iter 7, and train_cfg.max_iters is 6; name an earlier one or set max_iters'),
    *(('meta.seed', value, 'meta.seed is .* no seed') for value in (-1, 2**70, 1.5, NAN, 'x', [], True)),
    *(('meta.config', value, 'meta.config is .* not a text') for value in ([], 3, None)),
    *(('message_hub', value, 'message_hub is .* and not a dict') for value in (None, [], 'x')),
    *(('message_hub.log_scalars', value, r'message_hub\.log_scalars is') for value in (None, [], 'x', GONE)),
    *(('message_hub.runtime_info', value, r'message_hub\.runtime_info is') for value in (None, [], 'x', GONE)),
    *(('message_hub.log_scalars.train/loss', value, 'log of .train/loss.') for value in (None, {}, NAN)),
    ('message_hub.runtime_info.keep_ckpt_ids', ['x'], 'keep_ckpt_ids is'),
    ('message_hub.runtime_info.best_ckpt', '/home/somebody', 'best_ckpt is .* no best_.*pth'),
    ('message_hub.runtime_info.best_score', 'x', 'best_score is .* no number'),
    ('message_hub.runtime_info.sampler_seed', -1, 'sampler_seed is'),
    *(('optimizer', value, 'its optimizer is') for value in (None, [], 'x')),
    ('optimizer', GONE, 'has no optimizer'),
    ('optimizer', {}, 'no state and param_groups'),
    *(('optimizer.state', value, 'no state and param_groups') for value in (None, [], 'x', GONE)),
    ('optimizer.state', {}, 'has no state, and that of a SGD has momentum_buffer'),
    ('optimizer.state.0', {}, 'has no momentum_buffer of parameter 0'),
    ('optimizer.state.0', [], 'state of a parameter 0'),
    (
        'optimizer.state.0.momentum_buffer',
        torch.zeros(3),
        r'parameter 0 a momentum_buffer that is \(3,\), and the parameter \(3, 2\)',
    ),
    ('optimizer.state.0.momentum_buffer', torch.full((3, 2), NAN), 'momentum_buffer that has 6 of 6 values'),
    ('optimizer.state.0.momentum_buffer', torch.zeros(3, 2, dtype=torch.int16), 'that is of torch.int16'),
    ('optimizer.state.0.momentum_buffer', 'x', "momentum_buffer that is 'x'"),
    ('optimizer.state.0.momentum_buffer', 1.5, 'momentum_buffer that is 1.5'),
    ('optimizer.state.9', dict(momentum_buffer=torch.zeros(1)), 'parameter 9 that is not in its groups'),
    *(('optimizer.param_groups', value, 'no state and param_groups') for value in (None, 'x', [3])),
    ('optimizer.param_groups', [], 'has 0 groups of parameters and that of this config 1'),
    ('optimizer.param_groups.0.params', [0, 1], 'has 2 parameters in its group 0, and that of this config 6'),
    ('optimizer.param_groups.0.params', [0] * 6, 'names a parameter twice'),
    ('optimizer.param_groups.0.params', None, 'no list of parameters'),
    *(
        ('optimizer.param_groups.0.lr', value, 'for lr in its group 0')
        for value in (NAN, math.inf, 'x', None, [], True)
    ),
    ('optimizer.param_groups.0.momentum', GONE, 'of another class: its groups have no momentum'),
    *(('optimizer.param_groups.0.nesterov', value, 'for nesterov') for value in ('x', 2, NAN)),
    *(('param_schedulers', value, 'its param_schedulers is') for value in (None, 'x', 3)),
    ('param_schedulers', GONE, 'has no param_schedulers, without which'),
    ('param_schedulers', [], 'param_schedulers has 0, and the config has 2'),
    ('param_schedulers', {}, 'its param_schedulers is'),
    *(('param_schedulers.1', value, r'param_schedulers\[1\] is') for value in (None, [], 'x')),
    ('param_schedulers.1', {}, r'param_schedulers\[1\] has no'),
    ('param_schedulers.1.milestones', GONE, r'param_schedulers\[1\] has no milestones, which MultiStepLR needs'),
    *(
        ('param_schedulers.1._global_step', value, '_global_step is|at step')
        for value in (-1, 2**70, 1.5, 'x', 0, None)
    ),
    *(('param_schedulers.1.last_step', value, 'last_step is') for value in (-1, 2**70, NAN, 'x', None)),
    *(('param_schedulers.1.base_values', value, 'base_values is') for value in ([], [NAN], None, 'x', [0.1, 0.1])),
    ('param_schedulers.1.gamma', NAN, 'gamma is nan'),
    ('state_dict.layers.1.num_batches_tracked', torch.zeros(2, dtype=torch.long), 'is .2,. and not one number'),
    ('state_dict', None, 'state_dict is None'),
    ('state_dict', {}, r'0 of 8 tensors of the model match \(layers.0.weight does not\)'),
]


def _way(place):
    """Of an entry: names in a state_dict have dots."""
    first, _, rest = place.partition('.')
    keys = [first, *([rest] if first == 'state_dict' else rest.split('.'))] if rest else [first]
    return [int(key) if key.isdigit() else key for key in keys]


@pytest.mark.parametrize('place, value, sentence', WRONG)
def test_a_wrong_part_is_one_sentence(good, tmp_path, place, value, sentence):
    content = good()
    put(content, _way(place), value)
    refused(content, tmp_path, sentence)


def test_weights_that_are_none(good, tmp_path):
    content = good()
    name = 'layers.1.running_var'
    for value, sentence in (
        (torch.full((3,), NAN), '3 of 3 values that are not finite'),
        (torch.tensor([1.0, -1.0, math.inf]), '1 of 3 values that are not finite'),
        (torch.tensor([1.0, -1.0, -2.0]), '2 of 3 variances that are negative'),
        (torch.ones(3, dtype=torch.long), 'is of torch.int64 in the file and of torch.float32 in the model'),
        (torch.ones(3, dtype=torch.bool), 'is of torch.bool'),
        (torch.ones(3, dtype=torch.complex64), 'is complex'),
        (torch.ones(3).to_sparse(), 'is sparse'),
        (None, 'is a NoneType and not a tensor|has a NoneType'),
    ):
        put(content, ('state_dict', name), value)
        refused(content, tmp_path, rf'{name}.*{sentence}|{sentence}.*{name}')


def test_weights_alone(good, tmp_path):
    for content in (good()['state_dict'], dict(state_dict=good()['state_dict']), dict(meta={}, state_dict={})):
        refused(content, tmp_path, 'has weights alone .*set load_from, and leave --resume away')
    refused([1], tmp_path, 'holds a list')


def test_another_optimiser(good, tmp_path):
    refused(good(), tmp_path, 'of another class: its groups have no betas, which AdamW needs', optimizer=ADAM)
    refused(good('adam'), tmp_path, 'of another class: its groups have no momentum, which SGD needs')
    two = dict(paramwise_cfg=dict(bias_lr_mult=2.0))
    refused(good(), tmp_path, 'has 1 groups of parameters and that of this config 6', wrapper=two)
    for name, sentence in dict(exp_avg='no exp_avg of parameter 0', step='no step of parameter 0').items():
        content = good('adam')
        del content['optimizer']['state'][0][name]
        refused(content, tmp_path, sentence, optimizer=ADAM)
    content = good('adam')
    content['optimizer']['state'][0]['step'] = torch.zeros(3, 2)
    refused(content, tmp_path, r'a step that is \(3, 2\) and not one number', optimizer=ADAM)


def test_an_optimiser_of_older_pytorch_is_gone_on_from(good, tmp_path):
    """Which had not all of the options that groups have now."""
    content = good()
    for name in ('foreach', 'maximize', 'differentiable', 'fused'):
        content['optimizer']['param_groups'][0].pop(name, None)
    assert resume(content, tmp_path).iter == 6


def test_a_schedule_that_has_not_begun_is_gone_on_from(tmp_path, capsys):
    """A warm-up first: what comes after it is at step -1 until then."""
    schedulers = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
        dict(type='MultiStepLR', by_epoch=False, milestones=[6], begin=5, end=8),
    ]
    runner(tmp_path / 'before', until=4, schedulers=schedulers).train()
    content = torch.load(tmp_path / 'before/iter_4.pth')
    assert content['param_schedulers'][1]['last_step'] == -1
    assert resume(content, tmp_path, schedulers=schedulers).iter == 6


def test_before_its_first_step_an_optimiser_has_no_state(good, tmp_path):
    content = good()
    content['optimizer']['state'] = {}
    refused(content, tmp_path, 'has no state', wrapper=dict(accumulative_counts=4))
    assert resume(content, tmp_path, wrapper=dict(accumulative_counts=5)).iter == 6


def test_other_options_of_the_optimiser_are_said(good, tmp_path, capsys):
    """PyTorch goes on with those of the checkpoint; a state that some parameters lack is said as well."""
    content = good()
    del content['optimizer']['state'][0]
    resume(content, tmp_path, optimizer=dict(SGD, weight_decay=0.5))
    printed = capsys.readouterr().out
    assert 'brings its options: weight_decay is 0 there, the config has 0.5.' in printed
    assert 'has the state of 5 of 6 parameters.' in printed


def test_averages(good, tmp_path):
    ema = dict(custom_hooks=[dict(type='EMAHook')])
    refused(good(), tmp_path, 'has no ema_state_dict, and the training has an EMA', **ema)
    refused(good('ema'), tmp_path, 'weights are averages of a training with EMA, and this one has none')
    content = good('ema')
    content['ema_state_dict']['module.layers.0.weight'] = torch.full((3, 2), NAN)
    refused(content, tmp_path, r'layers\.0\.weight has 6 of 6 values that are not finite', **ema)
    del content['ema_state_dict']['module.layers.0.weight']
    refused(content, tmp_path, r'its ema_state_dict match \(module\.layers\.0\.weight does not\)', **ema)


class Scaled:
    """The parts of MMEngine's AmpOptimWrapper that are looked at; the class itself is for a GPU alone."""

    def __init__(self, wrapper) -> None:
        self.optimizer = wrapper.optimizer
        self.loss_scaler = torch.amp.GradScaler('cpu')


def test_a_loss_scaler(good, tmp_path, capsys):
    built = runner(tmp_path)
    wrapper = built.build_optim_wrapper(built.optim_wrapper)
    state = good()['optimizer']
    check = optimizer_state.check_optimizer
    with pytest.raises(ConfigError, match='has no loss_scaler: it was trained without AMP'):
        check(Scaled(wrapper), state, 4, 'x')
    scaler = Scaled(wrapper).loss_scaler.state_dict()
    check(Scaled(wrapper), dict(state, loss_scaler=scaler), 4, 'x')
    for value in (NAN, 0.0, -1.0, 'x', None):
        with pytest.raises(ConfigError, match=r'for loss_scaler\.scale'):
            check(Scaled(wrapper), dict(state, loss_scaler=dict(scaler, scale=value)), 4, 'x')
    check(wrapper, dict(state, loss_scaler=scaler), 4, 'x')
    assert 'the loss scaler (AMP) is left away' in capsys.readouterr().out


def test_another_schedule_is_said(good, tmp_path, capsys):
    """MMEngine goes on with that of the checkpoint."""
    resume(
        good(),
        tmp_path,
        schedulers=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
            dict(type='MultiStepLR', by_epoch=False, milestones=[3], gamma=0.5, begin=0, end=8),
        ],
    )
    assert 'param_schedulers[1].gamma is 0.1 there, the config has 0.5' in capsys.readouterr().out


def test_a_schedule_of_another_length(good, tmp_path):
    alone = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3)]
    refused(good(), tmp_path, 'param_schedulers has 2, and the config has 1', schedulers=alone)


def test_what_mmengine_itself_ends_with_is_a_sentence(good, tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.logging.MessageHub.load_state_dict', lambda *_: {}['missing'])
    refused(good(), tmp_path, "MMEngine ends with KeyError: 'missing'")


# --- the tools -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def detector(tmp_path_factory, data):
    """Config and checkpoint of iteration 2 of the tiny detector."""
    folder = tmp_path_factory.mktemp('detector')
    config = write_detector(folder / 'tiny.py', data)
    cfg = launch.load_config(str(config), dict(train_cfg=dict(max_iters=2, val_interval=9)), str(folder / 'work'))
    launch.build_runner(cfg).train()
    return config, folder / 'work' / 'iter_2.pth'


def of(detector, tmp_path, change):
    """The checkpoint, changed in place or by what ``change`` gives in its place."""
    content = torch.load(detector[1])
    other = change(content)
    torch.save(other if isinstance(other, dict) else content, tmp_path / 'changed.pth')
    return tmp_path / 'changed.pth'


TOOLS = dict(
    far=('--resume', lambda content: content['meta'].update(iter=10**30), 'meta.iter is 1000000000000000000000'),
    bare=('--resume', lambda content: content['state_dict'], 'has weights alone'),
    nan=('--resume', lambda content: content['state_dict']['backbone.bn1.bias'].fill_(NAN), 'are not finite'),
    momentum=(
        '--resume',
        lambda content: content['optimizer']['state'][0]['momentum_buffer'].fill_(NAN),
        'for parameter 0 a momentum_buffer that has',
    ),
    load=('load_from', lambda content: content['state_dict']['backbone.bn1.bias'].fill_(NAN), 'not finite'),
    test=('test', lambda content: content['state_dict']['backbone.bn1.running_var'].neg_(), 'are negative'),
)


@pytest.mark.parametrize('name', TOOLS)
def test_the_tools_end_with_the_sentence(detector, tmp_path, run_in_process, name):
    entry, change, sentence = TOOLS[name]
    path = of(detector, tmp_path, change)
    options = ['--work-dir', tmp_path / 'work']
    options += dict(load_from=['--cfg-options', f'load_from={path}'], test=[path]).get(entry, [entry, path])
    if entry == 'test':
        code, printed = run_in_process('test.py', detector[0], path, *options[:2])
    else:
        code, printed = run_in_process('train.py', detector[0], *options)
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith('error:')]
    assert sentence in line and str(path) in line
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_init_cfg_and_a_folder(detector, tmp_path):
    cfg = launch.load_config(str(detector[0]), None, str(tmp_path / 'work'))
    path = of(detector, tmp_path, lambda content: content['state_dict']['backbone.bn1.bias'].fill_(NAN))
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    model = launch.build_runner(cfg).model
    with pytest.raises(ConfigError, match=r'init_cfg of model\.backbone.* bn1\.bias has 8 of 8 values'):
        check_weights(cfg, model)
    for resume_ in (True, False):
        cfg.load_from, cfg.resume = str(tmp_path), resume_
        with pytest.raises(ConfigError, match='is a folder and not a file'):
            check_weights(cfg, model)


def test_half_precision_is_loaded(detector, tmp_path):
    cfg = launch.load_config(str(detector[0]), None, str(tmp_path / 'work'))
    halved = lambda content: content['state_dict'].update(  # noqa: E731
        {key: one.half() for key, one in content['state_dict'].items() if one.is_floating_point()}
    )
    cfg.load_from = str(of(detector, tmp_path, halved))
    check_weights(cfg, launch.build_runner(cfg).model, strict=True)


def test_a_damaged_last_checkpoint_is_passed_over(detector, tmp_path, run_in_process):
    """From the one before, with a line that says so; in the tool itself."""
    work = tmp_path / 'work'
    work.mkdir()
    for number in (2, 4):
        shutil.copy(detector[1], work / f'iter_{number}.pth')
        os.utime(work / f'iter_{number}.pth', (number, number))
    (work / 'last_checkpoint').write_text(str(work / 'iter_4.pth'))
    with open(work / 'iter_4.pth', 'r+b') as file:
        file.seek(100_000)
        file.write(bytes(4096))
    options = ('--work-dir', work, '--resume', '--cfg-options', 'train_cfg.max_iters=3', 'train_cfg.val_interval=9')
    code, printed = run_in_process('train.py', detector[0], *options)
    assert not code and (work / 'iter_2.pth').exists()
    assert f'resuming from {work / "iter_2.pth"}.' in printed and 'is damaged: the checksum of' in printed
