"""What is missing from a data set in PASCAL VOC's layout is found before training, in one sentence."""

import os
import re
import shutil
from ast import literal_eval

import pytest
from checked import fails
from mmengine.config import Config
from rethink.checks import check, stop_on_errors
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
    fails(cfg, r"trainval\.txt .* has two columns \('train_000001  1'\): .*name the image set without a class")


def test_objects_of_other_classes_alone(cfg):
    for part in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset):
        part.pop('metainfo')
    cfg.model.roi_head.bbox_head.num_classes = 20
    fails(cfg, rf"no object that .*trainval\.txt {FIRST} lists is of a class .*'ellipse'")
    for part in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset):
        part.metainfo = dict(classes=('car', 'star'))
    cfg.allow_class_subset = True
    cfg.model.roi_head.bbox_head.num_classes = 2
    stop_on_errors(cfg)


def parts_of(cfg):
    return (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset)


PARTS = r'train_dataloader\.dataset\.datasets\[0\], train_dataloader\.dataset\.datasets\[1\], val_dataloader\.dataset'


def obey(cfg, fix):
    """Set what a sentence says that is to set, as a person copies it."""
    classes, places, number = re.search(
        r'metainfo = dict\(classes=(\(.*?\))\) in (.*?)(?:, and model\.\S+ = (\d+))?(?:;.*|, or .*|\.)?$', fix
    ).groups()
    for place in places.split(', '):
        Config.merge_from_dict(
            cfg, {place.replace('[', '.').replace(']', '') + '.metainfo.classes': literal_eval(classes)}
        )
    if number:
        cfg.model.roi_head.bbox_head.num_classes = int(number)


@pytest.mark.parametrize('heads', [20, len(CLASSES)])
def test_own_classes_under_the_twenty_are_said_with_all_that_is_to_set(cfg, heads):
    for part in parts_of(cfg):
        part.pop('metainfo')
    cfg.model.roi_head.bbox_head.num_classes = heads
    found = [one for one in check(cfg) if one.rule in ('classes', 'voc')]
    # Neither that 20 classes have no object, nor that the heads are to have 20.
    assert {one.level for one in found} == {'error'} and len({one.fix for one in found}) == 1, found
    assert (', and model.roi_head.bbox_head.num_classes = 5' in found[0].fix) == (heads == 20)
    assert str(tuple(sorted(CLASSES))) in found[0].fix
    obey(cfg, found[0].fix)
    stop_on_errors(cfg)


def test_a_class_more_is_said_with_all_that_is_to_set(cfg, devkit):
    change(devkit, '<name>.*?</name>', '<name>cow</name>', 'VOC2012/Annotations/val_000001.xml')
    change(devkit, '<name>.*?</name>', '<name>ship</name>')
    fails(
        cfg, rf"of 1 classes .*has not \('ship'\).* set metainfo = dict\(classes=.*'cow', 'ship'\)\) in {PARTS}, and"
    )
    (first, _) = [one for one in check(cfg) if one.rule == 'classes']
    obey(cfg, first.fix)
    assert list(cfg.val_dataloader.dataset.metainfo.classes) == [*CLASSES, 'cow', 'ship']
    assert cfg.model.roi_head.bbox_head.num_classes == 7
    stop_on_errors(cfg)


def test_of_voc_and_a_class_of_its_own_those_that_there_are(cfg, devkit):
    """Not all of the 20 and one more, of which most would have no object."""
    for path in devkit.glob('*/Annotations/*.xml'):
        change(devkit, '<name>.*?</name>', '<name>car</name>', path.relative_to(devkit), 0)
    change(devkit, '<name>.*?</name>', '<name>ship</name>')
    for part in parts_of(cfg):
        part.pop('metainfo')
    cfg.model.roi_head.bbox_head.num_classes = 20
    (found,) = [one for one in check(cfg) if one.rule == 'classes']
    assert "dict(classes=('car', 'ship')) in" in found.fix and 'num_classes = 2;' in found.fix
    obey(cfg, found.fix)
    stop_on_errors(cfg)


def test_classes_as_a_text_are_the_first_that_is_said(cfg):
    cfg.train_dataloader.dataset.datasets[0].metainfo = dict(classes='ellipse')
    fails(cfg, rf"metainfo\.classes {FIRST} is the text 'ellipse', .*write a tuple: classes=\('ellipse',\)")


def test_images_without_an_object(cfg, devkit):
    for path in devkit.glob('*/Annotations/train*.xml'):
        change(devkit, '(?s)<object>.*</object>', '', path.relative_to(devkit), 0)
    fails(cfg, rf'the images that .*trainval\.txt {FIRST} lists have no object .*; name an image set')
    # Of all classes none is left to be named.
    assert not any('classes=()' in one.fix for one in check(cfg))


