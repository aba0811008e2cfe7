"""Hue in tables beside Pillow's conversions, and the jitter beside torchvision's: the same bits and the same draws."""

import numpy as np
import pytest
import rethink  # noqa: F401
import torch
from mmpretrain.registry import TRANSFORMS
from PIL import Image
from rethink.datasets.colour_jitter import adjust_hue
from torchvision.transforms import functional as F


def noise(*shape: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def every_colour() -> Image.Image:
    """All 2²⁴ of them."""
    number = np.arange(2**24, dtype='<u4').view(np.uint8).reshape(4096, 4096, 4)
    return Image.fromarray(np.ascontiguousarray(number[..., :3]))


@pytest.mark.parametrize('factor', [0.0, 0.1])
def test_each_colour_becomes_pillows(factor):
    image = every_colour()
    assert np.array_equal(adjust_hue(image, factor), F.adjust_hue(image, factor))


@pytest.mark.parametrize('factor', np.arange(-127, 128, 2) / 255)
def test_each_turn_is_torchvisions(factor):
    image = noise(61, 47, 3)
    assert np.array_equal(adjust_hue(image, factor), F.adjust_hue(image, factor))


@pytest.mark.parametrize(
    'image', [noise(20, 31), noise(20, 31, 4), torch.rand(3, 8, 9), noise(1, 1, 3), noise(3, 33_000, 3)]
)
def test_what_is_no_image_in_rgb_or_too_long_is_torchvisions_to_do(image):
    found, theirs = adjust_hue(image, -0.3), F.adjust_hue(image, -0.3)
    assert type(found) is type(theirs) and np.array_equal(found, theirs)


def test_a_turn_beyond_half_a_circle_is_refused():
    with pytest.raises(ValueError, match='hue_factor'):
        adjust_hue(noise(8, 8, 3), 0.6)


ALL = dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)


@pytest.mark.parametrize('arguments', [ALL, dict(hue=(0.1, 0.2)), dict(contrast=0.5)])
def test_the_jitter_is_torchvisions(arguments):
    found = []
    for kind in ('FastColorJitter', 'torchvision/ColorJitter'):
        jitter = TRANSFORMS.build(dict(type=f'mmpretrain.{kind}', **arguments))
        torch.manual_seed(0)
        found.append([np.asarray(jitter(dict(img=noise(40, 50, 3)))['img']) for _ in range(8)])
    assert np.array_equal(*found) and not np.array_equal(found[0][0], found[0][1])
