"""Train a detector or a classifier from a config: MMDetection's arguments, and --auto-scale (docs/tools.md).

    python tools/train.py configs/shapes/scratch_r18_gn_1x.py --work-dir work_dirs/mine --cfg-options randomness.seed=1

trains in one process; dist_train.sh and slurm_train.sh start several.
"""

import argparse
import contextlib

from rethink import arguments
from rethink.engine import dashboards
from rethink.files import exclusively


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument('config', help='path of the config')
    arguments.add(parser, '--work-dir', '--amp')
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate, and only that, to the total batch size'
    )
    scale.add_argument(
        '--auto-scale',
        action='store_true',
        help='scale the learning rate and the schedule to the total batch size, so that the images seen stay the same',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from CHECKPOINT, or from the last one in the work directory',
    )
    parser.add_argument(
        '--resume-with',
        choices=['new', 'old'],
        help='where the config has another learning rate, schedule or length than the checkpoint of --resume: go on '
        "with the config's (new) or the checkpoint's (old)",
    )
    arguments.add(parser, '--cfg-options')
    parser.add_argument(
        '--no-check', action='store_true', help='train also what the checker calls an error (docs/check_config.md)'
    )
    dashboards.add_arguments(parser)
    arguments.add(parser, '--trust', '--launcher')
    # torch.distributed.launch gives the rank as an argument, torchrun in the environment.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.resume_with and args.resume is None:
        parser.error('--resume-with says how to go on from a checkpoint; add --resume')
    return args


def main() -> None:
    args = parse_args()
    from rethink.engine import launch

    launch.set_local_rank(args.launcher, args.local_rank)
    go_on = 'the same command with --resume goes on from the last checkpoint, where there is one'
    with launch.one_sentence(go_on) as context, contextlib.ExitStack() as held:
        cfg = context.cfg = launch.load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
        dashboards.use(cfg, dashboards.asked(args))
        # PyTorch and MMDetection, for which a wrong config need not wait; first what gives mmcv its ops.
        import rethink.registrations  # noqa: F401
        from mmdet.utils import setup_cache_size_limit_of_dynamo
        from rethink import checks
        from rethink.checks import schema
        from rethink.checks.weights import check_weights
        from rethink.engine import resuming, scaling, schedules, switch

        setup_cache_size_limit_of_dynamo()
        schema.check(cfg, 'train')
        schedules.check_length(cfg)
        if args.auto_scale:
            scaling.use_auto_scale(cfg, launch.ranks(args.launcher)[1])
        if args.auto_scale_lr:
            launch.use_auto_scale_lr(cfg)
        if args.amp:
            launch.use_amp(cfg)
        checks.stop_on_errors(cfg, 'train', launch.ranks(args.launcher)[1], worthless=not args.no_check)
        if launch.ranks(args.launcher)[0] == 0:
            held.enter_context(exclusively(cfg.work_dir))
        launch.use_resume(cfg, args.resume)
        # One training, or, with switch_from, one after the other.
        for context.cfg in switch.phases(cfg, args.resume):
            scaling.check_resume(context.cfg)
            new_schedule = resuming.settle(context.cfg, args.resume_with)
            if context.cfg is not cfg:
                checks.stop_on_errors(context.cfg)
            launch.start_processes(context.cfg)
            runner = launch.build_runner(context.cfg, new_schedule)
            if not isinstance(runner.model, dict):  # which FlexibleRunner builds when it trains
                check_weights(context.cfg, runner.model)
            runner.train()
            runner = None


if __name__ == '__main__':
    arguments.run(main)
