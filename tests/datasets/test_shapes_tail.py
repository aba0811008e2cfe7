"""The long tail of study C's miniature: what is rare in the training scenes is neither in validation nor in crops."""

import json
from collections import Counter
from functools import partial

import numpy as np
import pytest
from rethink.datasets import shapes, shapes_tail

SCENES = shapes_tail.TailScenes(train=4, val=2)
CROPS = shapes_tail.TailCrops(train=20, val=10)


def counts(spec: shapes_tail.TailScenes, split: str, scenes: int) -> list[int]:
    """Of objects of each class in a data set of so many scenes."""
    found = Counter()
    for index in range(scenes):
        found.update(one['category_id'] for one in shapes.draw_scene(spec, split, index)[1])
    return [found[number] for number in range(1, len(shapes_tail.CLASSES) + 1)]


def test_every_outline_is_a_class():
    assert sorted(shapes_tail.CLASSES) == sorted(shapes.OUTLINES)
    assert shapes.OUTLINES[: len(shapes.CLASSES)] == shapes.CLASSES


def test_training_has_a_tail_and_validation_has_none():
    spec = shapes_tail.TailScenes()
    train, val = (
        np.bincount([spec.label(split, np.random.default_rng(seed)) for seed in range(4000)], minlength=10) / 4000
        for split in ('train', 'val')
    )
    weights = 0.72 ** np.arange(10)
    # Four standard errors.
    assert np.abs(train - weights / weights.sum()).max() < 4 * (0.25 / 4000) ** 0.5
    assert np.abs(val - 0.1).max() < 4 * (0.09 / 4000) ** 0.5
    objects = counts(spec, 'train', 40)
    assert objects[0] > 5 * objects[8]


def test_both_are_written_once_with_the_same_bytes(tmp_path):
    for folder in 'ab':
        shapes_tail.write_tail(tmp_path / folder, SCENES, CROPS, progress=False)
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob('*.*')}
        for name in 'ab'
    ]
    assert files[0] == files[1]
    assert len([path for path in files[0] if path.suffix == '.jpg']) == 4 + 2 + 20 + 10
    for split in ('train', 'val'):
        content = json.loads((tmp_path / 'a' / f'tail_detection/annotations/instances_{split}2017.json').read_text())
        assert [one['name'] for one in content['categories']] == list(shapes_tail.CLASSES)
        folders = list((tmp_path / 'a' / 'tail_classification' / split).iterdir())
        assert sorted(folder.name for folder in folders) == sorted(shapes_tail.CLASSES)
        assert {len(list(folder.iterdir())) for folder in folders} == {2 if split == 'train' else 1}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'a').rglob('*')}
    shapes_tail.write_tail(tmp_path / 'a', SCENES, CROPS, progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / 'a').rglob('*')}
    with pytest.raises(FileExistsError, match='other decay'):
        shapes_tail.write_tail(tmp_path / 'a', shapes_tail.TailScenes(train=4, val=2, decay=0.9), CROPS)


def test_the_tool_writes_both(monkeypatch, run_in_process, tmp_path):
    for name, small in (('TailScenes', SCENES), ('TailCrops', CROPS)):
        monkeypatch.setattr(shapes_tail, name, partial(getattr(shapes_tail, name), train=small.train, val=small.val))
    code, printed = run_in_process('dataset_converters/make_shapes.py', tmp_path, '--tail')
    assert not code, printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ['tail_classification', 'tail_detection']
    assert len(list(tmp_path.rglob('*.jpg'))) == 4 + 2 + 20 + 10


def test_crops_have_the_colours_of_scenes():
    """Those of the other crops are muted."""

    def saturation(spec):
        images = [shapes.draw_crop(spec, 'train', index)[0].astype(int) for index in range(30)]
        return np.mean([np.ptp(image.mean((0, 1))) for image in images])

    assert saturation(shapes_tail.TailCrops()) > 2 * saturation(shapes.ClassificationSpec())


@pytest.mark.parametrize('decay', [0, -0.5, 1.1])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match='must be above 0 and at most 1'):
        shapes_tail.TailScenes(decay=decay)
