"""Detections of two runs side by side, on the validation images where they differ most."""

import io
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask

from ..analysis.class_ap import Annotations, read_annotations, read_results
from ..checks.datasets import Dataset, unwrapped
from ..errors import ConfigError
from .claims import BOXES, predictions
from .expressions import parse
from .plan import Plan, Task

IMAGES = 6
# As MMDetection's visualiser: what is less certain is not drawn, and does not count here.
SCORE = 0.3
IOU = 0.5
WIDTH = 320  # pixels; smaller images are enlarged
# Distinct for all kinds of sight.
RIGHT, WRONG, MISSED, OBJECT = '#56b4e9', '#e8590c', '#f0e442', '#ffffff'


@dataclass(frozen=True)
class Picture:
    """One image: its ground truth and what both runs detect in it, as JPEG.

    Args:
        f1: of the detections of both, in points of 100.
    """

    name: str
    f1: tuple[float, float]
    truth: bytes
    detections: tuple[bytes, bytes]


@dataclass(frozen=True)
class Gallery:
    """The images where two runs differ most.

    Args:
        ahead: images in which the first has the higher F1, the second has, both have the same.
        why: there are no pictures, or fewer.
    """

    runs: tuple[str, str]
    seed: int | None
    pictures: list[Picture]
    ahead: tuple[int, int, int] = (0, 0, 0)
    why: str = ''


def differing(plan: Plan) -> Gallery | None:
    """Of the first claim that compares two trainings; None where no claim does."""
    for text in plan.study.claims.values():
        names = tuple(dict.fromkeys(run for run, _ in parse(text, plan.study).terms))
        tasks = [plan.task(name, plan.seeds[0]) for name in names]
        if len(names) == 2 and all(task is not None and task.cfg is not None for task in tasks):
            try:
                return _of(names, tasks)
            except (ConfigError, OSError) as error:
                return Gallery(names, tasks[0].seed, [], why=str(error))
    return None


def _of(names: tuple[str, str], tasks: list[Task]) -> Gallery:
    files = [predictions(task, BOXES) for task in tasks]
    missing = [name for name, file in zip(names, files, strict=True) if file is None]
    if missing:
        return Gallery(names, tasks[0].seed, [], why=f'{missing[0]} has no predicted boxes.')
    if files[0][0] != files[1][0]:
        return Gallery(names, tasks[0].seed, [], why='The two are of different validation images.')
    truth = read_annotations(files[0][0], masks=False)
    objects = _by_image(truth.objects)
    found = [_by_image(one for one in read_results(file, truth) if one['score'] >= SCORE) for _, file, _ in files]
    matched = {image: [match(objects[image], arm[image]) for arm in found] for image in truth.images}
    f1 = {image: tuple(100 * f1_of(*one) for one in both) for image, both in matched.items()}
    most = sorted(f1, key=lambda image: -abs(f1[image][0] - f1[image][1]))[:IMAGES]
    pictures, why = [], ''
    for image in most:
        if f1[image][0] == f1[image][1]:
            break
        path = _path(tasks[0], truth.images[image])
        try:
            with Image.open(path) as opened:
                pixels = opened.convert('RGB')
        except OSError:
            why = f'The image {path} cannot be read.'
            continue
        arms = [
            draw(pixels, truth, _looks(objects[image], arm[image], *both))
            for arm, both in zip(found, matched[image], strict=True)
        ]
        whole = draw(pixels, truth, [(one, OBJECT) for one in objects[image]])
        pictures.append(Picture(path.name, f1[image], whole, tuple(arms)))
    first, second = (sum(one[at] > one[1 - at] for one in f1.values()) for at in (0, 1))
    why = why or ('' if pictures else f'No image differs in what is detected with a score of {SCORE} or more.')
    return Gallery(names, tasks[0].seed, pictures, (first, second, len(f1) - first - second), why)


def _by_image(entries) -> dict[int, list[dict]]:
    found = defaultdict(list)
    for one in entries:
        found[one['image_id']].append(one)
    return found


def match(objects: list[dict], detections: list[dict]) -> tuple[list[bool | None], list[bool | None]]:
    """Which detections are right and which objects are found, as COCO matches them: the most certain first, each to
    the object of its class that it overlaps most, an IoU of 0.5 or more.

    Returns:
        For each detection and each object whether; None for crowds and what is matched to them, which do not count.
    """
    right: list[bool | None] = [False] * len(detections)
    found: list[bool | None] = [None if one.get('iscrowd') else False for one in objects]
    if not objects or not detections:
        return right, found
    crowds = [int(bool(one.get('iscrowd'))) for one in objects]
    overlaps = mask.iou(
        np.array([one['bbox'] for one in detections], float), np.array([one['bbox'] for one in objects], float), crowds
    )
    for at in sorted(range(len(detections)), key=lambda at: -detections[at]['score']):
        same = [
            number
            for number, one in enumerate(objects)
            if one['category_id'] == detections[at]['category_id']
            and overlaps[at, number] >= IOU
            and found[number] is not True
        ]
        # An object before a crowd.
        best = max(same, key=lambda number: (not crowds[number], overlaps[at, number]), default=None)
        if best is not None:
            right[at] = None if crowds[best] else True
            found[best] = found[best] if crowds[best] else True
    return right, found


def f1_of(right: list[bool | None], found: list[bool | None]) -> float:
    """2 TP / (2 TP + FP + FN); 1 where there is nothing and nothing is detected."""
    hits, errors = right.count(True), right.count(False) + found.count(False)
    return 2 * hits / (2 * hits + errors) if hits or errors else 1.0


def _looks(objects: list[dict], detections: list[dict], right: list, found: list) -> list[tuple[dict, str]]:
    missed = [(one, MISSED) for one, there in zip(objects, found, strict=True) if there is False]
    drawn = [(one, RIGHT if good else WRONG) for one, good in zip(detections, right, strict=True) if good is not None]
    return missed + sorted(drawn, key=lambda one: one[0]['score'])


def _path(task: Task, image: dict) -> Path:
    inner = Dataset(*next(unwrapped(task.cfg.val_dataloader.dataset, '')), None)
    folder = (inner.cfg.get('data_prefix') or {}).get('img') or ''
    # LVIS names the images of COCO by their address.
    name = image.get('file_name') or '/'.join(str(image.get('coco_url', '')).split('/')[-2:])
    return Path(inner.join(str(Path(folder, name))))


def draw(pixels: Image.Image, truth: Annotations, boxes: list[tuple[dict, str]]) -> bytes:
    """A JPEG with boxes in their colours, each with its class and, of a detection, its score."""
    scale = WIDTH / pixels.width
    canvas = pixels.resize((WIDTH, max(1, round(pixels.height * scale))), Image.Resampling.BICUBIC)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=11)
    for one, colour in boxes:
        x, y, width, height = (value * scale for value in one['bbox'])
        pen.rectangle((x, y, x + max(width, 1), y + max(height, 1)), outline=colour, width=2)
    for one, colour in boxes:
        text = truth.categories[one['category_id']]['name'] + (f' {one["score"]:.2f}' if 'score' in one else '')
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        x = min(max(one['bbox'][0] * scale, 0), max(WIDTH - right - 4, 0))
        y = max(one['bbox'][1] * scale - bottom - 3, 0)
        pen.rectangle((x, y, x + right + 4, y + bottom + 2), fill=colour)
        pen.text((x + 2, y), text, fill='black', font=font)
    file = io.BytesIO()
    canvas.save(file, 'JPEG', quality=70)
    return file.getvalue()
