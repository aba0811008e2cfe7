"""Exports of annotation tools: what they are, and that the same labels come out of all of them."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from exports_of_tools import (
    CLASSES,
    TOOLS,
    TRUTH,
    coco,
    labelimg_voc,
    labelimg_yolo,
    lines,
    roboflow_coco,
    save,
    third,
    write_images,
    xml,
)
from mmdet.datasets import CocoDataset
from PIL import Image, ImageOps
from rethink.checks import data_files
from rethink.datasets import exports
from rethink.datasets.exports import Labelled
from rethink.errors import ConfigError


def found(data: Labelled) -> dict[str, list[tuple]]:
    """Image -> class and corners of its objects, as MMDetection trains on them."""
    loaded = CocoDataset(
        ann_file=str(data.annotations),
        data_prefix=dict(img=str(data.images)),
        metainfo=dict(classes=data.classes),
        pipeline=[],
        test_mode=True,
        serialize_data=False,
    )
    result = {}
    for one in map(loaded.get_data_info, range(len(loaded))):
        path = Path(one['img_path'])
        with Image.open(path) as image:
            assert ImageOps.exif_transpose(image).size == (one['width'], one['height'])
        name = path.name.removeprefix('0a1b2c3d-')
        result[name] = [(data.classes[it['bbox_label']], *it['bbox']) for it in one['instances']]
    assert len(result) == data.number
    return result


def assert_same(mine: dict, truth: dict) -> None:
    assert mine.keys() == truth.keys()
    for name, objects in truth.items():
        assert sorted(one[0] for one in mine[name]) == sorted(one[0] for one in objects)
        for one, other in zip(sorted(mine[name]), sorted(objects), strict=True):
            np.testing.assert_allclose(one[1:], other[1:], atol=1e-6)


@pytest.mark.parametrize('write', TOOLS, ids=lambda write: write.__name__)
def test_each_tools_export_gives_the_same_labels(write, tmp_path):
    kind, names = TOOLS[write]
    root = tmp_path / 'a b'
    root.mkdir()
    write(root)
    before = sorted(path for path in root.rglob('*'))
    assert exports.recognise(root) == [kind]
    parts = exports.parts(root)
    assert tuple(parts) == names
    if len(names) == 2:
        whole = third()
        for part, truth in zip(names, (whole['train'], whole['valid']), strict=True):
            data = exports.read(root, tmp_path / 'out', part)
            assert data.classes == CLASSES
            assert_same(found(data), truth)
            # What parts() names is read by itself as well.
            assert_same(found(exports.read(parts[part], tmp_path / f'out {part}')), truth)
        with pytest.raises(ConfigError, match='has train, val; say which of these parts'):
            exports.read(root, tmp_path / 'out')
    else:
        data = exports.read(root, tmp_path / 'out')
        assert data.kind == kind
        assert data.classes == CLASSES
        assert_same(found(data), TRUTH)
        assert f'{kind}: 12 images, 18 objects (cat, dog).' in data.said[0]
    assert sorted(path for path in root.rglob('*')) == before


def test_no_box_is_lost_to_a_macs_archive_and_capitals(tmp_path):
    labelimg_voc(tmp_path / 'data')
    for path in (tmp_path / 'data').glob('*.jpg'):
        path.rename(path.with_suffix('.JPG'))
        save(tmp_path / 'data' / f'._{path.stem}.JPG', 'x')
    save(tmp_path / 'data' / '__MACOSX' / 'img_00.jpg', 'x')
    data = exports.read(tmp_path / 'data', tmp_path / 'out')
    assert data.number == 12
    assert any('__MACOSX' in one and ': 13 (' in one for one in data.said)
    assert len(exports.unlabelled(tmp_path / 'data')) == 12


@pytest.mark.parametrize('kind', [None, 'COCO', 'yolo', 'YOLO', 'VOC'])
def test_two_formats_in_one_folder_are_told_apart_by_name_alone(kind, tmp_path):
    write_images(tmp_path / 'images')
    for name, objects in TRUTH.items():
        save(tmp_path / 'labels' / f'{Path(name).stem}.txt', lines(objects))
    save(tmp_path / 'classes.txt', 'cat\ndog\n')
    save(tmp_path / 'coco.json', coco(TRUTH, dict(cat=1, dog=2)))
    assert exports.recognise(tmp_path) == ['COCO JSON', 'YOLO']
    if kind in (None, 'VOC'):
        with pytest.raises(
            ConfigError, match='can be COCO JSON or YOLO, and nothing' if kind is None else 'is not .VOC.'
        ):
            exports.read(tmp_path, tmp_path / 'out', kind=kind)
    else:
        assert_same(found(exports.read(tmp_path, tmp_path / 'out', kind=kind)), TRUTH)


def test_what_is_written_beside_the_data_is_no_data(tmp_path):
    labelimg_voc(tmp_path)
    one = exports.read(tmp_path, tmp_path)
    assert exports.recognise(tmp_path) == ['Pascal VOC']
    assert exports.read(tmp_path, tmp_path) == one
    save(one.annotations, dict(mine=1))
    with pytest.raises(ConfigError, match='was not written by this tool'):
        exports.read(tmp_path, tmp_path)
    assert json.loads(one.annotations.read_text()) == dict(mine=1)


def test_two_data_sets_of_one_name_do_not_meet_in_one_file(tmp_path):
    half = third()
    for folder, truth in (('a', half['train']), ('b', half['valid'])):
        write_images(tmp_path / folder / 'images', truth)
        for name, objects in truth.items():
            save(tmp_path / folder / 'images' / f'{Path(name).stem}.txt', lines(objects))
        save(tmp_path / folder / 'images' / 'classes.txt', 'cat\ndog\n')
    one, other = (exports.read(tmp_path / folder / 'images', tmp_path / 'out') for folder in 'ab')
    assert_same(found(one), half['train'])
    assert_same(found(other), half['valid'])


@pytest.mark.parametrize(
    ('files', 'sentence'),
    [
        ({}, 'it is empty'),
        ({'export.zip': 'PK'}, r'it has 0 images .*, but export\.zip; unpack that first'),
        ({'a.txt': 'hello'}, 'it has 0 images and none of a COCO JSON .* and no image'),
    ],
)
def test_what_is_no_data_set_is_said_with_what_was_looked_for(files, sentence, tmp_path):
    for name, content in files.items():
        save(tmp_path / name, content)
    with pytest.raises(ConfigError, match=sentence):
        exports.recognise(tmp_path)


FOREIGN = [
    ('a.json', dict(shapes=[], imagePath='a.jpg'), 'labelme'),
    ('annotations.xml', '<?xml version="1.0"?>\n<annotations><image/></annotations>', "CVAT's own XML"),
    ('a.json', [dict(annotations=[dict(id=1, result=[dict(from_name='x')])])], "Label Studio's own JSON"),
    ('a.json', [dict(image='/data/upload/a.jpg', label=[dict(x=1, original_width=9)])], "Label Studio's own JSON"),
    ('a.csv', 'image,label\na.jpg,"[{""x"": 1, ""original_width"": 9}]"\n', "Label Studio's own CSV"),
    ('export.ndjson', '{"data_row": {"id": "x"}}', 'Labelbox'),
    ('_annotations.csv', 'filename,width,height,class,xmin\n', "TensorFlow's CSV"),
    ('train.tfrecord', 'x', "TensorFlow's records"),
    ('via.json', {'a.jpg1': dict(regions=[dict(shape_attributes=dict(name='rect'))])}, 'the VGG Image Annotator'),
    ('via.csv', 'filename,file_size,region_shape_attributes\n', 'the VGG Image Annotator'),
    ('a.jpg.json', dict(objects=[dict(points=dict(exterior=[[1, 1], [2, 2]]))]), 'Supervisely'),
    ('a.json', dict(annotations=[dict(bounding_box=dict(h=1))]), 'V7 Darwin'),
    ('a.json', dict(items=[dict(annotations=[dict(label_id=0)])]), 'Datumaro'),
    ('_annotations.createml.json', [dict(annotations=[dict(coordinates=dict(x=1))])], 'CreateML'),
    ('results.json', [dict(image_id=1, bbox=[1, 1, 2, 2], score=0.5)], 'a detector, its results'),
    ('metadata.jsonl', '{"file_name": "a.jpg", "objects": {"bbox": []}}', "Hugging Face's datasets"),
    ('train.parquet', 'PAR1', "Hugging Face's datasets"),
]


@pytest.mark.parametrize(('name', 'content', 'tool'), FOREIGN)
def test_a_format_that_is_not_read_is_named(name, content, tool, tmp_path):
    """In a folder of images and by itself, as pre-training on images of one's own and ``check_data.py`` read them."""
    write_images(tmp_path / 'data', TRUTH)
    save(tmp_path / 'data' / name, content)
    sentence = f'{name} is of {tool}, which is not read; (export|convert|name|write)'
    for path in (tmp_path / 'data', tmp_path / 'data' / name):
        for read in (exports.recognise, data_files.find):
            with pytest.raises(ConfigError, match=sentence):
                read(path)


POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n'
PAGE = b'\n<!DOCTYPE html>\n<html>404</html>'


@pytest.mark.parametrize(
    ('content', 'words'), [(POINTER, 'left by Git LFS in place of the file'), (PAGE, 'a web page')]
)
def test_what_a_clone_or_a_download_leaves_in_place_of_a_file(content, words, tmp_path):
    """Labels, and one image of many."""
    write_images(tmp_path / 'images')
    save(tmp_path / 'a.json', coco(TRUTH, dict(cat=1, dog=2)))
    images = sorted((tmp_path / 'images').glob('*'))
    images[0].write_bytes(content)
    data = exports.read(tmp_path, tmp_path / 'out')
    assert data.number == len(images) - 1 and any(f'Files that are {words}' in one for one in data.said)
    (found,) = data_files.find(tmp_path)
    assert any(f'{images[0].name!r}); the first is {words}' in one.what for one in found.problems)
    for path in (tmp_path / 'a.json', tmp_path / '0.xml'):
        path.write_bytes(content)
        for read in (exports.recognise, data_files.find):
            with pytest.raises(ConfigError, match=f'{path.name} is {words}'):
                read(tmp_path)
        path.unlink()


def test_a_coco_file_with_words_of_others_is_coco(tmp_path):
    content = coco(TRUTH, dict(cat=1, dog=2))
    content['annotations'][0] |= dict(score=0.5, attributes=dict(shapes=1, coordinates=[1]))
    write_images(tmp_path)
    save(tmp_path / 'a.json', content)
    assert_same(found(exports.read(tmp_path, tmp_path / 'out')), TRUTH)


