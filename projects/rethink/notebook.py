"""Commands of rethink in a notebook: what one prints stands below its cell, and its failure is the cell's.

    from functools import partial
    from rethink import notebook

    rethink = partial(notebook.run, folder='work')
    rethink('study', 'run', 'mine')

What IPython has for commands, ``!`` and ``%run``, goes on where one has failed. Here each is a process of its own, in
the environment of the notebook's kernel, whose packages this imports none of.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

# A bar of tqdm, in a file a line of its own each time.
_PROGRESS = re.compile(r'\d%\s?\|')
# Columns that tables get, as a cell is wide on a small screen.
_WIDE = 110


class CommandFailed(RuntimeError):
    """The sentence with which a command has ended, for which a notebook need show no traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it."""
        return [f'error: {self}']


def run(*arguments: object, folder: str | Path = '.', codes: Collection[int] = (0,)) -> None:
    """Run ``rethink ARGUMENTS`` and show what it prints as it comes; of a progress bar the last state.

    Interrupting the cell is Ctrl-C for the command, whose end is awaited: a study that was stopped so goes on when the
    cell is run again.

    Args:
        arguments: the command, and what stands behind it; numbers and paths are written out.
        folder: where it runs, made where it is not there; relative paths are below it.
        codes: the exit codes with which it has not failed.

    Raises:
        CommandFailed: it ended with another one; with its last sentence, where that is an error's.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-u', '-m', 'rethink', *map(str, arguments)]
    # In a session of its own, so that a signal to the kernel's group does not stop it a second time, which would be at
    # once and without a report.
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={'COLUMNS': str(_WIDE)} | os.environ | {'PYTHONIOENCODING': 'utf-8'},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding='utf-8',
        errors='replace',
        start_new_session=True,
    )
    lines, shown = _Lines(), False
    while not shown:
        try:
            for line in process.stdout:
                lines.show(line)
            shown = True
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
    code = process.wait()
    if code in codes:
        lines.end()
        return
    name = ' '.join(['rethink', *map(str, arguments[:1])])
    how = f'exit code {code}' if code >= 0 else f'signal {-code}'
    raise CommandFailed(lines.error or f'{name} ended with {how}; above is what it said.')


class _Lines:
    """The lines of a command, below the cell: text is printed, a bar is shown in the place of the one before.

    Attributes:
        error: the sentence of the last line, where it is an error's; it is not printed before it is known to be none.
    """

    def __init__(self) -> None:
        self.bar, self.error = None, ''

    def show(self, line: str) -> None:
        from IPython.display import display  # of the kernel, and needed nowhere else

        self.end()
        line = line.rstrip()
        if line.startswith('error: '):
            self.error = line.removeprefix('error: ')
        elif not _PROGRESS.search(line):
            print(line, flush=True)
        elif self.bar:
            self.bar.update({'text/plain': line}, raw=True)
        else:
            self.bar = display({'text/plain': line}, raw=True, display_id=True)

    def end(self) -> None:
        """Print what was held back."""
        if self.error:
            print(f'error: {self.error}', flush=True)
        self.error = ''
