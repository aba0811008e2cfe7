"""Lazy masks beside MMDetection's: the same bits after any steps, of any kind of annotation."""

import copy
import pickle

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import rethink  # noqa: F401
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks
from rethink.datasets.lazy_masks import LazyBitmapMasks

HEIGHT, WIDTH = 37, 53


def annotations(random) -> list:
    """Polygons of one and two parts, outside, crossing the border and degenerate ones; RLE, packed and not."""
    polygons = [
        [random.uniform(-20, 70, 2 * random.integers(3, 9)).round(2).tolist() for _ in range(parts)]
        for parts in (1, 1, 2)
    ]
    bitmap = np.asfortranarray(random.random((HEIGHT, WIDTH)) < 0.02, dtype=np.uint8)
    packed = coco_mask.encode(bitmap)
    counts = np.diff(np.flatnonzero(np.diff(np.r_[1 - bitmap.T.flat[0], bitmap.T.ravel(), 2]))).tolist()
    whole = dict(size=[HEIGHT, WIDTH], counts=counts if not bitmap.T.flat[0] else [0, *counts])
    return [
        *polygons,
        [[500.0, 500.0, 520.0, 500.0, 520.0, 530.0]],
        [[1.0, 2.0, 3.0]],
        dict(packed, counts=packed['counts'].decode()),
        whole,
        [[0.0, 0.0, WIDTH, 0.0, WIDTH, HEIGHT, 0.0, HEIGHT]],
    ]


def loaded(kind: str, masks: list, **args):
    instances = [dict(bbox=[1, 2, 30, 20], bbox_label=0, ignore_flag=0, mask=mask) for mask in copy.deepcopy(masks)]
    results = dict(instances=instances, ori_shape=(HEIGHT, WIDTH))
    return TRANSFORMS.build(dict(type=kind, with_mask=True, **args))(results)


def pair(seed: int = 0):
    masks = annotations(np.random.default_rng(seed))
    stock, lazy = (loaded(kind, masks)['gt_masks'] for kind in ('LoadAnnotations', 'LazyLoadAnnotations'))
    assert type(stock) is BitmapMasks and type(lazy) is LazyBitmapMasks and lazy.is_lazy
    assert stock.masks.any(axis=(1, 2)).sum() >= 5
    return stock, lazy


def assert_same(stock: BitmapMasks, lazy: BitmapMasks) -> None:
    assert (len(stock), stock.height, stock.width) == (len(lazy), lazy.height, lazy.width)
    assert stock.masks.dtype == lazy.masks.dtype and np.array_equal(stock.masks, lazy.masks)


STEPS = [
    lambda masks, random: masks.rescale((int(random.integers(20, 150)), int(random.integers(20, 150)))),
    lambda masks, random: masks.resize(tuple(random.integers(5, 150, 2).tolist())),
    lambda masks, random: masks.flip(random.choice(['horizontal', 'vertical', 'diagonal'])),
    lambda masks, random: masks.pad((masks.height + int(random.integers(9)), masks.width + int(random.integers(9)))),
    lambda masks, random: masks.crop(np.array([2, 1, masks.width + 3, max(masks.height - 1, 2)])),
    lambda masks, random: masks[random.permutation(len(masks))[: max(len(masks) - 1, 1)]],
    lambda masks, random: masks[random.random(len(masks)) < 0.9],
    lambda masks, random: copy.deepcopy(masks),
]


@pytest.mark.parametrize('seed', range(40))
def test_steps_in_any_order_give_the_same_bits(seed):
    (stock, lazy), random = pair(seed), np.random.default_rng(seed)
    for _ in range(random.integers(1, 7)):
        step, draw = random.choice(STEPS), int(random.integers(1 << 30))
        stock, lazy = (step(one, np.random.default_rng(draw)) for one in (stock, lazy))
        if random.random() < 0.3:
            assert np.array_equal(stock.get_bboxes('hbox').tensor, lazy.get_bboxes('hbox').tensor)
            assert np.array_equal(stock.areas, lazy.areas) and stock.areas.dtype == lazy.areas.dtype
    assert lazy.is_lazy
    again = pickle.loads(pickle.dumps(lazy))
    assert again.is_lazy
    assert_same(stock, again)
    assert_same(stock, lazy)


