"""Detection of study B in miniature on scenes of the target (`make demo STUDY=hpt`), 1x.

Length: 300 iterations of 8 images.
Data: python tools/dataset_converters/make_shapes.py data/shapes --domains
Run: python tools/train.py configs/shapes/base_moco_r18.py
     python tools/train.py configs/shapes/pretrain_moco_r18.py
     python tools/train.py configs/shapes/finetune_r18_c4_target.py
"""

_base_ = './finetune_r18_c4_mask_1x.py'

data_root = 'data/shapes/target_detection/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

train_cfg = dict(val_interval=_base_.max_iters)
