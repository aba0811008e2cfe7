"""A Python that has imported everything: what tests run as processes are forks of it, without 6 s of imports each.

:func:`warm_python` gives a file that is called as ``python`` is: ``FILE script.py …``, ``FILE -u script.py …``,
``FILE -m module …``; anything else is handed on to Python. A script is a process of its own there as well, in a
session of its own, with the folder, the environment and the open streams of its caller; its exit code and the signals
sent to it are passed on, SIGKILL too. For it ``os.getppid`` is who called the file, and ``sys.executable`` is the
file: what it starts is warm as well.

Such a process does not have the caller's niceness, cores and limits (``ulimit``), a pid that is the file's, and
modules that are yet to be imported: tests of these start ``sys.executable``, or ``run_tool(…, cold=True)``.
"""

import atexit
import gc
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path

# Started for each call, so that it imports as little as it can.
CLIENT = """#!{python} -IS
import json, os, signal, sys
script = sys.argv[2:] if sys.argv[1:2] == ['-u'] else sys.argv[1:]
if not script or script[0].startswith('-') and (script[0] != '-m' or len(script) < 2):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
import socket
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    passed = signal.SIGINT, signal.SIGHUP, signal.SIGTERM
    ignored = [one for one in passed if signal.getsignal(one) == signal.SIG_IGN]
    call = dict(arguments=script, folder=os.getcwd(), environment=dict(os.environ), pid=os.getpid(), ignored=ignored)
    call = json.dumps(call).encode()
    socket.send_fds(server, [len(call).to_bytes(8, 'big')], [0, 1, 2])
    server.sendall(call)
    with server.makefile('r') as answers:
        pid = int(answers.readline())
        for one in (*passed, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(one, lambda number, frame: os.kill(pid, number))
        code = int(answers.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@cache
def warm_python() -> Path:
    """The file to call in place of ``sys.executable``; the server behind it ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix='warm_python_'))
    address = folder / 'socket'
    python = folder / 'python'
    python.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    python.chmod(0o755)
    environment = os.environ | dict(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
    # Its stdin is what tells it that this process has ended.
    server = subprocess.Popen(
        [sys.executable, __file__, address], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(_end, server, folder)
    # After whatever imports print.
    assert 'ready\n' in server.stdout
    return python


def _end(server: subprocess.Popen, folder: Path) -> None:
    server.stdin.close()
    server.wait()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def serve(address: str) -> dict:
    """Fork for each call; returns the call in the process that is to run it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print('ready', flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection = listener.accept()[0]
            if not os.fork():
                break
            connection.close()
            _reap()
        else:
            _reap()
            os._exit(0)
    size, streams, *_ = socket.recv_fds(connection, 8, 3)
    with connection.makefile('rb') as file:
        call = json.loads(file.read(int.from_bytes(size, 'big')))
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        _watch(pid, connection)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    return call


def _reap() -> None:
    """Forget those that ended, whose time is ours then."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _watch(pid: int, connection: socket.socket) -> None:
    """Tell the caller how the script ends; end the script where the caller is gone."""
    for number in (0, 1, 2):
        os.close(number)
    connection.sendall(f'{pid}\n'.encode())
    ends = os.pidfd_open(pid)
    # The caller says nothing more: something to read is its end.
    if ends not in select.select([ends, connection], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        connection.sendall(f'{code}\n'.encode())
    finally:
        os._exit(0)


def become(call: dict, python: str) -> None:
    """Make of this process what ``python`` would be if its caller had started it."""
    os.setsid()
    os.chdir(call['folder'])
    for one in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        heeded = signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL
        signal.signal(one, signal.SIG_IGN if one in call['ignored'] else heeded)
    own, real_parent, known = os.getpid(), os.getppid, set(os.environ.get('PYTHONPATH', '').split(os.pathsep))

    def parent() -> int:
        if os.getpid() != own:
            return real_parent()
        try:
            return int(Path(f'/proc/{call["pid"]}/stat').read_text().rpartition(')')[2].split()[1])
        except FileNotFoundError:
            return real_parent()

    os.getppid = parent
    os.environ.clear()
    os.environ.update(call['environment'])
    new = [path for path in os.environ.get('PYTHONPATH', '').split(os.pathsep) if path not in known]
    script, *arguments = call['arguments']
    sys.path[:1] = [call['folder'] if script == '-m' else str(Path(script).resolve().parent), *new]
    sys.argv, sys.executable = arguments if script == '-m' else call['arguments'], python
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS') or len(os.sched_getaffinity(0))))
    random.seed()
    np.random.seed()
    torch.seed()


def run(script: str) -> int:
    """Run a script as Python does, or for ``-m`` the module that ``sys.argv`` begins with; negative for a signal."""
    try:
        if script == '-m':
            runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
        else:
            runpy.run_path(script, run_name='__main__')
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0
    except BaseException as error:
        traceback.print_exc()
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def end(code: int) -> None:
    """What Python does at its end, but for taking apart all that was imported, which takes 4 s."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == '__main__':
    import numpy as np
    import rethink.registrations  # noqa: F401  (first: gives mmcv its ops, which what follows imports)
    import torch
    from config_folders import keep_in_memory
    from matplotlib import pyplot  # noqa: F401
    from mmdet import apis as _detectors  # noqa: F401
    from mmpretrain import apis as _classifiers  # noqa: F401
    from rethink.studies.chains import folder  # noqa: F401

    keep_in_memory()

    # Collected now, and not in each fork, which would copy what it looks at.
    gc.collect()
    gc.freeze()
    call = serve(sys.argv[1])
    become(call, str(Path(sys.argv[1]).with_name('python')))
    end(run(call['arguments'][0]))
