"""The data sets of study B as they are downloaded, a few images of each class, for tests.

:func:`write` writes files in the official layout of a data set and returns what it wrote: for each image its official
split and the names of its classes. The images are a few pixels wide.
"""

import csv
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmpretrain.datasets.categories import VOC2007_CATEGORIES as VOC
from scipy.io import savemat

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / '_base_' / 'datasets'
DOMAINS = ('clipart', 'infograph', 'painting', 'quickdraw', 'real', 'sketch')
NAMES = [
    *('xview', 'resisc45', 'ucmerced', 'bdd_weather', 'viper_weather', 'chexpert', 'chest_xray_kids'),
    *('coco2014_multilabel', 'voc_multilabel', 'flowers102'),
    *(f'domainnet_{domain}' for domain in DOMAINS),
]
# Two of them as the release evaluates them, from lists that it does not have.
RELEASED = ['xview_multilabel', 'viper_multilabel']


@dataclass
class Truth:
    """What an image is: its official split ('all' without one) and the names of its classes; None without a label."""

    split: str
    classes: frozenset[str] | None
    uncertain: frozenset[str] = field(default_factory=frozenset)
    missing: frozenset[str] = field(default_factory=frozenset)


def config(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'hpt_{name}.py')


def draw(folder: Path, path: str, value: int = 0) -> None:
    """Write a small image in one of 256 shades."""
    suffix = Path(path).suffix
    if (value % 256, suffix) not in _ENCODED:
        picture = np.full((6, 8, 3), value % 256, np.uint8)
        _ENCODED[value % 256, suffix] = cv2.imencode('.jpg' if suffix == '.jpeg' else suffix, picture)[1].tobytes()
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(_ENCODED[value % 256, suffix])


_ENCODED = {}


def write(name: str, folder: Path, train: int = 1200, num_classes: int | None = None) -> dict[str, Truth]:
    """Write a data set below ``folder``, which is what ``data_root`` names; path -> what it is.

    Args:
        train: fewest training images (of train and val where there is no official split).
        num_classes: instead of that of the config.
    """
    classes = num_classes or config(name).num_classes
    domain = name.removeprefix('domainnet_')
    images = _WRITERS[name if name in RELEASED else name.split('_')[0]](
        folder, math.ceil(train / classes), classes, domain
    )
    for value, path in enumerate(images):
        draw(folder, path, value)
    return images


def _folders(images, pattern):
    def write(folder, number, classes, _):
        return {
            f'{images}/kind {label:02d}/{pattern.format(label=label, index=index)}': Truth(
                'all', frozenset([f'kind {label:02d}'])
            )
            for label in range(classes)
            for index in range(2 * number)
        }

    return write


def _lists(pattern):
    def write(folder, number, classes, _):
        random = np.random.default_rng(0)
        images = {}
        (folder / 'meta').mkdir(parents=True, exist_ok=True)
        for split, size in (('train', 2 * number * classes), ('val', 2 * classes), ('test', 2 * classes)):
            lines = []
            for index in range(size):
                values = random.choice(['1', '0', '-1', ''], classes, p=(0.2, 0.6, 0.1, 0.1))
                values[index % classes] = '1'
                path = f'images/{split} {index:05d}.jpg'
                lines.append(f'{path} {",".join(values)}')
                sets = [
                    frozenset(str(label) for label, value in enumerate(values) if value == wanted)
                    for wanted in ('1', '-1', '')
                ]
                images[path] = Truth(split, *sets)
            (folder / 'meta' / pattern.format(split=split)).write_text('\n'.join(lines) + '\n')
        return images

    return write


