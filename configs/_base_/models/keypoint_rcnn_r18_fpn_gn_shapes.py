"""Mask R-CNN R18-FPN with GN for stick figures: keypoint_rcnn_r50_fpn_gn.py, made as small as mask_rcnn_r18 is.

Four convolutions of 64 channels in the keypoint head.
"""

_base_ = './mask_rcnn_r18_fpn_gn_shapes.py'

model = dict(
    data_preprocessor=dict(pad_mask=False),
    # People of 40 to 120 pixels: anchors of 32 to 128 on three levels and 256 on the fourth.
    rpn_head=dict(anchor_generator=dict(scales=[8])),
    roi_head=dict(
        type='KeypointRoIHead',
        bbox_head=dict(num_classes=1),
        mask_roi_extractor=None,
        mask_head=None,
        keypoint_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2),
            out_channels=_base_.channels,
            featmap_strides=[4, 8, 16, 32],
        ),
        keypoint_head=dict(
            type='KeypointRCNNHead',
            num_keypoints=17,
            num_convs=4,
            in_channels=_base_.channels,
            conv_out_channels=64,
        ),
    ),
)
