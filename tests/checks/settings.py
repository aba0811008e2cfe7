"""A detector whose settings the tests of the rules change: what a rule finds, and what is right."""

import copy
import functools
from pathlib import Path
from tempfile import mkdtemp

from conftest import write_coco, write_detector
from mmengine.config import Config
from rethink import checks

SETTINGS = ('unused', 'ignored', 'intervals', 'recipe', 'loaders', 'levels', 'validation')


@functools.cache
def _text(more: str) -> str:
    folder = Path(mkdtemp())
    return str(write_detector(folder / 'config.py', write_coco(folder), more))


def findings(options: dict | None = None, more: str = '') -> list[tuple[str, checks.Finding]]:
    """Rules of settings and what they find in the tiny detector with overrides and lines at its end."""
    cfg = Config.fromfile(_text(more))
    cfg.merge_from_dict(copy.deepcopy(options or {}))  # it takes _delete_ out of them
    facts = checks.Facts(cfg)
    rules = {name: find for name, (find, _) in checks.RULES.items() if find.__module__.rsplit('.', 1)[-1] in SETTINGS}
    return [(name, one) for name, find in rules.items() for one in find(facts)]


def check(rule: str, options: dict | None, level: str, says: str, more: str = '') -> None:
    """The rule alone speaks, and says that."""
    found = findings(options, more)
    assert [name for name, _ in found] == [rule], found
    (one,) = [one for _, one in found]
    assert one.level == level and says in f'{one.what} {one.why} {one.fix}', one
    assert one.what.endswith('.') and one.fix
    assert checks.RULES[rule][1] or one.why.endswith('.') and one.source


def right(options: dict | None = None, more: str = '') -> None:
    assert not findings(options, more)
