"""Which checkpoints give a model which of its weights, found before they are loaded.

MMEngine loads what fits and leaves the rest as it is, with a warning in the log.
"""

import copy
import inspect
import os
from collections.abc import Iterator, Mapping

import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model, _load_checkpoint_with_prefix, load_checkpoint
from torch import nn

from ..config_tree import is_remote, type_name
from ..errors import ConfigError, say, some_names, unlogged
from ..registering import use_scope
from ..trust.checkpoints import may_be_folder, read_content
from ..trust.state_dicts import places
from ..trust.tensors import check_tensors, compare, shapes, state_dict, tensors
from ..trust.timm_weights import left_random
from .resumable import check_content


class _Taken(nn.Module):
    """In the place of a model: keeps what MMEngine would load into one."""

    def _load_from_state_dict(self, state_dict, *_) -> None:
        self.weights = dict(state_dict)


# The name by which MMEngine's functions are given a checkpoint that has been read.
_SCHEME = 'read-before://'
_read_before = {}
CheckpointLoader.register_scheme(prefixes=_SCHEME, loader=lambda name, *_, **__: _read_before[name], force=True)


def content_of(path: str, what: str):
    """A checkpoint, whole; one that is not on this machine is downloaded to where MMEngine looks for it.

    In a distributed run all processes have to ask for the same ones, as MMEngine waits for the first to download.
    """
    return CheckpointLoader.load_checkpoint(path, 'cpu', 'silent') if is_remote(path) else read_content(path, what)


def taken(path: str, what: str, prefix: str | None = None, by_runner: bool = False) -> dict[str, torch.Tensor]:
    """The tensors that MMEngine takes from a checkpoint, under the names by which it looks for them in a model.

    They go through MMEngine's own functions, which leave a ``module.`` away where there is no prefix, and only there.

    Args:
        prefix: that of ``init_cfg``; None for all of the file.
        by_runner: as ``load_from`` does it, and not ``init_cfg``.

    Raises:
        ConfigError: the file cannot be read, or has no weights.
    """
    content = content_of(path, what)
    tensors(content.get('state_dict', content) if isinstance(content, dict) else content, path, what)
    if prefix is None:
        model = _Taken()
        revise = inspect.signature(Runner.load_checkpoint if by_runner else load_checkpoint).parameters['revise_keys']
        _load_checkpoint_to_model(model, content, revise_keys=revise.default)
        return {key: value for key, value in model.weights.items() if isinstance(value, torch.Tensor)}
    name = f'{_SCHEME}{path}'
    _read_before[name] = content
    try:
        return _load_checkpoint_with_prefix(prefix, name, map_location='cpu')
    except AssertionError:  # no tensor has the prefix
        return {}
    finally:
        del _read_before[name]


def _fitting_prefix(model: nn.Module, path: str, what: str) -> str | None:
    """The ``prefix`` of ``init_cfg`` that gives a model the most, where there is one that gives it something."""
    content = content_of(path, what)
    names = tensors(content.get('state_dict', content) if isinstance(content, dict) else content, path, what)
    return next((one.prefix for one in places(names, model) if one.prefix), None)


