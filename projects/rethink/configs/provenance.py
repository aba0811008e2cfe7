"""Where each value of a config comes from: file and line in the chain of ``_base_``.

What a config resolves to is MMEngine's answer (``Config.fromfile``). Beside it the files of the chain are executed
once more with containers that remember their lines (:mod:`.trace`). A place is given only where this gives
MMEngine's value.

* A value that a variable brings is placed where the variable is assigned, one of a comprehension at the entry in it.
* Overrides of ``--cfg-options`` are placed on the command line.
* Configs of the ``read_base`` kind are not executed again (:mod:`rethink.config_lines`): a value is placed at the last
  statement of the chain that writes it by name, which a value that travels through variables can escape.
* JSON, YAML and the text within a checkpoint give the file alone.
"""

import functools
import os
from pathlib import Path

from mmengine.config import Config

from ..config_lines import COMMAND_LINE, Origin, Path_, read_base_places
from ..engine.launch import config_file, override, read_config
from ..errors import ConfigError
from ..trust.checkpoints import read_content
from ..trust.dumped import literal_config, read_dumped, trained_with
from .trace import Trace, locate


class ResolvedConfig:
    """A config with all its values, and where each comes from.

    Attributes:
        name: what the user called it; of a work directory, the file in it.
        file: the file that was read, or the checkpoint that has the config within.
        values: plain dicts, lists, tuples and values, as MMEngine resolves them.
        uses: for each variable of the files the paths that are made from it.
        config: MMEngine's object.
        options: the overrides, as of ``--cfg-options``.
    """

    def __init__(self, name: str, file: str, config: Config, options: dict | None = None) -> None:
        self.name, self.file, self.config = name, file, config
        override(config, options, name)
        self.values = config.to_dict()
        self.options = options or {}
        self._overridden = [tuple(key.split('.')) for key in self.options]

    @functools.cached_property
    def _read_base(self) -> bool:
        return self.file.endswith('.py') and Config._is_lazy_import(self.file)

    @functools.cached_property
    def _trace(self) -> Trace | None:
        if self._read_base or not self.file.endswith('.py'):
            return None
        try:
            return Trace(self.file)
        # A config may do what the rewritten code does not follow; it has been read, and only its lines are unknown.
        except Exception:
            return None

    @functools.cached_property
    def _written(self) -> dict[Path_, Origin]:
        return read_base_places(os.path.abspath(self.file)) if self._read_base else {}

    @property
    def files(self) -> list[str]:
        """The files of the chain, bases first; of a config whose chain is not followed, its own."""
        return self._trace.files if self._trace else [self.file]

    @property
    def uses(self) -> dict[str, set[Path_]]:
        return self._trace.uses if self._trace else {}

    def origin(self, path: Path_) -> Origin:
        """The place of a value (of a dict: where it is put).

        Args:
            path: keys and indices, from the root.
        """
        words = tuple(map(str, path))
        if any(words[: len(option)] == option for option in self._overridden):
            return Origin(COMMAND_LINE, 0)
        if self._trace:
            tree, value = self._trace.tree, self.values
            try:
                place = locate(tree, path)
                for key in path:
                    tree, value = tree[key], value[key]
            except (KeyError, IndexError, TypeError):
                place = None
            if place and tree == value:
                return place
        for length in range(len(path), 0, -1):
            if path[:length] in self._written:
                return self._written[path[:length]]
        return Origin(os.path.abspath(self.file), 0)


def read(name: str, options: dict | None = None) -> ResolvedConfig:
    """Read a config by any of its names.

    Args:
        name: a config file; ``package::path`` of an installed package; a work directory, for the config that a
            training in it was last started with; or a checkpoint, for the config that it was trained with. The last
            two are read and not executed.
        options: overrides, as of ``--cfg-options``.

    Raises:
        ConfigError: there is no such file, package, dump or config in the checkpoint, or it cannot be read.
    """
    if '::' in name:
        file = config_file(name)
    elif os.path.isdir(name):
        name = _dump_of_training(Path(name))
        return ResolvedConfig(name, name, read_dumped(name), options)
    elif Path(name).suffix in ('.pth', '.pt', '.tar', '.ckpt'):
        return ResolvedConfig(name, name, _of_checkpoint(name), options)
    elif Path(name).suffix in ('.py', '.json', '.yml', '.yaml') or not os.path.exists(name):
        file = name
    else:
        raise ConfigError(f'{name} is no config (.py, .json, .yml), work directory or checkpoint (.pth); name one.')
    return ResolvedConfig(name, file, read_config(file, import_custom_modules=False), options)


def _dump_of_training(folder: Path) -> str:
    """The config that MMEngine wrote to a work directory when a training was last started in it."""
    beside = [*folder.glob('*.py')]
    own = folder / 'vis_data' / 'config.py'
    newest = trained_with(folder) or (own if own.is_file() else None)
    if newest is None and not beside:
        raise ConfigError(
            f'{folder} has no dumped config (NAME.py, or TIME/vis_data/config.py); name a work directory in which a '
            'training was started, or a config.'
        )
    if newest is None and len(beside) > 1:
        raise ConfigError(f'{folder} has {len(beside)} configs and no training was started in it; name one of them.')
    if newest is None:
        return str(beside[0])
    same = [path for path in beside if path.read_bytes() == newest.read_bytes()]
    return str(same[0] if same else newest)


def _of_checkpoint(path: str) -> Config:
    content = read_content(path, 'its config')
    meta = content.get('meta') if isinstance(content, dict) else None
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(
            f'the checkpoint {path} has no config within; name its work directory or the config it was trained with.'
        )
    try:
        return Config(literal_config(text))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f'the config within the checkpoint {path} is more than values ({error}).') from error
