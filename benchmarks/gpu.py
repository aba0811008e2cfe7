"""Measure a GPU on what the studies train: one command, under eight minutes, nothing downloaded.

    python benchmarks/gpu.py [--out gpu] [--minutes 8] [--only 'R50 GN' MoCo]

For each model a training step (preprocessing, losses, backward, update) in each precision and memory layout, compiled
or not, with its images per second, its peak of memory, and its share of the roofline: the operations counted, over
what a product of two matrices reaches in the same precision. Beside them stock MMDetection's and torchvision's Mask
R-CNN. Then ops of mmcv's names in float32, beside the same on the CPU in float64; where mmcv is compiled they are its
own, and torchvision's stand beside them. Then the data loaders alone, with one worker and with one for each core, by
the clock, on generated JPEGs of COCO's size. OUT.json has all of it, OUT.md the tables.

Weights and images are generated. What fails is a row with the reason. When the minutes are over, no other case begins,
and what was left out is said. Without a GPU the same runs on the CPU with small images, few RoIs
and nothing compiled, which shows that it works. SyncBN on one GPU is BN.
"""

import argparse
import contextlib
import copy
import gc
import itertools
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import rethink  # first: gives mmcv its ops, which what follows imports
import torch
import torchvision
from data_pipelines import build, write_data
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmpretrain.utils import register_all_modules as register_pretrain_modules
from rethink import ops
from rethink.costs import of_config
from rethink.costs.batch import generate_batch
from rethink.costs.counters import training_flops
from rethink.engine.amp import use_amp
from rethink.errors import describe
from rethink.files import write_atomically
from torch import Tensor, nn
from torchvision_rcnn import TorchvisionMaskRCNN

# Name -> config, shape of an image and images in a step; on a CPU an image has a side of a tenth.
MODELS = {
    'R50 GN': ('rethink::rethink/scratch_r50_gn_6x.py', (800, 1216), 2),
    'R50 GN, MMDetection': ('mmdet::scratch/mask-rcnn_r50-scratch_fpn_gn-all_6x_coco.py', (800, 1216), 2),
    'Mask R-CNN, torchvision': (None, (800, 1216), 2),
    'R50 SyncBN': ('rethink::rethink/scratch_r50_syncbn_6x.py', (800, 1216), 2),
    'keypoints': ('rethink::rethink/scratch_r50_gn_keypoint_2x.py', (800, 1216), 2),
    'C4': ('rethink::hpt/finetune_r50_c4_voc_24ki.py', (800, 1216), 2),
    'frozen R50, NAS-FPN, cascade': ('rethink::frozen/freeze_r50_nasfpn_cascade_72e.py', (1280, 1280), 2),
    'MoCo': ('rethink::hpt/pretrain_moco_r50_5ki.py', (224, 224), 64),
}
# Name -> dtype of the products, and what else is done. A CPU knows neither TF32 nor float16's loss scale.
WAYS = {
    'float32': (torch.float32, ()),
    'TF32': (torch.float32, ('tf32',)),
    'float16': (torch.float16, ('tf32',)),
    'bfloat16': (torch.bfloat16, ('tf32',)),
    'bfloat16, fused SGD': (torch.bfloat16, ('tf32', 'fused')),
    'bfloat16, channels_last': (torch.bfloat16, ('tf32', 'channels_last')),
    'bfloat16, compiled backbone': (torch.bfloat16, ('tf32', 'backbone')),
    'bfloat16, compiled': (torch.bfloat16, ('tf32', 'whole')),
}
ON_CPU = ('float32', 'bfloat16', 'bfloat16, fused SGD', 'bfloat16, channels_last')
COMPILED = ('R50 GN', 'MoCo')
# Training pipelines, of data_pipelines.py.
LOADERS = ('800', '640-800', 'lsj', 'copy-paste', 'moco')


