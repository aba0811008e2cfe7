"""Splits of a classification data set: drawn, written, read and checked.

A data set of study B has, in ``<data_root>/splits``, the files that configs/_base_/datasets/hpt_single_label.py and
hpt_multi_label.py describe. :func:`make` writes them from a download in its official layout
(:mod:`rethink.datasets.layouts`); :func:`check` says whether images and files are what a config expects.

All draws are seeded and do not depend on the order of files on disk. Images of one group (a patient, a scene) are
never in two splits.
"""

import contextlib
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ..errors import ConfigError, some_names
from ..files import exclusively, write_atomically
from ..reuse import tool
from ..trust.soundness import check_kind
from .image_statistics import scan
from .layouts import LABELLED, LAYOUTS, WHERE, Image

# --- drawing ---------------------------------------------------------------------------------------------------------


def deal(images: Sequence[Image], shares: Sequence[float], rng: np.random.Generator) -> list[list[Image]]:
    """Deal images into as many parts as there are shares.

    Whole groups, where images have one; otherwise each class by itself, so that the parts have the same mixture; with
    several labels for an image, all images at once.

    Args:
        shares: positive, of sum 1.

    Raises:
        ConfigError: the shares are not that.
    """
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f'shares {tuple(shares)} of the images must be positive and add up to 1.')
    images = sorted(images, key=lambda image: image.path)
    if any(image.group for image in images):
        piles = defaultdict(list)
        for image in images:
            piles[image.group or image.path].append(image)
        piles = list(piles.values())
        order = rng.permutation(len(piles))
        return _deal([piles[index] for index in order], shares)
    strata = defaultdict(list)
    for image in images:
        strata[image.positive if image.positive is None or len(image.positive) == 1 else ()].append([image])
    if () in strata:
        strata = {(): [[image] for image in images]}
    parts = [[] for _ in shares]
    for key in sorted(strata, key=str):
        order = rng.permutation(len(strata[key]))
        for part, more in zip(parts, _deal([strata[key][index] for index in order], shares), strict=True):
            part += more
    return parts


def _deal(piles, shares):
    """Deal shuffled piles of images in order; a part ends with the pile that fills its share."""
    total = sum(map(len, piles))
    ends = [round(total * share) for share in np.cumsum(shares)]
    parts, dealt = [[] for _ in shares], 0
    for pile in piles:
        part = next(index for index, end in enumerate(ends) if dealt < end)
        parts[part] += pile
        dealt += len(pile)
    return parts


def draw_labels(train: Sequence[Image], classes: Sequence[str], number: int, seed: int) -> list[Image]:
    """Draw labelled images at random with every class among them (HPT, semi-supervised evaluation).

    One random order decides: first, from the rarest class on, the first image of each class that is not there yet,
    then the first of all others. So a smaller draw of the same seed lies within a larger one.

    Args:
        train: with labels; an image counts for the classes that it is positive for.
        number: of images.

    Returns:
        the images, in the order of ``train``.

    Raises:
        ConfigError: there are too few images or a class has none, or ``number`` is too small for all classes.
    """
    if number > len(train):
        raise ConfigError(
            f'{number} labels cannot be drawn from {len(train)} training images; ask for fewer with --labels N, or '
            'for none with --labels alone.'
        )
    order = np.random.default_rng([seed, 1]).permutation(len(train))
    having = defaultdict(list)
    for index in order:
        for label in train[index].positive:
            having[label].append(index)
    absent = [name for label, name in enumerate(classes) if not having[label]]
    if absent:
        raise ConfigError(
            f'{len(absent)} of {len(classes)} classes have no training image ({some_names(absent)}), so no labels can '
            'be drawn that hold every class; complete the download.'
        )
    chosen = set()
    for label in sorted(range(len(classes)), key=lambda label: (len(having[label]), label)):
        if chosen.isdisjoint(having[label]):
            chosen.add(having[label][0])
    if len(chosen) > number:
        raise ConfigError(
            f'{number} labels cannot hold each of {len(classes)} classes: {len(chosen)} images are needed; '
            'ask for more with --labels N.'
        )
    chosen.update([index for index in order if index not in chosen][: number - len(chosen)])
    return [train[index] for index in sorted(chosen)]


# --- what a config says ----------------------------------------------------------------------------------------------


