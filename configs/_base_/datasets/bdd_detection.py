"""BDD100K boxes of 10 classes, images of 1280 x 720: shorter side one of 362, 392, … 512 in training and 512 in test,
longer at most 1200, horizontal flip. Reed et al., WACV 2022, detection. docs/data.md says where the files go, and

    python tools/dataset_converters/bdd_to_coco.py data/bdd100k

writes the annotations. 10,000 of the official training images are held out for validation, in
annotations/detection_val.json: by these settings are chosen. The official validation images, whose labels are public
as those of the test are not, are the test; a training is evaluated on them, as the paper reports.
"""

_base_ = './coco_instance.py'

data_root = 'data/bdd100k/'
metainfo = dict(
    classes=(
        'person',
        'rider',
        'car',
        'truck',
        'bus',
        'train',
        'motor',
        'bike',
        'traffic light',
        'traffic sign',
    ),
)

train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', scales=[(1200, shorter) for shorter in range(362, 513, 30)], keep_ratio=True),
    *_base_.train_pipeline[3:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=(1200, 512), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    _base_.test_pipeline[3],
]
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/detection_train.json',
        data_prefix=dict(img='images/100k/train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/detection_test.json',
        data_prefix=dict(img='images/100k/val/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'annotations/detection_test.json', metric='bbox')
test_evaluator = val_evaluator
