"""Write smaller training sets from a COCO annotation file: seeded and nested, or the images of another file.

    python tools/dataset_converters/coco_subset.py data/coco/annotations/instances_train2017.json \\
        --sizes 10000 3500 1000
    python tools/dataset_converters/coco_subset.py data/coco/annotations/instances_train2017.json \\
        --ids-of data/coco/annotations/instances_valminusminival2014.json --name 35k

write ``instances_train2017_10k.json`` and so on beside the file, which is where the less-data configs of study A look.
The second is the paper's val35k: the older split's images, with the annotations of 2017. Nothing is downloaded.
"""

from pathlib import Path

from rethink import arguments


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('annotations', type=Path, help='annotation file of the whole set')
    parser.add_argument('--sizes', type=int, nargs='+', default=[], help='numbers of images to draw')
    arguments.add(parser, '--seed')
    parser.add_argument('--ids-of', type=Path, help='take the images whose ids are in this annotation file')
    parser.add_argument('--name', help='suffix of the file for --ids-of (default: its number of images)')
    arguments.add(parser, '--out-dir', note=' (default: that of the annotation file)')
    arguments.formerly(parser, '--out', '--out-dir', 'out_dir', type=arguments.out_dir)
    args = parser.parse_args()
    if not args.sizes and not args.ids_of:
        parser.error('name --sizes, or --ids-of another annotation file')
    return args


def main():
    args = parse_args()

    from rethink.datasets import subsets
    from rethink.engine import launch

    with launch.one_sentence():
        whole = subsets.read(args.annotations)
        drawn = subsets.draw_nested([image['id'] for image in whole['images']], args.sizes, args.seed)
        chosen = {subsets.size_name(size): ids for size, ids in drawn.items()}
        if args.ids_of:
            ids = [image['id'] for image in subsets.read(args.ids_of)['images']]
            chosen[args.name or subsets.size_name(len(ids))] = ids
        # All of them before the first is written.
        parts = {name: subsets.restrict(whole, ids) for name, ids in chosen.items()}
        folder = args.out_dir or args.annotations.parent
        files = {folder / f'{args.annotations.stem}_{name}.json': part for name, part in parts.items()}
        subsets.write(files)
    for path, part in files.items():
        print(f'{path}: ' + ', '.join(f'{number} {what}' for what, number in subsets.count(part).items()))
    arguments.written(*files)


if __name__ == '__main__':
    arguments.run(main)
