"""Plan a study, run it, see where it stands, read its answer (docs/studies.md); make one of one's own images.

    python tools/study.py new raccoons --train data/raccoon
    python tools/study.py plan configs/rethink/study.yml
    python tools/study.py run configs/shapes/study_rethink.yml --seeds 0 1 2
    python tools/study.py status configs/shapes/study_rethink.yml
    python tools/study.py report configs/shapes/study_rethink.yml

A study is a YAML file beside configs: what is trained, with which seeds, what is claimed of the results. Stopped at
any moment and started again, `run` goes on where it was; a run that fails does not stop the others. `new` writes one
from labelled images, a folder that `plan`, `run`, `status` and `report` take by its name (docs/your_data.md).
"""

import argparse
import shlex
import sys
from pathlib import Path

from rethink import arguments
from rethink.configs.overrides import Overrides
from rethink.engine import dashboards
from rethink.errors import ConfigError
from rethink.files import write_atomically
from rethink.reuse import tool

TOOLS = Path(__file__).resolve().parent
COMMANDS = dict(
    plan='what will run, in which order, what it costs, the commands',
    run='run what is missing, and report',
    status='where each run stands',
    report='the answer so far',
)


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    commands, parsers = parser.add_subparsers(dest='what', required=True), {}
    for name, text in COMMANDS.items():
        parsers[name] = commands.add_parser(name, help=text, doc=documented(text, name))
        add_arguments(parsers[name])
    for name in ('plan', 'run'):
        dashboards.add_arguments(parsers[name])
    text = "write the folder of a study of one's own images (docs/your_data.md)"
    add_arguments_of_new(commands.add_parser('new', help=text, doc=documented(text, 'new')))
    return parser.parse_args()


def documented(text: str, command: str) -> str:
    """The docstring of a command: its example is the tool's."""
    (example,) = [one for one in arguments.examples(__doc__) if one.split()[2] == command]
    return f'{text[0].upper()}{text[1:]}.\n\n    {example}\n'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('study', help='a study file, or a folder that has one')
    arguments.add(parser, '--out-dir', note=' (default: work_dirs/<name of the study>)')
    arguments.formerly(parser, '--out', '--out-dir', 'out_dir', type=arguments.out_dir)
    parser.add_argument('--only', nargs='+', default=[], metavar='RUN', help='names, also as in "scratch_*"')
    arguments.add(parser, '--seeds', default=[], note=" (default: the study's)")
    parser.add_argument('--lengths', nargs='+', default=[], metavar='LENGTH', help='values of the factor "length"')
    parser.add_argument(
        '--quick', action='store_true', help='a thirtieth of each training, to try that all of it runs'
    )
    arguments.add(parser, '--gpus', type=gpus)
    arguments.formerly(parser, '--processes', '--gpus', 'gpus', type=arguments.number)
    parser.add_argument(
        '--gpu-ids', metavar='ID,ID,…', help='the GPUs of this machine to use, shared by the trainings at a time'
    )
    arguments.add(parser, '--side-by-side', note=' (default: 1 on GPUs, else 2)')
    parser.add_argument(
        '--slurm', nargs='+', metavar='KEY=VALUE', help='run on Slurm: partition=gpu gpus=8 nodes=2 time=24:00:00 …'
    )
    arguments.add(parser, '--dry-run', '--trust')
    arguments.add_raw_options(parser)


def gpus(text: str) -> int | list[str]:
    """A number of GPUs; with commas, as it was documented, which ones."""
    return text.split(',') if ',' in text else arguments.number(text)


