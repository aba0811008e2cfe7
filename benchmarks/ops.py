"""Time the ops of `rethink.ops`, and compare them with mmcv's compiled ones where there are any.

    python benchmarks/ops.py [--device cuda] [--repeats 5] [--build FOLDER]

Sizes are those of a Faster R-CNN with FPN on two images of 1216 x 800 pixels, and of RetinaNet's loss on a part of its
anchors. Each time is the median of the repeats.

Compiled ops are those of the installed mmcv, or, with ``--build``, mmcv's own kernels, compiled into FOLDER from the
sources that the mmcv package carries (``mmcv_kernels.cpp``; a minute; needs a compiler and ninja; nothing is
installed). Kernels that mmcv has for CUDA only are compiled as plain C++ there.
"""

import argparse
import math
import statistics
import sys
import time
from pathlib import Path

import torch
from rethink import ops


def build(folder: Path):
    """Compile mmcv's kernels into ``folder`` and load them."""
    import mmcv
    from torch.utils.cpp_extension import load

    csrc = Path(mmcv.__file__).parent / 'ops/csrc'
    (folder / 'none').mkdir(parents=True, exist_ok=True)
    (folder / 'none/cuda.h').touch()  # which a header asks for and nothing here uses
    return load(
        'mmcv_kernels',
        [str(Path(__file__).with_name('mmcv_kernels.cpp'))],
        extra_include_paths=[str(folder / 'none'), *(str(csrc / part) for part in ('', 'common', 'pytorch'))],
        extra_cflags=['-O2'],
        build_directory=str(folder),
        with_cuda=False,
    )


class Counts:
    """In how many cases ours and the compiled op give the same bits, and how far the others are apart."""

    def __init__(self):
        self.same, self.total, self.furthest = {}, {}, {}

    def add(self, name: str, ours, theirs) -> None:
        self.total[name] = self.total.get(name, 0) + 1
        if isinstance(ours, list):
            self.same[name] = self.same.get(name, 0) + (ours == theirs)
            return
        alike = ours.shape == theirs.shape and torch.equal(ours.isnan(), theirs.isnan())
        if alike:
            ours, theirs = ours.nan_to_num(), theirs.nan_to_num()
        self.same[name] = self.same.get(name, 0) + (alike and torch.equal(ours, theirs))
        if ours.is_floating_point() and ours.numel():
            gap = ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30)).item() if alike else math.inf
            self.furthest[name] = max(self.furthest.get(name, 0.0), gap)

    def print(self) -> None:
        for name, total in self.total.items():
            far = f'{self.furthest[name]:.1e}' if name in self.furthest else ''
            print(f'{name:52}{self.same[name]:>6} of {total:<6}', far)


