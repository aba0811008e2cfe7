"""Draw docs/images/hierarchy.png and frozen.png from the tables of docs/shapes.md, whose trainings are long gone.

    python docs/measured/draw.py

writes into docs/images, or another folder.
"""

import argparse
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from rethink import arguments
from rethink.analysis.pictures import ARMS, GREY, LOOKS, places, save

DOCS = Path(__file__).resolve().parents[1]
PAGE = (DOCS / 'shapes.md').read_text()


def table(first: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table whose header begins so."""
    lines = PAGE[PAGE.index(f'| {first} |') :].split('\n\n')[0].splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return cells[0], cells[2:]


def numbers(cell: str) -> list[float]:
    return [float(one) for one in re.findall(r'[+-]?\d+(?:\.\d+)?', cell)]


def axes(figure_width: float, titles: list[tuple[str, str]]):
    figure, panels = plt.subplots(1, len(titles), figsize=(figure_width, 4), layout='constrained')
    for panel, (x, y) in zip(panels, titles, strict=True):
        panel.set(xlabel=x, ylabel=y)
        panel.grid(alpha=0.3)
        panel.set_axisbelow(True)
        panel.spines[['top', 'right']].set_visible(False)
    return figure, panels


def hierarchy(out: Path) -> None:
    header, rows = table('pre-training | steps on the target')
    figure, panels = axes(9, [('steps on the target', 'linear top-1'), ('steps on the target', 'box AP')])
    looks = places(dict.fromkeys(row[0] for row in rows))
    columns = [at for at, name in enumerate(header) if name.endswith('seed 0, 1, 2')]
    for panel, column in zip(panels, columns, strict=True):
        begin = next(numbers(row[column]) for row in rows if row[0] == 'B')
        for name, place in looks.items():
            points = [(float(row[1]), numbers(row[column])) for row in rows if row[0] == name]
            if name.startswith('B+'):
                points.insert(0, (0.0, begin))
            look, mean = LOOKS[place], [np.mean(of) for _, of in points]
            # The base has its own marker, where the lines from it begin.
            own = [at for at, (x, _) in enumerate(points) if x or name == 'B']
            panel.plot(
                [x for x, _ in points],
                mean,
                color=look.colour,
                marker=look.marker,
                markevery=own,
                label=name,
                zorder=4 if name == 'B' else 3,
            )
            for x, of in points:
                panel.vlines(x, min(of), max(of), color=look.colour, alpha=0.6)
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside lower center', ncols=4, frameon=False)
    save(figure, out / 'hierarchy.png', dpi=110)


def frozen(out: Path) -> None:
    header, (*seeds, _) = table('seed | FPN, frozen')
    arms, detectors = ['frozen', 'fine-tuned', 'from scratch'], ['FPN', 'NAS-FPN + cascade']
    looks = {arm: LOOKS[ARMS[name]] for arm, name in zip(arms, ('freeze', 'finetune', 'scratch'), strict=True)}
    markers = dict(zip(detectors, 'os', strict=True))
    figure, (bars, cost, gain) = axes(
        13,
        [
            ('', 'box AP, three seeds'),
            ('GFLOPs of a training step', 'box AP, seed 0'),
            ('training annotations of the class', 'frozen less fine-tuned, AP, seed 0'),
        ],
    )
    for at, arm in enumerate(arms):
        columns = [header.index(f'{detector}, {arm}') for detector in detectors]
        found = np.array([[numbers(row[column])[0] for row in seeds] for column in columns])
        x = np.arange(len(detectors)) + (at - 1) * 0.27
        bars.bar(x, found.mean(1), 0.25, color=looks[arm].colour, hatch=looks[arm].hatch, edgecolor='white', label=arm)
        bars.plot(x, found, 'o', color='white', markeredgecolor='black', markersize=4)
    bars.set_xticks(range(len(detectors)), detectors)
    for detector, arm, _, ap, _, operations, *_ in table('detector | backbone')[1]:
        cost.plot(float(operations), float(ap), markers[detector], color=looks[arm].colour, markersize=9)
    cost.set_xlim(0, 11.5)
    for kind, marker in markers.items():
        cost.plot([], [], marker, color=GREY, label=kind)
        column = detectors.index(kind) * 3 + 4
        rows = table('class | training annotations')[1]
        x, y = [float(row[1]) for row in rows], [float(row[column]) for row in rows]
        gain.plot(x, y, marker, color=GREY if marker == 's' else 'black', fillstyle='none', markersize=7, label=kind)
    gain.axhline(0, color=GREY, lw=1)
    gain.set_xscale('log')
    gain.set_xticks([20, 50, 100, 200, 300], ['20', '50', '100', '200', '300'], minor=False)
    gain.minorticks_off()
    for panel, columns in ((bars, 3), (cost, 2), (gain, 2)):
        panel.legend(loc='lower center', bbox_to_anchor=(0.5, 1), ncols=columns, frameon=False)
    save(figure, out / 'frozen.png', dpi=110)


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    arguments.add(parser, '--out-dir', default=DOCS / 'images')
    return parser.parse_args()


def main() -> None:
    out = parse_args().out_dir
    hierarchy(out)
    frozen(out)
    arguments.written(out / 'hierarchy.png', out / 'frozen.png')


if __name__ == '__main__':
    arguments.run(main)
