"""Which checkpoints give a model which of its weights, found before they are loaded.

MMEngine loads what fits and leaves the rest as it is, with a warning in the log.
"""

import os
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import HOOKS, MODELS, init_default_scope
from torch import nn

from ..config_tree import is_remote, items, type_name
from ..errors import ConfigError, say, some_names
from ..trust.checkpoints import compare, may_be_folder, read_content, read_state_dict, shapes
from ..trust.soundness import check_tensors
from .resumable import check_content


def remote_checkpoints(cfg) -> list[str]:
    """All checkpoints in a config that are downloaded: ``torchvision://…``, ``open-mmlab://…``, ``https://…``."""
    found = []
    for key, value in items(cfg):
        if key in ('checkpoint', 'load_from', 'pretrained') and isinstance(value, str) and is_remote(value):
            found.append(value)
        found += remote_checkpoints(value)
    return sorted(set(found))


def _covers(
    model: nn.Module, path: str, what: str, prefix: str = '', strict: bool = False, names: dict | None = None
) -> None:
    """A checkpoint gives something (``strict``: everything) to a model; says how much.

    ``names`` are layers that it calls otherwise than the model, and that it gives as a whole.
    """
    from ..models.frozen import Frozen
    from ..models.pretrained import rename

    weights = read_state_dict(path, what)
    if names:
        weights = rename(weights, names, model, f'{path} ({what})')
    if prefix:
        prefix = prefix if prefix.endswith('.') else prefix + '.'
        weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    match, lacking, differing, total = compare(model, weights)
    if strict and (lacking or differing):
        example = shapes(model, weights, differing[0]) if differing else f'{lacking[0]} is not in the file'
        raise ConfigError(
            f'{path} does not fit the model: {match} of {total} tensors match, {len(lacking)} are missing and '
            f'{len(differing)} have another shape ({example}); use the config that the checkpoint was trained with.'
        )
    if match == 0:
        names = f' below {prefix!r}' if prefix else ''
        first = next(iter(weights), None)
        has = f'the file{names} begins with {first}' if first else f'the file has no tensor{names}'
        raise ConfigError(
            f'{path} ({what}) gives the model nothing: 0 of {total} tensors match; {has} and the model with '
            f'{next(iter(model.state_dict()), "nothing")}.'
        )
    # A load that MMEngine would call partial, and carry on.
    if what.startswith('init_cfg') and _loads_as_it_is(model):
        if differing:
            raise ConfigError(
                f'{path} ({what}) does not fit: {len(differing)} of {total} tensors have another shape '
                f'({shapes(model, weights, differing[0])}) and would stay random; name weights of this architecture '
                'or change the architecture.'
            )
        frozen = [key for key, one in model.named_parameters() if key in lacking and not one.requires_grad]
        # A backbone that is frozen whole is looked at as a whole, with everything that gives it weights.
        if frozen and not isinstance(model, Frozen):
            raise ConfigError(
                f'{path} ({what}) lacks {len(frozen)} of the frozen tensors ({frozen[0]}), which would freeze '
                'random weights; name weights that have them or set frozen_stages=-1.'
            )
    # What converts names and shapes takes tensors under names of its own.
    own = model.state_dict() if strict or names or not what.startswith('init_cfg') or _loads_as_it_is(model) else None
    check_tensors(weights, f'{path} ({what})', own)
    say(f'{what}: {match} of {total} tensors come from {path}' + (f' (prefix {prefix})' if prefix else '') + '.')


def _loads_as_it_is(model: nn.Module) -> bool:
    """Whether an init_cfg gives a model tensors by name; a class with an ``init_weights`` of its own may convert."""
    plain = getattr(type(model), 'plain', type(model))
    return getattr(plain, 'init_weights', None) is BaseModule.init_weights


def _init_cfgs(module: nn.Module) -> list[dict]:
    """The parts of a module's ``init_cfg`` that load a checkpoint."""
    entries = getattr(module, 'init_cfg', None) or []
    return [
        entry
        for entry in (entries if isinstance(entries, list | tuple) else [entries])
        if type_name(entry.get('type')) in ('Pretrained', 'RenamedPretrained') and entry.get('checkpoint')
    ]


