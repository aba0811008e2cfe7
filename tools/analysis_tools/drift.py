"""Measure how far a fine-tuned backbone has moved from what it began with, layer by layer (docs/frozen.md).

    python tools/analysis_tools/drift.py resnet50.pth work_dirs/finetune_r50_fpn_72e/iter_133056.pth \\
        --out-dir figures/drift

compares checkpoints, without images: relative change and cosine of the weights, of the normalisations' scale and
shift and of BN's running statistics, as Markdown, CSV and JSON, in a picture, and in words. Before is the classifier
or any checkpoint of a frozen run, whose backbone is what it began with; several checkpoints after are several lines.
"""

from pathlib import Path

from rethink import arguments
from rethink.files import write_together


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('before', type=Path, help='checkpoint that the training began with, or of a frozen run')
    parser.add_argument('after', type=Path, nargs='+', help='checkpoints of detectors')
    arguments.add(parser, '--out-dir', default=Path('drift'))
    arguments.formerly(parser, '--out', '--out-dir', 'out_dir', type=arguments.out_dir)
    arguments.add(parser, '--trust')
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
            args.out_dir / 'drift.md': f'{text}\n'.encode(),
            args.out_dir / 'drift.csv': drift.to_csv(found).encode(),
            args.out_dir / 'drift.json': drift.to_json(found).encode(),
        }
        write_together(files)
        drawn = drift.draw(found, args.out_dir / 'drift')
        arguments.written(*files, *drawn)


if __name__ == '__main__':
    arguments.run(main)
