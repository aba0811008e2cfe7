"""Pascal VOC: the boxes of MMDetection's reader, and what is odd in XML that people have."""

import json
from pathlib import Path

import pytest
from exports_of_tools import save, write_images, xml
from mmdet.datasets import XMLDataset
from rethink.datasets import exports, shapes, shapes_voc
from rethink.errors import ConfigError
from test_exports import found

CAT = [('cat', 5, 5, 20, 20)]


def folder(root: Path, number: int = 30, **more) -> Path:
    for index in range(number):
        write_images(root, [f'{index:02d}.jpg'])
        save(root / f'{index:02d}.xml', xml(f'{index:02d}.jpg', CAT))
    return root


def said(data, start: str) -> str:
    return next(one for one in data.said if one.startswith(start))


def test_boxes_are_those_of_mmdetections_reader(tmp_path):
    """Its data set, on a development kit with difficult objects, against ours as MMDetection reads it from COCO."""
    shapes_voc.write_voc(tmp_path / 'kit', shapes.DetectionSpec(train=24, val=12, size=96), progress=False)
    year = tmp_path / 'kit' / 'VOC2012'
    assert set(exports.parts(year)) == {'train', 'val'}
    with pytest.raises(ConfigError, match='several folders with ImageSets/Main; name one of them'):
        exports.parts(tmp_path / 'kit')
    for path in sorted((year / 'Annotations').glob('*.xml'))[::3]:
        path.write_text(path.read_text().replace('<difficult>0', '<difficult>1', 1))
    data = exports.read(year, tmp_path / 'out', 'train')
    theirs = XMLDataset(
        data_root=str(year),
        ann_file='ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root=''),
        metainfo=dict(classes=data.classes),
        pipeline=[],
        serialize_data=False,
    )
    truth, crowds = {}, 0
    for one in map(theirs.get_data_info, range(len(theirs))):
        objects = [(data.classes[it['bbox_label']], *it['bbox']) for it in one['instances']]
        truth[Path(one['img_path']).name] = [it for it in objects if min(it[3] - it[1], it[4] - it[2]) >= 1]
        crowds += sum(it['ignore_flag'] for it in one['instances'])
    mine = found(data)
    assert sorted(mine) == sorted(truth)
    assert {name: sorted(objects) for name, objects in mine.items()} == {k: sorted(v) for k, v in truth.items()}
    content = json.loads(data.annotations.read_text())
    assert sum(one['iscrowd'] for one in content['annotations']) == crowds > 0
    assert f': {crowds} (' in said(data, 'Objects marked difficult')


def test_corners_with_y_before_x_are_refused(tmp_path):
    for index in range(12):
        write_images(tmp_path, [f'{index}.jpg'])
        save(tmp_path / f'{index}.xml', xml(f'{index}.jpg', [('cat', 10, 40, 25, 60)]))
    with pytest.raises(ConfigError, match='12 of 12 boxes reach out .* and as ymin, xmin, ymax, xmax all fit'):
        exports.read(tmp_path, tmp_path / 'out')


def test_what_mmdetection_does_not_train_on_is_left_out_and_said(tmp_path):
    folder(tmp_path / 'data')
    no_area = xml('03.jpg', [*CAT, ('cat', 30, 30, 30, 30)])
    save(tmp_path / 'data' / '03.xml', no_area)
    save(tmp_path / 'data' / '04.xml', xml('04.jpg', [*CAT, ('cat', 20, 20, 10, 10)]))
    save(tmp_path / 'data' / '05.xml', xml('05.jpg', [('cat', 50, 30, 80, 40)]))
    data = exports.read(tmp_path / 'data', tmp_path / 'out')
    boxes = found(data)
    assert len(boxes['03.jpg']) == len(boxes['04.jpg']) == 1
    assert boxes['05.jpg'] == [('cat', 49, 29, 64, 39)]
    assert said(data, 'Boxes without an area').endswith("are left out: 1 ('03.jpg').")
    assert said(data, 'Boxes with a negative width').endswith("are left out: 1 ('04.jpg').")
    assert said(data, 'Boxes that reach beyond their image').endswith("cut at its border: 1 ('05.jpg').")


