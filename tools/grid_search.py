"""Search a grid of hyper-parameters: train a config once for every combination of values, and tabulate the results.

    python tools/grid_search.py configs/rethink/pretrain_r50_gn_35k_6x.py --gpus 8 \\
        --lr 0.01 0.02 0.04 --decay 0.1 0.02 --shorter-side 800 640,800 512,800

is the search of Rethinking ImageNet Pre-training, section 5.2. Every point is a run of tools/train.py in a folder of
its own below --out-dir. Stopped and started again, the search goes on where it was; finished points are not run again;
with more values, the points that are new are run. A point that fails is reported, and the others go on.
"""

import shlex
import sys
from pathlib import Path

from rethink import arguments
from rethink.configs.overrides import parse_options
from rethink.errors import ConfigError
from rethink.files import write_atomically

TOOLS = Path(__file__).resolve().parent


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('config', help='path of the config that all points share')
    parser.add_argument('--lr', nargs='+', metavar='LR', help='learning rates')
    parser.add_argument(
        '--decay', nargs='+', metavar='FACTOR', help='by what MultiStepLR multiplies the learning rate'
    )
    parser.add_argument(
        '--shorter-side',
        nargs='+',
        metavar='LOW,HIGH',
        help='ranges of the shorter side of training images, in pixels',
    )
    parser.add_argument(
        '--axis',
        nargs='+',
        action='append',
        default=[],
        metavar=('KEY', 'VALUE'),
        help='any other entry of the config, as in --axis optim_wrapper.optimizer.weight_decay 0.0001 0.0005',
    )
    arguments.add(parser, '--out-dir', note=' (default: work_dirs/grid_<name of the config>)')
    arguments.formerly(parser, '--out', '--out-dir', 'out_dir', type=arguments.out_dir)
    parser.add_argument(
        '--metric',
        nargs='+',
        default=['coco/bbox_mAP'],
        help='as MMEngine logs it; higher is better. Points are compared by the first, --median has all of them',
    )
    parser.add_argument(
        '--median', metavar='KEY', help='also tabulate medians over an axis, as in --median randomness.seed'
    )
    arguments.add(parser, '--gpus')
    arguments.add(parser, '--side-by-side', default=1)
    parser.add_argument(
        '--auto-scale', action='store_true', help='as with train.py: fit the schedule to the batch size'
    )
    arguments.add(parser, '--trust', '--dry-run')
    parser.add_argument('--table', action='store_true', help='tabulate the grid as it is and start nothing')
    arguments.add_raw_options(parser)
    return parser.parse_args()


def axes_of(args) -> dict[str, list[str]]:
    axes = {name: getattr(args, name) for name in ('lr', 'decay', 'shorter_side') if getattr(args, name)}
    for key, *values in args.axis:
        if key in axes:
            raise ConfigError(f'the axis {key} is named twice; name all its values in one place.')
        axes[key] = values
    if not axes:
        raise ConfigError('there is nothing to vary: name --lr, --decay, --shorter-side or --axis.')
    return axes


def train_command(args) -> list[str]:
    return [sys.executable, str(TOOLS / 'train.py'), args.config] + ['--auto-scale'] * args.auto_scale


def open_grid(args):
    from rethink.engine import launch
    from rethink.studies.grid import Grid

    cfg = launch.load_config(args.config, parse_options(args.cfg_options))
    # What MMEngine takes where a config says nothing, so that the seed can be an axis.
    cfg.setdefault('randomness', dict(seed=None))
    out = args.out_dir or Path('work_dirs') / f'grid_{Path(args.config).stem}'
    return Grid(out, cfg, (args.gpus or 1) if args.auto_scale else None)


def write_tables(args, grid) -> None:
    from rethink.studies.grid import write_medians, write_table

    print(write_table(grid, args.metric[0]))
    if args.median:
        print('\n' + write_medians(grid, args.metric, args.median))


def search(args, grid) -> bool:
    """Train what is not finished and print the table; whether all of it is finished now."""

    from rethink.engine import schedules
    from rethink.studies.axes import points
    from rethink.studies.backends.local import Local

    wanted = grid.add(points(grid.cfg, axes_of(args)))
    train = train_command(args)
    jobs = [grid.job(point, train, args.cfg_options) for point in wanted]
    backend = Local(args.side_by_side, args.gpus or 1)
    if args.dry_run:
        for job in jobs:
            print(f'{job.name}{" (finished)" if job.finished else ""}\n  {shlex.join(backend.command(job))}')
        return True
    left = [point for point, job in zip(wanted, jobs, strict=True) if not job.finished]
    schedules.check_length(grid.cfg)
    grid.check(left)
    grid.save()
    print(f'{len(jobs)} points, {len(jobs) - len(left)} of them finished, in {grid.folder}.', flush=True)
    for job in jobs:
        (job.work_dir / 'failed.txt').unlink(missing_ok=True)
    try:
        failed = backend.run(jobs, grid.folder)
        for job, sentence in failed.items():
            write_atomically(job.work_dir / 'failed.txt', sentence.encode())
    finally:
        write_tables(args, grid)
    arguments.written(grid.folder / 'table.md', grid.folder / 'table.csv')
    return all(job.finished for job in jobs)


def main():
    args = parse_args()

    from rethink.engine import launch

    with launch.several_trainings() as context:
        grid = open_grid(args)
        context.cfg = grid.cfg
        if args.table:
            write_tables(args, grid)
        elif not search(args, grid):
            sys.exit('error: some points failed; what each said last is in its output.txt.')


if __name__ == '__main__':
    arguments.run(main)
