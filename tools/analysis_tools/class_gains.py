"""Compare two ways of training class by class: does the gain grow as a class has fewer annotations? (docs/frozen.md)

    python tools/analysis_tools/class_gains.py \
        --train-ann data/coco/annotations/instances_train2017.json \
        --val-ann data/coco/annotations/instances_val2017.json \
        --base finetune.bbox.json --other freeze.bbox.json --out figures/class_gains

reads results files (tools/test.py with `--cfg-options test_evaluator.outfile_prefix=PREFIX`), evaluates them, and
writes AP and its change for each class and object size as Markdown, CSV and JSON, a picture, and in words what they
say. Several files for an arm are runs of it, over which is averaged. LVIS: `--lvis`.
"""

import argparse
from pathlib import Path

from rethink.files import write_together

# Classes in the terminal; the files have all.
SHOWN = 100


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
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
    parser.add_argument('--out', type=Path, default=Path('class_gains'), help='folder of the tables and the picture')
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
            args.out / 'classes.md': f'{text}\n\n{class_gains.table(gains)}\n'.encode(),
            args.out / 'classes.csv': class_gains.to_csv(gains).encode(),
            args.out / 'classes.json': class_gains.to_json(gains).encode(),
        }
        write_together(files)
        print('\n'.join(map(str, files)))
        class_gains.draw(gains, args.out / 'classes')
        print(f'{args.out / "classes"}.png, {args.out / "classes"}.svg')


if __name__ == '__main__':
    main()
