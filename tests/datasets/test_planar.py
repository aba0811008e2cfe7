"""Images channel by channel: MMDetection's values and meta data, however they lay in memory before."""

import numpy as np
import pytest
import rethink  # noqa: F401
import torch
from mmdet.registry import TRANSFORMS


def images() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (31, 45, 3), np.uint8)
    return {
        'as loaded': image,
        'cropped': image[3:20, 5:40],
        'mirrored': image[:, ::-1],
        'upside down': image[2:9][::-1],
        'turned': image[::-1, ::-1],
        'other channels': image[..., ::-1],
        'planar': np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0),
        'planar and mirrored': np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)[:, ::-1],
        'float': image.astype(np.float32) / 7,
        'double': image.astype(np.float64) / 7,
        '16 bits': image.astype(np.uint16) * 200,
        'one channel': image[..., :1],
        'four channels': random.integers(0, 256, (8, 9, 4), np.uint8),
        'five channels': random.integers(0, 256, (8, 9, 5), np.uint8),
        'grey': image[..., 0],
        'as large': random.integers(0, 256, (50, 60, 3), np.uint8),
        'wider': random.integers(0, 256, (20, 70, 3), np.uint8),
    }


def results_of(image: np.ndarray, step: dict) -> dict:
    return TRANSFORMS.build(step)(dict(img=image.view(), img_shape=image.shape[:2]))


PADS = {
    'to a size': dict(size=(60, 50)),
    'with a value for each channel': dict(size=(60, 50), pad_val=dict(img=(104, 116.5, 123.675))),
    'with one value': dict(size=(60, 50), pad_val=7),
    'to a multiple': dict(size_divisor=32),
    'to a square': dict(pad_to_square=True),
    'with the edge': dict(size=(60, 50), padding_mode='edge'),
}


@pytest.mark.parametrize('name', images())
@pytest.mark.parametrize('pad', PADS.values(), ids=PADS)
def test_padded_images_are_mmdetections(name, pad):
    image, kept = images()[name], images()[name]
    try:
        stock = results_of(image, dict(type='Pad', **pad))
    except Exception as error:
        with pytest.raises(type(error)):
            results_of(image, dict(type='PlanarPad', **pad))
        return
    ours = results_of(image, dict(type='PlanarPad', **pad))
    assert np.array_equal(stock.pop('img'), (padded := ours.pop('img'))) and padded.dtype == image.dtype
    assert stock == ours
    assert np.array_equal(image, kept)
    packed = TRANSFORMS.build(dict(type='PackDetInputs'))(dict(img=padded))['inputs']
    assert np.array_equal(np.moveaxis(packed.numpy(), 0, -1).reshape(padded.shape), padded)


@pytest.mark.parametrize('name', [name for name in images() if name != '16 bits'])
def test_packed_images_are_mmdetections(name):
    image = images()[name]
    stock, ours = (results_of(image, dict(type=kind)) for kind in ('PackDetInputs', 'PlanarPackDetInputs'))
    assert torch.equal(stock['inputs'], ours['inputs']) and stock['inputs'].dtype == ours['inputs'].dtype
    assert ours['inputs'].is_contiguous()
    assert stock['data_samples'].metainfo == ours['data_samples'].metainfo


def test_what_was_padded_is_packed_without_a_copy():
    padded = results_of(images()['mirrored'], dict(type='PlanarPad', size=(60, 50)))['img']
    for kind in ('PackDetInputs', 'PlanarPackDetInputs'):
        inputs = TRANSFORMS.build(dict(type=kind))(dict(img=padded))['inputs']
        assert np.shares_memory(inputs.numpy(), padded)
