"""Base+Target (HPT) with larger crops: MoCo v2 R50 on COCO 2014 in views of 640 pixels, 50k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), of the release; what is
fine-tuned from it is a detector on images of that size. All but the views and the length is as in
pretrain_moco_r50_5ki.py, on coco2014_multilabel unless HPT_DATASET says otherwise.
Published: in the release, without a number here; not trained by us.
Weights: HPT_BASE names the base, by default checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 50k iterations of 256 images = 12.80 M images.
Run: bash tools/dist_train.sh configs/hpt/pretrain_moco_r50_crop640_50ki.py 4
"""

_base_ = [
    '../_base_/models/moco_r50.py',
    '../_base_/datasets/hpt_{{$HPT_DATASET:coco2014_multilabel}}.py',
    '../_base_/datasets/moco_views_640.py',
    '../_base_/schedules/moco_50ki.py',
    '../_base_/moco_runtime.py',
]

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:coco2014_multilabel}}'
base = '{{$HPT_BASE:checkpoints/moco_v2_800ep_pretrain.pth.tar}}'

model = dict(data_preprocessor=dict(mean=_base_.mean, std=_base_.std))
train_dataloader = dict(dataset=dict(_base_.unlabelled_set, pipeline=_base_.pipeline))
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), *_base_.custom_hooks]
