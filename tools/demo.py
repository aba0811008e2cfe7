"""The studies in miniature, from generated data to a verdict: what `make demo` runs.

    python tools/demo.py --seed 0 --out demo

trains everything through tools/train.py, with one progress bar for all of it, and ends with a table, a picture and a
verdict that are worked out from the logs. Stopped at any moment and started again, it goes on where it was; what is
finished is not trained again. Seeds under one --out are also compared with each other.
"""

import argparse
import json
import sys
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


def training(config: str, folder: Path, seed: int, options=(), **job) -> Job:
    """A training of ``configs/shapes/<config>.py`` by tools/train.py, in ``folder/<config>``."""
    path = rethink.config_path(f'shapes/{config}.py')
    work_dir = folder / config
    command = [sys.executable, str(TRAIN), path, '--work-dir', str(work_dir), '--resume']
    command += ['--cfg-options', f'randomness.seed={seed}', *options]
    return Job(config, command, work_dir, Config.fromfile(path).train_cfg.max_iters, **job)


def where_data(data: Path) -> list[str]:
    """Overrides that point a detector's config to the generated data."""
    root = f'{data / "detection"}/'
    loaders = [f'{name}_dataloader.dataset.data_root={root}' for name in ('train', 'val', 'test')]
    annotations = f'{root}annotations/instances_val2017.json'
    return loaders + [f'{name}_evaluator.ann_file={annotations}' for name in ('val', 'test')]


def rethink_study(out: Path, seed: int, data: Path) -> None:
    """Study A: fine-tuned against from scratch, on a short and on a long schedule."""
    folder = out / f'seed{seed}'
    crops = f'{data / "classification"}/'
    loaders = [f'{name}_dataloader.dataset.data_root={crops}' for name in ('train', 'val', 'test')]
    # An iteration of the classifier takes about half the time of one of the detectors.
    classifier = training('classifier_r18_gn', folder, seed, loaders, cost=0.5)
    weights = f'model.backbone.init_cfg.checkpoint={classifier.work_dir}/iter_{classifier.iterations}.pth'
    scratch = [training(f'scratch_r18_gn_{n}', folder, seed, where_data(data)) for n in reversed(LENGTHS)]
    pretrain = [
        training(f'pretrain_r18_gn_{n}', folder, seed, [*where_data(data), weights], after=[classifier])
        for n in reversed(LENGTHS)
    ]
    print(
        'Study A in miniature: Mask R-CNN R18-FPN, GN, on generated shapes; the stand-in for ImageNet is single shapes.'
    )
    run_jobs([classifier, *scratch, *pretrain], folder)

    pairs = read_pairs(folder)
    convergence.draw(pairs, folder / 'convergence', f'Mask R-CNN R18-FPN, GN, on shapes (seed {seed})')
    words = convergence.verdict(pairs, MARGIN)
    report = f'{convergence.table(pairs)}\n\n{words}\n'
    (folder / 'report.md').write_text(report)
    (folder / 'report.json').write_text(
        json.dumps(dict(seed=seed, margin=MARGIN, rows=convergence.rows(pairs)), indent=1)
    )
    accuracy = read_run(classifier.work_dir).curve('accuracy/top1')[-1][1]
    print(f'\nThe classifier is right on {accuracy:.1f} % of its validation images. The detectors:\n\n{report}')
    others = {int(path.name[4:]): read_pairs(path) for path in sorted(out.glob('seed*'))}
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
    args = parser.parse_args()
    try:
        shapes.write_detection(args.data / 'detection', shapes.DetectionSpec())
        shapes.write_classification(args.data / 'classification', shapes.ClassificationSpec())
        STUDIES[args.study](args.out, args.seed, args.data)
    except (JobError, OSError) as error:
        sys.exit(f'demo: {error}')
    except KeyboardInterrupt:
        sys.exit('\ndemo: stopped; the same command goes on from the last checkpoints.')


if __name__ == '__main__':
    main()
