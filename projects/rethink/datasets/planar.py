"""Images that lie in memory channel by channel, as a detector takes them, before they are packed."""

import cv2
import numpy as np
from mmdet.datasets.transforms import PackDetInputs, Pad
from mmdet.registry import TRANSFORMS


def planar(image: np.ndarray, size: tuple[int, int] | None = None, fill=0) -> np.ndarray:
    """The same image, (H, W, C), with each channel in a block of memory.

    Args:
        image: (h, w, C), C from 2 to 4, in whatever order in memory, mirrored as well.
        size: (H, W), at least (h, w), to which it is padded below and on the right.
        fill: a value for each channel, or one for all, of what is padded.
    """
    height, width, channels = image.shape
    size = size or (height, width)
    planes = np.empty((channels, *size), image.dtype)
    # As OpenCV rounds them.
    fill = np.clip(np.rint(fill), 0, 255) if image.dtype == np.uint8 else fill
    values = np.broadcast_to(fill, channels).astype(image.dtype)[:, None, None]
    planes[:, height:], planes[:, :height, width:] = values, values
    # OpenCV would copy what runs backwards, value by value.
    up, left = (image.strides[axis] < 0 for axis in range(2))
    straight = image[:: -1 if up else 1, :: -1 if left else 1]
    for plane, channel in zip(planes, cv2.split(straight), strict=True):
        inside = plane[:height, :width]
        if up or left:
            cv2.flip(channel, -1 if up and left else int(left), inside)
        else:
            inside[:] = channel
    return planes.transpose(1, 2, 0)


def _has_planes(image: np.ndarray) -> bool:
    known = image.ndim == 3 and image.dtype in (np.uint8, np.float32)
    return known and 1 < image.shape[2] <= 4 and min(image.shape) > 0


@TRANSFORMS.register_module()
class PlanarPad(Pad):
    """MMDetection's :class:`Pad`, whose image is :func:`planar`, so that packing does not copy it."""

    def _pad_img(self, results: dict) -> None:
        image, value = results['img'], self.pad_val.get('img', 0)
        size = self.size and self.size[::-1]
        simple = self.padding_mode == 'constant' and size and not self.pad_to_square and self.size_divisor is None
        plain = isinstance(value, int) or isinstance(value, tuple) and len(value) == image.shape[-1]
        if not (simple and plain and _has_planes(image)):
            super()._pad_img(results)
            return
        size = tuple(map(max, size, image.shape))
        results['img'] = planar(image, size, value)
        results.update(pad_shape=results['img'].shape, pad_fixed_size=self.size, pad_size_divisor=None, img_shape=size)


@TRANSFORMS.register_module()
class PlanarPackDetInputs(PackDetInputs):
    """MMDetection's :class:`PackDetInputs`; the image is reordered by OpenCV, which takes a fraction of the time."""

    def transform(self, results: dict) -> dict:
        image = results.get('img')
        if image is not None and _has_planes(image) and abs(image.strides[1]) != image.itemsize:
            results['img'] = planar(image)
        return super().transform(results)
