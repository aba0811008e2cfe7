"""What a checkpoint must hold so that a training can go on from it, looked at before MMEngine makes anything of it.

MMEngine resumes what it finds: without an optimiser's state it begins with none, without a schedule at its beginning,
without an EMA from a copy, and an iteration of 10**30 it counts up to. :func:`check_content` looks at the file and the
config, :func:`guard` at the parts of the runner that are to be restored.
"""

import functools
import inspect
import math
import os
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor

from ..errors import ConfigError, say
from ..trust.checkpoints import compare, read_content
from ..trust.soundness import check_tensors, wrong_tensors

# No training counts further, and a float still has it exactly.
_MOST = 2**53
_SEEDS = 2**32  # NumPy takes no larger one


def _wrong(path: str, what: str, instead: str = 'name another checkpoint') -> ConfigError:
    return ConfigError(f'{path} cannot be resumed from: {what}; {instead}.')


def _show(value) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f'a {type(value).__name__}'
    return text if len(text) <= 40 else f'{text[:30]}… of {len(text)} characters'


def _counts(value, below: int = _MOST) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_) and 0 <= value < below


def check_content(content, path: str, cfg: Mapping) -> None:
    """A checkpoint's place in the training, its log, and that it has all parts that a training goes on with.

    Args:
        content: of the checkpoint.
        path: of it, for the sentence of an error.
        cfg: of the training that is to go on.

    Raises:
        ConfigError: a part is not there or of the wrong type, or a number in it is impossible.
    """
    if not isinstance(content, dict):
        raise _wrong(path, f'it holds a {type(content).__name__} and not a checkpoint')
    absent = [key for key in ('meta', 'state_dict', 'message_hub') if key not in content]
    if absent and ('optimizer' not in content or 'state_dict' not in content):
        begin = 'to begin a training with its weights set load_from, and leave --resume away'
        raise _wrong(path, f'it has weights alone (no {", ".join(absent)})', begin)
    for key in ('meta', 'state_dict', 'message_hub'):
        if not isinstance(content.get(key), dict):
            there = f'its {key} is {_show(content[key])} and not a dict' if key in content else f'it has no {key}'
            raise _wrong(path, there)
    _check_place(content['meta'], path, cfg.get('train_cfg') or {})
    _check_hub(content['message_hub'], path)
    if not isinstance(content.get('optimizer'), dict):
        there = f'its optimizer is {_show(content["optimizer"])}' if 'optimizer' in content else 'it has no optimizer'
        raise _wrong(
            path,
            f'{there}, without whose state the training would be another',
            'name one that a training saved with save_optimizer, or begin a training with its weights (load_from)',
        )
    wanted = cfg.get('param_scheduler')
    if wanted and not isinstance(content.get('param_schedulers'), list | dict):
        there = 'param_schedulers'
        there = f'its {there} is {_show(content[there])}' if there in content else f'it has no {there}'
        raise _wrong(
            path,
            f'{there}, without which the schedule would begin anew',
            'name one that a training saved with save_param_scheduler',
        )


def _check_place(meta: dict, path: str, train_cfg: Mapping) -> None:
    for key, most in (('iter', 'max_iters'), ('epoch', 'max_epochs')):
        value, end = meta.get(key), train_cfg.get(most)
        if not _counts(value):
            there = f'its meta.{key} is {_show(value)}' if key in meta else f'it has no meta.{key}'
            raise _wrong(path, f'{there}, which is no number of {key}s that a training has had')
        if _counts(end) and value > end:
            saved = f'it was saved at {key} {value}, and train_cfg.{most} is {end}'
            raise _wrong(path, saved, f'name an earlier one or set {most}')
    if meta.get('seed') is not None and not _counts(meta['seed'], _SEEDS):
        raise _wrong(path, f'its meta.seed is {_show(meta["seed"])}, which is no seed')
    for key in ('cfg', 'config', 'experiment_name'):
        if not isinstance(meta.get(key, ''), str):
            raise _wrong(path, f'its meta.{key} is {_show(meta[key])} and not a text')


