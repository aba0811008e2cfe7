"""Mask R-CNN R50-FPN with GN for people: a keypoint head in place of the mask head, one class.

Rethinking ImageNet Pre-training, figure 6, with the keypoint head of Detectron's baselines: 8 convolutions of 512
channels without normalisation, RoIAlign 14, a deconvolution and a bilinear upscaling to 56x56 cells for each keypoint.
Detectron keeps 2000 proposals of the two images of a GPU; detectron2 found 1000 an image too few, and has 1500.
"""

_base_ = './mask_rcnn_r50_fpn_gn.py'

model = dict(
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(
        type='KeypointRoIHead',
        bbox_head=dict(num_classes=1),
        mask_roi_extractor=None,
        mask_head=None,
        keypoint_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        keypoint_head=dict(
            type='KeypointRCNNHead',
            num_keypoints=17,
            num_convs=8,
            in_channels=256,
            conv_out_channels=512,
        ),
    ),
    train_cfg=dict(rpn_proposal=dict(max_per_img=1500)),
)
