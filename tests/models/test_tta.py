"""Test-time augmentation: against plain testing, against loops written out, and through the tool."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from conftest import ROOT, run_tool
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from rethink.models.tta import DetectronTTAModel, box_voting, boxes_from_view, boxes_to_view, sorted_by_content
from torch import nn
from torchvision.ops import roi_align

KEYS = ('bboxes', 'scores', 'labels')


def iou(one, other) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - common)


def voting_by_hand(kept, kept_scores, kept_labels, boxes, scores, labels, threshold, method):
    """Detectron's ``box_voting`` for each class, as loops over Python's float64."""
    new_boxes, new_scores = [], []
    for box, score, label in zip(kept, kept_scores, kept_labels, strict=True):
        voters = [
            (other, weight, iou(box, other))
            for other, weight, its in zip(boxes, scores, labels, strict=True)
            if its == label and iou(box, other) >= threshold
        ]
        total = sum(weight for _, weight, _ in voters)
        new_boxes.append([sum(other[side] * weight for other, weight, _ in voters) / total for side in range(4)])
        if method == 'AVG':
            score = total / len(voters)
        elif method == 'IOU_AVG':
            score = sum(weight * shared for _, weight, shared in voters) / sum(shared for *_, shared in voters)
        new_scores.append(score)
    return np.array(new_boxes), np.array(new_scores)


def clusters(number: int = 30, each: int = 9, seed: int = 0):
    """Boxes in clusters of a pixel's width, of three classes, and the first of each cluster as what NMS has kept."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(number, 1, 2, generator=generator) * 200
    size = torch.rand(number, 1, 2, generator=generator) * 40 + 20
    boxes = torch.cat([corner, corner + size], 2) + torch.randn(number, each, 4, generator=generator)
    scores = torch.rand(number, each, generator=generator) * 0.9 + 0.05
    labels = torch.randint(3, (number, each), generator=generator)
    flat = boxes.reshape(-1, 4), scores.flatten(), labels.flatten()
    return (boxes[:, 0], scores[:, 0], labels[:, 0]), flat


@pytest.mark.parametrize('method', ['ID', 'AVG', 'IOU_AVG'])
@pytest.mark.parametrize('threshold', [0.5, 0.9])
def test_box_voting_is_detectrons(method, threshold, monkeypatch):
    monkeypatch.setattr('rethink.models.tta._VOTERS_AT_ONCE', 7)
    kept, pool = clusters()
    boxes, scores = box_voting(*kept, *pool, iou=threshold, score=method)
    lists = [part.double().tolist() for part in (*kept, *pool)]
    expected_boxes, expected_scores = voting_by_hand(*lists, threshold, method)
    np.testing.assert_allclose(boxes, expected_boxes, rtol=0, atol=2e-5)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-6)
    assert boxes.dtype == scores.dtype == torch.float32
    assert (boxes - kept[0]).abs().max() > 0.1, 'somebody else has voted'
    assert torch.equal(scores, kept[1]) == (method == 'ID')


def test_who_votes_alone_and_who_is_empty_stay_bit_for_bit():
    boxes = torch.tensor([[0.1, 0.2, 10.3, 10.7], [50.0, 50.0, 50.0, 60.0]])
    scores, labels = torch.tensor([0.3, 0.7]), torch.tensor([0, 0])
    voted, _ = box_voting(boxes, scores, labels, boxes, scores, labels)
    assert torch.equal(voted, boxes)
    with pytest.raises(ValueError, match="not 'MAX'"):
        box_voting(boxes, scores, labels, boxes, scores, labels, score='MAX')


