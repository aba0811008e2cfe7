"""Files that a kill does not leave half-written."""

import os
from pathlib import Path


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Write a file so that a kill leaves either the old one or the new one: beside it, flushed, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same name each time: what a kill leaves is overwritten by the next save.
    half = path.with_name(f'.{path.name}.part')
    with open(half, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)
