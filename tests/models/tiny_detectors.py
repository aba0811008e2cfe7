"""Small detectors on backbones of MMDetection, MMPretrain and timm, and real steps of their optimiser."""

import rethink  # noqa: F401  (first: gives mmcv its ops, which mmdet imports)
import torch
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from rethink.engine import launch  # noqa: F401  (registers CPUAmpOptimWrapper)
from torch import nn

register_all_modules(init_default_scope=False)

SIZE = 64

# Name: the plain backbone, in which everything trains, and the channels of the maps that it gives.
BACKBONES = dict(
    resnet=(
        dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, frozen_stages=-1, norm_eval=False),
        (8, 16, 32, 64),
    ),
    timm=(
        dict(
            type='mmpretrain.TIMMBackbone',
            model_name='resnetrs50',
            features_only=True,
            out_indices=(2, 3, 4),
            drop_path_rate=0.3,
        ),
        (512, 1024, 2048),
    ),
    efficientnet=(
        dict(type='mmpretrain.EfficientNet', arch='b0', drop_path_rate=0.3, out_indices=(3, 4, 5)),
        (40, 112, 320),
    ),
    swin=(
        dict(
            type='SwinTransformer',
            embed_dims=24,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
            window_size=4,
            drop_rate=0.1,
            drop_path_rate=0.3,
            out_indices=(1, 2, 3),
        ),
        (48, 96, 192),
    ),
)


def plain(name: str, **more) -> dict:
    """The config of a plain backbone."""
    return BACKBONES[name][0] | more


def frozen(name: str, allow_random: bool = True, **more) -> dict:
    """The same backbone's config, frozen."""
    cfg = plain(name, **more)
    return cfg | dict(type='FrozenBackbone', of=cfg['type'], allow_random=allow_random)


def build(cfg: dict) -> nn.Module:
    init_default_scope('mmdet')
    torch.manual_seed(0)
    return MODELS.build(cfg)


def retinanet(name: str, backbone: dict) -> nn.Module:
    """A RetinaNet of 8 channels, its weights initialised."""
    model = build(
        dict(
            type='RetinaNet',
            data_preprocessor=dict(type='DetDataPreprocessor', mean=[127.0] * 3, std=[64.0] * 3),
            backbone=backbone,
            neck=dict(type='FPN', in_channels=list(BACKBONES[name][1]), out_channels=8, num_outs=4),
            bbox_head=dict(
                type='RetinaHead',
                num_classes=2,
                in_channels=8,
                feat_channels=8,
                stacked_convs=1,
                anchor_generator=dict(
                    type='AnchorGenerator',
                    octave_base_scale=4,
                    scales_per_octave=1,
                    ratios=[1.0],
                    strides=[8, 16, 32, 64],
                ),
                bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
                loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
                loss_bbox=dict(type='L1Loss'),
            ),
            train_cfg=dict(
                assigner=dict(
                    type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1
                ),
                sampler=dict(type='PseudoSampler'),
                allowed_border=-1,
                pos_weight=-1,
            ),
            test_cfg=dict(nms_pre=10, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5),
        )
    )
    model.init_weights()
    return model


def batch(seed: int) -> dict:
    """Two images with a box each, as a data loader gives them."""
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for index in range(2):
        sample = DetDataSample(
            metainfo=dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE), batch_input_shape=(SIZE, SIZE))
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0 + 4 * index, 10.0, 40.0, 44.0]]), labels=torch.tensor([index])
        )
        samples.append(sample)
    images = [torch.randint(0, 256, (3, SIZE, SIZE), generator=generator, dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=images, data_samples=samples)


def optimise(model: nn.Module, wrapper: str = 'OptimWrapper', **more):
    """An optimiser of a model, with momentum and a strong weight decay, as a config says it."""
    optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.1)
    cfg = dict(type=wrapper, optimizer=optimizer, constructor='TrainableOptimWrapperConstructor') | more
    return build_optim_wrapper(model, cfg)


def train(model: nn.Module, optim_wrapper, steps: int = 2) -> None:
    """Steps as MMEngine's loop takes them."""
    for step in range(steps):
        model.train()
        model.train_step(batch(step), optim_wrapper)


def copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def changed(before: dict[str, torch.Tensor], module: nn.Module) -> set[str]:
    """The tensors of a module that are not what they were, to the bit."""
    after = module.state_dict()
    assert before.keys() == after.keys()
    return {key for key, value in before.items() if not torch.equal(value, after[key])}
