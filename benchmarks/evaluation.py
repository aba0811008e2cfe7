"""COCO evaluation of boxes, masks and keypoints: ours beside MMDetection's with pycocotools, in turns.

    python benchmarks/evaluation.py                         all three, on 1,000 and 5,000 images
    python benchmarks/evaluation.py --metrics segm --images 1000 --repeats 5

Detectors are simulated: boxes and classes as in COCO's validation set, 100 detections an image (20 people by their
keypoints), masks with 24 corners. What is measured is ``compute_metrics``, from the results that a test loop has
collected to the numbers, in a process of its own for each side, so that the memory of one is not that of the other.
Seconds are CPU time of the process.
"""

import argparse
import contextlib
import io
import json
import logging
import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from bootstrap import SIDE, simulate

BACKENDS = ('pycocotools', 'faster-coco-eval')
KEYPOINTS = 17


def outlines(rng: np.random.Generator, boxes: np.ndarray, corners: int = 24) -> np.ndarray:
    """A polygon that fills about three quarters of each box, (N, 2 · corners), in pixels."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radius = rng.uniform(0.8, 1, (len(boxes), corners, 1)) / 2
    unit = radius * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.5
    return (boxes[:, None, :2] + unit * boxes[:, None, 2:]).reshape(len(boxes), -1)


def skeletons(boxes: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Keypoints of people that stand in boxes, (N, 17, 2), in pixels."""
    place = np.random.default_rng(7).random((KEYPOINTS, 2))
    return boxes[:, None, :2] + (place + noise) * boxes[:, None, 2:]


def task(metric: str, images: int, folder: Path) -> tuple[dict, list[tuple[dict, dict]]]:
    """The config of a metric, and what a test loop would have collected for it."""
    rng = np.random.default_rng(1)
    people = metric == 'keypoints'
    content, (found,) = simulate(images, *((1, 2.3, 18) if people else (80, 7.36, 92)), (0.0,))
    boxes = np.array([one['bbox'] for one in content['annotations']])
    if metric == 'segm':
        for one, outline in zip(content['annotations'], outlines(rng, boxes).tolist(), strict=True):
            one['segmentation'] = [outline]
    if people:
        for one, points in zip(content['annotations'], skeletons(boxes, np.zeros(1)), strict=True):
            seen = rng.integers(0, 3, (KEYPOINTS, 1))
            one['keypoints'] = np.concatenate([np.where(seen > 0, points, 0), seen], 1).ravel().tolist()
            one['num_keypoints'] = int((seen > 0).sum())
    path = folder / f'{metric}-{images}.json'
    path.write_text(json.dumps(content))
    cfg = dict(type='CocoKeypointMetric' if people else 'CocoMetric', ann_file=str(path), metric=metric)
    return cfg, list(collected(metric, content, found, rng))


def collected(metric: str, content: dict, found: list[dict], rng: np.random.Generator):
    """Of each image, as ``CocoMetric.process`` keeps it."""
    from pycocotools import mask

    of_images = {one['id']: [] for one in content['images']}
    for one in found:
        of_images[one['image_id']].append(one)
    for image, detections in of_images.items():
        detections = sorted(detections, key=lambda one: -one['score'])[:100]
        boxes = np.array([one['bbox'] for one in detections]).reshape(-1, 4)
        result = dict(
            img_id=image,
            bboxes=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).astype(np.float32),
            scores=np.array([one['score'] for one in detections], np.float32),
            labels=np.array([one['category_id'] - 1 for one in detections]),
        )
        if metric == 'segm':
            polygons = outlines(rng, boxes).tolist()
            result['masks'] = [mask.frPyObjects([one], SIDE, SIDE)[0] for one in polygons]
        if metric == 'keypoints':
            noise = rng.normal(size=(len(boxes), KEYPOINTS, 2)) * rng.gamma(1, 0.03, (len(boxes), 1, 1))
            result['keypoints'] = skeletons(boxes, noise).astype(np.float32)
        yield dict(width=SIDE, height=SIDE, img_id=image), result


def turn(cfg: dict, results: list, backend: str, channel) -> None:
    """Evaluate once, in this process; sends CPU seconds, MiB that were added, and what was measured."""
    import rethink  # noqa: F401
    from mmdet.registry import METRICS
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    MMLogger.get_instance('benchmark', log_level=logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        metric = METRICS.build(dict(cfg, backend=backend))
        metric.dataset_meta = dict(classes=[one['name'] for one in metric._coco_api.cats.values()])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        values = metric.compute_metrics(results)
        seconds = time.process_time() - start
    channel.send((seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10, dict(values)))


def measure(cfg: dict, results: list, repeats: int) -> dict[str, list[tuple]]:
    found = {backend: [] for backend in BACKENDS}
    for _ in range(repeats):
        for backend in BACKENDS:
            ours, theirs = multiprocessing.Pipe(False)
            process = multiprocessing.Process(target=turn, args=(cfg, results, backend, theirs))
            process.start()
            theirs.close()
            found[backend].append(ours.recv())
            process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--metrics', nargs='+', default=['bbox', 'segm', 'keypoints'])
    parser.add_argument('--images', type=int, nargs='+', default=[1000, 5000])
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    multiprocessing.set_start_method('fork')  # a child has the results without a copy
    print('metric, images: CPU seconds of pycocotools and ours, ratio of each turn; MiB added, of both')
    for metric in args.metrics:
        for images in args.images:
            with tempfile.TemporaryDirectory() as folder:
                found = measure(*task(metric, images, Path(folder)), args.repeats)
            assert len({json.dumps(values) for turns in found.values() for *_, values in turns}) == 1, found
            (slow, more), (fast, less) = (list(zip(*found[one], strict=True))[:2] for one in BACKENDS)
            ratios = [one / other for one, other in zip(slow, fast, strict=True)]
            print(
                f'{metric}, {images}: {statistics.median(slow):.2f} and {statistics.median(fast):.2f} s, '
                f'{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}); '
                f'{statistics.median(more):.0f} and {statistics.median(less):.0f} MiB',
                flush=True,
            )


if __name__ == '__main__':
    main()