def test_a_class_that_is_never_trained(cfg):
    for part in parts_of(cfg):
        part.metainfo = dict(classes=(*CLASSES, 'cow'))
    cfg.model.roi_head.bbox_head.num_classes = 6
    (found,) = [one for one in check(cfg) if one.rule == 'classes']
    assert found.level == 'warning' and '1 of 6 classes' in found.what and "('cow')" in found.what
    obey(cfg, found.fix)
    assert not [one for one in check(cfg) if one.rule == 'classes']


def test_classes_that_may_be_meant_as_one(cfg):
    for part in parts_of(cfg):
        part.metainfo = dict(classes=(*CLASSES, CLASSES[0].title()))
    (found,) = [one for one in check(cfg) if one.rule == 'alike-classes']
    assert found.level == 'warning' and f'alone ({CLASSES[0]!r}, {CLASSES[0].title()!r})' in found.what


def test_a_file_that_is_not_xml(cfg, devkit):
    (devkit / 'VOC2007' / 'Annotations' / 'train_000001.xml').write_text('<annotation><object>')
    fails(cfg, r"1 of 4 files in .*VOC2007/Annotations are not XML \('train_000001\.xml: no element found")


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


def change(devkit, old, new, name='VOC2007/Annotations/train_000001.xml', times=1):
    path = devkit / name
    text = path.read_text()
    assert re.search(old, text)
    path.write_text(re.sub(old, new, text, count=times))


FAULTS = {
    'no name': (
        '<name>.*?</name>',
        '',
        r"1 of 4 files .* an object without a name .*'train_000001\.xml \(object 1\)'",
    ),
    'no corner': ('<xmin>.*?</xmin>', '', 'an object without a name or numbers for its corners'),
    'a word for a corner': ('<xmin>.*?</xmin>', '<xmin>left</xmin>', 'an object without a name or numbers'),
    'a word for difficult': (
        '<difficult>.*?</difficult>',
        '<difficult>Unspecified</difficult>',
        'corners and difficulty',
    ),
    'a size of 0': ('<width>.*?</width>', '<width>0</width>', 'a size that is no number above 0'),
    'inverted corners': (
        '<xmax>.*?</xmax>',
        '<xmax>0</xmax>',
        r"1 of \d+ objects in .* a box without an area, 1 of them with corners the wrong .*\('train_000001.xml'\)",
    ),
    'another case': ('<name>(.)', lambda found: f'<name>{found[1].upper()}', "in another spelling \\('[A-Z]"),
    'a space': ('</name>', ' </name>', "in another spelling .* ' for"),
    'another class': ('<name>.*?</name>', '<name>cow</name>', r"1 objects .* of 1 classes .* has not \('cow'\)"),
}


@pytest.mark.parametrize('name', FAULTS)
def test_what_is_wrong_in_a_file(name, cfg, devkit):
    old, new, sentence = FAULTS[name]
    change(devkit, old, new)
    fails(cfg, sentence)


def test_a_box_without_an_area_is_no_number_in_the_loss(cfg, devkit):
    """It becomes its own proposal, whose deltas are the logarithm of 0/0."""
    import torch
    from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import bbox2delta

    box = torch.tensor([[10.0, 10, 10, 20]])
    assert bbox2delta(box, box).isnan().any()
    change(devkit, '(?s)(<xmin>(.*?)</xmin>.*?)<xmax>.*?</xmax>', r'\1<xmax>\2</xmax>')
    fails(cfg, r'1 of \d+ objects .* without an area \(.*whose loss is not a number.*bbox_min_size=1')
    for part in cfg.train_dataloader.dataset.datasets:
        part.filter_cfg = dict(bbox_min_size=1)
    stop_on_errors(cfg)


def test_a_blank_line(cfg, devkit):
    path = devkit / 'VOC2007' / 'ImageSets' / 'Main' / 'trainval.txt'
    lines = path.read_text().splitlines()
    path.write_text('\r\n'.join(lines))
    stop_on_errors(cfg)
    path.write_text('\n'.join([lines[0], '', *lines[1:], '']))
    fails(cfg, r'trainval\.txt .* has a blank line \(line 2\), each an image without a name')
    path.write_text('\n'.join(lines) + '\n\n')
    fails(cfg, r'a blank line \(line 5\)')


