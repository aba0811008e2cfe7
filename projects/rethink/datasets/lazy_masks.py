"""Masks that stay what the annotation file has until somebody asks for their pixels; the pixels are MMDetection's.

``LoadAnnotations(with_mask=True)`` makes a bitmap of each object, as large as the image, and each step that follows
writes all of them anew: to COCO's 7 objects an image of 800 x 1066 pixels that is 6 MB a step, most of them zeros,
which a data worker then pickles. Here an object is its annotation, then the part of the bitmap that is not zero; to
resize (nearest neighbour), crop, flip and pad is to choose rows and columns, which is done once, at the end.
"""

from collections.abc import Callable

import cv2
import mmcv
import numpy as np
from mmdet.datasets.transforms import CopyPaste, LoadAnnotations
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes, get_box_type
from mmdet.structures.mask import BitmapMasks

# (first row, first column, bitmap): the part of a bitmap outside of which it is zero.
Part = tuple[int, int, np.ndarray]


class LazyBitmapMasks(BitmapMasks):
    """``BitmapMasks`` of which only the parts that are not zero are kept, until ``masks`` is read.

    Equal to ``BitmapMasks`` to the bit, whatever is done with it: what is not nearest neighbour, and what is not
    below, reads ``masks`` and is MMDetection's. Made by :meth:`lazy`; the constructor is that of ``BitmapMasks``.

    Attributes:
        masks: uint8 of (N, H, W). Reading it makes the bitmaps, and from then on they are kept in place of the parts.
    """

    @classmethod
    def lazy(cls, objects: list, rasterise: Callable[[object], np.ndarray] | None, height: int, width: int):
        """Masks of objects that are not bitmaps yet.

        Args:
            objects: an annotation, or already a :data:`Part`, for each.
            rasterise: makes a bitmap, uint8 of (height, width), of an annotation; None where all are parts.
        """
        return cls._of(objects, rasterise, _all(height), _all(width))

    @classmethod
    def _of(cls, objects, rasterise, rows, columns):
        masks = cls.__new__(cls)
        masks.height, masks.width = len(rows), len(columns)
        # Of each row and column of the masks the one of the image that it shows; -1 of what was padded.
        masks._objects, masks._rasterise, masks._rows, masks._columns = objects, rasterise, rows, columns
        masks._masks = None
        return masks

    @property
    def is_lazy(self) -> bool:
        """Whether ``masks`` has not been read or set."""
        return self._masks is None

    @property
    def masks(self) -> np.ndarray:
        if self._masks is None:
            bitmaps = np.zeros((len(self), self.height, self.width), np.uint8)
            for bitmap, (row, column, part) in zip(bitmaps, self.parts(), strict=True):
                bitmap[row : row + part.shape[0], column : column + part.shape[1]] = part
            self.masks = bitmaps
        return self._masks

    @masks.setter
    def masks(self, bitmaps: np.ndarray) -> None:
        self._masks, self._objects, self._rasterise = bitmaps, None, None

    def parts(self) -> list[Part]:
        """Of each mask the part outside of which it is zero, in its own rows and columns; may be empty."""
        self._make_parts()
        rows, columns = self._rows, self._columns
        self._objects = [_chosen(part, rows, columns) for part in self._objects]
        self._rows, self._columns = _all(self.height), _all(self.width)
        return self._objects

    def _make_parts(self) -> None:
        if self._rasterise is not None:
            self._objects = [one if isinstance(one, tuple) else _part(self._rasterise(one)) for one in self._objects]
            self._rasterise = None

    def __getstate__(self) -> dict:
        # What a worker hands over is small; the process that trains makes the bitmaps of it.
        self._make_parts()
        return self.__dict__

    def __len__(self) -> int:
        return len(self._objects) if self.is_lazy else len(self._masks)

    def __getitem__(self, index) -> BitmapMasks:
        if not self.is_lazy:
            return super().__getitem__(index)
        chosen = np.arange(len(self))[index].reshape(-1)
        return self._of([self._objects[one] for one in chosen], self._rasterise, self._rows, self._columns)

    def rescale(self, scale, interpolation='nearest') -> BitmapMasks:
        width, height = mmcv.rescale_size((self.width, self.height), scale)
        return self.resize((height, width), interpolation)

    def resize(self, out_shape, interpolation='nearest') -> BitmapMasks:
        if not self.is_lazy or interpolation != 'nearest':
            return super().resize(out_shape, interpolation)
        height, width = out_shape
        return self._shows(self._rows[_nearest(self.height, height)], self._columns[_nearest(self.width, width)])

    def flip(self, flip_direction='horizontal') -> BitmapMasks:
        if not self.is_lazy:
            return super().flip(flip_direction)
        assert flip_direction in ('horizontal', 'vertical', 'diagonal')
        rows = self._rows if flip_direction == 'horizontal' else self._rows[::-1]
        return self._shows(rows, self._columns if flip_direction == 'vertical' else self._columns[::-1])

    def crop(self, bbox) -> BitmapMasks:
        if not self.is_lazy:
            return super().crop(bbox)
        # What is left of an empty stack is checked and cut as MMDetection does.
        left, top = np.clip(bbox[:2], 0, (self.width, self.height))
        cut = BitmapMasks([], self.height, self.width).crop(bbox)
        return self._shows(self._rows[top : top + cut.height], self._columns[left : left + cut.width])

    def pad(self, out_shape, pad_val=0) -> BitmapMasks:
        if not self.is_lazy or pad_val:
            return super().pad(out_shape, pad_val)
        rows, columns = (
            np.pad(one, (0, max(length - len(one), 0)), constant_values=-1)
            for one, length in zip((self._rows, self._columns), out_shape, strict=True)
        )
        return self._shows(rows, columns)

    def _shows(self, rows: np.ndarray, columns: np.ndarray) -> BitmapMasks:
        return self._of(self._objects, self._rasterise, rows, columns)

    def get_bboxes(self, dst_type='hbb'):
        kind = get_box_type(dst_type)[1] if isinstance(dst_type, str) else dst_type
        if not self.is_lazy or kind is not HorizontalBoxes:
            return super().get_bboxes(dst_type)
        boxes = np.zeros((len(self), 4), np.float32)
        for box, (row, column, part) in zip(boxes, self.parts(), strict=True):
            down, left, bitmap = _part(part)
            if bitmap.size:
                top, left = row + down, column + left
                box[:] = left, top, left + bitmap.shape[1], top + bitmap.shape[0]
        return HorizontalBoxes(boxes)

    @property
    def areas(self) -> np.ndarray:
        if not self.is_lazy:
            return super().areas
        return np.array([part.sum(dtype=np.uint64) for _, _, part in self.parts()], np.uint64)


