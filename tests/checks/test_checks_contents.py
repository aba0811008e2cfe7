"""Each thing that can be wrong in an annotation file, in the smallest file that has it, and what is said of it."""

import contextlib
import io
import json
import re
import unicodedata

import cv2
import numpy as np
import pytest
from checked import fails
from conftest import write_detector
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pycocotools.mask import decode, encode, frPyObjects
from rethink.checks import check, stop_on_errors
from rethink.checks.annotations import problems
from rethink.checks.problems import Use
from rethink.datasets.annotations import read

POLYGON = [[10, 10, 30, 10, 30, 30]]


def content() -> dict:
    """Six images of 100 by 80 with an object each, of two classes."""
    return dict(
        images=[dict(id=index, file_name=f'{index}.jpg', width=100, height=80) for index in range(1, 7)],
        annotations=[
            dict(
                id=index,
                image_id=index,
                category_id=1 + index % 2,
                bbox=[10, 10, 20, 20],
                area=400,
                iscrowd=0,
                segmentation=POLYGON,
                keypoints=[12, 12, 2, 0, 0, 0],
                num_keypoints=1,
            )
            for index in range(1, 7)
        ],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
    )


def change(what: str, index, **values):
    """Give an entry other values, or take ``None`` ones away; all entries where the index is None."""

    def apply(whole: dict) -> None:
        for entry in whole[what] if index is None else [whole[what][index]]:
            for key, value in values.items():
                entry[key] = value(entry) if callable(value) else value
                if value is None:
                    del entry[key]

    return apply


def annotation(index=1, **values):
    return change('annotations', index, **values)


def drop(what, *indices):
    def apply(whole):
        whole[what] = [one for index, one in enumerate(whole[what]) if index not in indices]

    return apply


def several(*changes):
    def apply(whole):
        for one in changes:
            one(whole)

    return apply


def more(what, **values):
    return lambda whole: whole[what].append({**whole[what][-1], **values})


def rle(counts, size=(80, 100)) -> dict:
    return dict(counts=counts, size=list(size))


