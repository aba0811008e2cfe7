"""Measure how far a fine-tuned backbone has moved from what it began with, layer by layer (docs/frozen.md).

    python tools/analysis_tools/drift.py resnet50.pth work_dirs/finetune_r50_fpn_72e/iter_133056.pth \
        --out figures/drift

compares checkpoints, without images: relative change and cosine of the weights, of the normalisations' scale and
shift and of BN's running statistics, as Markdown, CSV and JSON, in a picture, and in words. Before is the classifier
or any checkpoint of a frozen run, whose backbone is what it began with; several checkpoints after are several lines.
"""

import argparse
from pathlib import Path

from rethink import trust
from rethink.files import write_together


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('before', type=Path, help='checkpoint that the training began with, or of a frozen run')
    parser.add_argument('after', type=Path, nargs='+', help='checkpoints of detectors')
    parser.add_argument('--out', type=Path, default=Path('drift'), help='folder of the tables and the picture')
    trust.add_argument(parser)
    return parser.parse_args()


def main():
    args = parse_args()

    from rethink.analysis import drift
    from rethink.engine import launch

    with launch.one_sentence():
        found = drift.read(args.before, args.after)
        text = '\n\n'.join(f'{drift.words(one)}\n\n{drift.table(one)}' for one in found)
        print(f'{text}\n')
        files = {
            args.out / 'drift.md': f'{text}\n'.encode(),
            args.out / 'drift.csv': drift.to_csv(found).encode(),
            args.out / 'drift.json': drift.to_json(found).encode(),
        }
        write_together(files)
        print('\n'.join(map(str, files)))
        drift.draw(found, args.out / 'drift')
        print(f'{args.out / "drift"}.png, {args.out / "drift"}.svg')


if __name__ == '__main__':
    main()
