"""Detectron's test-time augmentation, for `tools/test.py CONFIG CHECKPOINT --tta`: nine sizes, each also flipped.

Boxes of all views in one set, NMS, box voting at IoU 0.9; masks of the final boxes averaged over the views. From
Detectron's GN baselines with test-time augmentation; Rethinking ImageNet Pre-training, figure 5 and table 3.
"""

tta_model = dict(
    type='DetectronTTAModel',
    tta_cfg=dict(
        nms=dict(type='nms', iou_threshold=0.5),
        vote=dict(iou=0.9, score='ID'),
        max_per_img=100,
    ),
)
# 800 is the size of plain testing (longer side at most 1333); the others may be up to 2000 long.
tta_scales = [(2000, 400), (2000, 500), (2000, 600), (2000, 700), (1333, 800)]
tta_scales += [(2000, 900), (2000, 1000), (2000, 1100), (2000, 1200)]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=scale, keep_ratio=True) for scale in tta_scales],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            # After resizing and flipping, so that the annotations keep the image's own coordinates.
            [dict(type='LoadAnnotations', with_bbox=True)],
            [
                dict(
                    type='PackDetInputs',
                    meta_keys=(
                        'img_id',
                        'img_path',
                        'ori_shape',
                        'img_shape',
                        'scale_factor',
                        'flip',
                        'flip_direction',
                    ),
                )
            ],
        ],
    ),
]