def facts(cfg: Mapping, root: str | os.PathLike | None = None) -> SimpleNamespace:
    """What a config of a data set, or one that inherits from it, says of the data set.

    Args:
        root: folder of the data set, in place of ``data_root``.

    Returns:
        root, layout, num_classes, multi_label, num_images, mean and std; lists of three values from 0 to 255, R, G, B.

    Raises:
        ConfigError: the config lacks one of them.
    """
    absent = [key for key in _FACTS if key not in cfg]
    if absent:
        raise ConfigError(
            f'the config does not say {", ".join(absent)}; name one like configs/_base_/datasets/hpt_resisc45.py.'
        )
    return SimpleNamespace(root=Path(root or cfg['data_root']), **{key: cfg[key] for key in _FACTS[1:]})


_FACTS = ('data_root', 'layout', 'num_classes', 'multi_label', 'num_images', 'mean', 'std')


# --- writing ---------------------------------------------------------------------------------------------------------


def make(
    root: str | os.PathLike,
    layout: dict,
    num_classes: int,
    multi_label: bool,
    seed: int = 0,
    labels: Iterable[int] = (1000,),
    corrupt: str | None = None,
    workers: int = 1,
    progress: bool = True,
) -> dict:
    """Write the splits of a downloaded data set into ``<root>/splits``, all of them or none.

    Splits that were made with the same arguments are left as they are.

    Args:
        root: folder of the data set.
        layout: what the config says: ``type``, a function of :mod:`rethink.datasets.layouts`, its arguments, and
            ``shares`` (train, val, test) of what has no official split or ``val``, the share of the training images
            that is held out for validation.
        num_classes: that there must be.
        multi_label: write JSON with several labels for each image, not lists with one.
        seed: of all draws.
        labels: numbers of images of the small training sets.
        corrupt: decode every image and ``'refuse'`` or ``'skip'`` those that cannot be; None does not look into them.
        workers, progress: of the decoding.

    Returns:
        what ``splits.json`` holds: the arguments, the number of images in each file, and the images left out.

    Raises:
        ConfigError: something is missing, does not fit, or there are splits made otherwise.
    """
    root, labels = Path(root), sorted(set(labels))
    # Of a folder that is not there, the layout has more to say.
    with exclusively(root) if root.is_dir() else contextlib.nullcontext():
        return _make(root, layout, num_classes, multi_label, seed, labels, corrupt, workers, progress)


def _make(root, layout, num_classes, multi_label, seed, labels, corrupt, workers, progress):
    wanted = json.loads(json.dumps(dict(layout=layout, seed=seed, labels=labels, corrupt=corrupt)))
    folder = root / 'splits'
    if folder.exists():
        receipt = read_receipt(root)
        if {key: receipt.get(key) for key in wanted} == wanted:
            return receipt
        raise ConfigError(f'{folder} was made with other arguments (see splits.json there); delete it to draw again.')
    arguments = {key: value for key, value in layout.items() if key not in ('type', 'shares', 'val')}
    if layout['type'] not in LAYOUTS:
        raise ConfigError(f'layout.type is {layout["type"]!r}; the layouts are {", ".join(LAYOUTS)}.')
    classes, parts = LAYOUTS[layout['type']](root, **arguments)
    if len(classes) != num_classes:
        raise ConfigError(
            f'{root} has {len(classes)} classes ({some_names(classes) or "no folder of one"}) and not the '
            f'{num_classes} of the config; complete the download or correct num_classes; images without labels have '
            "layout = dict(type='unlabelled', images=FOLDER) and num_classes = 0."
        )
    images = [image for part in parts.values() for image in part]
    if not images:
        raise ConfigError(f'{root} has no image; {WHERE}')
    twice = [path for path, number in Counter(image.path for image in images).items() if number > 1]
    if twice:
        raise ConfigError(f'{len(twice)} images are listed more than once ({some_names(twice)}); {WHERE}')
    missing = find_missing(root, [image.path for image in images])
    if missing:
        raise ConfigError(
            f'{root} lacks {len(missing)} of {len(images)} images ({some_names(missing)}); complete the download.'
        )
    skipped = []
    if corrupt:
        state = root / '.splits.scan'
        paths = sorted(image.path for image in images)
        skipped = scan(root, paths, corrupt, workers, state=state, progress=progress).corrupt
        parts = {name: [image for image in part if image.path not in set(skipped)] for name, part in parts.items()}

    parts = _divide(parts, layout, np.random.default_rng([seed, 0]))
    for number in labels if classes else ():
        parts[f'train_{number}'] = draw_labels(parts['train'], classes, number, seed)
    _refuse_leaks(parts)
    shuffled = np.random.default_rng([seed, 2]).permutation(len(parts['unlabelled']))
    parts['unlabelled'] = [parts['unlabelled'][index] for index in shuffled]
    receipt = dict(**wanted, images={name: len(part) for name, part in parts.items()}, skipped=skipped)
    _write(folder, classes, parts, multi_label, receipt)
    return receipt


