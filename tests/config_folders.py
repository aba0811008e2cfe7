"""Where MMEngine puts the copies of a config that it reads."""

import os
import tempfile
from functools import partial
from types import SimpleNamespace

import mmengine.config.config


def keep_in_memory() -> None:
    """Have MMEngine write them to memory, where the system has files there.

    It copies each file of a config into a folder of its own before it reads it, ten of them for one of ours; the tests
    read some thousand, and a disk that is slow to remove a folder makes them wait for more than the reading takes.
    """
    memory = '/dev/shm'
    if os.access(memory, os.W_OK):
        mmengine.config.config.tempfile = SimpleNamespace(
            TemporaryDirectory=partial(tempfile.TemporaryDirectory, dir=memory),
            NamedTemporaryFile=tempfile.NamedTemporaryFile,
        )