def test_umlauts_that_macos_writes_as_two_signs_and_pipes(tmp_path):
    write_images(tmp_path / 'images')
    whole = coco(TRUTH, dict(cat=1, dog=2))
    for at, record in enumerate(whole['images']):
        name = f'{at} übung.jpg'
        os.rename(tmp_path / 'images' / record['file_name'], tmp_path / 'images' / unicodedata.normalize('NFD', name))
        record['file_name'] = name
    save(tmp_path / 'a.json', whole)
    os.mkfifo(tmp_path / 'b.json')
    os.mkfifo(tmp_path / 'b.xml')
    os.mkfifo(tmp_path / 'b.txt')
    assert exports.read(tmp_path, tmp_path / 'out').number == 12


def test_images_alone_are_no_labels(tmp_path):
    write_images(tmp_path / 'images')
    with pytest.raises(
        ConfigError, match='has 12 images and none of a COCO JSON.*; name the folder that has the labels'
    ):
        exports.read(tmp_path, tmp_path / 'out')
    with pytest.raises(ConfigError, match='does not exist'):
        exports.recognise(tmp_path / 'nothing')
    save(tmp_path / 'data.zip', '')
    with pytest.raises(ConfigError, match='is an archive; unpack it'):
        exports.recognise(tmp_path / 'data.zip')
    assert [path.name for path in exports.unlabelled(tmp_path)] == list(TRUTH)
    save(tmp_path / 'images' / 'half.jpg', '')
    with pytest.raises(ConfigError, match=r"1 of 13 images that cannot be read \('images/half.jpg'\)"):
        exports.unlabelled(tmp_path)