def _covers(
    model: nn.Module, path: str, what: str, prefix: str | None = None, strict: bool = False, names: dict | None = None
) -> None:
    """A checkpoint gives something (``strict``: everything) to a model; says how much.

    ``names`` are layers that it calls otherwise than the model, and that it gives as a whole.
    """
    from ..models.frozen import Frozen
    from ..models.pretrained import rename

    if names:
        content = content_of(path, what)
        weights = tensors(content.get('state_dict', content), path, what)
        weights = rename(weights, names, model, f'{path} ({what})')
    elif what.startswith('init_cfg') and not _loads_as_it_is(model):
        of_file = state_dict(content_of(path, what), path, what)
        weights = _loaded_by(model) or of_file
    else:
        weights = taken(path, what, prefix, by_runner=not what.startswith('init_cfg'))
    match, lacking, differing, total = compare(model, weights)
    if strict and (lacking or differing):
        example = shapes(model, weights, differing[0]) if differing else f'{lacking[0]} is not in the file'
        raise ConfigError(
            f'{path} does not fit the model: {match} of {total} tensors match, {len(lacking)} are missing and '
            f'{len(differing)} have another shape ({example}); use the config that the checkpoint was trained with.'
        )
    if match == 0:
        below = f' below {prefix!r}' if prefix else ''
        first = next(iter(weights), None)
        has = f'the file{below} begins with {first}' if first else f'the file has no tensor{below}'
        fits = _fitting_prefix(model, path, what) if what.startswith('init_cfg') and not names else None
        raise ConfigError(
            f'{path} ({what}) gives the model nothing: 0 of {total} tensors match; {has} and the model with '
            f'{next(iter(model.state_dict()), "nothing")}' + (f'; prefix={fits!r} fits.' if fits else '.')
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
    below = f' (prefix {prefix})' if prefix else ''
    without = f', without {some_names(lacking + differing)}' if lacking or differing else ''
    say(f'{what}: {match} of {total} tensors come from {path}{below}{without}.')


def _loads_as_it_is(model: nn.Module) -> bool:
    """Whether an init_cfg gives a model tensors by name; a class with an ``init_weights`` of its own may convert."""
    plain = getattr(type(model), 'plain', type(model))
    return getattr(plain, 'init_weights', None) is BaseModule.init_weights


def _loaded_by(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that a model loads in its own ``init_weights``, under its names: it may convert those of a file."""
    copied, loaded = copy.deepcopy(model).cpu(), {}

    def keep(state: Mapping, prefix: str, *_) -> None:
        # Of the whole, not of a part within.
        if not prefix:
            loaded.update((key, one) for key, one in state.items() if isinstance(one, torch.Tensor))

    copied._load_from_state_dict = keep
    # What it draws besides, the training is to draw.
    with unlogged(), torch.random.fork_rng(devices=[]):
        copied.init_weights()
    return loaded


def _init_cfgs(module: nn.Module) -> list[dict]:
    """The parts of a module's ``init_cfg`` that load a checkpoint."""
    entries = getattr(module, 'init_cfg', None) or []
    return [
        entry
        for entry in (entries if isinstance(entries, list | tuple) else [entries])
        if type_name(entry.get('type')) in ('Pretrained', 'RenamedPretrained') and entry.get('checkpoint')
    ]


def _sources(cfg: Config, model: nn.Module, name: str) -> Iterator[tuple[str, str | None, dict]]:
    """The checkpoints that give a module weights, what its tensors' names begin with, and how they are read.

    None in the place of the second where it is not known before the checkpoint is loaded.
    """
    if cfg.get('load_from'):
        yield cfg.load_from, f'{name}.', dict(by_runner=True)
    for outer, module in model.named_modules():
        if name != outer and outer and not name.startswith(f'{outer}.'):
            continue
        inner = name[len(outer) :].lstrip('.')
        for entry in _init_cfgs(module):
            known = _loads_as_it_is(module) and 'names' not in entry
            begin = (f'{inner}.' if inner else '') if known else None
            yield entry['checkpoint'], begin, dict(prefix=entry.get('prefix'))


def _given(backbone: nn.Module, path: str, begin: str | None, how: dict, remote: bool) -> set[str] | None:
    """The tensors of a backbone that a checkpoint gives; None where that shows when it is loaded, and not before."""
    if begin is None or (is_remote(path) and not remote):
        return None
    weights = taken(path, 'weights of a frozen backbone', **how)
    shapes = {key: value.shape for key, value in weights.items()}
    return {key for key, value in backbone.state_dict().items() if shapes.get(f'{begin}{key}') == value.shape}


def _check_frozen(cfg: Config, model: nn.Module, remote: bool) -> None:
    """Checkpoints give each backbone that is frozen whole all of its weights, unless random ones are allowed.

    Where one is not known before it is loaded, the backbone itself looks before its first step.
    """
    from ..models.frozen import Frozen, weight_names

    for name, backbone in model.named_modules():
        if not isinstance(backbone, Frozen) or backbone.allow_random or not backbone.not_given:
            continue
        sources = list(_sources(cfg, model, name))
        by_timm = set(left_random(backbone).values())
        if not sources and not by_timm:
            raise ConfigError(
                f'model.{name} is frozen and no checkpoint gives its weights; name one in model.{name}.init_cfg (timm '
                f'also takes pretrained=True) or load_from, or freeze random ones with model.{name}.allow_random=True.'
            )
        given = [_given(backbone, *source, remote) for source in sources]
        missing = set() if None in given else backbone.not_given.difference(*given)
        if missing:
            total = len(weight_names(backbone))
            files = [*by_timm, *(path for path, *_ in sources)]
            raise ConfigError(
                f'the frozen model.{name} gets {total - len(missing)} of {total} tensors from '
                f'{" and ".join(files)}, and the others ({some_names(missing)}) would stay random; '
                'name a checkpoint of this architecture and its prefix, or freeze random ones with '
                f'model.{name}.allow_random=True.'
            )


def _check_timm(model: nn.Module) -> None:
    """What timm was to give weights has some; says what it left random."""
    from ..models.frozen import weight_names

    for name, module in model.named_modules():
        left = left_random(module.timm_model) if hasattr(module, 'timm_model') else {}
        if left:
            total, source = len(weight_names(module.timm_model)), next(iter(left.values()))
            if len(left) == total:
                raise ConfigError(
                    f'model.{name} (pretrained=True) gets none of its {total} tensors from {source}, and would stay '
                    "random without a word of timm; name weights of this architecture in timm's names, or set "
                    'pretrained=False.'
                )
            given = total - len(left)
            say(f'model.{name}: {given} of {total} tensors come from {source}, without {some_names(left)}.')


def _unwrapped(model: nn.Module) -> nn.Module:
    from mmengine.model import BaseTTAModel, is_model_wrapper

    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def check_weights(cfg: Config, model: nn.Module | None = None, strict: bool = False, remote: bool = True) -> None:
    """The checkpoints of a config fit its model.

    ``load_from`` must cover something; with ``strict`` (a test) or ``cfg.resume``, all of the model. Each
    ``init_cfg = dict(type='Pretrained', …)`` must cover something, have no tensor of another shape, and cover all that
    is frozen; ``RenamedPretrained`` must cover all of the layers that it names. What they cover is printed. The
    base of an ``InitFromBaseHook`` must give the whole backbone. So must these together, where the backbone is a
    ``FrozenBackbone``; random weights are frozen only with its ``allow_random``.

    Args:
        model: built from ``cfg``, here where it is None; wrappers for distribution and test-time augmentation are
            looked through.
        remote: download what is not on this machine, as MMEngine would do next; else it is left to the training.

    Raises:
        ConfigError: a checkpoint does not exist, cannot be read, or does not fit.
    """
    if model is None:
        use_scope(cfg.get('default_scope') or 'mmengine')
        model = MODELS.build(cfg.model)
    model = _unwrapped(model)
    strict = strict or bool(cfg.get('resume'))
    load_from = cfg.get('load_from')
    folder = may_be_folder(cfg) and load_from and os.path.isdir(load_from)
    if load_from and not folder and (remote or not is_remote(load_from)):
        _covers(model, load_from, 'resume' if cfg.get('resume') else 'load_from', strict=strict)
        if cfg.get('resume'):
            check_content(content_of(load_from, 'resume'), load_from, cfg)
    if strict:  # everything is overwritten
        return
    bases = [hook for hook in cfg.get('custom_hooks') or [] if type_name(hook.get('type')) == 'InitFromBaseHook']
    for hook in bases:
        HOOKS.build(hook).check(model)
    if not bases:
        _check_frozen(cfg, model, remote)
    if not bases and not load_from:
        _check_timm(model)
    for name, module in model.named_modules():
        for entry in _init_cfgs(module):
            if remote or not is_remote(entry['checkpoint']):
                what = f'init_cfg of model{"." if name else ""}{name}'
                _covers(module, entry['checkpoint'], what, entry.get('prefix'), names=entry.get('names'))
