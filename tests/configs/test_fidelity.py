"""docs/fidelity.md against the configs: each row of its tables names the value here and where it is read.

A row is ``| setting | source | there | here | read from | same |``. ``here`` is a Python value in backticks, or
`` `unset` `` for a key that the config does not have. ``read from`` is a config below ``configs`` and a dotted key as
``diff_configs.py --only`` takes it, with environment variables before it where the config reads any
(`` `HPT_DATASET=resisc45 hpt/freeze_r50_bn_linear_5ki.py: max_iters` ``); or, where the value is none of a config, the
test that has it, `` `tests/models/test_vgg.py::test_name` ``. ``same`` is ``yes`` or ``no: why``.
"""

import ast
import functools
import os
import re
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from mmengine.config import Config
from rethink.configs.diff import find
from rethink.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'fidelity.md'
HEADER = ['setting', 'source', 'there', 'here', 'read from', 'same']


class Row(NamedTuple):
    """The cells of a line of a table."""

    setting: str
    source: str
    there: str
    here: str
    read_from: str
    same: str


def rows(text: str) -> list[Row]:
    """The rows of all tables of a page whose first cell of the header is ``setting``."""
    found, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]] if line.startswith('|') else []
        if not cells or set(''.join(cells)) <= set('-: '):
            inside = inside and bool(cells)
        elif cells[0] == 'setting':
            assert cells == HEADER, line
            inside = True
        elif inside:
            assert len(cells) == len(HEADER), line
            found.append(Row(*cells))
    return found


def value(cell: str):
    """The Python value of a cell that is one text in backticks."""
    (text,) = re.fullmatch(r'`([^`]+)`', cell).groups()
    return text if text == 'unset' else ast.literal_eval(text)


@functools.cache
def load(name: str, variables: tuple) -> dict:
    with mock.patch.dict(os.environ, dict(variables)):
        return Config.fromfile(ROOT / 'configs' / name).to_dict()


def read(place: str):
    """The value that ``read from`` names, or ``'unset'``."""
    names, key = re.fullmatch(r'`((?:\w+=\S+ )*\S+\.py): (.+)`', place).groups()
    *variables, name = names.split(' ')
    found = values = load(name, tuple(tuple(one.split('=', 1)) for one in variables))
    try:
        path = find(values, key)
    except ConfigError:
        parent, _, last = key.rpartition('.')
        path, key = find(values, parent), last
        for part in path:
            found = found[part]
        assert isinstance(found, dict) and key not in found
        return 'unset'
    for part in path:
        found = found[part]
    return found


def exact(one) -> str:
    """A value with the types of its parts, so that 1 is not True and a list no tuple."""
    if isinstance(one, dict):
        return str({key: exact(one[key]) for key in sorted(one, key=str)})
    if isinstance(one, list | tuple):
        return type(one).__name__ + str([exact(part) for part in one])
    return repr(float(one) if type(one) is int else one)


ROWS = rows(PAGE.read_text())


def test_the_page_has_tables():
    assert len(ROWS) > 20


@pytest.mark.parametrize('row', ROWS, ids=[row.setting for row in ROWS])
def test_a_row_says_what_the_config_has(row):
    assert all(row), 'an empty cell'
    assert row.same == 'yes' or row.same.startswith('no: '), row.same
    named = re.fullmatch(r'`(tests/\S+\.py)::(\w+)`', row.read_from)
    if named:
        functions = ast.walk(ast.parse((ROOT / named[1]).read_text()))
        assert named[2] in {one.name for one in functions if isinstance(one, ast.FunctionDef)}, row.read_from
        return
    assert exact(read(row.read_from)) == exact(value(row.here)), row
    # The source's value in the same form is compared as well.
    if re.fullmatch(r'`[^`]+`', row.there):
        assert (exact(value(row.there)) == exact(value(row.here))) == (row.same == 'yes'), row


@pytest.mark.parametrize(
    ('line', 'wrong'),
    [
        ('| a | b | `0.02` | `0.02` | `rethink/scratch_r50_gn_2x.py: optim_wrapper.optimizer.lr` | yes |', False),
        ('| a | b | `0.02` | `0.03` | `rethink/scratch_r50_gn_2x.py: optim_wrapper.optimizer.lr` | no: w |', True),
        ('| a | b | `0.03` | `0.02` | `rethink/scratch_r50_gn_2x.py: optim_wrapper.optimizer.lr` | yes |', True),
        ('| a | b | c | `0.02` | `rethink/scratch_r50_gn_2x.py: optim_wrapper.optimizer.lt` | yes |', True),
        ('| a | b | c | `unset` | `rethink/scratch_r50_gn_2x.py: optim_wrapper.optimizer.nesterov` | yes |', False),
        ('| a | b | c | `unset` | `rethink/scratch_r50_gn_2x.py: optim_wrapper.optimizer.lr` | yes |', True),
        ('| a | b | c | 3 | `tests/configs/test_fidelity.py::no_such_test` | yes |', True),
        ('| a | b | c | 3 | `tests/configs/test_fidelity.py::test_the_page_has_tables` | maybe |', True),
    ],
)
def test_a_row_that_is_wrong_fails(line, wrong):
    (row,) = rows(f'| {" | ".join(HEADER)} |\n| --- | --- | --- | --- | --- | --- |\n{line}')
    if wrong:
        with pytest.raises(AssertionError):
            test_a_row_says_what_the_config_has(row)
    else:
        test_a_row_says_what_the_config_has(row)