def _bdd(folder, number, _, __):
    weathers = ('clear', 'partly cloudy', 'overcast', 'rainy', 'snowy', 'foggy', 'undefined')
    images = {}
    (folder / 'labels').mkdir(parents=True, exist_ok=True)
    for official, split in (('train', 'train'), ('val', 'test')):
        entries = []
        for index in range(number * len(weathers)):
            weather = weathers[index % len(weathers)]
            path = f'images/100k/{official}/{official}-{index:05d}.jpg'
            entries.append(dict(name=Path(path).name, attributes=dict(weather=weather, scene='highway'), labels=[]))
            images[path] = Truth(split, frozenset([weather]) if weather != 'undefined' else None)
        # Some images of the real one are not in its labels.
        images[f'images/100k/{official}/without-{official}.jpg'] = Truth(split, None)
        (folder / f'labels/bdd100k_labels_images_{official}.json').write_text(json.dumps(entries))
    return images


def _viper(folder, number, classes, _):
    images, lines = {}, []
    for split, first in (('train', 0), ('val', classes), ('test', 2 * classes)):
        for label in range(classes):
            sequence = f'{first + label + 1:03d}'
            lines.append(f'{sequence} weather{label}')
            for frame in range(number):
                path = f'{split}/img/{sequence}/{sequence}_{frame:05d}.jpg'
                images[path] = Truth(split, frozenset([f'weather{label}']))
        images[f'{split}/img/9{first:02d}/9{first:02d}_00001.jpg'] = Truth(split, None)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'weather.txt').write_text('\n'.join(lines) + '\n')
    return images


