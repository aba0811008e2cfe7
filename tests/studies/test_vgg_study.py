"""VGG-16 in miniature, through the scripts that a user calls: real training on a few generated scenes."""

import torch
from rethink.analysis.logs import read_run

CONFIG = 'configs/shapes/scratch_vgg16_6x.py'
ITERS = 20


def test_losses_fall_and_box_ap_is_computed(run_in_process, tmp_path):
    sizes = ['--train', 24, '--val', 4, '--crop-train', 5, '--crop-val', 5]
    code, printed = run_in_process('dataset_converters/make_shapes.py', tmp_path / 'shapes', *sizes)
    assert not code, printed
    root = f'{tmp_path}/shapes/detection/'
    options = [
        f'val_evaluator.ann_file={root}annotations/instances_val2017.json',
        *(f'train_cfg.{key}={ITERS}' for key in ('max_iters', 'val_interval')),
        *('train_dataloader.batch_size=4', 'default_hooks.logger.interval=1', 'log_processor.window_size=1'),
        *('model.test_cfg.rcnn.score_thr=0.0', 'randomness.seed=0'),
        # What MMEngine keeps for a whole process goes by these names.
        *('experiment_name=vgg', 'visualizer.name=vgg'),
    ]
    for part in ('train', 'val'):
        loader = f'{part}_dataloader'
        options += [
            f'{loader}.dataset.data_root={root}',
            f'{loader}.num_workers=0',
            f'{loader}.persistent_workers=False',
        ]
    code, printed = run_in_process('train.py', CONFIG, '--work-dir', tmp_path / 'run', '--cfg-options', *options)
    assert not code, printed[-3000:]
    log = read_run(tmp_path / 'run')
    losses = [log.train[at]['loss'] for at in range(1, ITERS + 1)]
    # Chance is log 6 = 1.79 for five classes and background, and log 2 = 0.69 for the RPN.
    assert 2 < losses[0] < 4
    assert sum(losses[-5:]) / 5 < losses[0] - 0.3
    assert 'coco/bbox_mAP' in log.val[ITERS] and 'coco/segm_mAP' not in log.val[ITERS]
    weights = torch.load(tmp_path / 'run' / f'iter_{ITERS}.pth', weights_only=False)['state_dict']
    # All 13 convolutions have learnt: biases begin at 0.
    biases = [value for key, value in weights.items() if key.startswith('backbone.features.') and key.endswith('bias')]
    assert len(biases) == 13 and all(one.abs().max() > 1e-6 for one in biases)
