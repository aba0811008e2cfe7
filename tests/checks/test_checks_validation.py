"""What is validated are the images of the file, and the metric gets what it asks for."""

import json

import pytest
from checked import fails
from conftest import write_coco, write_detector
from mmdet.evaluation import VOCMetric
from mmdet.registry import DATASETS
from mmengine.config import Config
from rethink.checks import stop_on_errors

RESIZE = dict(type='Resize', scale=(128, 128), keep_ratio=True)
ANNOTATIONS = dict(type='LoadAnnotations', with_bbox=True)


@pytest.fixture
def cfg(tmp_path, data):
    return Config.fromfile(write_detector(tmp_path / 'tiny.py', data))


def steps(*some):
    return [dict(type='LoadImageFromFile'), *some, dict(type='PackDetInputs')]


def test_the_pipeline_of_training_in_validation(cfg):
    cfg.val_dataloader.dataset.pipeline = cfg.train_dataloader.dataset.pipeline
    fails(cfg, r'val_dataloader\.dataset\.pipeline changes the images that are evaluated \(RandomFlip\)')
    cfg.test_dataloader.dataset.pipeline = cfg.train_dataloader.dataset.pipeline
    fails(cfg, r'test_dataloader\.dataset\.pipeline changes the images', stage='test')
    for name, options in (('RandomCrop', dict(crop_size=(32, 32))), ('CutOut', dict(n_holes=1, cutout_shape=(4, 4)))):
        cfg.val_dataloader.dataset.pipeline = steps(dict(type=name, **options), RESIZE)
        fails(cfg, rf'changes the images that are evaluated \({name}\)')
    cfg.val_dataloader.dataset.pipeline = steps(
        RESIZE, dict(type='RandomFlip', prob=0.0), dict(type='Pad', size_divisor=32)
    )
    stop_on_errors(cfg)
    # Of predictions that are only written nobody knows what they are for.
    cfg.val_dataloader.dataset.pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.val_evaluator.update(format_only=True, outfile_prefix='x')
    stop_on_errors(cfg)


def test_what_is_packed_for_the_metric(cfg):
    pack = cfg.val_dataloader.dataset.pipeline[-1]
    for absent in ('img_id', 'ori_shape', 'scale_factor'):
        pack.meta_keys = tuple({'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'} - {absent})
        fails(cfg, rf"meta_keys of PackDetInputs in val_dataloader\.dataset\.pipeline lacks '{absent}'")
    pack.pop('meta_keys')
    stop_on_errors(cfg)
    file = cfg.val_evaluator.pop('ann_file')
    fails(cfg, rf"val_evaluator has no ann_file, and meta_keys .* no instances.*val_evaluator\.ann_file = '{file}'")
    pack.meta_keys = ('img_id', 'ori_shape', 'img_shape', 'scale_factor', 'instances')
    stop_on_errors(cfg)


def test_boxes_that_are_resized_before_they_are_compared(cfg):
    cfg.val_evaluator = dict(type='VOCMetric')
    cfg.val_dataloader.dataset.pipeline = steps(ANNOTATIONS, RESIZE)
    fails(cfg, r'Resize comes after LoadAnnotations in val_dataloader\.dataset\.pipeline, and val_evaluator compares')
    cfg.val_dataloader.dataset.pipeline = steps(RESIZE)
    fails(cfg, r'val_dataloader\.dataset\.pipeline has no LoadAnnotations')
    cfg.val_dataloader.dataset.pipeline = steps(RESIZE, ANNOTATIONS)
    stop_on_errors(cfg)


@pytest.mark.parametrize(('order', 'ap'), [((ANNOTATIONS, RESIZE), 0), ((RESIZE, ANNOTATIONS), 1)])
def test_why_they_may_not_be(cfg, order, ap):
    """The boxes of the file, as detections of all images, have an AP of 1."""
    dataset = cfg.val_dataloader.dataset.to_dict() | dict(pipeline=steps(*order))
    dataset = DATASETS.build(dataset | dict(_scope_='mmdet'))
    metric = VOCMetric()
    metric.dataset_meta = dict(classes=('square', 'bar'))
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        sample.ignored_instances = sample.gt_instances[:0]
        sample.pred_instances = sample.gt_instances.new()
        record = dataset.get_data_info(index)['instances']
        sample.pred_instances.bboxes = sample.gt_instances.bboxes.tensor.new_tensor([one['bbox'] for one in record])
        sample.pred_instances.labels = sample.gt_instances.labels.new_tensor([one['bbox_label'] for one in record])
        sample.pred_instances.scores = sample.pred_instances.bboxes.new_ones(len(record))
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.tensor
        sample.ignored_instances.bboxes = sample.gt_instances.bboxes[:0]
        metric.process({}, [sample.to_dict()])
    assert metric.evaluate(len(dataset))['pascal_voc/mAP'] == pytest.approx(ap)


def test_metrics_that_the_model_gives_nothing_for(cfg, tmp_path):
    folder = write_coco(tmp_path / 'data')
    content = json.loads((folder / 'annotations.json').read_text())
    for one in content['annotations']:
        one['segmentation'] = [[1, 1, 9, 1, 9, 9]]
    (folder / 'annotations.json').write_text(json.dumps(content))
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', folder))
    cfg.val_evaluator.metric = ['bbox', 'segm']
    fails(cfg, r'val_evaluator\.metric asks for segm, and the model gives boxes alone')
    cfg.model.mask_head = dict(type='SOLOHead')
    cfg.val_evaluator.iou_thrs = [0.5]  # the next rule: that of the head is content
    fails(cfg, 'looks for 0.5 and 0.75')


def test_thresholds_that_pycocotools_ends_with(cfg, capsys):
    cfg.val_evaluator.iou_thrs = [0.5, 0.75]
    fails(cfg, r'val_evaluator\.iou_thrs is \[0\.5, 0\.75\], and pycocotools looks for 0\.5 and 0\.75')
    cfg.val_evaluator.metric = 'proposal_fast'
    stop_on_errors(cfg)


def test_a_training_without_boxes(cfg):
    pipeline = cfg.train_dataloader.dataset.pipeline
    pipeline[1].with_bbox = False
    fails(cfg, r'train_dataloader\.dataset\.pipeline loads no boxes')
    del pipeline[1]
    fails(
        cfg, r"train_dataloader\.dataset\.pipeline loads no boxes \('LoadImageFromFile', 'PackDetInputs', 'RandomFlip'"
    )
