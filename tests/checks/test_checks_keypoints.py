"""Annotations that a keypoint config cannot use are found before training, in one sentence."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from checked import annotations, fails, found
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink import config_path
from rethink.checks import check, stop_on_errors
from rethink.datasets.coco_keypoint import PERSON_KEYPOINTS


def write(path, keypoints=PERSON_KEYPOINTS, annotated=True):
    category = dict(id=1, name='person') | (dict(keypoints=keypoints) if keypoints else {})
    person = dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 9, 9], area=81, iscrowd=0)
    if annotated:
        person |= dict(keypoints=[4, 4, 2] * len(keypoints or [0]), num_keypoints=len(keypoints or [0]))
    image = dict(id=1, file_name='a.jpg', width=10, height=10)
    path.write_text(json.dumps(dict(images=[image], annotations=[person], categories=[category])))
    return str(path)


@pytest.fixture
def cfg(tmp_path):
    """The data of a keypoint config; the model is only looked at for its numbers."""
    path = write(tmp_path / 'person_keypoints.json')
    Image.new('RGB', (10, 10)).save(tmp_path / 'a.jpg')
    loader = dict(dataset=dict(type='CocoKeypointDataset', ann_file=path, data_prefix=dict(img=str(tmp_path))))
    return Config(
        dict(
            default_scope='mmdet',
            train_dataloader=loader,
            val_dataloader=loader,
            val_evaluator=dict(type='CocoKeypointMetric', ann_file=path, metric=['bbox', 'keypoints']),
            model=dict(roi_head=dict(bbox_head=dict(num_classes=1), keypoint_head=dict(num_keypoints=17))),
        )
    )


def test_right_input_passes(cfg):
    stop_on_errors(cfg)


@pytest.mark.parametrize('lacks', ['categories', 'annotations', 'both'])
@pytest.mark.parametrize('where', ['train_dataloader.dataset', 'val_evaluator'])
def test_annotations_without_keypoints(cfg, tmp_path, lacks, where):
    keypoints = PERSON_KEYPOINTS if lacks == 'annotations' else None
    path = write(tmp_path / 'instances.json', keypoints, annotated=lacks == 'categories')
    cfg.merge_from_dict({f'{where}.ann_file': path})
    fails(cfg, rf'instances\.json of {where} has no keypoints.*use a person_keypoints')


def test_another_number_of_keypoints(cfg, tmp_path):
    cfg.pop('val_dataloader')
    cfg.train_dataloader.dataset.ann_file = write(tmp_path / 'faces.json', PERSON_KEYPOINTS[:5])
    fails(cfg, r'faces\.json of train_dataloader\.dataset has 5 keypoints for each object, but there are 17 names')
    cfg.train_dataloader.dataset.metainfo = dict(keypoints=PERSON_KEYPOINTS[:5])
    fails(cfg, 'has 5 keypoints for each object, but there are 17 heat maps in keypoint_head')
    cfg.model.roi_head.keypoint_head.num_keypoints = 5
    stop_on_errors(cfg)


def test_missing_figures_name_their_command(cfg):
    cfg.train_dataloader.dataset.ann_file = 'data/shapes/figures/that/nobody/made.json'
    fails(cfg, r'make_shapes\.py data/shapes --figures')


def test_keypoints_of_the_file(tmp_path):
    config = config_path('rethink/scratch_r50_gn_keypoint_2x.py')
    without = annotations(tmp_path / 'a.json', 4)
    having = annotations(tmp_path / 'b.json', 4, keypoints=[1, 1, 2] * 17, num_keypoints=17)
    content = json.loads(Path(having).read_text())
    content['categories'][0]['keypoints'] = PERSON_KEYPOINTS
    Path(having).write_text(json.dumps(content))

    def of(path):
        return {f'{part}_dataloader.dataset.{key}': value for part in ('train', 'val', 'test') for key, value in (
            ('ann_file', path), ('data_root', ''))}  # fmt: skip

    assert found(config, of(without))['keypoints'].level == 'error'
    assert 'keypoints' not in found(config, of(having))


def changed(cfg, name, *changes) -> str:
    """A changed copy of the file of training; its path."""
    content = json.loads(Path(cfg.train_dataloader.dataset.ann_file).read_text())
    for change in changes:
        change(content)
    path = Path(cfg.train_dataloader.dataset.ann_file).with_name(name)
    path.write_text(json.dumps(content))
    return str(path)


def use(cfg, path, *places):
    for place in places or ('train_dataloader.dataset', 'val_dataloader.dataset', 'val_evaluator'):
        cfg.merge_from_dict({f'{place}.ann_file': path})


def names(some):
    return lambda content: content['categories'][0].update(keypoints=list(some))


# --- which keypoints -------------------------------------------------------------------------------------------------

REVERSED = PERSON_KEYPOINTS[::-1]
OTHERS = [f'p{index}' for index in range(17)]
BOTH = r"from place 1 on 'right_ankle', 'left_ankle', 'right_knee', … and 'nose', 'left_eye', 'right_eye', …"


def test_why_their_order_matters(cfg, tmp_path):
    """Each point found, as it stands in the file of training: in another order it is one of another point."""
    aps = []
    for order in (range(17), range(17)[::-1]):
        points = [[10 + 20 * at, 20 + 7 * at, 2] for at in range(17)]
        path = changed(cfg, 'a.json', lambda content: content['annotations'][0].update(
            keypoints=sum((points[at] for at in order), []), bbox=[0, 0, 400, 200], area=80000))  # noqa: B023  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(path)
            found = dict(image_id=1, category_id=1, keypoints=sum(points, []), score=1.0)
            evaluation = COCOeval(truth, truth.loadRes([found]), 'keypoints')
            evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
        aps.append(evaluation.stats[0])
    assert aps == [pytest.approx(1), 0]


def test_validation_in_another_order(cfg):
    use(cfg, changed(cfg, 'val.json', names(REVERSED)), 'val_dataloader.dataset', 'val_evaluator')
    fails(cfg, rf'val\.json lists the keypoints of val_dataloader\.dataset in another order than metainfo \({BOTH}\)')


def test_all_files_in_another_order_than_metainfo(cfg):
    use(cfg, changed(cfg, 'all.json', names(REVERSED)))
    fails(cfg, rf"all\.json lists the keypoints of train_dataloader.*{BOTH}.*in this order: \('nose', 'left_eye',")
    # What is not scored by COCO's sigmas may have any order, if metainfo has it.
    cfg.pop('val_evaluator')
    fails(
        cfg,
        r"if all files have that order, set metainfo = dict\(keypoints=\('right_ankle', .*, skeleton=\(\)\) in train",
    )
    for part in ('train', 'val'):
        cfg[f'{part}_dataloader'].dataset.metainfo = dict(keypoints=REVERSED)
    stop_on_errors(cfg)


def test_metainfo_of_one_part_in_another_order(cfg):
    cfg.train_dataloader.dataset.metainfo = dict(keypoints=REVERSED)
    fails(cfg, r"lists the keypoints of train_dataloader\.dataset in another order .*from place 1 on 'nose'")
    use(cfg, changed(cfg, 'train.json', names(REVERSED)), 'train_dataloader.dataset')
    fails(cfg, r"metainfo of val_dataloader\.dataset has other keypoints than that of train_dataloader.*on 'nose'")


def test_other_keypoints(cfg):
    path = changed(cfg, 'other.json', names(OTHERS))
    use(cfg, path)
    said = (
        rf"{path} has other keypoints than train_dataloader\.dataset \(from place 1 on 'p0', .*metainfo = dict\(keyp"
    )
    with pytest.raises(ValueError, match=said):
        stop_on_errors(cfg, worthless=True)
    for part in ('train', 'val'):
        cfg[f'{part}_dataloader'].dataset.metainfo = dict(keypoints=OTHERS)
    (one,) = [one for one in check(cfg) if one.rule == 'keypoints']
    assert one.level == 'warning' and 'val_evaluator has other keypoints than COCO' in one.what


@pytest.mark.parametrize('spelled', [
    str.upper,
    lambda name: name.replace('_', ' ').title(),
    lambda name: name.replace('_', ''),
    lambda name: '-'.join(name.split('_')[::-1]),
    lambda name: name.replace('left_', 'L_').replace('right_', 'R_'),
    lambda name: ''.join(map(str.title, name.split('_'))),
])  # fmt: skip
def test_other_spellings(cfg, spelled):
    use(cfg, changed(cfg, 'spelled.json', names(map(spelled, PERSON_KEYPOINTS))))
    assert not [one for one in check(cfg) if one.rule == 'keypoints']
    use(cfg, changed(cfg, 'spelled.json', names(map(spelled, REVERSED))))
    fails(cfg, 'lists the keypoints of train_dataloader.dataset in another order')


@pytest.mark.parametrize('unnamed', [list(range(17)), [str(at) for at in range(17)], [''] * 17])
def test_a_file_without_names_cannot_be_compared(cfg, unnamed):
    use(cfg, changed(cfg, 'unnamed.json', names(unnamed)))
    stop_on_errors(cfg)
    assert {one.level for one in check(cfg) if one.rule == 'keypoints'} == {'note'}


def test_a_metric_of_another_number(cfg):
    few = dict(keypoints=[4, 4, 2] * 5, num_keypoints=5)
    path = changed(
        cfg, 'five.json', names(PERSON_KEYPOINTS[:5]), lambda content: content['annotations'][0].update(few)
    )
    use(cfg, path, 'val_evaluator')
    fails(
        cfg,
        r'five\.json of val_evaluator has 5 keypoints for each object, and CocoKeypointMetric scores the 17 of COCO',
    )
    use(cfg, changed(cfg, 'turned.json', names(REVERSED)), 'val_evaluator')
    fails(cfg, rf'turned\.json of val_evaluator lists the keypoints of COCO in another order \({BOTH}\)')
    cfg.val_evaluator.metric = 'bbox'
    stop_on_errors(cfg)


def flipped(names=None) -> list[dict]:
    """A pipeline; with names, its flip is inside of another transform."""
    load = [dict(type='LoadImageFromFile'), dict(type='LoadKeypointAnnotations', with_bbox=True)]
    flip = dict(type='KeypointRandomFlip', prob=0.5)
    if names:
        flip = dict(type='RandomChoice', transforms=[[flip | dict(keypoint_names=names)]])
    return [*load, flip, dict(type='PackKeypointInputs')]


def test_what_a_flip_swaps(cfg):
    """Left and right, by names that stand in the pipeline."""
    cfg.train_dataloader.dataset.pipeline = flipped()
    stop_on_errors(cfg)
    own = ['L_eye', 'mouth', 'R_eye', *OTHERS[:14]]
    use(cfg, changed(cfg, 'own.json', names(own)))
    for part in ('train', 'val'):
        cfg[f'{part}_dataloader'].dataset.metainfo = dict(keypoints=own)
    fails(
        cfg,
        r"KeypointRandomFlip in train_dataloader.* swaps .*=\('eye_left', 'mouth', 'eye_right', 'p0'",
    )
    cfg.train_dataloader.dataset.pipeline = flipped(own)
    fails(
        cfg,
        r"KeypointRandomFlip in train_dataloader.* swaps .*=\('eye_left', 'mouth', 'eye_right', 'p0'",
    )
    cfg.train_dataloader.dataset.pipeline = flipped(['eye_left', 'mouth', 'eye_right', *OTHERS[:14]])
    stop_on_errors(cfg)
    cfg.train_dataloader.dataset.pipeline = flipped(['eye_left', *OTHERS[:16]])
    fails(cfg, 'cannot swap left and right: the keypoint .eye_left. has no mirrored partner')


# --- classes of one's own --------------------------------------------------------------------------------------------


RULES = ('classes', 'keypoints', 'annotations')


def test_a_class_of_ones_own(cfg):
    """All that is to set is said at once, and is all."""
    own = ['nose', 'left_ear', 'right_ear']
    few = dict(keypoints=[4, 4, 2] * 3, num_keypoints=3)
    path = changed(
        cfg,
        'dogs.json',
        names(own),
        lambda content: content['categories'][0].update(name='dog', skeleton=[[1, 2], [1, 3]]),
        lambda content: content['annotations'][0].update(few),
    )
    use(cfg, path, 'train_dataloader.dataset', 'val_dataloader.dataset')
    cfg.val_evaluator = dict(type='CocoMetric', ann_file=path)
    cfg.train_dataloader.dataset.pipeline = flipped()
    cfg.model.roi_head.bbox_head.num_classes = 2
    errors = [
        one for one in check(cfg) if one.level == 'error' and one.rule in ('classes', 'keypoints', 'annotations')
    ]
    assert {one.fix for one in errors if one.rule == 'classes'} == {
        f"set metainfo = dict(classes=('dog',), keypoints={tuple(own)}, skeleton=(('nose', 'left_ear'), ('nose', "
        "'right_ear'))) in train_dataloader.dataset, val_dataloader.dataset, and "
        'keypoint_names of KeypointRandomFlip in train_dataloader.dataset.pipeline to these keypoints, and '
        'model.roi_head.keypoint_head.num_keypoints = 3, and model.roi_head.bbox_head.num_classes = 1'
    }
    assert {one.rule for one in errors} == {'classes'}
    for part in ('train', 'val'):
        bones = (('nose', 'left_ear'), ('nose', 'right_ear'))
        cfg[f'{part}_dataloader'].dataset.metainfo = dict(classes=('dog',), keypoints=own, skeleton=bones)
    cfg.train_dataloader.dataset.pipeline = flipped(own)
    cfg.model.roi_head.keypoint_head.num_keypoints, cfg.model.roi_head.bbox_head.num_classes = 3, 1
    assert not [one for one in check(cfg) if one.rule in RULES]


def test_own_keypoints_of_people(cfg):
    """As above, of the class of COCO: the number alone would not be all."""
    own = PERSON_KEYPOINTS[:5]
    few = dict(keypoints=[4, 4, 2] * 5, num_keypoints=5)
    use(cfg, changed(cfg, 'few.json', names(own), lambda content: content['annotations'][0].update(few)))
    fails(cfg, r"few\.json of .* has 5 keypoints .* 17 names .*; set metainfo = dict\(keypoints=\('nos.*points = 5")


# --- what is evaluated -----------------------------------------------------------------------------------------------


def two_images(content):
    content['images'].append(dict(content['images'][0], id=2, file_name='b.jpg'))
    content['annotations'].append(dict(content['annotations'][0], id=2, image_id=2))


def test_an_evaluator_of_another_file(cfg, tmp_path):
    Image.new('RGB', (10, 10)).save(tmp_path / 'b.jpg')
    two = changed(cfg, 'two.json', two_images)
    use(cfg, two, 'val_evaluator')
    fails(cfg, r'val_evaluator evaluates by .*two\.json.* 0 of its 1 images are not in that file, and 1 in it would')
    use(cfg, two, 'val_dataloader.dataset')
    stop_on_errors(cfg)
    cfg.val_dataloader.dataset.indices = 1
    fails(cfg, r'val_dataloader\.dataset\.indices takes some images.*the objects of the others would count as missed')


def test_numbers_of_detections(cfg):
    cfg.val_evaluator.proposal_nums = (1, 10, 50)
    fails(cfg, 'AP is that of 100 detections an image, and without this number it would be -1')
    # OKS has 20 people an image, whatever is said here.
    cfg.val_evaluator.metric = ['keypoints']
    stop_on_errors(cfg)
    cfg.val_evaluator.update(metric=['bbox', 'keypoints'], proposal_nums=(1, 10, 100))
    stop_on_errors(cfg)
