"""What study B's data sets look like when they are downloaded: classes, labels and official splits.

Each function of :data:`LAYOUTS` reads one layout and returns the class names, in the order of the labels, and
:class:`Image` lists by name: ``train``, ``val`` and ``test`` as far as they are official,
``all`` where nothing is, and ``unlabelled`` for images of train and val without a label. None of them looks into an
image. The configs in configs/_base_/datasets/hpt_*.py show the folders.
"""

import csv
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..errors import ConfigError
from ..trust.soundness import check_kind
from .image_statistics import EXTENSIONS, find_images

LABELLED = ('train', 'val', 'test')
WHERE = 'docs/datasets.md says where each data set comes from and goes.'


@dataclass(frozen=True)
class Image:
    """What is known of an image.

    Args:
        path: relative to the folder of the data set, with ``/``.
        positive: its classes, counted from 0; None where nobody has labelled it.
        uncertain, missing: classes of which it is not certain that it has them, or of which nothing is said.
        group: what it was taken of (patient, scene), '' where that is not known.
    """

    path: str
    positive: tuple[int, ...] | None = None
    uncertain: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    group: str = ''


Layout = tuple[tuple[str, ...], dict[str, list[Image]]]

BDD_WEATHER = ('clear', 'partly cloudy', 'overcast', 'rainy', 'snowy', 'foggy')
CHEXPERT = ('Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema', 'Pleural Effusion')
CHEST_XRAY_KIDS = ('normal', 'bacterial pneumonia', 'viral pneumonia')


# --- reading what was downloaded -------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    check_kind(path, 'the annotation file')
    try:
        return path.read_text(encoding='utf-8-sig')
    except OSError:
        raise ConfigError(f'there is no file {path}; {WHERE}') from None
    except UnicodeDecodeError:
        raise ConfigError(f'{path} is not UTF-8 text; download it again.') from None


