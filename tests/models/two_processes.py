"""Trains a config in two processes (gloo), in bfloat16, as tools/train.py does: two_processes.py CONFIG WORK_DIR.

The two are forks of this process, so that the seconds of importing are spent once.
"""

import os
import socket
import sys

import rethink  # noqa: F401  (first: gives mmcv its ops, which what follows imports)
import torch
from mmdet.utils import register_all_modules
from rethink import checks
from rethink.checks.weights import check_weights
from rethink.engine import launch

register_all_modules(init_default_scope=False)


def train(config: str, work_dir: str) -> None:
    cfg = launch.load_config(config, work_dir=work_dir, launcher='pytorch')
    launch.use_amp(cfg)
    checks.stop_on_errors(cfg)
    launch.start_processes(cfg)
    runner = launch.build_runner(cfg)
    check_weights(cfg, runner.model)
    runner.train()
    launch.end_processes()


def main() -> None:
    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2', LOCAL_WORLD_SIZE='2')
    processes = []
    for rank in range(2):
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        processes.append(torch.multiprocessing.get_context('fork').Process(target=train, args=sys.argv[1:]))
        processes[-1].start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode) for process in processes))


if __name__ == '__main__':
    main()
