"""Write a COCO annotation file anew with its categories in the order of another file; ids and annotations stay.

    python tools/dataset_converters/order_categories.py data/annotations/val.json --like data/annotations/train.json

MMDetection takes classes in the order of the file, so all files of a config must have one order (docs/data.md). With
--ids categories get the ids of the other file as well, in annotations and in what LVIS lists of an image: LVIS's
categories stand by rising id.
"""

from pathlib import Path

from rethink import arguments


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('annotations', type=Path, help='annotation file')
    parser.add_argument('--like', type=Path, required=True, metavar='FILE', help='one whose order is right')
    parser.add_argument('--ids', action='store_true', help='categories also get its ids, as files of LVIS need them')
    arguments.add(parser, '--out', note=' (default: in the place of the old one)')
    return parser.parse_args()


def main():
    args = parse_args()

    from rethink.datasets import subsets
    from rethink.engine import launch

    with launch.one_sentence():
        ids = {category['name']: category['id'] for category in subsets.read(args.like)['categories']}
        out = args.out or args.annotations
        content = subsets.reordered(subsets.read(args.annotations), ids)
        subsets.write({out: subsets.renumbered(content, ids) if args.ids else content})
    print(f'categories in the order of {args.like}')
    arguments.written(out)


if __name__ == '__main__':
    arguments.run(main)
