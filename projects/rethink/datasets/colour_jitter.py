"""torchvision's colour jitter of Pillow's images, whose hue is looked up in tables: the same bits, sooner."""

import functools

import cv2
import numpy as np
from mmpretrain.datasets.transforms.processing import TorchVisonTransformWrapper
from mmpretrain.registry import TRANSFORMS
from PIL import Image
from torchvision.transforms import ColorJitter
from torchvision.transforms import functional as F


@TRANSFORMS.register_module()
class FastColorJitter(TorchVisonTransformWrapper):
    """``torchvision/ColorJitter`` as MMPretrain registers it, with :func:`adjust_hue` for Pillow's RGB images.

    The arguments, the draws and the bits are torchvision's.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(_Jitter, *args, **kwargs)


class _Jitter(ColorJitter):
    def forward(self, img):
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, adjust_hue)
        for index in order:
            if factors[index] is not None:
                img = adjust[index](img, factors[index])
        return img


def adjust_hue(image, factor: float):
    """torchvision's ``adjust_hue``: the hue of Pillow's HSV turned by a part of a circle, and back to RGB.

    Pillow converts pixel by pixel, with divisions (``rgb2hsv`` and ``hsv2rgb`` of its Convert.c, after Python's
    colorsys). All of them are of bytes: the hue is a matter of two differences to the largest of red, green and blue,
    the saturation of the largest and its largest difference, and what the largest is multiplied with on the way back
    of hue and saturation. So they are done once for all bytes, and looked up for each pixel.

    Args:
        image: Pillow's RGB image, with sides below 32,767, in which OpenCV can look up; others and tensors are
            torchvision's to do.
        factor: -0.5 to 0.5.

    Raises:
        ValueError: another factor.
    """
    ours = isinstance(image, Image.Image) and image.mode == 'RGB'
    ours = ours and 0 < min(image.size) <= max(image.size) < 2**15 - 1
    if not ours or not -0.5 <= factor <= 0.5:
        return F.adjust_hue(image, factor)
    hues, saturations, factors = _tables()
    red, green, blue = cv2.split(np.asarray(image))
    value = cv2.max(cv2.max(red, green), blue)
    red, green, blue = value - red, value - green, value - blue
    # One of the three is 0 now: of the largest, and of the first one where there are several, as in Pillow.
    lower, higher = cv2.min(red, green), cv2.max(red, green)
    row = higher.astype(np.int16)
    row += (red > green) * np.int16(256)
    row += (lower > 0) * np.int16(512)
    hue = _look_up(hues, row, cv2.max(lower, blue))
    saturation = _look_up(saturations, value, cv2.max(higher, blue))
    hue += np.int32(factor * 255).astype(np.uint8)
    found = _look_up(factors, hue, saturation)
    found *= cv2.merge([value, value, value])
    found += np.float32(0.5)
    return Image.fromarray(found.astype(np.uint8))


def _look_up(table: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Entries of a table (R, 256[, 3]) at integer rows and columns (H, W)."""
    at = cv2.merge([column.astype(np.int16), row.astype(np.int16)])
    return cv2.remap(table, at, None, cv2.INTER_NEAREST)


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of hues (1024, 256), saturations (256, 256) and factors of the largest value (256, 256, 3).

    Hue: four tables of the higher and the lower of two differences to the largest value. In the first two red is the
    largest or green, the other one of these is the row, and blue is the column; in the others blue is the largest, and
    green or red is the row. Saturation: of the largest value and the largest difference. Pillow itself fills these.
    Factors: of hue and saturation, red, green and blue, in the floats of Pillow's conversion.
    """
    one, two = np.indices((256, 256), np.uint8)
    zero = np.zeros_like(one)
    differences = [(zero, one, two), (one, zero, two), (two, one, zero), (one, two, zero)]
    hues = [_hsv(*(255 - one for one in each))[..., 0] for each in differences]
    other = one - np.minimum(one, two)
    saturations = _hsv(one, other, other)[..., 1]

    sixths = np.arange(256)[:, None] * 6.0 / 255.0
    part = (sixths - np.floor(sixths)).astype(np.float32)
    saturation = (np.arange(256)[None] / 255.0).astype(np.float32)
    largest = np.ones((256, 256))
    smallest = 1.0 - largest * saturation
    falling = 1.0 - (saturation * part).astype(np.float64)
    rising = 1.0 - saturation * (1.0 - part.astype(np.float64))
    places = [
        (largest, rising, smallest),
        (falling, largest, smallest),
        (smallest, largest, rising),
        (smallest, falling, largest),
        (rising, smallest, largest),
        (largest, smallest, falling),
    ]
    sector = (np.floor(sixths).astype(int) % 6)[..., None] * np.ones((1, 256, 3), int)
    factors = np.choose(sector, [np.stack(each, -1) for each in places]).astype(np.float32)
    return np.concatenate(hues), np.ascontiguousarray(saturations), factors


def _hsv(*planes: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(np.stack(planes, -1).astype(np.uint8)).convert('HSV'))
