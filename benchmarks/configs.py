"""Time of loading every config of the tree, and of a diff of two, beside plain ``Config.fromfile``.

    python benchmarks/configs.py

CPU time of one process (others may share the cores), medians of --repeats runs, all configs once. A diff is what
tools/misc/diff_configs.py does behind its imports: both configs are loaded, the values compared, and the file and line
of each difference found, with nothing kept from the run before. Pairs of the same kind, then of two studies.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import rethink
from mmengine.config import Config
from rethink.analysis import config_diff, config_provenance, config_report, config_trace

PAIRS = (
    ('rethink/scratch_r50_gn_6x.py', 'rethink/pretrain_r50_gn_6x.py'),
    ('rethink/scratch_r50_gn_aug_9x.py', 'rethink/scratch_r50_gn_aug_cascade_9x.py'),
    ('rethink/scratch_r50_gn_6x.py', 'hpt/pretrain_moco_r50_5ki.py'),
)


def seconds(function: Callable[[list[str]], None], paths: list[str], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function(paths)
        times.append(time.process_time() - start)
    return statistics.median(times)


def load(paths: list[str]) -> None:
    for path in paths:
        Config.fromfile(path, import_custom_modules=False)


def diff(paths: list[str]) -> None:
    config_trace.parse.cache_clear()
    configs = [config_provenance.read(path) for path in paths]
    config_report.write('table', config_diff.diff(configs), configs, config_report.SCREEN)


def trace(paths: list[str]) -> None:
    config_trace.parse.cache_clear()
    for path in paths:
        config_trace.Trace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--repeats', type=int, default=9)
    args = parser.parse_args()
    root = Path(rethink.config_path(PAIRS[0][0])).parents[1]
    every = sorted(str(path) for path in root.rglob('*.py') if '_base_' not in path.parts)
    loading, tracing = (seconds(one, every, 1) for one in (load, trace))
    print(f'{len(every)} configs: Config.fromfile {loading:.1f} s, the line of each value {tracing:.1f} s', flush=True)
    for pair in PAIRS:
        paths = [str(root / name) for name in pair]
        plain, own = (seconds(one, paths, args.repeats) for one in (load, diff))
        ratio = f'{own / plain:.2f} x loading both ({1000 * plain:.0f} ms)'
        print(f'diff of {" and ".join(pair)}: {1000 * own:.0f} ms, {ratio}', flush=True)


if __name__ == '__main__':
    main()
