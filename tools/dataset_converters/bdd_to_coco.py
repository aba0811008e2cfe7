"""Write BDD100K's boxes as COCO's JSON: train without 10,000 images, those (val), and the official val (test).

    python tools/dataset_converters/bdd_to_coco.py data/bdd100k

writes ``data/bdd100k/annotations/detection_{train,val,test}.json``, which configs/_base_/datasets/bdd_detection.py
reads, from labels of 2018, of 2020 or older ones (projects/rethink/datasets/bdd.py says which files). Stopped, it
leaves nothing half-written.
"""

from pathlib import Path

from rethink import arguments


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('root', type=Path, help='folder with images/100k and labels')
    parser.add_argument('--val', type=int, default=10_000, metavar='N', help='training images that are held out')
    arguments.add(parser, '--seed')
    parser.add_argument('--skip-missing', action='store_true', help='leave out labelled images without a file')
    return parser.parse_args()


def main():
    args = parse_args()

    from rethink.datasets import bdd
    from rethink.engine import launch

    with launch.one_sentence('nothing is written, and the same command begins anew'):
        splits = bdd.convert(args.root, args.val, args.seed, args.skip_missing)
    for name, found in splits.items():
        print(f'official {name}: {len(found.images):,} images, {len(found.annotations):,} boxes')
        if found.missing:
            print(f'  left out: {len(found.missing):,} images without a file, such as {found.missing[0]}')
        for category, number in found.unknown.most_common():
            print(f'  left out: {number:,} boxes of {category!r}, which is none of the 10 classes')
        if found.empty:
            print(f'  left out: {found.empty:,} boxes without an area in their image')
    print(f'{args.val:,} images held out in val')
    arguments.written(*(args.root / 'annotations' / f'detection_{one}.json' for one in ('train', 'val', 'test')))


if __name__ == '__main__':
    arguments.run(main)
