"""Downloads against a server on this machine: broken off, resumed, of another content, not there."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from rethink.engine import downloads
from rethink.engine.downloads import NotFetched, digest_in, fetch
from web_server import web_server

CONTENT = random.Random(0).randbytes(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(downloads, 'PAUSE', 0.0)
    with web_server() as served:
        yield served


def ranges(web) -> list[str | None]:
    return [asked[2] for asked in web.asked]


def test_a_file_and_nothing_else(web, tmp_path):
    seen = []
    url, path = web.put('a.pth', CONTENT), tmp_path / 'new' / 'a.pth'
    assert fetch(url, path, SHA256[:8], lambda *now: seen.append(now)) == SHA256
    assert path.read_bytes() == CONTENT and os.listdir(path.parent) == ['a.pth'] and len(web.asked) == 1
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)


def test_a_transfer_that_breaks_off_goes_on_where_it_was(web, tmp_path):
    url, path = web.put('a.pth', CONTENT), tmp_path / 'a.pth'
    web.cut['/a.pth'] = [1_000_000, 2_000_000]
    assert fetch(url, path) == SHA256 and path.read_bytes() == CONTENT
    assert ranges(web) == [None, 'bytes=1000000-', 'bytes=2000000-'] and os.listdir(tmp_path) == ['a.pth']


def test_of_a_server_without_parts_it_begins_anew(web, tmp_path):
    url, path = web.put('a.pth', CONTENT), tmp_path / 'a.pth'
    web.ranges, web.cut['/a.pth'] = False, [1_000_000, 2_000_000]
    assert fetch(url, path) == SHA256 and path.read_bytes() == CONTENT and len(web.asked) == 3


def test_what_is_given_up_is_kept_for_the_next_start(web, tmp_path):
    url, path = web.put('a.pth', CONTENT), tmp_path / 'a.pth'
    web.cut['/a.pth'] = [1_000_000] * downloads.TRIES + [1_000_000]
    with pytest.raises(NotFetched, match=r'fetched: .* 1,000,000 of 3,145,728 bytes; 1,000,000 by'):
        fetch(url, path)
    assert not path.exists()
    del web.cut['/a.pth'], web.asked[:]
    assert fetch(url, path) == SHA256 and path.read_bytes() == CONTENT and ranges(web) == ['bytes=1000000-']


def test_another_file_at_the_same_address_begins_anew(web, tmp_path):
    """The server says by its ETag that it is another: half of one and half of the other would be none."""
    url, path = web.put('a.pth', CONTENT[::-1]), tmp_path / 'a.pth'
    web.cut['/a.pth'] = [1_000_000] * (downloads.TRIES + 1)
    with pytest.raises(NotFetched):
        fetch(url, path)
    web.put('a.pth', CONTENT)
    del web.cut['/a.pth']
    assert fetch(url, path) == SHA256 and path.read_bytes() == CONTENT
    # And one that is shorter now than what is here.
    web.cut['/b.pth'] = [1_000_000] * (downloads.TRIES + 1)
    with pytest.raises(NotFetched):
        fetch(web.put('b.pth', CONTENT), tmp_path / 'b.pth')
    del web.cut['/b.pth']
    fetch(web.put('b.pth', b'short'), tmp_path / 'b.pth')
    assert (tmp_path / 'b.pth').read_bytes() == b'short' and sorted(os.listdir(tmp_path)) == ['a.pth', 'b.pth']


def test_another_digest_is_not_kept(web, tmp_path):
    with pytest.raises(NotFetched, match=f'begins with {SHA256[:8]} and not with 01234567; it was not kept'):
        fetch(web.put('a-01234567.pth', CONTENT), tmp_path / 'a-01234567.pth', '01234567')
    assert os.listdir(tmp_path) == []


def test_what_is_not_there_is_asked_for_once(web, tmp_path):
    with pytest.raises(NotFetched, match='none.pth is not there: the server answers 404'):
        fetch(f'{web.address}/none.pth', tmp_path / 'none.pth')
    assert len(web.asked) == 1 and os.listdir(tmp_path) == []


def test_no_server_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, 'PAUSE', 0.0)
    with pytest.raises(NotFetched, match='could not be fetched: ConnectionRefusedError'):
        fetch('http://127.0.0.1:9/a.pth', tmp_path / 'a.pth')
    with pytest.raises(NotFetched, match='is no address'):
        fetch('nonsense', tmp_path / 'a.pth')


def test_a_full_disk_is_no_matter_of_the_server(web, tmp_path):
    """/dev/full takes nothing: the fault of the disk is raised, not tried again."""
    (tmp_path / '.a.pth.download').symlink_to('/dev/full')
    with pytest.raises(OSError, match='No space left'):
        fetch(web.put('a.pth', CONTENT), tmp_path / 'a.pth')
    assert len(web.asked) == 1 and not (tmp_path / 'a.pth').exists()


def test_killed_it_leaves_no_half_file_under_the_name_and_goes_on(web, tmp_path):
    url, path = web.put('a.pth', CONTENT), tmp_path / 'a.pth'
    web.pause = 0.05
    code = f'from pathlib import Path; from rethink.engine.downloads import fetch; fetch({url!r}, Path({str(path)!r}))'
    process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT)
    part, deadline = tmp_path / '.a.pth.download', time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 1_000_000:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists() and 0 < part.stat().st_size < len(CONTENT)
    web.pause = 0
    begun = part.stat().st_size
    assert fetch(url, path) == SHA256 and path.read_bytes() == CONTENT
    assert ranges(web) == [None, f'bytes={begun}-'] and os.listdir(tmp_path) == ['a.pth']


@pytest.mark.parametrize(
    ('name', 'digest'),
    [
        ('resnet50-0676ba61.pth', '0676ba61'),
        ('efficientnet-b7_3rdparty_8xb32-aa_in1k_20220119-bf03951c.pth', 'bf03951c'),
        ('resnetrs101_i192_ema-1509bbf6.pth', '1509bbf6'),
        ('vit-base-p16-20220620.pth', ''),
        ('model-12345678.pth.tar', '12345678'),
        ('model-1.2.pth', ''),
        ('model-abc.pth', ''),
        ('moco_v2_800ep_pretrain.pth.tar', ''),
    ],
)
def test_the_digest_in_a_name(name, digest):
    assert digest_in(name) == digest
