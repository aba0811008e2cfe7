"""The version of the package, as MMDetection keeps its own, and the commit that it is at."""

import functools
import subprocess
from pathlib import Path

__version__ = '0.1.0'


@functools.cache
def with_commit() -> str:
    """``'0.1.0+8519a22c'``, and ``.dirty`` where the files are changed since; the version alone of an installed wheel.

    MMEngine's ``get_git_hash`` gives the commit of the folder in which the program was started.
    """

    def git(*arguments: str) -> str:
        command = ['git', '-C', str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # A wheel may be installed below a repository, which then does not know its files.
        git('ls-files', '--error-unmatch', Path(__file__).name)
        commit = git('describe', '--always', '--abbrev=8', '--exclude=*', '--dirty=.dirty')
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f'{__version__}+{commit}'
