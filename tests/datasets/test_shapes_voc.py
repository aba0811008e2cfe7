"""Shapes in PASCAL VOC's layout: the same scenes as COCO's, read by MMDetection and by torchvision."""

import json
from math import ceil, floor

import numpy as np
import pytest
import rethink  # first: gives mmcv its ops, which mmdet imports
from mmdet.datasets import VOCDataset
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rethink.datasets import shapes
from rethink.datasets.shapes_voc import write_voc
from test_shapes import digest
from torchvision.datasets import VOCDetection

SPEC = shapes.DetectionSpec(train=9, val=4, size=64, crowd=0.4)
YEARS = (
    ('VOC2007', 'trainval', 'train', (0, 2)),
    ('VOC2012', 'train', 'train', (1, 2)),
    ('VOC2012', 'val', 'val', (0, 1)),
)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'voc'
    assert write_voc(root, SPEC, progress=False)
    return root


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    """The same scenes in COCO's layout: for each split, bytes of the images and their annotations."""
    root = tmp_path_factory.mktemp('coco')
    shapes.write_detection(root, SPEC, progress=False)
    scenes = {}
    for split in ('train', 'val'):
        content = json.loads((root / 'annotations' / f'instances_{split}2017.json').read_text())
        scenes[split] = [
            (
                (root / f'{split}2017' / image['file_name']).read_bytes(),
                [one for one in content['annotations'] if one['image_id'] == image['id']],
            )
            for image in content['images']
        ]
    return scenes


def voc_dataset(root, year, image_set, **kwargs):
    return VOCDataset(
        data_root=f'{root}/',
        ann_file=f'{year}/ImageSets/Main/{image_set}.txt',
        data_prefix=dict(sub_data_root=f'{year}/'),
        metainfo=dict(classes=shapes.CLASSES),
        pipeline=[],
        **kwargs,
    )


@pytest.mark.parametrize('year, image_set, split, part', YEARS)
def test_mmdetection_reads_the_scenes_of_the_detection_data_set(root, coco, year, image_set, split, part):
    read = voc_dataset(root, year, image_set, test_mode=True)
    scenes = coco[split][part[0] :: part[1]]
    assert len(read) == len(scenes) > 1
    crowds = 0
    for record, (picture, annotations) in zip((read.get_data_info(i) for i in range(len(read))), scenes, strict=True):
        with open(record['img_path'], 'rb') as file:
            assert file.read() == picture
        assert (record['height'], record['width']) == (64, 64)
        assert len(record['instances']) == len(annotations)
        for one, wanted in zip(record['instances'], annotations, strict=True):
            x, y, width, height = wanted['bbox']
            # MMDetection takes 1 from VOC's corners: first and last pixel, counted from 0.
            assert one['bbox'] == [floor(x), floor(y), min(64, ceil(x + width)) - 1, min(64, ceil(y + height)) - 1]
            assert one['bbox_label'] == wanted['category_id'] - 1
            assert one['ignore_flag'] == wanted['iscrowd']
            crowds += wanted['iscrowd']
    assert crowds or split == 'val'


def test_torchvision_reads_it(root, tmp_path):
    """Its reader wants the folder of the development kit around the years."""
    (tmp_path / 'VOCdevkit').symlink_to(root)
    read = VOCDetection(tmp_path, year='2012', image_set='val')
    assert len(read) == 4
    picture, target = read[0]
    annotation = target['annotation']
    assert picture.size == (64, 64) and annotation['folder'] == 'VOC2012'
    ours = voc_dataset(root, 'VOC2012', 'val', test_mode=True).get_data_info(0)['instances']
    boxes = [
        [int(one['bndbox'][side]) - 1 for side in ('xmin', 'ymin', 'xmax', 'ymax')] for one in annotation['object']
    ]
    assert boxes == [one['bbox'] for one in ours]


def test_the_config_of_the_miniature_reads_both_years_and_leaves_out_what_is_empty(root):
    init_default_scope('mmdet')
    cfg = Config.fromfile(rethink.config_path('shapes/scratch_r18_gn_voc_1x.py'))
    for part in cfg.train_dataloader.dataset.datasets:
        part.data_root = f'{root}/'
    read = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(read) == 9 and [len(part) for part in read.datasets] == [5, 4]
    assert read.metainfo['classes'] == shapes.CLASSES and 'dataset_type' not in read.metainfo
    sample = read[6]
    image, found = sample['inputs'], sample['data_samples']
    assert image.shape == (3, 64, 64)
    boxes = found.gt_instances.bboxes.numpy()
    assert len(boxes) and np.all(boxes >= 0) and np.all(boxes <= 63)
    assert {'mask', 'masks'}.isdisjoint(found.gt_instances.keys())


def test_a_complete_data_set_is_left_alone_and_a_half_one_written_again(root, tmp_path):
    before = digest(root)
    assert not write_voc(root, SPEC, progress=False)
    # As a kill leaves it.
    half = tmp_path / 'voc.part' / 'VOC2007' / 'JPEGImages'
    half.mkdir(parents=True)
    (half / 'old.jpg').write_bytes(b'')
    assert write_voc(tmp_path / 'voc', SPEC, progress=False)
    assert digest(tmp_path / 'voc') == before == digest(root)
    assert not (tmp_path / 'voc.part').exists()


def test_what_somebody_else_wrote_is_not_touched(root, tmp_path):
    (tmp_path / 'VOC2007' / 'JPEGImages').mkdir(parents=True)
    (tmp_path / 'VOC2007' / 'JPEGImages' / '000001.jpg').write_bytes(b'a photograph')
    before = digest(tmp_path)
    with pytest.raises(FileExistsError, match='holds something else; name another folder'):
        write_voc(tmp_path, SPEC, progress=False)
    assert digest(tmp_path) == before
    with pytest.raises(FileExistsError, match='holds a data set with other arguments'):
        write_voc(root, shapes.DetectionSpec(train=9, val=4, size=64, crowd=0.4, seed=1), progress=False)
    with pytest.raises(ValueError, match='leaves VOC2012 without an image'):
        write_voc(tmp_path / 'new', shapes.DetectionSpec(train=1), progress=False)


def test_the_command(run_in_process, tmp_path):
    arguments = ('--voc', '--train', 4, '--val', 2, '--size', 32)
    code, printed = run_in_process('dataset_converters/make_shapes.py', tmp_path, *arguments)
    assert code is None and '4 + 2 images, written' in printed
    assert [path.name for path in tmp_path.iterdir()] == ['voc']
    code, printed = run_in_process('dataset_converters/make_shapes.py', tmp_path, *arguments)
    assert code is None and 'already there' in printed
