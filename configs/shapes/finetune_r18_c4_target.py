"""Detection of study B in miniature on scenes of the target (`make demo STUDY=hpt`): 192 pixels, 200 iterations.

Larger than the other scenes, as a stride of 16 asks for; and half of an image's RoIs may be objects, so that they are
told apart within as few iterations.
Data: python tools/dataset_converters/make_shapes.py data/shapes --domains
Length: 200 iterations of 8 images.
Run: python tools/train.py configs/shapes/base_moco_r18.py
     python tools/train.py configs/shapes/pretrain_moco_r18.py
     python tools/train.py configs/shapes/finetune_r18_c4_target.py
"""

_base_ = './finetune_r18_c4_mask_1x.py'

data_root = 'data/shapes/target_detection/'
load, resize, *rest = _base_.test_pipeline
test_pipeline = [load, dict(resize, scale=(192, 192)), *rest]
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

model = dict(
    # Boxes of 30 to 120 pixels.
    rpn_head=dict(anchor_generator=dict(scales=[2, 4, 8])),
    train_cfg=dict(rcnn=dict(sampler=dict(pos_fraction=0.5))),
)

max_iters = 200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=20),
    dict(_base_.param_scheduler[1], end=max_iters, milestones=[max_iters - 60, max_iters - 20]),
]
