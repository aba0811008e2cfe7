"""What it costs to look at a checkpoint before it is loaded (docs/trust.md), beside loading it.

    python benchmarks/checkpoint_checks.py [--mib 496] [--repeats 5]

A generated checkpoint of weights and momenta in a temporary folder, read once before so that it is in memory. The
cases take turns in one process; printed are medians of CPU seconds and of ratios to `torch.load` in the same turn.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import rethink  # noqa: F401  (before PyTorch loads anything: the guards)
import torch
from rethink.trust import soundness
from rethink.trust.tensors import check_tensors

# Channels of one layer, whose weight and momentum are 4.5 MiB together.
CHANNELS = 256


def write(path: Path, mib: int) -> dict:
    """Weights and momenta of convolutions, half of the size each; the weights."""
    layers = max(1, round(mib / 2 * 2**20 / (CHANNELS * CHANNELS * 9 * 4)))
    shape = (CHANNELS, CHANNELS, 3, 3)
    weights = {f'layer.{number}.weight': torch.randn(shape) for number in range(layers)}
    state = {number: dict(momentum_buffer=torch.randn(shape)) for number in range(layers)}
    torch.save(dict(state_dict=weights, optimizer=dict(state=state, param_groups=[])), path)
    return weights | {f'momentum.{number}': one['momentum_buffer'] for number, one in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--mib', type=int, default=496, help='size of the file')
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'checkpoint.pth'
        tensors = write(path, args.mib)
        path.read_bytes()

        def load() -> None:
            torch.load(path, weights_only=True)

        def fresh(**how) -> None:
            # What has been looked at is known by its time.
            os.utime(path, ns=(time.time_ns(),) * 2)
            soundness.check_file(path, **how)

        cases = {
            'torch.load, looked at before': load,
            'index and claimed sizes': lambda: fresh(checksums=False),
            'index, sizes and checksums': fresh,
            'all values': lambda: check_tensors(tensors, 'the checkpoint'),
        }
        seconds = {case: [] for case in cases}
        for _ in range(args.repeats + 1):
            for case, function in cases.items():
                start = time.process_time()
                function()
                seconds[case].append(time.process_time() - start)
        size = path.stat().st_size / 2**20
    print(f'{size:.0f} MiB, {len(tensors)} tensors, PyTorch {torch.__version__}, one thread')
    base = seconds['torch.load, looked at before'][1:]
    for case, times in seconds.items():
        ratio = statistics.median(one / other for one, other in zip(times[1:], base, strict=True))
        print(f'{case:30}{statistics.median(times[1:]):8.3f} s {ratio:6.2f} x')


if __name__ == '__main__':
    main()
