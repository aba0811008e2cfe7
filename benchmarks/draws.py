"""Time what drawing by place (rethink.engine.draws) costs a training, beside its step and the sample it is part of.

    python benchmarks/draws.py [--repeats 200]

On the smallest detector here, ``shapes/scratch_r18_gn_1x``, whose steps and images are the cheapest: its data are
written to a temporary folder. Setting the generators takes turns with loading the sample, and with a training step, in
one process; printed are the medians, and the medians of the ratios of the turns.
"""

import argparse
import logging
import statistics
import tempfile
import time

import rethink
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope
from rethink.datasets import shapes
from rethink.engine import draws


def turns(repeats: int, before, work) -> tuple[float, float, float]:
    """Medians of the seconds of both and of their ratio, after a first turn that does not count."""
    found = []
    for number in range(repeats + 1):
        start = time.process_time()
        before(number)
        middle = time.process_time()
        work(number)
        found.append((middle - start, time.process_time() - middle))
    rest = found[1:]
    return (
        statistics.median(one for one, _ in rest),
        statistics.median(two for _, two in rest),
        statistics.median(one / two for one, two in rest),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=200, help='samples; a tenth of it are the steps')
    args = parser.parse_args()
    register_all_modules(init_default_scope=False)
    init_default_scope('mmdet')
    logging.disable(logging.INFO)
    cfg = Config.fromfile(rethink.config_path('shapes/scratch_r18_gn_1x.py'))
    with tempfile.TemporaryDirectory() as folder:
        shapes.write_detection(folder, shapes.DetectionSpec(train=64, val=1), progress=False)
        dataset = cfg.train_dataloader.dataset
        dataset.data_root = f'{folder}/'
        data = DATASETS.build(dataset)
        model = MODELS.build(cfg.model).train()
        model.init_weights()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        batch = [data[index] for index in range(cfg.train_dataloader.batch_size)]
        batch = {key: [one[key] for one in batch] for key in batch[0]}

        sample = turns(
            args.repeats,
            lambda number: draws._seed(0, 1, 2, number, 3, everywhere=False),
            lambda number: data[number % len(data)],
        )
        step = turns(
            args.repeats // 10,
            lambda number: draws.seed_step(1, 2, number),
            lambda _: model.train_step({key: list(value) for key, value in batch.items()}, wrapper),
        )
    for name, (seeding, work, ratio) in dict(sample=sample, step=step).items():
        print(f'a {name}: {1e6 * seeding:.0f} µs to set generators, {1e3 * work:.2f} ms, ratio {100 * ratio:.2f} %')
    print(f'both, of a step: {100 * (step[0] + len(batch["inputs"]) * sample[0]) / step[1]:.2f} %')


if __name__ == '__main__':
    main()
