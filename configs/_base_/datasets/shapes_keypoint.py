"""Shapes, keypoints: generated scenes of stick figures in COCO's layout, 128 pixels, 17 keypoints.

python tools/dataset_converters/make_shapes.py data/shapes --figures
"""

_base_ = './coco_keypoint.py'

data_root = 'data/shapes/figures/'

# The images are used at the size in which they are generated.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadKeypointAnnotations', with_bbox=True),
    dict(type='KeypointRandomFlip', prob=0.5),
    dict(type='PackKeypointInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(data_root=data_root, filter_cfg=dict(min_size=8), pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'annotations/person_keypoints_val2017.json')
test_evaluator = val_evaluator

tta_model = dict(tta_cfg=dict(max_per_img=30))
tta_pipeline = [*test_pipeline[:2], *_base_.tta_pipeline[2:]]
