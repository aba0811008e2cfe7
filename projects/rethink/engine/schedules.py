"""The schedule of a training by iterations, and whether it ends where the training ends."""

from mmengine.config import Config, ConfigDict

from ..errors import say

# Learning rates of an iteration that are the same whenever the training ends.
_WITHOUT_END = ('MultiStep', 'Step', 'Exponential')
# Where a scheduler says when it ends.
ENDS = ('end', 'T_max', 'total_steps')


def schedulers(cfg: Config) -> dict[str, ConfigDict]:
    """Those of a config, by their dotted names."""
    found = cfg.get('param_scheduler') or []
    if isinstance(found, list | tuple):
        return {f'param_scheduler.{index}': one for index, one in enumerate(found)}
    return {'param_scheduler': found}


def without_end(scheduler: dict) -> bool:
    """Whether what it does at an iteration does not depend on where it ends."""
    return str(scheduler['type']).rsplit('.', 1)[-1].startswith(_WITHOUT_END)


def missing_overrides(cfg: Config, before: int) -> list[str]:
    """What fits the schedule of a training of ``before`` iterations to the length that ``cfg`` has now.

    Meant are schedulers that ended with the training and whose values depend on it (a cosine, say), and milestones
    that the training does not reach any more; these are moved in proportion. A warm-up, a schedule that ends at
    another iteration on purpose, and drops within the training stay as they are.

    Returns:
        ``KEY=VALUE``, as ``--cfg-options`` has it.
    """
    now = cfg.train_cfg.max_iters
    missing = []
    for name, scheduler in schedulers(cfg).items():
        if 'type' not in scheduler or scheduler.get('by_epoch', True):
            continue
        if not without_end(scheduler):
            missing += [f'{name}.{key}={now}' for key in ENDS if scheduler.get(key) == before]
        milestones = scheduler.get('milestones') or []
        if any(now <= milestone < before for milestone in milestones):
            moved = ','.join(str(milestone * now // before) for milestone in milestones)
            missing.append(f'{name}.milestones=[{moved}]')
    return missing


def check_length(cfg: Config) -> None:
    """Say which overrides are missing where the command line gives a training another length than its file.

    It is no error: whoever tries ten iterations does not care.
    """
    now = (cfg.get('train_cfg') or {}).get('max_iters')
    before = (Config.fromfile(cfg.filename).get('train_cfg') or {}).get('max_iters')
    if not isinstance(now, int) or not isinstance(before, int) or now == before:
        return
    missing = missing_overrides(cfg, before)
    if missing:
        say(
            f'train_cfg.max_iters is {now}, and the schedule is still that of {before} iterations; to end it with the '
            f'training, add {" ".join(missing)} to --cfg-options.'
        )
