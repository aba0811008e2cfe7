"""What tests start as processes behaves as Python does: beside Python itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm_python import warm_python

SCRIPT = """
import json, os, sys, time
if sys.argv[1] == 'say':
    here = dict(folder=os.getcwd(), arguments=sys.argv, value=os.environ.get('VALUE'), new='ADDED' in os.environ)
    print(json.dumps(dict(here, parent=os.getppid(), input=sys.stdin.read(), path=sys.path[:2])))
    print('an error', file=sys.stderr)
if sys.argv[1] == 'sentence':
    sys.exit('a sentence')
if sys.argv[1] == 'fail':
    raise ValueError('a value')
if sys.argv[1] == 'code':
    sys.exit(int(sys.argv[2]))
if sys.argv[1] == 'wait':
    print(os.getpid(), flush=True)
    time.sleep(60)
if sys.argv[1] == 'start':
    import subprocess
    code = subprocess.call([sys.executable, sys.argv[0], 'code', '7'])
    print(code, 'torch' in sys.modules)
"""


@pytest.fixture
def script(tmp_path) -> Path:
    (tmp_path / 'script.py').write_text(SCRIPT)
    return tmp_path / 'script.py'


@pytest.mark.parametrize('arguments', [['say', 'it'], ['sentence'], ['fail'], ['code', '3'], ['code', '0']])
def test_it_is_told_the_same_and_says_the_same(script, tmp_path, monkeypatch, arguments):
    monkeypatch.setenv('VALUE', 'of now')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    both = [
        subprocess.run([python, script, *arguments], cwd=tmp_path, input='words', capture_output=True, text=True)
        for python in (sys.executable, warm_python())
    ]
    assert both[0].returncode == both[1].returncode and both[0].stdout == both[1].stdout
    # A traceback begins with lines of what ran the script.
    assert both[0].stderr.splitlines()[-1:] == both[1].stderr.splitlines()[-1:]


def test_what_it_starts_is_warm(script):
    done = subprocess.run([warm_python(), script, 'start'], capture_output=True, text=True)
    assert done.stdout == '7 True\n', done.stderr


def alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_the_script(script, how):
    process = subprocess.Popen(
        [warm_python(), script, 'wait'],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Tests in the background of a shell ignore it, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pid = int(process.stdout.readline())
    assert alive(pid) and pid != process.pid
    process.send_signal(how)
    assert process.wait(10) == -how
    end = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_module_is_run_as_one(tmp_path):
    (tmp_path / 'module.py').write_text('import sys\nprint(__name__, sys.argv, sys.path[0])\n')
    both = [
        subprocess.run([python, '-m', 'module', 'x'], cwd=tmp_path, capture_output=True, text=True)
        for python in (sys.executable, warm_python())
    ]
    assert both[0].stdout == both[1].stdout and both[0].returncode == both[1].returncode == 0, both


def test_other_ways_to_call_python_are_pythons(tmp_path):
    done = subprocess.run([warm_python(), '-c', 'import sys; print(sys.argv)', 'x'], capture_output=True, text=True)
    assert done.stdout == "['-c', 'x']\n" and done.returncode == 0
    assert os.access(warm_python(), os.X_OK)
