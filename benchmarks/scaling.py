"""Hold the model of docs/scaling.md against two processes that train.

    python benchmarks/scaling.py [CONFIG …] [--images 8 4] [--turns 15]           forks two processes of this machine
    srun -N2 -n2 python benchmarks/scaling.py --launcher slurm …                  a process on each of two nodes

Each process has the config's model, a generated batch (rethink.costs.batch) and the config's optimiser. In turns, on
both sides of a barrier, and by the clock:

    alone    both step at the same time, each for itself, nothing sent
    sent     the collectives of a step alone, of the bytes that rethink.costs.scaling counts
    link     an all-reduce of 4 bytes (its latency) and one of 8 MiB (its rate)
    together both step in DistributedDataParallel

"alone" and "link" of a turn go into the model, "together" is what it is held against, within the turn. Both processes
share this machine with whatever else runs on it, in each of the four. Printed are medians over the turns of the slower
process. gloo on one machine sends through the loopback device and adds on the CPU that computes: what is sent behind
the backward pass is not hidden unless a core is free. A link that takes time and not the CPU, of 1 Gbit/s for both
directions, is one in a network of its own, which nothing else on this machine sees (root, iproute2):

    unshare -n sh -c 'ip link set lo up; tc qdisc add dev lo root tbf rate 1gbit burst 512kb latency 400ms;
        python benchmarks/scaling.py --images 2 --bucket 2'
"""

import argparse
import contextlib
import copy
import json
import logging
import os
import socket
import statistics
import sys
import time
import warnings
from unittest import mock

import rethink  # noqa: F401  (first: gives mmcv its ops, which what follows imports)
import torch
import torch.distributed as dist
from mmdet.utils import register_all_modules
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from rethink.costs import of_config, scaling
from rethink.costs.batch import generate_batch
from rethink.engine.processes import start_processes
from rethink.files import write_atomically

CONFIGS = [
    'rethink::shapes/finetune_r18_gn_tail_fpn_2x.py',
    'rethink::shapes/freeze_r18_gn_tail_fpn_2x.py',
    'rethink::shapes/scratch_r18_gn_1x.py',
]
# Bytes of the message by which a link's rate is measured.
LARGE = 8 * 2**20


def prepare(name: str, images: int, args: argparse.Namespace) -> tuple:
    """The model, its config for so many images, and a batch of them; the same in both processes."""
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False, bucket_cap_mb=args.bucket)
    cfg = of_config.load(name, dict(train_dataloader=dict(batch_size=images), model_wrapper_cfg=wrapper))
    cfg.launcher = args.launcher
    start_processes(cfg)
    torch.manual_seed(0)
    model = of_config.assemble(cfg)
    view = scaling.view_size(cfg.train_dataloader)
    batch = generate_batch(cfg.model, model, view or (args.side, args.side), images)
    if view:
        pictures = torch.stack(batch['inputs'])
        batch['inputs'] = [pictures, pictures.flip(3)]
    return cfg, model, batch


class Timer:
    """Seconds of calls that both processes make at the same time: those of the slower one."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {}

    def __call__(self, name: str, call, repeats: int = 1) -> None:
        dist.barrier()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        spent = torch.tensor((time.perf_counter() - start) / repeats, dtype=torch.float64)
        dist.all_reduce(spent, dist.ReduceOp.MAX)
        self.found.setdefault(name, []).append(spent.item())


@contextlib.contextmanager
def nobody_else():
    """MoCo's shuffle and queue within, as of a process that is alone."""
    shuffle, moco = 'mmpretrain.models.utils.batch_shuffle', 'mmpretrain.models.selfsup.moco'
    with contextlib.ExitStack() as stack:
        for name, does in (
            (f'{shuffle}.all_gather', lambda one: [one]),
            (f'{moco}.all_gather', lambda one: [one]),
            (f'{shuffle}.broadcast', lambda one, src: None),
            (f'{shuffle}.get_rank', lambda: 0),
        ):
            stack.enter_context(mock.patch(name, does))
        yield


