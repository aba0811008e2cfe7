"""The studies in miniature, from generated data to a verdict: what `make demo` runs.

    python tools/demo.py --seed 0 --out demo

trains everything through tools/train.py, with one progress bar for all of it, and ends with a table, a picture and a
verdict that are worked out from the logs. Stopped at any moment and started again, it goes on where it was; what is
finished is not trained again. Seeds under one --out are also compared with each other. With --quick, everything runs
for a few iterations on a few images: that the machinery works shows in a minute, what the study says does not.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import rethink
from mmengine.config import Config
from rethink.analysis import convergence
from rethink.analysis.logs import read_run
from rethink.datasets import shapes
from rethink.jobs import Job, JobError, run_jobs

TRAIN = Path(__file__).with_name('train.py')
LENGTHS = ('1x', '6x')
# Differences of final AP that the verdict calls none; two seeds of one config differ by as much (docs/shapes.md).
MARGIN = 1.0


def training(config: str, folder: Path, seed: int, quick: bool, options=(), **job) -> Job:
    """A training of ``configs/shapes/<config>.py`` by tools/train.py, in ``folder/<config>``."""
    path = rethink.config_path(f'shapes/{config}.py')
    work_dir, iterations = folder / config, Config.fromfile(path).train_cfg.max_iters
    command = [sys.executable, str(TRAIN), path, '--work-dir', str(work_dir), '--resume']
    command += ['--cfg-options', f'randomness.seed={seed}', *options]
    if quick:
        iterations //= 30
        command += [f'train_cfg.{name}={iterations}' for name in ('max_iters', 'val_interval')]
        command += [f'default_hooks.checkpoint.interval={iterations}', 'default_hooks.logger.interval=1']
    return Job(config, command, work_dir, iterations, **job)


def where_data(data: Path) -> list[str]:
    """Overrides that point a detector's config to the generated data."""
    root = f'{data / "detection"}/'
    loaders = [f'{name}_dataloader.dataset.data_root={root}' for name in ('train', 'val', 'test')]
    annotations = f'{root}annotations/instances_val2017.json'
    return loaders + [f'{name}_evaluator.ann_file={annotations}' for name in ('val', 'test')]


def rethink_study(out: Path, seed: int, data: Path, quick: bool) -> None:
    """Study A: fine-tuned against from scratch, on a short and on a long schedule."""
    folder = out / f'seed{seed}'
    crops = f'{data / "classification"}/'
    loaders = [f'{name}_dataloader.dataset.data_root={crops}' for name in ('train', 'val', 'test')]
    # An iteration of the classifier takes about half the time of one of the detectors.
    classifier = training('classifier_r18_gn', folder, seed, quick, loaders, cost=0.5)
    weights = f'model.backbone.init_cfg.checkpoint={classifier.work_dir}/iter_{classifier.iterations}.pth'
    # The longest first, so that two at a time end together.
    detectors = [
        training(f'{arm}_r18_gn_{length}', folder, seed, quick, [*where_data(data), *start], after=after)
        for length in reversed(LENGTHS)
        for arm, start, after in (('scratch', [], []), ('pretrain', [weights], [classifier]))
    ]
    print(
        'Study A in miniature: Mask R-CNN R18-FPN, GN, on generated scenes; crops of single shapes stand for ImageNet.'
    )
    run_jobs([classifier, *detectors], folder)

    pairs = read_pairs(folder)
    convergence.draw(pairs, folder / 'convergence', f'Mask R-CNN R18-FPN, GN, on shapes (seed {seed})')
    words = convergence.verdict(pairs, MARGIN)
    if quick:
        words = 'Too short to say anything: without --quick the numbers come with a verdict.'
    report = f'{convergence.table(pairs)}\n\n{words}\n'
    (folder / 'report.md').write_text(report)
    (folder / 'report.json').write_text(
        json.dumps(dict(seed=seed, margin=MARGIN, rows=convergence.rows(pairs)), indent=1)
    )
    accuracy = read_run(classifier.work_dir).curve('accuracy/top1')[-1][1]
    print(f'\nThe classifier is right on {accuracy:.1f} % of its validation images. The detectors:\n\n{report}')
    others = {int(path.name[4:]): read_pairs(path) for path in sorted(out.glob('seed[0-9]*'))}
    done = {s: p for s, p in others.items() if all(run.finished for pair in p for run in pair.arms.values())}
    if len(done) > 1:
        print(f'Box AP over the seeds in {out}:\n\n{convergence.seeds_table(done)}\n')
    print(f'Picture: {folder / "convergence.png"} (and .svg), numbers: {folder / "report.json"}, logs: {folder}')


def read_pairs(folder: Path) -> list[convergence.Pair]:
    arms = {n: [read_run(folder / f'{arm}_r18_gn_{n}') for arm in ('pretrain', 'scratch')] for n in LENGTHS}
    return [convergence.Pair(n, *runs) for n, runs in arms.items()]


STUDIES = dict(rethink=rethink_study)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--study', choices=sorted(STUDIES), default='rethink')
    parser.add_argument('--seed', type=int, default=0, help='of initialisation and sampling; the data stay the same')
    parser.add_argument('--out', type=Path, default=Path('demo'), help='folder for runs and results')
    parser.add_argument('--data', type=Path, default=Path('data/shapes'), help='folder of the generated data')
    parser.add_argument('--quick', action='store_true', help='a few iterations on a few images, to try the machinery')
    args = parser.parse_args()
    scenes, crops = shapes.DetectionSpec(), shapes.ClassificationSpec()
    if args.quick:
        args.out, args.data = Path(f'{args.out}-quick'), Path(f'{args.data}-quick')
        scenes, crops = replace(scenes, train=64, val=16), replace(crops, train=128, val=64)
    try:
        shapes.write_detection(args.data / 'detection', scenes)
        shapes.write_classification(args.data / 'classification', crops)
        STUDIES[args.study](args.out, args.seed, args.data, args.quick)
    except (JobError, OSError) as error:
        sys.exit(f'demo: {error}')
    except KeyboardInterrupt:
        sys.exit('\ndemo: stopped; the same command goes on from the last checkpoints.')


if __name__ == '__main__':
    main()