def _json(path: Path):
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f'{path} is not JSON ({error}); download it again.') from None


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where it is and what it says, for each line of a text file that is not empty, split at its last space."""
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip():
            yield f'{path}:{number}', line.strip().rsplit(maxsplit=1)


def _images(folder: Path, prefix: str) -> list[str]:
    """Paths of the images below a folder, with a prefix."""
    if not folder.is_dir():
        raise ConfigError(f'there is no folder {folder}; {WHERE}')
    return [f'{prefix}/{Path(path).as_posix()}' for path in find_images(folder)]


# --- the layouts -----------------------------------------------------------------------------------------------------


def class_folders(root: Path, images: str, lists: str | None = None, group: str | None = None) -> Layout:
    """A folder for each class, as in ImageNet, RESISC-45 and UC Merced.

    Args:
        images: the folder of these folders, below ``root``.
        lists: names of the official lists, with ``{split}``, of file names (or paths below ``images``), one in a
            line. Where there is none of the three files there is no official split.
        group: regular expression whose first group says, at the beginning of a file name, what an image was taken of.
    """
    folder = root / images
    if not folder.is_dir():
        raise ConfigError(f'there is no folder {folder}; {WHERE}')
    classes = tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()))
    found = []
    for label, name in enumerate(classes):
        members = [path for path in os.listdir(folder / name) if path.lower().endswith(EXTENSIONS)]
        if not members:
            raise ConfigError(f'the class folder {folder / name} has no image; complete the download or delete it.')
        for member in members:
            match = re.match(group, member) if group else None
            if group and not match:
                raise ConfigError(f'{folder / name / member} is not named as layout.group expects ({group}).')
            found.append(Image(f'{images}/{name}/{member}', (label,), group=match[1] if match else ''))
    if lists is None or not any((root / lists.format(split=split)).is_file() for split in LABELLED):
        return classes, dict(all=found)
    by_name = defaultdict(list)
    for image in found:
        by_name[image.path.rsplit('/', 1)[1]].append(image)
        by_name[image.path.removeprefix(f'{images}/')].append(image)
    parts = {}
    for split in LABELLED:
        path = root / lists.format(split=split)
        parts[split] = []
        for number, line in enumerate(_text(path).split('\n'), 1):
            if not line.strip():
                continue
            matching = by_name.get(line.strip(), [])
            if len(matching) != 1:
                raise ConfigError(f'{path}:{number}: {line.strip()!r} is {len(matching)} images in {folder}, not one.')
            parts[split] += matching
    return classes, parts


def unlabelled(root: Path, images: str) -> Layout:
    """Images without labels, to pre-train on: all below a folder, however deep, with a config of ``num_classes = 0``.

    Args:
        images: the folder, below ``root``.
    """
    return (), dict(unlabelled=[Image(path) for path in _images(root / images, images)])


def released_lists(root: Path, lists: str, num_classes: int) -> Layout:
    """Lists of images with several labels in the format of HPT's release, which has the lists of xView and VIPER not.

    A line is a path below ``root``, a space, and for each class 1, 0, -1 (uncertain) or nothing, separated by commas
    (openselfsup/datasets/data_sources/image_list_multihead.py). Classes are called by their numbers, from 0.

    Args:
        lists: names of the lists, with ``{split}``, below ``root``.
        num_classes: in a line.
    """
    kinds = {'1': 'positive', '0': 'negative', '-1': 'uncertain', '': 'missing'}
    parts = {}
    for split in LABELLED:
        path, parts[split] = root / lists.format(split=split), []
        if not path.is_file():
            raise ConfigError(
                f'there is no list {path}, and HPT does not publish it: write it, for each image a line with its path '
                f'below {root}, a space, and {num_classes} numbers 1 or 0 separated by commas, one for each class.'
            )
        for where, words in _lines(path):
            values = words[-1].split(',')
            if len(words) != 2 or len(values) != num_classes or not kinds.keys() >= set(values):
                raise ConfigError(
                    f'{where}: expected a path, a space and {num_classes} of 1, 0, -1 or nothing, separated by commas.'
                )
            labels = {
                kind: tuple(label for label, value in enumerate(values) if kinds[value] == kind)
                for kind in ('positive', 'uncertain', 'missing')
            }
            parts[split].append(Image(words[0], **labels))
    return tuple(map(str, range(num_classes))), parts


def bdd_weather(root: Path) -> Layout:
    """Weather of BDD100K's images, from the attributes in its labels; the official val is the test."""
    parts = dict(train=[], test=[], unlabelled=[])
    for official, split in (('train', 'train'), ('val', 'test')):
        path = root / 'labels' / f'bdd100k_labels_images_{official}.json'
        prefix = f'images/100k/{official}'
        weather = {}
        for entry in _json(path):
            weather[entry['name']] = kind = (entry.get('attributes') or {}).get('weather', 'undefined')
            if kind not in (*BDD_WEATHER, 'undefined'):
                raise ConfigError(f'{path} gives {entry["name"]} the weather {kind!r}, which is none of BDD100K.')
        # Of the folder, and what the labels name: an image that is missing is told by who looks for the files.
        for name in sorted({path.rsplit('/', 1)[1] for path in _images(root / prefix, prefix)} | weather.keys()):
            kind = weather.get(name, 'undefined')
            if kind != 'undefined':
                parts[split].append(Image(f'{prefix}/{name}', (BDD_WEATHER.index(kind),)))
            elif split == 'train':
                parts['unlabelled'].append(Image(f'{prefix}/{name}'))
    return BDD_WEATHER, parts


def viper_weather(root: Path) -> Layout:
    """Weather of VIPER's frames, by sequence, from a list of sequences."""
    path = root / 'weather.txt'
    weather = {}
    for where, words in _lines(path):
        if len(words) != 2 or weather.get(words[0], words[1]) != words[1]:
            raise ConfigError(f'{where}: expected a sequence, a space and its weather, each sequence once.')
        weather[words[0]] = words[1]
    classes = tuple(sorted(set(weather.values())))
    parts = dict(train=[], val=[], test=[], unlabelled=[])
    for split in LABELLED:
        prefix = f'{split}/img'
        for frame in _images(root / prefix, prefix):
            sequence = frame.split('/')[-2]
            if sequence in weather:
                parts[split].append(Image(frame, (classes.index(weather[sequence]),), group=f'{split}/{sequence}'))
            elif split != 'test':
                parts['unlabelled'].append(Image(frame))
    return classes, parts


