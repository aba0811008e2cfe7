"""Source and target of study B's miniature: a mix and a sensor of its own, whose materials tell the classes apart."""

import hashlib
from dataclasses import asdict

import cv2
import numpy as np
import pytest
from rethink.datasets import shapes, shapes_domains

SOURCE = shapes_domains.SourceCrops(train=10, val=5)
TARGET = shapes_domains.TargetCrops(train=10, val=5)
SCENES = shapes_domains.TargetScenes(train=4, val=2)


def test_the_other_data_sets_are_what_they_were():
    """Digests of pixels and labels as they were before there were domains."""
    scene, objects = shapes.draw_scene(shapes.DetectionSpec(), 'train', 5)
    crop, _ = shapes.draw_crop(shapes.ClassificationSpec(), 'train', 5)
    digests = [hashlib.md5(image.tobytes()).hexdigest() for image in (scene, crop)]
    assert digests == ['99393efb87b8e80800e7cfed15037699', '3075765e87a929f6f3c802c12f650987']
    assert set(asdict(shapes.ClassificationSpec())) == {'train', 'val', 'size', 'difficulty', 'seed'}
    assert len(objects) > 0


def test_all_three_are_written_once_with_the_same_bytes(tmp_path):
    for folder in ('a', 'b'):
        shapes_domains.write_domains(tmp_path / folder, SOURCE, TARGET, SCENES, progress=False)
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob('*.*')}
        for name in 'ab'
    ]
    assert files[0] == files[1]
    assert len([path for path in files[0] if path.suffix == '.jpg']) == 10 + 5 + 10 + 5 + 4 + 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'a').rglob('*')}
    shapes_domains.write_domains(tmp_path / 'a', SOURCE, TARGET, SCENES, progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / 'a').rglob('*')}
    with pytest.raises(FileExistsError, match='other extent, kind, seed'):
        shapes.write_classification(tmp_path / 'a' / 'source', shapes.ClassificationSpec(train=10, val=5))


def test_the_target_is_grey_and_the_source_is_not():
    for index in range(5):
        for image in (shapes.draw_crop(TARGET, 'train', index)[0], shapes.draw_scene(SCENES, 'train', index)[0]):
            assert np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2])
    spread = [np.ptp(shapes.draw_crop(SOURCE, 'train', index)[0].astype(int), axis=2).mean() for index in range(20)]
    assert np.mean(spread) > 10


def test_the_source_is_a_mix_of_looks():
    """One picture under many draws: some of them darker, some brighter, one its own negative."""
    image = shapes.draw_crop(shapes.ClassificationSpec(), 'train', 1)[0]
    looks = [shapes_domains.source_look(image, np.random.default_rng(seed)) for seed in range(40)]
    assert any(np.array_equal(look, image) for look in looks)
    assert any(np.abs(look.astype(int) - (255 - image.astype(int))).max() <= 1 for look in looks)
    assert any(look.std() < 0.7 * image.std() for look in looks)
    assert any(look.mean() < 0.8 * image.mean() for look in looks)


def test_materials_differ_by_class_and_little_within_one():
    def directions(label):
        return [shapes_domains.target_material(label, np.random.default_rng(seed)) for seed in range(20)]

    drawn = [directions(label) for label in range(len(shapes.CLASSES))]
    assert [{one.kind for one in of_class} for of_class in drawn] == [{1}, {1}, {1}, {2}, {0}]
    # Across and along: bars of the first two classes are never closer than 50 degrees.
    angles = [[one.angle for one in of_class] for of_class in drawn]
    assert min(angles[1]) - max(angles[0]) > np.radians(49)
    # Bars of the third class are wider than any of the first.
    assert min(one.period for one in drawn[2]) > max(one.period for one in drawn[0])


def test_bars_have_the_direction_and_the_period_of_their_material():
    """By the strongest frequency of an object of bars on a plain background."""
    for angle, period in ((0.0, 6.0), (np.pi / 2, 6.0), (0.0, 12.0)):
        texture = shapes._texture(
            np.random.default_rng(0), 144, 1.0, np.array([[0.2] * 3, [0.8] * 3]), shapes.Material(1, angle, period)
        )
        grey = cv2.resize(texture[..., 0], (72, 72), interpolation=cv2.INTER_AREA)
        power = np.abs(np.fft.rfft2(grey - grey.mean()))
        row, column = np.unravel_index(power[:36].argmax(), power[:36].shape)
        assert (row, column) == ((round(72 / period), 0) if angle else (0, round(72 / period)))
