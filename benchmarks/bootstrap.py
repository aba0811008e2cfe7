"""Cost and coverage of bootstrap intervals, on simulated detectors.

    python benchmarks/bootstrap.py speed       1,000 draws of 5,000 images x 80 classes, 100 detections an image
    python benchmarks/bootstrap.py coverage    how often a 95 % interval has the true difference in it

For coverage, a large set of simulated images stands for all images that there are: its metrics are the true ones, and
a validation set is drawn from it, image by image. Of each such set the intervals are computed that a user would get.
"""

import argparse
import dataclasses
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from rethink.analysis import bootstrap
from rethink.analysis.bootstrap import Interval, Matches
from scipy import stats

SIDE = 640


def simulate(
    images: int, classes: int, objects: float, background: float, gains: tuple[float, ...], seed: int = 0
) -> tuple[dict, list[list[dict]]]:
    """Annotations, and detections of detectors that differ by how good they are, in COCO's format.

    What is hard for one detector is hard for the others. Classes are as frequent as 1, 1/2, 1/3, …

    Args:
        objects, background: means of an image, of objects and of detections of nothing.
        gains: of each detector what it has over one that misses about a quarter of the objects.
    """
    rng = np.random.default_rng(seed)
    many = rng.poisson(objects, images)
    of_image = np.repeat(np.arange(images), many)
    share = 1 / np.arange(1, classes + 1)
    of_class = rng.choice(classes, len(of_image), p=share / share.sum())
    box = random_boxes(rng, len(of_image))
    hard = rng.normal(size=len(of_image)) + rng.normal(size=images)[of_image] / 2 - np.log(box[:, 2] / 100) / 3
    crowds = (rng.random(len(box)) < 0.01).astype(int)
    content = dict(
        images=[dict(id=at + 1, width=SIDE, height=SIDE) for at in range(images)],
        categories=[dict(id=at + 1, name=f'class {at + 1}') for at in range(classes)],
        annotations=[
            dict(id=at, image_id=image + 1, category_id=category + 1, bbox=xywh, area=xywh[2] * xywh[3], iscrowd=crowd)
            for at, (image, category, xywh, crowd) in enumerate(
                zip(of_image.tolist(), of_class.tolist(), box.tolist(), crowds.tolist(), strict=True), 1
            )
        ],
    )
    other_image = np.repeat(np.arange(images), rng.poisson(background, images))
    other_class = rng.choice(classes, len(other_image), p=share / share.sum())
    other_box, likely = random_boxes(rng, len(other_image)), rng.normal(size=len(other_image))
    found = []
    for gain in gains:
        ease = gain - hard + rng.normal(size=len(hard)) / 2
        seen = ease > -1
        blur = (0.09 * np.exp(-0.4 * ease) * rng.gamma(2, 0.5, len(ease)))[:, None]
        moved = box + rng.normal(size=box.shape) * blur * box[:, [2, 3, 2, 3]]
        moved[:, 2:] = np.maximum(moved[:, 2:], 1)
        score = np.concatenate([ease[seen] + 1, likely - gain / 2 + rng.normal(size=len(likely)) / 2 - 2])
        parts = (
            np.concatenate([of_image[seen], other_image]),
            np.concatenate([of_class[seen], other_class]),
            np.concatenate([moved[seen], other_box]),
            # As a detector's: float32.
            (1 / (1 + np.exp(-score))).astype(np.float32),
        )
        found.append(
            [
                dict(image_id=image + 1, category_id=category + 1, bbox=xywh, score=one)
                for image, category, xywh, one in zip(*(part.tolist() for part in parts), strict=True)
            ]
        )
    return content, found


def random_boxes(rng: np.random.Generator, many: int) -> np.ndarray:
    """(x, y, width, height) of any size, (many, 4)."""
    size = np.exp(rng.uniform(np.log(12), np.log(320), (many, 2)))
    return np.concatenate([rng.random((many, 2)) * (SIDE - size), size], 1)


