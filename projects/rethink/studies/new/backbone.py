"""A backbone by name, of any of four libraries: its feature maps, its weights, and the pixels that these know."""

import ast
import contextlib
import difflib
import inspect
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmdet.registry import MODELS
from torch import nn
from torchvision import models
from torchvision.models import list_models
from torchvision.models.feature_extraction import create_feature_extractor

from ...checks.init import PIXELS
from ...checks.weights import content_of
from ...config_tree import is_remote
from ...engine.hooks.hierarchy import write_backbone
from ...errors import ConfigError, describe, some_names, unlogged
from ...models.frozen import weight_names
from ...models.torchvision_backbone import nodes
from ...registering import use_scope
from ...trust.checkpoints import read_content
from ...trust.state_dicts import Place, places
from ...trust.tensors import check_tensors, compare
from ...trust.timm_weights import left_random

STRIDES = (4, 8, 16, 32)
_RESNETS = {f'resnet{depth}': depth for depth in (18, 34, 50, 101, 152)}
_TIMM, _TORCHVISION = 'mmpretrain.TIMMBackbone', 'TorchvisionBackbone'
# ImageNet's, of torchvision and most of timm.
_USUAL = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
# Height and width of the image that tells the strides of the maps.
_PROBE = (128, 96)


@dataclass(frozen=True)
class Pixels:
    """What a network sees of an image of 0 to 255.

    Args:
        mean, std: in the order of its channels.
        rgb: they are red, green, blue; else blue, green, red.
        source: who says so.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool
    source: str

    @property
    def words(self) -> str:
        numbers = [', '.join(f'{value:g}' for value in values) for values in (self.mean, self.std)]
        return f'{"RGB" if self.rgb else "BGR"}, mean {numbers[0]}, std {numbers[1]} ({self.source})'


@dataclass(frozen=True)
class Backbone:
    """A backbone that gives maps of strides 4, 8, 16 and 32.

    Args:
        name: as it was asked for.
        cfg: ``type`` and arguments, without weights.
        channels: of the four maps.
        parameters: their number.
        batch_norm: it has BN.
        norm_eval: it has an argument of this name, by which BN uses its running statistics in training.
        first: its ``init_cfg`` where it has no weights: what the class has by default.
    """

    name: str
    cfg: dict
    channels: tuple[int, ...]
    parameters: int
    batch_norm: bool
    norm_eval: bool
    first: list | dict | None

    @property
    def words(self) -> str:
        maps = ', '.join(map(str, self.channels))
        norm = 'BN' if self.batch_norm else 'no BN'
        return f'{self.name}: {self.parameters / 1e6:.1f} M parameters, {norm}, maps of {maps} channels'


# --- by name ---------------------------------------------------------------------------------------------------------


def resolve(name: str, options: dict | None = None) -> Backbone:
    """Find a backbone, build it, and see which of its maps have the strides that a detector takes.

    Args:
        name: torchvision's (of ``resnet50`` and its like MMDetection has the network), ``timm/NAME``, ``mmdet.CLASS``
            or ``mmpretrain.CLASS``.
        options: arguments of its class.

    Raises:
        ConfigError: there is none of this name, it cannot be built, or has no such maps.
    """
    use_scope('mmdet')
    cfg = _cfg(name) | (options or {})
    with unlogged():
        kind = MODELS.get(cfg['type'])
        if 'gap_before_final_norm' in _arguments(kind):  # ConvNeXt's, for classification
            cfg.setdefault('gap_before_final_norm', False)
        if cfg['type'] == _TORCHVISION:
            cfg['nodes'] = _nodes(name)
        elif 'out_indices' not in cfg:
            cfg['out_indices'] = _indices(name, cfg)
        module = _build(name, cfg)
        found = _strides(name, module)
    if [stride for stride, _ in found] != list(STRIDES):
        raise ConfigError(_no_maps(name, found))
    arguments = _arguments(kind)
    return Backbone(
        name,
        cfg,
        tuple(channels for _, channels in found),
        sum(one.numel() for one in module.parameters()),
        any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in module.modules()),
        'norm_eval' in arguments,
        arguments.get('init_cfg'),
    )


def _cfg(name: str) -> dict:
    if name in _RESNETS:
        norm = dict(type='BN', requires_grad=True)
        rest = dict(norm_cfg=norm, norm_eval=False, style='pytorch', zero_init_residual=False)
        return dict(type='mmdet.ResNet', depth=_RESNETS[name], frozen_stages=-1, **rest)
    library, _, rest = name.partition('/')
    if library == 'timm':
        import timm

        known = timm.list_models()
        if rest.split('.')[0] not in known:
            raise ConfigError(f'timm has no model {rest!r}{_near(rest, known)}')
        return dict(type=_TIMM, model_name=rest, features_only=True)
    scope, _, kind = name.partition('.')
    if scope in ('mmdet', 'mmpretrain'):
        if MODELS.get(name) is None:
            raise ConfigError(f'{scope} has no backbone {kind!r}{_near(kind, list(_children(scope)))}')
        return dict(type=name)
    if name in list_models(module=models):
        return dict(type=_TORCHVISION, name=name)
    raise ConfigError(
        f"there is no backbone {name!r}; names are torchvision's (as resnet50), timm/NAME (as timm/efficientnet_b0), "
        'mmdet.CLASS and mmpretrain.CLASS.'
    )


def _children(scope: str) -> Iterator[str]:
    for registry in (MODELS, *MODELS.children.values(), *MODELS.parent.children.values()):
        if registry.scope == scope:
            yield from registry.module_dict


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.6)
    return f'; the nearest names are {", ".join(near)}.' if near else '.'


def _build(name: str, cfg: dict) -> nn.Module:
    try:
        module = MODELS.build(dict(cfg))
        module.train(False)  # eval() of some gives nothing back
        return module
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f'the backbone {name} cannot be built ({describe(error)}); --backbone-options KEY=VALUE gives its '
            'arguments.'
        ) from error


@torch.no_grad()
def _strides(name: str, module: nn.Module) -> list[tuple[int, int]]:
    """Stride and channels of each map; 0 in place of the stride of what is no map of the image."""
    try:
        maps = module(torch.zeros(1, 3, *_PROBE))
    except Exception as error:
        raise ConfigError(_takes_no_size(name, error)) from error
    return [_stride(one) for one in (maps if isinstance(maps, list | tuple) else [maps])]


def _stride(output) -> tuple[int, int]:
    shape = tuple(getattr(output, 'shape', ()))
    strides = {-(-size // side) for size, side in zip(_PROBE, shape[2:], strict=False) if side}
    fits = len(shape) == 4 and len(strides) == 1
    return strides.pop() if fits else 0, shape[1] if len(shape) > 1 else 0


def _takes_no_size(name: str, error: Exception) -> str:
    return (
        f'the backbone {name} takes no image of {_PROBE[1]}×{_PROBE[0]} ({describe(error)}); a detector needs one '
        'that takes any size.'
    )


def _indices(name: str, cfg: dict) -> tuple[int, ...]:
    """The last stage of each stride: what ``out_indices`` is, by what the backbone gives when it gives all it has."""
    if cfg['type'] == _TIMM:
        # What it gives by itself need not begin with its first stage.
        stages = len(_build(name, cfg).timm_model.feature_info.info)
        found = _strides(name, _build(name, cfg | dict(out_indices=tuple(range(stages)))))
    else:
        found, refused = [], None
        # How many stages there are, no two libraries say alike.
        for number in range(9, 0, -1):
            try:
                found = _strides(name, _build(name, cfg | dict(out_indices=tuple(range(number)))))
                break
            except ConfigError as error:
                refused = error
        if not found:
            raise refused
    last = {stride: index for index, (stride, _) in enumerate(found)}
    if not set(STRIDES) <= last.keys():
        raise ConfigError(_no_maps(name, found))
    return tuple(last[stride] for stride in STRIDES)


def _nodes(name: str) -> list[str]:
    """In the graph of a network of torchvision, of each stride the end of the last block that keeps it.

    What comes later belongs to the block that halves the map: its expansion, its norm, or a branch of it.
    """
    net = create_feature_extractor(models.get_model(name, weights=None), nodes(name)).eval()
    try:
        with torch.no_grad():
            found = {node: _stride(one) for node, one in net(torch.zeros(1, 3, *_PROBE)).items()}
    except Exception as error:
        raise ConfigError(_takes_no_size(name, error)) from error
    chosen = []
    for stride in STRIDES:
        same = [node for node, one in found.items() if one[0] == stride]
        if not same:
            raise ConfigError(_no_maps(name, sorted({one for one in found.values() if one[0]})[:6]))
        behind = next((node for node, one in found.items() if one[0] == 2 * stride), '')
        shared = [len(os.path.commonprefix([node.split('.'), behind.split('.')])) for node in same]
        chosen.append([node for node, number in zip(same, shared, strict=True) if number == min(shared)][-1])
    return chosen


def _no_maps(name: str, found: list[tuple[int, int]]) -> str:
    has = ', '.join(f'{stride or "none"} ({channels} channels)' for stride, channels in found)
    return (
        f'{name} has maps of the strides {has}, and a detector with FPN needs 4, 8, 16 and 32; name a backbone with '
        'stages, such as a ResNet, EfficientNet or ConvNeXt.'
    )


def _arguments(kind: type) -> dict:
    """Defaults of a class's arguments, its parents' too."""
    found = {}
    for parent in reversed(inspect.getmro(kind)):
        if '__init__' in vars(parent):
            found |= {one.name: one.default for one in inspect.signature(parent.__init__).parameters.values()}
    first = found.get('init_cfg')
    return found | dict(init_cfg=first if isinstance(first, list | dict) else None)


# --- weights ---------------------------------------------------------------------------------------------------------


def fetch(backbone: Backbone, weights: str | None, path: Path, pixels: Pixels | None = None) -> tuple[Pixels, str]:
    """Write the weights of a backbone, under its own names, as a file of :func:`write_backbone`.

    Args:
        weights: a file, an address, or a name that MMEngine knows (``torchvision://resnet50``); None: those that the
            backbone's library has for its name.
        path: where it is written; what MMEngine loads by ``prefix='backbone.'``.
        pixels: of which the user says that the weights know them.

    Returns:
        The pixels that the weights know, and a sentence on what they cover.

    Raises:
        ConfigError: there are none, they cannot be read or downloaded, or do not give the whole backbone.
    """
    timm = backbone.cfg['type'] == _TIMM
    if weights is None and backbone.name in _RESNETS:
        weights = f'torchvision://{backbone.name}'
    if weights is None and backbone.cfg['type'] == _TORCHVISION:
        weights = models.get_model_weights(backbone.name).DEFAULT.url
    if weights is None and not timm:
        raise ConfigError(f'{backbone.name} has no weights of its own; name some with --weights FILE_OR_URL.')
    if weights is not None and not is_remote(weights) and not Path(weights).is_file():
        raise ConfigError(f'there is no file of weights {weights}; --weights names a file, or an address with ://.')
    with unlogged():
        if timm:
            module, given, where = _timm(backbone, weights)
        else:
            module, given, where = _openmmlab(backbone, weights)
    known = given or _by_name(weights or '') or _by_torchvision(backbone.name)
    unknown = Pixels(*_USUAL, True, "ImageNet's usual ones: the weights say none, --mean and --std say others")
    wrapped = nn.Module()
    wrapped.backbone = module
    used = pixels or known or unknown
    source = weights or f'{backbone.name}, of its library'
    write_backbone(path, wrapped, source=source, pixels=[list(used.mean), list(used.std), used.rgb])
    total = len(module.state_dict())
    return used, f'all {total} tensors of {backbone.name} come from {source}{where}.'


def _timm(backbone: Backbone, weights: str | None) -> tuple[nn.Module, Pixels, str]:
    """By timm, which takes the layers of the classifier apart as it does for the backbone, and knows older names.

    What timm finds nothing in may have timm's names further down, as DINO's files have.
    """
    overlay = {}
    if weights:
        overlay = dict(pretrained_cfg_overlay={'url' if is_remote(weights) else 'file': weights, 'hf_hub_id': None})
        if not is_remote(weights) and not weights.endswith('.safetensors'):
            read_content(weights, 'weights of the backbone')
    try:
        module = MODELS.build(dict(backbone.cfg, pretrained=True, **overlay))
    except ConfigError:
        raise
    except Exception as error:
        source = weights or 'its hub'
        raise ConfigError(
            f'timm cannot load {backbone.cfg["model_name"]} from {source} ({describe(error):.300}); name a file of '
            "this architecture in timm's names with --weights."
        ) from error
    left, where = left_random(module), ''
    if left and weights:
        with contextlib.suppress(ConfigError):
            where, left = _load(module.timm_model, content_of(weights, 'weights'), backbone.name, weights), None
    if left:
        total = len(weight_names(module))
        raise ConfigError(
            f'{weights or "timm"} gives {backbone.name} {total - len(left)} of {total} tensors (without '
            f"{some_names(left)}); name weights of this architecture in timm's names."
        )
    has = module.timm_model.pretrained_cfg
    mean, std = (tuple(255 * value for value in has[key]) for key in ('mean', 'std'))
    check_tensors(module.state_dict(), f'{weights or "timm"} (weights)', module.state_dict())
    return module, Pixels(mean, std, True, f'timm, of {backbone.cfg["model_name"]}'), where


def _openmmlab(backbone: Backbone, weights: str) -> tuple[nn.Module, Pixels | None, str]:
    try:
        content = content_of(weights, 'weights')
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f'{weights} cannot be loaded ({describe(error):.200}); download it and name the file with --weights.'
        ) from error
    module = MODELS.build(dict(backbone.cfg))
    inner = module.net if backbone.cfg['type'] == _TORCHVISION else module
    said = _load(inner, content, backbone.name, weights)
    meta = content.get('meta') or {}
    pixels = _in_config(str(meta.get('cfg') or ''), weights) if isinstance(meta, dict) else None
    return module, pixels, said


def _load(module: nn.Module, content, name: str, weights: str) -> str:
    """Give a backbone its weights, wherever they are in a file; where, if that is not plain.

    Raises:
        ConfigError: it does not get all, or what it gets are no weights.
    """
    best, *others = places(content, module) or [Place()]
    match, lacking, differing, total = compare(module, best.weights)
    if lacking or differing:
        where = f', below {best}' if match and (best.keys or best.prefix) else ''
        raise ConfigError(
            f'{weights} gives {name} {match} of {total} tensors{where} (without {some_names(lacking + differing)}); '
            'name weights of this architecture.'
        )
    check_tensors(best.weights, f'{weights} (weights)', module.state_dict())
    module.load_state_dict(best.weights, strict=False)
    said = f', of its {best}' if others or best.prefix not in ('', 'module.') else ''
    return said + (f'; {some_names(map(str, others))} would fit as well' if others else '')


def _in_config(text: str, source: str) -> Pixels | None:
    """The ``data_preprocessor`` in the text of the config with which a checkpoint was trained, which is not run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    named = [(node.arg, node.value) for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    named += [(getattr(node.targets[0], 'id', ''), node.value) for node in tree.body if isinstance(node, ast.Assign)]
    for name, value in named:
        if name != 'data_preprocessor' or not isinstance(value, ast.Call):
            continue
        try:
            found = {one.arg: ast.literal_eval(one.value) for one in value.keywords}
        except ValueError:
            continue
        if found.get('mean') and found.get('std'):
            rgb = bool(found.get('to_rgb', found.get('bgr_to_rgb', False)))
            return Pixels(tuple(found['mean']), tuple(found['std']), rgb, f'the config in {source}')
    return None


def _by_name(weights: str) -> Pixels | None:
    for name, (rgb, mean, std) in PIXELS:
        if name in weights:
            return Pixels(tuple(mean), tuple(std), rgb, f'known of {name}…')
    return None


def _by_torchvision(name: str) -> Pixels | None:
    if name not in list_models(module=models):
        return None
    known = models.get_model_weights(name).DEFAULT.transforms()
    mean, std = (tuple(round(255 * value, 3) for value in values) for values in (known.mean, known.std))
    return Pixels(mean, std, True, f'torchvision, of {name}')