EVERYTHING = Use(masks=True, keypoints=2, filter_cfg=dict(filter_empty_gt=True, min_size=32))
# Use, change, level, what is said.
CASES = {
    'annotation ids twice': (annotation(id=1), 'error', r'gives 1 annotation ids more than once \(1\)'),
    'image ids twice': (change('images', 1, id=1), 'error', r'gives 1 image ids more than once \(1\): the last hides'),
    'no ids': (annotation(id=None), 'error', '1 of 6 entries of annotation .* have no id'),
    'text for image ids': (
        several(change('images', None, id=lambda one: str(one['id']))),
        'error',
        r'6 of 6 annotations \(id 1, 2, 3, 4 and 2 more\) .* list \(1, 2, 3, 4, …\), ids being text in the one',
    ),
    'text for all image ids': (
        several(
            change('images', None, id=lambda one: str(one['id'])),
            annotation(None, image_id=lambda one: str(one['id'])),
        ),
        'warning',
        'image ids that are no integers',
    ),
    'words for annotation ids': (
        annotation(id='a1'),
        'error',
        r"annotation ids that are no integers \('a1'\), at which",
    ),
    'the id 0': (annotation(id=0), 'warning', 'the id 0, which pycocotools counts as missed'),
    'an image that is not listed': (annotation(image_id=99), 'warning', r'1 of 6 annotations \(id 2\) .*list \(99\)'),
    'a category that is not defined': (annotation(category_id=7), 'error', r'\(id 2\) .* not define \(7\)'),
    'categories from 0': (
        annotation(None, category_id=lambda one: one['category_id'] - 1),
        'error',
        r'one too low, so that every box trains as another class',
    ),
    'categories from 1': (
        change('categories', None, id=lambda one: one['id'] - 1),
        'error',
        'one too high, so that every box trains as another class',
    ),
    'a name under two ids': (more('categories', id=3), 'error', r"1 names .* under several ids \('dog'\)"),
    'a category id twice': (more('categories', name='cow'), 'error', r'gives 1 category ids more than once \(2\)'),
    'an empty category': (
        more('categories', id=3, name='cow'),
        'warning',
        r"1 of 3 categories .* have no annotation \('cow'\)",
    ),
    'no annotation': (drop('annotations', *range(6)), 'error', 'has no annotation'),
    'no width': (change('images', 0, width=None), 'error', r'1 of 6 images \(id 1\) .* no width or no height'),
    'width of 0': (change('images', 0, width=0), 'error', r'1 of 6 images \(id 1\) .* no number above 0'),
    'a null width': (change('images', 0, width=lambda _: None), 'error', 'no number above 0'),
    'text for width': (change('images', 0, width='100'), 'error', 'no number above 0'),
    'no file name': (change('images', 0, file_name=None), 'error', r'1 of 6 images \(id 1\) .* no file_name'),
    'an image twice': (change('images', 0, file_name='2.jpg'), 'warning', 'lists 1 images more than once'),
    'no bbox': (annotation(bbox=None), 'error', r'\(id 2\) .* have no bbox'),
    'null for a bbox': (annotation(bbox=lambda _: None), 'error', r'\(id 2\) .* not four numbers'),
    'text in a bbox': (annotation(bbox=['1', '1', '9', '9']), 'error', 'not four numbers'),
    'three numbers': (annotation(bbox=[1, 1, 9]), 'error', 'not four numbers'),
    'NaN': (annotation(bbox=[1, float('nan'), 9, 9]), 'warning', r'\(id 2\) .* bbox with NaN: .* leaves it out'),
    'infinity': (annotation(bbox=[1, 1, float('inf'), 9]), 'error', 'infinite bbox'),
    'corners': (
        annotation(None, bbox=lambda one: [40 + one['id'], 40, 99, 79]),
        'error',
        'as corners x1, y1, x2, y2 all fit',
    ),
    'parts of the image': (annotation(None, bbox=[0.1, 0.1, 0.5, 0.5]), 'error', 'between 0 and 1'),
    'a negative box': (annotation(bbox=[30, 10, -20, 20]), 'warning', r'less than a pixel .*\(1 of them negative\)'),
    'a box outside': (annotation(bbox=[200, 10, 20, 20]), 'warning', r'\(id 2\) .* have a box outside of the image'),
    'a box that sticks out': (
        annotation(bbox=[90, 10, 25, 20]),
        'warning',
        'sticks out of its image, by up to 15 pix',
    ),
    'no area': (annotation(area=None), 'error', r'\(id 2\) .* have no area'),
    'null for an area': (annotation(area=lambda _: None), 'error', 'area that is no number'),
    'area 0 everywhere': (annotation(None, area=0), 'error', 'all 6 annotations .* have area 0'),
    'an area of 0': (annotation(area=0), 'warning', r'\(id 2\) .* have a box and area 0'),
    'no iscrowd': (
        annotation(None, iscrowd=None),
        'error',
        '6 of 6 .* no iscrowd, at which the first validation ends',
    ),
    'text for iscrowd': (annotation(iscrowd='0'), 'error', 'neither 0 nor 1; text is true'),
    'everything crowd': (annotation(None, iscrowd=1), 'error', 'all 6 annotations .* are crowds'),
    'no segmentation': (annotation(segmentation=None), 'error', 'no segmentation or an empty one: a run .* ends'),
    'an empty segmentation': (annotation(segmentation=[]), 'error', 'no segmentation or an empty one'),
    'a flat segmentation': (annotation(segmentation=POLYGON[0]), 'error', 'a flat list of numbers'),
    'two points': (annotation(segmentation=[[1, 1, 9, 9]]), 'error', 'without a polygon of three points'),
    'no image id': (annotation(image_id=None), 'error', r'1 of 6 annotations \(id 2\) .* have no image_id'),
    'null for a category': (annotation(category_id=lambda _: None), 'error', r'\(id 2\) .* have no category_id'),
    'text for category ids': (
        annotation(None, category_id=lambda one: str(one['category_id'])),
        'error',
        r"not define \('[12]', '[12]'\), ids being text in the one list and numbers in the other: their objects",
    ),
    'numbers for names': (change('categories', 0, name=1), 'error', r'1 of 2 categories .* that is no text \(1\)'),
    'annotations that are no list': (
        lambda whole: whole.update(annotations=dict(enumerate(whole['annotations']))),
        'error',
        "has no list 'annotations', so there is nothing to train",
    ),
    'boxes twice': (
        lambda whole: whole['annotations'].extend([{**one, 'id': one['id'] + 6} for one in whole['annotations']]),
        'warning',
        r'6 of 12 annotations \(id 7, 8, 9, 10 and 2 more\) .* repeat another one: .*validation counts one as missed',
    ),
    'centres': (
        annotation(None, bbox=[90, 40, 20, 20]),
        'error',
        'as centre, width and height all fit',
    ),
    'x and y the wrong way round': (annotation(None, bbox=[10, 70, 5, 25]), 'error', 'as y, x, height, width all fit'),
    'a box of another world': (
        annotation(bbox=[1, 1, 1e30, 9]),
        'error',
        r'\(id 2\) .* by 10 times the size of its image and more, up to 1e\+30 pixels',
    ),
    'nested points': (annotation(segmentation=[[[x, x + 1] for x in range(8)]]), 'error', 'other things than numbers'),
    'null in a polygon': (annotation(segmentation=[[1, 1, None, 1, 9, 9]]), 'error', 'other things than numbers'),
    'NaN in a polygon': (
        annotation(segmentation=[[1, 1, float('nan'), 1, 9, 9]]),
        'error',
        'other things than numbers',
    ),
    'text in a polygon': (
        annotation(segmentation=[['1', '1', '9', '1', '9', '9']]),
        'error',
        'other things than numb',
    ),
    'a polygon far away': (annotation(segmentation=[[1, 1, 1e9, 1, 9, 9]]), 'error', 'other things than numbers'),
    'half an RLE': (annotation(segmentation=rle([5, 10])), 'error', 'an RLE that does not fit its size'),
    'a negative RLE': (annotation(segmentation=rle([5, -10, 8005])), 'error', 'an RLE that does not fit its size'),
    'an RLE in the text of Python': (annotation(segmentation=rle("b'PQ2'")), 'error', 'an RLE that does not fit'),
    'an RLE of the turned image': (
        annotation(segmentation=rle([5, 10, 7985], [100, 80])),
        'error',
        r'an RLE of another size than their image \(\[100, 80\], and \[height, width\] is \[80, 100\]\)',
    ),
    'polygons in parts of the image': (
        annotation(None, segmentation=[[0.1, 0.1, 0.3, 0.1, 0.3, 0.4]]),
        'error',
        r'6 of 6 annotations .* have polygons that do not lie where their boxes are \(looked at 6\), as if',
    ),
    'polygons of a larger image': (
        annotation(None, segmentation=[[40, 40, 120, 40, 120, 120]]),
        'error',
        'have polygons that do not lie where their boxes are',
    ),
    'boxes for outlines': (
        annotation(None, segmentation=[[10, 10, 30, 10, 30, 30, 10, 30]]),
        'warning',
        r'6 of 6 polygons .* are rectangles',
    ),
    'pairs of points': (
        annotation(None, segmentation=[[10, 10], [30, 10], [30, 30]]),
        'error',
        '6 of 6 annotations .* without a polygon of three points',
    ),
    'a polygon of two points': (annotation(segmentation=[*POLYGON, [1, 1]]), 'error', 'some polygons of fewer than'),
    'no keypoints': (annotation(keypoints=None), 'error', r'\(id 2\) .* have no keypoints'),
    'too many keypoints': (annotation(keypoints=[1, 1, 1] * 3), 'error', 'not 3 numbers for each of 2 keypoints'),
    'no num_keypoints': (annotation(num_keypoints=None), 'error', 'have no num_keypoints'),
    'a wrong num_keypoints': (annotation(num_keypoints=2), 'warning', 'not the number of labelled ones'),
    'no keypoint labelled': (
        annotation(None, keypoints=[0] * 6, num_keypoints=0),
        'error',
        'no keypoint .* is labelled',
    ),
    'null in keypoints': (
        annotation(keypoints=[None, 12, 2, 0, 0, 0]),
        'error',
        r'\(id 2\) .* other things than numbers',
    ),
    'NaN in keypoints': (annotation(keypoints=[float('nan'), 12, 2, 0, 0, 0]), 'error', 'keypoints of other things'),
    'infinite keypoints': (annotation(keypoints=[12, float('inf'), 1, 0, 0, 0]), 'error', 'keypoints of other things'),
    'text in keypoints': (annotation(keypoints=['x', 12, 2, 0, 0, 0]), 'error', 'keypoints of other things'),
    'text in keypoints without a label': (annotation(keypoints=[12, 12, 2, '0', 0, 0]), 'error', 'of other things'),
    'no number as visibility': (annotation(keypoints=[12, 12, None, 9, 9, 1]), 'error', 'keypoints of other things'),
    'visibility 7': (annotation(keypoints=[12, 12, 7, 0, 0, 0]), 'error', r'\(id 2\) .* none of 0, 1 and 2'),
    'visibility as a probability': (annotation(keypoints=[12, 12, 0.5, 0, 0, 0]), 'error', 'none of 0, 1 and 2'),
    'a negative visibility': (annotation(keypoints=[12, 12, 2, 0, 0, -1]), 'error', 'none of 0, 1 and 2'),
    'keypoints far away': (
        annotation(keypoints=[4e9, 12, 2, 0, 0, 0]),
        'error',
        r'10 times its size .* 4e\+09 pixels',
    ),
    'keypoints outside': (annotation(keypoints=[130, 12, 2, 12, 12, 1]), 'warning', 'outside of its image, which is'),
    'keypoints in parts of the image': (
        annotation(None, keypoints=[0.12, 0.15, 2, 0, 0, 0]),
        'error',
        'all keypoints .* lie between 0 and 1',
    ),
    'keypoints of a larger image': (
        annotation(None, keypoints=[90, 70, 2, 0, 0, 0]),
        'error',
        r'6 of 6 annotations .* keypoints that do not lie where their boxes are',
    ),
    'small images': (
        change('images', None, width=20),
        'error',
        r'none of the 6 images .*\(0 without an object, 6 below',
    ),
    'a small image': (change('images', 0, width=31), 'warning', r'1 of 6 images \(id 1\) .* fewer than 32 pixels'),
    'an image without an object': (
        more('images', id=9, file_name='9.jpg'),
        'note',
        r'1 of 7 images \(id 9\) .* no object and are left out',
    ),
    'no list of images': (lambda whole: whole.pop('images'), 'error', "no list 'images'"),
}


