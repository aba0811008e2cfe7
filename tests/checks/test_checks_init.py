"""Rules of initialisation: each fires on a config that it is for, and not on the corrected one."""

import pytest
from checked import BN, MASK_RCNN, MMDET, OURS, RANDOM, check_case, found
from mmengine.config import Config
from rethink import config_path
from rethink.checks import init

CAFFE = str(MMDET / 'mask_rcnn/mask-rcnn_r50-caffe_fpn_1x_coco.py')
# rule → (level, config, overrides that trigger it, GPUs; overrides that do not, GPUs)
CASES = {
    'frozen-random': ('error', MASK_RCNN, RANDOM, None, {**RANDOM, 'model.backbone.frozen_stages': -1}, None),
    'frozen-bn-random': (
        'error',
        MASK_RCNN,
        {**RANDOM, 'model.backbone.norm_cfg': dict(type='BN', requires_grad=False)},
        None,
        {'model.backbone.norm_cfg': dict(type='BN', requires_grad=False)},
        None,
    ),
    'bn-eval-random': (
        'error',
        MASK_RCNN,
        {**RANDOM, 'model.backbone.frozen_stages': -1},
        None,
        {**RANDOM, 'model.backbone.frozen_stages': -1, 'model.backbone.norm_eval': False},
        None,
    ),
    'small-batch-bn': ('warning', OURS, BN, None, {}, None),
    'pixels': (
        'warning',
        CAFFE,
        {'model.data_preprocessor.bgr_to_rgb': True},
        None,
        {},
        None,
    ),
    'frozen-capacity': (
        'warning',
        str(MMDET / 'retinanet/retinanet_r101_fpn_1x_coco.py'),
        {'model.backbone.type': 'FrozenBackbone', 'model.backbone.of': 'ResNet'},
        None,
        {},
        None,
    ),
}


@pytest.mark.parametrize('name', CASES)
def test_a_config_that_triggers_it_and_one_that_does_not(name):
    check_case(name, *CASES[name])


def test_init_cfg_none_alone():
    """The usual first try: frozen stages, and BN in evaluation mode, over random weights, for 1x."""
    assert {'frozen-random', 'bn-eval-random', 'scratch-short'} <= found(MASK_RCNN, RANDOM).keys()


def test_bn_with_two_images():
    tried = {**RANDOM, **BN, 'model.backbone.frozen_stages': -1}
    wrong = found(MASK_RCNN, tried)
    assert 'small-batch-bn' in wrong and not any(one.level == 'error' for one in wrong.values())
    assert 'small-batch-bn' not in found(MASK_RCNN, {**tried, 'train_dataloader.batch_size': 8})
    synchronous = {**tried, 'model.backbone.norm_cfg': dict(type='SyncBN')}
    assert 'small-batch-bn' in found(MASK_RCNN, synchronous, gpus=2)
    assert 'small-batch-bn' not in found(MASK_RCNN, synchronous, gpus=8)


def test_weights_may_come_from_elsewhere():
    for options in (
        {**RANDOM, 'load_from': 'model.pth'},
        {**RANDOM, 'custom_hooks': [dict(type='InitFromBaseHook', checkpoint='base.pth')]},
        {**RANDOM, 'model.init_cfg': dict(type='Pretrained', checkpoint='model.pth')},
    ):
        assert not found(MASK_RCNN, options).keys() & {'frozen-random', 'bn-eval-random', 'scratch-short'}


@pytest.mark.parametrize(
    'cfg',
    [
        Config.fromfile(config_path('rethink/pretrain_r50_gn_2x.py')),
        # Computes with tensors while it is built.
        Config(
            dict(
                model=dict(
                    type='FCOS',
                    backbone=dict(
                        type='FrozenBackbone', of='EfficientNet', arch='b0', out_indices=(3, 4), allow_random=True
                    ),
                    neck=dict(type='FPN', in_channels=[40, 112], out_channels=8, num_outs=2),
                    bbox_head=dict(type='FCOSHead', num_classes=2, in_channels=8),
                )
            )
        ),
    ],
    ids=['R50', 'EfficientNet'],
)
def test_trainable_share_is_that_of_the_model(cfg):
    model = init.MODELS.build(dict(cfg.model, _scope_='mmdet'))
    total = sum(one.numel() for one in model.parameters())
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert 0 < trained < total and init.trainable_share(cfg) == pytest.approx(trained / total, rel=1e-12)


def test_pixels_of_a_published_file_that_is_here():
    """By the name of the file; Detectron2's weights want BGR."""
    options = {'model.backbone.init_cfg.checkpoint': '/weights/resnet50_msra-5891d200.pth'}
    assert 'open-mmlab' not in (one := found(MASK_RCNN, options)['pixels']).what and 'BGR' in one.what
    options = {'model.backbone.init_cfg.checkpoint': '/weights/resnet50-0676ba61.pth'}
    assert 'pixels' not in found(MASK_RCNN, options)
