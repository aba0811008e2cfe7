"""The same labelled images as annotation tools export them, for tests: what is read must be this, whoever wrote it.

:data:`TRUTH` is image -> objects (class, x1, y1, x2, y2) in whole pixels from 0, the last one outside of the box.
"""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

CLASSES = ('cat', 'dog')
WIDTH, HEIGHT = 64, 48


def _truth() -> dict[str, list[tuple]]:
    random = np.random.default_rng(7)
    truth = {}
    for index in range(12):
        objects = []
        for label in CLASSES[: 1 + index % 2]:
            x, y = random.integers(2, 20, 2).tolist()
            w, h = random.integers(8, 24, 2).tolist()
            objects.append((label, x, y, x + w, y + h))
        truth[f'img_{index:02d}.jpg'] = objects
    return truth


TRUTH = _truth()


def write_images(folder: Path, names=TRUTH, prefix: str = '') -> None:
    """Each with pixels of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        random = np.random.default_rng(list(name.encode()))
        picture = random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f'{prefix}{name}')


def third(names=TRUTH) -> dict[str, dict[str, list]]:
    """Parts of the truth: 8 images, and 4."""
    items = list(names.items())
    return dict(train=dict(items[:8]), valid=dict(items[8:]))


def coco(truth: dict, categories: dict[str, int], name=lambda name: name, first: int = 1, more=None) -> dict:
    """COCO's content; ``name`` makes ``file_name`` of an image's name, ``first`` is the first of all other ids."""
    images, annotations = [], []
    for index, (image, objects) in enumerate(truth.items(), first):
        images.append(dict(id=index, file_name=name(image), width=WIDTH, height=HEIGHT))
        for label, x1, y1, x2, y2 in objects:
            one = dict(id=len(annotations) + first, image_id=index, category_id=categories[label])
            one |= dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), iscrowd=0, segmentation=[])
            annotations.append(one | (more or {}))
    listed = [dict(id=number, name=label, supercategory='') for label, number in categories.items()]
    return dict(images=images, annotations=annotations, categories=listed)


def save(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


# --- COCO ------------------------------------------------------------------------------------------------------------


def roboflow_coco(root: Path) -> None:
    for part, truth in third().items():
        content = coco(truth, dict(pets=0, cat=1, dog=2), first=0)
        for category in content['categories']:
            category['supercategory'] = 'none' if category['name'] == 'pets' else 'pets'
        write_images(root / part, truth)
        save(root / part / '_annotations.coco.json', dict(info=dict(description='', url='https://x.y')) | content)
    save(root / 'README.roboflow.txt', 'pets - v1')


def cvat_coco(root: Path) -> None:
    content = dict(licenses=[dict(name='', id=0, url='')], info=dict(contributor='', date_created=''))
    content |= coco(TRUTH, dict(cat=1, dog=2), more=dict(attributes=dict(occluded=False)))
    write_images(root / 'images' / 'default')
    path = root / 'annotations' / 'instances_default.json'
    path.parent.mkdir()
    path.write_text(json.dumps(content, separators=(',', ':')))


def label_studio_coco(root: Path) -> None:
    """With the prefix of an upload, backslashes and ids from 0, of annotations as well."""
    write_images(root / 'images', prefix='0a1b2c3d-')
    content = coco(TRUTH, dict(cat=0, dog=1), lambda name: f'images\\0a1b2c3d-{name}', 0, dict(ignore=0))
    save(root / 'result.json', content | dict(info=dict(year=2024, contributor='Label Studio')))


def official_coco(root: Path) -> None:
    """COCO's own folders, and captions beside the objects."""
    for part, truth in third().items():
        name = dict(train='train2017', valid='val2017')[part]
        write_images(root / name, truth)
        save(root / 'annotations' / f'instances_{name}.json', coco(truth, dict(cat=17, dog=18)))
        captions = dict(images=[], annotations=[dict(caption='a')], categories=[])
        save(root / 'annotations' / f'captions_{name}.json', captions)


# --- VOC -------------------------------------------------------------------------------------------------------------


def xml(image: str, objects: list, size=(WIDTH, HEIGHT), **more) -> str:
    """VOC's XML; its corners count from 1 and are within the box, so that x2 - x1 is a pixel less than the width."""
    root = ElementTree.Element('annotation')
    for key, value in (dict(folder='VOC', filename=image) | more).items():
        ElementTree.SubElement(root, key).text = value
    if size:
        sides = ElementTree.SubElement(root, 'size')
        for key, value in zip(('width', 'height', 'depth'), (*size, 3), strict=True):
            ElementTree.SubElement(sides, key).text = str(value)
    for label, *corners in objects:
        entry = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(entry, 'name').text = label
        ElementTree.SubElement(entry, 'difficult').text = '0'
        box = ElementTree.SubElement(entry, 'bndbox')
        for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners, strict=True):
            ElementTree.SubElement(box, key).text = str(value)
    return ElementTree.tostring(root).decode()


def from_one(objects: list) -> list[tuple]:
    """Corners as VOC counts them, which MMDetection reads back by taking one off all four."""
    return [(label, *(value + 1 for value in corners)) for label, *corners in objects]


def roboflow_voc(root: Path) -> None:
    for part, truth in third().items():
        write_images(root / part, truth)
        for name, objects in truth.items():
            save(root / part / f'{Path(name).stem}.xml', xml(name, from_one(objects)))


