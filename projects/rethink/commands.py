"""``rethink COMMAND ARGUMENTS``: the scripts of ``tools/``, from any folder; ``python -m rethink`` is the same.

    rethink                                                 what there is
    rethink train rethink::shapes/scratch_r18_gn_1x.py      tools/train.py
    rethink check my_config.py --gpus 8                     tools/misc/check_config.py
    rethink dist_train my_config.py 8                       tools/dist_train.sh, by bash
    rethink run browse_dataset CONFIG                       a script of MMDetection (rethink.run)

A command is its script: the one of this checkout, or the one that the wheel carries, executed in this process, so that
arguments, exit codes and signals are those of ``python tools/…``. Importing this imports nothing large.
"""

import ast
import difflib
import os
import shutil
import sys
import textwrap
from pathlib import Path

from . import run
from .arguments import run as quietly
from .errors import ConfigError
from .reuse import COMMANDS, config_folder
from .version import with_commit

# Folder of tools/ -> what it is for, in the order of the list.
GROUPS = {
    '': 'train, test, compare',
    'misc': 'configs, data and weights',
    'analysis_tools': 'results and costs',
    'dataset_converters': 'data sets',
    'model_converters': 'weights of others',
}


def scripts() -> dict[str, Path]:
    """Path below ``tools/`` -> file of each tool; what ``launcher.sh`` and ``launcher.py`` do is a part of others.

    Raises:
        ConfigError: they are not there.
    """
    root = run.folder('rethink')
    if root is None:
        raise ConfigError(
            f'there are no tools beside {Path(__file__).parent}; install the wheel, or the checkout by pip install -e.'
        )
    paths = sorted(path for path in root.rglob('*') if path.suffix in ('.py', '.sh') and path.stem != 'launcher')
    return {path.relative_to(root).as_posix(): path for path in sorted(paths, key=lambda one: one.suffix)}


def names(script: str) -> list[str]:
    """By what a script is called, the usual name first: ``['check', 'check_config']``."""
    stem = Path(script).stem
    return [COMMANDS[stem], stem] if stem in COMMANDS else [stem]


def find(name: str) -> Path:
    """The script of a command; ``check-config`` and ``check_config.py`` are ``check_config``.

    Raises:
        ConfigError: there is none; with the nearest names.
    """
    known = {one: path for script, path in scripts().items() for one in names(script)}
    wanted = name.replace('-', '_').removesuffix('.py').removesuffix('.sh')
    if wanted in known:
        return known[wanted]
    near = [one for one in known if wanted and (wanted in one or one in wanted)]
    near = list(dict.fromkeys([*difflib.get_close_matches(wanted, known, 3, 0.6), *near]))[:4]
    nearest = f'the nearest {"is" if len(near) == 1 else "are"} {", ".join(near)}; ' if near else ''
    raise ConfigError(f'there is no command {name!r}; {nearest}rethink --help lists all.')


def first_line(path: Path) -> str:
    """What a script says of itself: the first line of its docstring, or of its comments."""
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.py':
        return (ast.get_docstring(ast.parse(text)) or '').partition('\n')[0]
    return next((line[2:] for line in text.splitlines() if line.startswith('# ')), '')


def listing() -> str:
    """All commands with what they do, by the folder of the script."""
    wide = min(shutil.get_terminal_size((119, 24)).columns, 119)
    lines = ['rethink COMMAND ARGUMENTS: a script of tools/; rethink COMMAND --help has its arguments and an example.']
    by_folder: dict[str, list[tuple[str, Path]]] = {}
    for script, path in scripts().items():
        by_folder.setdefault(script.rpartition('/')[0], []).append((', '.join(names(script)), path))
    order = list(GROUPS)
    for folder in sorted(by_folder, key=lambda one: (order.index(one) if one in order else len(order), one)):
        lines += ['', GROUPS.get(folder, folder)]
        for called, path in by_folder[folder]:
            lines += _row(called, first_line(path), wide)
    lines += ['', "MMDetection's own", *_row('run', run.__doc__.partition('\n')[0], wide), '']
    lines.append(f'Configs are in {config_folder()}; each is named as rethink::rethink/scratch_r50_gn_6x.py is.')
    return '\n'.join(lines)


def _row(called: str, text: str, wide: int) -> list[str]:
    return textwrap.wrap(
        text or '.', wide, initial_indent=f'  {called:23} ', subsequent_indent=' ' * 26, break_on_hyphens=False
    )


def _execute(path: Path, given: list[str]) -> None:
    if path.suffix == '.py':
        run.execute(path, given)
        return
    # The interpreter that this is, where nobody has named another.
    os.environ.setdefault('PYTHON', sys.executable)
    sys.stdout.flush()
    try:
        os.execvp('bash', ['bash', str(path), *given])
    except FileNotFoundError:
        raise ConfigError(f'{path.name} is a script of bash, which is not on this machine; install it.') from None


def main() -> None:
    """The console script ``rethink``."""
    given = sys.argv[1:]
    with run.one_sentence():
        if not given or given[0] in ('-h', '--help', 'help'):
            quietly(lambda: print(listing()))
        elif given[0] in ('-V', '--version'):
            print(f'rethink {with_commit()}, {Path(__file__).parent}')
        elif given[0] == 'run':
            run.main(given[1:])
        elif given[0].startswith('-'):
            raise ConfigError(f'{given[0]} is of no command; name one first, as in rethink train {given[0]}.')
        else:
            _execute(find(given[0]), given[1:])