def add_arguments_of_new(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('name', help='of the study and of its folder')
    parser.add_argument(
        '--train', type=Path, required=True, metavar='DATA', help='labelled images: a folder, or a COCO JSON'
    )
    parser.add_argument(
        '--val',
        type=Path,
        metavar='DATA',
        help='the same (default: a part of --train of this name, or a fifth)',
    )
    parser.add_argument(
        '--backbone',
        default='resnet50',
        metavar='NAME',
        help='resnet18 … resnet152, timm/NAME, mmdet.CLASS or mmpretrain.CLASS (default: %(default)s)',
    )
    parser.add_argument('--backbone-options', nargs='+', action=Overrides, metavar='KEY=VALUE', help='of its class')
    parser.add_argument('--weights', metavar='FILE_OR_URL', help="(default: its library's, of ImageNet)")
    parser.add_argument('--mean', nargs=3, type=float, metavar='N', help='of 0 to 255, where the weights do not say')
    parser.add_argument('--std', nargs=3, type=float, metavar='N')
    parser.add_argument('--bgr', action='store_true', help='--mean and --std are of blue, green, red')
    parser.add_argument(
        '--detectors',
        nargs='+',
        choices=['small', 'larger'],
        default=['small', 'larger'],
        help='FPN; NAS-FPN and a cascade (default: both)',
    )
    arguments.add(parser, '--seeds', default=[0, 1, 2])
    parser.add_argument('--image-size', nargs='+', type=int, metavar='PIXELS', help='longer side, or both')
    parser.add_argument('--batch', type=int, default=8, metavar='N', help='images in a step (default: %(default)s)')
    parser.add_argument('--iterations', type=int, metavar='N', help='of 1x (default: as many epochs as on COCO)')
    parser.add_argument('--budget', metavar='TIME', help='for all trainings, as 90m or 2h: 1x is made to fit')
    parser.add_argument(
        '--hpt', action='store_true', help='also arms that begin with self-supervised pre-training on own images'
    )
    parser.add_argument(
        '--unlabelled',
        type=Path,
        metavar='DIR',
        help='images for it (default: those of --train, without their labels)',
    )
    arguments.add(parser, '--amp', '--trust')


def new(args) -> None:
    # With mmpretrain, for which a plan need not wait; first what keeps OneDL's packages quiet.
    import rethink.registrations  # noqa: F401
    from rethink.studies import new
    from rethink.studies.new import lengths

    if args.batch < 1:
        raise ConfigError(f'--batch is {args.batch}, and is to be 1 or more.')
    if args.iterations is not None and (args.iterations < 1 or args.iterations % lengths.EVALUATIONS):
        tens = lengths.EVALUATIONS
        raise ConfigError(f'--iterations is {args.iterations}, and is to be a multiple of {tens}, the evaluations.')
    if (args.mean is None) != (args.std is None) or (args.bgr and args.mean is None):
        raise ConfigError('--mean and --std are given together, --bgr with both.')
    if args.unlabelled and not args.hpt:
        raise ConfigError('--unlabelled is for --hpt, which is not given.')
    if args.image_size and (len(args.image_size) > 2 or min(args.image_size) < 32):
        raise ConfigError(f'--image-size is {args.image_size}, and is to be one or two numbers of 32 or more.')
    pixels = new.Pixels(tuple(args.mean), tuple(args.std), not args.bgr, '--mean and --std') if args.mean else None
    asked = new.Asked(
        args.name,
        shlex.join([*tool('study.py').split(), *sys.argv[1:]]),
        args.train,
        args.val,
        args.backbone,
        args.backbone_options,
        args.weights,
        pixels,
        args.detectors,
        args.seeds,
        args.image_size,
        args.batch,
        args.iterations,
        lengths.seconds(args.budget) if args.budget else None,
        args.amp,
        args.hpt,
        args.unlabelled,
    )
    for sentence in new.create(asked, TOOLS):
        print(sentence, flush=True)
    arguments.written(args.name)


def open_plan(args):
    from rethink.studies import study
    from rethink.studies.plan import Plan

    declared = study.read(args.study)
    out = args.out_dir or Path('work_dirs') / (declared.name + '_quick' * args.quick)
    flags = [f'--{name}' for name in dashboards.asked(args)] if args.what in ('plan', 'run') else []
    return Plan(declared, out, TOOLS, args.seeds, args.only, args.lengths, args.cfg_options, args.quick, flags)


def open_backend(args):
    from rethink.studies.backends.local import Local
    from rethink.studies.backends.slurm import Slurm

    ids, each = args.gpu_ids, args.gpus
    if isinstance(each, list):
        print('note: --gpus is the number of GPUs of a training now, and --gpu-ids says which.', file=sys.stderr)
        ids, each = ','.join(each), None
    if not args.slurm:
        ids = ids.split(',') if ids else []
        side_by_side = args.side_by_side
        if ids and each:
            side_by_side = side_by_side or len(ids) // each
            if side_by_side * each != len(ids):
                raise ConfigError(
                    f'--gpu-ids has {len(ids)} GPUs, and {max(1, side_by_side)} trainings at a time on {each} each '
                    f'need {max(1, side_by_side) * each}; name so many, or change --gpus or --side-by-side.'
                )
        return Local(side_by_side, each or 1, ids)
    if ids or args.side_by_side or each:
        raise ConfigError('--gpus, --gpu-ids and --side-by-side are of this machine; say gpus=N behind --slurm.')
    return Slurm(args.slurm)


def report(plan) -> None:
    from rethink.studies import answer  # with Bokeh, for which a plan need not wait

    print(answer.write(plan), flush=True)
    arguments.written(*(plan.out / name for name in ('report.html', 'report.md', 'results.csv')))


def run(args, plan, backend) -> bool:
    """Run what is missing and report; whether all of it is finished now."""

    from rethink.studies import status

    dashboards.check(dashboards.asked(args))
    plan.check()
    plan.save()
    left = [job for job in plan.jobs if not job.finished]
    print(f'{plan.study.question}\n{len(plan.jobs)} runs, {len(left)} to do, in {plan.out}.', flush=True)
    for job in left:
        (job.work_dir / status.FAILED).unlink(missing_ok=True)
    try:
        for job, sentence in backend.run(plan.jobs, plan.out).items():
            write_atomically(job.work_dir / status.FAILED, sentence.encode())
    finally:
        report(plan)
    return all(job.finished for job in plan.jobs)


def main() -> None:
    args = parse_args()

    from rethink.engine import launch
    from rethink.studies import status
    from rethink.studies.plan import listing

    with launch.several_trainings():
        if args.what == 'new':
            return new(args)
        plan, backend = open_plan(args), open_backend(args)
        if args.what == 'status':
            print(status.table(plan))
        elif args.what == 'report':
            report(plan)
        elif args.what == 'plan' or args.dry_run:
            print(listing(plan, backend.command))
        elif not run(args, plan, backend):
            sys.exit(f'error: some runs failed: {tool("study.py")} status {args.study} says what each said last.')


if __name__ == '__main__':
    arguments.run(main)
