"""What is wrong with the objects of an annotation file: boxes, areas, crowds, masks and keypoints."""

from collections.abc import Iterator

import numpy as np

from ..datasets.annotations import Annotations, Fault, Mask, Points
from ..datasets.boxes import OF_COCO, RECTANGLES, SLACK, meant, over
from .problems import Problem, Seen, Use, faulty, those, trainable

# Sizes of its image by which a box sticks out that is of none.
TIMES = 10
# Part of the annotations that may repeat others.
_TWICE = 0.01


# --- boxes -----------------------------------------------------------------------------------------------------------


def _boxes(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
    words = {Fault.NO_BOX: 'have no bbox', Fault.BAD_BOX: 'have a bbox that is not four numbers'}
    yield from faulty(a, 'bad-boxes', words, 'write x, y, width and height in pixels')
    infinite = np.isinf(a.boxes).any(1)
    if infinite.any():
        yield Problem('infinite-box', 'error', f'{those(a, infinite)} of {a.path} have an infinite bbox.',
                      'write numbers')  # fmt: skip
    no_number = np.isnan(a.boxes).any(1) & ((a.faults & (Fault.NO_BOX | Fault.BAD_BOX)) == 0)
    if no_number.any():
        what = f'{those(a, no_number)} of {a.path} have a bbox with NaN: {_DROPPED}.'
        yield Problem('nan-box', 'warning', what, 'write numbers, or take them out')
    good = np.isfinite(a.boxes).all(1) & np.isfinite(seen.sizes).all(1) & (seen.sizes > 0).all(1)
    if not good.any():
        return
    boxes, sizes = (a.boxes, seen.sizes) if good.all() else (a.boxes[good], seen.sizes[good])
    if ((boxes >= 0) & (boxes <= 1)).all():
        what = f'all boxes of {a.path} lie between 0 and 1, as if in parts of the image instead of pixels.'
        yield Problem('relative-boxes', 'error', what, 'multiply them by width and height', sure=False)
        return
    other = meant(boxes, sizes, OF_COCO)
    if other:
        reading, reaching = other
        what = (
            f'{reaching:,} of {len(boxes):,} boxes of {a.path} reach out of their images as x, y, width and '
            f'height, and as {reading.words} all fit.'
        )
        yield Problem(reading.kind, 'error', what, reading.fix, sure=False)
        return
    small = np.zeros(len(a.ids), bool)
    small[good] = (boxes[:, 2:] < 1).any(1)
    if small.any():
        negative = int((boxes[:, 2:] < 0).any(1).sum())
        more = f' ({negative:,} of them negative)' if negative else ''
        what = f'{those(a, small)} of {a.path} have a box of less than a pixel in width or height{more}: {_DROPPED}.'
        yield Problem('small-boxes', 'warning', what, 'correct them, or take them out')
    outside = np.zeros(len(a.ids), bool)
    shown = np.minimum(boxes[:, :2] + boxes[:, 2:], sizes) - np.maximum(boxes[:, :2], 0)
    outside[good] = (shown <= 0).any(1) & ~small[good]
    if outside.any():
        what = f'{those(a, outside)} of {a.path} have a box outside of the image: {_DROPPED}.'
        yield Problem('boxes-outside', 'warning', what, 'correct boxes or sizes of images')
    out = np.zeros(len(a.ids), bool)
    reach = over(boxes, sizes)
    out[good] = (reach > SLACK) & ~outside[good] & ~small[good]
    far = np.zeros(len(a.ids), bool)
    far[good] = reach > TIMES * sizes.max(1)
    if (out & far).any():
        most = float(reach[(out & far)[good]].max())
        what = f'{those(a, out & far)} of {a.path} have a box that sticks out by {TIMES} times the size of its image '
        what += f'and more, up to {most:.3g} pixels.'
        yield Problem('boxes-far-out', 'error', what, 'correct them, or take them out', sure=False)
    out &= ~far
    if out.any():
        most = float(reach[out[good]].max())
        what = f'{those(a, out)} of {a.path} have a box that sticks out of its image, by up to {most:.0f} pixels.'
        yield Problem('boxes-sticking-out', 'warning', what, 'correct them; MMDetection trains them as they are')


_DROPPED = 'MMDetection leaves it out of training without a word, and as validation data it counts as missed'


def _repeated(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
    yield from repeated(a, use.scores)


def repeated(a: Annotations, scores: bool) -> Iterator[Problem]:
    """The same box of the same class in the same image."""
    keys = np.zeros(len(a.ids), np.uint64)
    for column in (a.of_image, a.of_category, *np.ascontiguousarray(a.boxes.T).view(np.int32)):
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + column.astype(np.uint64)
        keys ^= keys >> np.uint64(29)
    ordered = np.sort(keys)  # a sixth of the time of np.argsort, which is for those that are there twice
    some = np.flatnonzero(np.isin(keys, ordered[1:][ordered[1:] == ordered[:-1]]))
    order = some[np.argsort(keys[some], kind='stable')]
    again = np.zeros(len(keys), bool)
    again[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    again &= np.isfinite(a.boxes).all(1) & (a.crowd == 0)
    if again.any():
        what = f'{those(a, again)} of {a.path} repeat another one: the same box of the same class in the same image'
        what += ', of which validation counts one as missed.' if scores else ', which is trained twice.'
        level = 'warning' if again.mean() >= _TWICE else 'note'
        yield Problem('repeated', level, what, 'take them out')


def _areas(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
    ends = 'at which MMDetection ends'
    words = {Fault.NO_AREA: f'have no area, {ends}', Fault.BAD_AREA: f'have an area that is no number, {ends}'}
    yield from faulty(a, 'no-area', words, 'write it: of the mask, or width times height')
    with np.errstate(invalid='ignore'):
        none = (a.areas <= 0) & (a.boxes[:, 2:] >= 1).all(1)
    if none.any() and none.sum() == (a.boxes[:, 2:] >= 1).all(1).sum():
        what = f'all {len(a.ids):,} annotations of {a.path} have area 0, so that MMDetection would train on none.'
        yield Problem('area-0', 'error', what, 'write it: of the mask, or width times height')
    elif none.any():
        what = f'{those(a, none)} of {a.path} have a box and area 0: {_DROPPED}.'
        yield Problem('area-0', 'warning', what, 'write it: of the mask, or width times height')


def _crowds(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
    without = (a.faults & Fault.NO_CROWD) > 0
    if use.scores and not use.federated and without.any():
        what = f'{those(a, without)} of {a.path} have no iscrowd, at which the first validation ends (pycocotools).'
        yield Problem('no-iscrowd', 'error', what, 'write "iscrowd": 0')
    bad = (a.faults & Fault.BAD_CROWD) > 0
    if bad.any():
        what = f'{those(a, bad)} of {a.path} have an iscrowd that is neither 0 nor 1; text is true, even "0".'
        yield Problem('bad-iscrowd', 'error', what, 'write 0 or 1')
    elif len(a.ids) and (a.crowd > 0).all():
        what = f'all {len(a.ids):,} annotations of {a.path} are crowds, which are neither trained nor scored.'
        yield Problem('all-crowds', 'error', what, 'write "iscrowd": 0 for single objects')


# --- masks and keypoints ---------------------------------------------------------------------------------------------


def _masks(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
    if not use.masks or not len(a.ids):
        return
    # What is left out before its mask is looked at does no harm; scoring looks at all.
    looked = np.ones(len(a.ids), bool) if use.scores else trainable(a, seen)
    for kind, words, ends in (
        (Mask.NONE, 'have no segmentation or an empty one', True),
        (Mask.FLAT, 'have a segmentation that is a flat list of numbers instead of a list of polygons', True),
        (Mask.WRONG, 'have a segmentation of other things than numbers, or an RLE that does not fit its size', True),
        (Mask.SHORT, 'have a segmentation without a polygon of three points or a whole RLE', use.scores),
        (Mask.PARTLY, 'have some polygons of fewer than three points', use.scores),
    ):
        where = looked & (a.masks == kind)
        if where.any():
            then = 'a run that needs masks ends at it' if ends else 'MMDetection does not train them'
            ends = ends or where.sum() == looked.sum()
            fix = 'write polygons [[x1, y1, x2, y2, x3, y3, …]], or take a detector without masks'
            what = f'{those(a, where)} of {a.path} {words}: {then}.'
            yield Problem('masks', 'error' if ends else 'warning', what, fix)
    here, elsewhere = ((a.faults & fault) > 0 for fault in (Fault.MASK_HERE, Fault.MASK_ELSEWHERE))
    if (looked & elsewhere).sum() > (looked & here).sum():
        number = int((looked & (here | elsewhere)).sum())
        what = f'{those(a, looked & elsewhere)} of {a.path} have polygons that do not lie where their boxes are'
        what += f' (looked at {number:,}), as if they were of an image of another size, or in parts of it.'
        yield Problem('masks-elsewhere', 'error', what, 'write both in pixels of the image as it is', sure=False)
    boxes, more = ((looked & ((a.faults & fault) > 0)).sum() for fault in (Fault.MASK_BOX, Fault.MASK_DRAWN))
    if boxes > RECTANGLES * (boxes + more):
        what = f'{boxes:,} of {boxes + more:,} polygons of {a.path} that were looked at are rectangles, as tools write'
        what += ' them for boxes and for turned boxes: a mask learns them, and its AP is that of a box.'
        yield Problem('rectangles', 'warning', what, 'take a detector without masks, or export the outlines')
    of_images = np.nan_to_num(seen.sizes[:, ::-1], nan=0)
    other = looked & (a.masks == Mask.RLE) & (of_images > 0).all(1) & (a.mask_sizes != of_images).any(1)
    if other.any():
        first = np.flatnonzero(other)[0]
        said, is_so = a.mask_sizes[first].tolist(), of_images[first].astype(int).tolist()
        what = (
            f'{those(a, other)} of {a.path} have an RLE of another size than their image ({said}, and [height, width] '
        )
        what += f'is {is_so}): a run that needs masks ends at it.'
        yield Problem('rle-size', 'error', what, 'write the masks of the images as they are')


def _keypoints(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
    if use.keypoints is None or not len(a.ids):
        return
    numbers, said, labelled = a.keypoints.T
    looked = np.ones(len(a.ids), bool) if use.scores else trainable(a, seen)
    fix = 'use a person_keypoints_*.json'
    without = looked & (numbers < 0)
    if without.any():
        yield Problem('no-keypoints', 'error', f'{those(a, without)} of {a.path} have no keypoints.', fix)
    # That its categories have another number than the config is for the rule of keypoints.
    named = {len(one['keypoints']) for one in a.categories if isinstance(one.get('keypoints'), list)} - {0}
    many = named.pop() if len(named) == 1 else use.keypoints
    other = looked & (numbers >= 0) & (numbers != 3 * many)
    if other.any():
        what = f'{those(a, other)} of {a.path} have not 3 numbers for each of {many} keypoints.'
        yield Problem('keypoint-numbers', 'error', what, 'write x, y and visibility of each')
    if use.scores and (looked & (numbers >= 0) & (said < 0)).any():
        what = f'{those(a, looked & (numbers >= 0) & (said < 0))} of {a.path} have no num_keypoints.'
        yield Problem('num-keypoints', 'error', what, 'write how many keypoints are labelled')
    wrong = looked & (numbers >= 0) & (said >= 0) & (said != labelled)
    if wrong.any():
        what = f'{those(a, wrong)} of {a.path} have a num_keypoints that is not the number of labelled ones.'
        yield Problem('num-keypoints', 'warning', what, 'write how many have a visibility above 0')
    if (numbers >= 0).any() and not (labelled > 0).any():
        what = f'no keypoint of {a.path} is labelled (visibility above 0), so there is nothing to train.'
        yield Problem('no-labelled-keypoints', 'error', what, fix)
    yield from _points(a, looked & (numbers == 3 * many), seen)


def _points(a: Annotations, looked: np.ndarray, seen: Seen) -> Iterator[Problem]:
    """Values of keypoints that are as many as there should be."""
    bad = looked & ((a.points & Points.NO_NUMBER) > 0)
    if bad.any():
        what = f'{those(a, bad)} of {a.path} have keypoints of other things than numbers (null, NaN, text), of which '
        what += 'the targets of a training are none either, or at which it ends.'
        yield Problem('bad-keypoints', 'error', what, 'write numbers, and 0, 0, 0 for a point that is not labelled')
    other = looked & ((a.points & Points.VISIBILITY) > 0)
    if other.any():
        what = (
            f'{those(a, other)} of {a.path} have keypoints with a visibility that is none of 0, 1 and 2; above 0 it '
        )
        what += 'counts as labelled.'
        fix = 'write 0 for not labelled, 1 for hidden, 2 for visible, behind x and y'
        yield Problem('visibility', 'error', what, fix, sure=False)
    rows = np.flatnonzero(a.keypoints[:, 2] > 0)
    good = looked[rows] & np.isfinite(a.extents).all(1) & (seen.sizes[rows] > 0).all(1) & ~bad[rows]
    rows, extents = rows[good], a.extents[good]
    if not len(rows):
        return
    if ((extents >= 0) & (extents <= 1)).all() and (extents % 1 > 0).any():
        what = f'all keypoints of {a.path} lie between 0 and 1, as if in parts of the image instead of pixels.'
        yield Problem('relative-keypoints', 'error', what, 'multiply them by width and height', sure=False)
        return
    boxes = a.boxes[rows]
    with np.errstate(invalid='ignore'):
        near = (extents[:, 2:] >= boxes[:, :2] - boxes[:, 2:]) & (extents[:, :2] <= boxes[:, :2] + 2 * boxes[:, 2:])
    away = np.zeros(len(a.ids), bool)
    away[rows] = ~near.all(1) & np.isfinite(boxes).all(1)
    if 2 * away.sum() > len(rows):
        what = (
            f'{those(a, away)} of {a.path} have keypoints that do not lie where their boxes are, as if of an image of '
        )
        what += 'another size, in parts of it, or with y before x.'
        yield Problem('keypoints-elsewhere', 'error', what, 'write both in pixels of the image as it is', sure=False)
        return
    over = np.maximum(extents[:, 2:] - seen.sizes[rows], -extents[:, :2]).max(1)
    far, out = np.zeros(len(a.ids), bool), np.zeros(len(a.ids), bool)
    far[rows] = over > TIMES * seen.sizes[rows].max(1)
    out[rows] = (over > SLACK) & ~far[rows]
    if far.any():
        what = f'{those(a, far)} of {a.path} have a labelled keypoint outside of its image by {TIMES} times its size '
        what += f'and more, up to {float(over.max()):.3g} pixels.'
        yield Problem('keypoints-far-out', 'error', what, 'correct them, or set their visibility to 0', sure=False)
    if out.any():
        what = f'{those(a, out)} of {a.path} have a labelled keypoint outside of its image, which is not trained, and '
        what += 'counts where it is scored.'
        yield Problem('keypoints-outside', 'warning', what, 'correct them, or set their visibility to 0')


OF_OBJECTS = (_boxes, _repeated, _areas, _crowds, _masks, _keypoints)
