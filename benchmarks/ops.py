"""Time the ops of `rethink.ops`, and compare them with mmcv's compiled ones where there are any.

    python benchmarks/ops.py [--device cuda] [--repeats 5] [--build FOLDER]

Sizes are those of a Faster R-CNN with FPN on two images of 1216 x 800 pixels, and of RetinaNet's loss on a part of its
anchors. Each time is the median of the repeats.

Compiled ops are those of the installed mmcv, or, with ``--build``, mmcv's own CPU kernels for NMS, soft-NMS and
RoIAlign, compiled into FOLDER from the C++ sources that the mmcv package carries (minutes; needs a compiler and ninja;
nothing is installed).
"""

import argparse
import shutil
import statistics
import sys
import time
from pathlib import Path

import torch
from rethink import ops

SOURCES = ('nms.cpp', 'cpu/nms.cpp', 'roi_align.cpp', 'cpu/roi_align.cpp')
BINDING = """
#include <torch/extension.h>
#include "pytorch_cpp_helper.hpp"
Tensor nms(Tensor, Tensor, float, int);
Tensor softnms(Tensor, Tensor, Tensor, float, float, float, int, int);
void roi_align_forward(Tensor, Tensor, Tensor, Tensor, Tensor, int, int, float, int, int, bool);
void roi_align_backward(Tensor, Tensor, Tensor, Tensor, Tensor, int, int, float, int, int, bool);
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("nms", &nms);
  m.def("softnms", &softnms);
  m.def("roi_align_forward", &roi_align_forward);
  m.def("roi_align_backward", &roi_align_backward);
}
"""


def build(folder: Path):
    """Compile mmcv's CPU kernels into ``folder`` and load them."""
    import mmcv
    from torch.utils.cpp_extension import load

    folder.mkdir(parents=True, exist_ok=True)
    csrc = Path(mmcv.__file__).parent / 'ops/csrc'
    files = [folder / 'binding.cpp']
    if not files[0].exists():
        files[0].write_text(BINDING)
    for source in SOURCES:
        # Two of them have the same name, which one folder of objects cannot hold.
        files.append(folder / source.replace('/', '_'))
        if not files[-1].exists():
            shutil.copy(csrc / 'pytorch' / source, files[-1])
    include = [str(csrc / part) for part in ('', 'common', 'pytorch')]
    return load(
        'mmcv_cpu_kernels',
        [str(file) for file in files],
        extra_include_paths=include,
        extra_cflags=['-O2'],
        build_directory=str(folder),
        with_cuda=False,
    )


