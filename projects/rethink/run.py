"""Run a script with rethink imported first: ``python -m rethink.run TOOL ARGUMENTS``.

    python -m rethink.run                                                   what there is
    python -m rethink.run confusion_matrix.py CONFIG found.pkl out          a script of MMDetection, by its name
    python -m rethink.run mmdet::analysis_tools/browse_dataset.py CONFIG    by its package and its path
    python -m rethink.run my/script.py …                                    any file

MMDetection's scripts import mmcv's compiled ops, which a pip-installed mmcv does not have; with rethink they are there
(:mod:`rethink.ops`), files of weights run no code (:mod:`rethink.trust`), what our configs name is registered, values
of ``--cfg-options`` keep their spaces, and a config may be given as ``rethink::rethink/scratch_r50_gn_6x.py``. A
script is executed where it is, as ``python SCRIPT ARGUMENTS`` does it. Of a name that several have, ours is taken, and
that is said.
"""

import contextlib
import os
import runpy
import sys
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from .arguments import run as quietly
from .errors import ConfigError
from .on_import import when_imported

PACKAGES = ('rethink', 'mmdet', 'mmpretrain')


def folder(package: str) -> Path | None:
    """Where the tools of a package are: within it, as of an installed one, or beside it, as in its repository."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    inner = Path(spec.submodule_search_locations[0]).resolve()
    found = [inner / '.mim' / 'tools', (inner.parents[1] if package == 'rethink' else inner.parent) / 'tools']
    return next((one for one in found if one.is_dir()), None)


def tools() -> dict[str, dict[str, Path]]:
    """Package -> path below its folder of tools, such as ``'analysis_tools/get_flops.py'`` -> file; ours first."""
    found = {}
    for package in PACKAGES:
        root = folder(package)
        paths = sorted(root.rglob('*.py')) if root else ()
        found[package] = {path.relative_to(root).as_posix(): path for path in paths}
    return found


def find(name: str) -> tuple[Path, list[str]]:
    """The script that is meant, and the others that have its name, as one would name them.

    Args:
        name: a file; a name (``get_flops`` or ``get_flops.py``), a path below a folder of tools, or ``package::path``.

    Raises:
        ConfigError: there is none.
    """
    known = tools()
    wanted = name if name.endswith('.py') else f'{name}.py'
    package, of_package, path = wanted.partition('::')
    named = [
        (f'{one}::{below}', file)
        for one, files in known.items()
        for below, file in sorted(files.items(), key=lambda item: (item[0].count('/'), item[0]))
        if (not of_package and f'/{below}'.endswith(f'/{wanted}')) or (one, below) == (package, path)
    ]
    if os.path.isfile(name):
        return Path(name), [one for one, file in named if not os.path.samefile(file, name)]
    if not named:
        raise ConfigError(
            f'there is no script {name}, no file and no tool of {", ".join(one for one in known if known[one])}; '
            'python -m rethink.run lists what there is.'
        )
    return named[0][1], [one for one, _ in named[1:]]


def listing() -> str:
    """All tools, by where they come from."""
    parts = ['python -m rethink.run TOOL ARGUMENTS; TOOL is a file or one of these, by its name or its path:']
    for package, files in tools().items():
        if files:
            parts.append(f'\n{package}, in {folder(package)}')
        by_folder = {}
        for path in files:
            above, _, name = path.rpartition('/')
            by_folder.setdefault(above, []).append(name)
        for above, names in sorted(by_folder.items()):
            text = f'{above}/' if above else ''
            parts += textwrap.wrap(
                f'{text:24} {"  ".join(names)}', 119, initial_indent='  ', subsequent_indent=' ' * 27
            )
    return '\n'.join(parts)


def execute(script: Path, arguments: list[str]) -> None:
    """Run a script in this process, as ``python SCRIPT ARGUMENTS`` does it."""
    sys.argv = [str(script), *arguments]
    # With `python -P` there is no folder of the script on the path.
    if not getattr(sys.flags, 'safe_path', False):
        sys.path[0] = str(script.resolve().parent)
    runpy.run_path(str(script), run_name='__main__')


def _config_file(argument: str) -> str:
    """Of ``rethink::rethink/scratch_r50_gn_6x.py`` the file, which MMDetection's scripts do not know to find.

    Raises:
        ConfigError: there is no such config.
    """
    package, found, path = argument.partition('::')
    if package not in PACKAGES or not found or not path.endswith('.py'):
        return argument
    from .engine.launch import config_file

    return config_file(argument)


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Within, a wrong request ends with its sentence and exit code 2; with ``RETHINK_TRACEBACK`` as it was raised."""
    try:
        yield
    except ConfigError as error:
        if os.environ.get('RETHINK_TRACEBACK'):
            raise
        sys.stdout.flush()
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ('-h', '--help'):
        quietly(lambda: print(listing()))
        return
    with one_sentence():
        script, others = find(arguments[0])
        if others:
            print(f'{script}; of this name there is also {", ".join(others)}.', file=sys.stderr)
        when_imported('mmengine.config', 'rethink.configs.overrides:install')
        execute(script, [_config_file(one) for one in arguments[1:]])


if __name__ == '__main__':
    main(sys.argv[1:])