def chexpert(root: Path, folder: str) -> Layout:
    """The five findings of CheXpert's competition, from its tables; the official validation is the test."""
    parts = {}
    for official, split in (('train', 'train'), ('valid', 'test')):
        table = root / folder / f'{official}.csv'
        rows = csv.DictReader(_text(table).splitlines())
        absent = {'Path', *CHEXPERT} - set(rows.fieldnames or ())
        if absent:
            raise ConfigError(f'{table} has no column {", ".join(sorted(absent))}; download it again.')
        parts[split] = [_radiograph(row, f'{table}:{rows.line_num}', folder) for row in rows]
    return CHEXPERT, parts


def _radiograph(row, where, folder) -> Image:
    values = dict(positive=[], uncertain=[], missing=[], negative=[])
    kinds = {'1': 'positive', '0': 'negative', '-1': 'uncertain', '': 'missing'}
    for label, name in enumerate(CHEXPERT):
        value = (row[name] or '').strip().removesuffix('.0')
        if value not in kinds:
            raise ConfigError(f'{where}: {name} is {row[name]!r} and not 1, 0, -1 or blank; download it again.')
        values[kinds[value]].append(label)
    # Paths begin with the folder of the release that the table is from.
    path = re.match(r'[^/]+/((?:train|valid)/(patient\d+)/.+)', row['Path'] or '')
    if not path:
        raise ConfigError(f'{where}: {row["Path"]!r} is no path of CheXpert; download it again.')
    known = {key: tuple(values[key]) for key in ('positive', 'uncertain', 'missing')}
    return Image(f'{folder}/{path[1]}', **known, group=path[2])


def chest_xray_kids(root: Path, folder: str) -> Layout:
    """Normal, bacterial or viral, from the folders and file names of Kermany et al.

    Later releases moved a few training images to a folder ``val``; they are training images here. Patients are
    numbered anew in each folder.
    """
    parts = dict(train=[], test=[])
    for official, split in (('train', 'train'), ('val', 'train'), ('test', 'test')):
        if official == 'val' and not (root / folder / official).is_dir():
            continue
        prefix = f'{folder}/{official}'
        for path in _images(root / prefix, prefix):
            kind, name = path.split('/')[-2:]
            patient = re.match(r'(person\d+|(?:BACTERIA|VIRUS|NORMAL|NORMAL2-IM|IM)-\d+)', name)
            virus, bacteria = 'virus' in name.lower(), 'bacteria' in name.lower()
            if kind not in ('NORMAL', 'PNEUMONIA') or not patient or (kind == 'PNEUMONIA' and virus == bacteria):
                raise ConfigError(f'{root / path} is not named as an image of this data set; delete it.')
            label = 0 if kind == 'NORMAL' else 1 if bacteria else 2
            # The folder `val` was taken from train with its numbers.
            parts[split].append(Image(path, (label,), group=f'{split}/{kind}/{patient[1]}'))
    return CHEST_XRAY_KIDS, parts


def coco(root: Path, year: int) -> Layout:
    """Which categories have an object (a crowd counts) in COCO's images; the official val is the test."""
    parts, names = {}, {}
    for official, split in (('train', 'train'), ('val', 'test')):
        path = root / 'annotations' / f'instances_{official}{year}.json'
        content = _json(path)
        if not isinstance(content, dict) or not {'images', 'annotations', 'categories'} <= content.keys():
            raise ConfigError(f'{path} has no images, annotations and categories, so it is no COCO annotation file.')
        names[split] = {one['id']: one['name'] for one in content['categories']}
        index = {category: label for label, category in enumerate(sorted(names[split]))}
        present = defaultdict(set)
        for one in content['annotations']:
            present[one['image_id']].add(index[one['category_id']])
        parts[split] = [
            Image(f'{official}{year}/{image["file_name"]}', tuple(sorted(present[image['id']])))
            for image in content['images']
        ]
    if names['train'] != names['test']:
        raise ConfigError(f'the annotations in {root} have other categories for train than for val; download both.')
    return tuple(names['train'][category] for category in sorted(names['train'])), parts