def compare(compiled) -> None:
    """Print in how many random cases on the CPU ours and the compiled ops agree."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator)

    print('Random cases in which ours and the compiled op give the same bits, and the largest relative difference:')
    compare_boxes(compiled, uniform)
    compare_roi_align(compiled, uniform)
    if hasattr(compiled, 'carafe_naive_forward'):
        compare_deformable(compiled, uniform)
        compare_others(compiled, uniform)


def compare_boxes(compiled, uniform) -> None:
    counts = Counts()
    for case in range(60):
        number = 1 + int(uniform(1) * 400)
        corner = uniform(number, 2) * (100, 300, 1000)[case % 3]
        boxes = torch.cat([corner, corner + uniform(number, 2) * 60 + 0.5], 1)
        if case % 5 == 0:  # as batched NMS moves classes apart
            boxes = boxes + (uniform(number, 1) * 80).floor() * 1000
        scores = uniform(number).argsort().argsort() / number
        kinds = {'': (boxes, scores), 'equal scores': (boxes, (scores * 10).round() / 10)}
        spoiled = uniform(number, 4) < 0.04
        for name, number_ in (('NaN', math.nan), ('inf', math.inf)):
            kinds[name] = boxes.masked_fill(spoiled, number_), scores
        kinds['NaN'] = kinds['NaN'][0], scores.masked_fill(uniform(number) < 0.1, math.nan)
        for kind, (some, their_scores) in kinds.items():
            kind = f', {kind}' if kind else ''
            for offset in (0, 1):
                for threshold in (0.3, 0.5, 0.7):
                    counts.add(f'nms{kind}', *(m.nms(some, their_scores, threshold, offset) for m in (ops, compiled)))
                    for method, name in enumerate(('naive', 'linear', 'gaussian')):
                        dets = [some.new_zeros(number, 5) for _ in range(2)]
                        arguments = (0.3, 0.5, (1e-3, 0.05, 0.3)[round(threshold * 5) - 2], method, offset)
                        keep = [
                            m.softnms(some, their_scores, d, *arguments)
                            for m, d in zip((ops, compiled), dets, strict=True)
                        ]
                        counts.add(f'softnms {name}, indices{kind}', *keep)
                        if torch.equal(*keep):
                            pairs = zip(dets, keep, strict=True)
                            counts.add(f'softnms {name}, scores{kind}', *(d[: len(k), 4] for d, k in pairs))
                overlaps = [some.new_zeros(number, number) for _ in range(2)]
                for m, out in zip((ops, compiled), overlaps, strict=True):
                    m.bbox_overlaps(some, some, out, 0, False, offset)
                counts.add(f'bbox_overlaps{kind}', *overlaps)
            dets = torch.cat([some, their_scores[:, None]], 1)
            counts.add(f'nms_match{kind}', *(m.nms_match(dets, 0.5) for m in (ops, compiled)))
    counts.print()


def compare_roi_align(compiled, uniform) -> None:
    counts = Counts()
    for _ in range(10):
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
                counts.add('roi_align, forward', *outputs)
                counts.add('roi_align, backward', *grads)
    counts.print()


def compare_deformable(compiled, uniform) -> None:
    """In float64, where what is left is the order of sums."""
    counts = Counts()
    offsets = {
        'random offsets': lambda o: o,
        'whole offsets': lambda o: o.round(),
        'no offsets': torch.zeros_like,
        'infinite offsets': lambda o: o.masked_fill(uniform(*o.shape) < 0.1, math.inf),
        'NaN in offsets, forward': lambda o: o.masked_fill(uniform(*o.shape) < 0.1, math.nan),
    }
    shapes = [(2, 7, 6, 1, 1, 1, 1, 1), (2, 8, 9, 2, 2, 2, 1, 1), (1, 9, 9, 1, 1, 1, 2, 2), (3, 7, 7, 1, 2, 1, 0, 1)]
    for _ in range(10):
        for batch, height, width, deform_groups, groups, stride, pad, dilation in shapes:
            out_h, out_w = ((n + 2 * pad - 2 * dilation - 1) // stride + 1 for n in (height, width))
            for larger in (0, 3):
                for kind, change in offsets.items():
                    x, weight, bias = (
                        t.double() - 0.5
                        for t in (uniform(batch, 4, height, width), uniform(4, 4 // groups, 3, 3), uniform(4))
                    )
                    size = (out_h + larger, out_w + 2 * larger)
                    offset = change((uniform(batch, 18 * deform_groups, *size).double() - 0.5) * 6)
                    mask = uniform(batch, 9 * deform_groups, *size).double()
                    above = uniform(batch, 4, out_h, out_w).double() - 0.5
                    geometry = (3, 3, stride, stride, pad, pad, dilation, dilation, groups, deform_groups)
                    found = []
                    for m in (ops, compiled):
                        tensors = [t.clone() for t in (x, weight, bias)]
                        more = [offset.clone(), mask.clone()]
                        out, none = torch.zeros_like(above), x.new_empty(0)
                        m.modulated_deform_conv_forward(*tensors, none, *more, out, none, *geometry, True)
                        # mmcv's backward kernel reads outside its tensors where an offset is NaN.
                        grads = [torch.zeros_like(t) for t in (*tensors, *more)]
                        if 'NaN' not in kind:
                            m.modulated_deform_conv_backward(
                                *tensors, none, *more, none, *grads, above.clone(), *geometry, True
                            )
                        found.append([out, *grads])
                    for name, *pair in zip(
                        ('output', 'by input', 'by weight', 'by bias', 'by offset', 'by mask'), *found, strict=True
                    ):
                        if 'NaN' not in kind or name == 'output':
                            size = ', larger' if larger else ''
                            counts.add(f'modulated_deform_conv {name}, {kind}{size}', *pair)
                    if larger:
                        continue
                    found = []
                    for m in (ops, compiled):
                        tensors, out, none = [t.clone() for t in (x, weight, offset)], torch.zeros_like(above), x[:0]
                        m.deform_conv_forward(*tensors, out, none, none, *geometry, batch)
                        grads = [torch.zeros_like(t) for t in (x, offset, weight)]
                        if 'NaN' not in kind:
                            pair = (x.clone(), offset.clone(), above.clone())
                            m.deform_conv_backward_input(*pair, *grads[:2], weight.clone(), none, *geometry, batch)
                            m.deform_conv_backward_parameters(*pair, grads[2], none, none, *geometry, 1.0, batch)
                        found.append([out, *grads])
                    for name, *pair in zip(('output', 'by input', 'by offset', 'by weight'), *found, strict=True):
                        if 'NaN' not in kind or name == 'output':
                            counts.add(f'deform_conv {name}, {kind}', *pair)
    counts.print()


def compare_others(compiled, uniform) -> None:
    """In float64 but for MMSyncBN and the focal losses, which mmcv has in float32."""
    counts = Counts()

    def both(name, arguments, outputs, call):
        found = []
        for m in (ops, compiled):
            out = [torch.zeros_like(t) for t in outputs]
            call(m, arguments, out)
            found.append(out)
        for position, pair in enumerate(zip(*found, strict=True)):
            counts.add(f'{name}, {("output", "gradient", "other gradient", "third gradient")[position]}', *pair)

    four, none = torch.zeros(4), torch.zeros(0)
    shapes, start = torch.tensor([[5, 6], [3, 3], [2, 1]]), torch.tensor([0, 30, 39])
    for case in range(20):
        kernel, groups, scale = ((5, 1, 2), (3, 2, 3), (1, 1, 1), (5, 4, 2))[case % 4]
        x, masks = uniform(2, 4, 5, 6).double(), uniform(2, groups * kernel**2, 5 * scale, 6 * scale).double()
        above = uniform(2, 4, 5 * scale, 6 * scale).double()

        def carafe(m, t, out, shape=(kernel, groups, scale)):
            m.carafe_naive_forward(t[0], t[1], out[0], *shape)
            m.carafe_naive_backward(t[2], t[0], t[1], out[1], out[2], *shape)

        both('carafe', (x, masks, above), (above, x, masks), carafe)

        x, corner = uniform(2, 3, 9, 8).double() - 0.5, uniform(20, 2).double() * 40 - 8
        rois = torch.cat([(uniform(20, 1) * 2).floor(), corner, corner + uniform(20, 2) * 30], 1)
        offset, above = (uniform(20, 2, 3, 4).double() - 0.5) * 4, uniform(20, 3, 3, 4).double()

        def pool(m, t, out, shape=(3, 4, 0.25, case % 3, 0.1)):
            m.deform_roi_pool_forward(t[0], t[1], t[2], out[0], *shape)
            m.deform_roi_pool_backward(t[3], t[0], t[1], t[2], out[1], out[2], *shape)

        both('deform_roi_pool', (x, rois, offset, above), (above, x, offset), pool)

        chosen = (uniform(9, 8) < 0.5).nonzero()
        rows, columns = (chosen[:, n].contiguous() for n in (0, 1))
        kernel, pad = ((3, 1), (1, 0), (3, 0), (5, 2))[case % 4]

        def masked(m, t, out, shape=(kernel, kernel, pad, pad)):
            m.masked_im2col_forward(t[0], t[1], t[2], out[0], *shape)
            m.masked_col2im_forward(out[0], t[1], t[2], out[1], 9, 8, len(out[0]))

        column = x.new_zeros(3 * kernel**2, len(rows))
        both('masked_im2col', (x[:1].contiguous(), rows, columns), (column, x.new_zeros(1, len(column), 9, 8)), masked)

        value, locations = uniform(2, 41, 2, 4).double(), uniform(2, 7, 2, 3, 5, 2).double() * 1.6 - 0.3
        weights, above = uniform(2, 7, 2, 3, 5).double(), uniform(2, 7, 8).double()
        spoiled = locations.masked_fill(uniform(*locations.shape) < 0.1, math.nan)
        for kind, some in (('', locations), (', NaN', spoiled)):

            def attend(m, t, out):
                out[0] += m.ms_deform_attn_forward(t[0], shapes, start, t[1], t[2], 64)
                m.ms_deform_attn_backward(t[0], shapes, start, t[1], t[2], t[3], *out[1:], 64)

            both(f'ms_deform_attn{kind}', (value, some, weights, above), (above, value, some, weights), attend)

        x, above = uniform(3, 4, 10) * 3, uniform(3, 4, 10)

        def norm(m, t, out):
            mean, var, std, running, spread = (four.clone() for _ in range(5))
            normed = torch.zeros_like(t[0])
            m.sync_bn_forward_mean(t[0], mean)
            m.sync_bn_forward_var(t[0], mean, var)
            m.sync_bn_forward_output(t[0], mean, var, t[2], t[2], running, spread, normed, std, out[0], 1e-5, 0.1, 2)
            m.sync_bn_backward_param(t[1], normed, out[2], out[3])
            m.sync_bn_backward_data(t[1], t[2], out[2], out[3], normed, std, out[1])

        both('sync_bn, float32', (x, above, uniform(4)), (x, x, four, four), norm)

        logits = (uniform(50, 8) - 0.5) * 10
        target = (uniform(50) * 8).long()

        def sigmoid(m, t, out):
            m.sigmoid_focal_loss_forward(*t, none, out[0], 2.0, 0.25)
            m.sigmoid_focal_loss_backward(*t, none, out[1], 2.0, 0.25)

        def softmax(m, t, out):
            m.softmax_focal_loss_forward(*t, none, out[0], 2.0, 0.25)
            m.softmax_focal_loss_backward(*t, none, torch.zeros(50), out[1], 2.0, 0.25)

        both('sigmoid_focal_loss, float32', (logits, target), (logits, logits), sigmoid)
        both('softmax_focal_loss, float32', (logits.softmax(1), target), (logits[:, 0].contiguous(), logits), softmax)
    counts.print()


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
