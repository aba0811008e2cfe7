"""Time a training step of a detector whose backbone is frozen, fine-tuned, or frozen as MMDetection does it.

    OMP_NUM_THREADS=1 python benchmarks/frozen_step.py [--device cuda --amp] [--size 192 256] [--repeats 7]

MMDetection's RetinaNet R50-FPN. All get the same images and objects and take turns in one process, each with an
optimiser; a step is preprocessing, losses, backward and update:

    fine-tuned       nothing frozen, BN by batches
    frozen_stages=4  MMDetection's own way to freeze all stages, with its default optimiser
    frozen           FrozenBackbone, with TrainableOptimWrapperConstructor
    adapters         the same with ConvWithAdapter

Printed are the median times and the medians of the ratios of the turns to the fine-tuned one's, beside the ratio of
the operations that autograd runs (rethink.costs.counters), and the bytes that it keeps for the backward pass of the
backbone; on a GPU also the peak of the memory allocated. On a CPU the time is that of all threads of the process.

Exits with 1 where the frozen step's ratio is more than 15 % above that of its operations, its time more than 5 %
(which is noise) above that of frozen_stages=4, or a byte of the backbone is kept.
"""

import argparse
import copy
import logging
import statistics
import sys

import rethink  # noqa: F401  (first: gives mmcv its ops, which what follows imports)
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import set_random_seed
from rethink.costs.counters import step_cost
from turns import Turns, add_arguments

BASE, THEIRS, OURS = 'fine-tuned', 'frozen_stages=4', 'frozen'
FREEZE = dict(type='FrozenBackbone', of='ResNet', frozen_stages=-1, allow_random=True)
BACKBONES = {
    BASE: dict(frozen_stages=-1, norm_eval=False),
    THEIRS: dict(frozen_stages=4, norm_eval=True),
    OURS: FREEZE,
    'adapters': FREEZE | dict(conv_cfg=dict(type='ConvWithAdapter')),
}


def build(name: str, device: str, amp: bool) -> tuple:
    cfg = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    cfg.model.backbone.pop('init_cfg')
    cfg.model.backbone.update(BACKBONES[name])
    if 'of' in BACKBONES[name]:
        cfg.optim_wrapper.constructor = 'TrainableOptimWrapperConstructor'
    if amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
    set_random_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.to(device).train()
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def count(model, optim_wrapper, inputs) -> tuple[int, int]:
    """Operations of a step, and bytes kept for the backbone."""

    def step(_):
        with optim_wrapper.optim_context(model):
            losses = model(**model.data_preprocessor(copy.deepcopy(inputs), True), mode='loss')
            return model.parse_losses(losses)[0]

    cost = step_cost(step, model)
    model.zero_grad()
    return cost.flops, cost.kept.get('backbone', 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, size=(192, 256), repeats=7)
    args = parser.parse_args()
    register_all_modules(init_default_scope=False)
    init_default_scope('mmdet')
    logging.disable(logging.WARNING)  # the initialisation of each tensor

    inputs = demo_mm_inputs(args.images, [[3, *args.size]] * args.images, num_items=[7] * args.images, num_classes=80)
    cases = {name: build(name, args.device, args.amp) for name in BACKBONES}
    flops, kept = {}, {}
    for name, case in cases.items():
        flops[name], kept[name] = count(*case, inputs)
    turns = Turns(cases, inputs, args)

    print(turns.setting())
    ratios = {(one, other): statistics.median(turns.ratios(one, other)) for one in cases for other in (BASE, THEIRS)}
    for name in cases:
        line = f'{name:16}{turns.median(name):8.3f} s a step, {ratios[name, BASE]:.3f} of {BASE}; '
        line += f'{flops[name] / 1e9:7.1f} GFLOPs, {flops[name] / flops[BASE]:.3f}; '
        line += f'{kept[name] / 2**20:7.1f} MiB kept for the backbone'
        print(line + (f'; peak {turns.memory[name]:.2f} GiB' if turns.cuda else ''))
    print(f'{OURS} / {THEIRS}: {ratios[OURS, THEIRS]:.3f}')
    wanted = flops[OURS] / flops[BASE]
    sys.exit(ratios[OURS, BASE] > 1.15 * wanted or ratios[OURS, THEIRS] > 1.05 or kept[OURS] > 0)


if __name__ == '__main__':
    main()