class Machine:
    """The device that is measured: its clock, its memory, and the time that is left."""

    def __init__(self, device: str, minutes: float, repeats: int) -> None:
        self.device, self.cuda, self.repeats = device, device == 'cuda', repeats
        self._end = time.monotonic() + 60 * minutes

    @property
    def late(self) -> bool:
        return time.monotonic() > self._end

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        return shape if self.cuda else tuple(max(64, side // 10 // 32 * 32) for side in shape)

    def images(self, images: int) -> int:
        return images if self.cuda else min(images, 2)

    def ways(self, name: str) -> list[str]:
        """Compilation is for a GPU, and minutes of it for each model would be the whole time."""
        return [way for way in WAYS if 'compiled' not in way or name in COMPILED] if self.cuda else list(ON_CPU)

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], object]) -> float:
        """The median of the repeats: on a GPU by the clock, on a CPU of all threads of the process."""
        clock, warm_up, found = (time.perf_counter, 3, []) if self.cuda else (time.process_time, 1, [])
        for at in range(warm_up + self.repeats):
            self.wait()
            start = clock()
            call()
            self.wait()
            found += [clock() - start] if at >= warm_up else []
        return statistics.median(found)

    @contextlib.contextmanager
    def tf32(self, allowed: bool) -> Iterator[None]:
        backends = torch.backends.cuda.matmul, torch.backends.cudnn
        before = [one.allow_tf32 for one in backends]
        for one in backends:
            one.allow_tf32 = allowed
        try:
            yield
        finally:
            for one, value in zip(backends, before, strict=True):
                one.allow_tf32 = value

    def describe(self) -> dict[str, str]:
        name = torch.cuda.get_device_name() if self.cuda else f'CPU, {torch.get_num_threads()} threads'
        packages = dict(torch=torch.__version__, torchvision=torchvision.__version__, rethink=rethink.__version__)
        cuda = dict(cuda=torch.version.cuda, cudnn=str(torch.backends.cudnn.version())) if self.cuda else {}
        return dict(device=name, **packages, **cuda, ops=ops.provided())


# --- what the device can do ------------------------------------------------------------------------------------------


def matmul_rates(machine: Machine) -> dict[str, float]:
    """Operations a second of a product of two square matrices, by way."""
    side, found = 8192 if machine.cuda else 512, {}
    for name in [way for way in (WAYS if machine.cuda else ON_CPU) if ', ' not in way]:
        dtype, how = WAYS[name]
        one, other = (torch.randn(side, side, device=machine.device).to(dtype) for _ in range(2))
        with machine.tf32('tf32' in how):
            found[name] = 2 * side**3 / machine.seconds(lambda one=one, other=other: one @ other)
    return found


# --- the steps -------------------------------------------------------------------------------------------------------


def prepare(name: str, machine: Machine) -> tuple[nn.Module, Config, dict]:
    """The model on the device, with random weights, its config, and a batch."""
    path, shape, images = MODELS[name]
    shape, images = machine.shape(shape), machine.images(images)
    # torchvision's has the optimiser and the objects of the model that it stands beside.
    cfg = of_config.load(path or MODELS['R50 GN'][0])
    if not machine.cuda:
        few_rois(cfg.model.get('train_cfg') or {})
    built = of_config.assemble(cfg)
    batch = generate_batch(cfg.model, built, shape, images)
    if path is None:
        built = TorchvisionMaskRCNN(shape, cfg.model.train_cfg.rcnn.sampler.num).train()
    if name == 'MoCo':
        views = torch.stack(batch['inputs'])
        batch['inputs'] = [views, views.flip(3)]
    return built.to(machine.device), cfg, batch


def few_rois(tree: dict) -> None:
    """Not in proportion to the images, but in a second."""
    for value in tree if isinstance(tree, list) else list(tree.values()):
        if isinstance(value, dict | list):
            few_rois(value)
    if isinstance(tree, dict) and tree.get('type') == 'RandomSampler':
        tree['num'] = 16


def step_of(model: nn.Module, cfg: Config, batch: dict, way: str) -> Callable[[], object]:
    (dtype, how), cfg = WAYS[way], copy.deepcopy(cfg)
    if dtype != torch.float32:
        use_amp(cfg)
        if cfg.optim_wrapper.type == 'AmpOptimWrapper':
            cfg.optim_wrapper.dtype = str(dtype).removeprefix('torch.')
    if 'fused' in how:
        cfg.optim_wrapper.optimizer.fused = True
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    step = torch.compile(model.train_step) if 'whole' in how else model.train_step
    return lambda: step(copy.deepcopy(batch), optim_wrapper)