def matches_of(content: dict, found: list[list[dict]], times: list[float]) -> list[Matches]:
    """Through files, as a user has them."""
    with tempfile.TemporaryDirectory() as folder:
        truth = Path(folder, 'truth.json')
        truth.write_text(json.dumps(content))
        arms = []
        for number, detections in enumerate(found):
            results = Path(folder, f'{number}.bbox.json')
            results.write_text(json.dumps(detections))
            start = time.perf_counter()
            arms.append(bootstrap.read_matches(truth, results))
            times.append(time.perf_counter() - start)
    return arms


# --- speed -----------------------------------------------------------------------------------------------------------


def speed(args: argparse.Namespace) -> None:
    # COCO's validation set has 36,781 objects in 5,000 images; most detections of 100 are of nothing.
    content, found = simulate(5000, 80, 7.36, 94, (0.0,))
    times = []
    arms = matches_of(content, found, times)
    print(f'{len(found[0])} detections, {len(content["annotations"])} objects; matched in {times[0]:.0f} s')
    del content, found
    took = []
    for seed in range(args.repeats):
        start = time.perf_counter(), time.process_time()
        bootstrap.resample(arms, 1000, seed)
        took.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        print(f'{took[-1][0]:.1f} s, {took[-1][1]:.1f} s of CPU time', flush=True)
    seconds, cpu = (statistics.median(one) for one in zip(*took, strict=True))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f'1000 draws of an arm: {seconds:.1f} s, {cpu:.1f} s of CPU time, medians of {args.repeats}; '
        f'peak {memory:.1f} GiB, reading included'
    )


# --- coverage --------------------------------------------------------------------------------------------------------


def select(arm: Matches, images: np.ndarray) -> Matches:
    """Of some images, given as indices that rise."""
    place = np.full(len(arm.images), -1, np.int32)
    place[images] = np.arange(len(images))
    ranked = []
    for one in arm.ranked:
        if one is not None:
            keep = place[one.image] >= 0
            one = one._replace(
                image=place[one.image[keep]],
                counted=one.counted[:, keep],
                right=one.right[:, keep],
                group=one.group[keep],
                mixed=one.mixed[keep],
            )
        ranked.append(one)
    return dataclasses.replace(
        arm, images=arm.images[images], objects=arm.objects[:, images].tocsr(), ranked=tuple(ranked)
    )


def basic(values: np.ndarray) -> Interval:
    """Basic bootstrap interval: the percentiles mirrored at the value."""
    value, low, high = bootstrap.interval(values)
    return Interval(value, 2 * value - high, 2 * value - low)


def bca(values: np.ndarray, without: np.ndarray) -> Interval:
    """Efron's bias-corrected and accelerated interval.

    Args:
        without: the value without each image, (images,).
    """
    value, drawn = values[0], values[1:]
    bias = stats.norm.ppf(np.clip(((drawn < value).mean() + (drawn <= value).mean()) / 2, 1e-4, 1 - 1e-4))
    away = without.mean() - without
    acceleration = (away**3).sum() / (6 * max((away**2).sum(), 1e-30) ** 1.5)
    normal = bias + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(drawn, stats.norm.cdf(bias + normal / (1 - acceleration * normal)))
    return Interval(float(value), float(low), float(high))


