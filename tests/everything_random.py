"""Tiny trainings in which everything that can be random is, and what they leave behind."""

import json
from pathlib import Path

import torch
from conftest import write_coco, write_detector
from rethink.analysis.logs import read_run

MASK_RCNN = """
swin = dict(
    type='SwinTransformer', embed_dims=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4), window_size=4, drop_rate=0.1,
    drop_path_rate=0.3, out_indices=(1, 2, 3))
box_head = dict(
    type='Shared2FCBBoxHead', in_channels=12, fc_out_channels=16, roi_feat_size=7, num_classes=2,
    bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
    reg_class_agnostic=False, loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False), loss_bbox=dict(type='L1Loss'))
align = dict(type='RoIAlign', sampling_ratio=0)
extractor = dict(type='SingleRoIExtractor', out_channels=12, featmap_strides=[8, 16])
assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.3, ignore_iof_thr=-1)
sampler = dict(type='RandomSampler', num=24, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=True)
rcnn = dict(assigner=assigner, sampler=sampler, mask_size=14, pos_weight=-1, debug=False)
proposals = dict(nms_pre=60, max_per_img=40, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
model = dict(
    _delete_=True, type='MaskRCNN',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, pad_mask=True, pad_size_divisor=32),
    backbone=swin, neck=dict(type='FPN', in_channels=[24, 48, 96], out_channels=12, num_outs=3),
    rpn_head=dict(
        type='RPNHead', in_channels=12, feat_channels=12, anchor_generator=dict(
            type='AnchorGenerator', scales=[2], ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss')),
    roi_head=dict(
        type='StandardRoIHead', bbox_roi_extractor=dict(extractor, roi_layer=dict(align, output_size=7)),
        bbox_head=box_head, mask_roi_extractor=dict(extractor, roi_layer=dict(align, output_size=7)),
        mask_head=dict(
            type='FCNMaskHead', num_convs=1, in_channels=12, conv_out_channels=8, num_classes=2,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True))),
    train_cfg=dict(
        rpn=dict(assigner=assigner, sampler=dict(sampler, add_gt_as_proposals=False), allowed_border=-1, pos_weight=-1,
                 debug=False),
        rpn_proposal=proposals, rcnn=rcnn),
    test_cfg=dict(
        rpn=proposals,
        rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10, mask_thr_binary=0.5)))
"""

AUGMENTED = """
coco = dict(
    **dataset, pipeline=[
        dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='RandomResize', scale=[(48, 48), (80, 80)], keep_ratio=True),
        dict(type='RandomCrop', crop_size=(40, 40), allow_negative_crop=True),
        dict(type='Resize', scale=(64, 64), keep_ratio=False), dict(type='RandomFlip', prob=0.5)])
mixed = [
    dict(type='CopyPaste', max_num_pasted=4), dict(type='PhotoMetricDistortion'), dict(type='PackDetInputs')]
train_dataloader = dict(
    batch_size=2, num_workers={workers}, persistent_workers={workers} > 0, sampler=dict(type='InfiniteSampler'),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(type='MultiImageMixDataset', dataset=coco, pipeline=mixed))
train_cfg = dict(type='ResumableTrainLoop', max_iters={iterations}, val_interval=5)
optim_wrapper = dict(
    type={wrapper!r}, optimizer=dict(type='AdamW', lr=1e-3), accumulative_counts=3, clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=4, end={iterations})]
default_hooks['checkpoint'] = dict(
    type='AtomicCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=2, save_best='coco/bbox_mAP')
default_hooks['logger']['log_metric_by_epoch'] = False
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01, update_buffers=True)]
log_processor = dict(type='LogProcessor', window_size=4, by_epoch=False)
{more}
"""


def write_masks(folder: Path) -> Path:
    """The images of :func:`conftest.write_coco`, with a mask for each box; the folder."""
    content = json.loads((write_coco(folder) / 'annotations.json').read_text())
    for one in content['annotations']:
        x, y, w, h = one['bbox']
        one['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    (folder / 'annotations.json').write_text(json.dumps(content))
    return folder


def write_everything(file: Path, data: Path, iterations: int = 11, workers: int = 0, amp=True, more: str = '') -> Path:
    """Write the config of a Mask R-CNN with all that is random or kept between steps; the file.

    Copy-Paste, random scales, crops, colours and flips; dropout and drop path; sampling of anchors and RoIs; bfloat16;
    gradients of three iterations, clipped; an average of the weights; a checkpoint at every second iteration, so that
    half of them fall between two updates.
    """
    wrapper = 'CPUAmpOptimWrapper' if amp else 'OptimWrapper'
    text = AUGMENTED.format(iterations=iterations, workers=workers, wrapper=wrapper, more=more)
    return write_detector(file, data, MASK_RCNN.replace('_delete_=True, ', '') + text, workers=workers)


def weights(checkpoint: Path) -> dict:
    """All tensors of a checkpoint by name, those of its optimiser and averages included."""
    content = torch.load(checkpoint, weights_only=False)
    found = {}

    def walk(tree, name):
        if isinstance(tree, torch.Tensor):
            found[name] = tree
        elif isinstance(tree, dict):
            for key, value in tree.items():
                walk(value, f'{name}.{key}')
        elif isinstance(tree, list):
            walk(dict(enumerate(tree)), name)

    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        walk(content.get(part) or {}, part)
    assert found
    return found


def assert_bit_equal(ours: dict, other: dict) -> None:
    """The same tensors, every bit of them."""
    assert ours.keys() == other.keys()
    different = [name for name in ours if not torch.equal(ours[name], other[name])]
    assert not different, f'{len(different)} of {len(ours)} tensors differ, {different[:3]}'


def log(work_dir: Path) -> tuple[dict, dict]:
    """What was logged of each iteration, training and evaluation, without the time that it took."""
    run = read_run(work_dir)
    timed = ('time', 'data_time', 'memory', 'eta')
    return tuple(
        {
            at: {key: value for key, value in entry.items() if key.rsplit('/', 1)[-1] not in timed}
            for at, entry in part.items()
        }
        for part in (dict(sorted(run.train.items())), dict(sorted(run.val.items())))
    )
