"""YOLO's text files: what a line means, which images have no object, and where the names of the classes are."""

from pathlib import Path

import numpy as np
import pytest
from exports_of_tools import HEIGHT, TRUTH, WIDTH, lines, save, third, write_images
from PIL import Image
from rethink.datasets import exports
from rethink.errors import ConfigError
from test_exports import assert_same, found
from test_exports_voc import said

NAMES = 'names: [cat, dog]\n'


def folder(root: Path, labels: dict[str, str] | None = None, names: str | None = NAMES) -> Path:
    """Images and labels of the truth, with some of the label files as given; None for none."""
    write_images(root / 'images')
    for name, objects in TRUTH.items():
        save(root / 'labels' / f'{Path(name).stem}.txt', lines(objects))
    for stem, content in (labels or {}).items():
        path = save(root / 'labels' / f'{stem}.txt', content or '')
        if content is None:
            path.unlink()
    if names:
        save(root / 'data.yaml', names)
    return root


def test_boxes_are_what_the_format_defines(tmp_path):
    """Centre, width and height in fractions; numbers of all precisions, and an image of its own size."""
    random = np.random.default_rng(3)
    truth = {}
    for index in range(5):
        width, height = random.integers(30, 300, 2).tolist()
        (tmp_path / 'images').mkdir(exist_ok=True)
        Image.new('RGB', (width, height)).save(tmp_path / 'images' / f'{index}.png')
        cx, cy = random.uniform(0.3, 0.7, 2)
        w, h = random.uniform(0.1, 0.5, 2)
        save(tmp_path / 'labels' / f'{index}.txt', f'1 {cx:.17g} {cy:.17g} {w:.17g} {h:.17e}')
        x1, x2 = (cx - w / 2) * width, (cx + w / 2) * width
        truth[f'{index}.png'] = [('dog', x1, (cy - h / 2) * height, x2, (cy + h / 2) * height)]
    save(tmp_path / 'data.yaml', NAMES)
    data = exports.read(tmp_path, tmp_path / 'out')
    assert_same(found(data), truth)
    assert said(data, 'Classes without an object').endswith("('cat').")


def test_what_is_odd_in_lines_is_left_out_and_said(tmp_path):
    def good(name):
        return lines(TRUTH[name])

    labels = {
        'img_00': good('img_00.jpg') + '0 0.5 0.5 0 0\n',
        'img_01': good('img_01.jpg') + '7 0.5 0.5 0.1 0.1\n',
        'img_02': good('img_02.jpg') * 2,
        'img_03': '\n' + good('img_03.jpg').replace('\n', '  \n\n'),
        'img_04': '0.0 1.0 0.5 0.4 0.4',
        'img_05': '',
        'img_07': None,
        'img_09': ''.join(f'1 0.{place} 0.5 0.1 0.2\n' for place in range(1, 9)),
    }
    data = exports.read(folder(tmp_path, labels), tmp_path / 'out')
    boxes = found(data)
    for name in ('img_00.jpg', 'img_01.jpg', 'img_02.jpg', 'img_03.jpg'):
        assert_same({name: boxes[name]}, {name: TRUTH[name]})
    assert_same({'a': boxes['img_04.jpg']}, {'a': [('cat', WIDTH * 0.8, HEIGHT * 0.3, WIDTH, HEIGHT * 0.7)]})
    assert boxes['img_05.jpg'] == boxes['img_07.jpg'] == []
    for start, name in {
        'Boxes without an area': 'img_00.jpg',
        'Objects of the class 7, which has no name,': 'img_01.jpg',
        'Objects that are in their image twice': 'img_02.jpg',
        'Boxes that reach beyond': 'img_04.jpg',
        'Images without a label file': 'img_07.jpg',
    }.items():
        assert said(data, start).endswith(f": 1 ('images/{name}').")


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (
            lambda label, rest: f'{int(label) + 1} {rest}',
            'the labels have the classes 1 to 2 and the names are 2, counted',
        ),
        (
            lambda label, rest: f'{label} {rest} 0.9',
            r'18 of 18 objects cannot be used.*\(Lines with a fifth number, as a detector writes the confidence',
        ),
        (lambda label, rest: f'cat {rest}', 'is no labelled data set'),
        (
            lambda label, rest: f'{label} 12 13 20 20',
            'whose coordinates are no fractions of the image are left out: 18',
        ),
        (lambda label, rest: f'{label} 0.05 0.1 0.9 0.8', 'as upper left corner, width and height all fit; write the'),
        (lambda label, rest: f'{label} 0.3 0.2 0.9 0.8', 'of 18 boxes reach out .* as corners x1, y1, x2, y2 all fit'),
    ],
)
def test_labels_that_mean_something_else_are_refused(change, sentence, tmp_path):
    folder(tmp_path)
    for path in (tmp_path / 'labels').glob('*.txt'):
        path.write_text('\n'.join(change(*line.split(' ', 1)) for line in path.read_text().splitlines()))
    with pytest.raises(ConfigError, match=sentence):
        exports.read(tmp_path, tmp_path / 'out')


