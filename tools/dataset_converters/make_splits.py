"""Write the splits of a data set of study B from its official download: train, val, test, unlabelled, 1,000 labels.

    python tools/dataset_converters/make_splits.py configs/_base_/datasets/hpt_resisc45.py

writes ``data/resisc45/splits``, which the readers of the config read (configs/_base_/datasets/hpt_single_label.py
describes the files). Official splits are kept, what there is none for is drawn with ``--seed``. Either all files are
written or none; splits that were made with the same arguments are left alone. ``--corrupt`` decodes every image first.
"""

from rethink import arguments


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('config', help='config of the data set, or one that inherits from it')
    arguments.add(parser, '--data-root', '--seed')
    parser.add_argument(
        '--labels',
        type=int,
        nargs='*',
        default=[1000],
        metavar='N',
        help='sizes of the small training sets; none without a number',
    )
    parser.add_argument(
        '--corrupt', choices=('refuse', 'skip'), help='decode all images; end at a corrupt one, or leave them out'
    )
    arguments.add(parser, '--workers')
    return parser.parse_args()


def main():
    args = parse_args()

    from rethink.datasets import splits
    from rethink.engine import launch

    with launch.one_sentence('no split is written, and the same command goes on with the images not yet decoded'):
        data = splits.facts(launch.read_config(args.config, import_custom_modules=False), args.data_root)
        receipt = splits.make(
            data.root,
            data.layout,
            data.num_classes,
            data.multi_label,
            args.seed,
            args.labels,
            args.corrupt,
            args.workers,
        )
    for name, number in receipt['images'].items():
        print(f'{name:12}{number:9,} images')
    for path in receipt['skipped']:
        print(f'left out, cannot be decoded: {path}')
    print(f'drawn with seed {args.seed} where there is no official split')
    arguments.written(data.root / 'splits')


if __name__ == '__main__':
    arguments.run(main)