def test_pictures_of_another_format(cfg, devkit):
    for path in (devkit / 'VOC2007' / 'JPEGImages').iterdir():
        path.rename(path.with_suffix('.png'))
    fails(cfg, r"lacks 4 of the 4 files .*there is 'train_000001\.png', and MMDetection reads \.jpg alone")


def test_sizes_and_everything_difficult(cfg, devkit):
    change(devkit, '(?s)<size>.*?</size>', '')
    (said,) = [one for one in check(cfg) if one.rule == 'voc']
    assert said.level == 'warning' and 'no size, so that MMDetection decodes each image' in said.what
    for path in (devkit / 'VOC2012' / 'Annotations').iterdir():
        change(devkit, '<difficult>0', '<difficult>1', path.relative_to(devkit), 0)
    fails(cfg, r'all objects that .*VOC2012.* are marked difficult, and none is trained')


@pytest.mark.parametrize('of', ['train', 'val'])
def test_everything_difficult_in_either_use(cfg, devkit, of):
    for path in devkit.glob(f'*/Annotations/{of}*.xml'):
        change(devkit, '<difficult>0', '<difficult>1', path.relative_to(devkit), 0)
    fails(cfg, 'marked difficult, and ' + ('none is trained' if of == 'train' else 'none is counted: .* AP is 0'))


def test_everything_of_the_classes_difficult(cfg, devkit):
    """What is of other classes is not among it."""
    for path in devkit.glob('VOC2012/Annotations/val*.xml'):
        change(devkit, '<difficult>0', '<difficult>1', path.relative_to(devkit), 0)
    change(
        devkit, '(?s)<name>[^<]*</name>(.*?)<difficult>1', r'<name>cow</name>\1<difficult>0', path.relative_to(devkit)
    )
    cfg.allow_class_subset = True
    fails(cfg, 'none is counted')


def test_what_voc_counts_of_difficult_objects():
    """Found, each of them: AP is 0 where all are difficult, and 1 where one is not."""
    import torch
    from mmdet.evaluation import VOCMetric

    boxes = torch.tensor([[1.0, 1, 9, 9], [11, 11, 19, 19]])
    labels = torch.zeros(2, dtype=torch.long)
    for number, wanted in ((2, 0), (1, 1)):
        metric = VOCMetric()
        metric.dataset_meta = dict(classes=('star',), dataset_type='VOC2007')
        sample = dict(
            gt_instances=dict(bboxes=boxes[number:], labels=labels[number:]),
            ignored_instances=dict(bboxes=boxes[:number], labels=labels[:number]),
            pred_instances=dict(bboxes=boxes, labels=labels, scores=torch.ones(2)),
        )
        metric.process({}, [sample])
        assert metric.evaluate(1)['pascal_voc/mAP'] == pytest.approx(wanted)


def test_images_of_validation_in_training(cfg, devkit):
    assert not [one for one in check(cfg) if one.rule == 'shared-images']
    main = devkit / 'VOC2012' / 'ImageSets' / 'Main'
    with open(main / 'val.txt', 'a') as file:
        file.write((main / 'train.txt').read_text().split()[0] + '\n')
    (found,) = [one for one in check(cfg) if one.rule == 'shared-images']
    assert 'share 1 images' in found.what and found.where == 'val_dataloader.dataset' and found.level == 'warning'
    cfg.val_dataloader.dataset.ann_file = 'VOC2012/ImageSets/Main/train.txt'
    (found,) = [one for one in check(cfg) if one.rule == 'shared-images']
    assert 'share 4 images' in found.what
    # The same names of another year are other images.
    cfg.train_dataloader.dataset.datasets.pop()
    assert not [one for one in check(cfg) if one.rule == 'shared-images']


def test_images_that_the_filter_leaves(cfg):
    for part in cfg.train_dataloader.dataset.datasets:
        part.filter_cfg = dict(filter_empty_gt=True, min_size=33)
    fails(cfg, r'filter_cfg leaves none of the 4 images .*\(0 without an object, 4 below 33 pixels\)')


