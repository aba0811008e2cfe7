"""A detector in ONNX finds what it finds in PyTorch, in images that it was not exported with as well."""

import json
import re

import numpy as np
import pytest
import torch
from conftest import ROOT, write_coco, write_detector
from mmdet.models.roi_heads.mask_heads import HTCMaskHead
from rethink.analysis.look.inferencer import Inferencer
from rethink.checks.classes import head_classes
from rethink.engine import launch
from rethink.errors import ConfigError

# Of requirements/long.txt.
pytest.importorskip('onnx', reason='onnx is not installed: pip install -r requirements/long.txt')
onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytestmark = pytest.mark.long

from rethink.analysis import onnx_export  # noqa: E402
from rethink.analysis.onnx_export import Found, differences  # noqa: E402

THREE_MASKS = 'a mask head for each stage'


def random_weights(cfg, file, seed: int) -> str:
    """Those that a training would begin with, with a head that prefers some places to others."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    for name, parameter in model.named_parameters():
        if ('fc_cls' in name or 'rpn_cls' in name or 'retina_cls' in name) and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    ((_, number), *_) = head_classes(cfg.model)
    names = [f'class {at}' for at in range(number)]
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=names))), file)
    return str(file)


def write_images(folder) -> list[str]:
    """Of one size."""
    data = write_coco(folder / 'data', images=8, size=128)
    return sorted(map(str, (data / 'images').iterdir()))[1::2]


def random_detector(name, folder, seed: int = 1) -> Inferencer:
    if name == 'FCOS':
        name = str(write_detector(folder / 'tiny.py', folder / 'data'))
    name, _, variant = name.partition(', ')
    cfg = launch.load_config(name)
    cfg.model.backbone.init_cfg = None
    if variant == THREE_MASKS:
        cfg.model.roi_head.update(type='CascadeRoIHead', mask_head=[cfg.model.roi_head.mask_head] * 3)
    launch.import_custom(cfg)
    return Inferencer(cfg, random_weights(cfg, folder / 'w.pth', seed), 'cpu')


def as_documented():
    """``of_image`` of docs/look.md: a mask of a box as one of the image."""
    (text,) = re.findall(r'```python\n(import numpy as np\n.*?)```', (ROOT / 'docs/look.md').read_text(), re.DOTALL)
    names = {}
    exec(text, names)
    return names['of_image']


# With NAS-FPN, whose maps MMDetection asks for their sizes, there are no masks here. The seeds are such that no two
# boxes overlap as far as NMS allows to the last digits: one such pair, of random weights, makes another detection.
@pytest.mark.parametrize(
    'name, seed',
    [
        ('FCOS', 1),
        ('configs/shapes/scratch_r18_gn_1x.py', 1),
        ('configs/shapes/scratch_r18_gn_cascade_6x.py', 1),
        (f'configs/shapes/scratch_r18_gn_cascade_6x.py, {THREE_MASKS}', 1),
        ('configs/shapes/scratch_r18_gn_tail_nasfpn_cascade_2x.py', 2),
    ],
)
def test_onnxruntime_finds_what_mmdetection_finds_in_any_image_of_the_size(name, seed, tmp_path):
    """Exported with one image, compared in four; the comparison here is not that of the tool."""
    images = write_images(tmp_path)
    inferencer = random_detector(name, tmp_path, seed)
    said = onnx_export.export(inferencer, images[:1], tmp_path / 'model.onnx')
    assert 'detections of PyTorch in 1 of them' in said
    session = onnxruntime.InferenceSession(str(tmp_path / 'model.onnx'))
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about['classes']) == list(inferencer.model.dataset_meta['classes'])
    for image in images:
        pixels = inferencer.image(image)['inputs'][None].float().numpy()
        assert pixels.shape[2:] == (int(about['height']), int(about['width']))
        boxes, scores, labels, *masks = session.run(None, dict(image=pixels))
        expected = inferencer.find([inferencer.image(image)])[0].pred_instances
        scale = pixels.shape[3] / 128
        assert len(boxes) == len(expected) > 5
        np.testing.assert_allclose(np.sort(scores), np.sort(expected.scores.numpy()), atol=1e-4)
        assert sorted(labels.tolist()) == sorted(expected.labels.tolist())
        for box, score, label in zip(boxes, scores, labels, strict=True):
            same = (expected.labels == label) & ((expected.scores - score).abs() < 1e-4)
            assert (expected.bboxes[same].numpy() * scale - box).__abs__().max(1).min() < 0.05
        assert len(masks) == ('masks' in expected) == (name != 'FCOS' and 'nasfpn' not in name)
        for box, score, label, mask in zip(boxes, scores, labels, *masks, strict=False) if masks else ():
            same = (expected.labels == label) & ((expected.scores - score).abs() < 1e-4)
            wanted = expected.masks[same].numpy()
            apart = wanted != as_documented()(mask, box / scale, *wanted.shape[1:])
            assert apart.sum((1, 2)).min() <= 4


def test_what_differs_is_told_and_nothing_is_written(tmp_path, monkeypatch):
    images = write_images(tmp_path)
    inferencer = random_detector('FCOS', tmp_path)
    of_pytorch = onnx_export._of_pytorch
    monkeypatch.setattr(
        onnx_export, '_of_pytorch', lambda *one: of_pytorch(*one)._replace(boxes=of_pytorch(*one)[0] + 1)
    )
    with pytest.raises(ConfigError, match='not all of them are the same to 0.1 pixels'):
        onnx_export.export(inferencer, images, tmp_path / 'model.onnx')
    tall = str(tmp_path / 'data' / 'images' / '000.png')
    with pytest.raises(ConfigError, match='another size'):
        onnx_export.export(inferencer, [*images, tall], tmp_path / 'model.onnx')
    assert not list(tmp_path.glob('*.onnx*'))


def test_a_model_of_another_kind_is_refused(tmp_path):
    images = write_images(tmp_path)
    inferencer = random_detector('configs/shapes/scratch_r18_gn_1x.py', tmp_path)
    inferencer.model.test_cfg.rcnn.nms.type = 'soft_nms'
    with pytest.raises(ConfigError, match="one with soft_nms, .* all with type='nms'"):
        onnx_export.export(inferencer, images, tmp_path / 'model.onnx')
    inferencer.model.test_cfg.rcnn.nms.type = 'nms'
    inferencer.model.roi_head.mask_head = HTCMaskHead(num_classes=5)
    with pytest.raises(ConfigError, match='a MaskRCNN with a StandardRoIHead and other parts'):
        onnx_export.export(inferencer, images, tmp_path / 'model.onnx')


def test_differences_are_found_in_each_direction():
    boxes = np.array([[0, 0, 10, 10], [5, 5, 20, 20.0]])
    one = Found(boxes, np.array([0.9, 0.5]), np.array([0, 1]))
    assert differences(one, one) == (0, 0)
    swapped = Found(boxes[::-1] + 0.01, one.scores[::-1] + 1e-4, one.labels[::-1])
    assert differences(one, swapped) == pytest.approx((0.01, 1e-4))
    for other in (
        one._replace(boxes=boxes + 0.2),
        one._replace(labels=np.array([1, 1])),
        one._replace(scores=np.array([0.8, 0.5])),
        Found(boxes[:1], one.scores[:1], one.labels[:1]),
        Found(boxes[:0], one.scores[:0], one.labels[:0]),
    ):
        assert differences(one, other) == differences(other, one) == (np.inf, np.inf)
    none = Found(boxes[:0], one.scores[:0], one.labels[:0], np.zeros((0, 28, 28), np.float32))
    assert onnx_export._laid(none, dict(ori_shape=(20, 30)), 0.5).shape == (0, 20, 30)
    masks = np.zeros((2, 20, 20), bool)
    masks[:, 2:18, 2:18] = True
    masked, other = one._replace(masks=masks), one._replace(masks=masks.copy())
    other.masks[0, 2, 2:6] = False
    assert differences(masked, other) == (0, 0)
    other.masks[0, 2, 6] = False
    assert differences(masked, other) == (np.inf, np.inf)


def test_one_of_the_weakest_needs_no_partner_where_the_limit_cuts_alone():
    boxes = np.arange(16.0).reshape(4, 4)
    one = Found(boxes, np.array([0.9, 0.5, 0.2, 0.2]), np.zeros(4, int))
    other = one._replace(boxes=np.concatenate([boxes[:3], boxes[3:] + 50]))
    assert differences(one, other, limit=4) == (0, 0)
    assert differences(one, other, limit=100) == differences(one, other) == (np.inf, np.inf)
    # Not a strong one, and not half of them.
    for wrong in (
        one._replace(boxes=np.concatenate([boxes[:1] + 50, boxes[1:]])),
        one._replace(boxes=np.concatenate([boxes[:2], boxes[2:] + 50])),
    ):
        assert differences(one, wrong, limit=4) == (np.inf, np.inf)
