"""COCO JSON of many hands: what is right stays, what is wrong is put right or refused, and all of it is said."""

import json
from pathlib import Path

import mmcv
import numpy as np
import pytest
from exports_of_tools import HEIGHT, TRUTH, WIDTH, coco, save, write_images
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from rethink.datasets import exports
from rethink.errors import ConfigError
from test_exports import assert_same, found
from test_exports_voc import said

IDS = dict(cat=1, dog=2)


def write(root: Path, change=lambda content: None, **kwargs) -> Path:
    """Images and a right COCO file beside them, changed."""
    write_images(root / 'images')
    content = coco(TRUTH, IDS, **kwargs)
    for one in content['annotations']:
        del one['segmentation']
    content = change(content) or content
    return save(root / 'labels.json', content)


def test_a_right_file_is_taken_as_it_is(tmp_path):
    path = write(tmp_path)
    data = exports.read(path, tmp_path / 'out')
    assert data.annotations == path
    assert data.images == tmp_path / 'images'
    assert not (tmp_path / 'out').exists()
    assert_same(found(data), TRUTH)


def of(key, **values):
    """Change the first entry of a list."""
    return lambda content: content[key][0].update(values)


def each(key, **values):
    return lambda content: [one.update(values) for one in content[key]] and None


def without(key, field):
    return lambda content: [one.pop(field) for one in content[key]] and None


def strings(content):
    for one in content['annotations']:
        one |= dict(id=str(one['id']), image_id=str(one['image_id']), category_id=str(one['category_id']))
    for one in content['images'] + content['categories']:
        one['id'] = str(one['id'])


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (without('annotations', 'iscrowd'), None),
        (without('annotations', 'area'), None),
        (each('annotations', area=0), None),
        (without('images', 'width'), None),
        (strings, 'Annotation ids that are not whole numbers'),
        (of('annotations', id=2), 'Annotation ids that are not whole numbers'),
        (of('annotations', id=0), 'Annotation ids that are not whole numbers'),
        (each('annotations', segmentation=[[1, 2, 3, 4]]), 'Parts of outlines that have fewer than three points'),
        (lambda content: content['images'].append(dict(content['images'][0], id=99)), 'Images that are listed more'),
        (lambda content: content['annotations'].append(dict(content['annotations'][0], id=99)), 'Objects that are in'),
    ],
)
def test_what_can_be_put_right_is(change, sentence, tmp_path):
    path = write(tmp_path, change)
    before = path.read_bytes()
    data = exports.read(path, tmp_path / 'out')
    assert data.annotations.parent == tmp_path / 'out'
    assert path.read_bytes() == before
    assert_same(found(data), TRUTH)
    assert said(data, f'{path} stays as it is')
    assert sentence is None or said(data, sentence)
    content = json.loads(data.annotations.read_text())
    assert {one['id'] for one in content['categories']} == {1, 2}
    assert all(one['area'] == one['bbox'][2] * one['bbox'][3] for one in content['annotations'])
    COCO(str(data.annotations))


def test_a_byte_order_mark_which_pycocotools_does_not_read(tmp_path):
    path = write(tmp_path)
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    data = exports.read(path, tmp_path / 'out')
    assert_same(found(data), TRUTH)
    assert said(data, 'The file begins with a byte order mark')


def shifted(step: int, classes: int):
    """The ids of the annotations, and not of the list; of more classes than two most objects stay in the list."""

    def change(content):
        content['categories'] = [dict(id=index, name=f'c{index}') for index in range(1, classes + 1)]
        for index, one in enumerate(content['annotations']):
            one['category_id'] = 1 + index % classes + step

    return change


