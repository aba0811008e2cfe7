"""The processes of a run: which of them this is, where they meet, and how they part.

MMEngine starts several processes only on accelerators; here they are also started on a machine without one (gloo).
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

from mmengine.config import Config, ConfigDict

from ..config_tree import find_types
from ..errors import ConfigError, say
from ..reuse import tool
from .amp import use_amp

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
# Seconds in which a name server answers, and knows a machine that has just started.
_RESOLVES = 15


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
            f'command with {"srun" if launcher == "slurm" else tool("dist_train.sh")} or leave --launcher away.'
        ) from None
    local_world = os.environ.get(names[3]) or world // int(os.environ.get('SLURM_NNODES', 1))
    return rank, world, local, int(local_world)


def set_local_rank(launcher: str, argument: int = 0) -> None:
    """Put this process's rank on its machine into ``LOCAL_RANK``, where everything that asks for it looks."""
    name = _RANK_VARIABLES.get(launcher, ('', '', ''))[2]
    os.environ.setdefault('LOCAL_RANK', os.environ.get(name, str(argument)))


def _meeting_point(launcher: str, rank: int, world: int, local: int, local_world: int) -> None:
    """Fill in the variables from which ``torch.distributed`` reads where the processes meet.

    Raises:
        ConfigError: this machine does not know where that is, for which PyTorch would wait half an hour in silence.
    """
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(local))
    os.environ.setdefault('MASTER_PORT', os.environ.get('PORT', '29500'))
    if 'MASTER_ADDR' not in os.environ and launcher == 'slurm':
        nodes = subprocess.run(
            ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']], capture_output=True, text=True, check=True
        )
        os.environ['MASTER_ADDR'] = nodes.stdout.split()[0]
    if 'MASTER_ADDR' not in os.environ and world > local_world:
        raise ConfigError(
            f'{world} processes were started on several machines and MASTER_ADDR does not say where they meet; set it '
            'to the name of the first machine.'
        )
    check_master(os.environ.setdefault('MASTER_ADDR', '127.0.0.1'))


def check_master(address: str) -> None:
    """The machine where the processes are to meet is known here.

    Raises:
        ConfigError: its name does not resolve.
    """
    found: list[str] = []
    end = time.monotonic() + _RESOLVES

    def ask() -> None:
        while True:
            try:
                socket.getaddrinfo(address, None)
            except (OSError, UnicodeError) as error:
                if time.monotonic() > end:
                    return found.append(str(error))
            else:
                return found.append('')
            time.sleep(0.5)

    # A name server that does not answer keeps a process for minutes.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_RESOLVES + 5)
    if found != ['']:
        raise ConfigError(
            f'the processes are to meet on {address!r}, a name that does not resolve on {socket.gethostname()} '
            f'({found[0] if found else "the name server does not answer"}); set MASTER_ADDR to a name or an address '
            'of the first machine that all machines know.'
        )


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
        ConfigError: more processes than GPUs, SyncBN with several processes on CPU, or nowhere to meet.
    """
    import torch
    import torch.distributed
    from mmengine.device import get_device

    rank, world, local, local_world = ranks(cfg.launcher)
    if cfg.launcher == 'none':
        _mmcv_syncbn_to_bn(cfg)
    elif world > 1 or get_device() != 'cpu':
        _meeting_point(cfg.launcher, rank, world, local, local_world)
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

    if (cfg.get('optim_wrapper') or {}).get('type') == 'AmpOptimWrapper':
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
    cfg.env_cfg = cfg.get('env_cfg') or ConfigDict()
    # What else the config says of the group holds here as well; options of NCCL do not.
    timeout = (cfg.env_cfg.get('dist_cfg') or {}).get('timeout')
    cfg.env_cfg.dist_cfg = ConfigDict(backend='gloo', **({} if timeout is None else dict(timeout=timeout)))
    if not torch.distributed.is_initialized():
        seconds = timeout if timeout is None or isinstance(timeout, timedelta) else timedelta(seconds=timeout)
        more = {} if seconds is None else dict(timeout=seconds)
        torch.distributed.init_process_group('gloo', rank=rank, world_size=world, **more)
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = ConfigDict({**wrapper, 'device_ids': None})


def is_in_a_group() -> bool:
    """Whether this is one of several processes that talk to each other."""
    if 'torch' not in sys.modules:
        return False
    import torch.distributed

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def end_processes() -> None:
    """Wait for the other processes and close the process group, if one is open.

    Its threads outlive ``main()`` otherwise, and one that lets go of a tensor while Python shuts down ends a finished
    training with SIGABRT.
    """
    if is_in_a_group():
        import torch.distributed

        from . import watch

        torch.distributed.barrier()
        watch.stop()
        torch.distributed.destroy_process_group()


def leave() -> None:
    """End this process, its work done, without taking Python down.

    Threads of the closed group can still be there, and 1 of 24 trainings of two processes, its metrics printed, ended
    in "terminate called without an active exception" while Python shut down. What was not seen but explains it: a
    thread that wants Python's lock then is unwound by force, through C++ that does not allow it.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