def cover(arms: list[Matches], images: int, sets: int, resamples: int, seed: int = 0, with_bca: bool = False) -> dict:
    """How often the interval of the difference of two arms has the true one in it, of objects of all sizes.

    Returns:
        (kind of interval, metric) -> dict of ``covered``, ``above`` and ``below``, shares of intervals with the true
        difference inside, below and above them; their median ``width``; ``spread``, 3.92 standard deviations of the
        measured differences, which is the width that would be right; ``sets``, how many have a value and an interval
        with ends.
    """
    rng = np.random.default_rng(seed)
    # By size would take four times as long.
    arms = [
        dataclasses.replace(one, sizes=one.sizes[:1], objects=one.objects[::4].tocsr(), ranked=one.ranked[::4])
        for one in arms
    ]
    everything = [arm.metrics() for arm in arms]
    true = np.append(everything[1].all - everything[0].all, (everything[1].classes - everything[0].classes)[-1, 0])
    names = (*arms[0].names, f'{arms[0].classes[-1]} AP')
    found = {}
    for _ in range(sets):
        # With replacement, so that each image of a set is drawn from all, whatever the others are.
        drawn = rng.integers(len(arms[0].images), size=images)
        unique, times = np.unique(drawn, return_counts=True)
        weights = [times[None], rng.multinomial(images, times / images, resamples)]
        if with_bca:
            weights.append(times - np.eye(len(times), dtype=int))
        part = [select(arm, unique).metrics(np.concatenate(weights)) for arm in arms]
        values = np.column_stack([part[1].all - part[0].all, (part[1].classes - part[0].classes)[:, -1, 0]])
        for name, of, truth in zip(names, values.T, true, strict=True):
            if np.isnan(of[0]):
                continue
            intervals = dict(percentile=bootstrap.interval(of[: 1 + resamples]), basic=basic(of[: 1 + resamples]))
            if with_bca and not np.isnan(of).any():
                intervals['BCa'] = bca(of[: 1 + resamples], np.repeat(of[1 + resamples :], times))
            for kind, one in intervals.items():
                if np.isfinite([one.low, one.high]).all():
                    row = (one.low > truth, one.high < truth, one.high - one.low, one.value)
                    found.setdefault((kind, name), []).append(row)
    return {
        key: dict(
            covered=float(1 - above.mean() - below.mean()),
            above=float(above.mean()),
            below=float(below.mean()),
            width=float(np.median(width)),
            spread=float(3.92 * value.std(ddof=1)),
            sets=len(width),
        )
        for key, rows in found.items()
        for above, below, width, value in [np.array(rows, float).T]
    }


def coverage(args: argparse.Namespace) -> None:
    times = []
    start = time.perf_counter()
    arms = matches_of(*simulate(args.population, args.classes, 5, 6, (0.0, args.gain)), times)
    if args.alone:
        arms[0] = dataclasses.replace(arms[1], ranked=(None,) * len(arms[1].ranked))
    values = [arm.metrics().all for arm in arms]
    took = time.perf_counter() - start
    print(f'{args.population} images, {args.classes} classes, in {took:.0f} s; true values, in points:')
    for name, one, other in zip(arms[0].names, *values, strict=True):
        print(f'  {name}: {100 * one:.2f} and {100 * other:.2f}, difference {100 * (other - one):+.2f}')
    for images in args.images:
        start = time.perf_counter()
        found = cover(arms, images, args.sets, args.resamples, with_bca=args.bca)
        took = time.perf_counter() - start
        print(f'{images} images, {args.sets} sets, {args.resamples} draws each, {took:.0f} s')
        for (kind, name), row in sorted(found.items()):
            shares = {key: round(100 * row[key], 1) for key in ('covered', 'above', 'below')}
            sizes = {key: round(100 * row[key], 2) for key in ('width', 'spread')}
            print(f'  {kind:10} {name:18}', shares, sizes, row['sets'], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    commands = parser.add_subparsers(dest='command', required=True)
    one = commands.add_parser('speed')
    one.add_argument('--repeats', type=int, default=3)
    one = commands.add_parser('coverage')
    one.add_argument('--population', type=int, default=20_000)
    one.add_argument('--classes', type=int, default=10)
    one.add_argument('--gain', type=float, default=0.2, help='of the second detector over the first')
    one.add_argument('--images', type=int, nargs='+', default=[50, 200, 1000], help='of a validation set')
    one.add_argument('--sets', type=int, default=400)
    one.add_argument('--resamples', type=int, default=1000)
    one.add_argument('--alone', action='store_true', help='AP of the second detector: the first finds nothing')
    one.add_argument('--bca', action='store_true', help='that interval as well, a draw for each image')
    args = parser.parse_args()
    dict(speed=speed, coverage=coverage)[args.command](args)


if __name__ == '__main__':
    main()
