"""Print a config with all that it inherits, as MMDetection's tool; with --provenance, where each value comes from.

    python tools/misc/print_config.py configs/rethink/scratch_r50_gn_6x.py --provenance --only model.backbone

prints the part that is asked for, a value in a line.
"""

import argparse
import contextlib
import sys

from rethink import arguments
from rethink.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument(
        'config', help='a config, package::path of an installed package, a work directory, a checkpoint'
    )
    parser.add_argument('--provenance', action='store_true', help='each value in a line, with its file and line')
    parser.add_argument('--only', nargs='+', default=[], metavar='PATH', help='with --provenance: the parts to list')
    # MMDetection's name of --out.
    parser.add_argument(
        '--save-path', type=arguments.out_file, metavar='FILE', help='also write the config: .py, .json or .yml'
    )
    arguments.add(parser, '--trust', '--cfg-options')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from rethink.configs import provenance, report
    from rethink.engine import launch

    with launch.one_sentence():
        if args.save_path and args.save_path.suffix not in ('.py', '.json', '.yml'):
            raise ConfigError(
                f'--save-path {args.save_path} ends in none of .py, .json, .yml, the formats of configs.'
            )
        if args.only and not args.provenance:
            raise ConfigError('--only lists parts of a config with their lines; add --provenance, or leave it away.')
        with contextlib.redirect_stdout(sys.stderr):
            config = provenance.read(args.config, args.cfg_options)
        if args.provenance:
            sys.stdout.write(report.listing(config, args.only))
        else:
            print(f'Config:\n{config.config.pretty_text}')
        if args.save_path:
            args.save_path.parent.mkdir(parents=True, exist_ok=True)
            config.config.dump(args.save_path)
            arguments.written(args.save_path)


if __name__ == '__main__':
    arguments.run(main)
