"""Download what configs or studies begin with, to where trainings look for it, also for machines without a network.

    python tools/misc/fetch_weights.py configs/rethink/pretrain_r50_gn_6x.py configs/frozen/study.yml --list
    python tools/misc/fetch_weights.py configs/frozen/study.yml --out-dir weights
    python tools/misc/fetch_weights.py torchvision://resnet50 timm/efficientnet_b0

Without --out-dir the files go into the caches of this machine (`$TORCH_HOME`, `$HF_HOME`). A download that was stopped
goes on where it was; each file has its SHA-256 compared with its name, where that has it, and noted in weights.json
(docs/install.md). Exits with 1 where one could not be fetched, or with --list is missing.
"""

import argparse
import os
import sys
from pathlib import Path

from rethink import arguments
from rethink.configs.overrides import parse_options

TOOLS = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='SOURCE',
        help='configs, study files or folders, and weights by name or address: torchvision://…, https://…, timm/NAME',
    )
    parser.add_argument('--list', action='store_true', help='only say what is needed and whether it is here')
    arguments.add(parser, '--out-dir', note=', in place of the caches of this machine')
    parser.add_argument(
        '--any-hash', action='store_true', help='take files whose SHA-256 is another than their name says'
    )
    arguments.add_raw_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out_dir:
        # Before PyTorch and the Hub's library, which read them.
        folders = dict(TORCH_HOME=args.out_dir / 'torch', HF_HOME=args.out_dir / 'huggingface')
        os.environ.update({name: str(folder.absolute()) for name, folder in folders.items()})

    from rethink.engine import launch

    with launch.one_sentence('the same command goes on from here'):
        from rethink.engine import remote_weights
        from rethink.studies import weights

        options = parse_options(args.cfg_options)
        wanted = remote_weights.find(weights.named(args.sources, TOOLS, options))
        here = remote_weights.tell(wanted, args.any_hash)
        if args.list:
            sys.exit(0 if here else 1)
        failed = remote_weights.fetch_all(wanted, args.any_hash)
        if args.out_dir and wanted:
            named = ' '.join(f'{name}={folder}' for name, folder in folders.items())
            print(f'Where it is copied to, a training finds it with: export {named} HF_HUB_OFFLINE=1')
        for sentence in failed:
            print(f'error: {sentence}', file=sys.stderr)
        sys.exit(1 if failed else 0)


if __name__ == '__main__':
    arguments.run(main)
