"""What a checkpoint must hold so that a training can go on from it, looked at before MMEngine makes anything of it.

MMEngine resumes what it finds: without an optimiser's state it begins with none, without a schedule at its beginning,
without an EMA from a copy, and an iteration of 10**30 it counts up to. :func:`check_content` looks at the file and the
config, :func:`guard` at the parts of the runner that are to be restored.
"""

import functools
import os
from collections.abc import Mapping
from numbers import Real
from pathlib import Path

import numpy as np
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor

from ..errors import ConfigError
from ..trust.checkpoints import read_content
from ..trust.tensors import check_tensors, compare
from .optimizer_state import check_optimizer, check_schedulers, counts, show, wrong

_SEEDS = 2**32  # NumPy takes no larger one


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
        raise wrong(path, f'it holds a {type(content).__name__} and not a checkpoint')
    absent = [key for key in ('meta', 'state_dict', 'message_hub') if key not in content]
    if absent and ('optimizer' not in content or 'state_dict' not in content):
        begin = 'to begin a training with its weights set load_from, and leave --resume away'
        raise wrong(path, f'it has weights alone (no {", ".join(absent)})', begin)
    for key in ('meta', 'state_dict', 'message_hub'):
        if not isinstance(content.get(key), dict):
            raise wrong(path, _there(content, key, ' and not a dict'))
    _check_place(content['meta'], path, cfg.get('train_cfg') or {})
    _check_hub(content['message_hub'], path)
    if not isinstance(content.get('optimizer'), dict):
        raise wrong(
            path,
            f'{_there(content, "optimizer")}, without whose state the training would be another',
            'name one that a training saved with save_optimizer, or begin a training with its weights (load_from)',
        )
    wanted = cfg.get('param_scheduler')
    if wanted and not isinstance(content.get('param_schedulers'), list | dict):
        raise wrong(
            path,
            f'{_there(content, "param_schedulers")}, without which the schedule would begin anew',
            'name one that a training saved with save_param_scheduler',
        )


def _there(content: dict, key: str, what: str = '', of: str = '') -> str:
    return f'its {of}{key} is {show(content[key])}{what}' if key in content else f'it has no {of}{key}'


def _check_place(meta: dict, path: str, train_cfg: Mapping) -> None:
    for key, most in (('iter', 'max_iters'), ('epoch', 'max_epochs')):
        value, end = meta.get(key), train_cfg.get(most)
        if not counts(value):
            raise wrong(path, f'{_there(meta, key, of="meta.")}, which is no number of {key}s that a training has had')
        if counts(end) and value > end:
            saved = f'it was saved at {key} {value}, and train_cfg.{most} is {end}'
            raise wrong(path, saved, f'name an earlier one or set {most}')
    if meta.get('seed') is not None and not counts(meta['seed'], _SEEDS):
        raise wrong(path, f'its meta.seed is {show(meta["seed"])}, which is no seed')
    for key in ('cfg', 'config', 'experiment_name'):
        if not isinstance(meta.get(key, ''), str):
            raise wrong(path, f'its meta.{key} is {show(meta[key])} and not a text')


def _check_hub(hub: dict, path: str) -> None:
    for key in ('log_scalars', 'runtime_info', 'resumed_keys'):
        if not isinstance(hub.get(key), dict):
            there = f'is {show(hub[key])} and not a dict' if key in hub else 'is not there'
            raise wrong(path, f'its message_hub.{key} {there}')
    for name, buffer in hub['log_scalars'].items():
        if not isinstance(name, str) or not _is_history(buffer):
            raise wrong(path, f'its log of {show(name)} (message_hub.log_scalars) is no list of numbers')
    info = hub['runtime_info']
    for key, value in info.items():
        if not isinstance(key, str):
            raise wrong(path, f'its message_hub.runtime_info has the name {show(key)}')
        # MMEngine removes the file or folder of this name as soon as there is a better one.
        of_best = key.startswith('best_ckpt') and value is not None
        if of_best and not (isinstance(value, str) and Path(value).match('best_*.pth') and not os.path.isdir(value)):
            raise wrong(path, f'its message_hub.runtime_info.{key} is {show(value)} and no best_*.pth')
        number = isinstance(value, Real) and not isinstance(value, bool)
        if key.startswith('best_score') and not number and value is not None:
            raise wrong(path, f'its message_hub.runtime_info.{key} is {show(value)} and no number')
        if key in ('seed', 'sampler_seed') and not (counts(value, 2**63) or (value is None and key == 'seed')):
            raise wrong(path, f'its message_hub.runtime_info.{key} is {show(value)}, which is no seed')
    kept = info.get('keep_ckpt_ids', [])
    if not isinstance(kept, list | tuple) or not all(map(counts, kept)):
        raise wrong(path, f'its message_hub.runtime_info.keep_ckpt_ids is {show(kept)} and no list of iterations')


