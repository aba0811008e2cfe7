"""Study B's results as a table: which chain is better, by how much, after how many steps?

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022). A table has a row for each
result; values are in points of 100 and higher is better. Chains are named as in :mod:`rethink.studies.chains`. Its
pictures are in :mod:`.hpt_figures`; the paper's claims are in ``configs/hpt/study.yml``.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from math import nan
from pathlib import Path
from statistics import mean, variance

from ..errors import ConfigError
from .chains.names import check_name

LINEAR, SEMI, DETECTION = 'linear', 'semi', 'detection'
# How a pre-training is where nothing else is said: with all augmentations, on all of its images.
FULL, WHOLE = 'full', 1.0

# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """A row of the table.

    Args:
        dataset: the target.
        chain: such as ``'B+T'``.
        steps: iterations of its last step; 0 for B, which is not trained.
        protocol: ``'linear'``, ``'detection'``, or a name that begins with ``'semi'``.
        metric: name of what was measured.
        rerun: name of the repetition, any text.
        value: on the test images, in points of 100; None for a run that is missing.
        val: on those by which numbers of steps are chosen; None where that was not measured.
        policy: augmentations of the pre-training.
        share: of the images of the pre-training, in (0, 1].
    """

    dataset: str
    chain: str
    steps: int
    protocol: str
    metric: str
    rerun: str
    value: float | None
    val: float | None = None
    policy: str = FULL
    share: float = WHOLE


COLUMNS = tuple(one.name for one in fields(Result))
_NEEDED = COLUMNS[:7]


def _number(text: str | None, name: str) -> float | None:
    if not (text or '').strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not 0 <= number <= 100:
        raise ConfigError(f'{name} is {text!r}, and is to be a number from 0 to 100, or empty')
    return number


def _result(row: dict) -> Result:
    if not row['chain']:
        raise ConfigError('the chain is not known; write it there, or evaluate with --chain and --steps')
    check_name(row['chain'])
    if not row['steps'].isdecimal() or (row['chain'] == 'B') != (int(row['steps']) == 0):
        raise ConfigError(
            f'steps of {row["chain"]} are {row["steps"]!r}, and are to be {_steps_allowed(row["chain"])}'
        )
    if row['protocol'] not in (LINEAR, DETECTION) and not row['protocol'].startswith(SEMI):
        raise ConfigError(f'{row["protocol"]!r} is no protocol; these are linear, semi… and detection')
    share = _number(row.get('share'), 'share')
    share = WHOLE if share is None else share
    if not 0 < share <= 1:
        raise ConfigError(f'share is {share:g}, and is to be above 0 and at most 1')
    return Result(
        **{key: row[key] for key in ('dataset', 'chain', 'protocol', 'metric', 'rerun')},
        steps=int(row['steps']),
        value=_number(row['value'], 'value'),
        val=_number(row.get('val'), 'val'),
        policy=row.get('policy') or FULL,
        share=share,
    )


def _steps_allowed(chain: str) -> str:
    return '0' if chain == 'B' else 'a whole number above 0'


def read_csv(path: str | Path, known: dict[str, str] | None = None) -> list[Result]:
    """A table, as :func:`to_csv` writes one; of the columns, ``val``, ``policy`` and ``share`` may be left out.

    Args:
        known: entries, by column, for rows in which they are empty.

    Raises:
        ConfigError: there is no such file, a column is missing, or an entry is not what it is to be.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path} cannot be read ({error}); name a table of results as CSV.') from error
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(f'{path} has no column {", ".join(missing)}; docs/hpt.md says what a table of results has.')
    results = []
    for row in reader:
        try:
            if None in row or None in row.values():
                raise ConfigError('there are not as many entries as columns')
            results.append(_result(row | {name: text for name, text in (known or {}).items() if not row.get(name)}))
        except ConfigError as error:
            raise ConfigError(f'{path}:{reader.line_num}: {str(error).rstrip(".")}.') from None
    return results


