"""A data set in the layout of LVIS v1, and a detector on it, for the tests of the rules."""

import json
import shutil
from pathlib import Path

from conftest import write_coco, write_detector
from mmengine.config import Config

URL = 'http://images.cocodataset.org/'


def write_lvis(folder: Path, images: int = 6) -> Path:
    """``lvis.json`` and ``val2017/`` below the folder, with all that LVIS's own files say; the folder."""
    write_coco(folder, images)
    (folder / 'images').rename(folder / 'val2017')
    content = json.loads((folder / 'annotations.json').read_text())
    for image in content['images']:
        image.update(coco_url=f'{URL}val2017/{image.pop("file_name")}')
        image.update(neg_category_ids=[], not_exhaustive_category_ids=[])
    for one in content['annotations']:
        x, y, w, h = one['bbox']
        one.pop('iscrowd')
        one['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h, x, y + h / 2]]  # no box
    for one in content['categories']:
        one.update(frequency='f', synset=f'{one["name"]}.n.01', image_count=images, instance_count=images)
    (folder / 'annotations.json').unlink()
    (folder / 'lvis.json').write_text(json.dumps(content))
    return folder


def lvis_file(folder: Path, name: str, *changes) -> str:
    """A changed copy of ``lvis.json``; its path."""
    content = json.loads((folder / 'lvis.json').read_text())
    for change in changes:
        change(content)
    (folder / name).write_text(json.dumps(content))
    return str(folder / name)


def as_v05(content: dict) -> None:
    """Names of images as in COCO 2014, which MMDetection shortens, and no address."""
    for image in content['images']:
        image['file_name'] = f'COCO_val2014_{int(image["id"]):012d}.png'
        image.pop('coco_url')


def images_of_v05(folder: Path) -> None:
    for path in sorted((folder / 'val2017').iterdir()):
        shutil.copy(path, folder / f'{int(path.stem):012d}.png')


def swap(content: dict) -> None:
    """The ids of the two classes, in every place; what is annotated stays the same."""
    square, bar = content['categories']
    content['categories'] = [bar | dict(id=1), square | dict(id=2)]
    for one in content['annotations']:
        one['category_id'] = 3 - one['category_id']
    for image in content['images']:
        for key in ('neg_category_ids', 'not_exhaustive_category_ids'):
            image[key] = [3 - one for one in image[key]]


def lvis_config(folder: Path, val: str = 'lvis.json', kind: str = 'LVISV1Dataset', metric: str = 'FasterLVISMetric'):
    """The tiny detector trained on ``lvis.json``, and scored against ``val``."""
    cfg = Config.fromfile(write_detector(folder / 'tiny.py', folder))
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        dataset.update(type=kind, ann_file='lvis.json' if part == 'train' else val, data_prefix=dict(img=''))
    for part in ('val', 'test'):
        cfg[f'{part}_evaluator'] = dict(type=metric, ann_file=str(folder / val), metric='bbox')
    return cfg
