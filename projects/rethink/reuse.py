"""This project's configs as the base of configs elsewhere: ``_base_ = 'rethink::rethink/scratch_r50_gn_6x.py'``."""

from pathlib import Path

PREFIX = 'rethink::'


def config_path(name: str) -> str:
    """Absolute path of one of this project's configs, for ``_base_`` in another repository.

    Args:
        name: path below ``configs/``, such as ``'rethink/scratch_r50_gn_6x.py'``.

    Raises:
        FileNotFoundError: there is no such config.
    """
    package = Path(__file__).resolve().parent
    installed = package / '.mim' / 'configs'
    root = installed if installed.is_dir() else package.parents[1] / 'configs'
    path = root / name
    if not path.is_file():
        raise FileNotFoundError(f'rethink has no config {name!r} in {root}; name one by its path below that folder.')
    return str(path)


def install() -> None:
    """Make ``rethink::…`` a name of our configs for MMEngine, in ``_base_`` and in ``mmengine.hub.get_config``.

    MMEngine has a list of packages whose configs it finds. Being on it is enough for ``get_config``. In ``_base_`` it
    would mark what it inherits as modules of our scope, in which MMDetection's are not found, and its original release
    looks for packages with a module that setuptools no longer has; there the name stands for the path.
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
