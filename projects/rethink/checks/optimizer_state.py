"""The state of an optimiser, its loss scaler and its schedules in a checkpoint, against those that are to go on."""

import inspect
import math
from collections.abc import Iterator, Mapping
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, say
from ..trust.tensors import wrong_tensors

# No training counts further, and a float still has it exactly.
_MOST = 2**53


def wrong(path: str, what: str, instead: str = 'name another checkpoint') -> ConfigError:
    return ConfigError(f'{path} cannot be resumed from: {what}; {instead}.')


def show(value) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f'a {type(value).__name__}'
    return text if len(text) <= 40 else f'{text[:30]}… of {len(text)} characters'


def counts(value, below: int = _MOST) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_) and 0 <= value < below


def alike(value, own) -> bool:
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
        return isinstance(value, Mapping) and all(map(counts, value.values()))  # how often, of milestones
    if isinstance(own, list | tuple):
        same = isinstance(value, list | tuple) and len(value) == len(own)
        return same and all(alike(one, mine) for one, mine in zip(value, own, strict=True))
    return isinstance(value, type(own)) or isinstance(own, type(value))


def check_optimizer(wrapper, state, iteration: int, what: str, brings_options: bool = True) -> None:
    """The state of one optimiser is of this class, of these parameters, and has numbers.

    Args:
        brings_options: its options are taken along, and it is said where they are not those of the config.

    Raises:
        ConfigError: it is not, or not.
    """

    def wrong(how: str, instead: str = 'resume with the config that it was trained with') -> ConfigError:
        return ConfigError(f'cannot resume: {what} {how}; {instead}.')

    if not isinstance(state, dict):
        raise wrong(f'is {show(state)} and not a dict')
    groups, found = state.get('param_groups'), state.get('state')
    own = wrapper.optimizer.param_groups
    if not isinstance(groups, list) or not isinstance(found, dict) or not all(isinstance(one, dict) for one in groups):
        raise wrong('has no state and param_groups')
    if len(groups) != len(own):
        raise wrong(f'has {len(groups)} groups of parameters and that of this config {len(own)}')
    parameters = {}
    for number, (group, mine) in enumerate(zip(groups, own, strict=True)):
        indices = group.get('params')
        if not isinstance(indices, list) or not all(map(counts, indices)):
            raise wrong(f'has no list of parameters in its group {number}')
        if len(indices) != len(mine['params']):
            raise wrong(
                f'has {len(indices)} parameters in its group {number}, and that of this config {len(mine["params"])}'
            )
        parameters |= dict(zip(indices, mine['params'], strict=True))
    if len(parameters) != sum(len(mine['params']) for mine in own):
        raise wrong('names a parameter twice')
    _check_groups(wrapper.optimizer, groups, what, wrong, brings_options)
    # Before its first step, gradients being accumulated, an optimiser has no state.
    stepped = iteration >= getattr(wrapper, '_accumulative_counts', 1)
    _check_state(wrapper.optimizer, found, parameters, stepped, what, wrong)
    _check_scaler(wrapper, state, what, wrong)


def _check_groups(optimizer, groups: list[dict], what: str, wrong, brings_options: bool) -> None:
    # What another version of PyTorch has not written yet its optimisers fill in.
    trial = type(optimizer).__new__(type(optimizer))
    trial.__setstate__(dict(defaults=optimizer.defaults, state={}, param_groups=[dict(group) for group in groups]))
    told = not brings_options
    for number, (group, full) in enumerate(zip(groups, trial.param_groups, strict=True)):
        lacking = [key for key in optimizer.defaults if key not in full]
        if lacking:
            raise wrong(
                f'is of another class: its groups have no {lacking[0]}, which {type(optimizer).__name__} needs'
            )
        own = {key: mine for key, mine in optimizer.param_groups[number].items() if key != 'params' and key in group}
        for key, mine in own.items():
            value = group[key]
            fits = isinstance(value, bool | None) if mine is None else alike(value, mine)
            if not fits:
                raise wrong(f'has {show(value)} for {key} in its group {number}')
        # What a schedule changes is not what the config says.
        kept = [key for key in own if key != 'lr' and f'initial_{key}' not in own and group[key] != own[key]]
        if kept and not told:
            key, told = kept[0], True
            say(f'{what} brings its options: {key} is {show(group[key])} there, the config has {show(own[key])}.')


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
            raise wrong(f'has the state of a parameter {show(index)} that is not in its groups, or is no dict')
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
    if of_parameter or (like is not None and not alike(value, like)) or (name == 'step' and value < 0):
        return f'is {show(value)}'
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
        if not alike(there.get(key), mine) or there[key] < 0 or (key == 'scale' and there[key] == 0):
            raise wrong(f'has {show(there.get(key))} for loss_scaler.{key}')


# What a scheduler has counted, and not what its config says.
_COUNTED = {'last_step', '_global_step', '_last_value', 'base_values', 'verbose'}


def check_schedulers(own: list, theirs, meta: dict, path: str, name: str | None) -> None:
    """As many schedulers as the config has, each with what this one has, and at the iteration of the checkpoint."""
    place = 'param_schedulers' if name is None else f'param_schedulers.{name}'
    if not isinstance(theirs, list | tuple) or len(theirs) != len(own):
        has = f'has {len(theirs)}' if isinstance(theirs, list | tuple) else f'is {show(theirs)}'
        raise wrong(path, f'its {place} {has}, and the config has {len(own)} schedulers')
    for number, (scheduler, state) in enumerate(zip(own, theirs, strict=True)):
        this = f'{place}[{number}]'
        if not isinstance(state, dict):
            raise wrong(path, f'its {this} is {show(state)} and not a dict')
        mine = scheduler.state_dict()
        kind = type(scheduler).__name__
        for key, value in mine.items():
            if key not in state:
                raise wrong(path, f'its {this} has no {key}, which {kind} needs', 'name one of this schedule')
            if not alike(state[key], value) or (key in ('by_epoch', 'param_name') and state[key] != value):
                raise wrong(path, f'its {this}.{key} is {show(state[key])}', 'name one of this schedule')
        for key in ('last_step', '_global_step'):
            # A scheduler whose begin has not come has made no step, which is -1.
            waits = key == 'last_step' and state[key] == -1 and mine.get('begin', 0) >= meta['iter']
            if key in mine and not waits and not counts(state[key]):
                raise wrong(path, f'its {this}.{key} is {show(state[key])}')
        steps = state.get('_global_step')
        # Before or after its step of this iteration, whichever hook came first.
        if steps is not None and state.get('by_epoch') is False and not 0 <= meta['iter'] - steps <= 1:
            raise wrong(path, f'its {this} is at step {steps} and the training at iteration {meta["iter"]}')
        changed = list(_differences(mine, state))
        if changed:
            key = changed[0]
            theirs, ours = show(state[key]), show(mine[key])
            say(f'{path} brings its schedule along: {this}.{key} is {theirs} there, the config has {ours}.')


def _differences(mine: dict, state: dict) -> Iterator[str]:
    for key, value in mine.items():
        if key not in _COUNTED and state[key] != value:
            yield key