def _is_history(buffer) -> bool:
    if not isinstance(buffer, HistoryBuffer):
        return False
    parts = [vars(buffer).get(name) for name in ('_log_history', '_count_history')]
    methods = vars(buffer).get('_statistics_methods', {})
    return (
        all(isinstance(part, np.ndarray) and part.ndim == 1 and part.dtype.kind in 'iuf' for part in parts)
        and len(parts[0]) == len(parts[1])
        and counts(vars(buffer).get('max_length'))
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
            schedule = kwargs.get('resume_param_scheduler', True)
            _check(runner, read_content(str(filename), 'resume'), str(filename), schedule)
        try:
            original(filename, *args, **kwargs)
        except ConfigError:
            raise
        except Exception as error:
            text = ' '.join(f'{type(error).__name__}: {error}'.split()).rstrip('.')
            raise wrong(str(filename), f'MMEngine ends with {text}') from error

    runner.resume = resume


def _check(runner: Runner, content: dict, path: str, schedule: bool) -> None:
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    end = dict(max_epochs=runner.max_epochs) if by_epoch else dict(max_iters=runner.max_iters)
    check_content(content, path, dict(train_cfg=end, param_scheduler=runner.param_schedulers))
    _check_weights(runner, content, path)
    wrapper, state = runner.optim_wrapper, content['optimizer']
    wrappers = dict(wrapper.items()) if hasattr(wrapper, 'optim_wrappers') else {None: wrapper}
    for name, one in wrappers.items():
        place = f'the optimizer{"" if name is None else f".{name}"} in {path}'
        check_optimizer(one, state if name is None else state.get(name), content['meta']['iter'], place, schedule)
    own, theirs = runner.param_schedulers, content.get('param_schedulers')
    if own is not None and schedule:
        if not isinstance(own, dict):
            own, theirs = {None: own}, {None: theirs}
        for name, schedulers in own.items():
            check_schedulers(schedulers, theirs.get(name), content['meta'], path, name)


def _check_weights(runner: Runner, content: dict, path: str) -> None:
    model = getattr(runner.model, 'module', runner.model)
    own = model.state_dict()
    weights = {str(key).removeprefix('module.'): value for key, value in content['state_dict'].items()}
    check_tensors(weights, f'{path} (resume)', own)
    match, lacking, differing, total = compare(model, weights)
    if lacking or differing:
        raise wrong(path, f'{match} of {total} tensors of the model match ({(lacking + differing)[0]} does not)')
    averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    there = content.get('ema_state_dict')
    if averages:
        if not isinstance(there, dict):
            raise wrong(path, 'it has no ema_state_dict, and the training has an EMA (EMAHook)', 'take the hook away')
        tensors = {key: value for key, value in there.items() if isinstance(value, Tensor)}
        match, lacking, differing, total = compare(averages[0].ema_model, tensors)
        if lacking or differing:
            first = (lacking + differing)[0]
            raise wrong(path, f'{match} of {total} tensors of its ema_state_dict match ({first} does not)')
        check_tensors(there, f'{path} (resume, ema_state_dict)', averages[0].ema_model.state_dict())
    elif 'ema_state_dict' in content:
        averaged = 'its weights are averages of a training with EMA, and this one has none'
        raise wrong(path, averaged, 'add that EMAHook to the config')