def operations(model: nn.Module, batch: dict) -> int:
    def loss() -> Tensor:
        if isinstance(model, TorchvisionMaskRCNN):
            return model.loss(copy.deepcopy(batch))
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        return model.parse_losses(model(**data, mode='loss'))[0]

    found = training_flops(loss).flops
    model.zero_grad(set_to_none=True)
    return found


def measure_way(model, cfg, batch, machine: Machine, way: str) -> dict[str, float]:
    _, how = WAYS[way]
    backbone = getattr(model, 'backbone', None)
    try:
        if 'channels_last' in how:
            model.to(memory_format=torch.channels_last)
        if 'backbone' in how:
            backbone.compile()
        with machine.tf32('tf32' in how):
            step = step_of(model, cfg, batch, way)
            if machine.cuda:
                torch.cuda.reset_peak_memory_stats()
            seconds = machine.seconds(step)
        peak = torch.cuda.max_memory_allocated() if machine.cuda else None
        return dict(seconds=seconds, peak=peak)
    finally:
        model.zero_grad(set_to_none=True)
        if 'channels_last' in how:
            model.to(memory_format=torch.contiguous_format)
        if 'backbone' in how:
            backbone._compiled_call_impl = None


def steps(machine: Machine, names: list[str], rates: dict[str, float], say: Callable[[str], None]) -> list[dict]:
    """A row for each model and way."""
    rows = []
    for name in names:
        ways = machine.ways(name)
        if machine.late:
            rows += [dict(model=name, way=way, failed='left out: the minutes are over') for way in ways]
            continue
        try:
            model, cfg, batch = prepare(name, machine)
            images, flops = len(batch['data_samples']), operations(model, batch)
        except Exception as error:  # a row says it, the other models go on
            rows += [dict(model=name, way=way, failed=describe(error)) for way in ways]
            continue
        for way in ways:
            row = dict(model=name, way=way, images=images, flops=flops)
            rows.append(row)
            if machine.late:
                row['failed'] = 'left out: the minutes are over'
                continue
            try:
                row |= measure_way(model, cfg, batch, machine, way)
                row['images_per_second'] = images / row['seconds']
                row['roofline'] = flops / row['seconds'] / rates[way.split(', ')[0]]
            except Exception as error:
                row['failed'] = describe(error)
            say(f'{name}, {way}: ' + (row.get('failed') or f'{1e3 * row["seconds"]:.1f} ms'))
        del model
        gc.collect()
        if machine.cuda:
            torch.cuda.empty_cache()
    return rows


# --- the ops ---------------------------------------------------------------------------------------------------------


