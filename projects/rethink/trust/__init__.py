"""No file that is read runs code: what goes in place of PyTorch's, NumPy's and MMEngine's readers of pickles.

A pickle is a program, and ``torch.save`` writes pickles. :func:`install`, which importing rethink calls, puts guards
before every reader through which a file of weights, a checkpoint or data reaches MMEngine, MMDetection, MMPretrain and
timm, whoever calls it and with whatever arguments, as soon as the reader is imported:

=====================================  ================================================================================
``torch.load``                         only tensors, plain containers and MMEngine's logs, whatever ``weights_only`` is
                                       asked for; no text that MMEngine would execute as a config
``mmengine.load`` of ``.pkl``          only tensors, arrays and plain containers
``mmengine.load`` of ``.yml``          only YAML's own types, and tuples, which MMEngine's dumps have
``numpy.load``                         no arrays of objects, also with ``allow_pickle=True``
=====================================  ================================================================================

What is more is refused with the name of what it would call (:class:`rethink.errors.NotOnlyWeights`). A file that the
user trusts is named in ``--trust FILE`` or in the environment variable ``RETHINK_TRUST``, where folders may stand as
well; it is then read as without rethink.
"""

import argparse
import io
import os
from pathlib import Path

from ..errors import NotOnlyWeights
from ..on_import import when_imported

VARIABLE = 'RETHINK_TRUST'


class TrustAction(argparse.Action):
    """``--trust FILE``: add the file to ``RETHINK_TRUST``, where the processes that are started find it too."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        if not os.path.exists(values):
            parser.error(f'--trust {values}: there is no such file')
        before = filter(None, [os.environ.get(VARIABLE)])
        os.environ[VARIABLE] = os.pathsep.join([*before, os.path.abspath(values)])


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Give a tool that reads files of weights its ``--trust``."""
    parser.add_argument(
        '--trust',
        action=TrustAction,
        default=argparse.SUPPRESS,
        metavar='FILE',
        help='read this file, or all below this folder, even if that runs code within (docs/trust.md)',
    )


def _named() -> list[Path]:
    return [Path(path).resolve() for path in os.environ.get(VARIABLE, '').split(os.pathsep) if path]


def trusted(file) -> bool:
    """Whether the user has named a file, or a folder above it, in ``--trust`` or ``RETHINK_TRUST``.

    Args:
        file: a path, or an open file; one without a name, such as the bytes that a storage backend has read, is
            compared with the content of the files that are named.
    """
    named = _named()
    if not named:
        return False
    path = _path(file)
    if path is not None:
        path = Path(path).resolve()
        return any(path == one or one in path.parents for one in named)
    if not isinstance(file, io.BytesIO):
        return False
    content = file.getbuffer()
    files = [one for one in named if one.is_file() and one.stat().st_size == content.nbytes]
    return any(one.read_bytes() == content for one in files)


def _path(file) -> str | None:
    """The path of a file that is named or open; None where it has none."""
    if isinstance(file, str | os.PathLike):
        return os.path.expanduser(os.fspath(file))
    name = getattr(file, 'name', None)
    return name if isinstance(name, str) and os.path.exists(name) else None


def refused(file, wants: str, how: str = VARIABLE + '={} in the environment') -> NotOnlyWeights:
    """The error for a file that would run something when it is read.

    Args:
        wants: what, as in ``'asks for os.system'``.
        how: how to allow that, with ``{}`` for the file.
    """
    path = _path(file)
    return NotOnlyWeights(
        f'{path or "a file that was read into memory"} holds more than values: it {wants}, and reading it could run '
        f'any code; if you trust where it comes from, allow that with {how.replace("{}", path or "FILE")}.'
    )


def install() -> None:
    """Put the guards in place, each once and when what it guards is imported."""
    when_imported('numpy', 'rethink.trust.arrays:guard_numpy')
    when_imported('torch', 'rethink.trust.pickles:guard_torch')
    when_imported('mmengine', 'rethink.trust.handlers:guard_mmengine')
    when_imported('mmcv', 'rethink.trust.images:guard_mmcv')
    when_imported('mmdet.datasets.transforms', 'rethink.trust.images:guard_maps')