def cvat_voc(root: Path) -> None:
    write_images(root / 'JPEGImages')
    for name, objects in TRUTH.items():
        save(root / 'Annotations' / f'{Path(name).stem}.xml', xml(name, from_one(objects)))
    save(root / 'ImageSets' / 'Main' / 'default.txt', '\n'.join(Path(name).stem for name in TRUTH))
    save(root / 'labelmap.txt', '# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:1,2,3::\ndog:4,5,6::\n')


def voc(root: Path) -> None:
    """VOC's own folders, with the two columns of a class' image set beside."""
    write_images(root / 'JPEGImages')
    for name, objects in TRUTH.items():
        save(root / 'Annotations' / f'{Path(name).stem}.xml', xml(name, from_one(objects)))
    for part, truth in third().items():
        part = dict(train='train', valid='val')[part]
        stems = [Path(name).stem for name in truth]
        save(root / 'ImageSets' / 'Main' / f'{part}.txt', '\n'.join(stems) + '\n\n')
        save(root / 'ImageSets' / 'Main' / f'cat_{part}.txt', '\n'.join(f'{stem}  1' for stem in stems))


def labelimg_voc(root: Path) -> None:
    """Beside the images; ``filename`` without or with another suffix, and a place on another disk."""
    write_images(root)
    for index, (name, objects) in enumerate(TRUTH.items()):
        said = Path(name).stem + ('', '.png')[index % 2]
        save(root / f'{Path(name).stem}.xml', xml(said, from_one(objects), path=f'C:\\Users\\x\\{name}'))


# --- YOLO ------------------------------------------------------------------------------------------------------------


def lines(objects: list, size=(WIDTH, HEIGHT), polygons: bool = False) -> str:
    text = ''
    for label, x1, y1, x2, y2 in objects:
        w, h = size
        values = [(x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h]
        if polygons:  # with a point more than a box has
            points = [x1, y1, x2, y1, x2, y2, x1, y2, x1, (y1 + y2) / 2]
            values = [value / size[at % 2] for at, value in enumerate(points)]
        text += f'{CLASSES.index(label)} {" ".join(map(repr, values))}\n'
    return text


def roboflow_yolo(root: Path) -> None:
    """Polygons among boxes; a test that is named and not there."""
    for part, truth in third().items():
        write_images(root / part / 'images', truth)
        for index, (name, objects) in enumerate(truth.items()):
            save(root / part / 'labels' / f'{Path(name).stem}.txt', lines(objects, polygons=index % 2 == 1))
    where = ''.join(
        f'{part}: ../{folder}/images\n' for part, folder in dict(train='train', val='valid', test='test').items()
    )
    save(root / 'data.yaml', f"{where}\nnc: 2\nnames: ['cat', 'dog']\n\nroboflow:\n  version: 1\n")
    save(root / 'README.roboflow.txt', 'pets - v1')


def ultralytics(root: Path) -> None:
    """COCO's folders in Ultralytics' layout, with names as a dictionary and lists of images."""
    for part, truth in third().items():
        folder = dict(train='train2017', valid='val2017')[part]
        write_images(root / 'images' / folder, truth)
        for name, objects in truth.items():
            save(root / 'labels' / folder / f'{Path(name).stem}.txt', lines(objects))
        save(root / f'{folder}.txt', '\n'.join(f'./images/{folder}/{name}' for name in truth))
    save(root / 'pets.yaml', f'path: {root}\ntrain: train2017.txt\nval: val2017.txt\nnames:\n  0: cat\n  1: dog\n')


def cvat_yolo(root: Path) -> None:
    write_images(root / 'obj_train_data')
    for name, objects in TRUTH.items():
        save(root / 'obj_train_data' / f'{Path(name).stem}.txt', lines(objects))
    save(root / 'obj.names', 'cat\ndog\n')
    save(root / 'obj.data', 'classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n')
    save(root / 'train.txt', ''.join(f'data/obj_train_data/{name}\n' for name in TRUTH))


def label_studio_yolo(root: Path) -> None:
    write_images(root / 'images', prefix='0a1b2c3d-')
    for name, objects in TRUTH.items():
        save(root / 'labels' / f'0a1b2c3d-{Path(name).stem}.txt', lines(objects))
    save(root / 'classes.txt', 'cat\ndog')
    save(root / 'notes.json', dict(categories=[dict(id=0, name='cat'), dict(id=1, name='dog')], info=dict(year=2024)))


def labelimg_yolo(root: Path) -> None:
    write_images(root)
    for name, objects in TRUTH.items():
        save(root / f'{Path(name).stem}.txt', lines(objects))
    save(root / 'classes.txt', 'cat\ndog\n')


# Writer -> the kind that it is, and the parts that it has.
WHOLE, BOTH = (), ('train', 'val')
TOOLS = {
    roboflow_coco: ('Roboflow COCO', BOTH),
    cvat_coco: ('CVAT COCO', WHOLE),
    label_studio_coco: ('Label Studio COCO', WHOLE),
    official_coco: ('COCO JSON', BOTH),
    roboflow_voc: ('Pascal VOC', BOTH),
    cvat_voc: ('Pascal VOC', WHOLE),
    voc: ('Pascal VOC', BOTH),
    labelimg_voc: ('Pascal VOC', WHOLE),
    roboflow_yolo: ('Roboflow YOLO', BOTH),
    ultralytics: ('YOLO', BOTH),
    cvat_yolo: ('CVAT YOLO', ('train',)),
    label_studio_yolo: ('Label Studio YOLO', WHOLE),
    labelimg_yolo: ('YOLO', WHOLE),
}