def _divide(parts, layout, rng):
    """Splits from what a layout has found: train, val, test and unlabelled, each sorted by path."""
    parts = dict(parts)
    unlabelled = parts.pop('unlabelled', [])
    if not parts:  # nothing has labels
        return dict(unlabelled=sorted(unlabelled, key=lambda image: image.path))
    if 'all' in parts:
        parts = dict(zip(LABELLED, deal(parts['all'], layout['shares'], rng), strict=True))
    elif 'val' not in parts:
        parts['train'], parts['val'] = deal(parts['train'], (1 - layout['val'], layout['val']), rng)
    for name in LABELLED:
        if not parts[name]:
            raise ConfigError(f'the {name} split would be empty; complete the download.')
    parts['unlabelled'] = parts['train'] + parts['val'] + unlabelled
    return {name: sorted(part, key=lambda image: image.path) for name, part in parts.items()}


def _refuse_leaks(parts):
    pairs = (('train', 'val'), ('train', 'test'), ('val', 'test'), ('unlabelled', 'test'))
    for one, other in pairs if 'test' in parts else ():
        for what in ('path', 'group'):
            both = {getattr(image, what) for image in parts[one]} & {getattr(image, what) for image in parts[other]}
            both.discard('')
            if both:
                what = 'images' if what == 'path' else 'groups (patients, scenes)'
                raise ConfigError(f'{len(both)} {what} would be in both {one} and {other} ({some_names(both)}).')


def _write(folder, classes, parts, multi_label, receipt):
    # Under another name until it is whole.
    part = folder.with_name('splits.part')
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name, images in parts.items():
        if name == 'unlabelled':
            _write_lines(part / 'unlabelled.txt', [image.path for image in images])
        elif multi_label:
            data_list = [_entry(image) for image in images]
            content = json.dumps(dict(metainfo=dict(classes=list(classes)), data_list=data_list), ensure_ascii=False)
            write_atomically(part / f'{name}.json', content.encode())
        else:
            _write_lines(part / f'{name}.txt', [f'{image.path} {image.positive[0]}' for image in images])
    _write_lines(part / 'classes.txt', classes)
    write_atomically(part / 'splits.json', json.dumps(receipt, indent=1, ensure_ascii=False).encode())
    os.rename(part, folder)


def _write_lines(path, lines):
    write_atomically(path, '\n'.join([*lines, '']).encode())


def _entry(image):
    entry = dict(img_path=image.path, gt_label=image.positive)
    return entry | {name: value for name in ('uncertain', 'missing') if (value := getattr(image, name))}


# --- reading and checking --------------------------------------------------------------------------------------------


def _read(path: Path) -> str:
    check_kind(path, 'the annotation file')
    try:
        return path.read_text(encoding='utf-8')
    except FileNotFoundError:
        raise ConfigError(
            f'there is no {path}; write it with `{tool("dataset_converters/make_splits.py")} CONFIG`.'
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f'{path} is not UTF-8 text; delete the folder and write it again.') from None


def read_receipt(root: str | os.PathLike) -> dict:
    """``splits.json`` of a data set: how its splits were made.

    Raises:
        ConfigError: there is none, or it is not JSON.
    """
    path = Path(root) / 'splits' / 'splits.json'
    try:
        return json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f'{path} is not JSON ({error}); delete the folder and write it again.') from None


def read_unlabelled(root: str | os.PathLike) -> list[str]:
    """Paths in ``unlabelled.txt``, relative to ``root``.

    Raises:
        ConfigError: there is no such file.
    """
    return [line for line in _read(Path(root) / 'splits' / 'unlabelled.txt').split('\n') if line]


def read(root: str | os.PathLike, name: str, num_classes: int, multi_label: bool) -> list[Image]:
    """The images of a labelled split.

    Raises:
        ConfigError: there is no such file, or a line or an entry is not what it should be.
    """
    path = Path(root) / 'splits' / f'{name}.{"json" if multi_label else "txt"}'
    text = _read(path)
    images = []
    if multi_label:
        try:
            for entry in json.loads(text)['data_list']:
                images.append(Image(entry['img_path'], *(tuple(entry.get(key, ())) for key in _KEYS)))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ConfigError(f'{path} is not in the format of MMPretrain ({error!r}); write it again.') from None
    else:
        for number, line in enumerate(text.splitlines(), 1):
            image, _, label = line.rpartition(' ')
            if not image or not label.isdecimal():
                raise ConfigError(f'{path}:{number}: {line!r} is not a path, a space and a label; write it again.')
            images.append(Image(image, (int(label),)))
    for image in images:
        for label in (*image.positive, *image.uncertain, *image.missing):
            if not 0 <= label < num_classes:
                raise ConfigError(f'{path} gives {image.path} the class {label}, of {num_classes} counted from 0.')
    return images