def voc(root: Path, sets: dict[str, tuple[str, ...]]) -> Layout:
    """Which classes have an object in Pascal VOC's images; one with none but difficult objects is uncertain.

    Args:
        sets: for each split the image sets that it is made of, such as ``VOC2007/train``.
    """
    from mmdet.datasets import VOCDataset

    classes = VOCDataset.METAINFO['classes']
    parts = {}
    for split, names in sets.items():
        parts[split] = []
        for year, image_set in (name.split('/') for name in names):
            for _, (image, *_) in _lines(root / year / 'ImageSets' / 'Main' / f'{image_set}.txt'):
                labels = _objects(root / year / 'Annotations' / f'{image}.xml', classes)
                parts[split].append(Image(f'{year}/JPEGImages/{image}.jpg', *labels))
    return classes, parts


def _objects(path: Path, classes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Classes with an object that is not difficult, and classes that have only difficult ones."""
    try:
        objects = ElementTree.fromstring(_text(path)).findall('object')
        found = [(classes.index(one.findtext('name')), one.findtext('difficult') == '1') for one in objects]
    except ElementTree.ParseError:
        raise ConfigError(f'{path} is not XML, it may be half-written; extract it again.') from None
    except ValueError:
        raise ConfigError(f'{path} has an object that is of none of the {len(classes)} classes of VOC.') from None
    certain = {label for label, difficult in found if not difficult}
    return tuple(sorted(certain)), tuple(sorted({label for label, _ in found} - certain))


def domainnet(root: Path, domain: str) -> Layout:
    """A domain of DomainNet, from its two lists beside ``root``; labels and class names are those of the lists."""
    parts, names = {}, {}
    for split in ('train', 'test'):
        parts[split] = []
        for where, words in _lines(root.parent / f'{domain}_{split}.txt'):
            path = words[0].split('/')
            if len(words) != 2 or not words[1].isdecimal() or len(path) != 3 or path[0] != domain:
                raise ConfigError(f'{where}: expected {domain}/<class>/<file>, a space and a label.')
            label = int(words[1])
            if names.setdefault(label, path[1]) != path[1]:
                raise ConfigError(f'{where}: label {label} is {path[1]} here and {names[label]} elsewhere.')
            parts[split].append(Image('/'.join(path[1:]), (label,)))
    if sorted(names) != list(range(len(names))):
        raise ConfigError(f'labels in the lists of {domain} are not 0 to {len(names) - 1}; download them again.')
    return tuple(names[label] for label in sorted(names)), parts


def flowers102(root: Path) -> Layout:
    """Oxford Flowers-102, from its two MATLAB files, which count images and classes from 1."""
    from scipy.io import loadmat

    def load(name, *keys):
        path = root / name
        if not path.is_file():
            raise ConfigError(f'there is no file {path}; {WHERE}')
        try:
            content = loadmat(path)
            return [content[key].ravel().tolist() for key in keys]
        except Exception as error:  # scipy raises what the bytes lead to
            raise ConfigError(f'{path} is not the MATLAB file of Flowers-102 ({error}); download it again.') from None

    (labels,) = load('imagelabels.mat', 'labels')
    official = load('setid.mat', 'trnid', 'valid', 'tstid')
    if max(map(max, official)) > len(labels):
        raise ConfigError(f'setid.mat in {root} lists more images than imagelabels.mat; download both again.')
    parts = {
        split: [Image(f'jpg/image_{number:05d}.jpg', (labels[number - 1] - 1,)) for number in numbers]
        for split, numbers in zip(LABELLED, official, strict=True)
    }
    return tuple(str(number) for number in range(1, max(labels) + 1)), parts


LAYOUTS = {
    one.__name__: one
    for one in (
        class_folders, unlabelled, released_lists, bdd_weather, viper_weather, chexpert, chest_xray_kids, coco, voc,
        domainnet, flowers102,
    )
}  # fmt: skip
