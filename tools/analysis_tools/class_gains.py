"""Compare two ways of training class by class: does the gain grow as a class has fewer annotations? (docs/frozen.md)

    python tools/analysis_tools/class_gains.py \\
        --train-ann data/coco/annotations/instances_train2017.json \\
        --val-ann data/coco/annotations/instances_val2017.json \\
        --base finetune.bbox.json --other freeze.bbox.json --out-dir figures/class_gains

reads results files (tools/test.py with `--cfg-options test_evaluator.outfile_prefix=PREFIX`), evaluates them, and
writes AP and its change for each class and object size as Markdown, CSV and JSON, a picture, and in words what they
say. Several files for an arm are runs of it, over which is averaged. LVIS: `--lvis`.
"""

from pathlib import Path

from rethink import arguments
from rethink.files import write_together

# Classes in the terminal; the files have all.
SHOWN = 100


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('--train-ann', type=Path, required=True, help='training annotations of both arms')
    parser.add_argument('--val-ann', type=Path, required=True, help='annotations that both were tested on')
    parser.add_argument('--base', type=Path, nargs='+', required=True, help='results of one arm, a file for each run')
    parser.add_argument('--other', type=Path, nargs='+', required=True, help='results of the arm to compare with it')
    parser.add_argument('--iou-type', choices=['bbox', 'segm'], default='bbox', help='boxes or masks')
    parser.add_argument('--lvis', action='store_true', help="LVIS' evaluation and its rare, common and frequent")
    parser.add_argument(
        '--thresholds',
        type=int,
        nargs=2,
        metavar=('RARE', 'COMMON'),
        help='most training annotations of a rare and of a common class (default: thirds of the classes)',
    )
    arguments.add(parser, '--out-dir', default=Path('class_gains'))
    arguments.formerly(parser, '--out', '--out-dir', 'out_dir', type=arguments.out_dir)
    return parser.parse_args()


def main():
    args = parse_args()

    from rethink.analysis import class_gains
    from rethink.engine import launch

    with launch.one_sentence():
        gains = class_gains.read(
            args.train_ann, args.val_ann, args.base, args.other, args.iou_type, args.lvis, args.thresholds
        )
        text = class_gains.words(gains)
        print(f'\n{class_gains.table(gains, SHOWN)}\n\n{text}\n')
        files = {
            args.out_dir / 'classes.md': f'{text}\n\n{class_gains.table(gains)}\n'.encode(),
            args.out_dir / 'classes.csv': class_gains.to_csv(gains).encode(),
            args.out_dir / 'classes.json': class_gains.to_json(gains).encode(),
        }
        write_together(files)
        drawn = class_gains.draw(gains, args.out_dir / 'classes')
        arguments.written(*files, *drawn)


if __name__ == '__main__':
    arguments.run(main)