def _check_hub(hub: dict, path: str) -> None:
    for key in ('log_scalars', 'runtime_info', 'resumed_keys'):
        if not isinstance(hub.get(key), dict):
            there = f'is {_show(hub[key])} and not a dict' if key in hub else 'is not there'
            raise _wrong(path, f'its message_hub.{key} {there}')
    for name, buffer in hub['log_scalars'].items():
        if not isinstance(name, str) or not _is_history(buffer):
            raise _wrong(path, f'its log of {_show(name)} (message_hub.log_scalars) is no list of numbers')
    info = hub['runtime_info']
    for key, value in info.items():
        if not isinstance(key, str):
            raise _wrong(path, f'its message_hub.runtime_info has the name {_show(key)}')
        # MMEngine removes the file or folder of this name as soon as there is a better one.
        of_best = key.startswith('best_ckpt') and value is not None
        if of_best and not (isinstance(value, str) and Path(value).match('best_*.pth') and not os.path.isdir(value)):
            raise _wrong(path, f'its message_hub.runtime_info.{key} is {_show(value)} and no best_*.pth')
        number = isinstance(value, Real) and not isinstance(value, bool)
        if key.startswith('best_score') and not number and value is not None:
            raise _wrong(path, f'its message_hub.runtime_info.{key} is {_show(value)} and no number')
        if key in ('seed', 'sampler_seed') and not (_counts(value, 2**63) or (value is None and key == 'seed')):
            raise _wrong(path, f'its message_hub.runtime_info.{key} is {_show(value)}, which is no seed')
    kept = info.get('keep_ckpt_ids', [])
    if not isinstance(kept, list | tuple) or not all(map(_counts, kept)):
        raise _wrong(path, f'its message_hub.runtime_info.keep_ckpt_ids is {_show(kept)} and no list of iterations')


def _is_history(buffer) -> bool:
    if not isinstance(buffer, HistoryBuffer):
        return False
    parts = [vars(buffer).get(name) for name in ('_log_history', '_count_history')]
    methods = vars(buffer).get('_statistics_methods', {})
    return (
        all(isinstance(part, np.ndarray) and part.ndim == 1 and part.dtype.kind in 'iuf' for part in parts)
        and len(parts[0]) == len(parts[1])
        and _counts(vars(buffer).get('max_length'))
        and isinstance(methods, dict)
        and all(map(callable, methods.values()))
    )


# --- against the runner ----------------------------------------------------------------------------------------------


def guard(runner: Runner) -> None:
    """Let a runner resume from a sound checkpoint alone, and end with a sentence from any other.

    Raises, when the runner resumes:
        ConfigError: as :func:`check_content`; tensors are none that the model, its EMA or the optimiser can have; or
            optimiser, loss scaler or schedule are of another training.
    """
    original = runner.resume

    @functools.wraps(original)
    def resume(filename, *args, **kwargs):
        if '://' not in str(filename) and not os.path.isdir(filename):
            _check(runner, read_content(str(filename), 'resume'), str(filename))
        try:
            original(filename, *args, **kwargs)
        except ConfigError:
            raise
        except Exception as error:
            text = ' '.join(f'{type(error).__name__}: {error}'.split()).rstrip('.')
            raise _wrong(str(filename), f'MMEngine ends with {text}') from error

    runner.resume = resume


def _check(runner: Runner, content: dict, path: str) -> None:
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    end = dict(max_epochs=runner.max_epochs) if by_epoch else dict(max_iters=runner.max_iters)
    check_content(content, path, dict(train_cfg=end, param_scheduler=runner.param_schedulers))
    _check_weights(runner, content, path)
    wrapper, state = runner.optim_wrapper, content['optimizer']
    wrappers = dict(wrapper.items()) if hasattr(wrapper, 'optim_wrappers') else {None: wrapper}
    for name, one in wrappers.items():
        place = f'the optimizer{"" if name is None else f".{name}"} in {path}'
        _check_optimizer(one, state if name is None else state.get(name), content['meta']['iter'], place)
    own, theirs = runner.param_schedulers, content.get('param_schedulers')
    if own is not None:
        if not isinstance(own, dict):
            own, theirs = {None: own}, {None: theirs}
        for name, schedulers in own.items():
            _check_schedulers(schedulers, theirs.get(name), content['meta'], path, name)


