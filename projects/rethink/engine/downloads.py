"""Files from the web that are whole or not there: resumed where a transfer broke off, and compared with their digest.

What has been received so far is beside its place under another name, ``.<name>.download``, with what the server calls
this version of the file (``.<name>.download.json``): the next start goes on from there where the server still has the
same, and begins anew where it has not. The file has its name once all of it is on the disk and its digest is right.
"""

import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

from ..errors import describe
from ..files import sha256, write_atomically
from ..version import __version__

# Attempts without a byte of progress, seconds between them and seconds without an answer.
TRIES, PAUSE, SILENCE = 4, 2.0, 60.0
_BLOCK = 1 << 18
_HASH = re.compile(r'-([0-9a-f]{8,64})\.[A-Za-z][\w.]*$')
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
# Answers that may be others a moment later.
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class NotFetched(Exception):
    """Why a file is not there, in one sentence."""


def name_of(url: str) -> str:
    """The name under which ``torch.hub`` keeps what it has downloaded: the last part of the path of an address."""
    return os.path.basename(urlparse(url).path)


def digest_in(name: str) -> str:
    """The first digits of the SHA-256 of a file that are in its name, as torchvision, timm and OpenMMLab write it.

    ``resnet50-0676ba61.pth`` has ``0676ba61``; ``vit-20220620.pth`` has a day, and none.
    """
    found = _HASH.search(name)
    return '' if found is None or re.fullmatch(r'20[012]\d[01]\d[0-3]\d', found[1]) else found[1]


def check_digest(path: Path, digest: str, url: str) -> str:
    """The SHA-256 of a file, which begins with ``digest``.

    Raises:
        NotFetched: it does not.
    """
    found = sha256(path)
    if not found.startswith(digest):
        raise NotFetched(
            f'{url} is not what its name says: its SHA-256 begins with {found[: len(digest)]} and not with {digest}; '
            'it was not kept. Ask who publishes it, or take it as it is with --any-hash.'
        )
    return found


def size(url: str) -> int | None:
    """Bytes of a file, as its server says; None where it does not, or does not answer."""
    try:
        with urllib.request.urlopen(_request(url, method='HEAD'), timeout=SILENCE) as answer:
            return _number(answer.headers.get('Content-Length'))
    except (OSError, http.client.HTTPException):
        return None


def fetch(
    url: str, path: Path, digest: str = '', progress: Callable[[int, int | None], object] = lambda *_: None
) -> str:
    """Download a file; its SHA-256.

    Args:
        digest: with which the SHA-256 begins; '' where that is not known.
        progress: called with the bytes that are here and those of the whole, where the server says them.

    Raises:
        NotFetched: it cannot be had, or is another than the digest says; what was received stays for the next time, in
            the first case.
        OSError: it cannot be written.
    """
    part, note = path.with_name(f'.{path.name}.download'), path.with_name(f'.{path.name}.download.json')
    path.parent.mkdir(parents=True, exist_ok=True)
    left = TRIES
    while left:
        before = _bytes(part)
        try:
            whole = _receive(url, part, note, progress)
            if whole is None or _bytes(part) == whole:
                break
            why = f'the connection ended at {_bytes(part):,} of {whole:,} bytes'
        except urllib.error.HTTPError as error:
            if error.code == 416:  # it is shorter now than what is here
                part.unlink(missing_ok=True)
            elif error.code not in _PASSING:
                raise NotFetched(f'{url} is not there: the server answers {error.code} {error.reason}.') from None
            why = f'the server answers {error.code} {error.reason}'
        except _BROKEN as error:
            reason = getattr(error, 'reason', None)
            why = describe(reason if isinstance(reason, BaseException) else error)
        left = TRIES if _bytes(part) > before else left - 1
        if left:
            time.sleep(PAUSE)
    else:
        kept = f'; {_bytes(part):,} bytes are kept for the next start' if _bytes(part) else ''
        raise NotFetched(f'{url} could not be fetched: {why}{kept}.')
    try:
        found = check_digest(part, digest, url)
        os.replace(part, path)
    finally:
        for one in (part, note):
            one.unlink(missing_ok=True)
    return found


def _request(url: str, **more) -> urllib.request.Request:
    try:
        return urllib.request.Request(url, headers={'User-Agent': f'rethink/{__version__}'}, **more)
    except ValueError as error:
        raise NotFetched(f'{url} is no address ({error}).') from None


def _receive(url: str, part: Path, note: Path, progress) -> int | None:
    """Append what is missing to the part, or write it anew; the bytes of the whole, where they are known."""
    request, here = _request(url), _bytes(part)
    version = _version(note, url) if here else None
    if version:
        request.add_header('Range', f'bytes={here}-')
        request.add_header('If-Range', version)
    with urllib.request.urlopen(request, timeout=SILENCE) as answer:
        going_on = answer.status == 206 and (answer.headers.get('Content-Range') or '').startswith(f'bytes {here}-')
        if answer.status == 206 and not going_on:
            raise http.client.HTTPException(f'asked for the bytes from {here}, it gives others')
        here = here if going_on else 0
        length = _number(answer.headers.get('Content-Length'))
        whole = None if length is None else here + length
        if not going_on:
            # A weak ETag is not for parts of a file.
            tags = [answer.headers.get('ETag') or '', answer.headers.get('Last-Modified') or '']
            tag = next((one for one in tags if one and not one.startswith('W/')), None)
            write_atomically(note, json.dumps(dict(url=url, version=tag)).encode())
        with open(part, 'ab' if going_on else 'wb') as file:
            progress(here, whole)
            while block := answer.read(_BLOCK):
                file.write(block)
                here += len(block)
                progress(here, whole)
            file.flush()
            os.fsync(file.fileno())
    return whole


def _version(note: Path, url: str) -> str | None:
    try:
        said = json.loads(note.read_text())
        return said['version'] if said['url'] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