def test_keypoints_are_no_polygon(tmp_path):
    folder(tmp_path, names=f'{NAMES}kpt_shape: [2, 3]\n')
    for path in (tmp_path / 'labels').glob('*.txt'):
        path.write_text(path.read_text().replace('\n', ' 0.1 0.1 2 0.9 0.9 1\n'))
    data = exports.read(tmp_path, tmp_path / 'out')
    assert not data.has_masks
    assert_same(found(data), TRUTH)
    assert said(data, 'Keypoints in the labels')


@pytest.mark.parametrize('line', ['cat 0.5 0.5 0.2 0.2', '0,0.5,0.5,0.2,0.2', '0;0.5;0.5;0.2;0.2'])
def test_lines_of_another_form_are_shown(line, tmp_path):
    data = folder(tmp_path, {Path(name).stem: f'{line}\n' for name in TRUTH})
    with pytest.raises(ConfigError, match=f"begins with b'{line}.*', where YOLO has a class number"):
        exports.recognise(data)


def test_polygons_are_masks(tmp_path):
    labels = {Path(name).stem: lines(objects, polygons=True) for name, objects in TRUTH.items()}
    data = exports.read(folder(tmp_path, labels), tmp_path / 'out')
    assert data.has_masks
    assert_same(found(data), TRUTH)


@pytest.mark.parametrize(
    ('names', 'more', 'sentence'),
    [
        (None, None, 'has YOLO labels and no names of their classes; add data.yaml'),
        ('names: [cat, cat]', None, "the class name 'cat' more than once"),
        ('names: {a: cat}', None, 'names that are not numbered from 0'),
        ('names: [cat', None, 'data.yaml is not YAML'),
        (NAMES, 'dog\ncat\n', 'name different classes for the YOLO labels'),
    ],
)
def test_class_names_are_one_list_or_refused(names, more, sentence, tmp_path):
    folder(tmp_path / 'data', names=names)
    if more:
        save(tmp_path / 'data' / 'classes.txt', more)
    with pytest.raises(ConfigError, match=sentence):
        exports.read(tmp_path / 'data', tmp_path / 'out')


def test_names_are_text_and_other_yaml_is_left_alone(tmp_path):
    folder(tmp_path, names='nc: 3\nnames: [no, 007]\n')
    save(tmp_path / 'mkdocs.yml', 'site_name: x\nplugins: !!python/name:x.y\n  - [')
    data = exports.read(tmp_path / 'data.yaml', tmp_path / 'out')
    assert data.classes == ('no', '007')
    assert 'data.yaml says nc: 3 and names 2 classes.' in data.said


def test_many_empty_labels_come_first(tmp_path):
    write_images(tmp_path, [f'{index:03d}.jpg' for index in range(120)])
    for index in range(120):
        save(tmp_path / f'{index:03d}.txt', '' if index < 110 else '0 0.5 0.5 0.2 0.2')
    save(tmp_path / 'classes.txt', 'cat')
    data = exports.read(tmp_path, tmp_path / 'out')
    assert data.number == 120
    assert said(data, 'Images without an object').endswith('and 106 more).')


def test_labels_half_copied_are_no_background(tmp_path):
    folder(tmp_path, {Path(name).stem: None for name in list(TRUTH)[:7]})
    with pytest.raises(ConfigError, match='7 of 12 images have no label file .* more than half; complete the labels'):
        exports.read(tmp_path, tmp_path / 'out')


