"""The line that says how far a training is: on terminals of any width, above nothing, and nowhere else."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from conftest import ROOT, run_tool, write_detector
from rethink.engine.hooks import progress
from rethink.engine.hooks.progress import _columns, _Line
from warm_python import warm_python

WIDTHS = (40, 80, 120)
LINE = re.compile(r'^ *\d+% (\||[\d-]+:[\d-]{2}:[\d-]{2} left)')


@contextlib.contextmanager
def terminal(columns: int):
    """A descriptor of a terminal, and what has been written to it so far."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    written = []

    def read() -> None:
        with contextlib.suppress(OSError):
            while part := os.read(master, 4096):
                written.append(part)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    held = [slave]

    def text() -> str:
        if held:
            os.close(held.pop())
        reader.join(20)
        return b''.join(written).decode()

    yield SimpleNamespace(fd=slave, text=text, written=written)
    text()
    os.close(master)


def drawn(text: str) -> list[str]:
    """Each drawing of the line, without the blanks behind it."""
    return [one.rstrip() for one in re.split(r'[\r\n]', text) if LINE.match(one)]


def screen(text: str) -> list[str]:
    """What a terminal that is wide enough shows in the end."""
    rows, column = [[]], 0
    for sign in re.sub(r'\x1b\[[0-9;]*[A-Za-z]', '', text):
        if sign == '\r':
            column = 0
        elif sign == '\n':
            rows.append([])
            column = 0
        else:
            rows[-1][column : column + 1] = sign
            column += 1
    return [''.join(row).rstrip() for row in rows]


@pytest.mark.parametrize('columns', [1, 12, 25, *WIDTHS, 300, 0])
def test_no_line_is_wider_than_the_terminal_and_the_most_important_stays(columns):
    left, ap = '12:31:04 left', 'AP 34.1, best 35.2'
    with terminal(columns) as one:
        with open(os.dup(one.fd), 'w', encoding='utf-8') as file:
            line = _Line(total=540_000, file=file, leave=False, ncols=_columns(file), bar_format='{bar}')
            for done in (1, 90_000, 540_000):
                more = [f'{done}/540000', 'loss 1.234 {x}', 'lr 0.02']
                line.show(done, [left, f'{ap} at 480000', *more], [left, ap, *more])
            line.close()
        shown = [part for part in re.split(r'[\r\n]', one.text()) if part.strip()]
    assert max(map(len, shown)) <= (columns or 80) - 1 or columns == 1
    if columns == 0 or columns >= 40:
        assert all(left in part and ap in part for part in shown[1:])
    if columns in (80, 0):
        assert any(f'| {left}, {ap} at 480000' in part for part in shown if part.startswith(' 17% |'))
        assert 'loss' not in ''.join(shown)
    if columns == 300:
        assert shown[-1].endswith('540000/540000, loss 1.234 {x}, lr 0.02') and len(shown[-1]) == 299


@pytest.mark.parametrize('why', ['pipe', 'dumb', 'second process'])
def test_there_is_none_where_nobody_looks(why, monkeypatch):
    with terminal(80) as one, open(os.dup(one.fd), 'w') as file:
        monkeypatch.setattr(sys, 'stderr', file)
        monkeypatch.setenv('TERM', 'xterm')
        assert progress.on_terminal()
        if why == 'pipe':
            monkeypatch.setattr(sys, 'stderr', sys.__stdin__)
        elif why == 'dumb':
            monkeypatch.setenv('TERM', 'dumb')
        else:
            monkeypatch.setattr(progress, 'is_main_process', lambda: False)
        assert not progress.on_terminal()


@pytest.fixture(scope='module')
def config(data, tmp_path_factory):
    more = "train_cfg.update(val_interval=4)\ndefault_hooks['checkpoint'].update(save_best='coco/bbox_mAP')"
    return write_detector(tmp_path_factory.mktemp('progress') / 'tiny.py', data, more)


def start(config, work_dir, fd: int, *arguments) -> subprocess.Popen:
    command = [warm_python(), ROOT / 'tools' / 'train.py', config, '--work-dir', work_dir, *arguments]
    env = os.environ | dict(CUDA_VISIBLE_DEVICES='', TERM='xterm')
    return subprocess.Popen(
        [*map(str, command)],
        cwd=ROOT,
        env=env,
        stdout=fd,
        stderr=fd,
        stdin=subprocess.DEVNULL,
        # What starts the tests in the background may have it ignored, and then it stays ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def logged(work_dir) -> tuple[list[dict], list[str]]:
    """What was logged as numbers, and the words of the log file."""
    (scalars,) = work_dir.glob('*/vis_data/scalars.json')
    (log,) = work_dir.glob('*/*.log')
    entries = [json.loads(line) for line in scalars.read_text().splitlines()]
    own = [{key: value for key, value in one.items() if 'time' not in key} for one in entries]
    words = log.read_text().replace(f'/{work_dir.name}', '/run')
    return own, [re.sub(r'[\d.:e-]+', '#', line) for line in words.splitlines() if 'eta' not in line]


def test_a_training_scrolls_its_log_above_it_and_logs_what_it_logs_without(config, tmp_path):
    columns = 120
    with terminal(columns) as one:
        process = start(config, tmp_path / 'terminal', one.fd)
        assert process.wait(300) == 0
        text = one.text()
    lines = drawn(text)
    assert len(lines) >= 3 and max(map(len, lines)) < columns, lines
    assert any('evaluating' in line for line in lines)
    assert re.search(r'left, AP \d+\.\d, best \d+\.\d at [48], ', lines[-1]), lines[-1]
    # Nothing of it is left, and no line of the log stands behind it.
    rows = screen(text)
    assert not [row for row in rows if '% |' in row or ' left, ' in row]
    # Nor a warning of PyTorch's, which is written to stderr by itself.
    assert any(re.match(r'/.*: UserWarning: torch.meshgrid', row) for row in rows)
    assert sum('- mmengine - INFO - Iter(train)' in row for row in rows) == 8
    assert all(re.match(r'\d\d/\d\d ', row) for row in rows if ' - mmengine - ' in row)
    ended = run_tool('train.py', config, '--work-dir', tmp_path / 'pipe', '--cfg-options', 'train_cfg.val_interval=4')
    assert ended.returncode == 0 and not drawn(ended.stdout + ended.stderr)
    assert logged(tmp_path / 'terminal') == logged(tmp_path / 'pipe')
    # Resumed, it knows the best of before.
    with terminal(40) as one:
        more = ('--resume', '--cfg-options', 'train_cfg.max_iters=10')
        assert start(config, tmp_path / 'terminal', one.fd, *more).wait(300) == 0
        again = drawn(one.text())
    assert again and max(map(len, again)) < 40 and re.search(r'AP \d+\.\d, best \d+\.\d', again[1]), again


def test_ctrl_c_takes_it_away_before_the_last_sentence(config, tmp_path):
    with terminal(80) as one:
        process = start(config, tmp_path / 'run', one.fd, '--no-check', '--cfg-options', 'train_cfg.max_iters=100000')
        try:
            end = time.monotonic() + 200
            while process.poll() is None and time.monotonic() < end and b'Iter(train)' not in b''.join(one.written):
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
        text = one.text()
    assert max(map(len, drawn(text))) < 80
    rows = [row for row in screen(text) if row]
    assert rows[-1].startswith('stopped; the same command with --resume') and '% |' not in ''.join(rows)
