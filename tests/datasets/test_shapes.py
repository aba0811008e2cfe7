"""The generated data sets: deterministic, real COCO and ImageNet layouts, annotations that fit what is drawn."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from rethink.datasets import shapes
from shapely.geometry import Polygon

SMALL = shapes.DetectionSpec(train=12, val=4, size=96, crowd=0.3)
CROPS = shapes.ClassificationSpec(train=20, val=10, size=32)


@pytest.fixture(scope='module')
def detection(tmp_path_factory):
    root = tmp_path_factory.mktemp('detection')
    assert shapes.write_detection(root, SMALL, progress=False)
    return root


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob('*') if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes(detection, tmp_path):
    shapes.write_detection(tmp_path, SMALL, progress=False)
    assert digest(tmp_path) == digest(detection)


def test_another_seed_draws_other_images():
    one, _ = shapes.draw_scene(SMALL, 'train', 0)
    other, _ = shapes.draw_scene(shapes.DetectionSpec(size=96, seed=1), 'train', 0)
    val, _ = shapes.draw_scene(SMALL, 'val', 0)
    assert (one != other).mean() > 0.5
    assert (one != val).mean() > 0.5


def test_a_larger_data_set_begins_with_the_smaller_one(detection, tmp_path):
    larger = shapes.DetectionSpec(train=13, val=4, size=96, crowd=0.3)
    shapes.write_detection(tmp_path, larger, progress=False)
    images = {name: value for name, value in digest(detection).items() if name.endswith('.jpg')}
    assert images.items() < digest(tmp_path).items()


def test_pycocotools_reads_it_and_masks_agree_with_polygons(detection):
    for split, number in (('train', 12), ('val', 4)):
        coco = COCO(detection / 'annotations' / f'instances_{split}2017.json')
        assert [one['name'] for one in coco.loadCats(coco.getCatIds())] == list(shapes.CLASSES)
        assert len(coco.imgs) == number
        for image in coco.imgs.values():
            pixels = cv2.imread(str(detection / f'{split}2017' / image['file_name']))
            assert pixels.shape == (image['height'], image['width'], 3)
        crowds = 0
        for one in coco.anns.values():
            mask = coco.annToMask(one)
            # The rasterised mask and the exact geometry differ by less than half a pixel along the outline.
            outline = 8 * np.sqrt(one['area']) + 8
            assert abs(mask.sum() - one['area']) < 0.5 * outline
            x, y, width, height = one['bbox']
            assert x >= 0 and y >= 0 and x + width <= 96.01 and y + height <= 96.01
            rows, columns = np.nonzero(mask)
            assert x - 1 <= columns.min() and columns.max() + 1 <= x + width + 1
            assert y - 1 <= rows.min() and rows.max() + 1 <= y + height + 1
            crowds += one['iscrowd']
            assert isinstance(one['segmentation'], dict if one['iscrowd'] else list)
        assert split == 'val' or crowds > 0


def test_objects_do_not_share_pixels_but_for_holes():
    """Front objects hide what is behind: two visible polygons overlap only where one runs around the other."""
    spec = shapes.DetectionSpec(objects=(5, 8), crowd=0)
    for index in range(20):
        _, annotations = shapes.draw_scene(spec, 'train', index)
        geometry = [
            [Polygon(np.reshape(part, (-1, 2))).buffer(0) for part in one['segmentation']] for one in annotations
        ]
        for i, one in enumerate(geometry):
            for other in geometry[i + 1 :]:
                for a in one:
                    for b in other:
                        assert a.intersection(b).area < 1 or a.buffer(0.1).contains(b) or b.buffer(0.1).contains(a)


def test_the_annotated_outline_is_where_the_object_is_drawn():
    """On a plain scene with one object, pixels far from the background's colour are those of the mask."""
    spec = shapes.DetectionSpec(objects=(1, 1), scale=(0.4, 0.4), difficulty=0, crowd=0, size=128)
    scores = []
    for index in range(30):
        image, (one,) = shapes.draw_scene(spec, 'train', index)
        mask = np.zeros((128, 128), np.uint8)
        for part in one['segmentation']:
            cv2.fillPoly(mask, [np.reshape(part, (-1, 2)).round().astype(np.int32)], 1)
        border = cv2.dilate(mask, np.ones((5, 5))) - cv2.erode(mask, np.ones((5, 5)))
        inside, outside = (mask == 1) & (border == 0), (mask == 0) & (border == 0)
        difference = np.abs(image[inside].astype(float).mean(0) - image[outside].astype(float).mean(0)).max()
        # Moved by a third of its size, the same outline separates less: the annotation is in the right place.
        moved = np.roll(inside, 20, axis=1)
        elsewhere = np.abs(image[moved].astype(float).mean(0) - image[~moved].astype(float).mean(0)).max()
        scores.append(difference > elsewhere)
    assert sum(scores) >= 28


@pytest.mark.parametrize('name', shapes.OUTLINES)
def test_outlines_have_unit_area_around_the_origin(name):
    rng = np.random.default_rng(0)
    for _ in range(50):
        shape = shapes.outline(name, rng)
        assert shape.is_valid
        assert shape.area == pytest.approx(1)
        assert (shape.centroid.x, shape.centroid.y) == pytest.approx((0, 0), abs=1e-9)


def test_difficulty_weakens_contrast_and_allows_occlusion():
    def visible(difficulty):
        spec = shapes.DetectionSpec(difficulty=difficulty, objects=(8, 8), scale=(0.3, 0.4), crowd=0)
        return sum(len(shapes.draw_scene(spec, 'train', index)[1]) for index in range(20))

    assert visible(0.0) < visible(1.0)


def test_classification_folders(tmp_path):
    assert shapes.write_classification(tmp_path, CROPS, progress=False)
    for split, each in (('train', 4), ('val', 2)):
        assert sorted(path.name for path in (tmp_path / split).iterdir()) == sorted(shapes.CLASSES)
        for name in shapes.CLASSES:
            images = list((tmp_path / split / name).glob('*.jpg'))
            assert len(images) == each
            assert cv2.imread(str(images[0])).shape == (32, 32, 3)


def test_a_complete_data_set_is_left_alone_and_a_half_one_written_again(tmp_path):
    shapes.write_classification(tmp_path, CROPS, progress=False)
    before = digest(tmp_path)
    assert not shapes.write_classification(tmp_path, CROPS, progress=False)
    # As a kill leaves it: no receipt, images missing, one from an older attempt.
    (tmp_path / 'shapes.json').unlink()
    next((tmp_path / 'train' / 'star').iterdir()).unlink()
    (tmp_path / 'train' / 'star' / 'old.jpg').write_bytes(b'')
    assert shapes.write_classification(tmp_path, CROPS, progress=False)
    assert digest(tmp_path) == before


def test_other_arguments_are_refused_in_a_folder_in_use(tmp_path):
    shapes.write_classification(tmp_path, CROPS, progress=False)
    other = shapes.ClassificationSpec(train=20, val=10, size=40, seed=3)
    with pytest.raises(FileExistsError, match='other seed, size; name another folder'):
        shapes.write_classification(tmp_path, other, progress=False)
    assert json.loads((tmp_path / 'shapes.json').read_text())['size'] == 32


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(train=0), 'at least one image'),
        (dict(size=8), 'too small'),
        (dict(difficulty=1.5), 'between 0 and 1'),
        (dict(objects=(3, 2)), 'objects'),
        (dict(scale=(0.5, 0.2)), 'scale'),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        shapes.DetectionSpec(**arguments)
