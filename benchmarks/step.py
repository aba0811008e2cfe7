"""Time a training step on a CPU: of this project, of MMDetection as shipped, and of torchvision's Mask R-CNN.

    OMP_NUM_THREADS=1 python benchmarks/step.py [--size 800 1216] [--images 1] [--repeats 3] [--profile 25]
    OMP_NUM_THREADS=1 python benchmarks/step.py --miniature [--repeats 9]

Of ``rethink/scratch_r50_gn_2x``, in turns in one process, with the same random images and objects:

    rethink            as `tools/train.py --amp` trains it: bfloat16, rethink.engine.cpu and rethink.models.quick
    rethink float32    as `tools/train.py` trains it
    mmdet              MMDetection's scratch/mask-rcnn_r50-scratch_fpn_gn-all_6x_coco.py as shipped, in float32
    mmdet bfloat16     the same under autocast
    torchvision        its MaskRCNN with the same backbone, FPN, heads and numbers of RoIs, under autocast

With `--miniature` it is `shapes/scratch_r18_gn_6x`, and "mmdet" is the same config without what makes it quicker. All
but torchvision's have rethink.ops. Printed are the median CPU seconds of the process for a step (preprocessing,
losses, backward, update) and the median of the ratios of the turns; with `--profile N` the N most expensive operations
of each. What glibc keeps of freed memory is set for each turn: as rethink.engine.cpu does, or as it is by default.
"""

import argparse
import contextlib
import copy
import ctypes
import logging
import statistics
import warnings

import rethink
import torch
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import set_random_seed
from rethink.engine import cpu
from rethink.engine.amp import use_amp
from rethink.models import quick
from torch import nn
from torchvision_rcnn import TorchvisionMaskRCNN
from turns import Turns, add_arguments

SGD = dict(type='SGD', lr=0.0067, momentum=0.9, weight_decay=1e-4)
THEIRS = 'mmdet::scratch/mask-rcnn_r50-scratch_fpn_gn-all_6x_coco.py'


def give_memory_back() -> None:
    """glibc's defaults, as they are after the first large block was freed."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for name, value in {-3: 2**25, -1: 2**26, -4: 65536}.items():
            libc.mallopt(name, value)


class Step:
    """What :class:`Turns` calls: a model's step, with the memory kept or not."""

    def __init__(self, model: nn.Module, quicker: bool) -> None:
        self.model, self.quicker = model, quicker

    def train_step(self, data: dict, optim_wrapper) -> dict:
        cpu.keep_memory() if self.quicker else give_memory_back()
        return self.model.train_step(data, optim_wrapper)


def mmdet_case(cfg: Config, amp: bool, quicker: bool) -> tuple:
    cfg = copy.deepcopy(cfg)
    set_random_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    if amp:
        use_amp(cfg)
    if quicker:
        quick.quicken(model)
    return Step(model.train(), quicker), build_optim_wrapper(model, cfg.optim_wrapper)


def torchvision_case(shape: tuple[int, int]) -> tuple:
    set_random_seed(0)
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', optimizer=SGD)))
    use_amp(cfg)
    model = TorchvisionMaskRCNN(shape).train()
    return Step(model, False), build_optim_wrapper(model, cfg.optim_wrapper)


def profile(name: str, case: tuple, inputs: dict, rows: int) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        case[0].train_step(copy.deepcopy(inputs), case[1])
    events = sorted(found.key_averages(), key=lambda one: -one.self_cpu_time_total)
    total = sum(one.self_cpu_time_total for one in events)
    print(f'\n{name}\n| operation | calls | share of the time |\n| --- | --- | --- |')
    for one in events[:rows]:
        print(f'| `{one.key}` | {one.count} | {100 * one.self_cpu_time_total / total:.1f} % |')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--miniature', action='store_true', help='R18 on 8 images of 128 x 128')
    parser.add_argument('--only', nargs='+', default=[], metavar='CASE', help='of those above')
    parser.add_argument('--profile', type=int, default=0, metavar='N')
    add_arguments(parser, size=(800, 1216), repeats=3)
    parser.set_defaults(device='cpu')
    args = parser.parse_args()
    if args.device != 'cpu' or args.amp:
        parser.error('this is a CPU in both precisions; benchmarks/gpu.py measures a GPU')
    objects, classes = 7, 80  # an image of train2017 has 7.3 objects
    if args.miniature:
        args.size, args.images, objects, classes = [128, 128], 8, 4, 5
    register_all_modules(init_default_scope=False)
    init_default_scope('mmdet')
    logging.disable(logging.INFO)  # the initialisation of each tensor
    warnings.filterwarnings('ignore', message='To copy construct')

    inputs = demo_mm_inputs(
        args.images,
        [[3, *args.size]] * args.images,
        num_items=[objects] * args.images,
        num_classes=classes,
        with_mask=True,
    )
    name = 'shapes/scratch_r18_gn_6x.py' if args.miniature else 'rethink/scratch_r50_gn_2x.py'
    ours = Config.fromfile(rethink.config_path(name))
    makers = {
        'rethink': lambda: mmdet_case(ours, True, True),
        'rethink float32': lambda: mmdet_case(ours, False, True),
    }
    theirs = ours if args.miniature else get_config(THEIRS)
    makers['mmdet'] = lambda: mmdet_case(theirs, False, False)
    makers['mmdet bfloat16'] = lambda: mmdet_case(theirs, True, False)
    if not args.miniature:
        makers['torchvision'] = lambda: torchvision_case(tuple(args.size))
    cases = {name: make() for name, make in makers.items() if not args.only or name in args.only}

    turns = Turns(cases, inputs, args)
    print(
        f'torch {torch.__version__}, {torch.get_num_threads()} thread, {args.images} x {args.size[0]} x {args.size[1]}'
    )
    for name in cases:
        line = f'{name:16}{turns.median(name):9.3f} s of CPU a step'
        for other in cases:
            if other != name:
                line += f'; {statistics.median(turns.ratios(name, other)):.3f} of {other}'
        print(line)
    for name, case in cases.items():
        if args.profile:
            profile(name, case, inputs, args.profile)


if __name__ == '__main__':
    main()
