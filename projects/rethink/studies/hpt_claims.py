"""Study B's claims, each with what a table of results says of it, in words.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022). What the table lacks for a
claim is named; nothing is concluded from it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .hpt import (
    DEFAULTS,
    DETECTION,
    LESS,
    LINEAR,
    SEMI,
    Change,
    Comparison,
    Point,
    Table,
    best,
    robustness,
    speed_up,
    steps_text,
    varied,
)

# The number of steps that the paper recommends, whatever the data set.
RECOMMENDED = 5_000
# What B+S+T is to be better than.
_RIVALS = ('B', 'T', 'B+T', 'B+S')


def _on(data_sets: Iterable[str]) -> str:
    return f' on {", ".join(data_sets)}' if data_sets else ''


@dataclass
class Question:
    """One comparison, on every data set.

    Args:
        what: is compared with what, in which evaluation.
        counts_for, counts_against: outcomes that speak for the claim, and against it.
        comparisons: on each data set where both sides are there.
        missing: what is not there → on which data sets.
        notes: sentences that say what to keep in mind.
    """

    what: str
    counts_for: tuple[str, ...] = ('ahead',)
    counts_against: tuple[str, ...] = ('behind',)
    comparisons: list[Comparison] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def with_outcome(self, *outcomes: str) -> list[Comparison]:
        return [one for one in self.comparisons if one.outcome in outcomes]

    def __str__(self) -> str:
        outcomes = []
        for outcome in ('ahead', 'level', 'behind'):
            if found := self.with_outcome(outcome):
                of = '' if outcomes else f' of {len(self.comparisons)} data set{"s" * (len(self.comparisons) != 1)}'
                outcomes.append(f'{outcome} on {len(found)}{of}: {", ".join(map(str, found))}')
        unsaid = [f'cannot be said{_on(where)}: {what}' for what, where in self.missing.items()]
        sentences = [f'{self.what}: {"; ".join(outcomes + unsaid)}.']
        if single := [one.dataset for one in self.comparisons if one.single]:
            sentences.append(f'Single runs, which do not tell noise{_on(single)}.')
        return ' '.join(sentences + self.notes)


@dataclass
class Claim:
    """A claim of the paper and what a table says of it.

    Args:
        text: what was published.
        questions: comparisons that decide it.
        notes: sentences with other numbers.
    """

    text: str
    questions: list[Question]
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """How many comparisons speak for the claim and against it; some are level, and do neither."""
        pairs = [(one.outcome, question) for question in self.questions for one in question.comparisons]
        if not pairs:
            return 'Cannot be said.'
        speak = sum(outcome in question.counts_for for outcome, question in pairs)
        against = sum(outcome in question.counts_against for outcome, question in pairs)
        return f'For it: {speak} of {len(pairs)} comparisons; against it: {against}.'

    def __str__(self) -> str:
        return '\n'.join([f'{self.text} {self.verdict}', *(f'* {line}' for line in (*self.questions, *self.notes))])


# Of a data set: what is compared, or what is not there for it.
Side = Callable[[str], Point | Change | str]


def _change(table: Table, protocol: str, what: str, chain: str, beside: str) -> Side:
    """What a chain loses with the policies, or shares, that both it and another chain have."""

    def change(dataset: str) -> Change | str:
        curves = {one: robustness(table, dataset, protocol, one, what) for one in sorted((chain, beside))}
        for one, curve in curves.items():
            if len(curve) < 2:
                return f'no run of {one} {LESS[what]}' if curve else f'no run of {one}'
        own, other = curves[chain], curves[beside]
        common = [point for value, point in own.items() if value in other and value != DEFAULTS[what]]
        return Change(own[DEFAULTS[what]], tuple(common)) if common else f'no runs of both alike {LESS[what]}'

    return change


@dataclass(frozen=True)
class _Asked:
    """A table and what all questions to it share."""

    table: Table
    margin: float

    def ask(self, what: str, protocol: str, one: Side, other: Side, datasets: list[str] | None = None) -> Question:
        question = Question(f'{protocol}, {what}')
        for dataset in self.table.datasets(protocol) if datasets is None else datasets:
            sides = one(dataset), other(dataset)
            if lacking := [side for side in sides if isinstance(side, str)]:
                question.missing.setdefault(' and '.join(dict.fromkeys(lacking)), []).append(dataset)
            else:
                question.comparisons.append(Comparison(dataset, *sides, self.margin))
        if not question.comparisons and not question.missing:
            question.missing = {f'no result of {protocol} evaluation': []}
        return question

    def at_best(self, protocol: str, *chains: str) -> Side:
        def point(dataset: str) -> Point | str:
            points = [point for chain in chains for point in self.table.points(dataset, protocol, chain)]
            return best(points) if points else f'no run of {" or ".join(chains)}'

        return point

    def after(self, protocol: str, chain: str, steps: int) -> Side:
        def point(dataset: str) -> Point | str:
            found = [point for point in self.table.points(dataset, protocol, chain) if point.steps == steps]
            return found[0] if found else f'no run of {chain} after {steps_text(steps)} steps'

        return point

    def kinds(self, *kinds: str) -> list[str]:
        """Protocols of some kinds; a kind that the table has not is itself, so that it is asked for in vain."""
        return [protocol for kind in kinds for protocol in self.table.protocols(kind) or [kind]]

    # --- the claims of the paper ---

    def faster(self, steps: int) -> Claim:
        sides = self.after(LINEAR, 'B+T', steps), self.at_best(LINEAR, 'T')
        what = f'B+T after {steps_text(steps)} steps against T at its best'
        question = self.ask(what, LINEAR, *sides)
        question.counts_for = ('ahead', 'level')
        compared = [one.dataset for one in question.comparisons]
        if rising := [dataset for dataset in compared if self._rising(dataset)]:
            question.notes.append(f'T may not be at its best yet, the longest training being the best{_on(rising)}.')
        both = [speed_up(self.table, dataset, LINEAR, self.margin) for dataset in self.table.datasets(LINEAR)]
        found = sorted((one for one in both if one and one.base), key=lambda one: -one.factor)
        notes = []
        if found:
            each = ', '.join(map(str, found))
            notes.append(f"B+T comes to T's best in up to {found[0].factor:.3g}× fewer steps: {each}.")
        if never := [one.dataset for one in both if one and not one.base]:
            notes.append(f"B+T does not come to T's best{_on(never)}.")
        return Claim(
            '**1. Faster:** 5k steps from a base match or beat training from random initialisation on 15 of 16 data '
            'sets, in up to 80× fewer steps.',
            [question],
            notes,
        )

    def _rising(self, dataset: str) -> bool:
        *before, last = self.table.points(dataset, LINEAR, 'T')
        return best([*before, last]) is last and not (
            before and Comparison(dataset, last, before[-1], self.margin).outcome == 'level'
        )

    def better(self) -> Claim:
        questions = []
        for protocol in self.kinds(LINEAR, SEMI):
            hpt, bn = self.at_best(protocol, 'B+T'), self.at_best(protocol, 'B+T-BN')
            for other in ('B', 'T'):
                questions.append(
                    self.ask(f'B+T against {other}, each at its best', protocol, hpt, self.at_best(protocol, other))
                )
            question = self.ask('B+T-BN against B+T, each at its best', protocol, bn, hpt)
            if protocol != LINEAR:
                question.counts_for, question.counts_against = ('behind', 'level'), ('ahead',)
            elif question.with_outcome('ahead'):
                # To be better sometimes, it need not be so everywhere.
                question.counts_against = ()
            else:
                question.counts_against = ('behind', 'level')
            questions.append(question)
        return Claim(
            '**2. Better:** B+T is better than B and than T in linear and semi-supervised evaluation; B+T-BN is '
            'sometimes better still in linear evaluation, never in semi-supervised.',
            questions,
        )

    def more_robust(self) -> Claim:
        questions = []
        for what, less in LESS.items():
            protocols = [one for one in self.table.protocols('') if varied(self.table, one, what)]
            for protocol in protocols:
                sides = (_change(self.table, protocol, what, *pair) for pair in (('B+T', 'T'), ('T', 'B+T')))
                question = f'mean change of B+T against that of T, pre-trained {less}'
                questions.append(self.ask(question, protocol, *sides, varied(self.table, protocol, what)))
            if not protocols:
                lacking = {f'no run pre-trained {less}': []}
                questions.append(Question(f'B+T against T, pre-trained {less}', missing=lacking))
        return Claim(
            '**3. More robust:** B+T loses less than T with fewer augmentations, and on fewer images.', questions
        )

    def better_detection(self) -> Claim:
        questions = [
            self.ask(
                f'{one} against {other}, each at its best',
                DETECTION,
                self.at_best(DETECTION, one),
                self.at_best(DETECTION, other),
            )
            for one in ('B+T', 'B+T-BN')
            for other in ('B', 'T')
        ]
        differences = [one.one.mean - one.other.mean for question in questions for one in question.comparisons]
        notes = [f'Differences are {min(differences):+.1f} to {max(differences):+.1f} points.'] if differences else []
        return Claim('**4. Detection:** B+T and B+T-BN are better than B and T, by a small margin.', questions, notes)

    def best_through_a_source(self) -> Claim:
        questions = []
        for protocol in self.kinds(LINEAR, SEMI):
            datasets = list(dict.fromkeys(one.dataset for one in self.table.of(protocol) if '+S' in one.chain))
            what = 'B+S+T against the best of the other chains'
            question = self.ask(what, protocol, self.at_best(protocol, 'B+S+T'), self._rival(protocol), datasets)
            if not datasets:
                question.missing = {'no run of a chain through a source': []}
            for one in question.comparisons:
                lacking = [chain for chain in _RIVALS if not self.table.points(one.dataset, protocol, chain)]
                without = f', where there is no {" or ".join(lacking)}' if lacking else ''
                question.notes.append(f'The best of the others is {one.other.chain} on {one.dataset}{without}.')
            questions.append(question)
        return Claim(
            '**5. Hierarchy:** B+S+T is the best of the chains, for three pairs of source and target.', questions
        )

    def _rival(self, protocol: str) -> Side:
        """The best of the other chains, of which B+T is the one to beat."""

        def point(dataset: str) -> Point | str:
            needed = self.at_best(protocol, 'B+T')(dataset)
            return needed if isinstance(needed, str) else self.at_best(protocol, *_RIVALS)(dataset)

        return point


def claims(table: Table, steps: int = RECOMMENDED, margin: float = 0.0) -> list[Claim]:
    """The five of the paper, each with what the table says of it.

    Where a chain is at its best it is so after the number of steps that :func:`best` chooses, each chain for itself.

    Args:
        steps: of B+T, that are to match T at its best.
        margin: differences smaller than this are called level whatever the spread over reruns, in points.
    """
    asked = _Asked(table, margin)
    return [
        asked.faster(steps),
        asked.better(),
        asked.more_robust(),
        asked.better_detection(),
        asked.best_through_a_source(),
    ]


def chosen_on_test(table: Table) -> list[str]:
    """Data sets and protocols where a chain's best number of steps is one of several, and val does not tell which."""
    found = []
    for protocol in table.protocols(''):
        for dataset in table.datasets(protocol):
            for chain in dict.fromkeys(one.chain for one in table.of(protocol, dataset=dataset)):
                points = table.points(dataset, protocol, chain)
                if len(points) > 1 and any(point.val is None for point in points):
                    found.append(f'{dataset} ({protocol}, {chain})')
    return found


def words(table: Table, steps: int = RECOMMENDED, margin: float = 0.0) -> str:
    """:func:`claims` as Markdown, and what numbers were chosen by the values that they are reported with."""
    text = [str(claim) for claim in claims(table, steps, margin)]
    if chosen := chosen_on_test(table):
        text.append(f'Steps chosen by the reported values, for want of values on val: {", ".join(chosen)}.')
    return '\n\n'.join(text)