def test_labels_without_an_image_are_said(tmp_path):
    folder(tmp_path)
    (tmp_path / 'images' / 'img_11.jpg').unlink()
    data = exports.read(tmp_path, tmp_path / 'out')
    assert data.number == 11
    assert said(data, 'Label files whose image is not there').endswith("left out: 1 ('labels/img_11.txt').")


def test_images_whose_names_differ_in_capitals_or_suffix(tmp_path):
    write_images(tmp_path / 'Images', ['a.jpg', 'A.jpg', 'b.jpg', 'b.png', 'C.JPG'])
    for name, cx in dict(a=0.25, A=0.5, b=0.75, c=0.125).items():
        save(tmp_path / 'labels' / f'{name}.txt', f'0 {cx} 0.5 0.25 0.25')
    save(tmp_path / 'classes.txt', 'cat')
    data = exports.read(tmp_path, tmp_path / 'out')
    left = {name: objects[0][1] / WIDTH + 0.125 for name, objects in found(data).items()}
    assert left == {'a.jpg': 0.25, 'A.jpg': 0.5, 'b.jpg': 0.75, 'b.png': 0.75, 'C.JPG': 0.125}
    assert said(data, 'Label files of several images').endswith("('labels/b.txt').")


def test_labels_without_any_image(tmp_path):
    save(tmp_path / 'labels' / 'a.txt', '0 0.5 0.5 0.25 0.25')
    save(tmp_path / 'classes.txt', 'cat')
    with pytest.raises(ConfigError, match=r'has labels and no image; name a folder that has both'):
        exports.read(tmp_path, tmp_path / 'out')


def test_parts_of_the_yaml_file(tmp_path):
    for part, truth in third().items():
        write_images(tmp_path / part / 'images', truth)
        for name, objects in truth.items():
            save(tmp_path / part / 'labels' / f'{Path(name).stem}.txt', lines(objects))
    for train, val, sentence in (
        ('train/images', 'train/images', 'names the same images, .*train/images, for train and val'),
        ('train/images', 'nothing', 'names nothing for val, which is not there'),
        ('[train/images, valid/images]', 'valid/images', 'names 2 folders for train'),
    ):
        save(tmp_path / 'data.yaml', f'train: {train}\nval: {val}\n{NAMES}')
        with pytest.raises(ConfigError, match=sentence):
            exports.parts(tmp_path)
    save(tmp_path / 'data.yaml', NAMES)
    assert exports.parts(tmp_path) == dict(train=tmp_path / 'train', val=tmp_path / 'valid')
    with pytest.raises(ConfigError, match="has no part 'test' .it has train, val."):
        exports.read(tmp_path, tmp_path / 'out', 'test')


def test_a_list_may_name_what_is_not_there(tmp_path):
    folder(tmp_path, names='train: train.txt\nval: val.txt\n' + NAMES)
    names = list(TRUTH)
    save(tmp_path / 'train.txt', '\n'.join(f'/home/x/pets/images/{name}' for name in [*names[:11], 'none.jpg']))
    save(tmp_path / 'val.txt', f'images/{names[11]}\n')
    data = exports.read(tmp_path, tmp_path / 'out', 'train')
    assert sorted(found(data)) == names[:11]
    assert said(data, 'Listed images that are not there').endswith("1 ('/home/x/pets/images/none.jpg').")


def test_fractions_are_of_the_image_as_exif_turns_it(tmp_path):
    folder(tmp_path)
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new('RGB', (WIDTH, HEIGHT)).save(tmp_path / 'images' / 'img_00.jpg', exif=exif)
    save(tmp_path / 'labels' / 'img_00.txt', '0 0.5 0.5 0.5 0.25')
    data = exports.read(tmp_path, tmp_path / 'out')
    assert_same(
        {'a': found(data)['img_00.jpg']}, {'a': [('cat', HEIGHT / 4, WIDTH * 3 / 8, HEIGHT * 3 / 4, WIDTH * 5 / 8)]}
    )
    assert said(data, 'Images that EXIF turns').endswith("('images/img_00.jpg').")
