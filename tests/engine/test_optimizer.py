"""An optimiser of what is trained: MMEngine's default groups where nothing is frozen, nothing frozen elsewhere."""

import logging

import pytest
import rethink  # noqa: F401
import torch
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from rethink.errors import ConfigError
from torch import nn

PARAMWISE = [
    None,
    dict(norm_decay_mult=0.0, bias_lr_mult=2.0),
    dict(custom_keys={'first': dict(lr_mult=0.1), 'norm': dict(decay_mult=0.0)}, bypass_duplicate=True),
]


class Net(nn.Module):
    def __init__(self, shared: bool = False) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.rest = nn.Sequential(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 2))
        if shared:
            self.again = self.rest[2]


def built(net, paramwise, trainable=True, **optimizer):
    optimizer = dict(type='AdamW', lr=0.01, weight_decay=0.1) | optimizer
    cfg = dict(type='OptimWrapper', optimizer=optimizer, clip_grad=dict(max_norm=1.0))
    if trainable:
        cfg['constructor'] = 'TrainableOptimWrapperConstructor'
    return build_optim_wrapper(net, cfg | (dict(paramwise_cfg=paramwise) if paramwise else {}))


def groups(optim_wrapper, net) -> list[dict]:
    names = {id(one): name for name, one in net.named_parameters()}
    found = optim_wrapper.optimizer.param_groups
    return [group | dict(params=[names[id(one)] for one in group['params']]) for group in found]


@pytest.mark.parametrize('paramwise', PARAMWISE)
@pytest.mark.parametrize('wrapped', [False, True])
def test_with_nothing_frozen_it_is_the_default(paramwise, wrapped):
    net = Net(shared='bypass_duplicate' in (paramwise or {}))
    outer = nn.DataParallel(net) if wrapped else net
    mine, default = (built(outer, paramwise, trainable) for trainable in (True, False))
    assert groups(mine, net) == groups(default, net)
    assert type(mine) is type(default) and mine.clip_grad_kwargs == default.clip_grad_kwargs
    assert type(mine.optimizer) is torch.optim.AdamW


@pytest.mark.parametrize('paramwise', PARAMWISE)
def test_what_is_frozen_is_left_out(paramwise):
    net = Net(shared='bypass_duplicate' in (paramwise or {}))
    every = groups(built(net, paramwise, False), net)
    net.first.requires_grad_(False)
    net.norm.bias.requires_grad_(False)
    gone = {'first.weight', 'first.bias', 'norm.bias'}
    wanted = [group | dict(params=[name for name in group['params'] if name not in gone]) for group in every]
    assert groups(built(net, paramwise), net) == [group for group in wanted if group['params']]


def test_modules_that_are_frozen_whole_are_not_worth_a_warning():
    net = Net()
    net.first.requires_grad_(False)
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = MMLogger.get_instance('optimizer')
    logger.addHandler(handler)
    built(net, PARAMWISE[1])
    assert said and not [line for line in said if 'skipped' in line]
    built(net, PARAMWISE[1], trainable=False)
    assert [line for line in said if 'first.weight is skipped' in line]


@pytest.mark.parametrize('paramwise', PARAMWISE)
def test_nothing_to_train(paramwise):
    with pytest.raises(ConfigError, match='no parameter of the model requires a gradient'):
        built(Net().requires_grad_(False), paramwise)