def test_ten_thousand_images_take_no_time(cfg, devkit, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    year = devkit / 'VOC2007'
    names = [f'{index:06d}' for index in range(10_000)]
    (year / 'ImageSets' / 'Main' / 'trainval.txt').write_text('\n'.join(names))
    content = (year / 'Annotations' / 'train_000001.xml').read_text()
    for name in names:
        os.link(year / 'JPEGImages' / 'train_000001.jpg', year / 'JPEGImages' / f'{name}.jpg')
        (year / 'Annotations' / f'{name}.xml').write_text(content)
    stop_on_errors(cfg)
    # Of the processor, with that of processes it may start: a busy machine takes no longer.
    start = sum(os.times()[:4])
    stop_on_errors(cfg)
    assert sum(os.times()[:4]) - start < 2


# --- as tools and people leave them ----------------------------------------------------------------------------------


def replaced(devkit, pattern, by, number=0, files=1):
    for path in sorted((devkit / 'VOC2012' / 'Annotations').glob('train*.xml'))[:files]:
        path.write_text(re.sub(pattern, by, path.read_text(), count=number, flags=re.DOTALL))
    return path


def test_xml_that_no_reader_takes(cfg, devkit):
    path = replaced(devkit, r'^', '<?xml version="1.0" encoding="gb2312"?>\n', 1)
    fails(cfg, rf"1 of 4 files in .*Annotations are not XML \('{path.name}: multi-byte encodings")
    path.write_text('<annotations><image name="1.jpg"/></annotations>')
    fails(cfg, rf"have another root than annotation, and are not of VOC \('{path.name}: annotations'\)")
    path.unlink()
    os.mkfifo(path)
    fails(cfg, rf"are not XML \('{path.name}: is a FIFO and not a file'\)")
    path.unlink()
    path.mkdir()
    fails(cfg, rf"'{path.name}: is a folder and not a file'")


@pytest.mark.parametrize('change', [lambda name: f'{name}.jpg', lambda name: f'{name} ', lambda name: f'\ufeff{name}'])
def test_lines_that_are_no_names(cfg, devkit, change):
    path = devkit / 'VOC2012' / 'ImageSets' / 'Main' / 'train.txt'
    names = path.read_text().split()
    path.write_text(''.join(f'{change(name)}\n' for name in names))
    fails(cfg, rf"train\.txt of .* has lines that are no names of images \('.*' for '{names[0]}'\)")


def test_image_sets_that_are_no_text_or_say_a_thing_twice(cfg, devkit):
    path = devkit / 'VOC2012' / 'ImageSets' / 'Main' / 'train.txt'
    path.write_text(path.read_text() * 2)
    assert any('lists 4 images more than once' in one.what for one in check(cfg) if one.level == 'warning')
    path.write_bytes('übung\n'.encode('latin1'))
    fails(cfg, r'train\.txt of .* is no text in UTF-8')


def test_y_before_x(cfg, devkit):
    """In images that are wider than high, beside which a box at the right is below the picture."""
    for path in (devkit / 'VOC2012' / 'Annotations').glob('train*.xml'):
        size = '<width>200</width><height>60</height>'
        text = re.sub(r'<width>.*?</height>', size, path.read_text(), flags=re.DOTALL)
        for name, value in dict(xmin=10, ymin=120, xmax=40, ymax=180).items():
            text = re.sub(f'<{name}>.*?<', f'<{name}>{value}<', text)
        path.write_text(text)
    (one,) = [one for one in check(cfg) if 'reach out of their images as xmin, ymin, xmax, ymax' in one.what]
    assert one.level == 'error' and one.what.endswith('and as ymin, xmin, ymax, xmax all fit.')
    assert not one.sure and one.fix == 'write x before y'


def test_boxes_of_another_world_and_boxes_twice(cfg, devkit):
    replaced(devkit, r'<xmax>\d+<', '<xmax>1000000<', 1)
    assert any('sticks out by 10 times the size' in one.what for one in check(cfg) if one.level == 'error')
    replaced(devkit, r'<xmax>1000000<', '<xmax>32<', 1)
    replaced(devkit, r'(<object>.*?</object>)', r'\1\1', 1, 4)
    assert any('4 of 2' in one.what and 'repeat another one' in one.what for one in check(cfg))
    for corners, value in (('min', 0.2), ('max', 0.8)):
        replaced(devkit, rf'<([xy]){corners}>\d+<', rf'<\g<1>{corners}>{value}<', files=4)
    fails(cfg, 'all objects in .* have corners between 0 and 1, as if in parts of the image')


def test_a_folder_in_place_of_an_image(cfg, devkit):
    path = min((devkit / 'VOC2012' / 'JPEGImages').glob('train*'))
    path.unlink()
    path.mkdir()
    fails(cfg, rf"1 of all images of .* are no images \('{path.name}'\)")


def test_a_validation_that_leaves_images_out(cfg):
    cfg.val_dataloader.dataset.filter_cfg = dict(min_size=99)
    fails(cfg, r'filter_cfg leaves out 3 of the 3 images of .*val\.txt that are evaluated; .*set test_mode=True')
    cfg.val_dataloader.dataset.test_mode = True
    stop_on_errors(cfg)