def boxes(convert, odd: int = 0):
    """All boxes written another way, of two hundred of which ``odd`` fit neither."""

    def change(content):
        objects = content['annotations']
        while len(objects) < 200:
            objects.append(dict(objects[len(objects) % 18], id=len(objects) + 1))
        for index, one in enumerate(objects):
            x, y = 30 + index % 7, 20 + index % 5
            one['bbox'] = list(convert(x, y, 20 + index % 4, 22)) if index >= odd else [40, 20, 30, 20]

    return change


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (shifted(-1, 2), 'have the categories 0 to 1 and the list of categories 1 to 2: all are one too low'),
        (shifted(1, 2), 'have the categories 2 to 3 and the list of categories 1 to 2: all are one too high'),
        (shifted(1, 15), 'have the categories 2 to 16 and the list of categories 1 to 15: all are one too high'),
        (shifted(-1, 15), 'have the categories 0 to 14 and the list of categories 1 to 15: all are one too low'),
        (
            boxes(lambda x, y, w, h: (x, y, x + w, y + h)),
            '200 of 200 boxes reach out of their images as COCO JSON has them, and as corners x1, y1, x2, y2 all fit',
        ),
        (boxes(lambda x, y, w, h: (x, y, x + w, y + h), odd=2), r'\d+ of 200 boxes reach out .* as corners'),
        (boxes(lambda x, y, w, h: (x + w / 2, y + h / 2, w, h), odd=2), '.* as centre, width and height all fit'),
        (boxes(lambda x, y, w, h: (y, x + 4, h, w), odd=2), '.* as y, x, height, width all fit; write x before y'),
        (of('categories', id=2), "the categories 'cat' and 'dog' have one id, 2"),
        (of('images', id=2), "the images 'img_00.jpg' and 'img_01.jpg' have one id, 2"),
        (of('images', id=1.5), "the id of the image 'img_00.jpg' is 1.5 and not a whole number"),
        (without('images', 'file_name'), 'the image 1 has no file_name'),
        (without('annotations', 'category_id'), 'has no category_id: it is not of objects'),
        (each('annotations', bbox=[1, 2, None, 4]), '18 of 18 objects cannot be used.*whose box is not four numbers'),
        (
            each('annotations', image_id=77),
            "Annotations of images that are not listed are left out: 18 .'image_id 77'",
        ),
        (each('annotations', category_id=9), 'Annotations of categories that are not listed are left out: 18'),
        (lambda content: content['images'].clear(), 'lists no image'),
        (lambda content: content['categories'].clear(), 'has no category'),
        (lambda content: content['annotations'].clear(), 'has 12 images and no object; label some'),
        (lambda content: [content], 'has no lists images, annotations and categories'),
        (each('images', file_name='images/none.jpg'), 'images cannot be used|have one id'),
    ],
)
def test_what_would_be_guessed_is_refused(change, sentence, tmp_path):
    path = write(tmp_path, change)
    with pytest.raises(ConfigError, match=sentence) as caught:
        exports.read(path, tmp_path / 'out')
    assert str(path) in str(caught.value)
    assert not (tmp_path / 'out').exists()


def test_boxes_that_reach_out_and_fit_no_other_way_are_cut(tmp_path):
    """As those of whole people, of whom a part is in the image."""
    change = boxes(lambda x, y, w, h: (x - 40, y - 30, w + 40, h + 10))
    data = exports.read(write(tmp_path, change), tmp_path / 'out')
    assert said(data, 'Boxes that reach beyond their image')
    for one in json.loads(data.annotations.read_text())['annotations']:
        x, y, w, h = one['bbox']
        assert min(x, y) == 0 and 1 <= w <= WIDTH and 1 <= h <= HEIGHT


ODD = (
    None,
    'x',
    '',
    -1,
    0,
    1.5,
    1e400,
    float('nan'),
    [],
    [1],
    [None] * 4,
    ['a'] * 4,
    {},
    dict(counts=1),
    True,
    10**30,
)


@pytest.mark.parametrize('key', ['images', 'annotations', 'categories'])
def test_no_value_ends_in_a_traceback(key, tmp_path):
    path = write(tmp_path, outlines(18))
    content = json.loads(path.read_text())
    refused = 0
    for field in list(content[key][0]):
        for value in ODD:
            odd = json.loads(path.read_text())
            odd[key][0][field] = value
            try:
                data = exports.read(save(tmp_path / 'odd.json', odd), tmp_path / 'out')
            except ConfigError as error:
                refused += 1
                assert 'odd.json' in str(error)
                assert '\n' not in str(error)
            else:
                COCO(str(data.annotations))
                assert data.number == 12 or any('left out' in one for one in data.said)
    assert refused >= 10


def test_half_a_file(tmp_path):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ConfigError, match='labels.json is not JSON .*or half-written; export it again'):
        exports.read(path, tmp_path / 'out')


def test_a_number_as_the_name_of_a_class(tmp_path):
    data = exports.read(write(tmp_path, of('categories', name=7)), tmp_path / 'out')
    assert data.classes == ('7', 'dog')
    assert data.annotations.parent == tmp_path / 'out'


