"""Training and validation out of one data set, and two data sets with the same classes in the same order."""

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import ConfigError, some_names
from ...files import sha256
from ..subsets import restrict
from .labelled import Labelled, write_ours

# Roboflow's augmented copies of an image: <name>_jpg.rf.<hash>.jpg.
_COPY = re.compile(r'(.+)\.rf\.[0-9A-Za-z]+\.\w+')


# --- a split ---------------------------------------------------------------------------------------------------------


def split(data: Labelled, out: str | Path, share: float = 0.2, seed: int = 0) -> tuple[Labelled, Labelled]:
    """Divide a data set by image into ``<out>/train.json`` and ``<out>/val.json``.

    Images of the same bytes, and those that Roboflow made of one, stay on one side. Each class is divided by the
    share, the rarest first (Sechidis et al. 2011, iterative stratification), and is on both sides where it has images
    enough. Who comes first is decided by a hash of the seed and the path of an image below the folder of images, so
    that a split is the same on any machine and does not depend on the order of files.

    Args:
        share: of the images that go to validation, between 0 and 1.
        seed: of the draw.

    Raises:
        ConfigError: the share is no share, or there are not two images that differ.
    """
    out = Path(out)
    if not 0 < share < 1:
        raise ConfigError(f'a share of {share} of the images cannot be held out; name one between 0 and 1.')
    content = json.loads(data.annotations.read_bytes())
    names = {image['id']: image['file_name'] for image in content['images']}
    piles, said = _piles(data.images, names)
    if len(piles) < 2:
        raise ConfigError(f'{data.annotations} has {len(piles)} different image, too few to hold one out.')
    of_image = defaultdict(set)
    for one in content['annotations']:
        if not one.get('iscrowd'):
            of_image[one['image_id']].add(one['category_id'])
    piles.sort(key=lambda pile: _draw(seed, min(names[index] for index in pile)))
    labels = [{label for index in pile for label in of_image[index]} for pile in piles]
    held = _deal([len(pile) for pile in piles], labels, share)
    val = {index for pile, is_held in zip(piles, held, strict=True) if is_held for index in pile}
    sides = dict(train=names.keys() - val, val=val)
    files = {out / f'{side}.json': restrict(content, ids) for side, ids in sides.items()}
    write_ours(files)
    said = (
        f'{len(val)} of {len(names)} images are held out for validation, drawn by seed {seed}.',
        *said,
        *_one_sided(content['categories'], of_image, sides),
    )
    return tuple(
        replace(data, annotations=path, number=len(sides[side]), said=said)
        for path, side in zip(files, sides, strict=True)
    )


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f'{seed} {name}'.encode()).hexdigest()


def _piles(folder: Path, names: dict[int, str]) -> tuple[list[list[int]], list[str]]:
    """Images that belong together, and what is said of them."""
    twins, copies = defaultdict(list), defaultdict(list)
    by_size = defaultdict(list)
    for index, name in names.items():
        by_size[os.stat(folder / name).st_size].append(index)
        copy = _COPY.fullmatch(os.path.basename(name))
        if copy:
            copies[copy[1]].append(index)
    for members in by_size.values():
        # A file of a size of its own has no twin, and is not read.
        for index in members if len(members) > 1 else ():
            twins[sha256(folder / names[index])].append(index)
    pile_of = {index: [index] for index in names}
    for members in (*twins.values(), *copies.values()):
        for other in members[1:]:
            mine, theirs = pile_of[members[0]], pile_of[other]
            if mine is not theirs:
                mine += theirs
                pile_of.update(dict.fromkeys(theirs, mine))
    said = []
    for groups, what in ((twins, 'have the bytes of another'), (copies, 'are copies that Roboflow made of one image')):
        many = [index for members in groups.values() if len(members) > 1 for index in members]
        if many:
            first = some_names(names[index] for index in many)
            said.append(f'{len(many)} images {what} and stay on one side with it ({first}).')
    return list({id(pile): pile for pile in pile_of.values()}.values()), said


