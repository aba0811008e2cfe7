"""LVIS v1 boxes and masks of 1203 classes, trained on as coco_instance_copypaste_1280.py; AP also of rare classes.

LVIS (https://arxiv.org/abs/1908.03195) annotates COCO's images: lvis_v1_{train,val}.json, from its site, go into
data/coco/annotations. No class is repeated more often than another. Needs the package lvis.
"""

_base_ = './coco_instance_copypaste_1280.py'

dataset_type = 'LVISV1Dataset'
# The annotations name train2017 and val2017 themselves, because LVIS divides the images otherwise.
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type=dataset_type,
            ann_file='annotations/lvis_v1_train.json',
            data_prefix=dict(img=''),
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        ann_file='annotations/lvis_v1_val.json',
        data_prefix=dict(img=''),
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='FasterLVISMetric', ann_file=_base_.data_root + 'annotations/lvis_v1_val.json')
test_evaluator = val_evaluator
