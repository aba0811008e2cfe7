"""Evaluate a backbone by classification: from its file to a table over learning rates, schedules and reruns.

    python tools/hpt_evaluate.py work_dirs/pretrain_moco_r50_5ki/resisc45/backbone.pth --dataset resisc45 --gpus 4

runs linear separability and semi-supervised fine-tuning of HPT (docs/hpt.md): 3 learning rates, and 2 learning rates
with 2 schedules, 3 reruns of each. Validation chooses, the test is reported. Every training is a run of tools/train.py
in a folder of its own below --out-dir. Stopped and started again, it goes on where it was. The file may be of any
format that InitFromBaseHook reads. Among several files, such as the recipes of BN alone, validation chooses as well.
"""

import os
import shlex
import sys
from pathlib import Path

import rethink
from rethink import arguments
from rethink.errors import ConfigError
from rethink.files import write_atomically

TOOLS = Path(__file__).resolve().parent


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument(
        'backbone', nargs='+', help='checkpoint whose backbone is evaluated; of several the best on validation'
    )
    parser.add_argument('--dataset', help='configs/_base_/datasets/hpt_<DATASET>.py (default: that of the configs)')
    parser.add_argument('--protocol', nargs='+', default=['linear', 'semi'], help='of those of the configs')
    parser.add_argument(
        '--configs', nargs='+', metavar='CONFIG', help='that say protocol and learning_rates, in place of configs/hpt'
    )
    parser.add_argument('--labels', choices=['1000', 'all'], default='1000', help='of the semi-supervised protocol')
    parser.add_argument(
        '--reruns',
        type=arguments.number,
        default=3,
        metavar='N',
        help='trainings of each combination, seeds 0, 1, …',
    )
    arguments.add(parser, '--out-dir', note=' (default: work_dirs/evaluate/<of the backbone>/<data set>)')
    arguments.formerly(parser, '--out', '--out-dir', 'out_dir', type=arguments.out_dir)
    arguments.add(parser, '--gpus', note='; they share 512 images')
    arguments.add(parser, '--side-by-side', default=1)
    parser.add_argument('--chain', default='', help='name of the backbone in results.csv, as in B+T')
    parser.add_argument('--steps', default='', help='its length in results.csv, in iterations')
    arguments.add(parser, '--trust', '--dry-run')
    parser.add_argument('--table', action='store_true', help='write the tables as they are and start nothing')
    arguments.add_raw_options(parser)
    return parser.parse_args()


def open_trainings(args) -> list:
    from rethink.studies import protocols

    found = []
    known = []
    for backbone, label in args.labels_of.items():
        for path in args.configs or map(rethink.config_path, protocols.CONFIGS):
            cfg = protocols.load(path, backbone, args.dataset, args.cfg_options)
            known.append(cfg.protocol)
            if cfg.protocol not in args.protocol and not args.configs:
                continue
            more = protocols.with_all_labels(cfg) if args.labels == 'all' else []
            folder = args.out_dir / label / (Path(path).stem + ('_all' if more else ''))
            options = [*args.cfg_options, *more]
            found.append(
                protocols.Trainings(folder, path, backbone, args.dataset, options, args.reruns, args.gpus or 1, label)
            )
    unknown = [name for name in args.protocol if name not in known]
    if unknown and not args.configs:
        raise ConfigError(f'there is no protocol {unknown[0]}; the configs have {", ".join(dict.fromkeys(known))}.')
    return found


def tables(args, trainings) -> str:
    from rethink.studies import protocols

    dataset = args.dataset or trainings[0].cfg.data_root.rstrip('/').rsplit('/', 1)[-1]
    arms = [arm for one in trainings for arm in protocols.arms(one)]
    return protocols.write(args.out_dir, arms, dataset, args.chain, args.steps)


def evaluate(args, trainings) -> bool:
    """Train what is not finished and write the tables; whether all of it is finished now."""

    from rethink.engine import schedules
    from rethink.studies import protocols
    from rethink.studies.backends.local import Local

    train = [sys.executable, str(TOOLS / 'train.py')]
    jobs = [job for one in trainings for job in one.jobs([*train, one.path])]
    backend = Local(args.side_by_side, args.gpus or 1)
    if args.dry_run:
        for job in jobs:
            print(f'{job.name}{" (finished)" if job.finished else ""}\n  {shlex.join(backend.command(job))}')
        return True
    for backbone, label in args.labels_of.items():
        protocols.refuse_other_weights(args.out_dir / label, backbone)
    left = [job for job in jobs if not job.finished]
    if left:
        for one in trainings:
            schedules.check_length(one.cfg)
            one.check()
    for one in trainings:
        one.grid.save()
    print(f'{len(jobs)} trainings, {len(jobs) - len(left)} of them finished, in {args.out_dir}.', flush=True)
    try:
        failed = backend.run(jobs, args.out_dir)
        for job, sentence in failed.items():
            write_atomically(job.work_dir / 'failed.txt', sentence.encode())
    finally:
        print(tables(args, trainings))
    arguments.written(*(args.out_dir / name for name in ('table.md', 'table.csv', 'results.csv')))
    return all(job.finished for job in jobs)


def main():
    args = parse_args()

    from rethink.engine import launch
    from rethink.studies import protocols

    if args.out_dir is None:
        several = len(args.backbone) > 1
        whole = os.path.commonpath(map(os.path.abspath, args.backbone)) if several else args.backbone[0]
        parts = (Path(whole) if several else Path(whole).with_suffix('')).parts[-3:]
        args.out_dir = Path('work_dirs') / 'evaluate' / '_'.join(parts).strip('/') / (args.dataset or 'default')
    with launch.several_trainings() as context:
        args.labels_of = protocols.labels_of(list(map(os.path.abspath, args.backbone)))
        trainings = open_trainings(args)
        context.cfg = trainings[0].cfg
        if args.table:
            print(tables(args, trainings))
        elif not evaluate(args, trainings):
            sys.exit('error: some trainings failed; what each said last is in its output.txt.')


if __name__ == '__main__':
    arguments.run(main)
