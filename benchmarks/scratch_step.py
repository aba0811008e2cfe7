"""Time a training step of ``rethink/scratch_r50_gn_6x`` beside that of MMDetection's own configs/scratch.

    python benchmarks/scratch_step.py [--device cuda --amp] [--size 800 1216] [--images 1] [--repeats 5]

Both are Mask R-CNN R50-FPN with GN from random weights. They get the same images and objects and take turns in one
process, each with the optimiser of its config; a step is preprocessing, losses, backward and update. Printed are the
medians, and the median of the ratios of the turns; on a GPU also the peak of the memory allocated. On a CPU the time
is that of all its threads, which other work on the machine disturbs less than the clock on the wall.
"""

import argparse
import logging
import statistics
import warnings

import rethink
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import set_random_seed
from turns import Turns, add_arguments

THEIRS = 'mmdet::scratch/mask-rcnn_r50-scratch_fpn_gn-all_6x_coco.py'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, size=(800, 1216), repeats=5)
    parser.add_argument('--objects', type=int, default=7, help='on each image; train2017 has 7.3')
    args = parser.parse_args()
    register_all_modules(init_default_scope=False)
    init_default_scope('mmdet')
    logging.disable(logging.INFO)  # the initialisation of each tensor
    warnings.filterwarnings('ignore', message='To copy construct')

    size = tuple(args.size)
    inputs = demo_mm_inputs(
        args.images, [[3, *size]] * args.images, num_items=[args.objects] * args.images, num_classes=80, with_mask=True
    )
    cases = {}
    ours = Config.fromfile(rethink.config_path('rethink/scratch_r50_gn_6x.py'))
    for name, cfg in dict(ours=ours, theirs=get_config(THEIRS)).items():
        set_random_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        model.to(args.device).train()
        if args.amp:
            cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cases[name] = model, build_optim_wrapper(model, cfg.optim_wrapper)

    turns = Turns(cases, inputs, args)
    print(turns.setting())
    for name in cases:
        line = f'{name:8}{turns.median(name):9.3f} s a step'
        print(line + (f' {turns.memory[name]:8.2f} GiB' if turns.cuda else ''))
    ratios = turns.ratios('ours', 'theirs')
    print(f'ours / theirs: {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})')


if __name__ == '__main__':
    main()
