"""Study C: a backbone from a classifier, frozen, fine-tuned or not used, in a small and in a larger detector.

The scenes have a long tail: of some classes hundreds of objects, of others a handful. The classifier has seen as many
crops of each (:mod:`rethink.datasets.shapes_tail`).
"""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from ...analysis import class_gains
from ...analysis.logs import read_run
from ...costs.of_config import Cost, Setting, Step, build, load, measure_once
from ...datasets import shapes_tail
from ...reuse import config_path
from .. import frozen_study
from ..frozen_study import ARMS, DETECTORS, Result
from ..jobs import Job
from . import Demo, where_crops, where_scenes

# Differences of AP within one seed that the verdict calls none: the standard deviation over three seeds of the gap
# between the frozen arm and another, over both detectors and both others (docs/shapes.md).
MARGIN = 3.2
_REPEATS = 8


def run(demo: Demo, detectors: Sequence[str] = tuple(DETECTORS), arms: Sequence[str] = tuple(ARMS)) -> None:
    """Write the data, train what is not trained, and print table and verdict.

    Args:
        detectors, arms: what is compared; the verdict needs all of them.

    Raises:
        JobError: a training failed.
        ConfigError: another process runs in the folder.
        ConfigError: a detector has found nothing at all.
    """
    scenes, crops = shapes_tail.TailScenes(), shapes_tail.TailCrops()
    if demo.quick:
        scenes, crops = replace(scenes, train=64, val=16), replace(crops, train=128, val=50)
    shapes_tail.write_tail(demo.data, scenes, crops)

    folder = demo.out / 'frozen' / f'seed{demo.seed}'
    print(
        'Study C in miniature: detectors with an R18 on scenes with a long tail of classes; crops of single shapes, '
        'as many of each class, stand for ImageNet.'
    )
    demo.run(_jobs(demo, folder, detectors, arms), folder)
    _report(demo, folder, detectors, arms)


def config_name(detector: str, arm: str) -> str:
    """Of configs/shapes, without suffix."""
    return f'{arm}_r18_gn_tail_{detector}_2x'


def _jobs(demo: Demo, folder: Path, detectors: Sequence[str], arms: Sequence[str]) -> list[Job]:
    name = 'classifier_r18_gn_tail'
    classifier = demo.training(name, folder / name, where_crops(demo.data / 'tail_classification'))
    weights = f'model.backbone.init_cfg.checkpoint={classifier.work_dir}/iter_{classifier.iterations}.pth'
    jobs = []
    # The longest first, so that two at a time end together.
    for detector in reversed(detectors):
        for arm in reversed(arms):
            name = config_name(detector, arm)
            options = where_scenes(demo.data / 'tail_detection')
            options.append(f'val_evaluator.outfile_prefix={folder / name}/val')
            if demo.quick:  # however unsure, something to evaluate
                options.append('model.test_cfg.rcnn.score_thr=0.0')
            begin, after = ([], []) if arm == 'scratch' else ([weights], [classifier])
            cost = 1 if detector == 'fpn' else 2
            jobs.append(demo.training(name, folder / name, [*options, *begin], after=after, cost=cost))
    return [classifier, *jobs]


# --- what came of it -------------------------------------------------------------------------------------------------


def read_results(folder: Path, costs: dict[str, Cost], seconds: dict[str, float]) -> list[Result]:
    """What the logs of a seed say, beside what steps cost.

    Args:
        costs: name of a config -> of a step of it.
        seconds: name of a config -> of a processor, for a step of it.
    """
    results = []
    for name, cost in costs.items():
        arm, detector = name.removesuffix('_2x').split('_r18_gn_tail_')
        log = read_run(folder / name)
        last = log.val.get(log.max_iters, {})
        # MMDetection logs no AP where not one box was detected, which is an AP of 0.
        ap, ap50 = (100 * last.get(f'coco/{key}', 0.0) for key in ('bbox_mAP', 'bbox_mAP_50'))
        step = (sum(part.values()) for part in (cost.step.forward, cost.step.backward, cost.step.kept))
        results.append(Result(detector, arm, ap, ap50, cost.parameters, cost.trainable, *step, seconds[name]))
    return results


