"""Weights of a network are found wherever a program nests them and whatever names it puts before theirs."""

import pytest
import torch
from rethink.trust.state_dicts import places
from torch import nn


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))


OWN, OTHER = network().state_dict(), network(1).state_dict()


def named(prefix: str, state=OWN) -> dict:
    return {f'{prefix}{key}': value for key, value in state.items()}


def nested(value, *keys: str) -> dict:
    for key in reversed(keys):
        value = {key: value}
    return value


HEAD = {'fc.weight': torch.zeros(3, 4)}
# A file's content, where the weights are in it, and what would fit as well.
LAYOUTS = {
    'plain': (OWN | HEAD, '', []),
    'torch.nn.DataParallel': (named('module.') | HEAD, 'module.*', []),
    'MMEngine': (dict(meta={}, state_dict=named('backbone.') | HEAD, optimizer=OTHER), 'state_dict/backbone.*', []),
    'timm, train.py': (dict(state_dict=OTHER, state_dict_ema=OWN), 'state_dict', ['state_dict_ema']),
    'Lightning': (
        dict(state_dict=named('model.'), callbacks={}, hyper_parameters=dict(lr=1)),
        'state_dict/model.*',
        [],
    ),
    'MoCo': (
        dict(state_dict=named('module.encoder_k.', OTHER) | named('module.encoder_q.')),
        'state_dict/module.encoder_q.*',
        ['state_dict/module.encoder_k.*'],
    ),
    'DINO': (
        dict(student=named('module.backbone.', OTHER), teacher=named('backbone.'), epoch=1),
        'teacher/backbone.*',
        ['student/module.backbone.*'],
    ),
    'BYOL': (
        named('target_network.encoder.', OTHER) | named('online_network.encoder.'),
        'online_network.encoder.*',
        ['target_network.encoder.*'],
    ),
    'CLIP': (named('visual.') | {'transformer.weight': torch.zeros(2)}, 'visual.*', []),
    'VISSL': (
        nested(named('_feature_blocks.'), 'classy_state_dict', 'base_model', 'model', 'trunk'),
        'classy_state_dict/base_model/model/trunk/_feature_blocks.*',
        [],
    ),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_where_they_are(layout):
    content, where, others = LAYOUTS[layout]
    best, *more = places(content, network())
    assert str(best) == where and list(map(str, more)) == others
    wanted = content['state_dict'] if layout.startswith('timm') else OWN
    assert best.match == 8 and all(torch.equal(best.weights[key], wanted[key]) for key in wanted)


def test_an_optimiser_and_text_are_no_weights():
    assert places(dict(optimizer=dict(state=OWN), a=[1], meta='x', model=dict(b=torch.ones(1))), network()) == []
    assert places([OWN], network()) == [] and places('x', network()) == []


def test_of_a_part_it_is_said_where_it_is():
    content = dict(model=named('encoder.', {key: OWN[key] for key in list(OWN)[:3]}))
    (best, *_) = places(content, network())
    assert str(best) == 'model/encoder.*' and best.match == 3