@pytest.mark.parametrize('index', [2, [1, 1], slice(1, 4), np.array([], int), np.arange(8) == 3], ids=str)
def test_they_are_chosen_as_arrays_are(index):
    stock, lazy = pair()
    assert_same(stock[index], lazy[index])


@pytest.mark.parametrize(
    'step',
    [
        lambda masks: masks.resize((40, 60), 'bilinear'),
        lambda masks: masks.rescale(1.7, 'bilinear'),
        lambda masks: masks.pad((60, 60), pad_val=1),
        lambda masks: masks.translate((HEIGHT, WIDTH), 4),
        lambda masks: masks.rotate((HEIGHT, WIDTH), 30),
        lambda masks: masks.expand(90, 90, 3, 4),
        lambda masks: type(masks).cat([masks, masks]),
        lambda masks: BitmapMasks.cat([masks, masks]),
        lambda masks: masks.crop(np.array([5, 5, 20, 20])).flip('vertical'),
    ],
)
def test_what_is_not_nearest_neighbour_is_mmdetections(step):
    stock, lazy = pair(1)
    assert_same(step(stock), step(lazy))


def test_bitmaps_that_were_read_are_the_ones_that_count():
    _, lazy = pair()
    lazy.masks[:] = 1
    assert lazy.flip().masks.all() and lazy[0].masks.all() and (lazy.areas == HEIGHT * WIDTH).all()
    assert np.array_equal(lazy.get_bboxes('hbox').tensor[0], [0, 0, WIDTH, HEIGHT])


def test_no_object_and_what_is_no_bitmap_are_loaded_as_mmdetection_does():
    for masks, args in (([], {}), (annotations(np.random.default_rng(0)), dict(poly2mask=False))):
        stock, lazy = (loaded(kind, masks, **args)['gt_masks'] for kind in ('LoadAnnotations', 'LazyLoadAnnotations'))
        assert type(stock) is type(lazy) and len(stock) == len(lazy)


def test_an_rle_of_another_size_fails_where_mmdetection_fails():
    wrong = coco_mask.encode(np.ones((4, 5), np.uint8, order='F'))
    for kind in ('LoadAnnotations', 'LazyLoadAnnotations'):
        with pytest.raises((AssertionError, ValueError)):
            loaded(kind, [dict(wrong, counts=wrong['counts'].decode())])


@pytest.mark.parametrize('paste', ['LazyCopyPaste', 'CopyPaste'])
@pytest.mark.parametrize('selected', [True, False])
@pytest.mark.parametrize('seed', range(6))
def test_pasting_gives_the_same_image_boxes_and_masks(seed, selected, paste):
    random = np.random.default_rng(seed)
    images = [random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2)]
    results = {}
    for name, prefix, kind in (('stock', '', 'CopyPaste'), ('lazy', 'Lazy', paste)):
        both = [loaded(f'{prefix}LoadAnnotations', annotations(np.random.default_rng(seed + at))) for at in (0, 50)]
        for one, image in zip(both, images, strict=True):
            one['img'] = image
            one['gt_bboxes'] = one['gt_masks'].get_bboxes('hbox')
        np.random.seed(seed)
        step = dict(type=kind, selected=selected, bbox_occluded_thr=2, mask_occluded_thr=40)
        results[name] = TRANSFORMS.build(step)(dict(both[0], mix_results=[both[1]]))
    stock, lazy = results['stock'], results['lazy']
    assert np.array_equal(stock['img'], lazy['img'])
    assert np.array_equal(stock['gt_bboxes'].tensor, lazy['gt_bboxes'].tensor)
    if paste == 'LazyCopyPaste':
        assert lazy['gt_masks'].is_lazy and lazy['img'].dtype == np.uint8
    assert_same(stock['gt_masks'], lazy['gt_masks'])
    for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
        assert np.array_equal(stock[key], lazy[key]) and stock[key].dtype == lazy[key].dtype
