"""Random crops beside MMPretrain's: the same draws, and the same bits, or Pillow's but for the rounding."""

import numpy as np
import pytest
import rethink  # noqa: F401
from mmpretrain.registry import TRANSFORMS


def crops(kind: str, image: np.ndarray, **args) -> list[dict]:
    crop = TRANSFORMS.build(dict(type=f'mmpretrain.{kind}', scale=48, crop_ratio_range=(0.2, 1.0), **args))
    np.random.seed(0)
    return [crop(dict(img=image)) for _ in range(20)]


def image(*shape, dtype=np.uint8) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    noise[: shape[0] // 2] = noise[0, 0]  # an edge
    return noise.astype(dtype)


@pytest.mark.parametrize(
    ('picture', 'args'),
    [
        (image(90, 120, 3), dict(backend='pillow')),
        (image(90, 120, 3), dict(backend='pillow', interpolation='bicubic')),
        (image(90, 120, 3)[:, ::-1], dict(backend='pillow')),
        (image(20, 31, 3), dict(backend='pillow')),
        (image(90, 120, 3), dict(backend='cv2')),
        (image(90, 120), dict(backend='pillow')),
        (image(90, 120, 3, dtype=np.float32), dict(backend='cv2')),
        (image(4, 200, 3), dict(backend='pillow')),
    ],
)
def test_crops_are_mmpretrains(picture, args):
    kinds = ('RandomResizedCrop', 'FastRandomResizedCrop')
    for stock, ours in zip(*(crops(kind, picture, **args) for kind in kinds), strict=True):
        assert np.array_equal(stock['img'], ours['img']) and stock['img'].dtype == ours['img'].dtype
        assert stock['img_shape'] == ours['img_shape']


@pytest.mark.parametrize('shape', [(90, 120, 3), (20, 31, 3), (300, 200, 3)])
def test_torch_rounds_otherwise_than_pillow(shape):
    picture = image(*shape)
    stock = crops('RandomResizedCrop', picture, backend='pillow')
    ours = crops('FastRandomResizedCrop', picture, backend='torch')
    for one, other in zip(stock, ours, strict=True):
        assert other['img'].dtype == np.uint8 and other['img_shape'] == one['img_shape']
        assert np.abs(one['img'].astype(int) - other['img']).max() <= 1


@pytest.mark.parametrize(
    ('picture', 'args'), [(image(90, 120), {}), (image(90, 120, 3), dict(interpolation='bicubic'))]
)
def test_what_torch_does_not_take_is_pillows(picture, args):
    stock = crops('RandomResizedCrop', picture, backend='pillow', **args)
    ours = crops('FastRandomResizedCrop', picture, backend='torch', **args)
    assert all(np.array_equal(one['img'], other['img']) for one, other in zip(stock, ours, strict=True))
