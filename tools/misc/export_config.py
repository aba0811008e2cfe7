"""Write a config as one flat file that needs no other, with a header that says where it came from (docs/reuse.md).

    python tools/misc/export_config.py configs/rethink/scratch_r50_gn_6x.py ../mine/configs/scratch_6x.py --stock

without --stock for an environment that has rethink.
"""

import argparse

from rethink import arguments
from rethink.errors import ConfigError
from rethink.files import write_atomically


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument('config', help='a config, package::path, a work directory or a checkpoint')
    parser.add_argument(
        'out',
        type=arguments.out_file,
        metavar='FILE',
        help='the .py file to write; one that is there stays, without --force',
    )
    parser.add_argument(
        '--stock',
        action='store_true',
        help='for an environment without rethink: MMEngine’s hooks and loops in place of ours',
    )
    parser.add_argument('--force', action='store_true', help='write over a file that is there')
    arguments.add(parser, '--trust', '--cfg-options')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from rethink.configs import export, provenance
    from rethink.engine import launch

    with launch.one_sentence():
        if args.out.suffix != '.py':
            raise ConfigError(f'{args.out} does not end in .py, which is what MMEngine reads Python configs from.')
        if args.out.exists() and not args.force:
            raise ConfigError(f'{args.out} is there already; give another name, or --force to write over it.')
        config = provenance.read(args.config, args.cfg_options)
        write_atomically(args.out, export.export(config, args.stock).encode())
        arguments.written(args.out)


if __name__ == '__main__':
    arguments.run(main)
