"""Rules of what is to happen at an iteration or an epoch that the training does not have."""

from collections.abc import Iterator

from mmengine.registry import HOOKS

from ..config_tree import type_name
from .facts import Facts
from .findings import Finding, rule
from .schedule_forms import LOOPS, UNITS, after_the_end, as_number, schedules, too_late

_FLAG = 'MMEngine, ParamSchedulerHook and CheckpointHook: by_epoch is True by default'


def _whole_run(facts: Facts) -> tuple[int, bool] | None:
    """Length of a training, and whether in epochs; None where the loop is another one."""
    length, train = facts.length, facts.cfg.get('train_cfg') or {}
    if not length or not train:
        return None
    known = type_name(train.get('type', '')) or ('EpochBasedTrainLoop' if train.get('by_epoch', True) else '')
    return (length, facts.by_epoch) if 'Loop' in known or 'by_epoch' in train else None


@rule('beyond-the-end')
def beyond_the_end(facts: Facts) -> Iterator[Finding]:
    run = _whole_run(facts)
    if run is None:
        return
    length, by_epoch = run
    units = UNITS[by_epoch]
    end = f'the training has {length} {units}'
    for one in schedules(facts, run):
        yield from after_the_end(one)
    yield from _ends_at_nothing(facts, run)
    yield from _patience(facts, run)
    train, hooks = facts.cfg.train_cfg, facts.cfg.get('default_hooks') or {}
    if facts.cfg.get('val_dataloader'):
        # One more than there are is how configs say that there is no validation, or one at the end.
        if (begin := train.get('val_begin', 1)) > length:
            what, level = f'{end}, and validation begins at {begin}.', 'note' if begin == length + 1 else 'warning'
            yield too_late(
                'train_cfg.val_begin', what, 'nothing is validated.', f'val_begin of at most {length}', level
            )
        elif (every := train.get('val_interval', 1)) > length:
            what, level = f'{end}, and validation comes every {every}.', 'note' if every == length + 1 else 'warning'
            fix = f'val_interval of at most {length}'
            yield too_late('train_cfg.val_interval', what, 'it comes once, at the end.', fix, level)
        late = [begin for begin, _ in train.get('dynamic_intervals') or [] if begin > length]
        if late:
            what = f'{end}, and dynamic_intervals change at {", ".join(map(str, late))}.'
            yield too_late('train_cfg.dynamic_intervals', what, 'they do not.', f'at {length} at the latest')
    yield from _hooks_beyond(facts, run)
    every = (hooks.get('logger') or {}).get('interval', 10)
    if not by_epoch and every > length:
        what = f'{end}, and losses are to be logged every {every}.'
        why = 'none is ever logged, nor drawn.'
        yield too_late('default_hooks.logger.interval', what, why, f'interval of at most {length}')


# Hooks, arguments that count iterations, and what does not happen then.
_EVERY = {
    'EMAHook': ('interval', 'the average is that of the first weights.'),
    'MeanTeacherHook': ('interval', 'the teacher stays as it is.'),
    'CheckInvalidLossHook': ('interval', 'no loss is looked at.'),
}


def _hooks_beyond(facts: Facts, run: tuple[int, bool]) -> Iterator[Finding]:
    """Intervals and beginnings of hooks, in iterations also where the loop is one by epochs."""
    from mmengine.hooks import CheckpointHook

    length, by_epoch = run
    of_iterations = f'{facts.iterations} iterations' + (f' ({length} epochs)' if by_epoch else '')
    lengths = {False: (facts.iterations, of_iterations), by_epoch: (length, f'{length} {UNITS[by_epoch]}')}
    if not by_epoch:
        lengths[False] = lengths[by_epoch]
    for where, one in facts.hooks:
        kind, found = type_name(one.get('type')), facts.class_of(HOOKS, one.get('type'))
        saves = where == 'default_hooks.checkpoint' or isinstance(found, type) and issubclass(found, CheckpointHook)
        most, has = lengths.get(bool(one.get('by_epoch', True)), (None, ''))
        if saves and most and as_number(one.get('interval')) > most:
            what = f'the training has {has}, and a checkpoint is to be saved every {one["interval"]}.'
            why = 'there is one at the end, and none to go on from before.'
            if not one.get('save_last', True):
                why = 'there is none at all.'
            yield too_late(f'{where}.interval', what, why, f'interval of at most {most}')
        most, has = lengths[False]
        key, why = _EVERY.get(kind, (None, ''))
        if key and most and as_number(one.get(key)) > most:
            what = f'the training has {has}, and {key} of {kind} is {one[key]}.'
            yield too_late(f'{where}.{key}', what, why, f'{key} of at most {most}')
        for key, counts in (('begin_epoch', True), ('begin_iter', False), ('switch_epoch', True)):
            most, has = lengths.get(counts, (None, ''))
            if most and isinstance(one.get(key), int) and one[key] >= most > 0 < one[key]:
                what = f'the training has {has}, and {kind} begins at {one[key]}.'
                yield too_late(f'{where}.{key}', what, 'it does nothing.', f'{key} below {most}')
        if by_epoch and as_number(one.get('num_last_epochs')) >= length:
            what = f'the training has {lengths[True][1]}, and {kind} is for the last {one["num_last_epochs"]}.'
            fix = f'num_last_epochs below {length}'
            yield too_late(f'{where}.num_last_epochs', what, 'there is no epoch before them.', fix)