def inputs_of_ops(machine: Machine) -> dict[str, Callable[[], tuple]]:
    """Name -> an op's inputs, float64 on the CPU, and the call."""
    scale = 1 if machine.cuda else 8
    draw = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    height, width, number = 800 // scale, 1216 // scale, 1024 // scale
    corner = uniform(number, 2) * torch.tensor([width, height]) * 0.8
    boxes = torch.cat([corner, corner + 8 + uniform(number, 2) * 0.2 * min(width, height)], 1)
    rois = torch.cat([torch.arange(number, dtype=torch.float64)[:, None] % 2, boxes], 1)
    features = uniform(2, 256, height // 4, width // 4) - 0.5
    scores = uniform(number).argsort().argsort() / number
    small = uniform(2, 32, height // 16, width // 16) - 0.5
    offset, mask = 4 * (uniform(2, 18, *small.shape[2:]) - 0.5), uniform(2, 9, *small.shape[2:])
    weight = uniform(32, 32, 3, 3) - 0.5
    logits, classes = 4 * (uniform(number, 80) - 0.5), (uniform(number) * 81).long()
    up = torch.softmax(uniform(2, 25, 2 * small.shape[2], 2 * small.shape[3]), 1)
    from mmcv import ops as named

    found = {
        'RoIAlign': ((features, rois), lambda x, r: named.roi_align(x, r, 7, 1 / 4, 2, 'avg', True)),
        'NMS': ((boxes, scores), lambda b, s: named.nms(b.float(), s.float(), 0.7)[1]),
        'focal loss': ((logits, classes), lambda x, c: named.sigmoid_focal_loss(x, c, 2.0, 0.25, None, 'none')),
        'deformable convolution': (
            (small, offset, mask, weight),
            lambda x, o, m, w: named.modulated_deform_conv2d(x, o, m, w, None, 1, 1, 1, 1, 1),
        ),
        'CARAFE': ((small, up), lambda x, m: named.carafe(x, m, 5, 1, 2)),
    }
    if ops.provided() == 'compiled':
        theirs = torchvision.ops
        found["torchvision's RoIAlign"] = (
            (features, rois),
            lambda x, r: theirs.roi_align(x, r, 7, 1 / 4, 2, aligned=True),
        )
        found["torchvision's NMS"] = (boxes, scores), lambda b, s: theirs.nms(b.float(), s.float(), 0.7)
    return found


def run_op(case: tuple, device: str, dtype: torch.dtype) -> list[Tensor]:
    """The op's output and the gradients of what it is differentiable in."""
    inputs, call = case
    on = [one.to(device, dtype) if one.is_floating_point() else one.to(device) for one in inputs]
    on = [one.requires_grad_() if one.is_floating_point() else one for one in on]
    output = call(*on)
    if not output.is_floating_point():
        return [output]
    output.square().sum().backward()
    return [output.detach(), *(one.grad for one in on if one.is_floating_point() and one.grad is not None)]


def measure_ops(machine: Machine) -> list[dict]:
    """A row for each op: the time of output and gradients, and how far float32 is from the CPU's float64."""
    rows = []
    for name, case in inputs_of_ops(machine).items():
        row = dict(op=name, kernels='torchvision' if name.startswith('torchvision') else ops.provided())
        rows.append(row)
        if machine.late:
            row['failed'] = 'left out: the minutes are over'
            continue
        try:
            row['seconds'] = machine.seconds(lambda case=case: run_op(case, machine.device, torch.float32))
            exact, found = run_op(case, 'cpu', torch.float64), run_op(case, machine.device, torch.float32)
            row['error'] = max(map(distance, found, exact))
        except Exception as error:
            row['failed'] = describe(error)
    return rows


def distance(found: Tensor, exact: Tensor) -> float:
    """The largest difference, relative to the largest value; of indices the share that differs."""
    found = found.cpu()
    if not exact.is_floating_point():
        return float(len(found) != len(exact) or (found != exact).double().mean())
    return ((found.double() - exact).abs().max() / exact.abs().max()).item()


# --- the loaders -----------------------------------------------------------------------------------------------------


class Samples(torch.utils.data.Dataset):
    def __init__(self, get: Callable[[int], object]) -> None:
        self.get = get

    def __getitem__(self, index: int) -> object:
        return self.get(index)


def pictures() -> list[np.ndarray]:
    """Noise of several scales, whose JPEGs have 97 kB, as those of photographs have 85 to 94."""
    draw, found = np.random.default_rng(0), []
    for _ in range(5):
        layers = [
            cv2.resize(draw.normal(0, 24, (side * 3 // 4, side, 3)), (640, 480), interpolation=cv2.INTER_CUBIC)
            for side in (8, 32, 128)
        ]
        found.append((128 + sum(layers)).clip(0, 255).astype(np.uint8))
    return found


def measure_loaders(machine: Machine) -> list[dict]:
    """A row for each training pipeline and number of workers: images a second that the training process is handed."""
    register_all_modules(init_default_scope=False)
    register_pretrain_modules(init_default_scope=False)
    cv2.setNumThreads(0)  # as MMEngine does for a training; a forked worker would wait for threads that it has not
    cores = len(os.sched_getaffinity(0))
    images, batch, seconds = (200, 2, 4.0) if machine.cuda else (4, 2, 0.1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder), pictures(), images)
        for case in LOADERS:
            for workers in sorted({1, cores}):
                row = dict(pipeline=case, workers=workers)
                rows.append(row)
                if machine.late:
                    row['failed'] = 'left out: the minutes are over'
                    continue
                try:
                    get, _ = build(case, Path(folder), False)
                    row['images_per_second'] = rate(get, images, batch, workers, seconds)
                except Exception as error:
                    row['failed'] = describe(error)
    return rows


def rate(get: Callable[[int], object], images: int, batch: int, workers: int, seconds: float) -> float:
    """Images a second, from when each worker has handed two batches over, as then none is ahead."""
    loader = torch.utils.data.DataLoader(
        Samples(get),
        batch,
        sampler=itertools.cycle(range(images)),
        num_workers=workers,
        collate_fn=pseudo_collate,
        multiprocessing_context='fork',
    )
    batches = iter(loader)
    for _ in range(2 * workers):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += batch
    return count / (time.perf_counter() - start)


# --- tables ----------------------------------------------------------------------------------------------------------


def markdown(found: dict) -> str:
    what = found['machine']
    rates = ', '.join(f'{name} {rate / 1e12:.3g}' for name, rate in found['matmul'].items())
    lines = [
        f'{what["device"]}; ' + ', '.join(f'{key} {value}' for key, value in what.items() if key != 'device') + '.',
        f'A product of two matrices, TFLOP/s: {rates}.',
        '',
        '| model | way | ms a step | images/s | peak, GiB | of the roofline | of float32 |',
        '| --- | --- | ---: | ---: | ---: | ---: | ---: |',
    ]
    base = {row['model']: row['seconds'] for row in found['steps'] if row['way'] == 'float32' and 'seconds' in row}
    for row in found['steps']:
        if 'failed' in row:
            lines.append(f'| {row["model"]} | {row["way"]} | {row["failed"]} | | | | |')
            continue
        peak = f'{row["peak"] / 2**30:.2f}' if row['peak'] else ''
        ratio = f'{row["seconds"] / base[row["model"]]:.2f}' if row['model'] in base else ''
        lines.append(
            f'| {row["model"]} | {row["way"]} | {1e3 * row["seconds"]:.1f} | {row["images_per_second"]:.1f} | {peak} '
            f'| {100 * row["roofline"]:.1f} % | {ratio} |'
        )
    lines += ['', '| op | kernels | ms | float32 from float64 on the CPU |', '| --- | --- | ---: | ---: |']
    for row in found['ops']:
        values = row.get('failed') or f'{1e3 * row["seconds"]:.2f} | {row["error"]:.1e}'
        lines.append(f'| {row["op"]} | {row["kernels"]} | {values} |' + (' |' if 'failed' in row else ''))
    lines += ['', '| pipeline | workers | images/s |', '| --- | ---: | ---: |']
    for row in found['loaders']:
        value = row.get('failed') or f'{row["images_per_second"]:.0f}'
        lines.append(f'| {row["pipeline"]} | {row["workers"]} | {value} |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cuda = torch.cuda.is_available()
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda' if cuda else 'cpu')
    parser.add_argument('--out', type=Path, default=Path('gpu'), help='files, without suffix (default: %(default)s)')
    parser.add_argument('--minutes', type=float, default=7.5, help='after which no other case begins')
    parser.add_argument('--repeats', type=int, default=10 if cuda else 1)
    parser.add_argument(
        '--only', nargs='+', choices=MODELS, default=list(MODELS), metavar='MODEL', help='some of them'
    )
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # the initialisation of each tensor
    warnings.filterwarnings('ignore')
    machine = Machine(args.device, args.minutes, args.repeats)
    start = time.monotonic()

    def say(text: str) -> None:
        print(f'{time.monotonic() - start:4.0f} s  {text}', file=sys.stderr, flush=True)

    with contextlib.redirect_stdout(sys.stderr):  # OneDL's packages and pycocotools print
        found: dict = dict(machine=machine.describe(), matmul=matmul_rates(machine))
        found['ops'] = measure_ops(machine)
        found['loaders'] = measure_loaders(machine)
        found['steps'] = steps(machine, args.only, found['matmul'], say)
    write_atomically(args.out.with_suffix('.json'), (json.dumps(found, indent=1) + '\n').encode())
    table = markdown(found)
    write_atomically(args.out.with_suffix('.md'), table.encode())
    print(table)


if __name__ == '__main__':
    main()
