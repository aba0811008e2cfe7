"""What test_two_processes.py runs in one process and in two (gloo): writes FOLDER/<processes>-<rank>.pth."""

import os
import sys
from pathlib import Path

import rethink  # noqa: F401
import torch
from mmengine.registry import MODELS, init_default_scope
from rethink.engine import launch
from tiny_moco import classifier, config, copied, moco, train
from torch.nn.parallel import DistributedDataParallel

RANK, WORLD = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
HALVES = dict(type='SplitBN', groups=2)


def momentum_contrast() -> dict:
    """Three steps of MoCo on the same eight images, in float64: BN in two processes, BN by halves in one."""
    init_default_scope('mmpretrain')
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    model = MODELS.build(moco(None if WORLD == 2 else HALVES))
    model.init_weights()
    views = torch.randn(3, 2, 8, 3, 32, 32)
    run = DistributedDataParallel(model, broadcast_buffers=False) if WORLD == 2 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step, (query, key) in enumerate(views):
        torch.manual_seed(step)  # of the shuffle
        inputs = [view.chunk(WORLD)[RANK] for view in (query, key)]
        loss = run(inputs, [], mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return dict(state=copied(model), losses=losses)


def run(folder: Path, **settings):
    cfg = config(folder / 'images', folder / f'run{WORLD}', **settings)
    cfg.launcher = 'pytorch' if WORLD == 2 else 'none'
    launch.start_processes(cfg)
    runner, watch = train(cfg)
    model = runner.model.module if WORLD == 2 else runner.model
    return dict(before=watch.before, after=copied(model), images=watch.images)


def main() -> None:
    folder = Path(sys.argv[1])
    found = {}
    # The first run opens the process group.
    estimate = dict(type='ReestimateBNHook', num_images=12, interval=1)
    found['estimate'] = run(folder, model=classifier(), max_iters=1, batch_size=3, lr=0.0, custom_hooks=[estimate])
    hooks = [
        dict(type='InitFromBaseHook', checkpoint=str(folder / 'base.pth')),
        dict(type='TrainBNOnlyHook', also=['neck']),
        dict(type='ExportBackboneHook'),
    ]
    found['bn only'] = run(folder, model=moco(), max_iters=4, batch_size=3, custom_hooks=hooks)
    found['moco'] = momentum_contrast()
    torch.save(found, folder / f'{WORLD}-{RANK}.pth')
    launch.end_processes()


if __name__ == '__main__':
    main()