def _validations(facts: Facts, length: int) -> int | None:
    train = facts.cfg.get('train_cfg') or {}
    begin, every = train.get('val_begin', 1), train.get('val_interval', 1 if facts.by_epoch else 1000)
    if not facts.cfg.get('val_dataloader') or train.get('dynamic_intervals') or not every or every > length:
        return None
    return sum(at >= begin for at in {*range(int(every), int(length) + 1, int(every)), int(length)})


def _patience(facts: Facts, run: tuple[int, bool]) -> Iterator[Finding]:
    """What waits for more validations than there are; the first is the best so far."""
    number = _validations(facts, run[0])
    if number is None:
        return
    has = f'the training has {number} validation{"s" * (number != 1)}'
    for where, one in facts.schedulers:
        patience = one.get('patience', 10)
        of_losses = one.get('monitor', 'loss') == 'loss'
        if 'ReduceOnPlateau' in type_name(one['type']) and not of_losses and as_number(patience) + 2 > number:
            what = (
                f'{has}, and {type_name(one["type"])} lowers the rate after more than {patience} that are no better.'
            )
            yield too_late(
                f'{where}.patience', what, 'it never does.', 'a smaller patience, or train_cfg.val_interval'
            )
    for where, one in facts.hooks:
        patience = one.get('patience', 5)
        if type_name(one.get('type')) == 'EarlyStoppingHook' and as_number(patience) + 1 > number:
            what = f'{has}, and EarlyStoppingHook stops after {patience} that are no better.'
            fix = 'a smaller patience, or train_cfg.val_interval'
            yield too_late(f'{where}.patience', what, 'it never does.', fix, 'note')


@rule('schedule-ends', ends=True)
def schedule_ends(facts: Facts) -> Iterator[Finding]:
    """A schedule that MMEngine ends with: when it is built, or in the middle of the training."""
    run = _whole_run(facts) if facts.stage == 'train' else None
    for where, one in facts.schedulers if run else ():
        if 'CosineRestart' in type_name(one['type']):
            periods, weights = one.get('periods') or (), one.get('restart_weights', (1,))
            if len(periods) != len(weights):
                what = f'{where} has {len(periods)} periods and {len(weights)} restart_weights.'
                why = 'MMEngine ends when it is built.'
                fix = f'restart_weights = {[1] * len(periods)}, or others of this number'
                yield Finding('error', f'{where}.restart_weights', what, why, 'MMEngine, CosineRestartLR', fix)
    for one in schedules(facts, run) if run else ():
        total = one.cfg.get('total_steps')
        # Its last step is that before the end; one more than there are is taken.
        if one.form == 'OneCycle' and one.exact and total and total + 1 < one.steps:
            what = f'{one.where} has total_steps = {total}, and makes {one.steps}.'
            why = f'MMEngine ends after {total + 1} of them.'
            fix = f'total_steps={one.steps}, or end={one.begin + total}'
            yield Finding('error', f'{one.where}.total_steps', what, why, 'MMEngine, OneCycleLR', fix)


# Schedules that end with a rate of next to nothing.
_DOWN = {'CosineAnnealingLR': 'eta_min', 'PolyLR': 'eta_min'}


def _ends_at_nothing(facts: Facts, run: tuple[int, bool]) -> Iterator[Finding]:
    """A schedule whose rate is 0 long before the end, or rises again from there."""
    rate = facts.optimizer.get('lr')
    for one in schedules(facts, run):
        # Of what may be fewer iterations, the end may be that of the training.
        if one.kind not in _DOWN or not one.exact or one.begin >= one.length:
            continue
        until, units = min(one.end, one.length), UNITS[run[1]]
        period = one.cfg.get('T_max') if one.kind == 'CosineAnnealingLR' else None
        if period and period < one.steps:
            what = f'{one.kind} is at its lowest after T_max = {period} of its {one.steps} {units}.'
            yield too_late(
                f'{one.where}.T_max', what, 'from there the learning rate rises again.', f'T_max={one.steps}'
            )
        lowest = one.cfg.get('eta_min') or 0
        lowest = one.cfg.get('eta_min_ratio', lowest / rate if isinstance(rate, float) and rate else 1)
        incomplete = period and period > one.steps
        if until < one.length and (lowest or 0) < 0.01 and not one.cfg.get('param_name') and not incomplete:
            what = f'{one.kind} ends at {until} of {one.length} {units}, at {lowest or 0:.2g} of the learning rate.'
            yield too_late(f'{one.where}.end', what, 'from there next to nothing is learnt.', f'end={one.length}')


@rule('by-epoch')
def by_epoch(facts: Facts) -> Iterator[Finding]:
    """What counts in epochs where the loop counts in iterations, which is one epoch for the hooks."""
    run = _whole_run(facts)
    if run is None:
        return
    length, epochs = run
    save = (facts.cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if not epochs:
        for where, one in facts.schedulers:
            kind = type_name(one['type'])
            # It steps with validations, whatever the loop.
            counts = one.get('by_epoch', True) and 'ReduceOnPlateau' not in kind
            if counts and not one.get('convert_to_iter_based'):
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
    for where, one in facts.schedulers:
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
    for where, one in facts.schedulers:
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
                yield Finding('error', f'custom_hooks.{index}.{key}', what, why, LOOPS, fix)