def test_an_image_of_more_pixels_than_pillow_would_decode(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    data = exports.read(write(tmp_path), tmp_path / 'out')
    assert data.number == 12
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_ignore_is_neither_wanted_nor_wrong(tmp_path):
    """MMDetection would train on it as background, pycocotools would count it as missed."""
    data = exports.read(write(tmp_path, of('annotations', ignore=1)), tmp_path / 'out')
    first = json.loads(data.annotations.read_text())['annotations'][0]
    assert first['iscrowd'] == 1
    assert 'ignore' not in first
    assert said(data, 'Objects marked ignore')


def test_a_class_under_two_ids_is_one(tmp_path):
    def twice(content):
        content['categories'].append(dict(id=3, name='dog'))
        content['annotations'][-1]['category_id'] = 3

    data = exports.read(write(tmp_path, twice), tmp_path / 'out')
    assert data.classes == ('cat', 'dog')
    assert_same(found(data), TRUTH)
    assert said(data, 'Categories of the same name').endswith("('dog').")


@pytest.mark.parametrize(
    'name',
    [
        lambda name: f'C:\\photos\\images\\{name}',
        lambda name: f'https://x.org/data/upload/1/{name}?token=3',
        lambda name: f'/data/local-files/?d=pets%2Fimages/{name}',
        lambda name: f'./images/{name}',
        lambda name: name.replace('.jpg', '.JPG'),
    ],
)
def test_images_are_found_whatever_stands_before_their_name(name, tmp_path):
    data = exports.read(write(tmp_path, name=name), tmp_path / 'out')
    assert_same(found(data), TRUTH)
    assert said(data, 'Images that are elsewhere').endswith('and 8 more).')


@pytest.mark.parametrize('start', ['{root}/pictures/', '../pictures/'])
def test_whole_paths_and_paths_from_the_file(start, tmp_path):
    write_images(tmp_path / 'pictures')
    content = coco(TRUTH, IDS, lambda name: start.format(root=tmp_path) + name)
    data = exports.read(save(tmp_path / 'anns' / 'labels.json', content), tmp_path / 'out')
    assert_same(found(data), TRUTH)
    assert data.images == tmp_path / 'pictures'
    assert said(data, 'Images are named by whole paths')


def test_two_folders_with_the_same_names_are_not_guessed_between(tmp_path):
    path = write(tmp_path)
    write_images(tmp_path / 'resized')
    with pytest.raises(ConfigError, match=r"its images are in 2 folders \('images', 'resized'\), and nothing tells"):
        exports.read(path, tmp_path / 'out')


def test_images_that_are_not_listed_are_said(tmp_path):
    path = write(tmp_path)
    write_images(tmp_path / 'images', ['more.jpg'])
    data = exports.read(path, tmp_path / 'out')
    assert data.annotations == path
    assert said(data, 'Images in the folder that the file does not list').endswith("('images/more.jpg').")


def test_boxes_in_parts_of_the_image_are_refused(tmp_path):
    path = write(tmp_path, each('annotations', bbox=[0.1, 0.1, 0.5, 0.5]))
    with pytest.raises(ConfigError, match='the 18 boxes lie between 0 and 1, as parts of the image'):
        exports.read(path, tmp_path / 'out')


# --- masks -----------------------------------------------------------------------------------------------------------


def outlines(number: int, form='polygon'):
    """As many, and one point more than a rectangle has, which would be taken for a box."""

    def change(content):
        for one in content['annotations'][:number]:
            x, y, w, h = one['bbox']
            polygon = [x, y, x + w, y, x + w, y + h, x, y + h, x, y + h / 2]
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[y : y + h, x : x + w] = 1
            rle = coco_mask.encode(np.asfortranarray(mask))
            rle['counts'] = rle['counts'].decode()
            one['segmentation'] = dict(polygon=[polygon], flat=polygon, rle=rle)[form]

    return change


@pytest.mark.parametrize('form', ['polygon', 'flat', 'rle'])
def test_outlines_are_masks(form, tmp_path):
    data = exports.read(write(tmp_path, outlines(18, form)), tmp_path / 'out')
    assert data.has_masks
    assert (data.annotations.parent == tmp_path / 'out') == (form == 'flat')
    api = COCO(str(data.annotations))
    for one in api.loadAnns(api.getAnnIds()):
        x, y, w, h = one['bbox']
        mask = api.annToMask(one)
        assert mask.sum() == mask[y : y + h, x : x + w].sum() == w * h


def test_an_outline_that_is_absent_among_many_is_its_box_and_too_many_are_no_masks(tmp_path):
    data = exports.read(write(tmp_path / 'a', outlines(9)), tmp_path / 'out')
    assert not data.has_masks
    assert said(data, 'Objects without an outline, too many of 18 for masks')

    def many(content):
        for index in range(20, 60):
            box = [index - 18, 3, 9, 9]
            one = dict(id=index, image_id=1, category_id=1, bbox=box, area=81, iscrowd=0)
            content['annotations'].append(one)
        outlines(57)(content)

    data = exports.read(write(tmp_path / 'b', many), tmp_path / 'out')
    assert data.has_masks
    last = json.loads(data.annotations.read_text())['annotations']
    without = [one for one in last if one['bbox'] == [41, 3, 9, 9]]
    assert without[0]['segmentation'] == [[41, 3, 50, 3, 50, 12, 41, 12]]
    assert said(data, 'Objects without an outline get their box as one')


def turned(x: float, y: float, w: float, h: float) -> list[float]:
    """A rectangle of half the size about the middle of a box, by 30 degrees."""
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 4
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    return (corners @ [[c, s], [-s, c]] + [x + w / 2, y + h / 2]).round(2).flatten().tolist()


@pytest.mark.parametrize('form', ['upright', 'closed', 'turned'])
def test_boxes_in_place_of_outlines_are_no_masks(form, tmp_path):
    """As tools write them for boxes, and for boxes that are turned (YOLO's OBB)."""

    def boxes(content, number=18):
        for one in content['annotations'][:number]:
            x, y, w, h = one['bbox']
            polygon = [x, y, x + w, y, x + w, y + h, x, y + h] + [x, y] * (form == 'closed')
            one['segmentation'] = [turned(x, y, w, h) if form == 'turned' else polygon]

    path = write(tmp_path / 'a', boxes)
    data = exports.read(path, tmp_path / 'out')
    assert not data.has_masks and data.annotations == path
    assert said(data, 'Outlines that are rectangles, which would teach masks no more than boxes')
    assert_same(found(data), TRUTH)

    def some(content):
        outlines(18)(content)
        boxes(content, 9)

    data = exports.read(write(tmp_path / 'b', some), tmp_path / 'out')
    assert data.has_masks and said(data, 'Outlines that are rectangles, beside others that are none')


# --- photographs that EXIF turns -------------------------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp'])
@pytest.mark.parametrize('form', ['polygon', 'rle'])
@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
def test_labels_of_a_stored_image_are_turned_with_it(orientation, form, suffix, tmp_path):
    """The object is the bright part of the image as MMCV loads it, whatever way it was stored."""
    x, y, w, h = 6, 10, 20, 9
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[y : y + h, x : x + w] = 255
    exif = Image.Exif()
    exif[0x112] = orientation
    names = [f'{index}.{suffix}' for index in range(3)]
    for name in names:
        tmp_path.joinpath('images').mkdir(exist_ok=True)
        Image.fromarray(stored).save(
            tmp_path / 'images' / name, exif=exif, **(dict(quality=100) if suffix == 'jpg' else {})
        )
    content = coco({name: [('cat', x, y, x + w, y + h)] for name in names}, IDS)
    outlines(3, form)(content)
    path = save(tmp_path / 'labels.json', content)
    loaded = mmcv.imread(str(tmp_path / 'images' / names[0]))
    if loaded.shape[:2] != (WIDTH, HEIGHT):  # OpenCV leaves some formats as they are stored
        assert suffix in ('png', 'webp')
        with pytest.raises(ConfigError, match='3 images cannot be used.*that EXIF turns and MMDetection does not'):
            exports.read(path, tmp_path / 'out')
        return
    data = exports.read(path, tmp_path / 'out')
    assert said(data, 'Images that EXIF turns, as MMDetection does when it reads them, with labels')
    with Image.open(tmp_path / 'images' / names[0]) as image:
        assert loaded.shape[:2] == ImageOps.exif_transpose(image).size[::-1] == (WIDTH, HEIGHT)
    api = COCO(str(data.annotations))
    one = api.loadAnns(1)[0]
    mask = api.annToMask(one).astype(bool)
    bright = loaded[..., 0] > 128
    assert (mask == bright).mean() > 0.99
    ys, xs = np.nonzero(bright)
    assert one['bbox'] == [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]
    assert [one['bbox'][2], one['bbox'][3]] == [h, w]


@pytest.mark.parametrize(('orientation', 'size'), [(6, (HEIGHT, WIDTH)), (3, (WIDTH, HEIGHT))])
def test_labels_of_a_turned_image_stay_and_that_is_said(orientation, size, tmp_path):
    exif = Image.Exif()
    exif[0x112] = orientation
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (WIDTH, HEIGHT)).save(tmp_path / 'images' / 'a.jpg', exif=exif)
    content = coco({'a.jpg': [('cat', 3, 4, 20, 40)]}, IDS)
    content['images'][0] |= dict(width=size[0], height=size[1])
    path = save(tmp_path / 'labels.json', content)
    data = exports.read(path, tmp_path / 'out')
    assert data.annotations == path
    assert said(data, 'Images that EXIF turns').endswith("('a.jpg').")
    assert ('nothing tells' in said(data, 'Images that EXIF turns')) == (orientation == 3)
