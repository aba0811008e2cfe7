"""Maps of other channels, strides or numbers than neck and heads are made for."""

import pytest
import settings
import torch
from checked import MMDET
from mmdet.registry import MODELS
from mmengine.config import Config
from rethink import checks
from rethink.checks import levels

# Of a Faster R-CNN; the tiny detector is a FCOS with maps of strides 8 and 16.
FASTER = str(MMDET / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
RPN, ROI = 'model.rpn_head', 'model.roi_head'
WRONG = [
    ({'model.neck.in_channels': [16, 64]}, 'made for maps of [16, 64] channels, and model.backbone gives [16, 32]'),
    ({'model.neck.in_channels': [8, 16, 32]}, 'model.neck.in_channels=[16, 32]'),
    ({'model.backbone.out_indices': (0, 1, 2)}, 'model.neck.in_channels=[8, 16, 32]'),
    ({'model.bbox_head.in_channels': 32}, 'FCOSHead is made for maps of 32 channels, and model.neck gives 16'),
    ({'model.bbox_head.strides': [16, 32]}, 'boxes are looked for elsewhere'),
    ({'model.bbox_head.strides': [8, 16, 32]}, 'the first step ends with it'),
]  # fmt: skip
WRONG_ROI = [
    ({f'{RPN}.anchor_generator.strides': [8, 16, 32, 64, 128]}, f'{RPN}.anchor_generator.strides'),
    ({f'{RPN}.anchor_generator.strides': [4, 8, 16, 32]}, f'{RPN}.anchor_generator.strides=[4, 8, 16, 32, 64]'),
    ({f'{RPN}.in_channels': 128}, f'{RPN}.in_channels=256'),
    ({f'{ROI}.bbox_roi_extractor.featmap_strides': [8, 16, 32, 64]}, 'featmap_strides=[4, 8, 16, 32]'),
    ({f'{ROI}.bbox_roi_extractor.featmap_strides': [4, 8, 16, 32, 64, 128]}, 'zeros where there is no such map'),
    ({f'{ROI}.bbox_roi_extractor.out_channels': 128}, 'out_channels=256'),
    ({'model.backbone.depth': 18}, 'FPN is made for maps of [256, 512, 1024, 2048] channels'),
]  # fmt: skip
RIGHT = [
    {},
    {'model.neck.num_outs': 3, 'model.bbox_head.strides': [8, 16, 32],
     'model.bbox_head.regress_ranges': ((-1, 32), (32, 64), (64, 1e8))},
    {'model.neck.out_channels': 32, 'model.bbox_head.in_channels': 32},
    {'model.backbone.dilations': (1, 1, 2), 'model.backbone.strides': (1, 2, 1), 'model.bbox_head.strides': [8, 8]},
]  # fmt: skip


@pytest.mark.parametrize('options, says', WRONG, ids=str)
def test_a_detector_of_one_stage(options, says):
    settings.check('levels', options, 'error', says)


@pytest.mark.parametrize('options, says', WRONG_ROI, ids=str)
def test_a_detector_of_two_stages(options, says):
    cfg = Config.fromfile(FASTER)
    cfg.merge_from_dict(options)
    (one,) = checks.RULES['levels'][0](checks.Facts(cfg))
    assert one.level == 'error' and says in f'{one.what} {one.why} {one.fix}'


@pytest.mark.parametrize('options', RIGHT, ids=str)
def test_what_is_right(options):
    settings.right(options)


def test_the_maps_are_those_of_real_images():
    """Of a model with values, whose backbone and neck see an image."""
    cfg = Config.fromfile(FASTER)
    facts = checks.Facts(cfg)
    maps = levels._maps(facts, cfg.model.backbone, torch.empty(1, 3, 128, 128, device='meta'))
    maps = levels._maps(facts, cfg.model.neck, tuple(maps))
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    with torch.no_grad():
        real = model.extract_feat(torch.zeros(1, 3, 128, 128))
    assert [tuple(one.shape) for one in maps] == [tuple(one.shape) for one in real]


def test_what_is_no_stack_of_maps_is_left_alone():
    """DETR's transformers, mask heads, and trackers."""
    for name in ('detr/detr_r50_8xb2-150e_coco.py', 'solo/solo_r50_fpn_1x_coco.py', 'ssd/ssd300_coco.py'):
        cfg = Config.fromfile(str(MMDET / name))
        assert not list(checks.RULES['levels'][0](checks.Facts(cfg)))
