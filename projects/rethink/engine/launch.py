"""From a command line to a running Runner: what ``tools/train.py`` and ``tools/test.py`` do, in parts.

The config is read here; its processes are those of :mod:`rethink.engine.processes`, and how it ends is in
:mod:`rethink.engine.endings`. Importing it imports neither PyTorch nor MMDetection, which few tools need.
"""

import contextlib
import difflib
import functools
import os
import pickle
import re
import signal
import threading
import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config, ConfigDict
from mmengine.utils import import_modules_from_strings

from .. import registering
from ..checks import schema
from ..config_tree import is_remote, items
from ..errors import ConfigError, describe, say
from ..files import write_atomically
from ..reuse import config_path
from ..stopping import stopped_by_a_signal
from ..trust.checkpoints import latest_checkpoint, may_be_folder, say_what_is_overwritten
from ..trust.soundness import check_kind
from . import faults
from .amp import use_amp
from .endings import cannot_be_built, one_sentence, several_trainings, where
from .processes import end_processes, ranks, set_local_rank, start_processes

if TYPE_CHECKING:
    from .runner import SteadyRunner

__all__ = [
    'build_runner',
    'complete',
    'config_file',
    'describe',
    'dump_predictions',
    'end_processes',
    'import_custom',
    'load_config',
    'one_sentence',
    'override',
    'ranks',
    'read_config',
    'set_local_rank',
    'several_trainings',
    'start_processes',
    'use_amp',
    'use_auto_scale_lr',
    'use_resume',
    'use_tta',
    'where',
]


def _nearest(path: Path) -> str:
    """', did you mean …' for a config that does not exist, from the configs around it and those of this project."""
    roots = [folder for folder in path.parents if folder.name == 'configs'] or [Path('configs')]
    known = {str(file) for root in roots if root.is_dir() for file in root.rglob('*.py')}
    # Not below it: that of /x.py is the whole disk.
    known |= {str(file) for file in path.parent.glob('*.py')}
    # Names differ in their last part more often than in the folder, so both are compared.
    by_name = difflib.get_close_matches(path.name, {Path(file).name for file in known}, 3, 0.6)
    near = sorted((file for file in known if Path(file).name in by_name), key=lambda f: by_name.index(Path(f).name))
    near += [file for file in difflib.get_close_matches(str(path), known, 3, 0.6) if file not in near]
    return f'; the nearest names are {", ".join(near[:3])}.' if near else '; the path is relative to where you are.'


def _syntax_error(path: Path) -> str | None:
    """'file:line: message' of the first file in a config's chain of bases that is not Python."""
    import ast

    try:
        tree = ast.parse(path.read_text(encoding='utf-8'), str(path))
    except SyntaxError as error:
        return f'{path}:{error.lineno}: {error.msg}'
    except ValueError as error:  # not UTF-8, or with a zero byte
        return f'{path}: {describe(error)}'
    for base in _bases(path, tree):
        found = _syntax_error(base) if base.is_file() else None
        if found:
            return found
    return None


def _bases(path: Path, tree) -> list[Path]:
    """The files that a parsed config names in ``_base_``, there or not."""
    import ast

    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_base_':
            with contextlib.suppress(ValueError):
                bases = ast.literal_eval(node.value)
                return [path.parent / base for base in ([bases] if isinstance(bases, str) else bases)]
    return []


_VARIABLE = re.compile(r'\{\{\s*\$(\w+):([^}\s]*)\s*\}\}')


def _absent_base(path: Path) -> str | None:
    """A sentence on the first base in a chain that is not there, and the environment variable that names it."""
    import ast

    for base in _bases(path, ast.parse(path.read_text(encoding='utf-8'))):
        named = [name for name, _ in _VARIABLE.findall(str(base)) if name in os.environ]
        base = Path(_VARIABLE.sub(lambda one: os.environ.get(one[1], one[2]), str(base)))
        if '::' in str(base) or '{{' in str(base):
            continue
        if base.is_file():
            found = _absent_base(base) if base.suffix == '.py' else None
            if found:
                return found
            continue
        sets = ''.join(f', which the environment variable {one}={os.environ[one]} names' for one in named)
        near = sorted(base.parent.glob('*.py')) if named else []
        names = [file.stem for file in near if not named or file.stem.split('_')[0] == base.stem.split('_')[0]]
        there = f'; there are {", ".join(names)}.' if names else _nearest(base)
        return f'the base {base} of {path} does not exist{sets}{there}'
    return None


def _check_bases(path: Path, above: tuple[Path, ...] = ()) -> None:
    """The bases of a config are files, where they are there: MMEngine reads a FIFO until somebody writes into it."""
    import ast

    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # said when the config is read
        return
    for base in _bases(path, tree):
        check_kind(base, f'the base of {path},')
        if base.is_file() and base.suffix == '.py' and base not in above:
            _check_bases(base, (*above, base))


