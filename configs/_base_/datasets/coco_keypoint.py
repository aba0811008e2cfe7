"""COCO 2017 people with keypoints, as Detectron's keypoint baselines: shorter side sampled from 640 to 800 in steps of
32 in training and 800 in test, longer at most 1333, horizontal flip with left and right swapped; images without a
labelled keypoint are not trained on. docs/data.md says where the files go."""

_base_ = './coco_instance.py'

dataset_type = 'CocoKeypointDataset'
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadKeypointAnnotations', with_bbox=True),
    dict(
        type='KeypointRandomChoiceResize',
        scales=[(1333, shorter) for shorter in range(640, 801, 32)],
        keep_ratio=True,
    ),
    dict(type='KeypointRandomFlip', prob=0.5),
    dict(type='PackKeypointInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    # Only for visualisation; after Resize, so that the annotations keep the image's own coordinates.
    dict(type='LoadKeypointAnnotations', with_bbox=True),
    dict(type='PackKeypointInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        ann_file='annotations/person_keypoints_train2017.json',
        filter_cfg=dict(filter_no_keypoints=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        ann_file='annotations/person_keypoints_val2017.json',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='CocoKeypointMetric',
    ann_file=_base_.data_root + 'annotations/person_keypoints_val2017.json',
    metric=['bbox', 'keypoints'],
)
test_evaluator = val_evaluator

# `tools/test.py … --tta`: each image also mirrored. docs/keypoints.md
tta_model = dict(
    _delete_=True,
    type='KeypointTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
)
tta_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            # After the flip, as after Resize.
            [dict(type='LoadKeypointAnnotations', with_bbox=True)],
            [
                dict(
                    type='PackKeypointInputs',
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
