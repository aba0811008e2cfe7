"""Settings with which a run learns nothing, or what is wrong."""

import checked
import numpy as np
import pytest
import settings
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from rethink import checks, config_path

DATA, PIXELS = 'train_dataloader.dataset', 'model.data_preprocessor'
LOAD, ANNOTATIONS = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)
FLIP, RESIZE = dict(type='RandomFlip', prob=0.5), dict(type='Resize', scale=(64, 64))
PACK = dict(type='PackDetInputs')
PRETRAINED = dict(type='Pretrained', checkpoint='torchvision://resnet18')
UNIT = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
NORMALISE, ZERO = dict(type='Normalize', **UNIT), dict(type='Normalize', mean=[0, 0, 0], std=[0, 0, 0])
OF_255 = dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def in_pipeline(*steps, part='train', **more) -> dict:
    """Transforms of a detector that normalises by them."""
    pipeline = [LOAD, ANNOTATIONS, *steps, PACK] if part == 'train' else [LOAD, RESIZE, ANNOTATIONS, *steps, PACK]
    return {f'{PIXELS}.mean': None, f'{PIXELS}.std': None, f'{part}_dataloader.dataset.pipeline': pipeline, **more}


def wrapped(step) -> dict:
    """In the pipeline of a wrapper."""
    inner = dict(type='CocoDataset', ann_file='x.json', pipeline=[LOAD, ANNOTATIONS])
    whole = dict(_delete_=True, type='MultiImageMixDataset', dataset=inner, pipeline=[RESIZE, step, PACK])
    return {f'{PIXELS}.mean': None, f'{PIXELS}.std': None, DATA: whole}


