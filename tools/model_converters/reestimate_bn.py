"""Give a backbone the statistics of BN on the images that a config trains on: "Base" of HPT (docs/hpt.md).

    python tools/model_converters/reestimate_bn.py configs/hpt/pretrain_moco_r50_5ki.py base.pth.tar backbone.pth

Weights stay as they are. The images are augmented as in training, in one view, in batches of its size.
"""

from rethink import arguments
from rethink.studies.chains.defaults import BN_IMAGES


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('config', help='path of the config of a self-supervised training')
    parser.add_argument('checkpoint', help='local file with the backbone, written by any of docs/hpt.md')
    parser.add_argument(
        'out',
        type=arguments.out_file,
        metavar='FILE',
        help='file to write, of the backbone; what is logged goes beside it',
    )
    parser.add_argument(
        '--num-images', type=arguments.number, default=BN_IMAGES, metavar='N', help='images to look at'
    )
    arguments.add(parser, '--trust', '--cfg-options')
    return parser.parse_args()


def main():
    args = parse_args()

    from rethink import checks
    from rethink.engine import launch
    from rethink.studies.chains.base import reestimate_base

    with launch.one_sentence() as context:
        work_dir = str(args.out.resolve().parent)
        cfg = context.cfg = launch.load_config(args.config, args.cfg_options, work_dir)
        cfg.custom_hooks = []
        checks.stop_on_errors(cfg)
        launch.start_processes(cfg)
        number = reestimate_base(cfg, args.checkpoint, args.out, args.num_images)
        print(f'statistics of BN on {number} images')
        arguments.written(args.out)


if __name__ == '__main__':
    arguments.run(main)
