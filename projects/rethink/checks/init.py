"""Rules of initialisation: what is frozen or normalised in a backbone has to fit where its weights come from."""

import copy
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models
from torch import nn
from torch.overrides import TorchFunctionMode

from ..config_tree import is_remote, items, type_name
from ..registering import use_scope
from ..trust.checkpoints import read_checkpoint
from .facts import Backbone, Facts
from .findings import Finding, rule

_STAGES = 'Rethinking ImageNet Pre-training, section 4: from scratch nothing is frozen (FREEZE_AT 0)'
_NORM = 'Rethinking ImageNet Pre-training, section 3.1'


def _random(facts: Facts) -> Iterator[Backbone]:
    return (one for one in facts.backbones if one.weights is None and not one.allow_random)


@rule('frozen-random')
def frozen_random(facts: Facts) -> Iterator[Finding]:
    for one in _random(facts):
        if not one.whole and one.frozen_stages < 0:
            continue
        place, part, are = one.path, 'the whole backbone', 'is'
        fix = f'{place}.init_cfg names weights; allow_random=True if it is meant'
        if not one.whole:
            last = one.frozen_stages
            stages = ('', ' and stage 1')[last] if last < 2 else f' and stages 1 to {last}'
            place, part, are = f'{one.path}.frozen_stages', f'stem{stages}', 'are' if stages else 'is'
            fix = f'{one.path}.init_cfg names weights, or {place}=-1'
        what = f'{part} of {one.kind} {are} frozen, and no checkpoint gives weights.'
        yield Finding('error', place, what, 'random filters stay random for the whole training.', _STAGES, fix)


@rule('frozen-bn-random')
def frozen_bn_random(facts: Facts) -> Iterator[Finding]:
    for one in _random(facts):
        if one.batch_norm and one.batch_norm.get('requires_grad') is False and not one.whole:
            what = f"scale and shift of {one.kind}'s BN are not trained, and no checkpoint gives them."
            why = 'they stay 1 and 0, as if there were none.'
            fix = f'{one.path}.norm_cfg = dict(type="SyncBN", requires_grad=True), or GN'
            yield Finding('error', f'{one.path}.norm_cfg.requires_grad', what, why, _NORM, fix)


@rule('bn-eval-random')
def bn_eval_random(facts: Facts) -> Iterator[Finding]:
    for one in _random(facts):
        if one.batch_norm and one.norm_eval and not one.whole:
            yield Finding(
                'error',
                f'{one.path}.norm_eval',
                f"{one.kind}'s BN is in evaluation mode (norm_eval=True, the default of MMDetection's ResNet), and "
                'its weights are random.',
                'it divides by running statistics that nobody has measured (mean 0, variance 1) and nobody updates: '
                'the network has no normalisation, which training from scratch needs.',
                _NORM,
                f'{one.path}.norm_eval=False with SyncBN, or GN in backbone, neck and heads',
            )


@rule('small-batch-bn')
def small_batch_bn(facts: Facts) -> Iterator[Finding]:
    one = facts.from_scratch
    if one is None or not one.batch_norm or one.norm_eval or one.whole or not facts.batch:
        return
    synchronous = type_name(one.batch_norm['type']) != 'BN'
    if synchronous and facts.gpus is None:
        return
    images = facts.batch * facts.gpus if synchronous else facts.batch
    if images < 8:
        yield Finding(
            'warning',
            f'{one.path}.norm_cfg',
            f'{one.batch_norm["type"]} computes its statistics of {images} image{"s" * (images > 1)} in training from '
            'scratch.',
            'so few give statistics that say little of the data, and accuracy suffers badly.',
            f'{_NORM}; Group Normalization (Wu and He 2018), figure 1',
            f'{one.path}.norm_cfg = dict(type="GN", num_groups=32), or SyncBN over several GPUs',
        )


# --- pixels ----------------------------------------------------------------------------------------------------------

_RGB = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
_CAFFE = ([103.53, 116.28, 123.675], [1.0, 1.0, 1.0])
# What checkpoints were trained with: part of the name → (RGB, mean, std) in the order of the channels. The first that
# fits counts; of others nothing is known. MMDetection's Detectron weights of FCOS subtract [102.98, 115.95, 122.77].
PIXELS = (
    ('detectron2/resnext101_32x8d', (False, [103.53, 116.28, 123.675], [57.375, 57.12, 58.395])),
    ('detectron2/', (False, *_CAFFE)),
    ('detectron/', (False, *_CAFFE)),
    ('torchvision://', (True, *_RGB)),
    ('open-mmlab://resnext', (True, *_RGB)),
    ('SwinTransformer', (True, *_RGB)),
    ('mmclassification/v0/', (True, *_RGB)),
)
_TOLERANCE = 1.0


