"""Rules of what is to happen at an iteration or an epoch that the training does not have."""

from collections.abc import Iterator

from ..config_tree import type_name
from .facts import Facts
from .findings import Finding, rule

_LOOPS = 'MMEngine, EpochBasedTrainLoop and IterBasedTrainLoop'
_UNITS = {True: 'epochs', False: 'iterations'}
_FLAG = 'MMEngine, ParamSchedulerHook and CheckpointHook: by_epoch is True by default'


def _schedulers(facts: Facts) -> Iterator[tuple[str, dict]]:
    found = facts.cfg.get('param_scheduler') or []
    for index, one in enumerate([found] if isinstance(found, dict) else found):
        if isinstance(one, dict) and 'type' in one:
            yield ('param_scheduler' if isinstance(found, dict) else f'param_scheduler.{index}'), one


def _whole_run(facts: Facts) -> tuple[int, bool] | None:
    """Length of a training, and whether in epochs; None where the loop is another one."""
    length, train = facts.length, facts.cfg.get('train_cfg') or {}
    if not length or not train:
        return None
    known = type_name(train.get('type', '')) or ('EpochBasedTrainLoop' if train.get('by_epoch', True) else '')
    return (length, facts.by_epoch) if 'Loop' in known or 'by_epoch' in train else None


def _late(where: str, what: str, why: str, fix: str, level: str = 'warning') -> Finding:
    return Finding(level, where, what, why, _LOOPS, fix)


@rule('beyond-the-end')
def beyond_the_end(facts: Facts) -> Iterator[Finding]:
    run = _whole_run(facts)
    if run is None:
        return
    length, by_epoch = run
    units = _UNITS[by_epoch]
    end = f'the training has {length} {units}'
    for where, one in _schedulers(facts):
        if one.get('by_epoch', True) != by_epoch:
            continue
        begin, until, kind = one.get('begin', 0), one.get('end'), type_name(one['type'])
        milestones = one.get('milestones') or []
        late = [milestone for milestone in milestones if milestone >= length]
        beyond = [milestone for milestone in milestones if until and milestone >= until]
        if beyond and not late:
            what = f'{kind} ends at {until}, and the learning rate was to fall at {", ".join(map(str, beyond))}.'
            yield _late(f'{where}.end', what, 'it does not fall there.', f'end={length}')
        if late:
            what = f'{end}, and the learning rate was to fall at {", ".join(map(str, late))}.'
            yield _late(f'{where}.milestones', what, 'it does not fall there.', 'milestones within the training')
        elif begin >= length:
            what = f'{end}, and {kind} begins at {begin}.'
            yield _late(f'{where}.begin', what, 'it is never used.', 'begin and end within the training')
        elif kind in ('LinearLR', 'ConstantLR') and 'Momentum' not in kind and until and until > length:
            what = f'{end}, and the warm-up ends at {until}.'
            yield _late(f'{where}.end', what, 'the learning rate is never reached.', f'end = less than {length}')
    yield from _warm_up_in_iterations(facts, run)
    yield from _ends_at_nothing(facts, run)
    train, hooks = facts.cfg.train_cfg, facts.cfg.get('default_hooks') or {}
    if facts.cfg.get('val_dataloader'):
        # One more than there are is how configs say that there is no validation, or one at the end.
        if (begin := train.get('val_begin', 1)) > length:
            what, level = f'{end}, and validation begins at {begin}.', 'note' if begin == length + 1 else 'warning'
            yield _late('train_cfg.val_begin', what, 'nothing is validated.', f'val_begin of at most {length}', level)
        elif (every := train.get('val_interval', 1)) > length:
            what, level = f'{end}, and validation comes every {every}.', 'note' if every == length + 1 else 'warning'
            fix = f'val_interval of at most {length}'
            yield _late('train_cfg.val_interval', what, 'it comes once, at the end.', fix, level)
        late = [begin for begin, _ in train.get('dynamic_intervals') or [] if begin > length]
        if late:
            what = f'{end}, and dynamic_intervals change at {", ".join(map(str, late))}.'
            yield _late('train_cfg.dynamic_intervals', what, 'they do not.', f'at {length} at the latest')
    save = hooks.get('checkpoint') or {}
    if save.get('by_epoch', True) == by_epoch and save.get('interval', -1) > length:
        what = f'{end}, and a checkpoint is to be saved every {save.interval}.'
        why = 'there is one at the end, and none to go on from before.'
        if not save.get('save_last', True):
            why = 'there is none at all.'
        yield _late('default_hooks.checkpoint.interval', what, why, f'interval of at most {length}')
    every = (hooks.get('logger') or {}).get('interval', 10)
    if not by_epoch and every > length:
        what = f'{end}, and losses are to be logged every {every}.'
        why = 'none is ever logged, nor drawn.'
        yield _late('default_hooks.logger.interval', what, why, f'interval of at most {length}')
    for index, one in enumerate(facts.cfg.get('custom_hooks') or []):
        for key, counts in (('begin_epoch', True), ('begin_iter', False), ('switch_epoch', True)):
            if counts == by_epoch and isinstance(one.get(key), int) and one[key] >= length > 0 < one[key]:
                what = f'{end}, and {type_name(one.get("type"))} begins at {one[key]}.'
                yield _late(f'custom_hooks.{index}.{key}', what, 'it does nothing.', f'{key} below {length}')