def _chexpert(folder, number, _, __):
    columns = ['Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema', 'Pleural Effusion']
    random = np.random.default_rng(0)
    images = {}
    base = folder / 'CheXpert-v1.0-small'
    base.mkdir(parents=True, exist_ok=True)
    for official, split in (('train', 'train'), ('valid', 'test')):
        with open(base / f'{official}.csv', 'w', newline='') as file:
            table = csv.writer(file)
            table.writerow(['Path', 'Sex', 'Age', 'Frontal/Lateral', 'AP/PA', 'No Finding', *columns])
            for index in range(number * (6 if split == 'train' else 1)):
                # Patients have one to three views.
                patient = (index // 3) * 2 + (index % 3 > 0) + (50_000 if split == 'test' else 0)
                path = f'{official}/patient{patient:05d}/study1/view{index}_frontal.jpg'
                values = random.choice(['1.0', '0.0', '-1.0', ''], 5)
                table.writerow([f'CheXpert-v1.0-small/{path}', 'Female', 70, 'Frontal', 'AP', '', *values])
                sets = [
                    frozenset(name for name, value in zip(columns, values, strict=True) if value == wanted)
                    for wanted in ('1.0', '-1.0', '')
                ]
                images[f'CheXpert-v1.0-small/{path}'] = Truth(split, *sets)
    return images


def _kids(folder, number, _, __):
    images = {}
    for split in ('train', 'test'):
        for index in range(number):
            person = index // 2
            for kind, name, label in (
                ('NORMAL', f'IM-{person:04d}-{index:04d}.jpeg', 'normal'),
                ('PNEUMONIA', f'person{person}_bacteria_{index}.jpeg', 'bacterial pneumonia'),
                ('PNEUMONIA', f'person{person}_virus_{index}.jpeg', 'viral pneumonia'),
            ):
                images[f'chest_xray/{split}/{kind}/{name}'] = Truth(split, frozenset([label]))
    return images


def _coco(folder, number, classes, _):
    # Ids with gaps, and categories not in the order of their ids, as they may come.
    ids = [2 * label + 1 for label in range(classes)]
    names = {category: f'thing {category}' for category in ids}
    random = np.random.default_rng(0)
    images = {}
    (folder / 'annotations').mkdir(parents=True, exist_ok=True)
    for official, split in (('train', 'train'), ('val', 'test')):
        records, annotations = [], []
        for index in range(number * classes):
            record = dict(id=1000 + index, file_name=f'COCO_{official}2014_{index:012d}.jpg')
            present = random.choice(ids, index % 4)
            if index < 3 * classes:
                present = [*present, ids[index % classes]]
            for category in present:
                annotations.append(dict(image_id=record['id'], category_id=int(category), iscrowd=int(index % 7 == 0)))
            records.append(record)
            images[f'{official}2014/{record["file_name"]}'] = Truth(split, frozenset(names[one] for one in present))
        categories = [dict(id=category, name=names[category]) for category in reversed(ids)]
        content = dict(images=records, annotations=annotations, categories=categories)
        (folder / f'annotations/instances_{official}2014.json').write_text(json.dumps(content))
    return images


def _voc(folder, number, _, __):
    images = {}
    total = number * len(VOC)
    for year, image_set, split, size in (
        ('VOC2007', 'train', 'train', total // 2),
        ('VOC2007', 'val', 'val', 40),
        ('VOC2007', 'test', 'test', 40),
        ('VOC2012', 'train', 'train', total // 2 + 1),
        ('VOC2012', 'val', 'val', 40),
    ):
        base = folder / year
        for part in ('ImageSets/Main', 'Annotations', 'JPEGImages'):
            (base / part).mkdir(parents=True, exist_ok=True)
        names = [f'{year[3:]}_{image_set}_{index:06d}' for index in range(size)]
        (base / f'ImageSets/Main/{image_set}.txt').write_text('\n'.join(names) + '\n')
        for index, name in enumerate(names):
            sure, hard = VOC[index % 20], VOC[(index // 3) % 20]
            objects = ''.join(
                f'<object><name>{kind}</name><difficult>{difficult}</difficult></object>'
                for kind, difficult in ((sure, 0), (hard, 1))
            )
            (base / f'Annotations/{name}.xml').write_text(f'<annotation>{objects}</annotation>')
            images[f'{year}/JPEGImages/{name}.jpg'] = Truth(split, frozenset([sure]), frozenset([hard]) - {sure})
    return images


def _domainnet(folder, number, classes, domain):
    images = {}
    folder.parent.mkdir(parents=True, exist_ok=True)
    for split, size in (('train', max(6, number + 2)), ('test', 1)):
        lines = []
        for label in range(classes):
            for index in range(size):
                path = f'thing_{label:03d}/{domain}_{label:03d}_{split}{index:06d}.jpg'
                lines.append(f'{domain}/{path} {label}')
                images[path] = Truth(split, frozenset([f'thing_{label:03d}']))
        (folder.parent / f'{domain}_{split}.txt').write_text('\n'.join(lines) + '\n')
    return images


def _flowers(folder, number, classes, _):
    size = classes * (2 * number + 1)
    labels = np.arange(size) % classes + 1
    ids = np.random.default_rng(0).permutation(size) + 1
    by_class = [ids[labels[ids - 1] == label] for label in range(1, classes + 1)]
    official = dict(
        trnid=np.concatenate([one[:number] for one in by_class]),
        valid=np.concatenate([one[number:-1] for one in by_class]),
        tstid=np.concatenate([one[-1:] for one in by_class]),
    )
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / 'imagelabels.mat', dict(labels=labels[None].astype(np.uint8)))
    savemat(folder / 'setid.mat', {key: value[None].astype(np.uint16) for key, value in official.items()})
    return {
        f'jpg/image_{index:05d}.jpg': Truth(split, frozenset([str(labels[index - 1])]))
        for key, split in (('trnid', 'train'), ('valid', 'val'), ('tstid', 'test'))
        for index in official[key]
    }


_WRITERS = dict(
    xview_multilabel=_lists('{split}.txt'),
    viper_multilabel=_lists('{split}_multi_label.txt'),
    xview=_folders('crops', '{index}_{label}.png'),
    resisc45=_folders('NWPU-RESISC45', 'kind_{label:02d}_{index:03d}.jpg'),
    ucmerced=_folders('UCMerced_LandUse/Images', 'kind{label:02d}_{index:02d}.tif'),
    bdd=_bdd,
    viper=_viper,
    chexpert=_chexpert,
    chest=_kids,
    coco2014=_coco,
    voc=_voc,
    domainnet=_domainnet,
    flowers102=_flowers,
)
