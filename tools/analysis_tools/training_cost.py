"""Report what a training step of configs costs, and draw figure 1 of study C (docs/frozen.md, "What it saves").

    python tools/analysis_tools/training_cost.py configs/frozen/{finetune,freeze}_rs101_nasfpn_cascade_72e.py \\
        --shape 1280 1280 --device meta --figure figures/frozen_cost.png

prints for each config its parameters and what of them is trained, the operations of a forward and of a backward pass
as autograd runs them, the bytes kept for the backward pass, and on a GPU the peak of memory and the images per second.
Weights are random, images are generated, nothing is trained or downloaded. What has been measured is not measured
again when the command is started again.
"""

from pathlib import Path

from rethink import arguments
from rethink.errors import ConfigError
from rethink.files import write_atomically


def parse_args():
    parser = arguments.Parser(__doc__)
    add = parser.add_argument
    add('configs', nargs='+', help='paths, or names in a package such as mmdet::retinanet/….py')
    add('--shape', type=int, nargs=2, default=(640, 640), metavar=('HEIGHT', 'WIDTH'), help='in pixels')
    add('--batch', type=arguments.number, default=1, metavar='N', help='images in the step')
    add(
        '--device',
        choices=['auto', 'cuda', 'cpu', 'meta'],
        default='auto',
        help='auto: a GPU, if there is one; meta: backbone and neck by their shapes alone, for detectors that are '
        'too large for this machine',
    )
    arguments.add(parser, '--amp', '--cfg-options')
    arguments.add(parser, '--format', choices=['table', 'markdown', 'json'])
    arguments.add(parser, '--out', note=': what is printed')
    add(
        '--cache',
        metavar='DIR',
        type=arguments.out_dir,
        default=Path('work_dirs/training_cost'),
        help='folder of what has been measured',
    )
    add('--fresh', action='store_true', help='measure again what is there, such as after a change of code')
    group = parser.add_argument_group('figure')
    add = group.add_argument
    add(
        '--figure',
        type=arguments.picture,
        metavar='FILE',
        help=f'picture to write{arguments.PICTURE}; bars where no AP is known',
    )
    add('--axis', choices=['flops', 'memory'], default='flops', help='what AP is drawn against')
    add('--ap', nargs='+', default=[], metavar='NAME=VALUE', help='box AP of a config, in points of 100')
    add('--metafile', type=Path, help='take AP from its published results, and from runs of its configs')
    arguments.add(group, '--work-dirs', note=', for --metafile')
    return parser.parse_args()


def read_ap(values: list[str], names: set[str]) -> dict[str, float]:
    """``NAME=VALUE`` as name -> value.

    Raises:
        ConfigError: a value is no number, or no config has the name.
    """
    found = {}
    for text in values:
        name, _, value = text.rpartition('=')
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f'--ap {text} is not of the form NAME=VALUE with a number.') from None
        if name not in names:
            raise ConfigError(f'--ap {text} names none of the configs; they are {", ".join(sorted(names))}.')
    return found


def main():
    args = parse_args()

    from rethink.analysis.published import read_published
    from rethink.costs import of_config, report
    from rethink.engine import launch
    from tqdm import tqdm

    with launch.one_sentence() as context:
        device = of_config.default_device() if args.device == 'auto' else args.device
        setting = of_config.Setting(tuple(args.shape), args.batch, device, args.amp)
        if args.metafile:
            read_published(args.metafile, args.work_dirs)  # wrong ones before anything is measured
        # All of them before the first is measured.
        configs = [of_config.load(name, args.cfg_options) for name in args.configs]
        given = read_ap(args.ap, {Path(cfg.filename).stem for cfg in configs})
        costs = []
        with tqdm(configs, 'measuring', disable=len(configs) == 1) as bar:
            for context.cfg in bar:
                bar.set_postfix_str(Path(context.cfg.filename).stem)
                costs.append(of_config.measure_once(context.cfg, setting, args.cache, args.fresh))
        text = report.report(costs, setting, args.format)
        print(text)
        if args.out:
            write_atomically(args.out, f'{text}\n'.encode())
        files = [args.out] if args.out else []
        if args.figure:
            aps = report.find_ap(costs, given, args.metafile, args.work_dirs)
            files += report.draw(costs, aps, args.figure, args.axis, title=setting.title)
        if files:
            arguments.written(*files)


if __name__ == '__main__':
    arguments.run(main)
