"""BDD100K's labels, in the three layouts that they came in, as COCO's JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO
from rethink import checks
from rethink.datasets import bdd
from rethink.errors import ConfigError

WIDTH, HEIGHT = 64, 36
NAMES = dict(person='pedestrian', motor='motorcycle', bike='bicycle')


def labels_of(random, number: int) -> list[dict]:
    """Boxes of the classes in turn, with what stands beside them in the releases."""
    labels = [dict(category='lane', id=0, poly2d=[dict(vertices=[[0, 1]])])]
    for index in range(number):
        x1, y1 = random.uniform(0, WIDTH / 2), random.uniform(0, HEIGHT / 2)
        box = dict(x1=x1, y1=y1, x2=x1 + random.uniform(2, 30), y2=y1 + random.uniform(2, 17))
        labels.append(dict(category=bdd.CLASSES[index % 10], id=index + 1, attributes=dict(occluded=True), box2d=box))
    return labels


def write(root: Path, layout: str, content: dict[str, dict[str, list]]) -> None:
    """Write labels: split → image → labels."""
    for split, images in content.items():
        path = root / layout.format(split)
        if not path.suffix:
            path.mkdir(parents=True, exist_ok=True)
            for name, labels in images.items():
                frames = [dict(timestamp=10000, objects=labels)]
                (path / f'{Path(name).stem}.json').write_text(json.dumps(dict(name=Path(name).stem, frames=frames)))
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        items = []
        # The order in the file is no order of names.
        for name, labels in reversed(images.items()):
            if 'det_20' in layout:
                labels = [dict(one, category=NAMES.get(one['category'], one['category'])) for one in labels] or None
            items.append(dict(name=name, attributes=dict(weather='clear'), labels=labels))
        path.write_text(json.dumps(items, indent=1))


@pytest.fixture
def root(tmp_path) -> Path:
    """A folder with the images, 8 for training and 3 others; one image has no label."""
    for split, number in dict(train=8, val=3).items():
        folder = tmp_path / 'images' / '100k' / split
        folder.mkdir(parents=True)
        for index in range(number):
            Image.new('RGB', (WIDTH, HEIGHT)).save(folder / f'{split}-{index}.jpg')
    return tmp_path


@pytest.fixture
def content() -> dict:
    random = np.random.default_rng(0)
    return {
        split: {f'{split}-{index}.jpg': labels_of(random, 4 * index) if index else [] for index in range(number)}
        for split, number in dict(train=8, val=3).items()
    }


def read(root: Path) -> dict[str, dict]:
    return {
        name: json.loads((root / 'annotations' / f'detection_{name}.json').read_text())
        for name in ('train', 'val', 'test')
    }


@pytest.mark.parametrize('layout', bdd._LAYOUTS)
def test_every_box_of_every_layout_is_there_and_no_image_twice(root, content, layout):
    write(root, layout, content)
    splits = bdd.convert(root, val=3, progress=False)
    assert not any(found.missing or found.unknown or found.empty for found in splits.values())
    written = {}
    for name, number in dict(train=5, val=3, test=3).items():
        coco = COCO(root / 'annotations' / f'detection_{name}.json')
        assert len(coco.imgs) == number
        names = {category['id']: category['name'] for category in coco.cats.values()}
        assert tuple(names.values()) == bdd.CLASSES
        for image in coco.imgs.values():
            assert (image['width'], image['height']) == (WIDTH, HEIGHT) and image['file_name'] not in written
            written[image['file_name']] = [
                (names[one['category_id']], *np.add(one['bbox'], [0, 0, *one['bbox'][:2]]), one['area'])
                for one in coco.imgToAnns[image['id']]
            ]
        assert name == 'test' or all(image['file_name'].startswith('train-') for image in coco.imgs.values())
    assert written.keys() == content['train'].keys() | content['val'].keys()
    for images in content.values():
        for name, labels in images.items():
            boxes = [(one['category'], *one['box2d'].values()) for one in labels if 'box2d' in one]
            boxes = [(kind, x1, y1, min(x2, WIDTH), min(y2, HEIGHT)) for kind, x1, y1, x2, y2 in boxes]
            wanted = [(*one, (one[3] - one[1]) * (one[4] - one[2])) for one in boxes]
            assert [one[0] for one in written[name]] == [one[0] for one in wanted]
            np.testing.assert_allclose([one[1:] for one in written[name]], [one[1:] for one in wanted])


def test_the_draw_is_seeded_and_does_not_depend_on_the_layout(root, content):
    held = []
    for layout, seed in ((bdd._LAYOUTS[2], 0), (bdd._LAYOUTS[1], 0), (bdd._LAYOUTS[0], 1)):
        write(root, layout, content)
        bdd.convert(root, val=3, seed=seed, progress=False)
        held.append(read(root))
    assert held[0] == held[1] != held[2]
    assert held[0]['val']['images'] != held[2]['val']['images'] and held[0]['test'] == held[2]['test']
    for number in (0, 8, 9):
        with pytest.raises(ConfigError, match=f'{number} of 8 training images cannot be held out'):
            bdd.convert(root, val=number, progress=False)


def test_what_is_left_out_is_counted_and_said(root, content, run_in_process):
    box = dict(x1=1.0, y1=1.0, x2=9.0, y2=9.0)
    content['train']['train-1.jpg'] += [
        dict(category='trailer', box2d=box),
        dict(category='trailer', box2d=box),
        dict(category='other person', box2d=box),
        dict(category='car', box2d=dict(box, x2=1.0)),
        dict(category='car', box2d=dict(box, x1=70.0, x2=90.0)),
    ]
    content['val']['gone.jpg'] = content['val']['val-1.jpg']
    write(root, bdd._LAYOUTS[0], content)
    tool = ['dataset_converters/bdd_to_coco.py', root, '--val', 2]
    code, printed = run_in_process(*tool)
    assert code == 2 and not (root / 'annotations').exists()
    assert "lacks 1 of the 4 labelled images ('gone.jpg'); complete the download, or leave them out with" in printed
    code, printed = run_in_process(*tool, '--skip-missing')
    assert code is None
    boxes = sum(4 * index for index in range(8))
    for line in (
        f'official train: 8 images, {boxes} boxes',
        "  left out: 2 boxes of 'trailer', which is none of the 10 classes",
        "  left out: 1 boxes of 'other person', which is none of the 10 classes",
        '  left out: 2 boxes without an area in their image',
        'official val: 3 images, 12 boxes',
        '  left out: 1 images without a file, such as gone.jpg',
    ):
        assert line in printed.splitlines()
    parts = read(root)
    assert {name: len(part['images']) for name, part in parts.items()} == dict(train=6, val=2, test=3)
    assert sum(len(parts[name]['annotations']) for name in ('train', 'val')) == boxes


@pytest.mark.parametrize('chunk', [3, 7, 100, 1 << 20])
def test_a_list_is_read_item_by_item(tmp_path, chunk):
    items = [dict(name=f'ü {index} ]', labels=[dict(x=[index, {}])] * index) for index in range(6)]
    file = tmp_path / 'labels.json'
    for text in (json.dumps(items), json.dumps(items, indent=2), '[]', ' [ ] \n'):
        file.write_text(text)
        assert list(bdd.items_of(file, False, chunk)) == json.loads(text)
    text = json.dumps(items)
    for end in range(0, len(text) - 1, 5):
        file.write_text(text[:end])
        with pytest.raises(ConfigError, match='labels.json is not'):
            list(bdd.items_of(file, False, chunk))


def spoil(root: Path, content: dict, how: str) -> None:
    labels = root / bdd._LAYOUTS[0].format('train')
    if how == 'twice':
        items = json.loads(labels.read_text())
        labels.write_text(json.dumps([*items, items[0]]))
    elif how == 'object':
        labels.write_text('{}')
    elif how == 'box':
        content['train']['train-3.jpg'].append(dict(category='car', box2d=dict(x1=0.0)))
        write(root, bdd._LAYOUTS[0], content)
    elif how == 'name':
        labels.write_text('[{"labels": []}]')
    elif how == 'image':
        (root / 'images/100k/train/train-2.jpg').write_bytes(b'no picture')
    elif how == 'labels':
        labels.unlink()
    elif how == 'images':
        (root / 'images/100k/val').rename(root / 'elsewhere')


@pytest.mark.parametrize(
    ('how', 'sentence'),
    [
        ('twice', 'lists train-7.jpg more than once'),
        ('object', 'is not a list of images'),
        ('box', "has a label of train-3.jpg that is no box .KeyError.'"),
        ('name', 'has an entry without the name of an image'),
        ('image', 'train-2.jpg is not an image, or not a whole one'),
        ('labels', 'has no labels, none of labels/bdd100k_labels_images_train.json, labels/det_20/det_train.json'),
        ('images', 'there is no folder .*images/100k/val; docs/data.md'),
    ],
)
def test_what_is_broken_is_one_sentence_and_nothing_is_written(root, content, how, sentence):
    write(root, bdd._LAYOUTS[0], content)
    spoil(root, content, how)
    with pytest.raises(ConfigError, match=sentence):
        bdd.convert(root, val=3, progress=False)
    assert not (root / 'annotations').exists()


def test_the_config_reads_what_is_written(root, content, tmp_path):
    write(root, bdd._LAYOUTS[0], content)
    bdd.convert(root, val=3, progress=False)
    cfg = Config.fromfile(ROOT / 'configs' / 'hpt' / 'finetune_r50_c4_bdd_90ki.py')
    assert cfg.metainfo.classes == bdd.CLASSES
    folder = cfg.train_dataloader.dataset.data_root
    assert cfg.val_evaluator.ann_file == f'{folder}annotations/detection_test.json'
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = f'{root}/'
    cfg.val_evaluator.ann_file = cfg.val_evaluator.ann_file.replace(folder, f'{root}/')
    checks.stop_on_errors(cfg)
