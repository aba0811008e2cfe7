"""What is missing from a data set in PASCAL VOC's layout is found before training, in one sentence."""

import shutil
import time

import pytest
from checked import fails
from mmengine.config import Config
from rethink.checks import stop_on_errors
from rethink.datasets.shapes import CLASSES, DetectionSpec
from rethink.datasets.shapes_voc import write_voc


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'devkit'
    write_voc(root, DetectionSpec(train=8, val=3, size=32), progress=False)
    return root


@pytest.fixture
def devkit(written, tmp_path):
    return shutil.copytree(written, tmp_path / 'devkit')


@pytest.fixture
def cfg(devkit):
    """The data of a VOC config; the model is only looked at for its classes."""

    def image_set(year, name):
        return dict(
            type='VOCDataset',
            data_root=f'{devkit}/',
            ann_file=f'{year}/ImageSets/Main/{name}.txt',
            data_prefix=dict(sub_data_root=f'{year}/'),
            metainfo=dict(classes=CLASSES),
        )

    train = dict(type='ConcatDataset', datasets=[image_set('VOC2007', 'trainval'), image_set('VOC2012', 'train')])
    return Config(
        dict(
            default_scope='mmdet',
            train_dataloader=dict(dataset=train),
            val_dataloader=dict(dataset=image_set('VOC2012', 'val')),
            val_evaluator=dict(type='VOCMetric'),
            model=dict(roi_head=dict(bbox_head=dict(num_classes=len(CLASSES)), mask_head=None)),
        )
    )


FIRST = r'of train_dataloader\.dataset\.datasets\[0\]'


def test_right_input_passes(cfg):
    stop_on_errors(cfg)


def test_a_missing_year(cfg, devkit):
    shutil.rmtree(devkit / 'VOC2007')
    fails(cfg, rf'VOC2007/ImageSets/Main/trainval\.txt {FIRST} does not exist; docs/data\.md')


def test_a_missing_image_set(cfg, devkit):
    (devkit / 'VOC2012' / 'ImageSets' / 'Main' / 'val.txt').unlink()
    fails(cfg, r'Main/val\.txt of val_dataloader\.dataset does not exist')


def test_an_empty_image_set(cfg, devkit):
    (devkit / 'VOC2007' / 'ImageSets' / 'Main' / 'trainval.txt').write_text('')
    fails(cfg, rf'trainval\.txt {FIRST} lists no image')


@pytest.mark.parametrize('folder', ['JPEGImages', 'Annotations'])
def test_a_missing_folder(cfg, devkit, folder):
    shutil.rmtree(devkit / 'VOC2007' / folder)
    fails(cfg, rf'the folder .*VOC2007/{folder} {FIRST} does not exist')


@pytest.mark.parametrize('folder, suffix', [('JPEGImages', 'jpg'), ('Annotations', 'xml')])
def test_missing_files(cfg, devkit, folder, suffix):
    (devkit / 'VOC2012' / folder / f'train_000004.{suffix}').unlink()
    name = r'train_dataloader\.dataset\.datasets\[1\]'
    fails(cfg, rf"{folder} lacks 1 of the 4 files that .*train\.txt of {name} lists \('train_000004\.{suffix}'\)")


def test_the_image_set_of_one_class(cfg, devkit):
    """VOC has such files beside the others: each name is followed by 1, 0 or -1."""
    image_set = devkit / 'VOC2007' / 'ImageSets' / 'Main' / 'trainval.txt'
    image_set.write_text(''.join(f'{line}  1\n' for line in image_set.read_text().splitlines()))
    fails(cfg, r"JPEGImages lacks 4 of the 4 files .*'train_000001  1\.jpg'")


def test_objects_of_other_classes_alone(cfg):
    for part in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset):
        part.pop('metainfo')
    cfg.model.roi_head.bbox_head.num_classes = 20
    fails(cfg, rf"no object in .*Annotations that .* {FIRST} lists is of a class .*'ellipse'")
    for part in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset):
        part.metainfo = dict(classes=('car', 'star'))
    cfg.model.roi_head.bbox_head.num_classes = 2
    stop_on_errors(cfg)


def test_a_file_that_is_not_xml(cfg, devkit):
    (devkit / 'VOC2007' / 'Annotations' / 'train_000001.xml').write_text('<annotation><object>')
    fails(cfg, rf'train_000001\.xml {FIRST} is not XML')


def test_another_number_of_classes(cfg):
    cfg.model.roi_head.bbox_head.num_classes = 20
    fails(cfg, 'bbox_head.num_classes is 20, but .* has 5 classes')


def test_missing_shapes_name_their_command(cfg):
    cfg.val_dataloader.dataset.data_root = 'data/shapes/voc/that/nobody/made'
    fails(cfg, r'make_shapes\.py data/shapes --voc')


def test_files_that_are_not_local_are_left_alone(cfg, devkit):
    shutil.rmtree(devkit)
    for part in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset):
        part.backend_args = dict(backend='petrel')
    stop_on_errors(cfg)


def test_ten_thousand_images_take_no_time(cfg, devkit):
    year = devkit / 'VOC2007'
    names = [f'{index:06d}' for index in range(10_000)]
    (year / 'ImageSets' / 'Main' / 'trainval.txt').write_text('\n'.join(names))
    content = (year / 'Annotations' / 'train_000001.xml').read_text()
    for name in names:
        (year / 'JPEGImages' / f'{name}.jpg').touch()
        (year / 'Annotations' / f'{name}.xml').write_text(content)
    start = time.perf_counter()
    stop_on_errors(cfg)
    assert time.perf_counter() - start < 2
