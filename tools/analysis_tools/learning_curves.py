"""Draw learning curves of any number of runs, finished or not, and put what they measured beside what was published.

    python tools/analysis_tools/learning_curves.py work_dirs/*_r50_gn_?x --out figures/r50_gn.png

draws box AP against iterations, one colour for each initialisation and one line for each length (figures 1, 3 and 4 of
Rethinking ImageNet Pre-training), and, below it, the training loss (figure 8).

    python tools/analysis_tools/learning_curves.py --published configs/rethink/metafile.yml --work-dirs work_dirs

prints every published number with the measured one and the difference; a config without a run is shown as missing.
"""

import sys
from pathlib import Path

from rethink import arguments
from rethink.errors import ConfigError


def parse_args():
    parser = arguments.Parser(__doc__)
    parser.add_argument('runs', type=Path, nargs='*', help='work directories to draw')
    arguments.add(parser, '--out', type=arguments.picture, default=Path('curves'), note=arguments.PICTURE)
    parser.add_argument('--metric', default='coco/bbox_mAP', help='as MMEngine logs it')
    parser.add_argument('--title', default='', help='of the picture')
    parser.add_argument('--published', type=Path, help='metafile whose numbers to print')
    arguments.add(parser, '--work-dirs', note=', for --published')
    args = parser.parse_args()
    if not args.runs and not args.published:
        parser.error('name work directories to draw, or --published a metafile')
    return args


def main():
    args = parse_args()

    from rethink.analysis import published
    from rethink.analysis.logs import read_run
    from rethink.engine import launch

    with launch.one_sentence():
        if args.published:
            print(published.table(published.read_published(args.published, args.work_dirs)))
        if args.runs:
            from rethink.analysis import curves

            runs = [read_run(path) for path in args.runs]
            for run in runs:
                if not run.iteration:
                    print(f'{run.work_dir}: no log yet', file=sys.stderr)
            if not any(run.iteration for run in runs):
                raise ConfigError('none of these folders holds a log; name work directories of tools/train.py.')
            curves.check_metric(runs, args.metric)
            arguments.written(*curves.draw(runs, args.out, args.metric, args.title))


if __name__ == '__main__':
    arguments.run(main)
