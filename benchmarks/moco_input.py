"""Whether MoCo's input pipeline keeps up with the model: time of two views of an image, and of an image in a step.

    python benchmarks/moco_input.py [--device cuda --amp] [--size 256 256] [--batch 8] [--repeats 5]

The pipeline of configs/hpt/pretrain_moco_r50_5ki.py (read, decode, two augmented views) on generated JPEGs, in one
worker, and a training step of its model take turns in one process. Printed are the medians, and how many workers one
training process needs so that the model never waits: the median of the ratios. Parts of the pipeline are given as
shares of it. On a CPU the time is that of all threads.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import rethink
import torch
from image_statistics import write_images
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.utils import register_all_modules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256), metavar=('HEIGHT', 'WIDTH'), help='of a JPEG')
    parser.add_argument('--images', type=int, default=64, help='that the pipeline reads in each turn')
    parser.add_argument('--batch', type=int, default=8, help='images of a step')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--amp', action='store_true', help='the step in bfloat16')
    args = parser.parse_args()
    cuda = args.device != 'cpu'
    cv2.setNumThreads(1)
    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(rethink.config_path('hpt/pretrain_moco_r50_5ki.py'))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.to(args.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    views = [torch.randn(args.batch, 3, cfg.view_size, cfg.view_size, device=args.device) for _ in range(2)]
    whole, load = Compose(cfg.pipeline), Compose(cfg.pipeline[:1])

    def step() -> None:
        with torch.autocast(views[0].device.type, torch.bfloat16, enabled=args.amp):
            loss = model(views, [], mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if cuda:
            torch.cuda.synchronize()

    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), args.images, *args.size)
        paths = sorted(map(str, Path(folder).iterdir()))
        # (what, seconds of an image, in CPU time where no worker waits for another device)
        cases = {
            'read and decode': (lambda: [load(dict(img_path=path)) for path in paths], args.images, time.process_time),
            'pipeline': (lambda: [whole(dict(img_path=path)) for path in paths], args.images, time.process_time),
            'step': (step, args.batch, time.perf_counter if cuda else time.process_time),
        }
        seconds = {name: [] for name in cases}
        for _ in range(args.repeats + 1):  # the first warms up
            for name, (function, images, clock) in cases.items():
                start = clock()
                function()
                seconds[name].append((clock() - start) / images)

    device = torch.cuda.get_device_name() if cuda else f'CPU, {torch.get_num_threads()} threads'
    print(f'torch {torch.__version__}, {device}, JPEGs of {args.size[0]} x {args.size[1]}')
    for name, times in seconds.items():
        print(f'{name:16} {1000 * statistics.median(times[1:]):8.2f} ms an image')

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[one][1:], seconds[other][1:], strict=True))

    print(f'read and decode / pipeline: {ratio("read and decode", "pipeline"):.2f}')
    print(f'workers that keep up with one training process: {ratio("pipeline", "step"):.3f}')


if __name__ == '__main__':
    main()
