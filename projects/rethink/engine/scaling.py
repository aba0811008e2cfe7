"""``--auto-scale``: train a config with another total batch size and see the images that the paper saw.

The linear scaling rule (Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.1): with k times the images in
a step, k times the learning rate; and 1/k of the iterations, so that everything counted in iterations happens after
the same number of images. MMEngine's ``--auto-scale-lr`` does the first half.
"""

from collections.abc import Iterator
from typing import NamedTuple

from mmengine.config import Config

from ..config_tree import accumulated, total_batch
from ..errors import ConfigError, say
from ..trust.checkpoints import read_content
from ..trust.dumped import literal_config

# What a parameter scheduler (by_epoch=False) counts in iterations, and which of its numbers are learning rates.
_SCHEDULER_ITERATIONS = ('begin', 'end', 'milestones', 'step_size', 'T_max', 'total_steps', 'periods', 'restarts')
_SCHEDULER_RATES = ('eta_min', 'eta_max')
# What hooks count in iterations: with by_epoch=False, and by their names. LoggerHook's interval is not scaled: how
# often a line is written is no part of the schedule.
_HOOK_ITERATIONS = ('interval', 'save_begin', 'begin', 'end')
_ITERATIONS_BY_NAME = ('begin_iter', 'start_iter', 'end_iter', 'switch_iter')


class Change(NamedTuple):
    """One number of a config, by its dotted name."""

    name: str
    old: object
    new: object


class _Scale:
    """Scales numbers in a nested config in place and remembers which."""

    def __init__(self, rate: float, iterations: float) -> None:
        self.rate, self.iterations = rate, iterations
        self.changes: list[Change] = []

    def _set(self, owner, key, name: str, new) -> None:
        old = owner[key]
        if new != old:
            self.changes.append(Change(name, old, new))
            owner[key] = new

    def _count(self, value):
        if isinstance(value, list | tuple):
            return type(value)(self._count(item) for item in value)
        # 0 is the beginning, negative is never, and 1 is always (as in val_begin=1).
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 1:
            return value
        return max(1, int(value * self.iterations + 0.5))

    def count(self, owner, name: str, *keys: str) -> None:
        """Scale numbers of iterations, also in (nested) lists."""
        for key in keys:
            if owner.get(key) is not None:
                self._set(owner, key, f'{name}.{key}', self._count(owner[key]))

    def learning_rate(self, owner, name: str, *keys: str) -> None:
        for key in keys:
            if owner.get(key):
                # 12 digits: 0.02 / 16 * 2 is to be 0.0025.
                self._set(owner, key, f'{name}.{key}', float(f'{owner[key] * self.rate:.12g}'))

    def optimizer(self, wrapper, name: str) -> None:
        if 'optimizer' in wrapper:
            if 'lr' not in wrapper['optimizer']:
                raise ConfigError(f'--auto-scale needs a learning rate, but {name}.optimizer has no lr.')
            self.learning_rate(wrapper['optimizer'], f'{name}.optimizer', 'lr')
            return
        for key, inner in wrapper.items():  # one for each part of a model
            if isinstance(inner, dict):
                self.optimizer(inner, f'{name}.{key}')

    def schedulers(self, tree, name: str) -> None:
        for place, scheduler in _leaves(tree, name):
            kind = str(scheduler.get('type'))
            if kind.endswith('LR'):
                self.learning_rate(scheduler, place, *_SCHEDULER_RATES)
            if scheduler.get('by_epoch', True):
                continue
            self.count(scheduler, place, *_SCHEDULER_ITERATIONS)
            if kind.startswith('Exponential') and 'gamma' in scheduler:
                # Multiplied in each iteration: the same after the same number of images.
                gamma = scheduler['gamma'] ** (1 / self.iterations)
                self._set(scheduler, 'gamma', f'{place}.gamma', float(f'{gamma:.12g}'))

    def hooks(self, tree, name: str) -> None:
        for place, hook in _leaves(tree, name):
            if hook.get('by_epoch') is False:
                self.count(hook, place, *_HOOK_ITERATIONS)
            self.count(hook, place, *_ITERATIONS_BY_NAME)


def _leaves(tree, name: str) -> Iterator[tuple[str, dict]]:
    """The configs (dicts with a ``type``) in a dict or list of them, with their dotted names."""
    if isinstance(tree, dict) and 'type' in tree:
        yield name, tree
    elif isinstance(tree, dict):
        for key, inner in tree.items():
            yield from _leaves(inner, f'{name}.{key}')
    elif isinstance(tree, list | tuple):
        for index, inner in enumerate(tree):
            yield from _leaves(inner, f'{name}[{index}]')


