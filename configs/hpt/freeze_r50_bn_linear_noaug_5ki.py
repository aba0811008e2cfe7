"""Linear separability without augmentation: training images are resized and cropped in the middle, 5k iterations.

Not an experiment of the paper: every image then has the same features each time, so that FrozenFeaturesHook computes
them once and a training takes minutes. To compare backbones with each other, not with published numbers.
Ours: all of it; settings are those of freeze_r50_bn_linear_5ki.py.
Weights: HPT_BASE names the backbone, by default checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 5k iterations of 512 images = 2.56 M images, of which the backbone sees each different one once.
Run: bash tools/dist_train.sh configs/hpt/freeze_r50_bn_linear_noaug_5ki.py 4
"""

_base_ = './freeze_r50_bn_linear_5ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
protocol = 'linear, no augmentation'
train_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
