"""The studies in miniature, from generated data to a verdict: what `make demo` runs.

    python tools/demo.py --seed 0 --out demo
    python tools/demo.py --study hpt
    python tools/demo.py --study frozen

trains everything through tools/train.py, with one progress bar for all of it, and ends with a table, a picture and a
verdict that are worked out from the logs. Stopped at any moment and started again, it goes on where it was; what is
finished is not trained again. Seeds under one --out are also compared with each other. With --quick, everything runs
for a few iterations on a few images: that the machinery works shows in a minute, what the study says does not.
"""

import argparse
from pathlib import Path

from rethink.engine import launch
from rethink.studies.demos import Demo, from_scratch, frozen, hierarchy

TOOLS = Path(__file__).resolve().parent
STUDIES = dict(rethink=from_scratch, hpt=hierarchy, frozen=frozen)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--study', choices=sorted(STUDIES), default='rethink')
    parser.add_argument('--seed', type=int, default=0, help='of initialisation and sampling; the data stay the same')
    parser.add_argument('--out', type=Path, default=Path('demo'), help='folder for runs and results')
    parser.add_argument('--data', type=Path, default=Path('data/shapes'), help='folder of the generated data')
    parser.add_argument('--quick', action='store_true', help='a few iterations on a few images, to try the machinery')
    args = parser.parse_args()
    if args.quick:
        args.out, args.data = Path(f'{args.out}-quick'), Path(f'{args.data}-quick')
    demo = Demo(args.out, args.data, args.seed, TOOLS, args.quick)
    with launch.several_trainings():
        STUDIES[args.study].run(demo)


if __name__ == '__main__':
    main()
