"""The losses of study B's detectors divided as Detectron2 divides them, recomputed in float64 from its definitions."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from test_hpt_configs import load
from torch.nn import functional as F


@pytest.fixture(scope='module')
def detector():
    register_all_modules()
    init_default_scope('mmdet')
    cfg = load('finetune_r50_c4_mask_coco_1x').model
    cfg.backbone.update(depth=18, base_channels=4, stem_channels=4, norm_cfg=dict(type='BN'))
    cfg.roi_head.shared_head.update(depth=18, base_channels=4, norm_cfg=dict(type='BN'))
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    cfg.roi_head.bbox_roi_extractor.update(out_channels=16)
    cfg.roi_head.bbox_head.update(in_channels=32)
    cfg.roi_head.mask_head.update(in_channels=32, conv_out_channels=8)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.double()


@pytest.fixture
def samples():
    """Two images of 128 pixels, of one object and of three."""
    found = []
    for boxes in ([[8.0, 8, 100, 90]], [[4.0, 4, 60, 60], [50, 40, 120, 120], [0, 70, 40, 128]]):
        sample = DetDataSample(metainfo=dict(img_shape=(128, 128), scale_factor=(1, 1), pad_shape=(128, 128)))
        masks = BitmapMasks(torch.ones(len(boxes), 128, 128, dtype=torch.uint8).numpy(), 128, 128)
        labels = torch.arange(len(boxes)) + 1
        sample.gt_instances = InstanceData(bboxes=torch.tensor(boxes).double(), labels=labels, masks=masks)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4).double(), labels=torch.zeros(0).long())
        found.append(sample)
    return found


def test_rpn_divides_by_256_anchors_of_each_image(detector, samples, monkeypatch):
    """detectron2, rpn.py: sums of the sampled anchors, divided by batch_size_per_image times images."""
    head, given = detector.rpn_head, {}
    targets = head.get_targets

    def watched(*args, **kwargs):
        given['targets'] = targets(*args, **kwargs)
        return given['targets']

    monkeypatch.setattr(head, 'get_targets', watched)
    for sample in samples:  # as a detector of two stages gives them
        sample.gt_instances.labels.zero_()
    features = (torch.randn(2, 16, 8, 8, dtype=torch.float64),)
    losses = head.loss(features, samples)
    labels, weights, box_targets = (torch.cat(part).flatten(0, 1) for part in given['targets'][:3])
    scores, deltas = (one[0] for one in head(features))
    scores, deltas = scores.permute(0, 2, 3, 1).flatten(), deltas.permute(0, 2, 3, 1).reshape(-1, 4)
    sampled, positive = weights > 0, (labels == 0) & (weights > 0)
    assert sampled.sum() == 2 * 256 and 4 <= positive.sum() < 256
    of_scores = F.binary_cross_entropy_with_logits(
        scores[sampled], (labels[sampled] == 0).double(), reduction='sum'
    ) / (256 * 2)
    of_boxes = F.l1_loss(deltas[positive], box_targets[positive].double(), reduction='sum') / (256 * 2)
    torch.testing.assert_close(losses['loss_rpn_cls'][0], of_scores, check_dtype=False)
    torch.testing.assert_close(losses['loss_rpn_bbox'][0], of_boxes, check_dtype=False)


def test_heads_divide_by_rois_and_by_pixels_of_masks(detector, samples, monkeypatch):
    """detectron2, fast_rcnn.py, mask_head.py: means over RoIs, boxes divided by all of them, a mean over pixels."""
    head, given = detector.roi_head, {}
    for name, part in (('box', head.bbox_head), ('mask', head.mask_head)):
        monkeypatch.setattr(part, 'get_targets', _watched(part.get_targets, given, name))
        monkeypatch.setattr(part, 'forward', _watched(part.forward, given, f'{name} outputs'))
    torch.manual_seed(0)
    proposals = []
    for sample in samples:
        corners = torch.rand(20, 2, dtype=torch.float64) * 60
        boxes = torch.cat([corners, corners + 20 + torch.rand(20, 2, dtype=torch.float64) * 40], 1)
        proposals.append(InstanceData(bboxes=torch.cat([boxes, sample.gt_instances.bboxes + 2])))
    features = (torch.randn(2, 16, 8, 8, dtype=torch.float64),)
    losses = head.loss(features, proposals, samples)
    scores, deltas = given['box outputs']
    labels, _, box_targets, _ = given['box']
    positive = labels < 80
    assert 4 <= positive.sum() < len(labels) < 2 * 512
    torch.testing.assert_close(losses['loss_cls'], F.cross_entropy(scores, labels), check_dtype=False)
    own = deltas.view(-1, 80, 4)[positive, labels[positive]]
    of_boxes = F.l1_loss(own, box_targets[positive].double(), reduction='sum') / len(labels)
    torch.testing.assert_close(losses['loss_bbox'], of_boxes, check_dtype=False)
    masks = given['mask outputs'][torch.arange(int(positive.sum())), labels[positive]]
    of_masks = F.binary_cross_entropy_with_logits(masks, given['mask'].double())
    torch.testing.assert_close(losses['loss_mask'].squeeze(), of_masks, check_dtype=False)


def _watched(function, given: dict, name: str):
    def watched(*args, **kwargs):
        given[name] = function(*args, **kwargs)
        return given[name]

    return watched
