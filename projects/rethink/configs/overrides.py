"""``--cfg-options KEY=VALUE …``, as MMEngine reads them, and a sentence for what is none."""

import re
from argparse import Action
from collections.abc import Iterable

from ..errors import ConfigError

# DictAction takes all spaces away, those of paths as well. Those beside a comma or a bracket of a list stay without
# meaning; the others are put back.
_KEPT = '\x1f'
_INNER = re.compile(r'(?<![\s,\[(]) (?=\s*[^\s,\])])|(?<=[^\s,\[(]\s) (?=\s*[^\s,\])])')


# A comma separates; of a text that is quoted whole it is a part, which DictAction has no way to say.
_QUOTED = re.compile(r"""(['"])(?P<text>[^'"]*,[^'"]*)\1""")


def _spaces(value):
    if isinstance(value, list | tuple):
        return type(value)(map(_spaces, value))
    return value.replace(_KEPT, ' ') if isinstance(value, str) else value


def parse_options(options: Iterable[str]) -> dict:
    """``KEY=VALUE`` strings by key, values as MMEngine's ``DictAction`` reads them.

    A text with a comma is quoted: ``data_root="'/data/a,b/'"`` in a shell; without it is a list.

    Raises:
        ConfigError: one of them is not of that form, or has a bracket without the other.
    """
    from mmengine.config import DictAction

    found = {}
    for option in options:
        key, sign, value = option.partition('=')
        if not sign or not all(key.split('.')):
            raise ConfigError(f'the override {option!r} is not of the form KEY=VALUE, as in model.backbone.depth=50.')
        # DictAction fails at one, or takes the value as a text.
        if any(value.count(left) != value.count(right) for left, right in ('()', '[]')):
            raise ConfigError(
                f'the override {option!r} has a bracket without the other; a shell keeps what is between '
                'quotes together, as in KEY="[1, 2]".'
            )
        try:
            quoted = _QUOTED.fullmatch(value.strip())
            found[key] = (
                quoted['text'] if quoted else _spaces(DictAction._parse_iterable(_INNER.sub(_KEPT, value.strip())))
            )
        except (AssertionError, ValueError, RecursionError) as error:
            raise ConfigError(f'the override {option!r} cannot be read ({error}).') from None
    return found


class Overrides(Action):
    """For argparse, in place of ``DictAction``: :func:`parse_options`, several times on a line as well."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        try:
            setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **parse_options(values)})
        except ConfigError as error:
            parser.exit(2, f'error: {option_string}: {error}\n')


def install() -> None:
    """Let MMEngine's ``DictAction``, which other people's scripts have, do what :class:`Overrides` does."""
    from mmengine.config import DictAction

    DictAction.__call__ = Overrides.__call__