def config_file(name: str) -> str:
    """The file of a config: ``name`` itself, or that of ``package::path``, which an installed package carries.

    Raises:
        ConfigError: there is no such package, or it is rethink and has no such config.
    """
    package, found, path = name.partition('::')
    if not found:
        return name
    if package == 'rethink':
        try:
            return config_path(path)
        except FileNotFoundError as error:
            raise ConfigError(str(error)) from None
    # MMEngine has the same for packages on its own list, by way of pkg_resources, which setuptools has dropped.
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f'{name} names the package {package!r}, which is not installed; install it or name a file.')
    folder = Path(spec.submodule_search_locations[0]) / '.mim' / 'configs'
    return str(folder / (path if path.endswith('.py') else f'{path}.py'))


def read_config(path: str, import_custom_modules: bool = True) -> Config:
    """Read a config as it is: a file, or ``package::path``.

    Raises:
        ConfigError: no such file (with the nearest names), or an error in it or in a base (with file and line).
    """
    path = config_file(path)
    file = Path(path)
    if not file.is_file():
        if file.exists():
            raise ConfigError(f'{path} is {"a folder" if file.is_dir() else "no file"}; name a config.')
        raise ConfigError(f'there is no config {path}' + _nearest(file))
    _check_bases(file)
    with _told(file), _within(_READ, file):
        cfg = Config.fromfile(path, import_custom_modules=False)
    if import_custom_modules:
        import_custom(cfg)
    if not len(cfg):
        raise ConfigError(f'the config {path} is empty; name one that has a model and data.')
    return cfg


