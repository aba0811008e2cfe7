"""The whole detector on random weights: what its predictions mean, and test-time augmentation."""

import copy
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from rethink.datasets.coco_keypoint import PERSON_KEYPOINTS, mirrored_order
from rethink.models.keypoint_ops import decode_keypoints

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'shapes' / 'scratch_r18_gn_keypoint_1x.py'
ORDER = mirrored_order(PERSON_KEYPOINTS)


@pytest.fixture(scope='module')
def cfg():
    init_default_scope('mmdet')
    return Config.fromfile(CONFIG)


@pytest.fixture(scope='module')
def model(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    model.init_weights()
    # Random scores are all about a half; few boxes are enough.
    model.roi_head.test_cfg.update(score_thr=0.1, max_per_img=6)
    return model


def view(image, scale=1.0, flip=False):
    """A batch of one image as a pipeline makes it, resized and mirrored, with its meta information."""
    height, width = image.shape[1:]
    if scale != 1:
        image = torch.nn.functional.interpolate(image[None], scale_factor=scale, mode='bilinear')[0]
    meta = dict(
        img_id=0, ori_shape=(height, width), img_shape=tuple(image.shape[1:]), scale_factor=(scale, scale), flip=flip
    )
    meta['flip_direction'] = 'horizontal' if flip else None
    return dict(inputs=[image.flip(-1) if flip else image], data_samples=[DetDataSample(metainfo=meta)])


def plain(model, image, **kwargs):
    with torch.no_grad():
        return model.test_step(view(image, **kwargs))[0].pred_instances


def augmented(cfg, model, *views):
    tta = MODELS.build(dict(cfg.tta_model, module=model))
    data = {key: [copy.deepcopy(one[key]) for one in views] for key in ('inputs', 'data_samples')}
    with torch.no_grad():
        return tta.test_step(data)[0].pred_instances


@pytest.fixture
def image():
    return torch.randint(0, 255, (3, 96, 128), generator=torch.Generator().manual_seed(1)).float()


def same(one, other):
    for key in ('bboxes', 'scores', 'keypoints', 'keypoint_scores'):
        assert torch.allclose(one[key], other[key], atol=2e-3), key


def test_boxes_are_those_of_the_same_detector_without_keypoints(cfg, model, image):
    bare = copy.deepcopy(cfg.model)
    for key in ('keypoint_head', 'keypoint_roi_extractor'):
        bare.roi_head.pop(key)
    bare.roi_head.type = 'StandardRoIHead'
    bare = MODELS.build(bare).eval()
    bare.load_state_dict(model.state_dict(), strict=False)
    bare.roi_head.test_cfg.update(model.roi_head.test_cfg)
    for scale in (1, 2):
        one, other = plain(model, image, scale=scale), plain(bare, image, scale=scale)
        assert len(one) and torch.equal(one.bboxes, other.bboxes) and torch.equal(one.scores, other.scores)


@pytest.mark.parametrize('scale', [1, 2])
def test_keypoints_are_in_their_boxes_in_the_coordinates_of_the_image(model, image, scale):
    found = plain(model, image, scale=scale)
    low, high = found.bboxes[:, None, :2], found.bboxes[:, None, 2:]
    assert found.keypoints.shape == (len(found), 17, 2) and len(found) > 1
    assert ((found.keypoints >= low) & (found.keypoints <= high.clamp(min=1) + 1)).all()
    assert found.bboxes.max() <= 128


def test_nothing_found(model, image):
    model = copy.deepcopy(model)
    model.roi_head.test_cfg.score_thr = 2.0
    found = plain(model, image)
    assert found.bboxes.shape == (0, 4) and found.keypoints.shape == (0, 17, 2)
    assert found.keypoint_scores.shape == (0, 17)


def test_a_batch_gives_each_image_its_own(model, image):
    other = image.flip(0)
    batch = [view(image), view(other)]
    data = {key: [one[key][0] for one in batch] for key in ('inputs', 'data_samples')}
    with torch.no_grad():
        together = [sample.pred_instances for sample in model.test_step(data)]
    same(together[0], plain(model, image))
    same(together[1], plain(model, other))


def test_positive_rois_learn_the_keypoints_of_their_own_person(model):
    """The loss of two people is that of each alone, though they overlap, on the RoIs that are assigned to them."""
    features = [torch.randn(1, 32, 128 // stride, 128 // stride) for stride in (4, 8, 16, 32)]
    rois = torch.tensor([[10.0, 10.0, 70.0, 90.0], [30.0, 20.0, 100.0, 120.0], [12.0, 8.0, 66.0, 96.0]])
    corner, extent = rois[:2, None, :2], (rois[:2, 2:] - rois[:2, :2])[:, None]
    people = torch.cat([torch.rand(2, 17, 2) * 0.8 * extent + corner, torch.full((2, 17, 1), 2.0)], -1)

    def loss(rois, assigned):
        targets = model.roi_head.keypoint_targets(torch.tensor(assigned) + 1, rois, InstanceData(keypoints=people))
        return model.roi_head.keypoint_loss(features, [targets])

    with torch.no_grad():
        together = loss(rois[:2], [0, 1])
        assert together == pytest.approx((loss(rois[:1], [0]) + loss(rois[1:2], [1])).item() / 2, rel=1e-4)
        assert together != pytest.approx(loss(rois[:2], [1, 0]).item(), rel=1e-4)
        # A RoI that none of its person's keypoints is in adds nothing.
        far = torch.tensor([[0.0, 0.0, 5.0, 5.0]])
        assert loss(torch.cat([rois[:1], far]), [0, 1]) == pytest.approx(loss(rois[:1], [0]).item(), rel=1e-5)


def test_keypoints_are_learned_from_all_foreground_rois_and_not_from_the_sample_of_boxes(model, monkeypatch):
    """Forty good proposals of a person; the box head's sampler of 16 draws four of them."""
    head, seen = copy.deepcopy(model.roi_head).train(), []
    monkeypatch.setattr(head, 'keypoint_maps', lambda x, rois: seen.append(rois) or torch.zeros(len(rois), 17, 56, 56))
    monkeypatch.setattr(head, 'bbox_loss', lambda x, sampled: dict(loss_bbox={}, sampled=seen.append(sampled)))
    person = torch.tensor([[10.0, 10.0, 70.0, 90.0]])
    keypoints = torch.cat([torch.rand(1, 17, 2) * 30 + 25, torch.full((1, 17, 1), 2.0)], -1)
    proposals = torch.cat([person + torch.rand(40, 4), torch.tensor([[90.0, 90.0, 120.0, 120.0]]).repeat(20, 1)])

    def rois(num):
        head.bbox_sampler.num = num
        sample = DetDataSample(
            gt_instances=InstanceData(bboxes=person, labels=torch.zeros(1, dtype=torch.long), keypoints=keypoints)
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        features = [torch.zeros(1, 32, 128 // stride, 128 // stride) for stride in (4, 8, 16, 32)]
        head.loss(features, [InstanceData(bboxes=proposals.clone())], [sample])
        (sampled,), found = seen[-2:]
        return sampled.pos_priors, found[:, 1:]

    known = {tuple(box.tolist()) for box in torch.cat([person, proposals[:40]])}
    boxes, found = rois(16)
    assert len(boxes) == len(found) == 4, 'as many as the box head may have'
    everything = {tuple(box.tolist()) for _ in range(20) for box in rois(16)[1]}
    assert everything <= known and len(everything) > 30
    assert {tuple(box.tolist()) for box in rois(4 * 41)[1]} == known, 'the object itself is one of them'
    boxes, found = rois(0)
    assert len(found) == 0
    # Drawn for themselves: those of the box head are others.
    boxes, found = rois(40)
    assert {tuple(box.tolist()) for box in boxes} != {tuple(box.tolist()) for box in found}


def test_one_view_is_plain_testing(cfg, model, image):
    same(augmented(cfg, model, view(image, 2)), plain(model, image, scale=2))


def test_the_order_of_views_does_not_matter(cfg, model, image):
    views = view(image), view(image, flip=True), view(image, 2)
    same(augmented(cfg, model, *views), augmented(cfg, model, *views[::-1]))


def test_the_mirrored_image_has_the_mirrored_people(cfg, model, image):
    """With both ways round averaged, an image and its mirror image say the same, left and right swapped."""
    views = [view(image), view(image, flip=True)]
    mirrored = [view(image.flip(-1)), view(image.flip(-1), flip=True)]
    one, other = augmented(cfg, model, *views), augmented(cfg, model, *mirrored)
    assert len(one) > 1
    assert torch.allclose(one.scores, other.scores, atol=1e-4)
    back = 128 - other.bboxes[:, [2, 1, 0, 3]]
    back[:, [1, 3]] = other.bboxes[:, [1, 3]]
    assert torch.allclose(one.bboxes, back, atol=1e-2)
    assert torch.allclose(one.keypoint_scores, other.keypoint_scores[:, ORDER], atol=1e-3)
    # It is not what one view says.
    assert not torch.allclose(one.keypoint_scores[:1], plain(model, image).keypoint_scores[:1], atol=1e-3)


def test_decoding_is_not_disturbed_by_mixed_precision(image):
    maps, rois = torch.randn(3, 17, 56, 56), torch.tensor([[0.0, 0.0, 100.0, 80.0]] * 3)
    expected = decode_keypoints(maps, rois)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = decode_keypoints(maps, rois)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
