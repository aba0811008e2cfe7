"""Files written whole, one at a time and together; folders held by one process, whatever ends it."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from rethink import files
from rethink.errors import ConfigError
from rethink.files import exclusively, write_atomically, write_together


class Killed(BaseException):
    """In place of SIGKILL."""


def test_two_writers_at_a_time_leave_one_of_two_whole_files(tmp_path):
    contents = [bytes([number]) * 200_000 for number in range(4)]

    def write(content):
        for _ in range(30):
            write_atomically(tmp_path / 'file', content)

    threads = [threading.Thread(target=write, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not (tmp_path / 'file').exists() or (tmp_path / 'file').read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def writer(tmp_path, then):
    """Another process, amid a write."""
    script = f"""
import os, time
from rethink.files import write_atomically
def slow(file):
    file.write(b'half')
    file.flush()
    print('writing', flush=True)
    {then}
write_atomically({str(tmp_path / 'file')!r}, slow)
"""
    process = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'writing\n'
    return process


def test_what_a_dead_writer_left_goes_with_the_next_and_what_a_living_one_writes_stays(tmp_path):
    process = writer(tmp_path, 'time.sleep(60)')
    (part,) = tmp_path.glob('.file.*.part')
    (tmp_path / '.theirs.part').write_bytes(b'of another program')
    write_atomically(tmp_path / 'other', b'whole')
    assert part.exists()
    process.kill()
    process.wait()
    write_atomically(tmp_path / 'other', b'whole')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.theirs.part', 'other']


def test_a_write_that_fails_leaves_the_old_file_and_names_it(tmp_path, monkeypatch):
    write_atomically(tmp_path / 'file', b'old')

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, 'fsync', full)
    with pytest.raises(OSError, match='No space left') as caught:
        write_atomically(tmp_path / 'file', b'new')
    assert caught.value.filename == str(tmp_path / 'file')
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b'old']


@pytest.mark.parametrize('step', range(8))
def test_a_set_of_files_is_never_of_two_times(tmp_path, monkeypatch, step):
    """Killed before each of its flushes, removals and renames."""
    names = ('train', 'val', 'test')
    write_together({tmp_path / name: b'old' for name in names})
    calls = iter(range(100))

    def killed(original, *args, **options):
        if next(calls) == step:
            raise Killed
        return original(*args, **options)

    with monkeypatch.context() as patch:
        for owner, name in ((files.os, 'fsync'), (files.os, 'replace'), (files.Path, 'unlink')):
            original = getattr(owner, name)
            patch.setattr(owner, name, lambda *args, original=original, **more: killed(original, *args, **more))
        with pytest.raises(Killed):
            write_together({tmp_path / name: b'new' for name in names})
    there = {path.read_bytes() for path in tmp_path.iterdir() if path.name in names}
    assert len(there) == 1 and (step > 2 or there == {b'old'})
    write_together({tmp_path / name: b'new' for name in names})
    assert {name: (tmp_path / name).read_bytes() for name in names} == dict.fromkeys(names, b'new')


def holder(tmp_path, more=''):
    script = f"""
import os, time
from rethink.files import exclusively
with exclusively({str(tmp_path)!r}) as lock:
    {more}
    print('held', flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, '-c', script, 'its argument'], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'held\n'
    return process


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGTERM])
def test_a_folder_is_held_until_its_process_ends(tmp_path, how):
    process = holder(tmp_path)
    sentence = rf'in use by process {process.pid} on host \S+ \(since 20.*its argument.*\); wait for it or stop it\.'
    with pytest.raises(ConfigError, match=sentence), exclusively(tmp_path):
        pass
    process.send_signal(how)
    process.wait()
    with exclusively(tmp_path):
        assert json.loads((tmp_path / '.lock').read_text())['pid'] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_child_that_outlives_its_parent_keeps_the_folder(tmp_path):
    process = holder(tmp_path, 'child = os.fork() or (time.sleep(7), os._exit(0))')
    process.kill()
    process.wait()
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=rf'in use by what process {process.pid} .* has left'), exclusively(tmp_path):
        pass
    assert 2 < time.monotonic() - begin < 6
    with exclusively(tmp_path, wait=True):
        assert time.monotonic() - begin > 5


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='file cannot be written to'), exclusively(tmp_path / 'file'):
        pass


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, 'flock', none)
    with exclusively(tmp_path):
        write_atomically(tmp_path / 'file', b'')
    assert 'without locks' in capsys.readouterr().out
