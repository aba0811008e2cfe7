"""Count the images, instances and pixels that whole trainings see, and draw them (figure 2 of study A).

    python tools/analysis_tools/samples_seen.py configs/rethink/{pretrain_r50_gn_2x,scratch_r50_gn_6x}.py \\
        --out figures/samples.png

reads each config's training annotations; nothing is trained. Pre-trained arms get ImageNet's part (100 epochs, 224²).
"""

from pathlib import Path

from rethink import arguments
from rethink.errors import ConfigError


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('configs', nargs='+', help='configs to compare; bars are relative to the first')
    parser.add_argument('--annotations', type=Path, help="COCO file to count in place of the configs' own")
    arguments.add(parser, '--out', type=arguments.picture, default=Path('samples'), note=arguments.PICTURE)
    return parser.parse_args()


def main():
    args = parse_args()

    from rethink.analysis import samples
    from rethink.checks import schema
    from rethink.datasets import subsets
    from rethink.engine import launch

    read, counted = {}, []
    with launch.one_sentence() as context:
        for name in args.configs:
            context.cfg = config = launch.read_config(name, import_custom_modules=False)
            schema.check(config)
            dataset = (config.get('train_dataloader') or {}).get('dataset') or {}
            if 'ann_file' not in dataset:
                raise ConfigError(f'{name} trains on several data sets, or none, and one COCO file can be counted.')
            path = args.annotations or Path(dataset.get('data_root') or '') / dataset.ann_file
            if path not in read:
                read[path] = subsets.read(path)
            counted.append(samples.count(config, read[path], Path(name).stem))
        print(samples.table(counted))
        arguments.written(*samples.draw(counted, args.out))


if __name__ == '__main__':
    arguments.run(main)