@functools.lru_cache
def _published() -> dict[str, str]:
    """Names of the files of published weights → what they are called where they are downloaded."""
    urls = {f'torchvision://{name}': url for name, url in get_torchvision_models().items()}
    urls |= {f'open-mmlab://{name}': url for name, url in get_external_models().items()}
    return {url.rsplit('/', 1)[-1]: name for name, url in urls.items() if url}


def _order(rgb: bool) -> str:
    return 'RGB' if rgb else 'BGR'


def _noted(weights: str) -> tuple | None:
    """What ``tools/study.py new`` has noted of its file of weights; of others nothing is known."""
    if is_remote(weights) or not Path(weights).is_file():
        return None
    try:
        mean, std, rgb = read_checkpoint(weights)['meta']['pixels']
    except Exception:  # another file, or a broken one, which is said when it is loaded
        return None
    return rgb, mean, std


@rule('pixels')
def pixels(facts: Facts) -> Iterator[Finding]:
    one = facts.backbone
    given = facts.model.get('data_preprocessor') or {}
    mean, std = given.get('mean'), given.get('std')
    if one is None or one.weights is None or not mean or not std or one.weights == facts.cfg.get('load_from'):
        return
    weights = _published().get(os.path.basename(one.weights), one.weights)
    wanted = _noted(one.weights) or next((pixels for name, pixels in PIXELS if name in weights), None)
    if wanted is None:
        return
    rgb, wanted_mean, wanted_std = wanted
    # MMPretrain's preprocessor calls it otherwise.
    has_rgb = bool(given.get('bgr_to_rgb', given.get('to_rgb', False)))
    near = (
        max(abs(a - b) for a, b in zip(values, wanted, strict=True)) <= _TOLERANCE
        for values, wanted in ((mean, wanted_mean), (std, wanted_std))
    )
    if has_rgb != rgb or not all(near):
        yield Finding(
            'warning',
            'model.data_preprocessor',
            f'pixels are {_order(has_rgb)}, mean {list(mean)}, std {list(std)}, and {one.weights} was trained on '
            f'{_order(rgb)}, mean {wanted_mean}, std {wanted_std}.',
            'the first layer sees colours and contrasts that it was not trained for.',
            "MMDetection's configs with these weights, and the model zoos that they come from",
            f'model.data_preprocessor = dict(mean={wanted_mean}, std={wanted_std}, bgr_to_rgb={rgb})',
        )


# --- capacity --------------------------------------------------------------------------------------------------------

# Between the published 26.1 %, which loses 6.5 AP, and 39.9 %, which gains 0.1.
ENOUGH = 0.33


@rule('frozen-capacity')
def frozen_capacity(facts: Facts) -> Iterator[Finding]:
    one = facts.backbone
    if one is None or not one.whole or not facts.detector:
        return
    share = trainable_share(facts.cfg)
    if share < ENOUGH:
        yield Finding(
            'note' if facts.compared else 'warning',
            one.path,
            f'the backbone is frozen whole, and {share:.0%} of the parameters are trained.',
            'published for ResNet-101: 6.5 AP less than fine-tuned with 26 % (FPN), 0.1 more with 40 % (NAS-FPN), '
            '0.7 more with 54 % (NAS-FPN and cascade).',
            'Proper Reuse of Image Classification Features, section 4',
            'a larger neck or head (configs/frozen: nasfpn, cascade), adapters, or fine-tuning',
        )


def trainable_share(cfg: Config) -> float:
    """Trainable parameters of all, of the model built without values."""
    numbers = [(one.numel(), one.requires_grad) for one in without_values(cfg).parameters()]
    return sum(number for number, trained in numbers if trained) / sum(number for number, _ in numbers)


def without_values(cfg: Config) -> nn.Module:
    """The model of a config, whose parameters are on PyTorch's meta device; nothing is loaded or downloaded."""
    return part_without_values(cfg.model, cfg.get('default_scope') or 'mmdet')


def part_without_values(part: dict, scope: str) -> nn.Module:
    """As :func:`without_values`, a part of a model."""
    part = copy.deepcopy(part)
    _without_weights(part)
    use_scope(scope)
    with _EmptyParameters():
        return MODELS.build(part)


class _EmptyParameters(TorchFunctionMode):
    """Layers get parameters without values, on PyTorch's meta device.

    ``torch.device('meta')`` as a context would also take the values of what a backbone computes while it is built, as
    EfficientNet's rates of stochastic depth.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.empty and kwargs.get('device') is None:
            kwargs['device'] = 'meta'
        return function(*args, **kwargs)


def _without_weights(tree) -> None:
    """Nothing is loaded or downloaded when it is built."""
    if isinstance(tree, dict):
        if tree.get('pretrained'):
            tree['pretrained'] = False if tree['pretrained'] is True else None
        for key in ('checkpoint_path', 'init_cfg'):
            if key in tree:
                tree.pop(key)
    for _, inner in items(tree):
        _without_weights(inner)
