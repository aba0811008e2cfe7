"""Time 1,000 resamples of the validation images of a COCO-sized test, for two detectors.

    python benchmarks/bootstrap.py [--images 5000] [--classes 80] [--detections 100] [--resamples 1000] [--repeats 3]

Matches are simulated as a detector of about 40 AP has them: 7.4 objects an image, as many detections as are named, of
which those with the higher scores match more often. Matching itself is pycocotools' and is not timed.
"""

import argparse
import resource
import statistics
import time

import numpy as np
from rethink.analysis.bootstrap import Matches, _Ranked, interval, resample

THRESHOLDS = 10


def simulated(random: np.random.Generator, images: int, classes: int, detections: int, skill: float) -> Matches:
    """What a detector of some skill found."""
    ranked = []
    for _ in range(classes):
        number = images * detections // classes
        objects = random.poisson(7.4 / classes, images).astype(float)
        scores = np.sort(random.beta(0.5, 3, number))[::-1]
        luck = random.uniform(size=number)
        chances = skill * scores[None] * np.linspace(1.5, 0.3, THRESHOLDS)[:, None]
        most = int(objects.sum())
        hits = [np.flatnonzero(luck < chance)[:most] for chance in chances]
        ignored = [np.sort(random.choice(number, number // 100, replace=False)) for _ in range(THRESHOLDS)]
        ignored = [np.setdiff1d(one, hit) for one, hit in zip(ignored, hits, strict=True)]
        ranked.append(_Ranked(random.integers(0, images, number), objects, hits, ignored))
    names = tuple(map(str, range(classes)))
    return Matches('bbox', tuple(range(images)), names, dict(all=ranked))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    for name, default in dict(images=5000, classes=80, detections=100, resamples=1000, repeats=3).items():
        parser.add_argument(f'--{name}', type=int, default=default)
    args = parser.parse_args()
    random = np.random.default_rng(0)
    arms = [simulated(random, args.images, args.classes, args.detections, skill) for skill in (0.8, 0.75)]
    times = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        one, other = resample(arms, args.resamples)
        times.append(time.perf_counter() - start)
    low, high = interval(100 * (one['coco/bbox_mAP'] - other['coco/bbox_mAP']))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    means = [100 * values['coco/bbox_mAP'].mean() for values in (one, other)]
    print(f'AP {means[0]:.1f} and {means[1]:.1f}, difference {low:.1f} to {high:.1f}')
    print(
        f'{args.resamples} resamples of {args.images} images × {args.classes} classes × {args.detections} detections, '
        f'two detectors: median {statistics.median(times):.1f} s of {args.repeats}, {memory:.1f} GB at most'
    )


if __name__ == '__main__':
    main()