def to_csv(results: Iterable[Result]) -> str:
    """A table as CSV, one column for each field of :class:`Result`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    for one in results:
        row = (getattr(one, name) for name in COLUMNS)
        writer.writerow(
            ['' if value is None else f'{value:.10g}' if isinstance(value, float) else value for value in row]
        )
    return text.getvalue()


# --- points ----------------------------------------------------------------------------------------------------------


def steps_text(steps: float) -> str:
    """5000 → ``'5k'``."""
    return f'{steps / 1000:g}k' if steps >= 1000 else f'{steps:g}'


@dataclass(frozen=True)
class Point:
    """All reruns of one chain and number of steps.

    Args:
        values: one for each rerun, in points of 100.
        vals: the same on the images by which numbers of steps are chosen.
    """

    chain: str
    steps: int
    values: tuple[float, ...]
    vals: tuple[float | None, ...]

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def variance(self) -> float:
        """Over reruns; 0 where there is one."""
        return variance(self.values) if len(self.values) > 1 else 0.0

    @property
    def single(self) -> bool:
        return len(self.values) == 1

    @property
    def val(self) -> float | None:
        return None if None in self.vals else mean(self.vals)

    def __str__(self) -> str:
        spread = '' if self.single else f' ± {self.variance**0.5:.1f}'
        return f'{self.mean:.1f}{spread}' + (f' after {steps_text(self.steps)}' if self.steps else '')


class Table:
    """Results by data set, protocol, chain and number of steps.

    Args:
        results: rows of any number of files; a row without a value says that this run was meant, and is missing.
        metrics: keep rows with these alone.

    Raises:
        ConfigError: a rerun is there twice, or a data set and protocol has two metrics.
    """

    def __init__(self, results: Iterable[Result], metrics: Sequence[str] = ()) -> None:
        self.results = [one for one in results if not metrics or one.metric in metrics]
        self._points: dict[tuple, dict[str, Result]] = defaultdict(dict)
        self._metrics: dict[tuple[str, str], str] = {}
        for one in self.results:
            known = self._metrics.setdefault((one.dataset, one.protocol), one.metric)
            if known != one.metric:
                raise ConfigError(
                    f'{one.dataset} has both {known} and {one.metric} in {one.protocol} evaluation; choose one with '
                    '--metric.'
                )
            if one.value is None:
                continue
            reruns = self._points[one.dataset, one.protocol, one.chain, one.steps, one.policy, one.share]
            if one.rerun in reruns:
                raise ConfigError(
                    f'{one.dataset}, {one.protocol}: {one.chain} after {one.steps} steps has the rerun {one.rerun!r} '
                    'twice; name reruns differently.'
                )
            reruns[one.rerun] = one

    def metric(self, dataset: str, protocol: str) -> str:
        return self._metrics[dataset, protocol]

    def protocols(self, kind: str) -> list[str]:
        """Those of a kind, ``'semi'`` or one of the others, as they come."""
        return list(dict.fromkeys(one.protocol for one in self.results if one.protocol.startswith(kind)))

    def of(self, protocol: str, **values) -> list[Result]:
        """Rows of a protocol in which every entry named has the value given; those that are missing as well."""
        return [
            one
            for one in self.results
            if one.protocol == protocol and all(getattr(one, name) == value for name, value in values.items())
        ]

    def datasets(self, protocol: str) -> list[str]:
        """As they come."""
        return list(dict.fromkeys(one.dataset for one in self.of(protocol)))

    def points(self, dataset: str, protocol: str, chain: str, policy: str = FULL, share: float = WHOLE) -> list[Point]:
        """Of a chain, by number of steps."""
        found = []
        for key, reruns in self._points.items():
            if key[:3] == (dataset, protocol, chain) and key[4:] == (policy, share):
                values, vals = zip(*[(one.value, one.val) for one in reruns.values()], strict=True)
                found.append(Point(chain, key[3], values, vals))
        return sorted(found, key=lambda point: point.steps)


def best(points: list[Point]) -> Point:
    """The point with the highest mean on val; on test, where some have none on val. Of equal ones the first."""
    by_val = all(point.val is not None for point in points)
    return max(points, key=lambda point: point.val if by_val else point.mean)


# --- robustness ------------------------------------------------------------------------------------------------------

DEFAULTS = dict(policy=FULL, share=WHOLE)
LESS = dict(policy='with fewer augmentations', share='on fewer images')


def conditions(table: Table, protocol: str, what: str) -> list:
    """The policies, or shares, of a protocol's pre-trainings, that of the paper first.

    Args:
        what: ``'policy'``, in the order of the table, or ``'share'``, falling.
    """
    found = dict.fromkeys([DEFAULTS[what], *(getattr(one, what) for one in table.of(protocol))])
    return sorted(found, reverse=True) if what == 'share' else list(found)


def varied(table: Table, protocol: str, what: str) -> list[str]:
    """The data sets of a protocol on which a policy, or share, was meant that is not the paper's."""
    return list(dict.fromkeys(one.dataset for one in table.of(protocol) if getattr(one, what) != DEFAULTS[what]))


def robustness(table: Table, dataset: str, protocol: str, chain: str, what: str) -> dict:
    """Policy, or share → the point of a chain, all of them after the same number of steps.

    That is the one at which most of them are there, the paper's among them, and of several the :func:`best` with the
    paper's. Empty where that is missing.
    """
    curves = {point.steps: {DEFAULTS[what]: point} for point in table.points(dataset, protocol, chain)}
    for value in conditions(table, protocol, what)[1:]:
        for point in table.points(dataset, protocol, chain, **{what: value}):
            if point.steps in curves:
                curves[point.steps][value] = point
    if not curves:
        return {}
    most = max(map(len, curves.values()))
    return curves[best([curve[DEFAULTS[what]] for curve in curves.values() if len(curve) == most]).steps]
