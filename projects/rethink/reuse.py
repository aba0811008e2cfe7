"""This project elsewhere: its configs, as ``_base_ = 'rethink::rethink/scratch_r50_gn_6x.py'``, and its tools."""

import os
from pathlib import Path

PREFIX = 'rethink::'
# Whether this is a wheel's, which has the tools within, and not the checkout's.
INSTALLED = (Path(__file__).parent / '.mim' / 'tools').is_dir()
# Name of a script of tools/ -> its name as a command (rethink.commands), where that is another.
COMMANDS = dict(
    diff_configs='diff', check_config='check', check_data='data', print_config='print', export_config='export',
    fetch_weights='weights', image_demo='demo', learning_curves='curves', grid_search='grid',
)  # fmt: skip


def tool(script: str) -> str:
    """How a tool is called, for a sentence: ``python tools/train.py``, or ``rethink train`` of an installed wheel.

    Args:
        script: its path below ``tools/``, such as ``'misc/check_config.py'``.
    """
    path = Path(script)
    if INSTALLED:
        return f'rethink {COMMANDS.get(path.stem, path.stem)}'
    return f'{"python" if path.suffix == ".py" else "bash"} tools/{script}'


def config_folder() -> Path:
    """``configs/`` of the checkout, or that of an installed wheel."""
    package = Path(__file__).resolve().parent
    return package / '.mim' / 'configs' if INSTALLED else package.parents[1] / 'configs'


def config_path(name: str) -> str:
    """Absolute path of one of this project's configs, for ``_base_`` in another repository.

    Args:
        name: path below ``configs/``, such as ``'rethink/scratch_r50_gn_6x.py'``.

    Raises:
        FileNotFoundError: there is no such config.
    """
    root = config_folder()
    path = root / name
    if not path.is_file():
        raise FileNotFoundError(f'rethink has no config {name!r} in {root}; name one by its path below that folder.')
    return str(path)


def located(name: str | os.PathLike) -> Path:
    """What ``rethink::PATH`` names, a file or folder of ``configs/``; anything else is a path as it is."""
    text = os.fspath(name)
    return config_folder() / text.removeprefix(PREFIX) if text.startswith(PREFIX) else Path(text)


def install() -> None:
    """Make ``rethink::…`` a name of our configs for MMEngine, in ``_base_`` and in ``mmengine.hub.get_config``.

    MMEngine has a list of packages whose configs it finds. Being on it is enough for ``get_config``. In ``_base_`` it
    would mark what it inherits as modules of our scope, in which MMDetection's are not found, and its original release
    looks for packages with a module that setuptools no longer has; there the name stands for the path. The name on the
    list is that of the import, which MMEngine finds also where the distribution is not installed.
    """
    from mmengine.config import Config
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE['rethink'] = 'rethink'
    stock = Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            return config_path(cfg_path.removeprefix(PREFIX)), None
        return stock(cfg_path, filename)

    Config._get_cfg_path = staticmethod(get_cfg_path)
