"""Budgets of labels: so many images of each class, the same for a seed, each budget within the next."""

import random
from collections import Counter
from pathlib import Path

import pytest
from mmpretrain.registry import DATASETS

SIZES = dict(zip(range(4), (1, 3, 20, 40), strict=True))


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    """A list of images of four classes of different sizes, in no order of classes."""
    folder = tmp_path_factory.mktemp('list')
    lines = [f'{label}/{index}.jpg {label}' for label, size in SIZES.items() for index in range(size)]
    random.Random(0).shuffle(lines)
    (folder / 'train.txt').write_text('\n'.join(lines))
    return folder


def build(root: Path, **more):
    return DATASETS.build(
        dict(type='mmpretrain.FewLabelsDataset', data_root=str(root), ann_file='train.txt', pipeline=[], **more)
    )


def drawn(root: Path, **more) -> list[tuple[str, int]]:
    # MMEngine's full_init collects garbage, which takes a second.
    infos = build(root, lazy_init=True, **more).load_data_list()
    return [(info['img_path'], info['gt_label']) for info in infos]


@pytest.mark.parametrize('per_class', [1, 2, 16, 64])
def test_each_class_has_its_number_or_all_it_has(root, per_class):
    found = drawn(root, per_class=per_class)
    assert Counter(label for _, label in found) == {label: min(size, per_class) for label, size in SIZES.items()}
    assert len(set(found)) == len(found)
    assert all(Path(path).parent.name == str(label) for path, label in found)


def test_the_data_set_is_what_was_drawn(root):
    dataset = build(root, per_class=2)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [(info['img_path'], info['gt_label']) for info in infos] == drawn(root, per_class=2)


def test_budgets_are_nested_and_in_the_order_of_the_list(root):
    budgets = [drawn(root, per_class=number) for number in (1, 2, 4, 8, 16, 32, 64)]
    for smaller, larger in zip(budgets, budgets[1:], strict=False):
        assert set(smaller) < set(larger)
    everything = budgets[-1]
    assert all(budget == [one for one in everything if one in set(budget)] for budget in budgets)


def test_a_seed_draws_the_same_and_another_one_others(root):
    assert drawn(root, per_class=4) == drawn(root, per_class=4, seed=0)
    others = {tuple(drawn(root, per_class=4, seed=seed)) for seed in range(5)}
    assert len(others) == 5
    # Over many seeds each of the 40 images of the largest class comes as often as another: 200 * 4 / 40 = 20 times.
    number = Counter(path for seed in range(200) for path, label in drawn(root, per_class=4, seed=seed) if label == 3)
    assert len(number) == 40 and min(number.values()) > 5 and max(number.values()) < 40


@pytest.mark.parametrize('wrong', [dict(per_class=0), dict(per_class='4'), dict(per_class=1, with_label=False)])
def test_what_cannot_be_drawn_is_refused(root, wrong):
    with pytest.raises(ValueError, match='FewLabelsDataset'):
        drawn(root, **wrong)
