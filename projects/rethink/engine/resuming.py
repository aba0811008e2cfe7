"""A training that is resumed with another config than its checkpoint's: which of the two holds.

A checkpoint brings the options of its optimiser and the state of its schedule along, so that a learning rate or
milestones that the config has now would not be used, without a word of MMEngine. :func:`settle` finds them before
anything is built.
"""

import functools
import warnings
from collections.abc import Iterator, Mapping

from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..config_tree import is_remote, items
from ..errors import ConfigError, say
from ..trust.checkpoints import read_content
from ..trust.dumped import literal_config
from .scaling import Change, table
from .schedules import schedulers

# What a training may have another of when it goes on, and the checkpoint does not override.
_LENGTHS = ('train_cfg.max_iters', 'train_cfg.max_epochs')
_IN_OPTIMIZER = ('optimizer', 'paramwise_cfg')
_ABSENT = '—'


def _blocks(cfg: Mapping) -> dict[str, object]:
    """The parts of a config that a checkpoint overrides, and the length of the training, by their dotted names."""
    found = {'param_scheduler': cfg.get('param_scheduler')}
    wrapper = cfg.get('optim_wrapper') or {}
    several = {f'optim_wrapper.{name}': one for name, one in wrapper.items() if isinstance(one, dict)}
    for name, one in {'optim_wrapper': wrapper, **several}.items():
        if name.rpartition('.')[2] not in _IN_OPTIMIZER:
            found |= {f'{name}.{key}': one.get(key) for key in _IN_OPTIMIZER}
    found |= {name: (cfg.get('train_cfg') or {}).get(name.partition('.')[2]) for name in _LENGTHS}
    scaled = cfg.get('auto_scale_lr') or {}
    found['auto_scale_lr'] = dict(scaled) if scaled.get('enable') else None
    return found


def _leaves(value, name: str) -> Iterator[tuple[str, object]]:
    """The values in a nested config by their dotted names; of a list of numbers the list."""
    nested = list(items(value))
    if not nested or (not isinstance(value, dict) and not any(isinstance(one, dict) for _, one in nested)):
        if value is not None:
            yield name, list(value) if isinstance(value, tuple) else value
        return
    for key, inner in nested:
        yield from _leaves(inner, f'{name}.{key}' if isinstance(value, dict) else f'{name}[{key}]')


def changes(before: Mapping, now: Mapping) -> list[Change]:
    """What a checkpoint overrides of a config and both have another value of, and the length where that differs.

    Args:
        before: the config in the checkpoint.
        now: that of the training that is to go on.
    """
    theirs, ours = _blocks(before), _blocks(now)
    found = []
    for block in dict.fromkeys([*theirs, *ours]):
        old, new = dict(_leaves(theirs.get(block), block)), dict(_leaves(ours.get(block), block))
        for name in dict.fromkeys([*old, *new]):
            if old.get(name, _ABSENT) != new.get(name, _ABSENT):
                found.append(Change(name, old.get(name, _ABSENT), new.get(name, _ABSENT)))
    return found


def _meta_of(path: str) -> dict:
    content = read_content(path, 'resume')
    meta = content.get('meta') if isinstance(content, dict) else None
    return meta if isinstance(meta, dict) else {}


def _config_in(meta: dict) -> dict | None:
    """The config in a checkpoint; None where there is none, or one that is more than values."""
    text = meta.get('cfg')
    try:
        return literal_config(text) if isinstance(text, str) and text.strip() else None
    except (ValueError, SyntaxError):
        return None


def settle(cfg: Config, resume_with: str | None) -> bool:
    """Before a training is resumed: the config and that of the checkpoint agree, or it is said which one holds.

    The seed and the order of the classes are for all of a training, and are the checkpoint's. Where a checkpoint has
    no config within, no more is compared; what it brings along is said when it is loaded.

    Args:
        cfg: after ``--resume``. With ``'old'`` it gets the checkpoint's values.
        resume_with: ``'new'``, ``'old'``, or None: whoever starts the training is asked.

    Returns:
        Whether schedule and options of the optimiser are to be those of the config (:func:`use_new_schedule`).

    Raises:
        ConfigError: they differ in what the checkpoint overrides, and nobody said which is meant; with the list. Or
            they differ in what cannot change within a training.
    """
    path = cfg.get('load_from')
    if not (cfg.get('resume') and path) or is_remote(path) or resume_with not in ('new', 'old', None):
        return False
    meta = _meta_of(path)
    _check_seed(cfg, meta, resume_with)
    if cfg.get('train_dataloader'):
        from ..checks.order import check_checkpoint

        check_checkpoint(cfg)
    before = _config_in(meta)
    if before is None:
        return False
    found = changes(before, literal_config(cfg.pretty_text))
    # The first part of a training that changes its detector is as long as its config says.
    longer = [one for one in found if one.name in _LENGTHS and not cfg.get('switch_from')]
    overridden = [one for one in found if one.name not in _LENGTHS]
    if overridden and resume_with is None:
        listed = '; '.join(f'{one.name} {_show(one.old)} there, {_show(one.new)} here' for one in longer + overridden)
        raise ConfigError(
            f'{path} was trained with another schedule than {cfg.filename} has, and brings its own along: {listed}; '
            "go on with the config's from here (--resume-with new) or with the checkpoint's (--resume-with old)."
        )
    if resume_with == 'old':
        _take_old(cfg, before, [*longer, *overridden])
        return False
    if overridden:
        say(f"--resume-with new: from here on with the config's values, not those of {path}:")
        say(table([*longer, *overridden]))
    elif longer:
        _say_length(cfg, longer[0], path)
    return bool(overridden)