def _warm_up_in_iterations(facts: Facts, run: tuple[int, bool]) -> Iterator[Finding]:
    """A warm-up in iterations of a training in epochs, of which small data have few."""
    iterations = facts.iterations
    for where, one in _schedulers(facts) if run[1] and iterations else ():
        kind, until = type_name(one['type']), one.get('end')
        if one.get('by_epoch', True) or kind not in ('LinearLR', 'ConstantLR') or not until or until <= iterations:
            continue
        what = f'the training has {iterations} iterations ({run[0]} epochs), and the warm-up ends at {until}.'
        fix = f'{where}.end = less than {iterations}, or more epochs'
        yield _late(f'{where}.end', what, 'the learning rate is never reached.', fix)


# Schedules that end with a rate of next to nothing.
_DOWN = {'CosineAnnealingLR': 'eta_min', 'PolyLR': 'eta_min'}


def _ends_at_nothing(facts: Facts, run: tuple[int, bool]) -> Iterator[Finding]:
    """A schedule whose rate is 0 long before the end, or rises again from there."""
    length, by_epoch = run
    rate = facts.optimizer.get('lr')
    for where, one in _schedulers(facts):
        kind, begin = type_name(one['type']), one.get('begin', 0)
        if kind not in _DOWN or one.get('by_epoch', True) != by_epoch or begin >= length:
            continue
        until = min(one.get('end') or length, length)
        period = one.get('T_max') if kind == 'CosineAnnealingLR' else None
        if period and period < until - begin:
            what = f'{kind} is at its lowest after T_max = {period} of its {until - begin} {_UNITS[by_epoch]}.'
            yield _late(f'{where}.T_max', what, 'from there the learning rate rises again.', f'T_max={until - begin}')
        lowest = one.get('eta_min_ratio', (one.get('eta_min') or 0) / rate if isinstance(rate, float) and rate else 1)
        if until < length and (lowest or 0) < 0.01 and not one.get('param_name'):
            what = f'{kind} ends at {until} of {length} {_UNITS[by_epoch]}, at {lowest or 0:.2g} of the learning rate.'
            yield _late(f'{where}.end', what, 'from there next to nothing is learnt.', f'end={length}')


