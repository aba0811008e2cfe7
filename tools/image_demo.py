"""Paint what a trained detector finds in images or a video, and write it as JSON (docs/look.md).

    python tools/image_demo.py photos/ work_dirs/scratch_r50_gn_6x
    python tools/image_demo.py street.mp4 my_config.py my_weights.pth
    python tools/image_demo.py 'photos/**/*.jpg' iter_540000.pth --out-dir found --pred-score-thr 0.5

take images, folders, patterns and videos, and a work directory, a config and its weights, or a checkpoint. The names
and flags are those of MMDetection's image_demo.py.
"""

import argparse
from pathlib import Path

from rethink import arguments

CHECKPOINTS = ('.pth', '.pt', '.tar', '.ckpt')


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument('inputs', nargs='+', help='images, folders of images, patterns, videos')
    parser.add_argument('model', help='a work directory, a config, or a checkpoint that has its config within')
    parser.add_argument('checkpoint', nargs='?', help='weights for a config; the same as --weights')
    parser.add_argument('--weights', metavar='CHECKPOINT', help='path or address of the checkpoint')
    arguments.add(parser, '--out-dir', default=Path('outputs'))
    parser.add_argument(
        '--pred-score-thr',
        '--score-thr',
        type=float,
        default=0.3,
        metavar='SCORE',
        help='paint and count what has this score or more (default: %(default)s); the JSON has all',
    )
    parser.add_argument('--device', help='as of PyTorch (default: a GPU if there is one, else the CPU)')
    parser.add_argument('--batch-size', type=arguments.number, default=1, metavar='N', help='images at a time')
    parser.add_argument('--no-save-vis', action='store_true', help='write no pictures')
    parser.add_argument('--no-save-pred', action='store_true', help='write no JSON')
    parser.add_argument(
        '--palette',
        default='none',
        choices=['coco', 'voc', 'citys', 'random', 'none'],
        help="colours of the classes (default: none, the data set's own)",
    )
    arguments.add(parser, '--cfg-options', '--trust')
    args = parser.parse_args()
    # Inputs take what they can get: of PHOTO CONFIG CHECKPOINT the config too.
    last = args.inputs[-1]
    if len(args.inputs) > 1 and args.model.endswith(CHECKPOINTS) and (last.endswith('.py') or '::' in last):
        args.inputs, args.model, args.checkpoint = args.inputs[:-1], last, args.model
    if args.checkpoint and args.weights:
        parser.error(f'two checkpoints are named, {args.checkpoint} and {args.weights}; name one')
    args.weights = args.weights or args.checkpoint
    return args


def main() -> None:
    args = parse_args()
    from rethink.analysis.look import model, sources
    from rethink.engine import launch

    with launch.one_sentence() as context:
        paths = sources.find(args.inputs)
        cfg, weights = model.find(args.model, args.weights, args.cfg_options)
        context.cfg = cfg
        # PyTorch and MMDetection, for which wrong input need not wait; first what gives mmcv its ops.
        import rethink.registrations  # noqa: F401
        from rethink.analysis.look.inferencer import Inferencer
        from rethink.analysis.look.run import Look

        inferencer = Inferencer(cfg, weights, args.device, args.palette)
        look = Look(
            inferencer, args.out_dir, args.pred_score_thr, args.batch_size, not args.no_save_vis, not args.no_save_pred
        )
        print(look.at(paths), flush=True)
    if look.folders:
        arguments.written(*look.folders)


if __name__ == '__main__':
    arguments.run(main)
