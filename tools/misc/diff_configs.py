"""In what two or more configs differ, what each difference is about, and the file and line that each value comes from.

    python tools/misc/diff_configs.py configs/rethink/{scratch,pretrain}_r50_gn_6x.py --expect init,freeze

A config is a file, `package::path` of an installed package, a work directory or a checkpoint (docs/configs.md).
"""

import argparse
import contextlib
import sys

from rethink import arguments
from rethink.configs.groups import GROUPS
from rethink.errors import ConfigError

# Differences that the sentence of --expect names.
NAMED = 10


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='two or more of: a config, package::path of an installed package, a work directory, a checkpoint; one '
        'alone is compared with itself under --cfg-options',
    )
    arguments.add(parser, '--format', note='; a table is of one screen, the others have every difference')
    parser.add_argument(
        '--only',
        nargs='+',
        default=[],
        metavar='PATH',
        help='parts to compare: model.backbone, train_pipeline[Resize], param_scheduler.0',
    )
    parser.add_argument(
        '--expect',
        metavar='GROUPS',
        help=f'exit with 1 if anything outside these differs: {", ".join(GROUPS)}, or "" for nothing; '
        'work directories and names do not count',
    )
    parser.add_argument(
        '--all', action='store_true', help='a table of any length: each difference, its files and lines'
    )
    arguments.add(parser, '--cfg-options', note='; of several configs the last')
    arguments.add(parser, '--trust')
    return parser.parse_args()


def expected(groups: str) -> list[str]:
    """The groups of ``--expect``."""
    names = [name.strip() for name in groups.split(',') if name.strip()]
    wrong = set(names) - set(GROUPS)
    if wrong:
        raise ConfigError(f'--expect does not know {", ".join(sorted(wrong))}; groups are {", ".join(GROUPS)}.')
    return names


def main() -> None:
    args = parse_args()

    from rethink.configs import diff, provenance, report
    from rethink.engine import launch

    with launch.one_sentence():
        groups = None if args.expect is None else expected(args.expect)
        names = args.configs
        if len(names) == 1:
            if not args.cfg_options:
                raise ConfigError('one config has nothing to differ from; name two, or --cfg-options to apply to it.')
            names = names * 2
        with contextlib.redirect_stdout(sys.stderr):
            configs = [provenance.read(name) for name in names[:-1]]
            configs.append(provenance.read(names[-1], args.cfg_options))
        found = diff.diff(configs, args.only)
        lines = None if args.all else report.SCREEN
        sys.stdout.write(report.write(args.format, found, configs, lines))
        others = [] if groups is None else diff.unexpected(found, groups)
    if others:
        named = [f'{one.places[0].name} ({one.group})' for one in diff.changes(others)]
        more = f' and {len(named) - NAMED} more' if len(named) > NAMED else ''
        sys.exit(f'--expect {args.expect}: {", ".join(named[:NAMED])}{more} differ{"s" * (len(named) == 1)} as well.')


if __name__ == '__main__':
    arguments.run(main)
