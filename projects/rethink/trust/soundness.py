"""Whether a file of weights is what it says: a file that runs nothing may still be wrong.

:func:`check_file` looks at the file itself: that it is one, that its index and the sizes in it are possible, that its
bytes are those that were written. What is in it is looked at by :mod:`rethink.trust.tensors`.
"""

import contextlib
import os
import pickle
import stat
import zipfile
import zlib

from ..errors import ConfigError

_KINDS = (
    (stat.S_ISDIR, 'a folder'),
    (stat.S_ISFIFO, 'a FIFO'),
    (stat.S_ISSOCK, 'a socket'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
)


def other_than_file(path: str | os.PathLike) -> str | None:
    """What there is in place of a regular file ('does not exist', 'is a FIFO'); None where it is one.

    Nothing is opened: the first read of a FIFO or a device may never return.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return 'is a symbolic link to a file that does not exist' if os.path.islink(path) else 'does not exist'
    except (OSError, ValueError) as error:  # a link that leads to itself, a name that cannot be one
        return f'cannot be read ({getattr(error, "strerror", None) or error})'
    if stat.S_ISREG(mode):
        return None
    return f'is {next((name for test, name in _KINDS if test(mode)), "something else")} and not a file'


# How a file begins that is there in place of another, and what it is.
_PAGE = 'a web page in place of the file (a download that failed leaves such)'
_IN_PLACE = (
    (b'version https://git-lfs.github.com/spec/', 'left by Git LFS in place of the file (git lfs pull fetches it)'),
    (b'<!doctype html', _PAGE),
    (b'<html', _PAGE),
)


def in_place_of(path: str | os.PathLike) -> str | None:
    """What a file is that stands where weights, labels or an image should be; None where nothing tells."""
    with open(path, 'rb') as file:
        beginning = file.read(64).lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    return next((what for mark, what in _IN_PLACE if beginning.startswith(mark)), None)


def check_kind(path: str | os.PathLike, what: str) -> None:
    """There is a file, or nothing, which the one who reads it says; a FIFO or a device would be read for ever.

    Args:
        what: the file, for the sentence of an error.

    Raises:
        ConfigError: it is something else.
    """
    other = other_than_file(path) if os.path.exists(path) else None
    if other:
        raise ConfigError(f'{what} {path} {other}; name a file, or put it in its place.')


# What was looked at in this process: a training asks for the same checkpoint three times.
_sound: dict[tuple, bool] = {}


def check_file(path: str | os.PathLike, checksums: bool = True) -> None:
    """A file that ``torch.save`` wrote is whole and no larger in memory than on disk, as far as that is known unread.

    Files since PyTorch 1.6 are zip archives, whose index has the size of each record and its CRC-32. Older ones have
    sizes alone. A file that is neither passes: reading it says what it is. Each file is looked at once.

    Args:
        checksums: also compare the CRC-32s, which reads the file once (about 1 s for each GB). Files that were written
            without (``torch.serialization.set_crc32_options(False)``) have none.

    Raises:
        ConfigError: it is not a file, not whole, damaged, or would need more memory than it has bytes.
    """
    path = os.fspath(path)
    other = other_than_file(path)
    if other:
        raise ConfigError(f'the checkpoint {path} {other}; name one that is.')
    there = os.stat(path)
    key = (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns)
    if key in _sound and (_sound[key] or not checksums):
        return
    with open(path, 'rb') as file:
        start = file.read(4)
    left = in_place_of(path)
    if left:
        raise ConfigError(f'{path} is {left}.')
    try:
        if start == b'PK\x03\x04':
            _check_archive(path, there.st_size, checksums)
        else:
            _check_legacy(path, there.st_size)
    except OSError as error:
        raise ConfigError(f'{path} cannot be read ({error.strerror or error}); copy it again.') from error
    _sound[key] = checksums


def _damaged(path: str, what: str) -> ConfigError:
    return ConfigError(f'{path} is damaged: {what}; copy it again, or name another checkpoint.')


def _check_archive(path: str, size: int, checksums: bool) -> None:
    if not zipfile.is_zipfile(path):
        raise _damaged(path, 'the index at its end is missing, so it may be half-written')
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            names = [record.filename.partition('/')[2] for record in records]
            if 'constants.pkl' in names:  # a TorchScript program, whose code is compressed and which nothing reads
                return
            _check_index(path, size, records)
            pickled = next((one for one, name in zip(records, names, strict=True) if name == 'data.pkl'), None)
            if pickled is None:
                return
            if checksums:
                _check_sums(path, archive, records)
            with archive.open(pickled) as file:
                claimed = _storages(file)
            folder = pickled.filename.removesuffix('data.pkl')
            there = {record.filename: record.file_size for record in records}
            for name, wanted in claimed:
                found = there.get(f'{folder}data/{name}')
                if found is None or wanted > found:
                    has = 'is not there' if found is None else f'has {found}'
                    raise _damaged(path, f'a tensor needs {wanted} bytes of the record data/{name}, which {has}')
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, zlib.error) as error:
        if isinstance(error, ConfigError):
            raise
        raise _damaged(path, f'its index cannot be read ({str(error).rstrip(".")})') from None


def _check_index(path: str, size: int, records: list[zipfile.ZipInfo]) -> None:
    """Every record is stored as it is and lies within the file, and all of them together do."""
    for record in records:
        if record.compress_type != zipfile.ZIP_STORED:
            raise ConfigError(
                f'{path} has a compressed record ({record.filename}, {record.compress_size} bytes that become '
                f'{record.file_size}), which torch.save does not write and PyTorch cannot map; save it again with '
                'torch.save, if you trust where it comes from.'
            )
        if record.file_size != record.compress_size or record.header_offset + record.file_size > size:
            raise _damaged(
                path, f'its record {record.filename} is said to have {record.file_size} bytes, more than it'
            )
    if sum(record.file_size for record in records) > size:
        raise _damaged(path, 'its records overlap')


def _check_sums(path: str, archive: zipfile.ZipFile, records: list[zipfile.ZipInfo]) -> None:
    # Without checksums all are 0. A single record has that by chance once in four billion.
    if not any(record.CRC for record in records):
        return
    for record in records:
        try:
            with archive.open(record) as file:
                while file.read(1 << 20):
                    pass
        except zipfile.BadZipFile as error:
            raise _damaged(path, f'the checksum of its record {record.filename} is not that of its bytes') from error


# The first pickle of a file before PyTorch 1.6.
_MAGIC = 0x1950A86A20F9469CFC6C


def _check_legacy(path: str, size: int) -> None:
    """The storages of a file before PyTorch 1.6 fit into it."""
    with open(path, 'rb') as file:
        try:
            # A pickle of a plain number and nothing before it: files of anything else are left to PyTorch.
            if file.read(2) != b'\x80\x02' or file.read(1) != b'\x8a':
                return
            file.seek(0)
            if _Sizes(file).load() != _MAGIC:
                return
            for _ in range(2):  # version of the protocol, byte order and sizes of the system
                _Sizes(file).load()
            claimed = _storages(file)
        except Exception:  # cut off or garbled: reading it says so
            return
    total = sum(wanted for _, wanted in claimed)
    if total > size:
        raise _damaged(path, f'its tensors are said to have {total} bytes and the whole file has {size}')


class _Nothing:
    """In place of everything that a pickle names: takes any call and keeps nothing."""

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __init__(self, *args, **kwargs) -> None:
        pass

    def __setstate__(self, state) -> None:
        pass

    def __setitem__(self, key, value) -> None:
        pass

    def append(self, value) -> None:
        pass

    def extend(self, values) -> None:
        pass

    add = append


class _Sizes(pickle.Unpickler):
    """Reads a pickle of PyTorch without making anything of it, and notes the storages that its tensors ask for."""

    def __init__(self, file) -> None:
        super().__init__(file)
        self.claimed: dict[str, int] = {}

    def find_class(self, module: str, name: str):
        import torch

        # Of all that a file names, the numbers that a storage is of.
        with contextlib.suppress(KeyError):
            return torch.serialization.StorageType(name)
        return _Nothing

    def persistent_load(self, saved):
        import torch

        kind, storage, name, _, number = saved[:5]
        if kind == 'storage':
            dtype = getattr(storage, 'dtype', torch.uint8)  # an untyped one counts bytes
            size = torch.empty(0, dtype=dtype).element_size()
            self.claimed[str(name)] = max(self.claimed.get(str(name), 0), int(number) * size)
        return _Nothing()


def _storages(file) -> list[tuple[str, int]]:
    """Name and bytes of each storage that the pickle in a file asks for; none where it cannot be told."""
    sizes = _Sizes(file)
    try:
        sizes.load()
    except Exception:  # PyTorch says what is wrong with it
        return []
    return list(sizes.claimed.items())
