"""From a command line to a running Runner: what ``tools/train.py`` and ``tools/test.py`` do, in parts.

MMEngine starts several processes only on accelerators; this module also starts them on a machine without one (gloo),
and turns what is wrong with the input into one sentence before any training. Importing it registers
``CPUAmpOptimWrapper``, :class:`rethink.loops.ResumableTrainLoop` and the hooks of :mod:`rethink.hooks`.
"""

import atexit
import contextlib
import difflib
import os
import subprocess
import sys
import time
import traceback
import urllib.error
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, RUNNERS
from mmengine.runner import Runner
from mmengine.runner.amp import autocast

from . import (  # noqa: F401  (hooks and loops: registers what configs name)
    hooks,
    loops,
    resumable,
)
from .checkpoints import latest_checkpoint, may_be_folder
from .config_tree import find_types
from .coverage import remote_checkpoints
from .errors import ConfigError, say
from .jobs import JobError
from .reuse import config_path
from .soundness import check_kind

# Where the environment of each launcher keeps (rank, world size, rank on this machine, processes on this machine).
_RANK_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID', 'SLURM_NTASKS_PER_NODE'),
    'mpi': (
        'OMPI_COMM_WORLD_RANK',
        'OMPI_COMM_WORLD_SIZE',
        'OMPI_COMM_WORLD_LOCAL_RANK',
        'OMPI_COMM_WORLD_LOCAL_SIZE',
    ),
}


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Mixed precision on CPU: bfloat16 autocast and no loss scaling.

    MMEngine's ``AmpOptimWrapper`` refuses to be built without an accelerator. Autocast on CPU knows bfloat16, whose
    exponent is that of float32, so that gradients do not vanish and there is nothing to scale.
    """

    @contextlib.contextmanager
    def optim_context(self, model):
        with super().optim_context(model), autocast(device_type='cpu', dtype=torch.bfloat16):
            yield


# --- the processes ---------------------------------------------------------------------------------------------------


def ranks(launcher: str) -> tuple[int, int, int, int]:
    """Rank, number of processes, rank on this machine and processes on this machine, as the launcher says.

    Raises:
        ConfigError: the launcher's environment variables are not there.
    """
    if launcher == 'none':
        return 0, 1, 0, 1
    names = _RANK_VARIABLES[launcher]
    try:
        rank, world, local = (int(os.environ[name]) for name in names[:3])
    except KeyError as error:
        raise ConfigError(
            f'--launcher {launcher} needs the environment variable {error.args[0]}, which is not set; start the '
            f'command with {"srun" if launcher == "slurm" else "tools/dist_train.sh"} or leave --launcher away.'
        ) from None
    local_world = os.environ.get(names[3]) or world // int(os.environ.get('SLURM_NNODES', 1))
    return rank, world, local, int(local_world)


def set_local_rank(launcher: str, argument: int = 0) -> None:
    """Put this process's rank on its machine into ``LOCAL_RANK``, where everything that asks for it looks."""
    name = _RANK_VARIABLES.get(launcher, ('', '', ''))[2]
    os.environ.setdefault('LOCAL_RANK', os.environ.get(name, str(argument)))


def _meeting_point(launcher: str, rank: int, world: int, local: int) -> None:
    """Fill in the variables from which ``torch.distributed`` reads where the processes meet."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(local))
    os.environ.setdefault('MASTER_PORT', os.environ.get('PORT', '29500'))
    if 'MASTER_ADDR' not in os.environ and launcher == 'slurm':
        nodes = subprocess.run(
            ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']], capture_output=True, text=True, check=True
        )
        os.environ['MASTER_ADDR'] = nodes.stdout.split()[0]
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')


def _mmcv_syncbn_to_bn(cfg: Config) -> None:
    """In one process make mmcv's SyncBN BN: MMEngine does that to a built model, but this one is not built alone."""

    def replace(tree):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            if key == 'type' and value == 'MMSyncBN':
                tree[key] = 'BN'
            elif isinstance(value, dict | list | tuple):
                replace(value)

    found = find_types(cfg.get('model', {}), {'MMSyncBN'})
    if found:
        replace(cfg.model)
        say(f'MMSyncBN in {", ".join(found)} is BatchNorm in a single process, to which it is equal.')


