"""What the name of a chain says: its steps, what each is trained on, and how."""

import re

from ...errors import ConfigError

_CHAIN = re.compile(r'T|B(\+S(-BN)?)?(\+T(-BN)?)?')
_DATA = dict(B='target', S='source', T='target')


def check_name(chain: str) -> None:
    """A name is one of a chain.

    Raises:
        ConfigError: it is not.
    """
    if not _CHAIN.fullmatch(chain):
        raise ConfigError(
            f'{chain!r} is no chain; chains are T, B, B+T, B+S and B+S+T, with -BN behind an S or T where BN alone is '
            'trained, as in B+T-BN.'
        )


def steps_of(chain: str) -> list[str]:
    """What is trained one after another: ``B+S+T-BN`` → ``B+S``, ``B+S+T-BN``; ``B`` and ``T`` are themselves."""
    parts = chain.split('+')
    return ['+'.join(parts[: end + 1]) for end in range(min(1, len(parts) - 1), len(parts))]


def kind_of(chain: str) -> str:
    """Of its last step: ``'scratch'``, ``'base'``, ``'bn'`` (BN alone is trained) or ``'statistics'`` (the base's)."""
    if chain.endswith('-BN'):
        return 'bn'
    return {'B': 'statistics', 'T': 'scratch'}.get(chain, 'base')


def data_of(chain: str) -> str:
    """Of its last step: ``'source'`` or ``'target'``."""
    return _DATA[chain.removesuffix('-BN')[-1]]
