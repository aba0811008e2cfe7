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
        late = [milestone for milestone in one.get('milestones') or [] if milestone >= length]
        if late:
            what = f'{end}, and the learning rate was to fall at {", ".join(map(str, late))}.'
            yield _late(f'{where}.milestones', what, 'it does not fall there.', 'milestones within the training')
        elif begin >= length:
            what = f'{end}, and {kind} begins at {begin}.'
            yield _late(f'{where}.begin', what, 'it is never used.', 'begin and end within the training')
        elif kind in ('LinearLR', 'ConstantLR') and 'Momentum' not in kind and until and until > length:
            what = f'{end}, and the warm-up ends at {until}.'
            yield _late(f'{where}.end', what, 'the learning rate is never reached.', f'end = less than {length}')
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
    save = hooks.get('checkpoint') or {}
    if save.get('by_epoch', True) == by_epoch and save.get('interval', -1) > length:
        what = f'{end}, and a checkpoint is to be saved every {save.interval}.'
        why = 'there is one at the end, and none to go on from before.'
        if not save.get('save_last', True):
            why = 'there is none at all.'
        yield _late('default_hooks.checkpoint.interval', what, why, f'interval of at most {length}')
    for index, one in enumerate(facts.cfg.get('custom_hooks') or []):
        for key, counts in (('begin_epoch', True), ('begin_iter', False), ('switch_epoch', True)):
            if counts == by_epoch and isinstance(one.get(key), int) and one[key] >= length > 0 < one[key]:
                what = f'{end}, and {type_name(one.get("type"))} begins at {one[key]}.'
                yield _late(f'custom_hooks.{index}.{key}', what, 'it does nothing.', f'{key} below {length}')


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
        if one.get('by_epoch', True) is False and marks and max(marks) == length:
            kind = type_name(one['type'])
            what = f'{kind} counts in iterations (by_epoch=False) and ends at {length}, the number of epochs.'
            why = f'the schedule is over after {length} iterations of the first epoch.'
            yield Finding('error', f'{where}.by_epoch', what, why, _FLAG, f'{where}.by_epoch=True')
    if save.get('by_epoch', True) is False and 0 < save.get('interval', -1) <= min(length, 20):
        what = f'a checkpoint is saved every {save.interval} iterations (by_epoch=False), and the training is of '
        what += f'{length} epochs.'
        fix = 'default_hooks.checkpoint.by_epoch=True'
        why = 'the training spends its time on saving.'
        yield Finding('warning', 'default_hooks.checkpoint.by_epoch', what, why, _FLAG, fix)