def _check_weights(runner: Runner, content: dict, path: str) -> None:
    model = getattr(runner.model, 'module', runner.model)
    own = model.state_dict()
    weights = {str(key).removeprefix('module.'): value for key, value in content['state_dict'].items()}
    check_tensors(weights, f'{path} (resume)', own)
    match, lacking, differing, total = compare(model, weights)
    if lacking or differing:
        raise _wrong(path, f'{match} of {total} tensors of the model match ({(lacking + differing)[0]} does not)')
    averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    there = content.get('ema_state_dict')
    if averages:
        if not isinstance(there, dict):
            raise _wrong(path, 'it has no ema_state_dict, and the training has an EMA (EMAHook)', 'take the hook away')
        tensors = {key: value for key, value in there.items() if isinstance(value, Tensor)}
        match, lacking, differing, total = compare(averages[0].ema_model, tensors)
        if lacking or differing:
            first = (lacking + differing)[0]
            raise _wrong(path, f'{match} of {total} tensors of its ema_state_dict match ({first} does not)')
        check_tensors(there, f'{path} (resume, ema_state_dict)', averages[0].ema_model.state_dict())
    elif 'ema_state_dict' in content:
        averaged = 'its weights are averages of a training with EMA, and this one has none'
        raise _wrong(path, averaged, 'add that EMAHook to the config')


def _alike(value, own) -> bool:
    """Whether a value that was saved can stand where this one is: of its kind, and a number of any use."""
    if own is None or isinstance(own, bool):
        return value is None or isinstance(value, bool) or (own is None and isinstance(value, Real | str))
    if isinstance(own, Tensor):
        return isinstance(value, Real | Tensor) and not isinstance(value, bool)
    if isinstance(own, Real):
        if isinstance(value, Integral) and abs(value) > _MOST:
            return False
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        number = isinstance(value, Real) and not isinstance(value, bool) and (math.isfinite(value) or value == own)
        return number and not value < 0 <= own
    if isinstance(own, Mapping):
        return isinstance(value, Mapping) and all(map(_counts, value.values()))  # how often, of milestones
    if isinstance(own, list | tuple):
        same = isinstance(value, list | tuple) and len(value) == len(own)
        return same and all(_alike(one, mine) for one, mine in zip(value, own, strict=True))
    return isinstance(value, type(own)) or isinstance(own, type(value))


def _check_optimizer(wrapper, state, iteration: int, what: str) -> None:
    """The state of one optimiser is of this class, of these parameters, and has numbers.

    Raises:
        ConfigError: it is not, or not.
    """

    def wrong(how: str, instead: str = 'resume with the config that it was trained with') -> ConfigError:
        return ConfigError(f'cannot resume: {what} {how}; {instead}.')

    if not isinstance(state, dict):
        raise wrong(f'is {_show(state)} and not a dict')
    groups, found = state.get('param_groups'), state.get('state')
    own = wrapper.optimizer.param_groups
    if not isinstance(groups, list) or not isinstance(found, dict) or not all(isinstance(one, dict) for one in groups):
        raise wrong('has no state and param_groups')
    if len(groups) != len(own):
        raise wrong(f'has {len(groups)} groups of parameters and that of this config {len(own)}')
    parameters = {}
    for number, (group, mine) in enumerate(zip(groups, own, strict=True)):
        indices = group.get('params')
        if not isinstance(indices, list) or not all(map(_counts, indices)):
            raise wrong(f'has no list of parameters in its group {number}')
        if len(indices) != len(mine['params']):
            raise wrong(
                f'has {len(indices)} parameters in its group {number}, and that of this config {len(mine["params"])}'
            )
        parameters |= dict(zip(indices, mine['params'], strict=True))
    if len(parameters) != sum(len(mine['params']) for mine in own):
        raise wrong('names a parameter twice')
    _check_groups(wrapper.optimizer, groups, what, wrong)
    # Before its first step, gradients being accumulated, an optimiser has no state.
    stepped = iteration >= getattr(wrapper, '_accumulative_counts', 1)
    _check_state(wrapper.optimizer, found, parameters, stepped, what, wrong)
    _check_scaler(wrapper, state, what, wrong)