def read_gains(folders: Sequence[Path], detector: str, annotations: Path) -> class_gains.Gains:
    """AP by class of the frozen arm less the fine-tuned one.

    Args:
        folders: of one seed each.
        annotations: folder of the annotation files.
    """
    base, other = (
        [folder / config_name(detector, arm) / 'val.bbox.json' for folder in folders] for arm in ('finetune', 'freeze')
    )
    train, val = (annotations / f'instances_{split}2017.json' for split in ('train', 'val'))
    with contextlib.redirect_stdout(sys.stderr):
        gains = class_gains.read(train, val, base, other)
    return replace(gains, arms=(ARMS['finetune'], ARMS['freeze']))


def _measure(demo: Demo, names: Sequence[str]) -> tuple[dict[str, Cost], dict[str, float]]:
    """What a training step of each config costs, and its CPU seconds; of its batch of its images, as in the training.

    The logs have seconds too, but of hours in which the machine may have had other work. Here the configs take turns.
    """
    configs = {name: load(config_path(f'shapes/{name}.py')) for name in names}
    size = shapes_tail.TailScenes().size
    settings = {name: Setting((size, size), cfg.train_dataloader.batch_size) for name, cfg in configs.items()}
    costs = {name: measure_once(cfg, settings[name], demo.out / 'frozen' / 'costs') for name, cfg in configs.items()}
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the initialisation of each tensor
    try:
        steps = {name: Step(cfg, build(cfg), settings[name]) for name, cfg in configs.items()}
    finally:
        logging.disable(before)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(2 if demo.quick else 1 + _REPEATS):
        for name, step in steps.items():
            start = time.process_time()
            step().backward()
            times[name].append(time.process_time() - start)
            step.model.zero_grad(set_to_none=True)
    # The first step of a process is another one.
    return costs, {name: median(of[1:]) for name, of in times.items()}


def _report(demo: Demo, folder: Path, detectors: Sequence[str], arms: Sequence[str]) -> None:
    names = [config_name(detector, arm) for detector in detectors for arm in arms]
    costs, seconds = _measure(demo, names)
    annotations = demo.data / 'tail_detection' / 'annotations'
    results = read_results(folder, costs, seconds)
    gains = {detector: read_gains([folder], detector, annotations) for detector in detectors}
    frozen_study.draw(results, gains, folder / 'frozen', f'Frozen classifier features on shapes (seed {demo.seed})')
    if demo.quick:
        words = 'Too short to say anything: without --quick the numbers come with a verdict.'
    else:
        words = frozen_study.verdict([results], gains, MARGIN)
    tables = [frozen_study.table(results), *(class_gains.table(gains[detector]) for detector in detectors)]
    report = '\n\n'.join([*tables, words]) + '\n'
    (folder / 'report.md').write_text(report)
    (folder / 'report.json').write_text(
        json.dumps(
            dict(
                seed=demo.seed,
                margin=MARGIN,
                rows=[one._asdict() for one in results],
                classes={detector: class_gains.rows(gains[detector]) for detector in detectors},
            ),
            indent=1,
        )
    )
    accuracy = read_run(folder / 'classifier_r18_gn_tail').curve('accuracy/top1')[-1][1]
    print(f'\nThe classifier is right on {accuracy:.1f} % of its validation images. The detectors:\n\n{report}')
    if not demo.quick:
        _report_seeds(demo, costs, seconds, annotations)
    print(f'Picture: {folder / "frozen.png"} (and .svg), numbers: {folder / "report.json"}, logs: {folder}')


def _report_seeds(demo: Demo, costs: dict[str, Cost], seconds: dict[str, float], annotations: Path) -> None:
    """Table and verdict over all seeds that are finished, where there are several."""
    folders = {int(path.name[4:]): path for path in sorted((demo.out / 'frozen').glob('seed[0-9]*'))}
    done = {seed: path for seed, path in folders.items() if all(read_run(path / name).finished for name in costs)}
    if len(done) < 2:
        return
    seeds = {seed: read_results(path, costs, seconds) for seed, path in done.items()}
    gains = {detector: read_gains(list(done.values()), detector, annotations) for detector in DETECTORS}
    words = frozen_study.verdict(list(seeds.values()), gains, MARGIN)
    report = f'{frozen_study.seeds_table(seeds)}\n\n{words}\n'
    (demo.out / 'frozen' / 'report.md').write_text(report)
    print(f'Over the seeds in {demo.out / "frozen"}:\n\n{report}')
