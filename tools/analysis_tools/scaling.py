"""Forecast a training on 1 to 64 GPUs: what they send each other, and what limits them (docs/scaling.md).

    python tools/analysis_tools/scaling.py configs/rethink/scratch_r50_gn_6x.py --step-seconds 0.4 --loader 112

prints for each config and number of GPUs what is sent in a step and how long that takes, counted from the config, and,
with a step measured on one GPU (benchmarks/gpu.py), the step, its efficiency, what limits it, and the hours. Nothing
is trained or downloaded.
"""

import argparse
import json
from dataclasses import asdict

from rethink import arguments
from rethink.errors import ConfigError
from rethink.files import write_atomically


def parse_args():
    parser = arguments.Parser(__doc__)
    add = parser.add_argument
    add('configs', nargs='+', help='paths, or names in a package such as mmdet::retinanet/….py')
    arguments.add(parser, '--gpus', nargs='+', default=[1, 8, 16, 64], note='; a row for each number')
    add('--per-node', type=arguments.number, default=8, metavar='N', help='GPUs of a node')
    link = 'name, or GB/S:MICROSECONDS as measured, such as 11.5:20'
    add('--within', default='nvlink3', metavar='LINK', help=f'between the GPUs of a node: {link}')
    add('--between', default='ib100', metavar='LINK', help=f'all that leaves a node: {link}')
    arguments.add(parser, '--cfg-options')
    arguments.add(parser, '--format', choices=['table', 'markdown', 'json'])
    arguments.add(parser, '--out', note=': what is printed')
    add = parser.add_argument_group('measured; without --step-seconds only what is sent is printed').add_argument
    add('--step-seconds', type=float, nargs='+', metavar='S', help='on one GPU, one for each config or one for all')
    add('--backward', type=float, nargs='+', default=[2 / 3], metavar='SHARE', help='of a step, likewise')
    add('--loader', type=float, nargs='+', metavar='RATE', help='images a second and core, likewise')
    add('--evaluation', type=float, nargs='+', default=[0.0], metavar='S', help='of the first process, likewise')
    add('--inference', type=float, nargs='+', default=[0.0], metavar='S', help='of one GPU, all images, likewise')
    add('--disk', type=float, default=0.5, metavar='GB/S', help='written by the first process')
    return parser.parse_args()


def of_each(args: argparse.Namespace, option: str) -> list:
    """The values of an option, one for each config.

    Raises:
        ConfigError: another number of them, or one that is no time, rate or share.
    """
    values = getattr(args, option) or [None]
    name = f'--{option.replace("_", "-")}'
    if len(values) not in (1, len(args.configs)):
        raise ConfigError(
            f'{name} has {len(values)} values for {len(args.configs)} configs; give one, or one for each.'
        )
    zero = option in ('backward', 'evaluation', 'inference')
    for value in values:
        if value is not None and not (value > 0 or zero and value == 0):
            raise ConfigError(f'{name} {value:g} is to be a number above 0.')
    return values * (len(args.configs) // len(values))


def main():
    args = parse_args()

    from rethink.costs import of_config, scaling
    from rethink.costs.table import table
    from rethink.engine import launch

    with launch.one_sentence() as context:
        if not args.disk > 0:
            raise ConfigError(f'--disk {args.disk:g} is to be a number above 0.')
        cluster = scaling.Cluster(args.per_node, scaling.read_link(args.within), scaling.read_link(args.between))
        given = [of_each(args, name) for name in ('step_seconds', 'backward', 'loader', 'evaluation', 'inference')]
        counted, rows, content = [], [], []
        for name, *values in zip(args.configs, *given, strict=True):
            context.cfg = of_config.load(name, args.cfg_options)
            with of_config.quiet():
                traffic = scaling.count(context.cfg)
            counted.append(scaling.counted(traffic))
            for gpus in args.gpus:
                sent, found = scaling.messages(traffic, cluster, gpus), None
                if args.step_seconds:
                    measured = scaling.Measured(*values, disk=args.disk * 1e9)
                    found = scaling.forecast(context.cfg, traffic, sent, measured, gpus)
                rows.append(scaling.row(traffic, gpus, sent, found))
                content.append(dict(gpus=gpus, messages=asdict(sent), forecast=found and asdict(found)))
                content[-1]['traffic'] = asdict(traffic)
        if args.format == 'json':
            text = json.dumps(dict(cluster=asdict(cluster), rows=content), indent=1)
        else:
            text = '\n\n'.join([table(counted, args.format), table(rows, args.format), scaling.words(cluster)])
        print(text)
        if args.out:
            write_atomically(args.out, f'{text}\n'.encode())
            arguments.written(args.out)


if __name__ == '__main__':
    arguments.run(main)