@rule('by-epoch')
def by_epoch(facts: Facts) -> Iterator[Finding]:
    """What counts in epochs where the loop counts in iterations, which is one epoch for the hooks."""
    run = _whole_run(facts)
    if run is None:
        return
    length, epochs = run
    save = (facts.cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if not epochs:
        for where, one in _schedulers(facts):
            if one.get('by_epoch', True) and not one.get('convert_to_iter_based'):
                kind = type_name(one['type'])
                what = f'{kind} counts in epochs (by_epoch=True, the default), and the training in iterations.'
                why = 'the learning rate never changes by it: a loop by iterations is one epoch.'
                yield Finding('error', f'{where}.by_epoch', what, why, _FLAG, f'{where}.by_epoch=False')
        yield from _by_few_iterations(facts, length)
        yield from _hooks_by_epoch(facts)
        interval = save.get('interval', -1)
        if save.get('by_epoch', True) and interval > 1:
            what = (
                f'a checkpoint is to be saved every {interval} epochs (by_epoch=True, the default), and the training '
            )
            what += 'counts in iterations.'
            why = 'there is one at the end, and none to go on from before: a loop by iterations is one epoch.'
            fix = 'default_hooks.checkpoint.by_epoch=False'
            yield Finding('warning', 'default_hooks.checkpoint.by_epoch', what, why, _FLAG, fix)
        return
    for where, one in _schedulers(facts):
        marks = [*(one.get('milestones') or []), one.get('end'), one.get('T_max')]
        marks = [mark for mark in marks if isinstance(mark, int)]
        # No data set has so few that the drops of an epoch schedule would be its iterations.
        few = max(marks, default=0) == length or bool(one.get('milestones')) and max(marks) < length
        if one.get('by_epoch', True) is False and few:
            kind = type_name(one['type'])
            what = f'{kind} counts in iterations (by_epoch=False) and ends at {max(marks)}, of {length} epochs.'
            why = f'the schedule is over after {max(marks)} iterations of the first epoch.'
            yield Finding('error', f'{where}.by_epoch', what, why, _FLAG, f'{where}.by_epoch=True')
    if save.get('by_epoch', True) is False and 0 < save.get('interval', -1) <= min(length, 20):
        what = f'a checkpoint is saved every {save.interval} iterations (by_epoch=False), and the training is of '
        what += f'{length} epochs.'
        fix = 'default_hooks.checkpoint.by_epoch=True'
        why = 'the training spends its time on saving.'
        yield Finding('warning', 'default_hooks.checkpoint.by_epoch', what, why, _FLAG, fix)


def _by_few_iterations(facts: Facts, length: int) -> Iterator[Finding]:
    """Drops of a schedule of epochs that were kept as iterations."""
    for where, one in _schedulers(facts):
        drops = one.get('milestones') or []
        if drops and one.get('by_epoch', True) is False and max(drops) < length / 100:
            what = f'the learning rate falls at {", ".join(map(str, drops))} of {length} iterations.'
            why = 'nearly all of the training is at the last rate; a schedule of epochs has such numbers.'
            fix = f'{where}.milestones in iterations, such as {[length * 2 // 3, length * 8 // 9]}'
            yield Finding('error', f'{where}.milestones', what, why, _FLAG, fix)


# Arguments of hooks that count in epochs, and what begins with them.
_OF_EPOCHS = ('begin_epoch', 'switch_epoch', 'num_last_epochs')


def _hooks_by_epoch(facts: Facts) -> Iterator[Finding]:
    for index, one in enumerate(facts.cfg.get('custom_hooks') or []):
        kind = type_name(one.get('type'))
        for key in _OF_EPOCHS:
            if isinstance(one.get(key), int) and one[key] > 0:
                what = f'{kind} counts in epochs ({key}={one[key]}), and the training in iterations.'
                why = 'it never begins: a loop by iterations is one epoch.'
                fix = 'begin_iter in its place' if key == 'begin_epoch' else 'a loop by epochs, or leave it out'
                yield Finding('error', f'custom_hooks.{index}.{key}', what, why, _LOOPS, fix)