def _check_groups(optimizer, groups: list[dict], what: str, wrong) -> None:
    # What another version of PyTorch has not written yet its optimisers fill in.
    trial = type(optimizer).__new__(type(optimizer))
    trial.__setstate__(dict(defaults=optimizer.defaults, state={}, param_groups=[dict(group) for group in groups]))
    told = False
    for number, (group, full) in enumerate(zip(groups, trial.param_groups, strict=True)):
        lacking = [key for key in optimizer.defaults if key not in full]
        if lacking:
            raise wrong(
                f'is of another class: its groups have no {lacking[0]}, which {type(optimizer).__name__} needs'
            )
        own = {key: mine for key, mine in optimizer.param_groups[number].items() if key != 'params' and key in group}
        for key, mine in own.items():
            value = group[key]
            fits = isinstance(value, bool | None) if mine is None else _alike(value, mine)
            if not fits:
                raise wrong(f'has {_show(value)} for {key} in its group {number}')
        # What a schedule changes is not what the config says.
        kept = [key for key in own if key != 'lr' and f'initial_{key}' not in own and group[key] != own[key]]
        if kept and not told:
            key, told = kept[0], True
            say(f'{what} brings its options: {key} is {_show(group[key])} there, the config has {_show(own[key])}.')


def _trial_state(optimizer) -> dict | None:
    """What this optimiser keeps of a parameter (here of (2, 3)) after one step; None where it cannot be tried."""
    group = optimizer.param_groups[0]
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    parameter.grad = torch.ones(2, 3)
    taken = set(inspect.signature(type(optimizer)).parameters)
    try:
        trial = type(optimizer)(
            [parameter], **{key: group[key] for key in optimizer.defaults if key in taken & set(group)}
        )
        trial.step()
    except Exception:  # a closure, a gradient of another kind, arguments of its own
        return None
    return dict(trial.state[parameter])


def _check_state(optimizer, found: dict, parameters: dict, stepped: bool, what: str, wrong) -> None:
    # A wrapped step counts for the schedule; of this class another object is tried.
    expected = _trial_state(optimizer)
    if stepped and not found and any(isinstance(one, Tensor) for one in (expected or {}).values()):
        raise wrong(f'has no state, and that of a {type(optimizer).__name__} has {", ".join(expected)}')
    for index, state in found.items():
        if index not in parameters or not isinstance(state, dict):
            raise wrong(f'has the state of a parameter {_show(index)} that is not in its groups, or is no dict')
        for name in {**(expected or {}), **state}:
            if name not in state:
                raise wrong(f'has no {name} of parameter {index}, which {type(optimizer).__name__} keeps')
            how = _wrong_state(name, state[name], (expected or {}).get(name), parameters[index].shape)
            if how:
                raise wrong(f'has for parameter {index} a {name} that {how}')
    if found and len(found) < len(parameters):
        say(f'{what} has the state of {len(found)} of {len(parameters)} parameters.')