def _sources(cfg: Config, model: nn.Module, name: str) -> Iterator[tuple[str, str | None]]:
    """The checkpoints that give a module weights, and what its tensors' names begin with there.

    None in the place of the latter where it is not known before the checkpoint is loaded.
    """
    if cfg.get('load_from'):
        yield cfg.load_from, f'{name}.'
    for outer, module in model.named_modules():
        if name != outer and outer and not name.startswith(f'{outer}.'):
            continue
        inner = name[len(outer) :].lstrip('.')
        for entry in _init_cfgs(module):
            parts = ((entry.get('prefix') or '').rstrip('.'), inner)
            known = _loads_as_it_is(module) and 'names' not in entry
            yield entry['checkpoint'], ''.join(f'{part}.' for part in parts if part) if known else None


def _given(backbone: nn.Module, path: str, prefix: str | None) -> set[str] | None:
    """The tensors of a backbone that a checkpoint gives; None where that shows when it is loaded, and not before."""
    if prefix is None or is_remote(path):
        return None
    weights = read_state_dict(path, 'weights of a frozen backbone')
    shapes = {key: value.shape for key, value in weights.items()}
    return {key for key, value in backbone.state_dict().items() if shapes.get(f'{prefix}{key}') == value.shape}


def _check_frozen(cfg: Config, model: nn.Module) -> None:
    """Local checkpoints give each backbone that is frozen whole all of its weights, unless random ones are allowed.

    Where one is not local or not known before it is loaded, the backbone itself looks before its first step.
    """
    from ..models.frozen import Frozen, weight_names

    for name, backbone in model.named_modules():
        if not isinstance(backbone, Frozen) or backbone.allow_random or not backbone.not_given:
            continue
        sources = list(_sources(cfg, model, name))
        if not sources:
            raise ConfigError(
                f'model.{name} is frozen and no checkpoint gives its weights; name one in model.{name}.init_cfg (timm '
                f'also takes pretrained=True) or load_from, or freeze random ones with model.{name}.allow_random=True.'
            )
        given = [_given(backbone, path, prefix) for path, prefix in sources]
        missing = set() if None in given else backbone.not_given.difference(*given)
        if missing:
            total = len(weight_names(backbone))
            raise ConfigError(
                f'the frozen model.{name} gets {total - len(missing)} of {total} tensors from '
                f'{" and ".join(path for path, _ in sources)}, and the others ({some_names(missing)}) would stay '
                'random; name a checkpoint of this architecture and its prefix, or freeze random ones with '
                f'model.{name}.allow_random=True.'
            )


def _unwrapped(model: nn.Module) -> nn.Module:
    from mmengine.model import BaseTTAModel, is_model_wrapper

    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def check_weights(cfg: Config, model: nn.Module | None = None, strict: bool = False) -> None:
    """The local checkpoints of a config fit its model.

    ``load_from`` must cover something; with ``strict`` (a test) or ``cfg.resume``, all of the model. Each
    ``init_cfg = dict(type='Pretrained', …)`` must cover something, have no tensor of another shape, and cover all that
    is frozen; ``RenamedPretrained`` must cover all of the layers that it names. What they cover is printed. Files that
    are not local are left to MMEngine. The base of an ``InitFromBaseHook`` must give the whole backbone. So must these
    together, where the backbone is a ``FrozenBackbone``; random weights are frozen only with its ``allow_random``.

    Args:
        model: built from ``cfg``, here where it is None; wrappers for distribution and test-time augmentation are
            looked through.

    Raises:
        ConfigError: a checkpoint does not exist, cannot be read, or does not fit.
    """
    if model is None:
        init_default_scope(cfg.get('default_scope') or 'mmengine')
        model = MODELS.build(cfg.model)
    model = _unwrapped(model)
    strict = strict or bool(cfg.get('resume'))
    load_from = cfg.get('load_from')
    if load_from and not is_remote(load_from) and not (may_be_folder(cfg) and os.path.isdir(load_from)):
        _covers(model, load_from, 'resume' if cfg.get('resume') else 'load_from', strict=strict)
        if cfg.get('resume'):
            check_content(read_content(load_from, 'resume'), load_from, cfg)
    if strict:  # everything is overwritten
        return
    bases = [hook for hook in cfg.get('custom_hooks') or [] if type_name(hook.get('type')) == 'InitFromBaseHook']
    for hook in bases:
        HOOKS.build(hook).check(model)
    if not bases:
        _check_frozen(cfg, model)
    for name, module in model.named_modules():
        for entry in _init_cfgs(module):
            if not is_remote(entry['checkpoint']):
                what = f'init_cfg of model{"." if name else ""}{name}'
                _covers(module, entry['checkpoint'], what, entry.get('prefix') or '', names=entry.get('names'))
