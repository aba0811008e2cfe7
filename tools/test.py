"""Evaluate a checkpoint with the metrics of its config: MMDetection's arguments (docs/tools.md).

    python tools/test.py configs/shapes/scratch_r18_gn_1x.py work_dirs/mine/iter_1000.pth --out predictions.pkl

prints the metrics, and writes them and the log below the work directory.
"""

import argparse

from rethink import arguments


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    arguments.add(parser, '--work-dir')
    # A text, as MMDetection has it.
    arguments.add(parser, '--out', type=str, note=', .pkl: the predictions')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', help='paint the predictions into <work dir>/<time>/SHOW_DIR')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds for which --show keeps an image')
    arguments.add(parser, '--cfg-options', '--trust', '--launcher')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    # torch.distributed.launch gives the rank as an argument, torchrun in the environment.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out writes a pickle file; {args.out} does not end in .pkl or .pickle')
    return args


def main() -> None:
    args = parse_args()
    from rethink.engine import launch

    launch.set_local_rank(args.launcher, args.local_rank)
    with launch.one_sentence() as context:
        cfg = context.cfg = launch.load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
        # PyTorch and MMDetection, for which a wrong config need not wait; first what gives mmcv its ops.
        import rethink.registrations  # noqa: F401
        from mmdet.engine.hooks.utils import trigger_visualization_hook
        from mmdet.utils import setup_cache_size_limit_of_dynamo
        from rethink import checks
        from rethink.checks import order, schema
        from rethink.checks.weights import check_weights, content_of
        from rethink.config_tree import is_remote

        setup_cache_size_limit_of_dynamo()
        schema.check(cfg, 'test')
        cfg.load_from = args.checkpoint
        checks.stop_on_errors(cfg, 'test')
        if args.show or args.show_dir:
            trigger_visualization_hook(cfg, args)
        if args.tta:
            launch.use_tta(cfg)
        launch.start_processes(cfg)
        runner = launch.build_runner(cfg)
        check_weights(cfg, runner.model, strict=True)
        if is_remote(args.checkpoint):  # and could not be looked at before
            order.check_checkpoint(cfg, 'test', content_of(args.checkpoint, 'checkpoint'))
        if args.out:
            launch.dump_predictions(runner, args.out)
        runner.test()


if __name__ == '__main__':
    arguments.run(main)