def _check_seed(cfg: Config, meta: dict, resume_with: str | None) -> None:
    """MMEngine takes the checkpoint's, which all that is drawn later follows from."""
    there, here = meta.get('seed'), (cfg.get('randomness') or {}).get('seed')
    if there is None or here is None or there == here:
        return
    if resume_with != 'old':
        raise ConfigError(
            f'{cfg.load_from} was trained with the seed {there} and {cfg.filename} has {here}, and a training keeps '
            f'its seed: go on with randomness.seed={there} (or --resume-with old), or begin another with --work-dir.'
        )
    cfg.randomness.seed = there
    say(f'--resume-with old: with the seed {there} of {cfg.load_from}, not {here}.')


def _show(value) -> str:
    return 'none' if value is _ABSENT else str(value)


def _say_length(cfg: Config, length: Change, path: str) -> None:
    drops = [f'{name}.{key} {one[key]}' for name, one in schedulers(cfg).items() for key in ('milestones', 'end')
             if one.get(key) is not None]  # fmt: skip
    stays = f' ({", ".join(drops)})' if drops else ''
    say(
        f'{length.name} is {length.new}, and was {length.old} when {path} was saved; the schedule is the same in both'
        f'{stays}: what comes after it is trained with the learning rate of its end. To move it as well, change '
        'param_scheduler too, with --resume-with new.'
    )


def _take_old(cfg: Config, before: Mapping, found: list[Change]) -> None:
    if not found:
        return
    say(f"--resume-with old: with the values of {cfg.load_from}, not the config's:")
    say(table([Change(one.name, one.new, one.old) for one in found]))
    for name, value in _blocks(before).items():
        if not any(one.name == name or one.name.startswith((f'{name}.', f'{name}[')) for one in found):
            continue
        *way, last = name.split('.')
        owner = cfg
        for key in way:
            owner = owner[key]
        if value is None:
            owner.pop(last, None)
        else:
            owner[last] = ConfigDict(value) if isinstance(value, dict) else value


# --- the config's ----------------------------------------------------------------------------------------------------


def _wrappers(runner: Runner) -> list:
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def use_new_schedule(runner: Runner) -> None:
    """Let a runner resume weights, state of the optimiser and iteration, and take the rest from its config.

    The options of the optimiser (learning rate, weight decay, …) are those that it was built with. The schedule is at
    the place where it would be, had the training begun with it: its steps until now are counted through.
    """
    resume = runner.resume

    @functools.wraps(resume)
    def with_new(filename, *args, **kwargs):
        # What it was built with: loading a state replaces the groups.
        built = [[dict(group) for group in one.param_groups] for one in _wrappers(runner)]
        resume(filename, *args, **kwargs | dict(resume_param_scheduler=False))
        for wrapper, groups in zip(_wrappers(runner), built, strict=True):
            for group, options in zip(wrapper.param_groups, groups, strict=True):
                group.update({key: value for key, value in options.items() if key != 'params'})
        _count_through(runner)

    runner.resume = with_new


def _count_through(runner: Runner) -> None:
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    epoch = runner.iter // runner.epoch if by_epoch and runner.epoch else 0
    found = runner.param_schedulers or []
    found = [one for some in found.values() for one in some] if isinstance(found, dict) else found
    # One that follows a metric begins here.
    found = [one for one in found if not getattr(one, 'need_val_args', False)]
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*optimizer.step.*')  # whose steps were those of the checkpoint
        for iteration in range(1, runner.iter + 1):
            for scheduler in found:
                if not scheduler.by_epoch or (epoch and iteration % epoch == 0):
                    scheduler.step()
