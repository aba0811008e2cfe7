"""Data sets looked at without a config: what is in them, what is wrong, and images that are there twice."""

import json
import os
import shutil

import numpy as np
import pytest
from conftest import write_coco
from exports_of_tools import CLASSES, TOOLS, TRUTH, label_studio_coco, roboflow_yolo, voc
from PIL import Image
from rethink.checks import data_files, data_report
from rethink.datasets.shapes import DetectionSpec
from rethink.datasets.shapes_voc import write_voc
from rethink.errors import ConfigError


@pytest.fixture
def roboflow(tmp_path):
    """An export as Roboflow writes it: a folder for each split, with images and annotations beside each other."""
    root = tmp_path / 'export'
    for seed, (part, images) in enumerate((('train', 8), ('valid', 4))):
        folder = write_coco(tmp_path / part, images)
        content = json.loads((folder / 'annotations.json').read_text())
        content['categories'].insert(0, dict(id=0, name='figures', supercategory='none'))
        for category in content['categories'][1:]:
            category['supercategory'] = 'figures'
        for record in content['images']:
            name = f'{part}-{record["file_name"]}'
            (root / part).mkdir(parents=True, exist_ok=True)
            with Image.open(folder / 'images' / record['file_name']) as picture:
                pixels = np.array(picture)
            pixels[0, 0] = seed, record['id'], 0  # no two splits share an image
            Image.fromarray(pixels).save(root / part / name)
            record['file_name'] = name
        (root / part / '_annotations.coco.json').write_text(json.dumps(content))
    return root


def report(*data, check_images=False):
    splits = [split for one in data for split in data_files.find(one)]
    return data_report.look(splits, check_images, 1, progress=False)


def said(found) -> dict[str, list[str]]:
    kinds = {}
    for one in found.problems:
        kinds.setdefault(one.kind, []).append(f'{one.level}: {one.what}')
    return kinds


def test_an_export(roboflow):
    found = report(roboflow)
    assert [(one.name, len(one.names), len(one.annotations.ids)) for one in found.splits] == [
        ('train', 8, 16),
        ('valid', 4, 8),
    ]
    (roboflow / 'receipt.json').write_text('{"files": []}')  # no annotations, and no split
    assert len(data_files.find(roboflow)) == 2
    assert found.classes == {'figures': [0, 0], 'square': [8, 4], 'bar': [8, 4]}
    assert said(found).keys() == {'empty-categories'} and 'the group that Roboflow' in found.problems[0].what
    assert not found.bad
    assert found.sizes[0]['image width'].tolist() == [48, 48, 56, 64, 64]
    assert found.sizes[0]['objects of an image'].tolist() == [2] * 5


def test_images_of_two_splits(roboflow):
    path = roboflow / 'valid' / '_annotations.coco.json'
    content = json.loads(path.read_text())
    shutil.copy(roboflow / 'train' / 'train-001.png', roboflow / 'valid' / content['images'][1]['file_name'])
    shutil.copy(roboflow / 'train' / 'train-002.png', roboflow / 'train' / 'train-004.png')
    content['images'][3]['file_name'] = '../train/train-003.png'
    path.write_text(json.dumps(content))
    kinds = said(report(roboflow))
    assert any("share 1 images ('" in one and 'train-003.png' in one for one in kinds['shared-images'])
    across, within = kinds['same-content']
    assert 'in different splits' in across and 'train-001.png' in across and 'valid-001.png' in across
    assert 'in one split' in within and 'train-004.png' in within