def start_processes(cfg: Config) -> None:
    """Make ``cfg`` run with the processes of ``cfg.launcher`` on this machine; changes ``cfg`` in place.

    On GPUs MMEngine does the rest. Without one, the gloo group is opened here (the Runner leaves an open group as it
    is) and the model wrapper gets no device.

    Raises:
        ConfigError: more processes than GPUs, or SyncBN with several processes on CPU.
    """
    rank, world, local, local_world = ranks(cfg.launcher)
    if cfg.launcher == 'none':
        _mmcv_syncbn_to_bn(cfg)
    if torch.cuda.is_available():
        # Slurm can show each task only its own GPU; MMEngine would still ask for number `local`.
        if max(local_world, local + 1) > torch.cuda.device_count():
            raise ConfigError(
                f'{max(local_world, local + 1)} processes were started but {torch.cuda.device_count()} GPU(s) are '
                'visible on this machine; start one process for each GPU (see also CUDA_VISIBLE_DEVICES).'
            )
        return
    if get_device() != 'cpu':
        return

    if cfg.get('optim_wrapper', {}).get('type') == 'AmpOptimWrapper':
        use_amp(cfg)
    if world == 1:
        # One process is the same as none, and without a launcher MMEngine turns SyncBN into the BN that it equals.
        cfg.launcher = 'none'
        _mmcv_syncbn_to_bn(cfg)
        return
    sync = find_types(cfg.get('model', {}), {'SyncBN', 'MMSyncBN', 'NaiveSyncBN', 'SyncBatchNorm'})
    if sync or cfg.get('sync_bn'):
        raise ConfigError(
            f'{sync[0] if sync else "sync_bn"} asks for SyncBN, which needs GPUs when there are several processes; '
            "start one process (which makes it BN) or set the norm_cfg to dict(type='GN', num_groups=32)."
        )
    # torchrun sets one thread for each process when nothing is said, which leaves most of a CPU idle.
    if os.environ.get('RETHINK_SHARE_CORES') or 'OMP_NUM_THREADS' not in os.environ:
        threads = max(1, len(os.sched_getaffinity(0)) // local_world)
        os.environ['OMP_NUM_THREADS'] = str(threads)
        torch.set_num_threads(threads)
    _meeting_point(cfg.launcher, rank, world, local)
    cfg.env_cfg = cfg.get('env_cfg') or ConfigDict()
    cfg.env_cfg.dist_cfg = ConfigDict(backend='gloo')
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo', rank=rank, world_size=world)
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = ConfigDict({**wrapper, 'device_ids': None})


def end_processes() -> None:
    """Wait for the other processes and close the process group, if one is open.

    Its threads outlive ``main()`` otherwise, and one that lets go of a tensor while Python shuts down ends a finished
    training with SIGABRT.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _leave() -> None:
    """End this process, its work done, without taking Python down.

    Threads of the closed group can still be there, and 1 of 24 trainings of two processes, its metrics printed, ended
    in "terminate called without an active exception" while Python shut down. What was not seen but explains it: a
    thread that wants Python's lock then is unwound by force, through C++ that does not allow it.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


# --- the config ------------------------------------------------------------------------------------------------------


def _nearest(path: Path) -> str:
    """', did you mean …' for a config that does not exist, from the configs around it and those of this project."""
    roots = [folder for folder in path.parents if folder.name == 'configs'] or [Path('configs'), path.parent]
    known = {str(file) for root in roots if root.is_dir() for file in root.rglob('*.py')}
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


def where(error: BaseException, beside: Path | None = None) -> str:
    """'file:line' of the innermost frame of ``error``, or of the innermost one that is a config."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if beside is None or (frame.name == '<module>' and Path(frame.filename).suffix == '.py' and _is_config(frame)):
            return f'{frame.filename}:{frame.lineno}'
    return str(beside)


def _is_config(frame) -> bool:
    # MMEngine compiles a config under its own path; modules of packages run their body under that name as well.
    return '/site-packages/' not in frame.filename and not frame.filename.startswith('<')


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
        raise ConfigError(f'there is no config {path}' + _nearest(file))
    _check_bases(file)
    try:
        return Config.fromfile(path, import_custom_modules=import_custom_modules)
    except SyntaxError as error:
        raise ConfigError(f'the config has a syntax error at {_syntax_error(file) or error}.') from error
    except Exception as error:
        raise ConfigError(f'the config fails at {where(error, file)} with {describe(error)}.') from error


def override(cfg: Config, options: dict | None, path: str) -> None:
    """Apply ``--cfg-options`` to the config read from ``path``, in place.

    Raises:
        ConfigError: they do not fit.
    """
    try:
        cfg.merge_from_dict(options or {})
    except Exception as error:
        raise ConfigError(f'--cfg-options {options} does not fit {path}: {describe(error)}.') from error


def load_config(path: str, options: dict | None = None, work_dir: str | None = None, launcher: str = 'none') -> Config:
    """Read a config as MMDetection's tools do: overrides, launcher, and a work directory named after the file.

    Raises:
        ConfigError: as :func:`read_config` and :func:`override`.
    """
    cfg = read_config(path)
    cfg.launcher = launcher
    override(cfg, options, path)
    # Command line first, then the config, then the name of the file.
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)
    return cfg


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: MMEngine's ``AmpOptimWrapper``, or bfloat16 autocast where there is only a CPU."""
    if get_device() == 'cpu':
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            cfg.optim_wrapper.pop(key, None)
        cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'


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
    where it has one. ``resume = True`` in a config without ``load_from`` is ``'auto'``.
    """
    if resume is None and cfg.get('resume') and not cfg.get('load_from'):
        resume = 'auto'
    if resume is None:
        return
    checkpoint = latest_checkpoint(cfg.work_dir, may_be_folder(cfg)) if resume == 'auto' else resume
    cfg.resume = checkpoint is not None
    if cfg.resume:
        cfg.load_from = checkpoint


def use_tta(cfg: Config) -> None:
    """Test-time augmentation: the config's ``tta_model`` and ``tta_pipeline``, or those of MMDetection (flipping)."""
    if 'tta_model' not in cfg:
        say('the config has no tta_model; using DetTTAModel with NMS at IoU 0.5 and 100 boxes for each image.')
        cfg.tta_model = dict(
            type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
        )
    if 'tta_pipeline' not in cfg:
        say('the config has no tta_pipeline; testing each image as it is and flipped.')
        dataset = cfg.test_dataloader.dataset
        while 'dataset' in dataset:
            dataset = dataset.dataset
        keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
        pack = [dict(type='PackDetInputs', meta_keys=keys)]
        cfg.tta_pipeline = [*dataset.pipeline[:-1], dict(type='TestTimeAug', transforms=[flips, pack])]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def build_runner(cfg: Config) -> Runner:
    """The Runner of ``cfg``, which resumes from a sound checkpoint alone (:mod:`rethink.resumable`).

    Raises:
        ConfigError: a part of the config cannot be built (with the place in the code that says so).
    """
    try:
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(_cannot_be_built(cfg, error)) from error
    if isinstance(runner, Runner):
        resumable.guard(runner)
    return runner


def dump_predictions(runner: Runner, path: str) -> None:
    """Also write the predictions of ``runner.test()`` into a pickle file."""
    from mmdet.evaluation import DumpDetResults
    from mmengine.evaluator import DumpResults

    # MMDetection's dump also encodes masks; it does not know the samples of a classifier.
    dump = DumpDetResults if runner.default_scope.scope_name == 'mmdet' else DumpResults
    runner.test_evaluator.metrics.append(dump(out_file_path=path))


# --- errors ----------------------------------------------------------------------------------------------------------


def describe(error: BaseException) -> str:
    """An exception as part of a sentence, in one line."""
    text = ' '.join(str(error).split()).rstrip('.')
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def _cannot_be_built(cfg: Config, error: Exception) -> str:
    return (
        f'{cfg.filename} with its overrides cannot be built: {describe(error)} (raised at {where(error)}; '
        'RETHINK_TRACEBACK=1 shows the way there).'
    )


@contextlib.contextmanager
def one_sentence():
    """End the process with one sentence on stderr and exit code 2 where the input is wrong.

    That is a :class:`ConfigError`, a part of the config that cannot be built, or a download that fails. Of several
    processes the first on each machine speaks. Everything else passes with its traceback, and ``RETHINK_TRACEBACK=1``
    shows that of these as well. The body leaves its config on the context, as ``context.cfg``. Where all went
    well, one of several processes closes its group and ends here, too.
    """
    context = SimpleNamespace(cfg=None)
    try:
        yield context
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            end_processes()
            _leave()
    except Exception as error:
        message = str(error)
        frames = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
        if isinstance(error, ConfigError):
            pass
        elif context.cfg is not None and 'build_from_cfg' in frames and 'run_iter' not in frames:
            # Data sets, optimiser and schedule are built when training starts.
            message = _cannot_be_built(context.cfg, error)
        elif not isinstance(error, urllib.error.URLError):
            raise
        else:
            remote = ', '.join(remote_checkpoints(context.cfg or {})) or 'a file'
            message = (
                f'{remote} could not be downloaded ({describe(error)}); get it on a machine with a network and name '
                'the local file in its place.'
            )
        if os.environ.get('RETHINK_TRACEBACK'):
            traceback.print_exc()
        if os.environ.get('LOCAL_RANK', '0') != '0':
            # Launchers kill the others as soon as one ends: let the first speak. If it is still alive after that,
            # only this process met the error.
            time.sleep(30)
        print(f'error: {message}', file=sys.stderr, flush=True)
        sys.stdout.flush()
        # Not sys.exit: threads of an open process group may keep a process from ending.
        os._exit(2)


@contextlib.contextmanager
def several_trainings():
    """:func:`one_sentence` around a tool that runs jobs (:mod:`rethink.jobs`), and stops with them.

    A job that fails, or another run in the folder, ends the process with that sentence and exit code 1; Ctrl-C and
    SIGTERM end it with how to go on.
    """
    try:
        with one_sentence() as context:
            yield context
    except JobError as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit('\nstopped; the same command goes on from the last checkpoints.')
