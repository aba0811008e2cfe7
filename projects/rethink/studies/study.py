"""A study as it is declared: a question, what is trained to answer it, and what is claimed of the results.

A study is a YAML file beside the configs it is about (docs/studies.md)::

    question: Does pre-training help on my images?
    metric: coco/bbox_mAP
    seeds: [0, 1, 2]
    factors:
      length: [6x, 1x]
    runs:
      classifier: {}
      'pretrain_r50_{length}': {options: {model.backbone.init_cfg.checkpoint: '{checkpoint:classifier}'}}
      'scratch_r50_{length}': {}
    claims:
      pre-training is ahead after a short training: pretrain_r50_1x > scratch_r50_1x

YAML and not Python: a study is read to plan it, on any machine and from anybody, and reading runs nothing. What is
inherited and computed is in the configs. ``comparisons`` and ``alone`` are read by :mod:`rethink.configs.comparisons`.
"""

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..configs.comparisons import expression
from ..engine.launch import config_file
from ..errors import ConfigError, some_names
from ..reuse import located
from ..trust.yaml_files import entry, read_yaml
from .expressions import parse

_KEYS = dict(
    title=str, question=str, about=str, metric=str, seeds=list, factors=dict, options=dict, runs=dict, claims=dict,
    comparisons=list, alone=dict, gains=list, costs=list, figures=list, amp=bool,
)  # fmt: skip
_OF_A_RUN = dict(
    config=str, script=str, arguments=list, makes=str, options=dict, environment=dict, metric=str, once=bool,
    after=list,
)  # fmt: skip
_NAME = re.compile(r'\{(\w+)(?::([^{}]*))?\}')
# What a run leaves to those after it: {checkpoint:NAME} in an option or argument.
LEFT = ('checkpoint', 'backbone', 'work_dir')