def _wrong_state(name: str, value, like, shape: torch.Size) -> str | None:
    """Why a value is not what an optimiser keeps of a parameter of this shape; None where it can be.

    Args:
        like: what it keeps of one of (2, 3); None where that is not known.
    """
    if isinstance(value, Tensor):
        if isinstance(like, Tensor):
            # As large as the parameter in one is as large as it in another.
            if like.shape == (2, 3) and value.shape != shape:
                return f'is {tuple(value.shape)}, and the parameter {tuple(shape)} in the model'
            if like.dim() == 0 and value.numel() != 1:
                return f'is {tuple(value.shape)} and not one number'
            if like.is_floating_point() != value.is_floating_point():
                return f'is of {value.dtype}'
        _, how = next(wrong_tensors({name: value}), (None, None))
        return 'is negative' if how is None and name == 'step' and value.numel() == 1 and value < 0 else how
    if value is None and name == 'momentum_buffer':  # of SGD, before it has begun
        return None
    of_parameter = isinstance(like, Tensor) and like.dim() > 0
    if of_parameter or (like is not None and not _alike(value, like)) or (name == 'step' and value < 0):
        return f'is {_show(value)}'
    return f'is {value}' if isinstance(value, float) and not math.isfinite(value) else None


def _check_scaler(wrapper, state: dict, what: str, wrong) -> None:
    scaler, there = getattr(wrapper, 'loss_scaler', None), state.get('loss_scaler')
    if scaler is None:
        if there:
            say(f'{what}: the loss scaler (AMP) is left away, which this training has not.')
        return
    own = scaler.state_dict()
    if own and not isinstance(there, dict):
        raise wrong('has no loss_scaler: it was trained without AMP, and this training has it', 'leave --amp away')
    for key, mine in own.items():
        if not _alike(there.get(key), mine) or there[key] < 0 or (key == 'scale' and there[key] == 0):
            raise wrong(f'has {_show(there.get(key))} for loss_scaler.{key}')


# What a scheduler has counted, and not what its config says.
_COUNTED = {'last_step', '_global_step', '_last_value', 'base_values', 'verbose'}


def _check_schedulers(own: list, theirs, meta: dict, path: str, name: str | None) -> None:
    """As many schedulers as the config has, each with what this one has, and at the iteration of the checkpoint."""
    place = 'param_schedulers' if name is None else f'param_schedulers.{name}'
    if not isinstance(theirs, list | tuple) or len(theirs) != len(own):
        has = f'has {len(theirs)}' if isinstance(theirs, list | tuple) else f'is {_show(theirs)}'
        raise _wrong(path, f'its {place} {has}, and the config has {len(own)} schedulers')
    for number, (scheduler, state) in enumerate(zip(own, theirs, strict=True)):
        this = f'{place}[{number}]'
        if not isinstance(state, dict):
            raise _wrong(path, f'its {this} is {_show(state)} and not a dict')
        mine = scheduler.state_dict()
        kind = type(scheduler).__name__
        for key, value in mine.items():
            if key not in state:
                raise _wrong(path, f'its {this} has no {key}, which {kind} needs', 'name one of this schedule')
            if not _alike(state[key], value) or (key in ('by_epoch', 'param_name') and state[key] != value):
                raise _wrong(path, f'its {this}.{key} is {_show(state[key])}', 'name one of this schedule')
        for key in ('last_step', '_global_step'):
            # A scheduler whose begin has not come has made no step, which is -1.
            waits = key == 'last_step' and state[key] == -1 and mine.get('begin', 0) >= meta['iter']
            if key in mine and not waits and not _counts(state[key]):
                raise _wrong(path, f'its {this}.{key} is {_show(state[key])}')
        steps = state.get('_global_step')
        # Before or after its step of this iteration, whichever hook came first.
        if steps is not None and state.get('by_epoch') is False and not 0 <= meta['iter'] - steps <= 1:
            raise _wrong(path, f'its {this} is at step {steps} and the training at iteration {meta["iter"]}')
        changed = list(_differences(mine, state))
        if changed:
            key = changed[0]
            theirs, ours = _show(state[key]), _show(mine[key])
            say(f'{path} brings its schedule along: {this}.{key} is {theirs} there, the config has {ours}.')


def _differences(mine: dict, state: dict) -> Iterator[str]:
    for key, value in mine.items():
        if key not in _COUNTED and state[key] != value:
            yield key
