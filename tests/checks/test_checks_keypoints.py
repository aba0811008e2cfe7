"""Annotations that a keypoint config cannot use are found before training, in one sentence."""

import json
from pathlib import Path

import pytest
from checked import annotations, fails, found
from mmengine.config import Config
from PIL import Image
from rethink import config_path
from rethink.checks import stop_on_errors
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
