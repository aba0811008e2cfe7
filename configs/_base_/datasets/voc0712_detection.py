"""PASCAL VOC boxes: trained on trainval2007 + trainval2012, evaluated on test2007; shorter side one of 480, 512, … 800
in training and 800 in test, longer at most 1333, horizontal flip. Reed et al., WACV 2022, detection.

AP as Detectron2 has it for VOC: 11 points, which are those of 2007, the mean over IoU 0.5, 0.55, … 0.95 (logged as
pascal_voc/mAP), and at 0.5 and 0.75 (AP50, AP75).
"""

_base_ = './voc_detection.py'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomChoiceResize', scales=[(1333, shorter) for shorter in range(480, 801, 32)], keep_ratio=True),
    *_base_.train_pipeline[3:],
]
parts = _base_.train_dataloader.dataset.datasets
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(parts[0], pipeline=train_pipeline),
            dict(parts[1], ann_file='VOC2012/ImageSets/Main/trainval.txt', pipeline=train_pipeline),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(ann_file='VOC2007/ImageSets/Main/test.txt', data_prefix=dict(sub_data_root='VOC2007/')),
)
test_dataloader = val_dataloader

val_evaluator = dict(iou_thrs=[percent / 100 for percent in range(50, 100, 5)], eval_mode='11points')
test_evaluator = val_evaluator
