"""As coco_detection_lsj_1024.py at 640 x 640."""

_base_ = './coco_detection_lsj_1024.py'

image_size = (640, 640)
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(_base_.train_pipeline[2], scale=image_size),
    dict(_base_.train_pipeline[3], crop_size=image_size),
    *_base_.train_pipeline[4:6],
    dict(_base_.train_pipeline[6], size=image_size),
    _base_.train_pipeline[7],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale=image_size),
    *_base_.test_pipeline[2:],
]
# 32 images a GPU; 8 GPUs make the 256 of RetinaNet's schedules.
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# `tools/test.py … --tta`: the same views, of a detector without RoIs.
tta_model = dict(
    _delete_=True,
    type='DetTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
)
