"""What is probably not meant in a config, with the reason, the source and the fix (docs/check_config.md).

    python tools/misc/check_config.py configs/rethink/scratch_r50_gn_2x.py --gpus 8

reads configs, and the annotations that they name where these are there; loads no weights. Exits with 1 where it finds
an error, with --strict also for a warning.
"""

import argparse
import contextlib
import sys

from rethink import arguments


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument('configs', nargs='+', metavar='CFG', help='paths of configs')
    arguments.add(parser, '--gpus', note='; without it, the batch is taken as right')
    parser.add_argument('--strict', action='store_true', help='exit with 1 also for a warning')
    arguments.add(parser, '--format', choices=['table', 'json'], note='; json: config → findings')
    arguments.formerly(parser, '--json', '--format json', 'format', nargs=0, const='json')
    arguments.add(parser, '--cfg-options')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from rethink import checks
    from rethink.checks import schema
    from rethink.engine import launch

    found = {}
    with launch.one_sentence() as context, contextlib.redirect_stdout(sys.stderr):
        for path in args.configs:
            context.cfg = cfg = launch.read_config(path)
            launch.override(cfg, args.cfg_options, path)
            schema.check(cfg, 'train' if 'train_dataloader' in cfg else None)
            found[path] = checks.check(cfg, args.gpus)
    if args.format == 'json':
        print(checks.as_json(found))
    else:
        for path, findings in found.items():
            print(f'{path}: {checks.text(findings)}' if not findings else f'{path}\n\n{checks.text(findings)}')
    bad = ('error', 'warning') if args.strict else ('error',)
    sys.exit(any(one.level in bad for findings in found.values() for one in findings))


if __name__ == '__main__':
    arguments.run(main)