def test_the_order_of_boxes_is_that_of_their_scores_then_of_their_content():
    boxes = torch.tensor([[2.0, 0, 9, 9], [1.0, 0, 9, 9], [1.0, 0, 9, 8], [0.0, 0, 9, 9]])
    scores, labels = torch.tensor([0.5, 0.5, 0.5, 0.2]), torch.tensor([1, 1, 0, 0])
    first = sorted_by_content(boxes, scores, labels)
    assert (first[1].diff() <= 0).all()
    for order in itertools.permutations(range(4)):
        order = list(order)
        again = sorted_by_content(boxes[order], scores[order], labels[order])
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_boxes_go_to_a_view_as_the_pipeline_takes_them(direction):
    """mmdet's own Resize and RandomFlip move the boxes of an annotation; ours must land there, and come back."""
    from mmdet.datasets.transforms import RandomFlip, Resize
    from mmdet.structures.bbox import HorizontalBoxes

    boxes = torch.tensor([[3.0, 5.0, 40.0, 31.0], [0.0, 0.0, 97.0, 61.0]])
    results = dict(img=np.zeros((61, 97, 3), np.uint8), img_shape=(61, 97), ori_shape=(61, 97))
    results['gt_bboxes'] = HorizontalBoxes(boxes.clone())
    for transform in (Resize(scale=(150, 111), keep_ratio=True), RandomFlip(prob=1.0, direction=direction)):
        results = transform(results)
    there = boxes_to_view(boxes, results)
    torch.testing.assert_close(there, results['gt_bboxes'].tensor, rtol=0, atol=1e-4)
    torch.testing.assert_close(boxes_from_view(there, results), boxes, rtol=0, atol=1e-4)


# --- views of an image whose content says what is right --------------------------------------------------------------


class FromTheImage(nn.Module):
    """A stand-in for a two-stage detector that sees: one RoI around what is bright, its mask the brightness in it.

    It follows every resize and flip because it looks at the picture of the view, and knows nothing of how TTA maps
    coordinates.
    """

    def __init__(self, score_thr: float = 0.05) -> None:
        super().__init__()
        self.rpn_head = self.roi_head = self
        self.with_mask = True
        test_cfg = dict(score_thr=score_thr, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5)
        self.test_cfg = ConfigDict(**test_cfg, mask_thr_binary=0.5)
        register_all_modules()
        self.mask_head = MODELS.build(dict(type='mmdet.FCNMaskHead', num_convs=0, num_classes=2))
        self.seen = []

    def data_preprocessor(self, data, training):
        inputs = [image.float() for image in data['inputs']]
        return dict(inputs=torch.stack(inputs), data_samples=[copy.copy(one) for one in data['data_samples']])

    def test_step(self, data):
        raise AssertionError('a pass of its own, after which boxes are gone')

    def extract_feat(self, inputs):
        self.seen.append(tuple(inputs.shape[-2:]))
        return (inputs[:, :1],)

    def predict(self, features, samples, rescale):
        return [None] * len(samples)

    def predict_bbox(self, features, metas, proposals, rcnn_test_cfg, rescale):
        found = []
        for (image,) in features[0]:
            y, x = (image > 127).nonzero(as_tuple=True)
            box = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
            # Class 1 with 0.6, class 0 below the threshold, background.
            found.append(InstanceData(bboxes=box.repeat(1, 2), scores=torch.tensor([[0.01, 0.6, 0.39]])))
        return found

    def _mask_forward(self, features, rois):
        pooled = roi_align(features[0], rois, 28, sampling_ratio=2, aligned=True)
        return dict(mask_preds=torch.cat([torch.zeros_like(pooled), (pooled - 127) / 20], 1))