def measure(name: str, images: int, args: argparse.Namespace) -> dict:
    cfg, model, batch = prepare(name, images, args)
    traffic = scaling.count(cfg)
    wrapped = MMDistributedDataParallel(copy.deepcopy(model), broadcast_buffers=False, bucket_cap_mb=args.bucket)
    optimizers = build_optim_wrapper(model, cfg.optim_wrapper), build_optim_wrapper(wrapped, cfg.optim_wrapper)
    buckets = torch.empty(traffic.gradients // 4).split(traffic.bucket // 4)
    given = [torch.empty(number // 4) for number in traffic.gathered]
    small, large = torch.empty(1), torch.empty(LARGE // 4)

    def alone() -> None:
        with nobody_else():
            model.train_step(copy.deepcopy(batch), optimizers[0])

    def sent() -> None:
        for one in buckets:
            dist.all_reduce(one)
        for one in given:
            dist.all_gather([torch.empty_like(one) for _ in range(2)], one)

    timer = Timer()
    for _ in range(args.turns + 2):
        timer('small', lambda: dist.all_reduce(small), repeats=10)
        timer('large', lambda: dist.all_reduce(large), repeats=2)
        timer('alone', alone)
        timer('sent', sent, repeats=2)
        timer('together', lambda: wrapped.train_step(copy.deepcopy(batch), optimizers[1]))
    rows = []
    for turn in list(zip(*timer.found.values(), strict=True))[2:]:  # DDP makes its buckets anew in the second
        one = dict(zip(timer.found, turn, strict=True))
        latency = one['small'] / 2
        link = scaling.Link(LARGE / max(one['large'] - one['small'], 1e-9), latency)
        messages = scaling.messages(traffic, scaling.Cluster(1, link, link), 2)
        found = scaling.forecast(cfg, traffic, messages, scaling.Measured(one['alone']), 2)
        rows.append(one | dict(rate=link.rate, best=found.best, worst=found.worst))
        rows[-1]['model of sent'] = messages.gradients + messages.waits
    return dict(config=traffic.name, images=images, gradients=traffic.gradients, gathered=traffic.gathered, turns=rows)


def report(found: dict) -> str:
    def median(name: str, other: str | None = None) -> str:
        values = [turn[name] / (turn[other] if other else 1e-3) for turn in found['turns']]
        low, _, high = statistics.quantiles(values, n=4)
        form = '.2f' if other else '.1f'
        return f'{statistics.median(values):{form}} ({low:{form}} to {high:{form}})'

    rate = statistics.median(turn['rate'] for turn in found['turns'])
    return (
        f'{found["config"]}, {found["images"]} images, {found["gradients"] / 1e6:.1f} MB of gradients, '
        f'{sum(found["gathered"]) / 1e6:.2f} MB gathered; ms, median (quartiles) of {len(found["turns"])} turns\n'
        f'  alone {median("alone")}; link {rate / 1e9:.2f} GB/s, 4 bytes in {median("small")}\n'
        f'  sent {median("sent")}, model {median("model of sent")}, sent / model {median("sent", "model of sent")}\n'
        f'  together {median("together")}, model {median("best")} to {median("worst")}\n'
        f'  together / alone {median("together", "alone")}, / worst {median("together", "worst")}, '
        f'/ best {median("together", "best")}'
    )


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    register_all_modules(init_default_scope=False)
    logging.disable(logging.WARNING)
    warnings.filterwarnings('ignore')
    found = []
    for images in args.images:
        for name in args.configs:
            one = measure(name, images, args)
            found.append(one)
            if dist.get_rank() == 0:
                print(report(one), flush=True)
    if args.out and dist.get_rank() == 0:
        write_atomically(args.out, json.dumps(found, indent=1).encode())
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', default=CONFIGS)
    parser.add_argument('--images', type=int, nargs='+', default=[8, 4], help='of each process')
    parser.add_argument('--side', type=int, default=128, help='of the images of a detector, in pixels')
    parser.add_argument('--bucket', type=int, default=25, help='bucket_cap_mb of DistributedDataParallel')
    parser.add_argument('--turns', type=int, default=15)
    parser.add_argument('--launcher', choices=['slurm', 'fork'], default='fork')
    parser.add_argument('--out', help='JSON file of all turns')
    args = parser.parse_args()
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    if args.launcher == 'slurm':
        return run(args)
    args.launcher = 'pytorch'
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free.getsockname()[1]))
    os.environ.update(WORLD_SIZE='2', LOCAL_WORLD_SIZE='2')
    processes = []
    for rank in range(2):
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        processes.append(torch.multiprocessing.get_context('fork').Process(target=run, args=[args]))
        processes[-1].start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode) for process in processes))


if __name__ == '__main__':
    main()
