"""Time and memory of a step of HPT-BN beside one of full training: MoCo v2 R50, forward, backward and optimiser.

    python benchmarks/hpt_bn.py [--device cuda] [--repeats 5] [--batch 16] [--size 224] [--amp]

The two models have the same weights and images, and take turns in one process; the ratio is the median of the ratios
of the turns. HPT-BN is that of the config: of the backbone BN alone, and the projector. "Kept" are the bytes that
autograd keeps for the backward pass, each storage once, parameters not counted; on a GPU the peak of allocated memory
is given too.
"""

import argparse
import copy
import statistics
import time

import rethink
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.utils import register_all_modules
from rethink.engine.hooks.norm import TrainBNOnlyHook


def models(device: str):
    """Full training, and the config's HPT-BN."""
    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(rethink.config_path('hpt/pretrain_moco_r50_bnonly_5ki.py'))
    init_default_scope(cfg.default_scope)
    full = MODELS.build(cfg.model)
    full.init_weights()
    bn = copy.deepcopy(full)
    (hook,) = [hook for hook in cfg.custom_hooks if hook.type == 'TrainBNOnlyHook']
    TrainBNOnlyHook(hook.also).freeze(bn)
    sgd = dict(lr=0.03, momentum=0.9, weight_decay=1e-4)
    return [(model.to(device).train(), torch.optim.SGD(model.parameters(), **sgd)) for model in (full, bn)]


def step(model, optimizer, views, amp: bool) -> None:
    with torch.autocast(views[0].device.type, torch.bfloat16, enabled=amp):
        loss = model(views, [], mode='loss')['loss']
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def seconds(function, device: str) -> float:
    start = time.perf_counter()
    function()
    if device != 'cpu':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def kept(model, optimizer, views, amp: bool) -> int:
    """Bytes that a step keeps for its backward pass."""
    parameters = {one.untyped_storage().data_ptr() for one in model.parameters()}
    sizes = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step(model, optimizer, views, amp)
    return sum(sizes.values())


def peak(function) -> int:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    return torch.cuda.max_memory_allocated() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--batch', type=int, default=16, help='a divisor of the queue, 65,536')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--amp', action='store_true', help='bfloat16')
    args = parser.parse_args()
    device, turns = args.device, range(args.repeats + 1)  # the first warms up
    print(f'torch {torch.__version__}, {device}, {torch.get_num_threads()} threads; medians of {args.repeats}')

    torch.manual_seed(0)
    pair = models(device)
    views = [torch.randn(args.batch, 3, args.size, args.size, device=device) for _ in range(2)]

    def steps(measure):
        return [measure(lambda one=one: step(*one, views, args.amp)) for one in pair]

    times = [steps(lambda function: seconds(function, device)) for _ in turns][1:]
    full, bn = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(other / one for one, other in times)
    print(f'step, {args.batch} images of {args.size}: full {full:.3f} s, BN alone {bn:.3f} s; ratio {ratio:.2f}')
    full, bn = (kept(*one, views, args.amp) / 2**20 for one in pair)
    print(f'kept for the backward pass: full {full:.0f} MiB, BN alone {bn:.0f} MiB; ratio {bn / full:.2f}')
    for name, (_, optimizer) in zip(('full', 'BN alone'), pair, strict=True):
        state = sum(one.numel() for values in optimizer.state.values() for one in values.values() if one is not None)
        print(f'{name}: {state / 1e6:.2f} M numbers of momentum')
    if device != 'cpu':
        full, bn = (one / 2**20 for one in steps(peak))
        print(f'peak above the models: full {full:.0f} MiB, BN alone {bn:.0f} MiB; ratio {bn / full:.2f}')


if __name__ == '__main__':
    main()