def test_odd_entries_are_said_and_none_stops_the_reading(tmp_path):
    folder(tmp_path / 'data', 40)
    data = tmp_path / 'data'
    save(data / '01.xml', xml('01.jpg', [('cat', 5.7, 5.2, 20.9, 20.1)]))
    save(data / '02.xml', xml('02.jpg', [('cat', 0, 5, 20, 20)]))
    save(data / '03.xml', xml('03.jpg', [*CAT, (' cat ', 8, 8, 30, 30)]))
    save(data / '04.xml', xml('07.jpg', CAT))
    save(data / '05.xml', xml('05.jpg', [*CAT, *CAT]))
    save(data / '06.xml', xml('06.jpg', CAT, size=None))
    save(data / '07.xml', xml('07.jpg', CAT, size=(0, 0)))
    save(data / '08.xml', xml('08.jpg', []))
    save(data / '09.xml', xml('09.jpg', [('Cat', 8, 8, 30, 30)]))
    save(data / '10.xml', xml('10.jpg', CAT).replace('<bndbox>', '<robndbox>').replace('</bndbox>', '</robndbox>'))
    write_images(data, ['new.jpg'])
    found_here = exports.read(data, tmp_path / 'out')
    boxes = found(found_here)
    assert boxes['01.jpg'] == [('cat', 4, 4, 19, 19)]
    assert boxes['02.jpg'] == [('cat', -1, 4, 19, 19)]
    assert [one[0] for one in boxes['03.jpg']] == ['cat', 'cat']
    assert len(boxes['05.jpg']) == 1
    assert boxes['08.jpg'] == boxes['10.jpg'] == []
    assert found_here.classes == ('Cat', 'cat')
    for start, names in {
        'Boxes with fractions of a pixel': "'01.jpg'",
        'Boxes that begin at 0': "'02.jpg'",
        'Class names with spaces': '"\' cat \'"',
        'Annotation files that name another image': "'04.xml'",
        'Objects that are in their image twice': "'05.jpg'",
        'Objects without a box (bndbox)': "'10.jpg'",
        'Classes whose names differ in capitals': "'Cat', 'cat'",
        'Images without an object': "'08.jpg', '10.jpg'",
        'Images without an annotation file': "'new.jpg'",
    }.items():
        assert said(found_here, start).endswith(f'({names}).')


@pytest.mark.parametrize(
    ('name', 'content', 'sentence'),
    [
        ('05.xml', xml('05.jpg', CAT)[:80], r'05.xml is not XML \(.*half-written; export it again'),
        ('05.xml', xml('05.jpg', [('cat', 'a', 5, 20, 20)]), '05.xml has a number that is none .*; correct it'),
        (
            'ImageSets/Main/train.txt',
            '01\n02\nnone\n',
            "train.txt lists 1 of 3 images that have no annotation file .'none",
        ),
        ('ImageSets/Main/train.txt', '01\n02\n01\n', 'train.txt lists 1 images more than once, 01.xml among them'),
    ],
)
def test_what_nobody_can_read_is_one_sentence_with_the_file(name, content, sentence, tmp_path):
    folder(tmp_path / 'data', 12)
    save(tmp_path / 'data' / name, content)
    with pytest.raises(ConfigError, match=sentence):
        exports.read(tmp_path / 'data', tmp_path / 'out')


def test_images_of_one_stem_are_told_apart_by_the_file_or_refused(tmp_path):
    folder(tmp_path / 'data', 12)
    write_images(tmp_path / 'data', ['05.png'])
    data = exports.read(tmp_path / 'data', tmp_path / 'out')
    assert data.number == 12
    assert said(data, 'Images without an annotation file').endswith("('05.png').")
    save(tmp_path / 'data' / '05.xml', xml('05', CAT))
    with pytest.raises(ConfigError, match=r"05.xml may be of 2 images \('05.jpg', '05.png'\); leave one"):
        exports.read(tmp_path / 'data', tmp_path / 'out')


def test_one_name_in_two_folders_is_two_images(tmp_path):
    for place in ('a', 'b'):
        folder(tmp_path / 'data' / place, 12)
    assert exports.read(tmp_path / 'data', tmp_path / 'out').number == 24
