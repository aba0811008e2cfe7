"""The three stages of Cascade R-CNN (https://arxiv.org/abs/1712.00726), as MMDetection has them.

Each stage takes the boxes of the one before, asks for a higher IoU of what it calls an object, and expects smaller
corrections, for which `stage_stds` makes up.
"""

stage_ious = [0.5, 0.6, 0.7]
stage_stds = [[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]]
stage_loss_weights = [1, 0.5, 0.25]
stage_assigners = [
    dict(
        type='MaxIoUAssigner',
        pos_iou_thr=iou,
        neg_iou_thr=iou,
        min_pos_iou=iou,
        match_low_quality=False,
        ignore_iof_thr=-1,
    )
    for iou in stage_ious
]
