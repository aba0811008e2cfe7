"""Mean and standard deviation of the pixels of an image folder, as a config wants them.

    python tools/dataset_converters/image_statistics.py my/images
    python tools/dataset_converters/image_statistics.py configs/_base_/datasets/hpt_resisc45.py

Of a config of study B the unlabelled split is read, which is what is pre-trained on, and the config's numbers are
printed beside. Over all pixels, at the images' own size, and exact whatever the number of --workers. With --out a scan
that was stopped goes on where it was.
"""

from pathlib import Path

from rethink import arguments


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('source', type=Path, help='folder of images, or config of a data set')
    arguments.add(parser, '--data-root')
    parser.add_argument(
        '--corrupt', choices=('refuse', 'skip'), default='refuse', help='end at a corrupt image, or leave them out'
    )
    arguments.add(parser, '--workers')
    arguments.add(parser, '--out', note=': the numbers as JSON')
    return parser.parse_args()


def measure(args):
    """The statistics, and what the config says (None of a folder)."""

    from rethink.datasets import image_statistics, splits
    from rethink.engine import launch

    data = None
    if args.source.suffix == '.py':
        data = splits.facts(launch.read_config(str(args.source), import_custom_modules=False), args.data_root)
        root, paths = data.root, sorted(splits.read_unlabelled(data.root))
    else:
        root, paths = args.source, image_statistics.find_images(args.source)
    state = args.out and args.out.with_name(f'.{args.out.name}.scan')
    return image_statistics.scan(root, paths, args.corrupt, args.workers, state=state), data


def main():
    args = parse_args()

    from rethink.datasets import image_statistics
    from rethink.engine import launch

    with launch.one_sentence('the same command goes on from here' if args.out else 'with --out it could go on'):
        found, data = measure(args)
        if args.out:
            image_statistics.write(args.out, found)
    for path in found.corrupt:
        print(f'left out, cannot be decoded: {path}')
    print(f'{found.images:,} images, {found.pixels:,} pixels, {len(found.corrupt)} images left out')
    for name in ('mean', 'std'):
        values = getattr(found, name)
        unit = ', '.join(f'{value / 255:.4f}' for value in values)
        line = f'{name} = [{", ".join(f"{value:.3f}" for value in values)}]  # R, G, B; in [0, 1]: {unit}'
        if data:
            line += f'; the config has {", ".join(f"{value / 255:.4f}" for value in getattr(data, name))}'
        print(line)
    if args.out:
        arguments.written(args.out)


if __name__ == '__main__':
    arguments.run(main)
