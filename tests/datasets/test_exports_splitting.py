"""Splits by image that are the same everywhere, and one order of classes for two data sets."""

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from exports_of_tools import CLASSES, TRUTH, coco, save, write_images
from rethink.datasets import exports
from rethink.errors import ConfigError
from test_exports import assert_same, found
from test_exports_voc import said


def data_set(root: Path, truth: dict, classes=CLASSES, order=1) -> exports.Labelled:
    write_images(root / 'images', truth)
    ids = {name: index for index, name in enumerate(classes[::order], 1)}
    content = coco(truth, ids)
    return exports.read(save(root / 'labels.json', content), root / 'out')


def many(number: int, labels=lambda index: ['cat']) -> dict:
    return {
        f'{index:03d}.jpg': [
            (label, 4 + 3 * place, 4, 20 + 3 * place, 20) for place, label in enumerate(labels(index))
        ]
        for index in range(number)
    }


def names(data: exports.Labelled) -> set[str]:
    return {one['file_name'] for one in json.loads(data.annotations.read_text())['images']}


def test_a_split_is_a_partition_drawn_by_the_seed_alone(tmp_path):
    truth = many(50)
    data = data_set(tmp_path / 'a', truth)
    train, val = exports.split(data, tmp_path / 's')
    assert (train.number, val.number) == (40, 10)
    assert names(train) | names(val) == set(truth)
    assert not names(train) & names(val)
    assert_same(found(train) | found(val), truth)
    assert said(val, '10 of 50 images are held out for validation, drawn by seed 0')
    # Another folder, another order of the file, another process.
    content = json.loads(data.annotations.read_text())
    content['images'].reverse()
    shutil.copytree(tmp_path / 'a' / 'images', tmp_path / 'b' / 'images')
    again = exports.read(save(tmp_path / 'b' / 'labels.json', content), tmp_path / 'b' / 'out')
    assert names(exports.split(again, tmp_path / 't')[1]) == names(val)
    assert names(exports.split(data, tmp_path / 'u', seed=1)[1]) != names(val)
    # By hand: with one class training takes those of the first hashes until both sides lack as many, then by turns.
    ordered = sorted(truth, key=lambda name: hashlib.sha256(f'0 {name}'.encode()).hexdigest())
    assert names(val) == set(ordered[30::2])


def test_what_is_one_image_stays_on_one_side(tmp_path):
    truth = many(40)
    for index in range(6):
        truth[f'p{index}_jpg.rf.{"0123456789abcdef" * 2}.jpg'] = truth[f'p{index}_jpg.rf.{"ab" * 16}.jpg'] = TRUTH[
            'img_00.jpg'
        ]
    write_images(tmp_path / 'images', truth)
    for index in range(0, 20, 2):
        shutil.copy(tmp_path / 'images' / f'{index:03d}.jpg', tmp_path / 'images' / f'{index + 1:03d}.jpg')
    path = save(tmp_path / 'labels.json', coco(truth, dict(cat=1, dog=2)))
    data = exports.read(path, tmp_path / 'out')
    for seed in range(5):
        train, val = exports.split(data, tmp_path / str(seed), 0.5, seed)
        held = names(val)
        assert abs(len(held) - 26) <= 1
        for index in range(0, 20, 2):
            assert (f'{index:03d}.jpg' in held) == (f'{index + 1:03d}.jpg' in held)
        assert all(number == 2 for number in Counter(name[:2] for name in held if name[0] == 'p').values())
    assert said(train, '20 images have the bytes of another')
    assert said(train, '12 images are copies that Roboflow made')


@pytest.mark.parametrize('seed', range(4))
def test_each_class_is_on_both_sides_where_it_can_be(seed, tmp_path):
    rare = {3: 'two', 30: 'two', 7: 'one', **{index: 'ten' for index in range(40, 60, 2)}}
    truth = many(60, lambda index: ['cat', rare[index]] if index in rare else ['cat'] if index % 3 else [])
    data = data_set(tmp_path, truth, ('cat', 'ten', 'two', 'one'))
    sides = exports.split(data, tmp_path / 's', seed=seed)
    images = [
        Counter(label for objects in found(side).values() for label in {one[0] for one in objects}) for side in sides
    ]
    assert [one['two'] for one in images] == [1, 1]
    assert [one['ten'] for one in images] == [8, 2]
    assert abs(images[1]['cat'] - 0.2 * (images[0]['cat'] + images[1]['cat'])) <= 1.5
    assert abs(sides[1].number - 12) <= 1
    assert said(sides[0], '1 classes have images for').endswith("alone, too few to divide ('one').")


def test_too_little_to_divide(tmp_path):
    with pytest.raises(ConfigError, match='has 1 different image, too few'):
        exports.split(data_set(tmp_path / 'a', many(1)), tmp_path / 's')
    train, val = exports.split(data_set(tmp_path / 'b', many(2)), tmp_path / 's')
    assert (train.number, val.number) == (1, 1)
    for share in (0, 1, -0.1):
        with pytest.raises(ConfigError, match='cannot be held out; name one between 0 and 1'):
            exports.split(train, tmp_path / 's', share)


def test_classes_are_matched_by_name_into_one_order(tmp_path):
    train = data_set(tmp_path / 'a', many(4, lambda index: ['cat', 'dog']), ('cat', 'dog', 'none'))
    val = data_set(tmp_path / 'b', many(4, lambda index: ['dog', 'cat', 'fox']), ('cat', 'dog', 'fox'), order=-1)
    assert val.classes == ('fox', 'dog', 'cat')
    before = [found(train), found(val)]
    one, other = exports.same_classes(train, val, tmp_path / 'same')
    assert one.classes == other.classes == ('cat', 'dog', 'fox')
    assert [found(one), found(other)] == before
    for data in (one, other):
        content = json.loads(data.annotations.read_text())
        assert [(it['id'], it['name']) for it in content['categories']] == [(1, 'cat'), (2, 'dog'), (3, 'fox')]
        assert said(data, '1 classes without an object on either side are left out').endswith("('none').")
        assert said(data, '1 classes have objects in validation alone').endswith("('fox').")
    # Now they are right, and stay.
    assert [data.annotations for data in exports.same_classes(one, other, tmp_path / 'x')] == [
        one.annotations,
        other.annotations,
    ]
    assert not (tmp_path / 'x').exists()
    with pytest.raises(ConfigError, match="have no class in common .'cat', 'dog'; 'bird'"):
        exports.same_classes(
            train, data_set(tmp_path / 'c', many(3, lambda index: ['bird']), ('bird',)), tmp_path / 'x'
        )


def test_masks_on_one_side_are_no_masks(tmp_path):
    train = data_set(tmp_path / 'a', many(4), ('cat',))
    val = replace(data_set(tmp_path / 'b', many(4), ('cat',)), has_masks=True)
    both = exports.same_classes(train, val, tmp_path / 'x')
    assert not any(data.has_masks for data in both)
    assert said(both[0], 'Validation alone has outlines')