def flipped_and_resized(sizes, flips) -> dict:
    """The transforms of a TTA pipeline after loading."""
    keys = ('img_id', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
    flip = [dict(type='RandomFlip', prob=float(bool(one)), direction=one or 'horizontal') for one in flips]
    resize = [dict(type='Resize', scale=size, keep_ratio=True) for size in sizes]
    pack = [dict(type='PackDetInputs', meta_keys=keys)]
    return dict(type='TestTimeAug', transforms=[resize, flip, pack])


def an_l(height=90, width=120) -> np.ndarray:
    """A thick L, which no flip maps to itself, in a picture (height, width, 3)."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[20:70, 30:45] = 255
    picture[55:70, 30:95] = 255
    return picture


def views_of(picture, sizes, flips) -> dict:
    register_all_modules()
    init_default_scope('mmdet')
    shape = picture.shape[:2]
    results = dict(img=picture, img_shape=shape, ori_shape=shape, img_id=3)
    return pseudo_collate([TRANSFORMS.build(flipped_and_resized(sizes, flips))(results)])


def test_boxes_and_masks_of_all_views_meet_in_the_image():
    picture = an_l()
    model = DetectronTTAModel(FromTheImage(), dict(vote=dict(iou=0.8)))
    sizes, flips = [(120, 90), (200, 150), (333, 200), (97, 80)], [None, 'horizontal', 'vertical', 'diagonal']
    (sample,) = model.test_step(views_of(picture, sizes, flips))
    found = sample.pred_instances
    assert found.labels.tolist() == [1] and found.scores.tolist() == [pytest.approx(0.6)]
    torch.testing.assert_close(found.bboxes, torch.tensor([[30.0, 20.0, 95.0, 70.0]]), rtol=0, atol=0.7)
    truth = torch.from_numpy(picture[..., 0] > 0)
    assert found.masks.shape == (1, 90, 120) and found.masks.dtype == torch.bool
    agree = (found.masks[0] & truth).sum() / (found.masks[0] | truth).sum()
    assert agree > 0.93, 'of the L; any flip that is not undone would leave less than half'
    assert sample.img_id == 3 and sample.ori_shape == sample.img_shape == (90, 120)
    # Features of each view twice, in turn: boxes, then masks.
    assert len(model.module.seen) == 2 * 16 and model.module.seen[:16] == model.module.seen[16:]


def test_masks_are_averaged_as_probabilities():
    """0.9 and 0.2 are 0.55; as logits they would be 0.6, as votes 0.5."""
    model = FromTheImage()
    logits = iter(torch.logit(torch.tensor([0.9, 0.2])))
    model._mask_forward = lambda features, rois: dict(mask_preds=next(logits).expand(len(rois), 2, 28, 28))
    pasted = []

    def predict_by_feat(cells, boxes, *_, **__):
        pasted.extend(cells)
        return [InstanceData(masks=torch.zeros(1, 90, 120))]

    model.mask_head.predict_by_feat = predict_by_feat
    DetectronTTAModel(model).test_step(views_of(an_l(), [(120, 90)], [None, 'horizontal']))
    assert pasted[0].shape == (1, 1, 28, 28)
    np.testing.assert_allclose(pasted[0], 0.55, atol=1e-6)


def test_an_image_without_boxes_has_none_and_costs_no_second_pass():
    model = DetectronTTAModel(FromTheImage(score_thr=0.7))
    (sample,) = model.test_step(views_of(an_l(), [(120, 90), (200, 150)], [None]))
    found = sample.pred_instances
    assert found.bboxes.shape == (0, 4) and found.masks.shape == (0, 90, 120) and found.masks.dtype == torch.bool
    assert len(model.module.seen) == 2


def test_what_it_cannot_wrap_or_does_not_know_is_said():
    class OneStage(nn.Module):
        def test_step(self, data):
            return data

    with pytest.raises(TypeError, match='OneStage is none'):
        DetectronTTAModel(OneStage())
    with pytest.raises(TypeError, match=r"not \['voting'\]"):
        DetectronTTAModel(FromTheImage(), dict(voting=None))


# --- a real detector -------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    """A folder with a few images of shapes."""
    folder = tmp_path_factory.mktemp('shapes')
    numbers = ['--train', 2, '--val', 4, '--crop-train', 5, '--crop-val', 5]
    done = run_tool('dataset_converters/make_shapes.py', folder, *numbers)
    assert done.returncode == 0, done.stderr
    return folder


def build(masks: bool = True, spread: float = 20.0) -> tuple[Config, nn.Module]:
    """The shapes detector with random weights, its scores spread out by a factor, or all the same with 0."""
    register_all_modules()
    cfg = Config.fromfile(ROOT / 'configs/shapes/scratch_r18_gn_1x.py')
    if not masks:
        cfg.model.update(type='FasterRCNN')
        for key in ('mask_head', 'mask_roi_extractor'):
            cfg.model.roi_head.pop(key)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    with torch.no_grad():
        model.roi_head.bbox_head.fc_cls.weight *= spread
        model.roi_head.bbox_head.fc_reg.weight *= 20
        if masks:
            model.roi_head.mask_head.conv_logits.weight *= 20
    return cfg, model.eval()


def batch(cfg, shapes, pipeline, images=2) -> dict:
    dataset = dict(cfg.test_dataloader.dataset, data_root=f'{shapes}/detection/', pipeline=pipeline)
    dataset = DATASETS.build(dataset)
    return pseudo_collate([dataset[index] for index in range(images)])


def tta(cfg, model, **options) -> nn.Module:
    tta_cfg = dict(cfg.tta_model.tta_cfg) | options
    return MODELS.build(dict(cfg.tta_model, tta_cfg=tta_cfg, module=model))


def pipeline(sizes, flips) -> list:
    return [dict(type='LoadImageFromFile'), flipped_and_resized(sizes, flips)]


def assert_same(ones, others, masks=True) -> None:
    for one, other in zip(ones, others, strict=True):
        assert len(one.pred_instances) > 5
        for key in (*KEYS, 'masks') if masks else KEYS:
            assert torch.equal(one.pred_instances[key], other.pred_instances[key]), key


@pytest.mark.parametrize('masks', [True, False])
@pytest.mark.parametrize('spread', [20.0, 0.0])
@torch.no_grad()
def test_one_view_as_it_is_equals_plain_testing(shapes, masks, spread):
    cfg, model = build(masks, spread)
    plain = model.test_step(batch(cfg, shapes, cfg.test_pipeline))
    alone = tta(cfg, model).test_step(batch(cfg, shapes, pipeline([(128, 128)], [None])))
    assert_same(plain, alone, masks)
    assert {one.img_id for one in plain} == {one.img_id for one in alone}


@pytest.mark.parametrize('spread', [20.0, 0.0])
@torch.no_grad()
def test_the_order_of_the_views_changes_no_bit(shapes, spread):
    """With ``spread=0`` all scores are tied, so that NMS has to choose among equals."""
    cfg, model = build(spread=spread)
    data = batch(cfg, shapes, pipeline([(112, 112), (128, 128), (160, 160)], [None, 'horizontal']))
    wrapped = tta(cfg, model)
    first = wrapped.test_step(copy.deepcopy(data))
    plain = tta(cfg, model, vote=None).test_step(copy.deepcopy(data))
    pairs = [(one.pred_instances.bboxes, other.pred_instances.bboxes) for one, other in zip(first, plain, strict=True)]
    assert not all(torch.equal(one, other) for one, other in pairs), 'voting moves boxes'
    for order in ([5, 4, 3, 2, 1, 0], [2, 0, 4, 1, 5, 3]):
        shuffled = {key: [value[index] for index in order] for key, value in data.items()}
        assert_same(first, wrapped.test_step(shuffled))


@torch.no_grad()
def test_a_batch_of_images_equals_image_by_image(shapes):
    cfg, model = build()
    views = pipeline([(112, 112), (128, 128)], [None, 'horizontal'])
    wrapped = tta(cfg, model)
    together = wrapped.test_step(batch(cfg, shapes, views))
    for index, one in enumerate(together):
        data = batch(cfg, shapes, views, images=2)
        alone = {key: [[view[index]] for view in value] for key, value in data.items()}
        (alone,) = wrapped.test_step(alone)
        assert len(alone.pred_instances) == len(one.pred_instances) > 5
        # Convolutions of two images round differently than those of one.
        torch.testing.assert_close(alone.pred_instances.bboxes, one.pred_instances.bboxes, rtol=0, atol=1e-3)
        differing = (alone.pred_instances.masks != one.pred_instances.masks).float().mean()
        assert differing < 1e-3


@torch.no_grad()
def test_mmdets_own_cascade_with_a_mask_head_in_each_stage(shapes):
    cfg, _ = build()
    roi_head, rcnn = cfg.model.roi_head, cfg.model.train_cfg.rcnn
    roi_head.update(type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 0.5])
    roi_head.bbox_head.reg_class_agnostic = True
    cfg.model.train_cfg.rcnn = [rcnn, rcnn]
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    plain = model.eval().test_step(batch(cfg, shapes, cfg.test_pipeline))
    alone = tta(cfg, model).test_step(batch(cfg, shapes, pipeline([(128, 128)], [None])))
    assert_same(plain, alone)


def test_the_tool(shapes, tmp_path):
    """`tools/test.py --tta` in one process and in two, with the views of the config."""
    cfg, model = build()
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'model.pth')
    root = f'{shapes}/detection/'
    options = [f'test_dataloader.dataset.data_root={root}', 'test_dataloader.batch_size=2']
    options += [f'test_evaluator.ann_file={root}annotations/instances_val2017.json']
    options += ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']
    config = 'configs/shapes/scratch_r18_gn_1x.py'
    found = []
    for tool, processes in (('test.py', []), ('dist_test.sh', [2])):
        arguments = [config, tmp_path / 'model.pth', *processes, '--tta', '--work-dir', tmp_path / tool]
        arguments += ['--out', tmp_path / f'{tool}.pkl', '--cfg-options', *options]
        done = run_tool(tool, *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        assert 'coco/segm_mAP' in done.stdout + done.stderr
        with open(tmp_path / f'{tool}.pkl', 'rb') as file:
            found.append({one['img_id']: one['pred_instances'] for one in pickle.load(file)})
    one, two = found
    assert len(one) == 4 and one.keys() == two.keys()
    for image, instances in one.items():
        torch.testing.assert_close(instances['bboxes'], two[image]['bboxes'], rtol=0, atol=1e-3)


def test_every_config_of_the_sweep_is_augmented_as_detectron_does():
    """Sizes and flips of the paper's test-time augmentation; plain testing's size is one of them."""
    sides = {400, 500, 600, 700, 800, 900, 1000, 1100, 1200}
    names = [
        f'{init}_{depth}_gn_{n}x' for init in ('scratch', 'pretrain') for depth in ('r50', 'r101') for n in (2, 6)
    ]
    for name in names:
        cfg = Config.fromfile(ROOT / 'configs/rethink' / f'{name}.py')
        assert cfg.tta_model.type == 'DetectronTTAModel'
        assert cfg.tta_model.tta_cfg.vote == dict(iou=0.9, score='ID')
        # Two places, because the detector's are those of plain testing: they must not drift apart.
        rcnn = cfg.model.test_cfg.rcnn
        assert cfg.tta_model.tta_cfg.nms == rcnn.nms and cfg.tta_model.tta_cfg.max_per_img == rcnn.max_per_img
        load, views = cfg.tta_pipeline
        resize, flip, *_ = views.transforms
        assert {min(one.scale) for one in resize} == sides and len(resize) == 9
        assert all(max(one.scale) <= 2000 and one.keep_ratio for one in resize)
        (plain,) = [step.scale for step in cfg.test_pipeline if step.type == 'Resize']
        assert plain in [one.scale for one in resize]
        assert [one.prob for one in flip] == [0.0, 1.0]