@pytest.mark.parametrize('name', CASES)
def test_what_is_wrong(name, tmp_path):
    apply, level, sentence = CASES[name]
    whole = content()
    apply(whole)
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(whole))
    found = list(problems(read(path), EVERYTHING))
    assert any(one.level == level and re.search(sentence, one.what) for one in found), found
    assert all(one.what.endswith('.') and one.fix and str(path) in one.what for one in found)


def test_nothing_wrong(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content()))
    assert list(problems(read(path), EVERYTHING)) == []


@pytest.mark.parametrize('keypoints', [
    [12, 12, 2, float('nan'), float('nan'), 0],
    [12.0, 12.5, 2.0, 0.0, 0.0, 0.0],
    [12, 12, 1, 900, 900, 0],
    [12, 12, 2, -0.4, 79.9, 1],
])  # fmt: skip
def test_right_keypoints(keypoints, tmp_path):
    """What stands in the place of a point without a label is not looked at, here as in MMDetection and pycocotools."""
    whole = content()
    annotation(None, keypoints=keypoints, num_keypoints=sum(one > 0 for one in keypoints[2::3]))(whole)
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(whole))
    assert list(problems(read(path), EVERYTHING)) == []
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        found = [dict(image_id=one['image_id'], category_id=one['category_id'], score=1.0, keypoints=one['keypoints'])
                 for one in whole['annotations']]  # fmt: skip
        evaluation = COCOeval(truth, truth.loadRes(found), 'keypoints')
        evaluation.params.kpt_oks_sigmas = np.full(2, 0.05)
        evaluation.evaluate(), evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, :, 0, -1]
    assert precision[precision > -1].mean() == pytest.approx(1)


