"""``--cfg-options KEY=VALUE …``, as MMEngine reads them, and a sentence for what is none."""

from argparse import Action
from collections.abc import Iterable

from mmengine.config import DictAction

from ..errors import ConfigError


def parse_options(options: Iterable[str]) -> dict:
    """``KEY=VALUE`` strings by key, values as MMEngine's ``DictAction`` reads them.

    Raises:
        ConfigError: one of them is not of that form, or has a bracket without the other.
    """
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
            found[key] = DictAction._parse_iterable(value)
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