# MMDetection wraps the preprocessor where there are images of several kinds.
BRANCHES = {
    'model.data_preprocessor': dict(_delete_=True, type='MultiBranchDataPreprocessor',
                                    data_preprocessor=dict(type='DetDataPreprocessor', **UNIT))
}  # fmt: skip
BEST = 'default_hooks.checkpoint.save_best'
WRONG = [
    ('no-rate', {'optim_wrapper.optimizer.lr': 0}, 'error', 'the learning rate is 0'),
    ('no-rate', {'optim_wrapper.optimizer.lr': 0.0}, 'error', 'no weight changes'),
    ('pixel-range', {f'{PIXELS}.std': [0, 0, 0]}, 'error', 'become infinite'),
    ('pixel-range', {f'{PIXELS}.std': [58.4, 0.0, 57.4]}, 'error', 'become infinite'),
    ('pixel-range', {f'{PIXELS}.mean': [0.485, 0.456, 0.406], f'{PIXELS}.std': [0.229, 0.224, 0.225]}, 'error',
     'mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]'),
    ('pixel-range', in_pipeline(NORMALISE), 'error', 'Normalize in train_dataloader.dataset.pipeline: mean=[123.675'),
    ('pixel-range', in_pipeline(ZERO), 'error', 'become infinite'),
    ('pixel-range', in_pipeline(NORMALISE, part='val'), 'error', 'of Normalize in val_dataloader.dataset.pipeline'),
    ('pixel-range', in_pipeline(NORMALISE, part='test'), 'error', 'of Normalize in test_dataloader.dataset.pipeline'),
    # Of one in several pipelines, the first is said.
    ('pixel-range', in_pipeline(NORMALISE) | in_pipeline(NORMALISE, part='val'), 'error', 'train_dataloader'),
    ('pixel-range', in_pipeline(dict(type='RandomChoice', transforms=[[RESIZE, NORMALISE], [OF_255]])), 'error',
     'for pixels of 0 to 1'),
    ('pixel-range', in_pipeline(dict(type='RandomApply', transforms=[ZERO])), 'error', 'become infinite'),
    ('pixel-range', in_pipeline(dict(type='MultiBranch', branch_field=['sup'], sup=[NORMALISE])), 'error', '0 to 255'),
    ('pixel-range', in_pipeline(dict(type='mmpretrain.MultiView', num_views=[2], transforms=[[NORMALISE]])), 'error',
     '0 to 255'),
    ('pixel-range', in_pipeline(tta_pipeline=[LOAD, dict(type='TestTimeAug', transforms=[[RESIZE], [NORMALISE]])]),
     'error', 'Normalize in tta_pipeline'),
    ('pixel-range', wrapped(ZERO), 'error', 'train_dataloader.dataset.pipeline'),
    ('pixel-range', BRANCHES, 'error', 'model.data_preprocessor.data_preprocessor: mean=[123.675'),
    # Behind what may divide by 255.
    ('pixel-range', in_pipeline(dict(type='mine.ToUnit'), NORMALISE), 'warning', '0 to 255'),
    ('pixel-range', in_pipeline(dict(type='Albu', transforms=[dict(type='ToFloat')]), NORMALISE), 'warning', 'to 255'),
    ('pipeline-order', {f'{DATA}.pipeline': [LOAD, FLIP, ANNOTATIONS, PACK]}, 'error', 'RandomFlip comes before'),
    ('pipeline-order', {f'{DATA}.pipeline': [LOAD, RESIZE, ANNOTATIONS, PACK]}, 'error', 'Resize comes before'),
    ('unshuffled', {'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=False)}, 'warning', 'shuffle'),
    ('unshuffled', {'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=False)}, 'warning', 'InfiniteS'),
    ('unshuffled', {'train_dataloader.sampler': None}, 'warning', 'no sampler'),
    ('weights-twice', {'load_from': 'a.pth', 'model.backbone.init_cfg': PRETRAINED}, 'note', 'comes after'),
    ('best-of-nothing', {BEST: 'auto', 'val_dataloader': None, 'val_evaluator': None, 'val_cfg': None}, 'warning',
     'nothing is validated'),
    ('best-of-nothing', {'val_evaluator.format_only': True, 'val_evaluator.outfile_prefix': 'x'}, 'note',
     'measures nothing'),
    ('rising-rate', {'param_scheduler.1.gamma': 10}, 'error', 'gamma=0.1'),
    ('no-hook', {'default_hooks.param_scheduler': None}, 'error', 'the learning rate never changes'),
    ('no-hook', {'default_hooks.checkpoint': None}, 'warning', 'nothing is saved'),
    ('average', {'custom_hooks': [dict(type='EMAHook', momentum=0.9998)]}, 'error', 'momentum=0.0002'),
    ('score-threshold', {'model.test_cfg.score_thr': 0.5}, 'warning', 'thrown away before AP'),
]  # fmt: skip
RIGHT = [
    {'optim_wrapper.optimizer.lr': 1e-8},
    {'optim_wrapper.optimizer.lr': 0, 'param_scheduler': [dict(type='OneCycleLR', eta_max=0.1, total_steps=8,
                                                                by_epoch=False)]},
    {f'{PIXELS}.std': [1.0, 1.0, 1.0]},
    {f'{PIXELS}.mean': [123.675, 116.28, 103.53], f'{PIXELS}.std': [58.395, 57.12, 57.375]},
    {f'{PIXELS}.mean': None, f'{PIXELS}.std': None},
    in_pipeline(OF_255),
    in_pipeline(dict(type='Normalize', mean=[0, 0, 0], std=[255, 255, 255])),
    in_pipeline(dict(type='RandomChoice', transforms=[[OF_255], [OF_255]])),
    # torchvision's comes after ToTensor, which divides; albumentations' divides by itself.
    in_pipeline(dict(type='mmpretrain.torchvision/ToTensor'), dict(type='mmpretrain.torchvision/Normalize', **UNIT)),
    in_pipeline(dict(type='Albu', transforms=[dict(type='Normalize', **UNIT)])),
    {f'{DATA}.pipeline': [LOAD, ANNOTATIONS, FLIP, RESIZE, PACK]},
    {f'{DATA}.pipeline': [LOAD, dict(type='PhotoMetricDistortion'), ANNOTATIONS, PACK]},
    {f'{DATA}.pipeline': [LOAD, dict(FLIP, prob=0), ANNOTATIONS, PACK]},
    {'val_dataloader.dataset.pipeline': [LOAD, RESIZE, ANNOTATIONS, PACK]},
    {'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True)},
    {'load_from': 'a.pth'},
    {'model.backbone.init_cfg': PRETRAINED},
    {BEST: 'auto'},
    {'param_scheduler.1.gamma': 0.5},
    {'param_scheduler': None, 'default_hooks.param_scheduler': None},
    {'default_hooks.sampler_seed': None},  # its sampler has no epochs
    {'custom_hooks': [dict(type='EMAHook', momentum=0.0002)]},
    {'model.test_cfg.score_thr': 0.05},
]  # fmt: skip


@pytest.mark.parametrize('rule, options, level, says', WRONG, ids=str)
def test_what_is_wrong(rule, options, level, says):
    settings.check(rule, options, level, says)


@pytest.mark.parametrize('options', RIGHT, ids=str)
def test_what_is_right(options):
    settings.right(options)


def test_pixels_that_a_transform_scales_may_be_meant():
    """One of another package may divide by 255."""
    values = {f'{PIXELS}.mean': [0.4] * 3, f'{PIXELS}.std': [0.2] * 3}
    pipeline = [LOAD, ANNOTATIONS, dict(type='Albu', transforms=[]), dict(type='mine.ToUnit'), PACK]
    settings.check('pixel-range', values | {f'{DATA}.pipeline': pipeline}, 'warning', 'for pixels of 0 to 1')


def test_what_normalising_twice_or_for_other_pixels_makes_of_them():
    """By mmcv's transform: with the numbers for 0 to 1 a thousand times as far, with 0 no numbers."""
    image = np.array([[[0, 128, 255]]], np.uint8)
    right, wrong, zero = (
        TRANSFORMS.build(dict(one, type='mmcv.Normalize')).transform(dict(img=image.copy()))['img']
        for one in (OF_255, NORMALISE, ZERO)
    )
    assert np.abs(right).max() < 3 and np.abs(wrong).max() > 500 and not np.isfinite(zero).all()


def test_the_preprocessor_that_mmengine_gives_to_a_model_without_one():
    config = Config(dict(default_scope='mmdet', model=dict(type='RetinaNet'), data_preprocessor=dict(UNIT)))
    (found,) = checks.RULES['pixel-range'][0](checks.Facts(config))
    assert found.where == 'data_preprocessor' and found.level == 'error'


def test_our_schedule_behind_mmdetections_losses_is_told_and_ours_behind_ours_is_not(tmp_path):
    """What inherits our schedules alone, as folders of `study.py new` did, has had Detectron's optimiser since."""
    detector, schedule = config_path('_base_/models/mask_rcnn_own_fpn_gn.py'), '_base_/schedules/schedule_2x.py'
    own = tmp_path / 'own.py'
    own.write_text(f'_base_ = [{detector!r}, {config_path(schedule)!r}]\n')
    assert Config.fromfile(own).optim_wrapper.paramwise_cfg.bias_lr_mult == 2
    (finding,) = find_two(own)
    assert finding.level == 'warning' and 'optim_wrapper.paramwise_cfg=None' in finding.fix
    own.write_text(own.read_text() + 'optim_wrapper = dict(paramwise_cfg=None)\n')
    assert not find_two(own) and not find_two(checked.OURS) and not find_two(checked.MASK_RCNN)


def find_two(path) -> list[checks.Finding]:
    find, _ = checks.RULES['two-conventions']
    return list(find(checks.Facts(Config.fromfile(path))))