def test_outlines_that_are_boxes_are_a_note(roboflow):
    path = roboflow / 'train' / '_annotations.coco.json'
    content = json.loads(path.read_text())
    for one in content['annotations']:
        x, y, w, h = one['bbox']
        one['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    path.write_text(json.dumps(content))
    found = report(roboflow)
    assert not found.bad and 'are rectangles, as tools write them for boxes' in said(found)['rectangles'][0]


def test_broken_images(roboflow):
    path = roboflow / 'train' / 'train-000.png'
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert '1 of all images of' in (text := said(report(roboflow))['cut-off'][0]) and 'train-000.png' in text
    # Its ends are right, so that only decoding tells.
    path.write_bytes(whole[: len(whole) // 2] + b'other' + whole[len(whole) // 2 + 5 :])
    assert not report(roboflow).bad
    found = report(roboflow, check_images=True)
    assert found.bad and '1 of 12 images cannot be decoded whole' in said(found)['broken-images'][0]
    assert 'train-000.png' in said(found)['broken-images'][0]


def test_orders_of_files(roboflow):
    path = roboflow / 'valid' / '_annotations.coco.json'
    content = json.loads(path.read_text())
    content['categories'].reverse()
    path.write_text(json.dumps(content))
    assert 'in another order' in said(report(roboflow))['order'][0]
    content['categories'].pop()
    path.write_text(json.dumps(content))
    assert "'figures' are of one of them alone" in said(report(roboflow))['categories'][0]


def test_keypoints_and_lvis(tmp_path):
    from test_checks_contents import content

    whole = content()
    for category in whole['categories']:
        category['keypoints'] = ['left', 'right']
    whole['annotations'][0]['keypoints'] = [1, 1, 1]
    (tmp_path / 'people.json').write_text(json.dumps(whole))
    assert 'not 3 numbers for each of 2' in said(report(tmp_path))['keypoint-numbers'][0]
    for image in whole['images']:
        image['coco_url'] = f'http://images.cocodataset.org/val2017/{image.pop("file_name")}'
        image.update(neg_category_ids=[], not_exhaustive_category_ids=[])
    for one in whole['annotations']:
        one.pop('iscrowd')
    for category in whole['categories']:
        category.pop('keypoints')
        category['frequency'] = 'f'
    (tmp_path / 'people.json').unlink()
    (tmp_path / 'lvis').mkdir()
    (tmp_path / 'lvis' / 'lvis_v1_val.json').write_text(json.dumps(whole))
    (tmp_path / 'val2017').mkdir()
    for index in range(1, 7):
        Image.new('RGB', (100, 80), (40 * index, 0, 0)).save(tmp_path / 'val2017' / f'{index}.jpg')
    found = report(tmp_path / 'lvis' / 'lvis_v1_val.json')
    assert said(found) == {} and found.splits[0].names[0] == 'val2017/1.jpg'


@pytest.fixture
def devkit(tmp_path):
    write_voc(tmp_path / 'devkit', DetectionSpec(train=8, val=3, size=32), progress=False)
    return tmp_path / 'devkit' / 'VOC2012'


def test_voc(devkit):
    main = devkit / 'ImageSets' / 'Main'
    (main / 'trainval.txt').write_text((main / 'train.txt').read_text() + (main / 'val.txt').read_text())
    (main / 'star_train.txt').write_text(''.join(f'{one} 1\n' for one in (main / 'train.txt').read_text().split()))
    found = report(devkit)
    assert [(one.name, len(one.names)) for one in found.splits] == [('train', 4), ('trainval', 7), ('val', 3)]
    assert said(found) == {}
    assert [one.name for one in report(main / 'val.txt').splits] == ['val']
    (devkit / 'Annotations' / 'train_000002.xml').write_text('<annotation>')
    found = report(devkit)
    assert found.bad and all('train_000002.xml' in one for one in said(found)['xml'])


@pytest.mark.parametrize('inside', ['ImageSets', 'ImageSets/Main', '.'])
def test_an_image_set_of_any_folder_from_anywhere(devkit, monkeypatch, inside):
    sets = devkit / 'ImageSets'
    (sets / 'mine').mkdir()
    (sets / 'mine' / 'some.txt').write_text((sets / 'Main' / 'val.txt').read_text())
    monkeypatch.chdir(devkit / inside)
    found = report(os.path.relpath(sets / 'mine' / 'some.txt'))
    assert [(one.name, len(one.names)) for one in found.splits] == [('some', 3)] and not found.bad


@pytest.mark.parametrize('name', ['data.yaml', 'train.txt'])
def test_what_yolos_own_tools_take(tmp_path, monkeypatch, name):
    """A file that names the parts, and a list of images, by their bare names."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels').mkdir()
    for index in range(3):
        Image.new('RGB', (40, 40)).save(tmp_path / 'images' / f'{index}.jpg')
        (tmp_path / 'labels' / f'{index}.txt').write_text('0 0.5 0.5 0.2 0.2\n')
    (tmp_path / 'train.txt').write_text('images/0.jpg\nimages/1.jpg\n')
    (tmp_path / 'data.yaml').write_text('train: images\nnames: [cat]\n')
    monkeypatch.chdir(tmp_path)
    (one,) = data_files.find(name)
    assert len(one.names) == {'data.yaml': 3, 'train.txt': 2}[name] and not any(
        problem.level == 'error' for problem in one.problems
    )


LINES = {
    'a blank first line': (lambda names: '\n' + '\n'.join(names), 'has a blank line (line 1)'),
    'two columns': (lambda names: ''.join(f'{name}  1\n' for name in names), 'has two columns'),
    'a column of some': (lambda names: f'{names[0]} 1\n' + '\n'.join(names[1:]), 'are no names of images'),
    'folders': (lambda names: '\n'.join(f'JPEGImages/{name} x' for name in names), 'lacks 3 of the 3 files'),
    'nothing': (lambda names: '', 'lists no image'),
}


@pytest.mark.parametrize('name', LINES)
def test_an_image_set_with_a_fault_is_still_one(devkit, name):
    """VOC's own sets of a class alone are no splits, whatever is wrong with the plain one that they are of."""
    write, sentence = LINES[name]
    main = devkit / 'ImageSets' / 'Main'
    names = (main / 'val.txt').read_text().split()
    (main / 'val.txt').write_text(write(names))
    (main / 'star_val.txt').write_text(''.join(f'{one} -1\n' for one in names))
    found = report(devkit)
    assert [one.name for one in found.splits] == ['train', 'val'] and found.bad
    assert any(sentence in one.what and 'val.txt' in one.what for one in found.problems), found.problems


def test_the_set_of_a_class_without_its_plain_one(devkit):
    main = devkit / 'ImageSets' / 'Main'
    (main / 'star_test.txt').write_text('val_000001 1\n')
    found = report(devkit)
    assert [one.name for one in found.splits] == ['star_test', 'train', 'val']
    assert 'has two columns' in said(found)['two-columns'][0]
    # A name with a space is one where there is an image of it.
    for folder, ending in (('JPEGImages', '.jpg'), ('Annotations', '.xml')):
        (devkit / folder / f'val_000001{ending}').rename(devkit / folder / f'val 1{ending}')
    names = (main / 'val.txt').read_text().split()
    (main / 'star_test.txt').unlink()
    (main / 'val.txt').write_text('\n'.join(['val 1', *names[1:]]))
    (main / 'test.txt').write_text('val 1\n')
    assert [(one.name, len(one.names)) for one in report(devkit).splits] == [('test', 1), ('train', 4), ('val', 3)]


@pytest.mark.parametrize(
    'content, sentence',
    [
        ('', 'is not JSON'),
        ('{"images": [{"id": 1, "file', 'is not JSON'),
        ('{"images": [], "annotations": []}', 'cat'),
    ],
)
def test_a_file_that_was_to_have_objects_is_a_split(tmp_path, content, sentence):
    write_coco(tmp_path)
    (tmp_path / 'val.json').write_text(content)
    (tmp_path / 'captions.json').write_text('{"images": [{"id": 1}], "annotations": [{"caption": "a cat"}]}')
    (tmp_path / 'numbers.json').write_text('{"images": 12, "annotations": 24}')
    found = report(tmp_path)
    assert [one.name for one in found.splits] == ['annotations', 'val'] and found.bad
    assert any(sentence in one.what and 'val.json' in one.what for one in found.problems), found.problems


def rename(root, first, name):
    """Of the objects of a class, one."""
    path = next(one for one in sorted(root.glob('Annotations/*.xml')) if f'<name>{first}<' in one.read_text())
    path.write_text(path.read_text().replace(f'<name>{first}<', f'<name>{name}<', 1))


@pytest.mark.parametrize('name', ['Star', 'star ', 's tar'])
def test_classes_that_may_be_meant_as_one(devkit, name):
    total = report(devkit).classes['star']
    rename(devkit, 'star', name)
    found = report(devkit)
    (sentence,) = said(found)['alike-classes']
    assert sentence.startswith('warning') and f'{name!r} with 1 objects' in sentence and not found.bad
    assert f"'star' with {sum(total) - 1} objects" in sentence


def test_categories_of_coco_that_may_be_meant_as_one(roboflow):
    """Each file with one of them."""
    path = roboflow / 'valid' / '_annotations.coco.json'
    path.write_text(path.read_text().replace('"square"', '"Square "'))
    (sentence,) = said(report(roboflow))['alike-classes']
    assert "'square' with 8 objects, 'Square ' with 4 objects" in sentence


def test_classes_of_an_export_that_may_be_meant_as_one_are_said_once(tmp_path):
    roboflow_yolo(tmp_path / 'my_data')
    (path,) = (tmp_path / 'my_data').glob('*.yaml')
    first = CLASSES[0]
    path.write_text(path.read_text().replace(CLASSES[1], first.upper()))
    found = report(tmp_path / 'my_data')
    assert sum('differ in capitals or spaces alone' in one.what for one in found.problems) == len(found.splits)
    assert 'alike-classes' not in said(found)


def test_a_folder_of_xml(devkit):
    """Without image sets, and with pictures of other formats."""
    shutil.rmtree(devkit / 'ImageSets')
    (devkit / 'Annotations').rename(devkit / 'annotations')
    (devkit / 'JPEGImages').rename(devkit / 'images')
    (found,) = report(devkit).splits
    assert len(found.names) == 7 and not found.problems
    next((devkit / 'images').iterdir()).unlink()
    (found,) = report(devkit).splits
    assert [one.kind for one in found.problems] == ['missing-images']


def test_images_that_are_no_files(roboflow):
    """Links to what was not copied."""
    path = roboflow / 'train' / 'train-003.png'
    path.unlink()
    path.symlink_to('/nowhere/003.png')
    assert 'are no files: train-003.png in' in said(report(roboflow))['no-files'][0]


def test_what_is_no_data(tmp_path):
    with pytest.raises(ConfigError, match='no annotation file or folder'):
        data_files.find(tmp_path / 'none')
    with pytest.raises(ConfigError, match='is no labelled data set: it is empty'):
        data_files.find(tmp_path)
    write_coco(tmp_path / 'one' / 'below')
    os.mkfifo(tmp_path / 'pipe.json')
    (tmp_path / '._annotations.json').write_bytes(b'\0\5')
    assert [len(one.names) for one in data_files.find(tmp_path)] == [12]
    with pytest.raises(ConfigError, match=f'--images is x, and {tmp_path} is read as an export'):
        data_files.find(tmp_path, 'x')
    (tmp_path / 'a.json').write_text('{"images": [')
    found = report(tmp_path / 'a.json')
    assert found.bad and 'half-written' in said(found)['no-json'][0]
    assert 'a.json' in data_report.as_table(found)


@pytest.mark.parametrize('write', TOOLS)
def test_what_any_tool_exports(write, tmp_path, run_in_process):
    """As many images, objects and classes as the export has, by part; nothing is written beside it."""
    root = tmp_path / 'my_data'
    write(root)
    before = sorted(root.rglob('*'))
    found = report(root)
    (wanted, total), parts = (len(TRUTH), sum(map(len, TRUTH.values()))), TOOLS[write][1] or (None,)
    # What MMDetection could not read as it is: backslashes, and a blank line in an image set.
    assert found.bad == (write in (label_studio_coco, voc)) and len(found.splits) == len(parts)
    if found.bad:
        return
    assert sum(len(one.names) for one in found.splits) == wanted
    assert sum(len(one.annotations.boxes) for one in found.splits) == total
    assert {one['name'] for split in found.splits for one in split.annotations.categories} >= set(CLASSES)
    assert sorted(root.rglob('*')) == before


def test_what_an_export_leaves_out_is_said_of_its_part(tmp_path, run_in_process):
    roboflow_yolo(tmp_path / 'my_data')
    labels = sorted((tmp_path / 'my_data' / 'train' / 'labels').glob('*.txt'))
    labels[0].write_text(labels[0].read_text() + '0 0.5 0.5 0 0\n')
    code, printed = run_in_process('misc/check_data.py', tmp_path / 'my_data')
    assert not code and 'train: Boxes without an area' in printed and 'tmp/tmp' not in printed, printed


def test_the_tool_and_its_formats(roboflow, tmp_path, run_in_process):
    code, printed = run_in_process('misc/check_data.py', roboflow, '--check-images')
    assert not code and '8 ' in printed and printed.rstrip().endswith('2 warnings')
    out = tmp_path / 'report'
    assert not run_in_process('misc/check_data.py', roboflow, '--format', 'json', '--out', out)[0]
    content = json.loads(out.read_text())
    assert content['classes']['bar'] == [8, 4] and content['splits'][0]['sizes']['image width']['median'] == 56
    (roboflow / 'valid' / 'valid-000.png').unlink()
    code, _ = run_in_process('misc/check_data.py', roboflow, '--format', 'html', '--out', out)
    assert code == 1 and '<b class="missing">missing</b> 1 of the 4 images' in out.read_text()
