"""Study A: Mask R-CNN from a classifier's weights against from random ones, on a short and on a long schedule."""

import json
from dataclasses import replace
from pathlib import Path

from ...analysis.logs import read_run
from ...datasets import shapes
from .. import convergence
from . import Demo, where_crops, where_scenes

LENGTHS = ('1x', '6x')
# Differences of final AP that the verdict calls none; two seeds of one config differ by as much (docs/shapes.md).
MARGIN = 1.0


def run(demo: Demo) -> None:
    """Write the data, train what is not trained, and print table and verdict.

    Raises:
        JobError: a training failed.
        ConfigError: another process runs in the folder.
    """
    scenes, crops = shapes.DetectionSpec(), shapes.ClassificationSpec()
    if demo.quick:
        scenes, crops = replace(scenes, train=64, val=16), replace(crops, train=128, val=64)
    shapes.write_detection(demo.data / 'detection', scenes)
    shapes.write_classification(demo.data / 'classification', crops)

    folder = demo.out / f'seed{demo.seed}'
    name = 'classifier_r18_gn'
    # An iteration of the classifier takes about half the time of one of the detectors.
    classifier = demo.training(name, folder / name, where_crops(demo.data / 'classification'), cost=0.5)
    weights = f'model.backbone.init_cfg.checkpoint={classifier.work_dir}/iter_{classifier.iterations}.pth'
    detectors = []
    # The longest first, so that two at a time end together.
    for length in reversed(LENGTHS):
        for arm, start, after in (('scratch', [], []), ('pretrain', [weights], [classifier])):
            name = f'{arm}_r18_gn_{length}'
            options = [*where_scenes(demo.data / 'detection'), *start]
            detectors.append(demo.training(name, folder / name, options, after=after))
    print(
        'Study A in miniature: Mask R-CNN R18-FPN, GN, on generated scenes; crops of single shapes stand for ImageNet.'
    )
    demo.run([classifier, *detectors], folder)
    _report(demo, folder, classifier.work_dir)


def _report(demo: Demo, folder: Path, classifier: Path) -> None:
    pairs = _read_pairs(folder)
    convergence.draw(pairs, folder / 'convergence', f'Mask R-CNN R18-FPN, GN, on shapes (seed {demo.seed})')
    words = convergence.verdict(pairs, MARGIN)
    if demo.quick:
        words = 'Too short to say anything: without --quick the numbers come with a verdict.'
    report = f'{convergence.table(pairs)}\n\n{words}\n'
    (folder / 'report.md').write_text(report)
    (folder / 'report.json').write_text(
        json.dumps(dict(seed=demo.seed, margin=MARGIN, rows=convergence.rows(pairs)), indent=1)
    )
    accuracy = read_run(classifier).curve('accuracy/top1')[-1][1]
    print(f'\nThe classifier is right on {accuracy:.1f} % of its validation images. The detectors:\n\n{report}')
    others = {int(path.name[4:]): _read_pairs(path) for path in sorted(demo.out.glob('seed[0-9]*'))}
    done = {s: p for s, p in others.items() if all(run.finished for pair in p for run in pair.arms.values())}
    if len(done) > 1:
        print(f'Box AP over the seeds in {demo.out}:\n\n{convergence.seeds_table(done)}\n')
    print(f'Picture: {folder / "convergence.png"} (and .svg), numbers: {folder / "report.json"}, logs: {folder}')


def _read_pairs(folder: Path) -> list[convergence.Pair]:
    arms = {n: [read_run(folder / f'{arm}_r18_gn_{n}') for arm in ('pretrain', 'scratch')] for n in LENGTHS}
    return [convergence.Pair(n, *runs) for n, runs in arms.items()]
