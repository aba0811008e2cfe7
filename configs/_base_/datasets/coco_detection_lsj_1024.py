"""COCO 2017 boxes with large-scale jitter: images resized to 0.1 to 2 times 1024 x 1024, cropped and padded to it.

Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484), released configs; large-scale jitter is of Ghiasi et al.
2021 (https://arxiv.org/abs/2012.07177). Horizontal flip; tested at 1024.
"""

_base_ = './coco_detection_aug.py'

image_size = (1024, 1024)
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size, allow_negative_crop=True),
    # An image without any box left is drawn again.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type='RandomFlip', prob=0.5),
    # With ImageNet's mean, which is 0 for the network; loaded images are BGR.
    dict(type='PlanarPad', size=image_size, pad_val=dict(img=(104, 116, 124))),
    dict(type='PlanarPackDetInputs'),
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
# 8 images a GPU; 8 GPUs make the 64 of the schedules. All images have one size, so shapes need no sorting.
train_dataloader = dict(batch_size=8, num_workers=8, batch_sampler=None, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
