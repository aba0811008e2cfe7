"""Give a backbone the statistics of BN on the images that a config trains on: "Base" of HPT (docs/hpt.md).

    python tools/model_converters/reestimate_bn.py configs/hpt/pretrain_moco_r50_5ki.py base.pth.tar backbone.pth

Weights stay as they are. The images are augmented as in training, in one view, in batches of its size.
"""

import argparse
from pathlib import Path

from rethink import trust
from rethink.configs.overrides import Overrides
from rethink.studies.chains.defaults import BN_IMAGES


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('config', help='path of the config of a self-supervised training')
    parser.add_argument('checkpoint', help='local file with the backbone, written by any of docs/hpt.md')
    parser.add_argument('out', help='file for the backbone; what is logged goes beside it')
    parser.add_argument('--num-images', type=int, default=BN_IMAGES, help='how many (default: %(default)s)')
    trust.add_argument(parser)
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE', help='override the config')
    args = parser.parse_args()

    from rethink import checks
    from rethink.engine import launch
    from rethink.studies.chains.base import reestimate_base

    with launch.one_sentence() as context:
        work_dir = str(Path(args.out).resolve().parent)
        cfg = context.cfg = launch.load_config(args.config, args.cfg_options, work_dir)
        cfg.custom_hooks = []
        checks.stop_on_errors(cfg)
        launch.start_processes(cfg)
        number = reestimate_base(cfg, args.checkpoint, args.out, args.num_images)
        print(f'{args.out}: statistics of BN on {number} images.')


if __name__ == '__main__':
    main()
