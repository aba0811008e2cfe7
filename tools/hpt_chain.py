"""Run chains of hierarchical pre-training from one config: base, source and target, one after another (docs/hpt.md).

    python tools/hpt_chain.py configs/hpt/pretrain_moco_r50_5ki.py B T B+T B+T-BN B+S B+S+T --gpus 4 \\
        --base checkpoints/moco_v2_800ep_pretrain.pth.tar --source resisc45 --target ucmerced

runs each step once, in a folder of its own below --out-dir, also where several chains begin with it. Stopped or killed
at any moment and started again, it goes on where it was; with more chains, iterations or seeds, the steps that are new
are run. A step that fails is reported, those that need it wait, and the others go on.
"""

import argparse
import shlex
import sys
from pathlib import Path

from rethink import arguments
from rethink.configs.overrides import parse_options
from rethink.files import write_atomically
from rethink.studies.chains.defaults import BN_IMAGES, LENGTHS

TOOLS = Path(__file__).resolve().parent


def iterations(text: str) -> int:
    number, unit = (text[:-1], 1_000) if text.endswith('k') else (text, 1)
    if not number.isdigit() or int(number) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number of iterations, such as 500 or 5k')
    return int(number) * unit


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('config', help='path of the config of a self-supervised training, which all steps share')
    parser.add_argument('chains', nargs='+', metavar='CHAIN', help='B, T, B+T, B+S, B+S+T; -BN behind an S or T')
    parser.add_argument('--base', metavar='FILE', help="local checkpoint of the base (default: the config's)")
    images = 'a data set of configs/_base_/datasets/hpt_*.py, such as resisc45, or a config that trains on one'
    parser.add_argument('--source', metavar='DATA', help=f'images of S: {images}')
    parser.add_argument('--target', metavar='DATA', help="images of T (default: the config's)")
    for kind, option, what in (
        ('base', '--iters', 'with a base'),
        ('scratch', '--scratch-iters', 'from random initialisation'),
        ('bn', '--bn-iters', 'of BN alone'),
    ):
        default = ' '.join(map(str, LENGTHS[kind]))
        parser.add_argument(
            option,
            dest=f'{kind}_iters',
            nargs='+',
            type=iterations,
            default=LENGTHS[kind],
            metavar='N',
            help=f'iterations of trainings {what} (default: {default}, as in the paper)',
        )
    parser.add_argument(
        '--source-iters',
        nargs='+',
        type=iterations,
        default=[],
        metavar='N',
        help='iterations of S in B+S+T (default: as many as of T)',
    )
    parser.add_argument(
        '--bn-images', type=arguments.number, default=BN_IMAGES, metavar='N', help='images for the statistics of B'
    )
    arguments.add(parser, '--seeds')
    arguments.add(parser, '--out-dir', note=' (default: work_dirs/chain_<name of the config>)')
    arguments.formerly(parser, '--out', '--out-dir', 'out_dir', type=arguments.out_dir)
    arguments.add(parser, '--gpus')
    arguments.add(parser, '--side-by-side', default=1)
    arguments.add(parser, '--trust', '--dry-run')
    arguments.add_raw_options(parser)
    return parser.parse_args()


def open_chains(args):
    from rethink.engine import launch
    from rethink.studies.chains.folder import Chains

    cfg = launch.load_config(args.config, parse_options(args.cfg_options))
    out = args.out_dir or Path('work_dirs') / f'chain_{Path(args.config).stem}'
    return Chains(out, cfg, args.base, args.source, args.target, args.gpus or 1, args.bn_images)


def run(args, chains) -> bool:
    """Run what is not finished and print the table; whether all of it is finished now."""

    from rethink.engine import schedules
    from rethink.studies.backends.local import Local

    lengths = {kind: getattr(args, f'{kind}_iters') for kind in LENGTHS}
    steps = chains.plan(args.chains, lengths, args.seeds, args.source_iters)
    estimate = [sys.executable, str(TOOLS / 'model_converters' / 'reestimate_bn.py')]
    jobs = chains.jobs(steps, [sys.executable, str(TOOLS / 'train.py')], estimate)
    backend = Local(args.side_by_side, args.gpus or 1)
    left = [step for step in steps if not step.finished]
    if args.dry_run:
        for step, job in zip(steps, jobs, strict=True):
            print(f'{step.name}{"" if step in left else " (finished)"}\n  {shlex.join(backend.command(job))}')
        return True
    schedules.check_length(chains.cfg)
    chains.check(left)
    chains.save(steps)
    total = sum(step.lengths[-1] for step in left)
    print(
        f'{len(steps)} steps, {len(steps) - len(left)} of them finished, {total} iterations to come, in '
        f'{chains.folder}.',
        flush=True,
    )
    for step in left:
        chains.write_config(step)
        (step.work_dir / 'failed.txt').unlink(missing_ok=True)
    try:
        for job, sentence in backend.run(jobs, chains.folder).items():
            write_atomically(job.work_dir / 'failed.txt', sentence.encode())
    finally:
        print(chains.table())
    arguments.written(chains.folder / 'table.md')
    return all(step.finished for step in steps)


def main():
    args = parse_args()

    from rethink.engine import launch

    with launch.several_trainings() as context:
        chains = open_chains(args)
        context.cfg = chains.cfg
        if not run(args, chains):
            sys.exit('error: some steps failed; what each said last is in its output.txt.')


if __name__ == '__main__':
    arguments.run(main)
