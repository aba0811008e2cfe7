"""What is evaluated is what the loader reads, there is something to find, and metrics are called what they are."""

import contextlib
import io
import json

import pytest
import torch
from checked import fails
from conftest import write_coco, write_detector
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.config import Config
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink.checks import stop_on_errors


@pytest.fixture
def folder(tmp_path):
    return write_coco(tmp_path / 'data')


@pytest.fixture
def cfg(folder, tmp_path):
    return Config.fromfile(write_detector(tmp_path / 'tiny.py', folder))


def other(folder, name='other.json', change=lambda content: None):
    content = json.loads((folder / 'annotations.json').read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return str(folder / name)


def after_resize(cfg):
    """Annotations as ``VOCMetric`` compares with them."""
    pipeline = cfg.val_dataloader.dataset.pipeline
    pipeline.insert(2, pipeline.pop(1))


def without(number):
    """Without the last images and what is in them."""

    def change(content):
        content['images'] = content['images'][:number]
        content['annotations'] = [one for one in content['annotations'] if one['image_id'] < number]

    return change


def test_right_input_passes(cfg):
    stop_on_errors(cfg)
    stop_on_errors(cfg, 'test')


# --- which images ----------------------------------------------------------------------------------------------------


def test_an_evaluator_of_another_file(cfg, folder):
    cfg.val_evaluator.ann_file = other(folder, change=without(6))
    fails(
        cfg, r'val_evaluator evaluates by .*other\.json.* 6 of its 12 images are not in that file, and 0 in it would'
    )
    cfg.val_evaluator.ann_file = str(folder / 'annotations.json')
    cfg.val_dataloader.dataset.ann_file = 'other.json'
    fails(cfg, r'0 of its 6 images are not in that file, and 6 in it would count as missed')


def test_the_same_file_by_another_path(cfg, folder):
    cfg.val_evaluator.ann_file = str(folder / '..' / folder.name / 'annotations.json')
    stop_on_errors(cfg)


def test_other_annotations_of_the_same_images(cfg, folder, capsys):
    cfg.val_evaluator.ann_file = other(folder)
    stop_on_errors(cfg)
    assert 'the AP is by those annotations' in ' '.join(capsys.readouterr().out.split())


def test_the_same_at_test(cfg, folder):
    cfg.test_evaluator.ann_file = other(folder, change=without(6))
    fails(cfg, 'test_evaluator evaluates by', stage='test')
    cfg.test_evaluator.ann_file, cfg.val_evaluator.ann_file = str(folder / 'annotations.json'), other(folder)
    stop_on_errors(cfg, 'test')


def test_parts_of_a_concatenation_need_a_file_of_all(cfg, folder):
    part = cfg.val_dataloader.dataset.to_dict()
    other(folder, change=without(6))
    parts = [dict(part, ann_file='other.json'), dict(part, ann_file='annotations.json')]
    cfg.val_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    fails(cfg, 'write one file of all their images')


def test_indices_count_the_rest_as_missed(cfg, folder):
    for indices in (6, [0, 1, 2]):
        cfg.val_dataloader.dataset.indices = indices
        fails(cfg, r'val_dataloader\.dataset\.indices takes some images.*the objects of the others would count as')
    # Metrics that take what is to be found from the samples evaluate the images that there are.
    cfg.val_evaluator = dict(type='VOCMetric')
    after_resize(cfg)
    stop_on_errors(cfg)
    cfg.train_dataloader.dataset.indices = 6
    stop_on_errors(cfg)


@pytest.fixture
def derived():
    """A metric of one's own, derived from MMDetection's as users do."""
    kind = METRICS.register_module(module=type('MyCocoMetric', (CocoMetric,), {}))
    yield kind.__name__
    METRICS.module_dict.pop(kind.__name__)


def test_a_metric_that_derives_from_cocos(cfg, folder, derived):
    cfg.val_evaluator.type = derived
    stop_on_errors(cfg)
    cfg.val_dataloader.dataset.indices = 6
    fails(cfg, 'the objects of the others would count as missed')
    del cfg.val_dataloader.dataset.indices
    cfg.val_evaluator.proposal_nums = (1, 10, 50)
    fails(cfg, 'without this number it would be -1')
    del cfg.val_evaluator.proposal_nums
    cfg.val_evaluator.ann_file = other(folder, change=without(6))
    fails(cfg, '6 of its 12 images are not in that file')


REPEAT, BALANCED = dict(type='RepeatDataset', times=2), dict(type='ClassBalancedDataset', oversample_thr=0.5)


@pytest.mark.parametrize('wrapper', [REPEAT, BALANCED, dict(REPEAT, type='mmengine.RepeatDataset')])
def test_images_that_come_again(cfg, wrapper):
    inner = cfg.val_dataloader.dataset.to_dict()
    cfg.val_dataloader.dataset = dict(wrapper, dataset=inner)
    fails(cfg, r'^val_dataloader\.dataset is a .*, which gives images several times, .* again would count as wrong')
    cfg.val_dataloader.dataset = dict(type='ConcatDataset', datasets=[dict(wrapper, dataset=inner)])
    fails(cfg, r'^val_dataloader\.dataset\.datasets\[0\] is a ')
    cfg.val_dataloader.dataset = dict(REPEAT, times=1, dataset=inner)
    stop_on_errors(cfg)
    cfg.val_dataloader.dataset = inner
    cfg.train_dataloader.dataset = dict(wrapper, dataset=cfg.train_dataloader.dataset.to_dict())
    stop_on_errors(cfg)


def test_why_images_that_come_again_are_refused(folder):
    """AP of perfect detections, each of them twice: MMDetection's metric gives all of them to pycocotools."""
    content = json.loads((folder / 'annotations.json').read_text())
    metric = CocoMetric(ann_file=str(folder / 'annotations.json'), metric='bbox')
    metric.dataset_meta = dict(classes=('square', 'bar'))
    for image in [one['id'] for one in content['images']] * 2:
        objects = [one for one in content['annotations'] if one['image_id'] == image]
        boxes = torch.tensor([one['bbox'] for one in objects]).float()
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([one['category_id'] - 1 for one in objects])
        instances = dict(bboxes=boxes, labels=labels, scores=torch.ones(len(objects)))
        metric.process({}, [dict(img_id=image, ori_shape=(64, 64), pred_instances=instances)])
    with contextlib.redirect_stdout(io.StringIO()):
        twice = metric.evaluate(24)['coco/bbox_mAP']
        truth = COCO(str(folder / 'annotations.json'))
        found = [dict(one, score=1.0) for one in truth.dataset['annotations'] for _ in range(2)]
        evaluation = COCOeval(truth, truth.loadRes(found), 'bbox')
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    assert twice == pytest.approx(evaluation.stats[0], abs=1e-3) and twice < 0.7


def test_some_batches_alone(cfg):
    cfg.val_dataloader.num_batch_per_epoch = 2
    fails(cfg, r'val_dataloader\.num_batch_per_epoch is 2: no more batches are evaluated, .* would count as missed')
    del cfg.val_dataloader.num_batch_per_epoch
    cfg.train_dataloader.num_batch_per_epoch = 2
    stop_on_errors(cfg)


def test_why_it_is_refused(folder):
    """AP of perfect detections on half of the images: pycocotools has 1 for these, and 0.5 where the others count."""
    path = str(folder / 'annotations.json')
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(path)
        detections = [dict(one, score=1.0) for one in truth.dataset['annotations'] if one['image_id'] < 6]
        evaluation = COCOeval(truth, truth.loadRes(detections), 'bbox')
        aps = {}
        for images in (range(6), range(12)):
            evaluation.params.imgIds = list(images)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            aps[len(images)] = evaluation.stats[0]
    assert aps[6] == pytest.approx(1) and aps[12] == pytest.approx(0.5, abs=0.01)


# --- nothing to find -------------------------------------------------------------------------------------------------


def test_validation_without_an_annotation(cfg, folder):
    path = other(folder, change=lambda content: content.update(annotations=[]))
    cfg.val_evaluator.ann_file, cfg.val_dataloader.dataset.ann_file = path, 'other.json'
    fails(cfg, r'other\.json has no annotation, so there is nothing to find')
    # As for a test server.
    cfg.val_evaluator.update(format_only=True, outfile_prefix='x')
    stop_on_errors(cfg)


# --- numbers of detections -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('numbers', 'sentence', 'more'),
    [
        ((1, 10, 50), 'AP is that of 100 detections an image, and without this number it would be -1', {}),
        ((10, 100), 'needs three numbers', {}),
        ((1, 10, 100), 'what is logged as AR@100 would be that of 1 detections', dict(metric_items=['mAP', 'AR@100'])),
        ((1, 10, 100), 'what is logged as AR@100 would be that of 1 detections', dict(metric='proposal')),
    ],
)
def test_numbers_of_detections(cfg, numbers, sentence, more):
    cfg.val_evaluator.update(proposal_nums=numbers, **more)
    fails(cfg, sentence)