def compare(compiled) -> None:
    """Print in how many random CPU cases ours and the compiled ops agree. No two scores are equal, no box is empty."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator)

    same, total, furthest = {}, {}, {}

    def count(name, ours, theirs):
        total[name] = total.get(name, 0) + 1
        same[name] = same.get(name, 0) + (ours.shape == theirs.shape and torch.equal(ours, theirs))
        if ours.shape == theirs.shape and ours.is_floating_point():
            gap = (ours - theirs).abs().max() / theirs.abs().max()
            furthest[name] = max(furthest.get(name, 0.0), gap.item())

    for case in range(300):
        number = 1 + int(uniform(1) * 400)
        corner = uniform(number, 2) * (100, 300, 1000)[case % 3]
        boxes = torch.cat([corner, corner + uniform(number, 2) * 60 + 0.5], 1)
        if case % 5 == 0:  # as batched NMS moves classes apart
            boxes = boxes + (uniform(number, 1) * 80).floor() * 1000
        scores = torch.randperm(number, generator=generator) / number
        for offset in (0, 1):
            for threshold in (0.3, 0.5, 0.7):
                count('nms', *(m.nms(boxes, scores, threshold, offset) for m in (ops, compiled)))
            for method, name in enumerate(('naive', 'linear', 'gaussian')):
                for min_score in (1e-3, 0.05, 0.3):
                    dets = [boxes.new_zeros(number, 5) for _ in range(2)]
                    keep = [
                        m.softnms(boxes, scores, d, 0.3, 0.5, min_score, method, offset)
                        for m, d in zip((ops, compiled), dets, strict=True)
                    ]
                    count(f'softnms {name}, indices', *keep)
                    if torch.equal(*keep):
                        count(f'softnms {name}, scores', *(d[: len(k), 4] for d, k in zip(dets, keep, strict=True)))
    for _ in range(40):
        features = uniform(2, 4, 20, 30) - 0.5
        corner = uniform(30, 2) * 200 - 20
        rois = torch.cat([(uniform(30, 1) * 2).floor(), corner, corner + uniform(30, 2) * 150], 1)
        for aligned in (True, False):
            for ratio in (0, 1, 2, 3):
                shape, none = (7, 5, 1 / 8, ratio, 1, aligned), torch.zeros(0)
                outputs = [torch.zeros(30, 4, 7, 5) for _ in range(2)]
                grads = [torch.zeros_like(features) for _ in range(2)]
                for m, output, grad in zip((ops, compiled), outputs, grads, strict=True):
                    m.roi_align_forward(features, rois, output, none, none, *shape)
                    m.roi_align_backward(outputs[0], rois, none, none, grad, *shape)
                count('roi_align forward', *outputs)
                count('roi_align backward', *grads)
    print('Random cases in which ours and the compiled op give the same bits, and the largest relative difference:')
    for name in total:
        print(f'{name:28}{same[name]:>6} of {total[name]:<6}', f'{furthest[name]:.1e}' if name in furthest else '')


def boxes_and_scores(count: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([1000.0, 600.0])
    extent = torch.rand(count, 2, generator=generator) * 200 + 8
    return torch.cat([corner, corner + extent], 1).to(device), torch.rand(count, generator=generator).to(device)


def cases(device: str) -> dict:
    """Name of each case to a function that takes the module of the ops."""
    boxes, scores = boxes_and_scores(8000, device)
    few, few_scores = boxes_and_scores(1000, 'cpu')
    dets = torch.zeros(1000, 5)
    features = torch.randn(2, 256, 50, 76, device=device)
    rois = torch.cat([torch.arange(1024, device=device)[:, None] % 2, boxes[:1024]], 1)
    pooled, none = torch.zeros(1024, 256, 7, 7, device=device), features.new_zeros(0)
    grad = torch.zeros_like(features)
    bins = (7, 7, 1 / 16, 0, 1, True)
    logits = torch.randn(100_000, 80, device=device)
    target = torch.randint(81, (100_000,), device=device)
    loss = torch.zeros_like(logits)
    found = {
        'nms, 8000 boxes': lambda m: m.nms(boxes, scores, 0.7, 0),
        'softnms linear, 1000 boxes': lambda m: m.softnms(few, few_scores, dets, 0.5, 0.5, 0.05, 1, 0),
        'roi_align forward, 1024 RoIs': lambda m: m.roi_align_forward(features, rois, pooled, none, none, *bins),
        'roi_align backward, 1024 RoIs': lambda m: m.roi_align_backward(pooled, rois, none, none, grad, *bins),
        'sigmoid focal forward, 100k x 80': lambda m: m.sigmoid_focal_loss_forward(
            logits, target, none, loss, 2.0, 0.25
        ),
        'sigmoid focal backward, 100k x 80': lambda m: m.sigmoid_focal_loss_backward(
            logits, target, none, loss, 2.0, 0.25
        ),
    }
    return found


def milliseconds(function, module, device: str, repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):  # the first warms up
        start = time.perf_counter()
        function(module)
        if device != 'cpu':
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--build', type=Path, metavar='FOLDER')
    args = parser.parse_args()
    modules = {'torchvision': ops}
    if args.build:
        modules['compiled'] = build(args.build.resolve())
    elif ops.provided() == 'compiled':
        modules['compiled'] = sys.modules['mmcv._ext']
    if 'compiled' in modules:
        compare(modules['compiled'])
    print(f'torch {torch.__version__}, {args.device}, {torch.get_num_threads()} threads; milliseconds')
    print(f'{"":36}' + ''.join(f'{name:>14}' for name in modules))
    for name, function in cases(args.device).items():
        row = []
        for module in modules.values():
            try:
                row.append(f'{milliseconds(function, module, args.device, args.repeats):14.1f}')
            except (
                RuntimeError,
                AttributeError,
            ):  # not built, or not on this device: mmcv has no focal loss on the CPU
                row.append(f'{"-":>14}')
        print(f'{name:36}' + ''.join(row))


if __name__ == '__main__':
    main()
