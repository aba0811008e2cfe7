"""Runs tools/hpt_chain.py, and the trainings that it starts, as forks of this process, which has imported everything.

For tests/studies/test_chains.py, which starts a dozen of them: processes, sessions, signals and files are what they
are otherwise, only the seconds of importing are spent once. Reads from stdin a line for each run, JSON: arguments,
changes of the environment, and a file for what is printed. Answers with the exit code, negative for a signal.
"""

import json
import os
import runpy
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import rethink  # noqa: F401  (first: gives mmcv its ops, which what follows imports)
import torch
from mmdet.utils import setup_cache_size_limit_of_dynamo  # noqa: F401
from mmpretrain import datasets, models  # noqa: F401
from rethink.studies.backends import local
from rethink.studies.chains import folder  # noqa: F401

TOOL = Path(__file__).resolve().parents[1] / 'tools' / 'hpt_chain.py'


class Fork:
    """What ``subprocess.Popen`` is to rethink.studies.backends.local, for a command that is a Python script."""

    def __init__(self, command, env, stdin, stdout, stderr, pass_fds, start_new_session):
        assert command[0] == sys.executable and stderr == subprocess.STDOUT and start_new_session
        self.returncode = None
        self.pid = fork(command[1:], env, stdout.fileno())

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired('fork', timeout)
            time.sleep(0.02)


def fork(arguments, env, output) -> int:
    """Run a script with its arguments in a new process and session; the process's id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(env)
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name='__main__')
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        if isinstance(stop.code, str):
            print(stop.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def main():
    # With more, a fork of a process whose threads have run would wait for them.
    torch.set_num_threads(1)
    local.subprocess = SimpleNamespace(**{**vars(subprocess), 'Popen': Fork})
    print('ready', flush=True)
    for line in sys.stdin:
        arguments, env, output = json.loads(line)
        with open(output, 'w') as file:
            pid = fork([str(TOOL), *arguments], env, file.fileno())
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == '__main__':
    main()
