"""Check a data set of study B against its config: files, splits, classes, labels, numbers.

    python tools/dataset_converters/check_dataset.py configs/_base_/datasets/hpt_resisc45.py --decode

prints what is in each split and, a line each, everything that is wrong; the exit code is 1 if anything is. With
``--decode`` every image is decoded as well.
"""

import sys

from rethink import arguments


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('config', help='config of the data set, or one that inherits from it')
    arguments.add(parser, '--data-root')
    parser.add_argument('--decode', action='store_true', help='also decode every image')
    arguments.add(parser, '--workers')
    return parser.parse_args()


def main():
    args = parse_args()

    from rethink.datasets import splits
    from rethink.engine import launch

    with launch.one_sentence('the same command goes on with the images not yet decoded'):
        data = splits.facts(launch.read_config(args.config, import_custom_modules=False), args.data_root)
        lines, wrong = splits.check(
            data.root, data.num_classes, data.multi_label, data.num_images, args.decode, args.workers
        )
    print('\n'.join(lines))
    for sentence in wrong:
        print(f'wrong: {sentence}')
    if wrong:
        sys.exit(1)
    print(f'{data.root} is what {args.config} expects.')


if __name__ == '__main__':
    arguments.run(main)
