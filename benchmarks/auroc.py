"""Time of an AUROC beside the bare sort of the same scores, which bounds it.

    python benchmarks/auroc.py

One class, float32 scores, different in nearly every image; medians of --repeats runs, in one thread.
Where numpy sorts with vector instructions (AVX-512), a sort costs a fraction of an argsort, which ranks would need.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from rethink.evaluation.auroc import auroc


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):  # the first warms up
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--scores', type=int, default=1_000_000)
    parser.add_argument('--repeats', type=int, default=9)
    args = parser.parse_args()
    random = np.random.default_rng(0)
    scores = random.normal(size=(args.scores, 1)).astype(np.float32)
    column = scores[:, 0].copy()
    sort = milliseconds(lambda: np.sort(column), args.repeats)
    argsort = milliseconds(lambda: np.argsort(column), args.repeats)
    print(f'numpy {np.__version__}, {args.scores:,} scores; sort {sort:.1f} ms, argsort {argsort:.1f} ms')
    for share in (0.01, 0.1, 0.5):
        targets = (random.random((args.scores, 1)) < share).astype(np.int8)
        own = milliseconds(lambda targets=targets: auroc(scores, targets), args.repeats)
        ratios = f'{own / sort:.1f} x sort, {own / argsort:.1f} x argsort'
        print(f'{100 * share:3.0f} % positive: AUROC {own:5.1f} ms, {ratios}')


if __name__ == '__main__':
    main()