def test_masks_that_pycocotools_reads(tmp_path):
    """An RLE of many counts, a compressed one, and a polygon of many points."""
    mask = np.zeros((80, 100), np.uint8, order='F')
    mask[10:30, 10:30] = np.indices((20, 20)).sum(0) % 2
    edges = np.flatnonzero(np.diff(mask.ravel('F'), prepend=0, append=0))
    edges = edges[edges < mask.size]
    counts = np.diff(edges, prepend=0, append=mask.size).tolist()
    compressed = encode(mask)
    assert len(counts) > 200 and (decode(frPyObjects(rle(counts), 80, 100)) == mask).all()
    whole = content()
    annotation(0, segmentation=rle(counts))(whole)
    annotation(1, segmentation=rle(compressed['counts'].decode(), compressed['size']))(whole)
    annotation(2, segmentation=[[float(value % 50) for value in range(600)]])(whole)
    path = tmp_path / 'a.json'
    for indent in (None, 1):
        path.write_text(json.dumps(whole, indent=indent))
        assert list(problems(read(path), EVERYTHING)) == []


def score(truth: dict, found: list[dict]) -> float:
    """Box AP of detections by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = truth
        api.createIndex()
        evaluation = COCOeval(api, api.loadRes(found), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0]


def test_why_boxes_are_not_there_twice():
    """Each object found once has an AP of 1, and of 0.5 where each is there twice."""
    aps = []
    for times in (1, 2):
        whole = content()
        found = [dict(one, score=1.0) for one in whole['annotations']]
        extra = [{**one, 'id': one['id'] + 6 * time} for time in range(1, times) for one in whole['annotations']]
        whole['annotations'] += extra
        aps.append(score(whole, found))
    assert aps == [pytest.approx(1), pytest.approx(0.5, abs=0.01)]


def test_why_the_id_0_is_said():
    """Four objects of two classes, all of them found, the first of the id 0: AP is 0.63, as docs/data.md has it."""
    whole = content()
    whole['annotations'] = whole['annotations'][:4]
    for index, one in enumerate(whole['annotations']):
        one['id'] = index
    found = [dict(one, score=1.0) for one in whole['annotations']]
    assert score(whole, found) == pytest.approx(0.63, abs=0.005)
    for one in whole['annotations']:
        one['id'] += 1
    assert score(whole, found) == pytest.approx(1)


def test_why_all_crowd_and_no_iscrowd_are_errors():
    """Nothing is left to be found, which is -1; without the key pycocotools ends."""
    whole = content()
    found = [dict(one, score=1.0) for one in whole['annotations']]
    annotation(None, iscrowd=1)(whole)
    assert score(whole, found) == -1
    annotation(None, iscrowd=None)(whole)
    with pytest.raises(KeyError, match='iscrowd'):
        score(whole, found)


def test_why_corners_and_centres_are_errors():
    """Detections that are right in the images, scored by boxes that are written another way."""
    right = content()
    found = [dict(one, score=1.0) for one in right['annotations']]
    for other in (lambda x, y, w, h: [x, y, x + w, y + h], lambda x, y, w, h: [x + w / 2, y + h / 2, w, h]):
        whole = content()
        annotation(None, bbox=lambda one, other=other: other(*one['bbox']))(whole)
        assert score(whole, found) < 0.1
    assert score(right, found) == pytest.approx(1)


def test_what_a_use_does_not_need(tmp_path):
    """No masks, no keypoints, and no scoring: what lacks them is right."""
    whole = content()
    annotation(None, segmentation=None, keypoints=None, num_keypoints=None, iscrowd=None)(whole)
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(whole))
    assert list(problems(read(path), Use(scores=False))) == []


def test_small_objects_near_the_corner_are_no_corners(tmp_path):
    """Boxes whose width and height are above x and y, all in their images as both, are left alone."""
    whole = content()
    annotation(None, bbox=[5, 5, 20, 20])(whole)
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(whole))
    assert list(problems(read(path), EVERYTHING)) == []


def test_a_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / 'a.json'
    path.write_bytes(b'\xef\xbb\xbf' + json.dumps(content(), indent=1).replace('\n', '\r\n').encode())
    (one,) = problems(read(path), EVERYTHING)
    assert one.level == 'error' and 'byte order mark' in one.what
    path.write_bytes(path.read_bytes()[3:])
    assert list(problems(read(path), EVERYTHING)) == []


# --- in a config -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    for index in range(1, 7):
        Image.new('RGB', (100, 80)).save(tmp_path / 'images' / f'{index}.jpg')
    return tmp_path


@pytest.fixture
def cfg(folder):
    (folder / 'annotations.json').write_text(json.dumps(content()))
    return Config.fromfile(write_detector(folder / 'tiny.py', folder, classes=('cat', 'dog')))


def write(folder, *changes, name='annotations.json'):
    whole = content()
    several(*changes)(whole)
    (folder / name).write_text(json.dumps(whole))
    return str(folder / name)


def test_a_right_data_set(cfg):
    assert [one for one in check(cfg) if one.rule == 'annotations'] == []


def test_no_iscrowd_matters_where_it_is_scored(cfg, folder):
    cfg.val_evaluator.ann_file = cfg.val_dataloader.dataset.ann_file = write(folder, name='val.json')
    write(folder, annotation(None, iscrowd=None))
    stop_on_errors(cfg)
    cfg.val_evaluator.ann_file = str(folder / 'annotations.json')
    fails(cfg, r'no iscrowd, at which the first validation ends \(pycocotools\); in val_evaluator: write "iscrowd": 0')
    cfg.val_evaluator.format_only = True
    stop_on_errors(cfg)


def test_masks_matter_where_they_are_loaded(cfg, folder):
    write(folder, annotation(segmentation=None))
    stop_on_errors(cfg)
    cfg.train_dataloader.dataset.pipeline[1].with_mask = True
    fails(cfg, r'1 of 6 annotations \(id 2\) .* no segmentation')
    write(folder, annotation(segmentation=[[1, 1, 9, 9]]))
    stop_on_errors(cfg)
    assert 'does not train them' in next(one.what for one in check(cfg) if one.rule == 'annotations')


@pytest.mark.parametrize('metrics', [('bbox', 'segm'), ('segm', 'bbox')])
def test_each_of_several_metrics_of_a_file_is_asked(cfg, folder, metrics):
    cfg.val_evaluator.ann_file = cfg.val_dataloader.dataset.ann_file = write(
        folder, annotation(segmentation=None), name='val.json'
    )
    stop_on_errors(cfg)
    cfg.val_evaluator = [dict(cfg.val_evaluator, metric=one) for one in metrics]
    fails(cfg, r'1 of 6 annotations \(id 2\) .* no segmentation')


def test_numbers_that_only_suggest_it_can_be_overruled(cfg, folder):
    write(folder, annotation(None, bbox=lambda one: [40 + one['id'], 40, 99, 79]))
    stop_on_errors(cfg)
    with pytest.raises(ValueError, match='as corners x1, y1, x2, y2 all fit.*train it as it is with --no-check'):
        stop_on_errors(cfg, worthless=True)


def test_missing_images(cfg, folder):
    for name in ('3.jpg', '5.jpg'):
        (folder / 'images' / name).unlink()
    fails(cfg, r"2 of the 6 images of .* are missing in .*images.? \('3\.jpg', '5\.jpg'")
    (folder / 'images' / '3.JPG').touch()
    fails(cfg, r"\('3\.jpg', '5\.jpg'; there is '3\.JPG'\)")


def test_where_missing_images_are(cfg, folder):
    (folder / 'images' / unicodedata.normalize('NFD', 'ü.jpg')).write_bytes((folder / 'images' / '3.jpg').read_bytes())
    (folder / 'images' / 'a b.jpg').write_bytes((folder / 'images' / '3.jpg').read_bytes())
    for name, sentence in (
        ('ü.jpg', 'the same name in other bytes: umlauts as one sign or as two'),
        ('a%20b.jpg', r"there is 'a b\.jpg', the same name in other bytes"),
        ('images/3.jpg', rf"; 'images/3\.jpg' is in {folder}\)"),
        ('/content/drive/3.jpg', rf"; '3\.jpg' is in {folder}/images/ itself"),
        ('3', r"; there is '3\.jpg'"),
    ):
        write(folder, change('images', 2, file_name=name))
        fails(cfg, sentence)


def test_a_validation_that_leaves_images_out(cfg, folder):
    cfg.val_dataloader.dataset.pop('test_mode')
    cfg.val_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True, min_size=32)
    stop_on_errors(cfg)
    cfg.val_dataloader.dataset.filter_cfg = dict(min_size=90)
    fails(cfg, r'6 of 6 images .* are left out of what is evaluated, by filter_cfg; .*set test_mode=True')
    cfg.val_dataloader.dataset.test_mode = True
    stop_on_errors(cfg)


def test_images_of_16_bits(cfg, folder):
    cv2.imwrite(str(folder / 'images' / '1.png'), np.full((80, 100, 3), 4000, np.uint16))
    cv2.imwrite(str(folder / 'images' / '2.tif'), np.full((80, 100), 4000, np.uint16))
    cv2.imwrite(str(folder / 'images' / '3.tif'), np.full((80, 100, 3), 4000, np.uint16))
    Image.new('RGBA', (100, 80)).save(folder / 'images' / '4.png')
    write(
        folder,
        *(
            change('images', index, file_name=f'{index + 1}.{end}')
            for index, end in enumerate(('png', 'tif', 'tif', 'png'))
        ),
    )
    (one,) = [one for one in check(cfg) if one.rule == 'annotations']
    assert one.level == 'warning' and re.search(
        r"^[23] of all images .* more than 8 bits .*'1\.png', '2\.tif'", one.what
    )
    # What a training would see of a value of 4000.
    assert cv2.imread(str(folder / 'images' / '1.png')).max() == 4000 >> 8


def test_another_folder(cfg, folder):
    (folder / 'others').mkdir()
    (folder / 'others' / 'x.jpg').touch()
    cfg.train_dataloader.dataset.data_prefix.img = 'others/'
    fails(cfg, r"6 of the 6 images .* has 'x\.jpg' and others\).*name the folder that has them in data_prefix")


def test_backslashes(cfg, folder):
    write(folder, change('images', None, file_name=lambda one: rf'train\{one["id"]}.jpg'))
    fails(cfg, r'6 of 6 names of images .* have a backslash')


def test_sizes_against_the_images(cfg, folder):
    write(folder, change('images', 1, width=80, height=100))
    with pytest.raises(ValueError, match=r'1 of all images .*2\.jpg: 80 × 100, is 100 × 80\)'):
        stop_on_errors(cfg, worthless=True)


def test_images_that_exif_turns(cfg, folder):
    exif = Image.Exif()
    exif[274] = 6
    Image.new('RGB', (80, 100)).save(folder / 'images' / '1.jpg', exif=exif)
    assert [one for one in check(cfg) if one.rule == 'annotations'] == []
    Image.new('RGB', (100, 80)).save(folder / 'images' / '1.jpg', exif=exif)
    found = next(one for one in check(cfg) if one.rule == 'annotations')
    assert 'is 80 × 100' in found.what and 'EXIF turns them' in found.what


def test_no_image(cfg, folder):
    (folder / 'images' / '4.jpg').write_text('not found')
    fails(cfg, r"1 of all images .* are no images \('4\.jpg'\)")


def test_half_a_file(cfg, folder):
    whole = content()
    text = json.dumps({key: whole[key] for key in ('categories', 'images', 'annotations')})
    (folder / 'annotations.json').write_text(text[:-50])
    fails(cfg, 'is not JSON: the file ends in the middle, it may be half-written')
    (folder / 'annotations.json').write_text(text.replace('"area": 400', '"area": 4x0', 1))
    fails(cfg, r"is not JSON: Expecting ',' delimiter")