@pytest.mark.parametrize('numbers', [(1, 10, 100), (100, 1, 10), (100, 300, 1000), (10, 100, 500, 1000)])
def test_numbers_with_which_ap_is_what_it_says(cfg, numbers):
    cfg.val_evaluator.proposal_nums = numbers
    stop_on_errors(cfg)


def test_without_100_it_is_minus_one(folder):
    metric = CocoMetric(ann_file=str(folder / 'annotations.json'), proposal_nums=(1, 10, 50))
    metric.dataset_meta = dict(classes=('square', 'bar'))
    found = dict(bboxes=torch.zeros(1, 4), scores=torch.ones(1), labels=torch.zeros(1, dtype=torch.long))
    metric.process({}, [dict(pred_instances=found, img_id=0, ori_shape=(64, 64))])
    assert metric.evaluate(1)['coco/bbox_mAP'] == -1


def test_items_that_the_metric_does_not_have(cfg, folder):
    metric = CocoMetric(ann_file=str(folder / 'annotations.json'), metric_items=['mAP_77'])
    metric.dataset_meta = dict(classes=('square', 'bar'))
    found = dict(bboxes=torch.zeros(1, 4), scores=torch.ones(1), labels=torch.zeros(1, dtype=torch.long))
    metric.process({}, [dict(pred_instances=found, img_id=0, ori_shape=(64, 64))])
    with pytest.raises(KeyError, match='mAP_77'):
        metric.evaluate(1)
    cfg.val_evaluator.metric_items = ['mAP', 'mAP_77']
    fails(cfg, r"val_evaluator\.metric_items names 'mAP_77', which CocoMetric does not measure.*ends with a KeyError")
    cfg.val_evaluator.metric_items = ['mAP', 'mAP_s', 'AR@1000']
    stop_on_errors(cfg)


