"""Memory and start of data workers with COCO's number of records, and what resuming late in a schedule takes.

    python benchmarks/data_workers.py [--records 118287] [--workers 0 1 4] [--iterations 500000]

A data set of MMEngine's over generated records (7 objects with a polygon of 25 corners each; no images) is read by
data loaders with workers that are forked, as MMEngine's are. Printed for each number of workers, after all records
were read once: of a worker the RSS, which counts what it shares with others in full, the PSS, which counts its share,
and what it alone holds; the PSS of all processes together; seconds from asking to the first batch. Then the CPU time
in which the training loop finds its place in the order of images, as now and by drawing all batches before it.
"""

import argparse
import itertools
import os
import time
from pathlib import Path

import numpy as np
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmengine.dataset import BaseDataset, DefaultSampler, InfiniteSampler, pseudo_collate
from rethink.engine.loops import EndlessBatches
from torch.utils.data import DataLoader


class Records(BaseDataset):
    """Records as MMDetection has them; a sample is the process that read it, and its memory."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()

    def load_data_list(self) -> list[dict]:
        draw = np.random.default_rng(0)
        records = []
        for index in range(self.number):
            height, width = (480, 640) if draw.random() < 0.7 else (640, 480)
            instances = [
                dict(bbox=box, bbox_label=1, ignore_flag=0, mask=[polygon])
                for box, polygon in zip(
                    draw.uniform(0, 480, (7, 4)).tolist(), draw.uniform(0, 480, (7, 50)).tolist(), strict=True
                )
            ]
            path = f'train2017/{index:012d}.jpg'
            records.append(dict(img_path=path, img_id=index, height=height, width=width, instances=instances))
        return records

    def prepare_data(self, index: int) -> int:
        self.get_data_info(index)
        return os.getpid()


def memory(pid: int | str = 'self') -> dict[str, float]:
    """MB of a process."""
    lines = [line.split() for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:]]
    found = {line[0].rstrip(':'): int(line[1]) / 1024 for line in lines}
    return dict(RSS=found['Rss'], PSS=found['Pss'], alone=found['Private_Clean'] + found['Private_Dirty'])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--records', type=int, default=118_287)
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 1, 4])
    parser.add_argument('--iterations', type=int, default=500_000)
    args = parser.parse_args()
    before = memory()
    dataset = Records(args.records)
    megabytes = dataset.data_bytes.nbytes / 2**20
    print(f'{args.records} records: {megabytes:.0f} MB as bytes; imports {before["RSS"]:.0f} MB')
    for workers in args.workers:
        loader = DataLoader(
            dataset,
            16,
            num_workers=workers,
            collate_fn=pseudo_collate,
            sampler=DefaultSampler(dataset, seed=0),
            persistent_workers=workers > 0,
            multiprocessing_context='fork' if workers else None,
        )
        start = time.perf_counter()
        batches = iter(loader)
        next(batches)
        first = time.perf_counter() - start
        readers = {pid for batch in batches for pid in batch} - {os.getpid()}
        assert len(readers) == workers
        here, seen = memory(), [memory(pid) for pid in readers]
        line = ', '.join(f'{key} {here[key]:.0f}' for key in here)
        print(f'{workers} workers: {first:.2f} s to the first batch; main process {line} MB', end='')
        if workers:
            worker = ', '.join(f'{key} {max(one[key] for one in seen):.0f}' for key in here)
            together = here['PSS'] + sum(one['PSS'] for one in seen)
            print(f'; a worker {worker} MB; together {together:.0f} MB', end='')
        print(flush=True)
        del batches, loader

    for sampler in (DefaultSampler, InfiniteSampler):
        places = {}
        for how in ('now', 'drawn'):
            batches = EndlessBatches(AspectRatioBatchSampler(sampler(dataset, seed=0), 2))
            start = time.process_time()
            if how == 'now':
                batches.skip(args.iterations)
            else:
                next(itertools.islice(batches, args.iterations, args.iterations), None)
            spent = time.process_time() - start
            places[how] = next(iter(batches))
            print(f'{sampler.__name__}, {args.iterations} batches of 2, {how}: {spent:.2f} s')
        assert places['now'] == places['drawn']


if __name__ == '__main__':
    main()
