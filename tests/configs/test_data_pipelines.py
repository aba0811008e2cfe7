"""The transforms of the configs beside those that MMDetection ships: each pipeline on any kind of file."""

import json
import random

import cv2
import numpy as np
import pytest
import rethink
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from rethink.configs.export import STOCK

CONFIGS = ['coco_instance', 'coco_instance_aug', 'coco_detection_lsj_640', 'coco_instance_copypaste_1280']
FILES = ['colour.jpg', 'grey.jpg', 'turned.jpg', 'cmyk.jpg', 'deep.png', 'alpha.png', 'image.webp']
HEIGHT, WIDTH = 60, 80


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A file of each kind, each with a polygon, a packed RLE and a crowd's counts."""
    folder = tmp_path_factory.mktemp('kinds')
    draw = np.random.default_rng(0)
    pixels = cv2.resize(draw.integers(0, 256, (6, 8, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / 'colour.jpg')
    picture.convert('L').save(folder / 'grey.jpg')
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / 'turned.jpg', exif=exif)
    picture.convert('CMYK').save(folder / 'cmyk.jpg')
    cv2.imwrite(str(folder / 'deep.png'), pixels.astype(np.uint16) * 257)
    picture.convert('RGBA').save(folder / 'alpha.png')
    picture.save(folder / 'image.webp')
    images = [dict(id=at, file_name=name, width=WIDTH, height=HEIGHT) for at, name in enumerate(FILES)]
    objects = [
        dict(
            id=1 + 2 * image['id'] + at,
            image_id=image['id'],
            category_id=1,
            iscrowd=at,
            area=900,
            bbox=[5, 6, 60, 40],
            segmentation=[dict(size=[HEIGHT, WIDTH], counts=[700, 2000, 2100]), [[5, 6, 65, 8.5, 40, 46]]][1 - at],
        )
        for image in images
        for at in (0, 1)
    ]
    (folder / 'objects.json').write_text(
        json.dumps(dict(images=images, annotations=objects, categories=[dict(id=1, name='thing')]))
    )
    return folder


def samples(name: str, folder, stock: bool) -> list[dict]:
    cfg = Config.fromfile(rethink.config_path(f'_base_/datasets/{name}.py'))
    whole = cfg.train_dataloader.dataset
    inner = whole.get('dataset', whole)
    inner.update(data_root=f'{folder}/', ann_file='objects.json', data_prefix=dict(img=''))
    inner.update(metainfo=dict(classes=('thing',)), filter_cfg=None)
    for one in [inner] if inner is whole else [inner, whole]:
        for step in one.pipeline:
            if stock:
                step.type = STOCK.get(step.type, step.type)
    init_default_scope('mmdet')
    dataset, found = DATASETS.build(whole), []
    for index in range(len(dataset)):
        np.random.seed(index), random.seed(index)
        found.append(dataset[index])
    return found


@pytest.mark.parametrize('name', CONFIGS)
def test_each_kind_of_file_gives_the_sample_that_mmdetection_gives(name, folder, capfd):
    stock, ours = (samples(name, folder, stock) for stock in (True, False))
    assert len(stock) == len(FILES)
    for one, other in zip(stock, ours, strict=True):
        assert torch.equal(one['inputs'].float(), other['inputs'].float())
        one, other = one['data_samples'], other['data_samples']
        assert one.metainfo == other.metainfo
        for part in ('gt_instances', 'ignored_instances'):
            first, second = getattr(one, part), getattr(other, part)
            assert torch.equal(first.labels, second.labels) and torch.equal(first.bboxes.tensor, second.bboxes.tensor)
            assert 'masks' not in first or np.array_equal(first.masks.masks, second.masks.masks)
