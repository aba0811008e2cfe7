"""COCO 2017 boxes and masks with large-scale jitter at 1280 x 1280 and Copy-Paste.

Ghiasi et al. 2021 (https://arxiv.org/abs/2012.07177), as Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484)
train their EfficientNet-B7: two images, each jittered and flipped, and objects of one pasted onto the other.
"""

_base_ = './coco_instance.py'

image_size = (1280, 1280)
load_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size, recompute_bbox=True, allow_negative_crop=True),
    # An image without any box left is drawn again.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type='RandomFlip', prob=0.5),
    # With ImageNet's mean, which is 0 for the network; loaded images are BGR.
    dict(type='PlanarPad', size=image_size, pad_val=dict(img=(104, 116, 124))),
]
train_pipeline = [
    dict(type='LazyCopyPaste', max_num_pasted=100),
    dict(type='PlanarPackDetInputs'),
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
# 32 images a GPU; 8 GPUs make the 256 of the schedule. All images have one size, so shapes need no sorting.
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(_base_.train_dataloader.dataset, pipeline=load_pipeline),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