_KEYS = ('gt_label', 'uncertain', 'missing')


def find_missing(root: str | os.PathLike, paths: Iterable[str]) -> list[str]:
    """Those of the paths at which there is no file; each folder is listed once."""
    by_folder = defaultdict(list)
    for path in paths:
        by_folder[os.path.dirname(path)].append(path)
    missing = []
    for folder, members in by_folder.items():
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                there = {entry.name for entry in entries if entry.is_file()}
        except OSError:
            there = set()
        missing += [path for path in members if os.path.basename(path) not in there]
    return missing


def check(
    root: str | os.PathLike,
    num_classes: int,
    multi_label: bool,
    num_images: int | None = None,
    decode: bool = False,
    workers: int = 1,
    progress: bool = True,
) -> tuple[list[str], list[str]]:
    """Whether images and splits are what a config expects.

    Args:
        root: folder of the data set.
        num_images: of the whole download; None where no official source gives it.
        decode: also decode every image.
        workers, progress: of the decoding.

    Returns:
        a description, a line for each split, and what is wrong, a sentence each.

    Raises:
        ConfigError: a file of the splits is missing or cannot be read.
    """
    receipt = read_receipt(root)
    names = [name for name in receipt['images'] if name != 'unlabelled']
    parts = {name: read(root, name, num_classes, multi_label) for name in names}
    paths = {name: [image.path for image in images] for name, images in parts.items()}
    paths['unlabelled'] = read_unlabelled(root)
    lines, wrong = [], []

    def expect(good, sentence):
        if not good:
            wrong.append(sentence)

    classes = _read(Path(root) / 'splits' / 'classes.txt').splitlines()
    expect(len(classes) == num_classes, f'classes.txt names {len(classes)} classes and the config has {num_classes}.')
    for name, images in parts.items():
        count = Counter(label for image in images for label in image.positive)
        least = min(count.get(label, 0) for label in range(num_classes))
        lines.append(f'{name:12}{len(images):9,} images, {len(count)} classes, the rarest in {least:,} of them')
        absent = [classes[label] for label in range(min(num_classes, len(classes))) if not count[label]]
        if name.startswith('train'):
            expect(not absent, f'{name} has no image of {len(absent)} classes ({some_names(absent)}).')
    lines.append(f'{"unlabelled":12}{len(paths["unlabelled"]):9,} images')
    for name, members in paths.items():
        twice = [path for path, number in Counter(members).items() if number > 1]
        expect(not twice, f'{name} lists {len(twice)} images more than once ({some_names(twice)}).')
        expect(members, f'{name} lists no image.')
        number = receipt['images'].get(name)
        expect(len(members) == number, f'{name} lists {len(members)} images and splits.json says {number}.')
    sets = {name: set(members) for name, members in paths.items()}
    sets = defaultdict(set, sets)  # of images without labels there is one list
    for one, other in (('train', 'val'), ('train', 'test'), ('val', 'test'), ('unlabelled', 'test')):
        both = sorted(sets[one] & sets[other])
        expect(not both, f'{len(both)} images are in both {one} and {other} ({some_names(both)}).')
    for name in names:
        if name not in LABELLED:
            expect(sets[name] <= sets['train'], f'{name} has images that are not in train.')
    lost = (sets['train'] | sets['val']) - sets['unlabelled']
    expect(not lost, f'{len(lost)} images of train and val are not in unlabelled.')
    everything = sorted(set().union(*sets.values()))
    missing = find_missing(root, everything)
    expect(not missing, f'{len(missing)} listed images are not there ({some_names(missing)}); complete the download.')
    listed = len(everything) + len(receipt['skipped'])
    if num_images is not None:
        lines.append(f'{"in all":12}{listed:9,} images, {len(receipt["skipped"])} of them left out as corrupt')
        expect(listed == num_images, f'there are {listed:,} images and the whole data set has {num_images:,}.')
    if decode and not missing:
        found = scan(root, everything, 'skip', workers, state=Path(root) / '.splits.scan', progress=progress).corrupt
        expect(
            not found,
            f'{len(found)} images cannot be decoded ({some_names(found)}); replace them, or draw without them.',
        )
    return lines, wrong
