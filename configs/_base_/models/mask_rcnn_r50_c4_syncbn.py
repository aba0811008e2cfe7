"""Mask R-CNN R50-C4 with SyncBN: faster_rcnn_r50_c4_syncbn.py and a mask head on the same res5 features of the RoIs.

One deconvolution to 14 x 14 and a linear layer, without a norm, as in Detectron2.
"""

_base_ = './faster_rcnn_r50_c4_syncbn.py'

model = dict(
    type='MaskRCNN',
    data_preprocessor=dict(pad_mask=True),
    roi_head=dict(
        # None: it takes the features of the box head.
        mask_roi_extractor=None,
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=0,
            in_channels=2048,
            conv_out_channels=256,
            num_classes=80,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(rcnn=dict(mask_size=14)),
    test_cfg=dict(rcnn=dict(mask_thr_binary=0.5)),
)