def _all(length: int) -> np.ndarray:
    return np.arange(length, dtype=np.int32)


def _part(bitmap: np.ndarray) -> Part:
    """What of a bitmap of (H, W) is not zero; pycocotools' have their columns one after the other in memory."""
    if not bitmap.size:
        return 0, 0, bitmap
    if bitmap.flags.f_contiguous:
        row, column, height, width = cv2.boundingRect(bitmap.T)
    else:
        column, row, width, height = cv2.boundingRect(np.ascontiguousarray(bitmap))
    return row, column, np.ascontiguousarray(bitmap[row : row + height, column : column + width])


def _nearest(old: int, new: int) -> np.ndarray:
    """int32 of (new,): of each pixel the one that OpenCV takes for it when it resizes a line of old pixels."""
    return cv2.resize(np.arange(old, dtype=np.int32)[None], (new, 1), interpolation=cv2.INTER_NEAREST)[0]


def _chosen(part: Part, rows: np.ndarray, columns: np.ndarray) -> Part:
    """A part of the image, as rows and columns show it."""
    row, column, bitmap = part
    (first, rows), (left, columns) = _within(rows, row, bitmap.shape[0]), _within(columns, column, bitmap.shape[1])
    if len(rows) < len(bitmap):
        return first, left, bitmap[rows][:, columns]
    return first, left, bitmap[:, columns][rows]


def _within(lines: np.ndarray, start: int, length: int) -> tuple[int, np.ndarray]:
    """Where lines show those from ``start`` on, and which of these: lines rise or fall, so that it is one place."""
    inside = np.flatnonzero((lines >= start) & (lines < start + length))
    if not len(inside):
        return 0, inside
    return int(inside[0]), lines[inside[0] : inside[-1] + 1] - start


@TRANSFORMS.register_module()
class LazyLoadAnnotations(LoadAnnotations):
    """MMDetection's :class:`LoadAnnotations`, whose masks are :class:`LazyBitmapMasks`; nothing else differs."""

    def _load_masks(self, results: dict) -> None:
        height, width = results['ori_shape']
        annotations = self._process_masks(results)
        known = all(isinstance(one, list) or tuple(one['size']) == (height, width) for one in annotations)
        if not self.poly2mask or not annotations or not known:
            super()._load_masks(results)
            return

        def rasterise(annotation):
            return self._poly2mask(annotation, height, width)

        results['gt_masks'] = LazyBitmapMasks.lazy(annotations, rasterise, height, width)


@TRANSFORMS.register_module()
class LazyCopyPaste(CopyPaste):
    """MMDetection's :class:`CopyPaste`, which touches of :class:`LazyBitmapMasks` the parts that are not zero.

    Boxes, labels, masks and the values of the image are the same; the image keeps its dtype, where MMDetection's
    becomes int64, eight times as large.
    """

    def _copy_paste(self, dst_results: dict, src_results: dict) -> dict:
        masks = [results.get('gt_masks') for results in (dst_results, src_results)]
        if not all(isinstance(one, LazyBitmapMasks) and one.is_lazy for one in masks):
            return super()._copy_paste(dst_results, src_results)
        if not len(src_results['gt_bboxes']):
            return dst_results
        size = masks[0].height, masks[0].width
        pasted = np.zeros(size, np.uint8)
        source = masks[1].parts()
        for row, column, part in source:
            pasted[row : row + part.shape[0], column : column + part.shape[1]] |= part
        left = [
            (row, column, np.where(pasted[row : row + part.shape[0], column : column + part.shape[1]], 0, part))
            for row, column, part in masks[0].parts()
        ]
        boxes = dst_results['gt_bboxes']
        hidden = LazyBitmapMasks.lazy(left, None, *size)
        now = hidden.get_bboxes(type(boxes))
        close = ((now.tensor - boxes.tensor).abs() <= self.bbox_occluded_thr).all(dim=-1).numpy()
        seen = close | (hidden.areas > self.mask_occluded_thr)

        planes = [results['img'].transpose(2, 0, 1) for results in (dst_results, src_results)]
        image = np.where(pasted.astype(bool), planes[1], planes[0]).transpose(1, 2, 0)
        dst_results.update(
            img=image,
            gt_bboxes=boxes.cat([now[seen], src_results['gt_bboxes']]),
            gt_masks=LazyBitmapMasks.lazy([*(left[one] for one in np.flatnonzero(seen)), *source], None, *size),
        )
        for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
            dst_results[key] = np.concatenate([dst_results[key][seen], src_results[key]])
        return dst_results
