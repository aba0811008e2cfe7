"""Draw study B's results (docs/hpt.md, "Figures").

    python tools/analysis_tools/hpt_figures.py work_dirs/evaluate work_dirs/grid_finetune_r50_c4_voc_24ki

reads folders of tools/hpt_evaluate.py and of detectors, and tables of results, and writes accuracy against steps of
pre-training, bars of every chain in semi-supervised evaluation and in detection, and robustness to fewer augmentations
and images, as PNG and SVG, and all rows as one table. What is not there is shown as missing. What the numbers say of
the paper's claims, `tools/study.py report configs/hpt/study.yml` says.
"""

import argparse
from pathlib import Path

from rethink import trust
from rethink.engine import launch
from rethink.errors import ConfigError
from rethink.files import write_atomically
from rethink.studies import hpt_figures
from rethink.studies.hpt import DETECTION, LESS, SEMI, Table, to_csv, varied
from rethink.studies.hpt_runs import read


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        'results',
        type=Path,
        nargs='+',
        help='tables (CSV), and folders of hpt_evaluate.py or of detectors',
    )
    parser.add_argument('--out', type=Path, default=Path('figures/hpt'), help='folder of the pictures and the table')
    parser.add_argument('--metric', nargs='+', default=[], help='read the rows with these metrics alone')
    trust.add_argument(parser)
    return parser.parse_args()


def draw(table: Table, out: Path) -> list[Path]:
    """Every picture that the table has something for; their files, without suffix."""
    robust = {
        out / (what if protocol == 'linear' else f'{what}_{protocol}'): (protocol, what)
        for what in LESS
        for protocol in table.protocols('')
        if varied(table, protocol, what)
    }
    drawn = {
        out / 'steps': hpt_figures.draw_steps(table, out / 'steps'),
        out / 'semi': hpt_figures.draw_bars(table, table.protocols(SEMI), out / 'semi'),
        out / 'detection': hpt_figures.draw_bars(table, table.protocols(DETECTION), out / 'detection'),
        **{path: hpt_figures.draw_robustness(table, *of, path) for path, of in robust.items()},
    }
    return [path for path, there in drawn.items() if there]


def main():
    args = parse_args()
    with launch.one_sentence():
        table = Table([one for path in args.results for one in read(path)], args.metric)
        if not table.results:
            raise ConfigError(f'{", ".join(map(str, args.results))} has no row to draw; check --metric.')
        write_atomically(args.out / 'results.csv', to_csv(table.results).encode())
        for path in draw(table, args.out):
            print(f'{path}.png, {path}.svg')


if __name__ == '__main__':
    main()