@dataclass(frozen=True)
class Run:
    """One training, or one command of ``tools/``, for each seed.

    Args:
        name: with the factors put in, such as ``'scratch_r50_1x'``; also of its folder.
        pattern: of which the name is one; its placeholders are the factors.
        factors: placeholder -> value.
        config: path of what is trained; None for a command.
        script: of ``tools/``, with ``arguments``; None for a training.
        makes: the file that a command writes last.
        options: overrides of the config; a name may also be one of :data:`rethink.studies.axes.NAMED`.
        environment: variables that the config reads.
        metric: by which it is compared, as the log names it.
        once: for all seeds.
        after: names of runs that must be finished before, beside those whose results it names.
    """

    name: str
    pattern: str
    factors: Mapping[str, str]
    config: str | None = None
    script: str | None = None
    arguments: tuple[str, ...] = ()
    makes: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    metric: str = ''
    once: bool = False
    after: tuple[str, ...] = ()

    def arm(self, *without: str) -> str:
        """The name without the values of these factors: ``'scratch_r50'`` of ``'scratch_r50_6x'`` without length."""
        text = _NAME.sub(lambda found: '' if found[1] in without else self.factors[found[1]], self.pattern)
        return re.sub(r'(?<=[_-])[_-]+', '', text).strip('_-') or self.metric

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the runs that must be finished before."""
        texts = [*self.options.values(), *self.environment.values(), *self.arguments]
        holes = [hole for text in texts for hole in _NAME.finditer(text)]
        return tuple(dict.fromkeys([*(hole[2] for hole in holes if hole[1] in LEFT and hole[2]), *self.after]))


@dataclass(frozen=True)
class Asked:
    """A picture of results against a number.

    Args:
        x: the factors along the axis, whose values are numbers with or without a unit: 6x, 72e, 35k, 0.1.
        panel: the factor of the panels; every other factor makes a line.
        metric: another than that of the runs.
    """

    x: tuple[str, ...]
    panel: str = ''
    metric: str = ''


@dataclass(frozen=True)
class Study:
    """What a file declares; the arguments are its entries.

    Args:
        path: of the file.
        runs: in the order in which they are started.
        claims: sentence -> expression, see :mod:`rethink.studies.expressions`.
        gains: pairs of runs whose AP is compared class by class.
        costs: runs of which a training step is measured.
        figures: results against a number.
        amp: all trainings are in mixed precision.
    """

    path: Path
    title: str
    question: str
    about: str
    metric: str
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    claims: Mapping[str, str]
    gains: tuple[tuple[str, str], ...] = ()
    costs: tuple[str, ...] = ()
    figures: tuple[Asked, ...] = ()
    amp: bool = False

    @property
    def name(self) -> str:
        stem = self.path.stem.removeprefix('study').lstrip('_')
        return f'{self.path.parent.name}_{stem}' if stem else self.path.parent.name

    def run(self, name: str) -> Run:
        """
        Raises:
            ConfigError: there is none of this name.
        """
        for run in self.runs:
            if run.name == name:
                return run
        known = [run.name for run in self.runs]
        raise ConfigError(f'{self.path} has no run {name}; its runs are {some_names(known)}.')


def read(path: str | os.PathLike) -> Study:
    """Read a study file, or the one of a folder; ``rethink::PATH`` is one of this project's.

    Raises:
        ConfigError: it is none, an entry is unknown or of another kind than it should be, a config is missing, or a
            run needs one that is not there.
    """
    path = located(path)
    if path.is_dir():
        found = sorted(path.glob('study*.yml'))
        if len(found) != 1:
            what = f'has {some_names([file.name for file in found])}' if found else 'has no study.yml'
            raise ConfigError(f'{path} {what}; name the file of one study.')
        (path,) = found
    content = read_yaml(path, 'study')
    _check_keys(content, _KEYS, str(path))
    for key in ('question', 'metric', 'runs'):
        entry(content, key, _KEYS[key], str(path))
    seeds = content.get('seeds', [0])
    if not seeds or not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds):
        raise ConfigError(f'{path}: seeds are {seeds!r}, and are to be whole numbers, at least one.')
    factors = _factors(content.get('factors', {}), path)
    runs: dict[str, Run] = {}
    for pattern, spec in content['runs'].items():
        where = f'{path}, runs, {pattern}'
        spec = spec or {}
        if not isinstance(spec, dict):
            raise ConfigError(f'{where} is {spec!r:.60}, and should be a dict, {{}} for the config of this name.')
        _check_keys(spec, _OF_A_RUN, where)
        for run, by_name in _runs(str(pattern), spec, factors, content, path, where):
            if run.name in runs and by_name:  # the first pattern that fits a config holds
                continue
            if run.name in runs:
                raise ConfigError(f'{path} has the run {run.name} twice; change one of the two patterns.')
            runs[run.name] = run
    study = Study(
        path,
        title=content.get('title', content['question']),
        question=content['question'],
        about=content.get('about', ''),
        metric=content['metric'],
        seeds=tuple(dict.fromkeys(seeds)),
        runs=tuple(runs.values()),
        claims=_claims(content.get('claims', {}), factors, path),
        gains=tuple(_pairs_of_gains(content.get('gains', []), factors, path)),
        costs=tuple(name for text in content.get('costs', []) for name in _expanded(str(text), factors)),
        figures=tuple(_figures(content.get('figures', []), runs.values(), path)),
        amp=content.get('amp', False),
    )
    for name in [*study.costs, *(name for pair in study.gains for name in pair)]:
        study.run(name)
    for text in study.claims.values():
        parse(text, study)
    for run in study.runs:
        for name in run.needs:
            if name not in runs:
                raise ConfigError(f'{path}: {run.name} comes after {name}, which is none of the runs.')
    return study


def _check_keys(content: dict, known: dict, where: str) -> None:
    for key, value in content.items():
        if key not in known:
            raise ConfigError(f'{where} has {key!r}, which means nothing there; entries are {", ".join(known)}.')
        if not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is not bool):
            raise ConfigError(f'{where}: {key} is {value!r:.60}, and should be of the kind {_kind(known[key])}.')


def _kind(kinds: type | tuple[type, ...]) -> str:
    return ' or '.join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


def _text(value) -> str:
    """An override as it is written on a command line: Python's, not YAML's."""
    return value if isinstance(value, str) else repr(value).replace(' ', '')


def _factors(declared: dict, path: Path) -> dict[str, dict[str, dict]]:
    """Factor -> value -> overrides; of a list of values, none."""
    found = {}
    for name, values in declared.items():
        values = values if isinstance(values, dict) else dict.fromkeys(values if isinstance(values, list) else [])
        if not values or not all(isinstance(options, dict | None) for options in values.values()):
            raise ConfigError(
                f'{path}: the factor {name} is to be a list of values, or a dict of values with the overrides of each.'
            )
        found[str(name)] = {str(value): options or {} for value, options in values.items()}
    return found


def _put(text: str, chosen: Mapping[str, str]) -> str:
    """Text with the values of factors in place of their names."""
    return _NAME.sub(lambda found: chosen.get(found[1], found[0]) if found[2] is None else found[0], text)


def _chosen(texts: list[str], factors: dict) -> Iterator[dict[str, str]]:
    """Every combination of the factors that are named in some text, the first of them varying slowest."""
    named = {found[1] for text in texts for found in _NAME.finditer(text)}
    used = [name for name in factors if name in named]
    for values in itertools.product(*(factors[name] for name in used)):
        yield dict(zip(used, values, strict=True))


def _expanded(text: str, factors: dict) -> list[str]:
    return [_put(text, chosen) for chosen in _chosen([text], factors)]


def _runs(
    pattern: str, spec: dict, factors: dict, content: dict, path: Path, where: str
) -> Iterator[tuple[Run, bool]]:
    """The runs of a pattern, and whether each was found by the name of a config."""
    for chosen in _chosen([pattern], factors):
        name = _put(pattern, chosen)
        # What is left are placeholders for parts of the names of the configs that are there.
        of_names = [found for found in _NAME.finditer(name) if found[1] not in LEFT]
        if not of_names:
            yield _run(name, pattern, chosen, spec, factors, content, path, where), False
            continue
        names = sorted(file.stem for file in path.parent.glob('*.py'))
        found = [(one, match) for one in names if (match := expression(name, {}).fullmatch(one))]
        if not found:
            raise ConfigError(f'{where} fits no config of {path.parent}, and {of_names[0][0]} is no factor.')
        for one, match in found:
            yield _run(one, pattern, chosen | match.groupdict(), spec, factors, content, path, where), True


def _run(
    name: str, pattern: str, chosen: dict, spec: dict, factors: dict, content: dict, path: Path, where: str
) -> Run:
    options: dict = {} if 'script' in spec else dict(content.get('options', {}))
    for factor, value in chosen.items():
        options |= factors.get(factor, {}).get(value, {})
    options |= spec.get('options', {})
    written = {str(key): _put(_text(value), chosen) for key, value in options.items()}
    after = tuple(_put(str(one), chosen) for one in spec.get('after', []))
    metric, once = spec.get('metric', content['metric']), spec.get('once', False)
    environment = {str(key): _put(_text(value), chosen) for key, value in spec.get('environment', {}).items()}
    rest = dict(pattern=pattern, factors=chosen, environment=environment, metric=metric, once=once, after=after)
    if 'script' in spec:
        if 'makes' not in spec or 'config' in spec:
            raise ConfigError(f'{where} is a command: it says what it makes, and has no config.')
        arguments = tuple(_put(str(one), chosen) for one in spec.get('arguments', []))
        arguments += ('--cfg-options', *(f'{key}={value}' for key, value in written.items())) if written else ()
        return Run(name, script=spec['script'], arguments=arguments, makes=_put(spec['makes'], chosen), **rest)
    if 'makes' in spec or 'arguments' in spec:
        raise ConfigError(f'{where} is a training: makes and arguments are of a command, which has a script.')
    config = _put(spec.get('config', name), chosen)
    config += '' if config.endswith('.py') else '.py'
    beside = path.parent / config
    # Else as tools/train.py takes it: a path, or a name within a package.
    file = str(beside) if beside.is_file() else config_file(config)
    if not os.path.isfile(file):
        raise ConfigError(f'{where}: there is no config {beside}; write it, or name another with `config`.')
    return Run(name, config=file, options=written, **rest)


def _claims(declared: dict, factors: dict, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for sentence, text in declared.items():
        if not isinstance(text, str):
            raise ConfigError(f'{path}: the claim {sentence!r} is {text!r:.60}, and should be an expression.')
        for chosen in _chosen([text], factors):
            said = _put(str(sentence), chosen)
            if said in found:
                raise ConfigError(f'{path} claims twice that {said}; put what the two differ in into the sentence.')
            found[said] = _put(text, chosen)
    return found


def _pairs_of_gains(declared: list, factors: dict, path: Path) -> Iterator[tuple[str, str]]:
    for pair in declared:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ConfigError(f'{path}: gains has {pair!r:.60}, and is a list of pairs of runs.')
        for chosen in _chosen([str(one) for one in pair], factors):
            yield tuple(_put(str(one), chosen) for one in pair)


def _figures(declared: list, runs: Iterable[Run], path: Path) -> Iterator[Asked]:
    known = {name for run in runs for name in run.factors}
    for spec in declared:
        if not isinstance(spec, dict) or not spec.get('x'):
            raise ConfigError(f'{path}: figures has {spec!r:.60}, and is a list of dicts with an x.')
        _check_keys(spec, dict(x=(str, list), panel=str, metric=str), f'{path}, figures')
        x = tuple(map(str, spec['x'])) if isinstance(spec['x'], list) else (spec['x'],)
        for name in (*x, spec.get('panel') or x[0]):
            if name not in known:
                raise ConfigError(f'{path}, figures: no run has the factor {name}; factors are {some_names(known)}.')
        yield Asked(**spec | dict(x=x))
