"""Heads of RoIs that are made for features of another size than they get."""

import pytest
import torch
from checked import MMDET
from mmdet.registry import MODELS
from mmengine.config import Config
from rethink import checks

MASK = 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
CASCADE = 'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'
ROI, RCNN = 'model.roi_head', 'model.train_cfg.rcnn'
BOX, MASKS = f'{ROI}.bbox_roi_extractor.roi_layer.output_size', f'{ROI}.mask_roi_extractor.roi_layer.output_size'
WRONG = [
    (MASK, {f'{ROI}.bbox_head.roi_feat_size': 14}, f'{ROI}.bbox_head.roi_feat_size=7'),
    (MASK, {BOX: 9}, f'{ROI}.bbox_head.roi_feat_size=9'),
    (MASK, {MASKS: 7}, f'{RCNN}.mask_size=14'),
    (MASK, {f'{RCNN}.mask_size': 14}, f'{RCNN}.mask_size is 14, and {ROI}.mask_head makes masks of 28 x 28'),
    (MASK, {f'{ROI}.mask_head.upsample_cfg': dict(type=None)}, f'{RCNN}.mask_size=14'),
    (MASK, {f'{ROI}.bbox_head.in_channels': 128}, 'of 128 channels, and its RoI extractor gives 256'),
    (MASK, {f'{ROI}.mask_head.in_channels': 128}, f'{ROI}.mask_head.in_channels=256'),
    (CASCADE, {f'{ROI}.bbox_head.1.roi_feat_size': 5}, f'{ROI}.bbox_head.1.roi_feat_size=7'),
    (CASCADE, {f'{RCNN}.2.mask_size': 56}, f'{RCNN}.2.mask_size is 56'),
]
RIGHT = [
    (MASK, {}),
    (MASK, {BOX: 9, f'{ROI}.bbox_head.roi_feat_size': 9}),
    (MASK, {MASKS: 7, f'{RCNN}.mask_size': 14}),
    (CASCADE, {}),
    # Heads of their own kind, and what is cut out with a shared head.
    ('faster_rcnn/faster-rcnn_r50-caffe-c4_ms-1x_coco.py', {}),
    ('htc/htc_r50_fpn_1x_coco.py', {}),
    ('point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py', {}),
    ('grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco.py', {}),
    ('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', {}),
    ('retinanet/retinanet_r50_fpn_1x_coco.py', {}),
]


def found(name: str, options: dict) -> list[checks.Finding]:
    cfg = Config.fromfile(str(MMDET / name))
    cfg.merge_from_dict(options)
    return list(checks.RULES['roi-size'][0](checks.Facts(cfg)))


@pytest.mark.parametrize('name, options, says', WRONG, ids=str)
def test_features_of_another_size(name, options, says):
    (one,) = found(name, options)
    assert one.level == 'error' and says in f'{one.what} {one.fix}'


@pytest.mark.parametrize('name, options', RIGHT, ids=str)
def test_what_is_right(name, options):
    assert not found(name, options)


@pytest.mark.parametrize('size', [7, 9])
def test_a_real_head_ends_where_the_rule_says_so(size):
    """With values, on features of the size that the extractor cuts out."""
    cfg = Config.fromfile(str(MMDET / MASK))
    head = MODELS.build(cfg.model.roi_head.bbox_head)
    features = torch.zeros(1, 256, size, size)
    if found(MASK, {BOX: size}):
        with pytest.raises(RuntimeError, match='mat1 and mat2'):
            head(features)
    else:
        assert head(features)[0].shape == (1, 81)
