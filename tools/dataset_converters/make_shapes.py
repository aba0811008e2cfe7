"""Write the generated data sets of the shapes studies.

    python tools/dataset_converters/make_shapes.py data/shapes

writes ``data/shapes/detection`` (COCO's layout) and ``data/shapes/classification`` (ImageNet's), which is where the
configs in ``configs/shapes`` look. With ``--figures`` it writes ``data/shapes/figures`` instead, people with keypoints
in COCO's layout; with ``--voc`` ``data/shapes/voc``, the scenes of ``detection`` in PASCAL VOC's layout; with
``--domains`` ``data/shapes/source``, ``target`` and ``target_detection`` of study B, with ``--tail``
``data/shapes/tail_detection`` and ``tail_classification`` of study C; the sizes of these are fixed. The same arguments
give the same bytes; a data set that is there is left alone.
"""

from dataclasses import fields
from pathlib import Path

from rethink import arguments
from rethink.datasets.shapes import ClassificationSpec, DetectionSpec, write_classification, write_detection
from rethink.datasets.stick_figures import FigureSpec, write_figures
from rethink.errors import ConfigError


def parse_args():
    parser = arguments.Parser(__doc__)
    detection, crops = DetectionSpec(), ClassificationSpec()
    parser.add_argument('root', type=Path, help='folder to write to, usually data/shapes')
    arguments.add(parser, '--seed', default=detection.seed)
    parser.add_argument('--difficulty', type=float, default=detection.difficulty, help='0 (plain) to 1, of both')
    parser.add_argument('--train', type=int, default=detection.train, help='training images for detection')
    parser.add_argument('--val', type=int, default=detection.val, help='validation images for detection')
    parser.add_argument('--size', type=int, default=detection.size, help='pixels along a side, detection')
    parser.add_argument('--objects', type=int, nargs=2, default=detection.objects, help='fewest and most in an image')
    parser.add_argument(
        '--scale', type=float, nargs=2, default=detection.scale, help='smallest and largest, of the image'
    )
    parser.add_argument('--crowd', type=float, default=detection.crowd, help='probability of a crowd in an image')
    parser.add_argument('--crop-train', type=int, default=crops.train, help='training images for classification')
    parser.add_argument('--crop-val', type=int, default=crops.val, help='validation images for classification')
    parser.add_argument('--crop-size', type=int, default=crops.size, help='pixels along a side, classification')
    figures = FigureSpec()
    other = parser.add_mutually_exclusive_group()
    other.add_argument('--figures', action='store_true', help='write people with keypoints, and only them')
    other.add_argument('--voc', action='store_true', help="write detection in PASCAL VOC's layout, and only that")
    other.add_argument('--domains', action='store_true', help="write study B's source and target, and only them")
    other.add_argument('--tail', action='store_true', help="write study C's long tail of classes, and only it")
    parser.add_argument('--figure-train', type=int, default=figures.train, help='training images of people')
    parser.add_argument('--figure-val', type=int, default=figures.val, help='validation images of people')
    parser.add_argument('--figure-difficulty', type=float, default=figures.difficulty, help='0 (plain) to 1')
    return parser.parse_args()


def main():
    args = parse_args()

    from rethink.datasets.shapes_domains import write_domains
    from rethink.datasets.shapes_tail import write_tail
    from rethink.datasets.shapes_voc import write_voc
    from rethink.engine import launch

    given = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(args).items()}
    crops = dict(given, **{name: given[f'crop_{name}'] for name in ('train', 'val', 'size')})
    people = dict(seed=args.seed, size=args.size)
    people |= {name: given[f'figure_{name}'] for name in ('train', 'val', 'difficulty')}
    sets = [
        ('detection', DetectionSpec, given, write_detection),
        ('classification', ClassificationSpec, crops, write_classification),
    ]
    if args.figures:
        sets = [('figures', FigureSpec, people, write_figures)]
    if args.voc:
        sets = [('voc', DetectionSpec, given, write_voc)]
    with launch.one_sentence('the same command writes the set that was not whole anew'):
        if args.domains or args.tail:
            (write_domains if args.domains else write_tail)(args.root)
            arguments.written(args.root)
            return
        for folder, kind, values, write in sets:
            try:
                spec = kind(**{field.name: values[field.name] for field in fields(kind) if field.name in values})
                written = write(args.root / folder, spec)
            except (ValueError, FileExistsError) as error:
                raise ConfigError(str(error)) from None
            print(
                f'{args.root / folder}: {spec.train} + {spec.val} images, {"written" if written else "already there"}'
            )
    arguments.written(args.root)


if __name__ == '__main__':
    arguments.run(main)