# --- names of metrics ------------------------------------------------------------------------------------------------


def test_the_best_by_a_metric_that_is_not_measured(cfg):
    for wrong in ('coco/bbox_mAPs', 'bbox_mAP', 'coco/segm_mAP', ['coco/bbox_mAP', 'loss']):
        cfg.default_hooks.checkpoint.save_best = wrong
        fails(cfg, r"default_hooks\.checkpoint\.save_best is '.*', which no metric of validation is named")
    for right in ('auto', 'coco/bbox_mAP', ['coco/bbox_mAP_50', 'coco/bbox_mAP_s'], None):
        cfg.default_hooks.checkpoint.save_best = right
        stop_on_errors(cfg)
    # Names that are not known here.
    cfg.val_evaluator.classwise = True
    cfg.default_hooks.checkpoint.save_best = 'coco/square_precision'
    stop_on_errors(cfg)
    cfg.val_evaluator = dict(type='VOCMetric')
    after_resize(cfg)
    fails(cfg, r"save_best is 'coco/.*, which no metric .* named \('pascal_voc/AP50', 'pascal_voc/mAP'\)")
    cfg.default_hooks.checkpoint.save_best = 'pascal_voc/mAP'
    stop_on_errors(cfg)


def test_a_training_that_is_to_stop_by_a_metric_that_is_not_measured(cfg):
    cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor='bbox_mAP')]
    fails(cfg, r"custom_hooks\[0\]\.monitor is 'bbox_mAP', which no metric of validation is named")
    cfg.custom_hooks[0].monitor = 'coco/bbox_mAP'
    stop_on_errors(cfg)


def test_the_best_is_not_the_lowest(cfg):
    cfg.default_hooks.checkpoint.update(save_best='coco/bbox_mAP', rule='less')
    fails(cfg, r'default_hooks\.checkpoint\.rule is less, and coco/bbox_mAP is better the higher it is')
    cfg.default_hooks.checkpoint.rule = 'greater'
    stop_on_errors(cfg)