def test_a_folder_half_copied_is_refused_and_a_few_missing_images_are_said(tmp_path):
    labelimg_voc(tmp_path / 'data')
    (tmp_path / 'data' / 'img_03.jpg').unlink()
    data = exports.read(tmp_path / 'data', tmp_path / 'out')
    assert data.number == 11
    assert "Annotation files whose image is not there are left out: 1 ('img_03.xml')." in data.said
    for index in range(6, 12):
        (tmp_path / 'data' / f'img_{index:02d}.jpg').unlink()
    with pytest.raises(ConfigError, match='7 of 12 images cannot be used, more than a tenth'):
        exports.read(tmp_path / 'data', tmp_path / 'out')


def test_images_that_are_none_or_of_another_format_are_left_out(tmp_path):
    for index in range(30):
        write_images(tmp_path / 'data', [f'{index:02d}.jpg'])
        save(tmp_path / 'data' / f'{index:02d}.xml', xml(f'{index:02d}.jpg', [('cat', 5, 5, 20, 20)]))
    (tmp_path / 'data' / '04.jpg').write_bytes(
        (tmp_path / 'data' / '04.jpg').read_bytes()[:-20]
    )  # its header is right
    Image.new('RGB', (64, 48)).save(tmp_path / 'data' / '05.jpg', format='GIF')
    save(tmp_path / 'data' / '06.xml', xml('06.jpg', [('cat', 5, 5, 20, 20)], size=(128, 96)))
    data = exports.read(tmp_path / 'data', tmp_path / 'out')
    assert data.number == 27
    assert "Files that are not images, or not whole ones, are left out: 1 ('04.jpg')." in data.said
    assert any('of the format GIF' in one for one in data.said)
    assert any(one.startswith('Images that have another size than their labels say') for one in data.said)


def test_a_part_in_two_folders_or_beside_others_is_not_guessed(tmp_path):
    for place in ('a/train', 'b/train', 'b/val'):
        labelimg_yolo(tmp_path / 'two' / place)
    with pytest.raises(ConfigError, match=r"several folders for train \('a/train', 'b/train'\); name one"):
        exports.parts(tmp_path / 'two')
    # One part and other labels: that part is not all that there is.
    for write, number in ((labelimg_voc, 24), (labelimg_yolo, 24)):
        root = tmp_path / write.__name__
        write(root / 'train')
        write(root / 'more')
        assert exports.parts(root) == {}
        assert exports.read(root, tmp_path / 'out').number == number
    save(tmp_path / 'coco' / 'train.json', coco(TRUTH, dict(cat=1, dog=2)))
    save(tmp_path / 'coco' / 'all.json', coco(TRUTH, dict(cat=1, dog=2)))
    with pytest.raises(ConfigError, match=r"has 2 COCO files \('all.json', 'train.json'\); name one"):
        exports.read(tmp_path / 'coco', tmp_path / 'out')


def test_a_half_written_part_is_not_taken_for_none(tmp_path):
    roboflow_coco(tmp_path)
    path = tmp_path / 'train' / '_annotations.coco.json'
    path.write_bytes(path.read_bytes()[:400])
    assert tuple(exports.parts(tmp_path)) == ('train', 'val')
    with pytest.raises(ConfigError, match='_annotations.coco.json is not JSON .*, or half-written; export it again'):
        exports.read(tmp_path, tmp_path / 'out', 'train')
    path.unlink()
    with pytest.raises(ConfigError, match='has val; say which of these parts is to be read, or name it'):
        exports.read(tmp_path, tmp_path / 'out')


def test_a_folder_that_nobody_may_read_is_said(tmp_path, monkeypatch):
    labelimg_voc(tmp_path)
    walk = os.walk

    def refused(root, onerror=None, **kwargs):
        onerror(PermissionError(13, 'Permission denied', str(tmp_path / 'secret')))
        return walk(root, **kwargs)

    monkeypatch.setattr(os, 'walk', refused)
    with pytest.raises(ConfigError, match='secret cannot be read .Permission denied.; make it readable'):
        exports.recognise(tmp_path)