def import_custom(cfg: Config) -> None:
    """Import what a config asks for in ``custom_imports``, after what this package registers.

    Raises:
        ConfigError: that fails.
    """
    if cfg.get('custom_imports'):
        with _told(Path(cfg.filename)):
            registering.now()
            import_modules_from_strings(**cfg.custom_imports)


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    """What goes wrong while a config runs, as a sentence with the file and line."""
    try:
        yield
    except ConfigError:
        raise
    except SyntaxError as error:
        raise ConfigError(f'the config has a syntax error at {_syntax_error(file) or error}.') from error
    except Exception as error:
        if faults.of_the_disk(error):  # MMEngine copies configs into a folder for temporary files
            raise
        absent = _absent_base(file) if isinstance(error, FileNotFoundError) else None
        raise ConfigError(absent or f'the config fails at {where(error, file)} with {describe(error)}.') from error
    except (SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and stopped_by_a_signal():
            raise
        raise ConfigError(f'the config ends Python at {where(error, file)} with {describe(error)}.') from error


# Seconds that the text of a config and its bases may take to run.
_READ = 60


@contextlib.contextmanager
def _within(seconds: int, file: Path) -> Iterator[None]:
    """End what the body does, after so many seconds, with the line that it was at."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, 'setitimer'):
        yield
        return

    def late(_, frame):
        lines = [f'{one.filename}:{one.lineno}' for one in traceback.extract_stack(frame) if one.name == '<module>']
        raise ConfigError(f'the config {file} is not read after {seconds} s; it was at {lines[-1]}.')

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def override(cfg: Config, options: dict | None, path: str) -> None:
    """Apply ``--cfg-options`` to the config read from ``path``, in place.

    Raises:
        ConfigError: they do not fit.
    """
    try:
        cfg.merge_from_dict(options or {})
    except Exception as error:
        raise ConfigError(f'--cfg-options {options} does not fit {path}: {describe(error)}.') from error


def load_config(
    path: str,
    options: dict | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
    import_custom_modules: bool = True,
) -> Config:
    """Read a config as MMDetection's tools do: overrides, launcher, and a work directory named after the file.

    Args:
        import_custom_modules: what the config needs to be built, and not to be read.

    Raises:
        ConfigError: as :func:`read_config`, :func:`override` and :func:`rethink.checks.schema.check`.
    """
    return complete(read_config(path, import_custom_modules), path, options, work_dir, launcher)


def complete(
    cfg: Config, path: str, options: dict | None = None, work_dir: str | None = None, launcher: str = 'none'
) -> Config:
    """What :func:`load_config` makes, in place, of a config that is read already."""
    cfg.launcher = launcher
    override(cfg, options, path)
    schema.check(cfg)
    # Command line first, then the config, then the name of the file.
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)
    return cfg


def use_auto_scale_lr(cfg: Config) -> None:
    """Let MMEngine scale the learning rate, and nothing else, to the total batch size.

    Raises:
        ConfigError: the config does not say for which batch size its learning rate is.
    """
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise ConfigError(
            '--auto-scale-lr needs auto_scale_lr = dict(base_batch_size=…) in the config, the total batch size that '
            'its learning rate is for.'
        )
    cfg.auto_scale_lr.enable = True


def use_resume(cfg: Config, resume: str | None) -> None:
    """``--resume``: from the given checkpoint, or (``'auto'``) the last complete one of the work directory.

    Without any, training starts from the beginning, as with MMDetection's tools: from the config's ``load_from``,
    where it has one. ``resume = True`` in a config without ``load_from`` is ``'auto'``. One at ``http(s)://`` is
    downloaded first, and is from then on a file like others, with which the config is compared.

    Raises:
        ConfigError: there is no such checkpoint.
    """
    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'
    if resume is None:
        say_what_is_overwritten(cfg.work_dir)
        return
    if resume.startswith(('http://', 'https://')):
        from .remote_weights import fetched

        resume = fetched(resume)
    if resume != 'auto' and not is_remote(resume) and not Path(resume).exists():
        raise ConfigError(f'the checkpoint {resume}, to resume from, does not exist; name one that is there.')
    checkpoint = latest_checkpoint(cfg.work_dir, may_be_folder(cfg)) if resume == 'auto' else resume
    cfg.resume = checkpoint is not None
    if cfg.resume:
        cfg.load_from = checkpoint


def _shorter_sides(tree) -> set[int]:
    """Those that the Resize transforms of a pipeline give images."""
    found = set()
    if isinstance(tree, dict) and str(tree.get('type')).endswith('Resize'):
        for scale in [tree.get('scale'), *(tree.get('scales') or [])]:
            if isinstance(scale, list | tuple) and all(isinstance(one, int) for one in scale):
                found.add(min(scale))
    for _, inner in items(tree):
        found |= _shorter_sides(inner)
    return found


def _test_pipeline(cfg: Config) -> list:
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset.get('pipeline') or []


def use_tta(cfg: Config) -> None:
    """Test-time augmentation: the config's ``tta_model`` and ``tta_pipeline``, or those of MMDetection (flipping)."""
    if 'tta_model' not in cfg:
        say('the config has no tta_model; using DetTTAModel with NMS at IoU 0.5 and 100 boxes for each image.')
        cfg.tta_model = dict(
            type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
        )
    if 'tta_pipeline' not in cfg:
        say('the config has no tta_pipeline; testing each image as it is and flipped.')
        keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
        pack = [dict(type='PackDetInputs', meta_keys=keys)]
        cfg.tta_pipeline = [*_test_pipeline(cfg)[:-1], dict(type='TestTimeAug', transforms=[flips, pack])]
    views, tested = (sorted(_shorter_sides(one)) for one in (cfg.tta_pipeline, _test_pipeline(cfg)))
    if views and (not tested or min(views) >= 2 * max(tested)):
        to = f'to {tested[-1]} pixels' if tested else 'not at all'
        say(
            f'warning: --tta resizes the shorter side of each image to {views[0]} to {views[-1]} pixels, and the '
            f"config's test pipeline {to}: the detector is given objects of a size that it was not trained with, "
            'which takes long and may find nothing; set tta_pipeline to sizes near that of the test pipeline.'
        )
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def build_runner(cfg: Config, new_schedule: bool = False) -> 'SteadyRunner':
    """The Runner of ``cfg``, which resumes from a sound checkpoint alone (:mod:`rethink.checks.resumable`).

    Args:
        new_schedule: when it resumes, the schedule is that of ``cfg`` (:mod:`rethink.engine.resuming`).

    Raises:
        ConfigError: a part of the config cannot be built (with the place in the code that says so).
    """
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from ..checks import resumable
    from . import resuming
    from .hooks.invalid_loss import StopAtInvalidLossHook
    from .runner import SteadyRunner

    try:
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else SteadyRunner.from_cfg(cfg)
    except ConfigError:
        raise
    except Exception as error:
        if faults.of_the_disk(error) or faults.lost_process(error) or 'EADDRINUSE' in str(error):
            raise
        raise ConfigError(cannot_be_built(cfg, error)) from error
    if not isinstance(runner, SteadyRunner):
        say(
            f'runner_type is {cfg.runner_type}: it trains as MMEngine has it. A loss that is no number still ends it; '
            'its processes do not watch each other, and the version and commit of rethink are not in its log.'
        )
        if not any(isinstance(hook, StopAtInvalidLossHook) for hook in runner.hooks):
            runner.register_hook(StopAtInvalidLossHook())
    if isinstance(runner, Runner):
        resumable.guard(runner)
        if new_schedule:
            resuming.use_new_schedule(runner)
    return runner


def dump_predictions(runner: 'SteadyRunner', path: str) -> None:
    """Also write the predictions of ``runner.test()`` into a pickle file."""
    from mmdet.evaluation import DumpDetResults
    from mmengine.evaluator import DumpResults

    # MMDetection's dump also encodes masks; it does not know the samples of a classifier.
    kind = DumpDetResults if runner.default_scope.scope_name == 'mmdet' else DumpResults

    class Whole(kind):
        def compute_metrics(self, results: list) -> dict:
            write_atomically(self.out_file_path, functools.partial(pickle.dump, results))
            return {}

    runner.test_evaluator.metrics.append(Whole(out_file_path=path))