def _deal(sizes: Sequence[int], labels: Sequence[set], share: float) -> list[bool]:
    """Which piles of images are held out: by label, the rarest first, each to the side that still lacks more of it.

    Args:
        sizes: images in each pile.
        labels: of each pile.
    """
    total, piles_of = Counter(), Counter()
    for size, own in zip(sizes, labels, strict=True):
        total.update(dict.fromkeys(own, size))
        piles_of.update(own)
    wanted = {False: Counter({None: sum(sizes) * (1 - share)}), True: Counter({None: sum(sizes) * share})}
    for label, number in total.items():
        least = 1 if piles_of[label] > 1 else 0
        wanted[True][label] = min(max(number * share, least), number - least)
        wanted[False][label] = number - wanted[True][label]
    side = [None] * len(sizes)

    def give(index: int, label) -> None:
        lacks = [(wanted[held][label], wanted[held][None], held) for held in (False, True)]
        side[index] = held = max(lacks)[2]
        for one in (*labels[index], None):
            wanted[held][one] -= sizes[index]

    while piles_of:
        label = min(piles_of, key=lambda one: (piles_of[one], one))
        for index in [index for index, own in enumerate(labels) if label in own and side[index] is None]:
            give(index, label)
            for one in labels[index]:
                piles_of[one] -= 1
        piles_of = Counter({one: number for one, number in piles_of.items() if number > 0})
    for index in [index for index, own in enumerate(side) if own is None]:
        give(index, None)
    if len(set(side)) == 1:  # one class in a few images
        side[min(range(len(side)), key=lambda index: sizes[index])] = not side[0]
    return side


def _one_sided(categories: list[dict], of_image: dict, sides: dict) -> list[str]:
    there = {side: {label for index in ids for label in of_image[index]} for side, ids in sides.items()}
    said = []
    for side, other in (('train', 'val'), ('val', 'train')):
        alone = [one['name'] for one in categories if one['id'] in there[side] - there[other]]
        if alone:
            said.append(f'{len(alone)} classes have images for {side} alone, too few to divide ({some_names(alone)}).')
    return said


# --- one order of classes --------------------------------------------------------------------------------------------


def same_classes(train: Labelled, val: Labelled, out: str | Path) -> tuple[Labelled, Labelled]:
    """Two data sets with the same classes in the same order: training's, then those that validation alone has.

    Matched by name. A class without an object in either is left out. What has to be written goes to
    ``<out>/train.json`` and ``<out>/val.json``; what is right stays where it is.

    Raises:
        ConfigError: they have no class in common.
    """
    out = Path(out)
    contents = [json.loads(one.annotations.read_bytes()) for one in (train, val)]
    used = [_used(content) for content in contents]
    names = [name for name in dict.fromkeys((*train.classes, *val.classes)) if name in used[0] | used[1]]
    if not used[0] & used[1]:
        raise ConfigError(
            f'{train.annotations} and {val.annotations} have no class in common ({some_names(used[0])}; '
            f'{some_names(used[1])}); name data of the same classes.'
        )
    said = []
    gone = [name for name in dict.fromkeys((*train.classes, *val.classes)) if name not in names]
    if gone:
        said.append(f'{len(gone)} classes without an object on either side are left out ({some_names(gone)}).')
    for mine, other, where in ((0, 1, 'training'), (1, 0, 'validation')):
        alone = used[mine] - used[other]
        if alone:
            said.append(f'{len(alone)} classes have objects in {where} alone ({some_names(alone)}).')
    files, results = {}, []
    for data, content, side in zip((train, val), contents, ('train', 'val'), strict=True):
        if [one['name'] for one in content['categories']] == names:
            results.append(replace(data, said=(*data.said, *said)))
            continue
        path = out / f'{side}.json'
        files[path] = _renumbered(content, names)
        more = (f'The classes of {side} are put into one order with the others ({path}).',)
        results.append(replace(data, annotations=path, classes=tuple(names), said=(*data.said, *said, *more)))
    masks = all(one.has_masks for one in results)
    if not masks and any(one.has_masks for one in results):
        more = f'{"Training" if train.has_masks else "Validation"} alone has outlines, so that boxes alone are used.'
        results = [replace(one, said=(*one.said, more)) for one in results]
    if files:
        write_ours(files)
    return tuple(replace(one, has_masks=masks) for one in results)


def _used(content: dict) -> set[str]:
    names = {one['id']: one['name'] for one in content['categories']}
    return {names[one['category_id']] for one in content['annotations']}


def _renumbered(content: dict, names: list[str]) -> dict:
    old = {one['id']: one for one in content['categories']}
    new = {name: index for index, name in enumerate(names, 1)}
    categories = [dict(id=index, name=name) for name, index in new.items()]
    annotations = [dict(one, category_id=new[old[one['category_id']]['name']]) for one in content['annotations']]
    return content | dict(categories=categories, annotations=annotations)
