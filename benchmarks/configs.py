"""Time of loading every config of the tree, of a diff of two and of the checker, beside plain ``Config.fromfile``.

    python benchmarks/configs.py

CPU time of one process (others may share the cores), medians of --repeats runs, all configs once. A diff is what
tools/misc/diff_configs.py does behind its imports: both configs are loaded, the values compared, and the file and line
of each difference found, with nothing kept from the run before; pairs of the same kind, then of two studies. The
checker is what tools/misc/check_config.py does behind its imports with one config, whose annotations are not there;
all configs are checked first, so that the modules that a first one imports do not count.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import rethink
from mmengine.config import Config
from rethink import checks
from rethink.configs import diff as config_diff
from rethink.configs import provenance as config_provenance
from rethink.configs import report as config_report
from rethink.configs import trace as config_trace
from rethink.engine import launch

PAIRS = (
    ('rethink/scratch_r50_gn_6x.py', 'rethink/pretrain_r50_gn_6x.py'),
    ('rethink/scratch_r50_gn_aug_9x.py', 'rethink/scratch_r50_gn_aug_cascade_9x.py'),
    ('rethink/scratch_r50_gn_6x.py', 'hpt/pretrain_moco_r50_5ki.py'),
)
CHECKED = ('rethink/scratch_r50_gn_6x.py', 'hpt/pretrain_moco_r50_5ki.py', 'frozen/freeze_r50_fpn_72e.py')


def seconds(functions: Sequence[Callable[[list[str]], None]], paths: list[str], repeats: int) -> list[float]:
    """Median time of each function. They take turns, so that what else the machine does slows all of them."""
    times = [[] for _ in functions]
    for _ in range(repeats):
        for function, taken in zip(functions, times, strict=True):
            start = time.process_time()
            function(paths)
            taken.append(time.process_time() - start)
    return [statistics.median(taken) for taken in times]


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


def check(paths: list[str]) -> None:
    for path in paths:
        checks.text(checks.check(launch.read_config(path), gpus=8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--repeats', type=int, default=9)
    args = parser.parse_args()
    root = Path(rethink.config_path(PAIRS[0][0])).parents[1]
    every = sorted(str(path) for path in root.rglob('*.py') if '_base_' not in path.parts)
    loading, tracing, checking = seconds((load, trace, check), every, 1)
    print(
        f'{len(every)} configs: Config.fromfile {loading:.1f} s, the line of each value {tracing:.1f} s, '
        f'load and check {checking:.1f} s, {checking / loading:.2f} x',
        flush=True,
    )
    for pair in PAIRS:
        paths = [str(root / name) for name in pair]
        plain, own = seconds((load, diff), paths, args.repeats)
        ratio = f'{own / plain:.2f} x loading both ({1000 * plain:.0f} ms)'
        print(f'diff of {" and ".join(pair)}: {1000 * own:.0f} ms, {ratio}', flush=True)
    for name in CHECKED:
        plain, own = seconds((load, check), [str(root / name)], args.repeats)
        ratio = f'{own / plain:.2f} x loading it ({1000 * plain:.0f} ms)'
        print(f'load and check {name}: {1000 * own:.0f} ms, {ratio}', flush=True)


if __name__ == '__main__':
    main()
