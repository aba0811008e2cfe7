"""The folder of some chains: what is planned, whether it can run, how it goes on when started again, what came out."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS

from ...analysis.logs import read_run
from ...analysis.markdown import markdown_table
from ...checks import stop_on_errors
from ...config_tree import config_content, first_difference
from ...engine import launch
from ...engine.exported import exported
from ...engine.hooks.hierarchy import InitFromBaseHook, check_queue
from ...errors import ConfigError, say
from ...files import sha256, write_atomically
from ...trust.checkpoints import read_checkpoint
from ..jobs import Job
from .defaults import BN_IMAGES
from .images import images_in, images_of
from .lengths import same_until, set_length
from .names import check_name, kind_of, steps_of
from .steps import Step, StepJob

# What a chain puts into the config of each of its steps, in the place of what the config has.
_OWN_HOOKS = ('InitFromBaseHook', 'TrainBNOnlyHook', 'ExportBackboneHook')


class Chains:
    """The folder of some chains: ``chains.json`` and, below a folder for each seed, one for each step.

    Args:
        folder: need not exist.
        cfg: a self-supervised training by iterations; its hooks, images and length are replaced in each step.
        base: local checkpoint of any writer that :mod:`rethink.engine.weights` knows; by default that of the config's
            ``InitFromBaseHook``.
        source, target: names for :func:`.images.images_of`; the target is by default what the config trains on.
        processes: of each training.
        bn_images: for the statistics of B.

    Raises:
        ConfigError: data that there are not, or a folder that holds other chains or something else.
    """

    def __init__(
        self,
        folder: str | Path,
        cfg: Config,
        base: str | None = None,
        source: str | None = None,
        target: str | None = None,
        processes: int = 1,
        bn_images: int = BN_IMAGES,
    ) -> None:
        self.folder, self.cfg, self.processes, self.bn_images = Path(folder), cfg, processes, bn_images
        if not (cfg.get('model') or {}).get('data_preprocessor') or not cfg.get('train_dataloader'):
            raise ConfigError(f'{cfg.filename} is no training: it has no model.data_preprocessor or train_dataloader.')
        self.hooks = {hook['type']: dict(hook) for hook in cfg.get('custom_hooks') or [] if hook['type'] in _OWN_HOOKS}
        base = base or self.hooks.get('InitFromBaseHook', {}).get('checkpoint')
        self.base = Path(base) if base else None
        self.images = dict(
            source=images_of(source) if source else None,
            target=images_of(target) if target else images_in(cfg, cfg.filename),
        )
        self._steps: list[dict] = []
        self._before: dict = {}
        record = self.folder / 'chains.json'
        if record.is_file():
            self._read(record)
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigError(f'{folder} is not empty and holds no chains; name another folder with --out-dir.')

    # --- the record ---

    def _provenance(self, with_base: bool) -> dict:
        """What decides what a step is; None for what is not used."""
        cfg = copy.deepcopy(self.cfg)
        cfg.train_dataloader.dataset.clear()
        cfg.train_dataloader.dataset.pipeline = self.cfg.train_dataloader.dataset.get('pipeline')
        cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] not in _OWN_HOOKS]
        cfg.custom_hooks += [dict(hook, checkpoint=None) for hook in self.hooks.values()]
        trained_by = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks')
        plain = config_content(cfg)
        for key in ('mean', 'std'):
            plain['model']['data_preprocessor'].pop(key, None)
        # _replace: a data set is what it is, by whatever name it was asked for.
        images = {role: one and one._replace(name='')._asdict() for role, one in self.images.items()}
        return dict(
            config={key: plain.get(key) for key in trained_by},
            base=sha256(self.base) if with_base else None,
            **json.loads(json.dumps(images, default=str)),
            processes=self.processes,
            bn_images=self.bn_images,
        )

    def _read(self, record: Path) -> None:
        try:
            content = json.loads(record.read_text())
            self._before, self._steps = dict(content['provenance']), list(content['steps'])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f'{record} is not the record of chains ({error!r}); name another --out-dir.') from error

    def save(self, steps: Sequence[Step]) -> None:
        """Write the record, with these steps beside those that are there.

        Raises:
            ConfigError: the folder holds chains that begin otherwise.
        """
        now = self._provenance(any(step.base for step in steps))
        for key, value in self._before.items():
            if value is None or now.get(key) is None:  # not needed then, or not needed now
                now[key] = value or now.get(key)
            elif where := first_difference(value, now[key], key):
                what = f'begin with another base than {self.base}' if key == 'base' else f'differ in {where}'
                raise ConfigError(f'{self.folder} holds chains that {what}; name another folder with --out-dir.')
        rows = {(row['step'], row['iterations']): row for row in self._steps}
        for step in steps:
            for length, path in step.exports.items():
                rows[step.name, length] = dict(
                    step=step.name,
                    chain=step.chain,
                    seed=step.seed,
                    config=self.cfg.filename,
                    data=self.images[step.data].name,
                    base=str(step.base) if step.base else None,
                    iterations=length,
                    export=str(path.relative_to(self.folder)),
                )
        self._before, self._steps = now, list(rows.values())
        content = dict(provenance=now, steps=self._steps)
        write_atomically(self.folder / 'chains.json', json.dumps(content, indent=1).encode())

    # --- the plan ---

    def plan(
        self,
        chains: Sequence[str],
        lengths: Mapping[str, Sequence[int]],
        seeds: Sequence[int] = (0,),
        source_lengths: Sequence[int] = (),
    ) -> list[Step]:
        """The steps of some chains, each once, and after those that it needs.

        Args:
            lengths: as :data:`.defaults.LENGTHS`; a chain has those of its last step.
            source_lengths: of the source in a chain that goes on to the target; where there are none, as long as the
                step after it.

        Raises:
            ConfigError: an unknown chain, one without its base or source, or lengths of a source that is in no chain.
        """
        # Of each step the iterations of the trainings up to it.
        wanted: dict[str, list[tuple[int, ...]]] = {}
        for chain in chains:
            check_name(chain)
            if 'B' in chain.split('+') and self.base is None:
                raise ConfigError(f'{chain} begins with a base; name its checkpoint with --base.')
            if self.images['source'] is None and '+S' in chain:
                raise ConfigError(f'{chain} goes through a source; name its data with --source.')
            parts = steps_of(chain)
            for length in lengths.get(kind_of(chain), (0,)):
                for before in (source_lengths or [length]) if len(parts) > 1 else [length]:
                    whole = (before, length)[-len(parts) :]
                    for number, part in enumerate(parts, 1):
                        there = wanted.setdefault(part, [])
                        there += [] if whole[:number] in there else [whole[:number]]
        if source_lengths and not any(len(steps_of(chain)) > 1 for chain in chains):
            raise ConfigError(
                f'--source-iters is of a chain that goes on from its source, and {", ".join(chains)} does not; ask '
                'for B+S+T, or give B+S its length with --iters.'
            )
        steps: list[Step] = []
        for seed in seeds:
            # What a step has written, for the steps after it.
            wrote: dict[tuple[str, tuple[int, ...]], Step] = {}
            for part in sorted(wanted, key=lambda part: part.count('+')):
                for group in self._trainings(part, seed, sorted(wanted[part])):
                    step = self._step(part, seed, group, wrote)
                    steps.append(step)
                    wrote |= {(part, whole): step for whole in group}
        return steps

    def _trainings(self, chain: str, seed: int, wanted: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
        """Which lengths are one training: all that begin alike, if the schedule lets them go on alike."""
        lengths = [whole[-1] for whole in wanted]
        if chain == 'B' or len(steps_of(chain)) > 1 or not same_until(self.cfg, lengths):
            return [[whole] for whole in wanted]
        # Lengths that were asked for together before, or alone.
        recorded: dict[str, list[int]] = {}
        for row in self._steps:
            if (row['chain'], row['seed']) == (chain, seed):
                recorded.setdefault(row['step'], []).append(row['iterations'])
        groups = [[(one,) for one in sorted(group)] for group in recorded.values() if set(group) & set(lengths)]
        there = [group for group in groups if self._step(chain, seed, group, {}).finished]
        left = [whole for whole in wanted if not any(whole in group for group in there)]
        return [*there, left] if left else there

    def _step(self, chain: str, seed: int, group: list[tuple[int, ...]], wrote: dict) -> Step:
        lengths = tuple(whole[-1] for whole in group)
        name = chain if chain == 'B' else f'{chain}_{"-".join(map(_written, group))}'
        work_dir = self.folder / f'seed{seed}' / name
        if chain == 'T':
            return Step(chain, seed, lengths, work_dir, None)
        before = [part for part in steps_of(chain) if part != chain]
        if not before:
            return Step(chain, seed, lengths, work_dir, self.base)
        # A step behind another is of one length.
        ((*earlier, _),) = group
        after = wrote[before[-1], tuple(earlier)]
        return Step(chain, seed, lengths, work_dir, after.exports[earlier[-1]], after)

    def config(self, step: Step) -> Config:
        """What a step trains: the config, with the step's images, beginning, length and seed."""
        cfg = copy.deepcopy(self.cfg)
        self.images[step.data].put_into(cfg)
        kind = kind_of(step.chain)
        hooks = []
        if step.base and kind != 'statistics':
            begin = self.hooks.get('InitFromBaseHook', dict(type='InitFromBaseHook'))
            hooks.append(dict(begin, checkpoint=str(step.base)))
        hooks += [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] not in _OWN_HOOKS]
        if kind == 'bn':
            # The projector is thrown away, and has no BN to train.
            hooks.append(self.hooks.get('TrainBNOnlyHook', dict(type='TrainBNOnlyHook', also=['neck'])))
        if kind != 'statistics':
            *earlier, last = step.lengths
            set_length(cfg, last)
            hooks.append(dict(type='ExportBackboneHook', at=earlier))
        cfg.custom_hooks = hooks
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=step.seed)
        return cfg

    def jobs(self, steps: Sequence[Step], train: list[str], estimate: list[str]) -> list[Job]:
        """What runs some steps, in this order; their configs are not written yet.

        Args:
            train: the command of ``tools/train.py``, without arguments.
            estimate: that of ``tools/model_converters/reestimate_bn.py``.
        """
        made: dict[Step, Job] = {}
        for step in steps:
            config = str(step.work_dir / 'step.py')
            after = [made[step.after]] if step.after else []
            if kind_of(step.chain) == 'statistics':
                command = [
                    *estimate,
                    config,
                    str(step.base),
                    str(step.exports[0]),
                    '--num-images',
                    str(self.bn_images),
                ]
                size = dict(iterations=1)  # beside a training, it takes no time to speak of
            else:
                command = [*train, config, '--work-dir', str(step.work_dir), '--resume']
                size = dict(iterations=step.lengths[-1], parallel=True)
            made[step] = StepJob(step.name, command, step.work_dir, after=after, step=step, **size)
        return list(made.values())

    def write_config(self, step: Step) -> None:
        """Where the step's job reads it."""
        write_atomically(step.work_dir / 'step.py', self.config(step).pretty_text.encode())

    # --- what can be known before ---

    @property
    def _batch(self) -> int:
        return self.cfg.train_dataloader.batch_size * self.processes

    def check(self, steps: Sequence[Step]) -> None:
        """What can be known before the first step starts.

        Raises:
            ConfigError: the first thing that is wrong: images, base, queue or schedule.
        """
        if not steps:
            return
        wanted = (self.cfg.get('auto_scale_lr') or {}).get('base_batch_size')
        if wanted and wanted != self._batch:
            say(
                f'Each step has {self._batch} images ({self.processes} × {self.cfg.train_dataloader.batch_size}) and '
                f'the learning rate is for {wanted}; change --gpus or train_dataloader.batch_size.'
            )
        for role in sorted({step.data for step in steps}):
            self._check_images(role)
        for step in steps:
            self.config(step)
        model = MODELS.build(self.cfg.model)
        check_queue(model, self._batch)
        if any(step.base == self.base for step in steps if step.base):
            arguments = {key: one for key, one in self.hooks.get('InitFromBaseHook', {}).items() if key != 'type'}
            InitFromBaseHook(**{**arguments, 'checkpoint': self.base}).initialise(model)

    def _check_images(self, role: str) -> None:
        cfg = copy.deepcopy(self.cfg)
        self.images[role].put_into(cfg)
        # A base of a step may be written by another one.
        cfg.custom_hooks = []
        stop_on_errors(cfg)
        name = f'the {role} {self.images[role].name}'
        try:
            number = len(DATASETS.build(cfg.train_dataloader.dataset))
        except Exception as error:
            raise ConfigError(f'{name} cannot be read: {launch.describe(error)}.') from error
        if number < self._batch:
            raise ConfigError(
                f'{name} has {number} images, fewer than the {self._batch} of a batch in all processes; complete it '
                'or lower train_dataloader.batch_size.'
            )

    # --- results ---

    def table(self) -> str:
        """Every export that was ever asked for in this folder, as Markdown; also in ``table.md``."""
        titles = ('chain', 'seed', 'data', 'base', 'iterations', 'export', 'time', 'run')
        text = markdown_table(titles, map(self._cells, self._steps))
        write_atomically(self.folder / 'table.md', f'{self.cfg.filename}, in {self.folder}\n\n{text}\n'.encode())
        return text

    def _cells(self, row: dict) -> list:
        export = self.folder / row['export']
        run = read_run(export.parent)
        seconds, state = None, f'at {run.iteration} of {row["iterations"]}' if run.iteration else 'missing'
        if exported(export, row['iterations']):
            state = 'finished'
            each = [entry['time'] for at, entry in run.train.items() if at <= row['iterations'] and 'time' in entry]
            seconds = sum(each) / len(each) * row['iterations'] if each else None
            seconds = read_checkpoint(export)['meta'].get('seconds', seconds)
        elif (export.parent / 'failed.txt').is_file():
            state = f'failed at {run.iteration}'
        base = Path(row['base']) if row['base'] else 'random'
        if row['base'] and self.folder in base.parents:
            base = base.relative_to(self.folder)
        spent = '' if seconds is None else _duration(seconds)
        return [*(row[key] for key in ('chain', 'seed', 'data')), base, row['iterations'], row['export'], spent, state]


def _written(lengths: Sequence[int]) -> str:
    """``(500, 500)`` → ``500``, ``(50000, 5000)`` → ``50000+5000``: source and target, where they differ."""
    return '+'.join(map(str, lengths if len(set(lengths)) > 1 else lengths[-1:]))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes // 60} h {minutes % 60:02d} min' if minutes >= 60 else f'{minutes} min {rest:02d} s'