def scale(cfg: Config, processes: int) -> list[Change]:
    """Scale a config, in place, from ``auto_scale_lr.base_batch_size`` to the batch size of this many processes.

    The numbers of the config are taken to be right for ``base_batch_size`` images in a step, with the
    ``accumulative_counts`` that the config file has. What changes: learning rates in proportion to the images in a
    step; iterations (length, validation, milestones, warm-up, intervals of hooks with ``by_epoch=False``) in inverse
    proportion to the images in an iteration. Epochs stay. A function of the config and the number of processes only,
    so that a resumed run has the same schedule.

    Returns:
        What was changed; empty if the batch size is that of the config.

    Raises:
        ConfigError: the config has no ``base_batch_size``, batch size or learning rate, or was already scaled.
    """
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if not base:
        raise ConfigError(
            '--auto-scale needs auto_scale_lr = dict(base_batch_size=…) in the config, the total batch size that its '
            'schedule is for.'
        )
    in_iteration, in_step = total_batch(cfg, processes)
    done = cfg.get('auto_scaled')
    if done:
        if (done['images_in_iteration'], done['images_in_step']) == (in_iteration, in_step):
            return []
        raise ConfigError(
            f'{cfg.filename} was already scaled, to {done["images_in_step"]} images in a step, and now there are '
            f'{in_step}; use --auto-scale with the config that it came from.'
        )
    # Accumulation that the command line asks for makes iterations smaller than the file's numbers are made for.
    written = accumulated(Config.fromfile(cfg.filename)) if cfg.filename else accumulated(cfg)
    scaler = _Scale(rate=in_step / base, iterations=base / written / in_iteration)
    scaler.optimizer(cfg.get('optim_wrapper') or {}, 'optim_wrapper')
    train = cfg.get('train_cfg') or {}
    if 'max_iters' in train:
        train.setdefault('val_interval', 1000)  # MMEngine's default
        scaler.count(train, 'train_cfg', 'max_iters', 'val_interval', 'val_begin', 'dynamic_intervals')
    scaler.count(cfg.get('switch_from') or {}, 'switch_from', 'iteration')
    scaler.schedulers(cfg.get('param_scheduler'), 'param_scheduler')
    scaler.hooks(cfg.get('default_hooks'), 'default_hooks')
    scaler.hooks(cfg.get('custom_hooks'), 'custom_hooks')
    # MMEngine must not scale the rate again; and the config that is written beside the checkpoints says what it is.
    cfg.auto_scale_lr.enable = False
    cfg.auto_scaled = dict(images_in_iteration=in_iteration, images_in_step=in_step)
    return scaler.changes


def table(changes: list[Change]) -> str:
    """The changes, one a line: dotted name, old and new value."""

    def show(value) -> str:
        return f'{value:g}' if isinstance(value, float) else str(value)

    names = max(len(change.name) for change in changes)
    olds = max(len(show(change.old)) for change in changes)
    return '\n'.join(f'  {c.name:<{names}}  {show(c.old):>{olds}} → {show(c.new)}' for c in changes)


def use_auto_scale(cfg: Config, processes: int) -> None:
    """``--auto-scale``: :func:`scale` the config and print what was changed."""
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    changes = scale(cfg, processes)
    in_iteration, in_step = total_batch(cfg, processes)
    batch = f'{processes} × {cfg.train_dataloader.batch_size}'
    if accumulated(cfg) > 1:
        batch += f' × {accumulated(cfg)} accumulated'
    if not changes:
        say(f'--auto-scale: the total batch size is {in_step} ({batch}), as the config has it: nothing was changed.')
        return
    say(f'--auto-scale: the total batch size is {in_step} ({batch}) and the config is for {base}; changed:')
    say(table(changes))


def check_resume(cfg: Config) -> None:
    """A checkpoint brings its learning rate and milestones with it, so a resumed run needs the batch size it had.

    Raises:
        ConfigError: ``cfg.load_from`` was scaled to another batch size than ``cfg``.
    """
    if not (cfg.get('resume') and cfg.get('load_from') and cfg.get('auto_scaled')) or '://' in cfg.load_from:
        return
    content = read_content(cfg.load_from, 'resume')
    meta = content.get('meta') if isinstance(content, dict) else None
    text = meta.get('cfg') if isinstance(meta, dict) else None
    try:
        before = literal_config(text if isinstance(text, str) else '').get('auto_scaled')
    except (ValueError, SyntaxError):
        before = None
    if before != cfg.auto_scaled:
        step = before.get('images_in_step') if isinstance(before, dict) else None
        had = f'{step} images in a step' if step else 'no --auto-scale'
        raise ConfigError(
            f'{cfg.load_from} was trained with {had}, and this run has {cfg.auto_scaled["images_in_step"]}; resume '
            'with the number of processes, batch size and --auto-scale it was trained with.'
        )
