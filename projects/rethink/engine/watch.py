"""Processes of a group tell each other that they are alive, so that one that stands still is named and not waited for.

Whoever waits for a process that will never come hears nothing of it: gloo gives up after 30 minutes, NCCL after 10,
and neither says who was missing. Here a thread of each process sends a datagram to the first process every two
seconds, with what its main thread does, and gets one back. What is concluded:

* A process that is silent for 15 s, and is stopped (SIGSTOP) or gone by what the kernel of the same machine says, is
  lost. So is one that is silent for two minutes. A shorter silence may be a library that holds Python's lock, which
  reading a gigabyte of JSON does for half a minute.
* A group in which no main thread moves or computes for five minutes (or three quarters of
  ``env_cfg.dist_cfg.timeout``, if that is less) stands still. A process that evaluates or writes while the others wait
  for it computes, however long it takes.

One that notices either says so and ends, and the launcher ends the others. Where no datagram gets through, nothing
is concluded.
"""

import contextlib
import json
import os
import secrets
import select
import socket
import sys
import sysconfig
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

from mmengine.dist import broadcast_object_list, get_dist_info

# Seconds: between two datagrams; silent and stopped; silent; without a move of anyone.
BEAT, STOPPED, SILENT, STILL = 2.0, 15.0, 120.0, 300.0
# A main thread that waits uses no time at all; one that loads data, or downloads, more than this each second.
_COMPUTES = 0.0005
_LIBRARY = sysconfig.get_path('stdlib')
_watch: '_Watch | None' = None


def start(runner, limit: float | None = None) -> None:
    """Watch the processes of the open group from now on; of several runs in a process, this one.

    Args:
        runner: MMEngine's, for its iteration.
        limit: seconds after which the group's own operations give up; None: PyTorch's default.
    """
    global _watch
    if _watch is None:
        rank, world = get_dist_info()
        if world < 2 or 'MASTER_ADDR' not in os.environ:
            return
        # Before the group's own limit, which says less.
        _watch = _Watch(rank, world, STILL if limit is None else min(0.75 * limit, STILL))
        _watch.thread.start()
    _watch.runner = weakref.ref(runner)


def stop() -> None:
    """The group's work is done: what ends now is not missing."""
    if _watch is not None:
        _watch.done = True
        _watch.tell()


def missing() -> str | None:
    """Which process is lost, as far as it is known; None where nothing is."""
    return _watch and _watch.lost(STOPPED / 2)


@dataclass
class _Seen:
    record: dict
    heard: float
    moved: float


class _Watch:
    def __init__(self, rank: int, world: int, limit: float) -> None:
        self.rank, self.world, self.limit = rank, world, limit
        self.runner = lambda: None
        self.done = False
        self.moves, self._before = 0, None
        self.seen: dict[int, _Seen] = {}
        self.main = threading.main_thread()
        self.clock = time.pthread_getcpuclockid(self.main.ident) if hasattr(time, 'pthread_getcpuclockid') else None
        address = os.environ['MASTER_ADDR']
        family, *_ = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM)[0]
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        local = address in ('127.0.0.1', '::1', 'localhost')
        if rank == 0:
            self.socket.bind((address if local else '', 0))
        self.socket.setblocking(False)
        meeting = [(self.socket.getsockname()[1] if rank == 0 else None, secrets.token_hex(8))]
        broadcast_object_list(meeting)
        port, self.token = meeting[0]
        self.first = socket.getaddrinfo(address, port, family, socket.SOCK_DGRAM)[0][4]
        self.thread = threading.Thread(target=self.run, daemon=True)

    def iteration(self) -> int:
        # Not runner.iter, which builds the training loop, data and all, of a run that only tests.
        return getattr(getattr(self.runner(), '_train_loop', None), 'iter', 0)

    # --- telling ---

    def tell(self, to=None) -> None:
        """Send this process's record to the first process, or back to who sent one."""
        if self.rank == 0 and to is None:
            return
        record = dict(
            token=self.token,
            rank=self.rank,
            host=socket.gethostname(),
            pid=os.getpid(),
            moves=self.moves,
            iteration=self.iteration(),
            place=self._before[1] if self._before else '',
            waits=self._before[2] if self._before else False,
            done=self.done,
        )
        with contextlib.suppress(OSError):
            self.socket.sendto(json.dumps(record).encode(), to or self.first)

    def look(self, seconds: float) -> None:
        """Where the main thread is, and whether it has moved or computed since the last look."""
        frame = sys._current_frames().get(self.main.ident)
        spent = time.clock_gettime(self.clock) if self.clock is not None else 0.0
        stack, place = [], ''
        innermost = frame.f_code.co_filename if frame else ''
        while frame is not None:
            file = frame.f_code.co_filename
            stack.append((file, frame.f_lineno, frame.f_lasti))
            if not place and not (file.startswith(_LIBRARY) and 'site-packages' not in file):
                place = f'{file}:{frame.f_lineno}'
            frame = frame.f_back
        if self._before is None or self._before[0] != stack or spent - self._before[3] > _COMPUTES * seconds:
            self.moves += 1
        waits = f'{os.sep}torch{os.sep}' in innermost and 'utils' not in Path(innermost).parts
        self._before = (stack, place, waits, spent)

    # --- hearing ---

    def hear(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return
            try:
                content, sender = self.socket.recvfrom(4096)
                record = json.loads(content)
                if record.pop('token') != self.token:
                    continue
                now, before = time.monotonic(), self.seen.get(record['rank'])
                moved = before.moved if before and before.record['moves'] == record['moves'] else now
                self.seen[record['rank']] = _Seen(record, now, moved)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):  # refused by a port that is closed now
                time.sleep(0.05)
                continue
            if self.rank == 0:
                self.tell(sender)

    def run(self) -> None:
        looked = last_move = time.monotonic()
        before = 0
        while not self.done:
            now = time.monotonic()
            if now - looked > 5 * BEAT:
                # It is this process that stood still: whatever it missed will come now.
                for one in self.seen.values():
                    one.heard = one.moved = last_move = now
            self.look(now - looked)
            if self.moves != before:
                before, last_move = self.moves, now
            looked = now
            self.tell()
            self.hear(now + BEAT)
            found = self.lost(STOPPED) or (self.rank == 0 and self.still(last_move))
            if found:
                self.end(found)

    # --- concluding ---

    def lost(self, seconds: float) -> str | None:
        """A process that is silent: for ``seconds`` where the kernel says why, for ``SILENT`` otherwise."""
        now = time.monotonic()
        for rank, one in sorted(self.seen.items()):
            silent = now - one.heard
            if one.record['done'] or silent < seconds:
                continue
            state = _state(one.record)
            if state or silent > SILENT:
                return (
                    f'process {rank} on host {one.record["host"]} {state or "does not answer"} and has not reported '
                    f'for {silent:.0f} s (last at iteration {one.record["iteration"]})'
                )
        return None

    def still(self, last_move: float) -> str | None:
        """Who keeps the others waiting, where nobody has moved."""
        since = max([last_move, *(one.moved for one in self.seen.values())])
        seconds = time.monotonic() - since
        if len(self.seen) < self.world - 1 or seconds < self.limit:
            return None
        if any(one.record['done'] for one in self.seen.values()):
            return None
        records = [one.record for one in self.seen.values()]
        _, place, waits, _ = self._before
        records.append(
            dict(
                rank=0,
                host=socket.gethostname(),
                iteration=self.iteration(),
                place=place,
                waits=waits,
            )
        )
        worst = min(records, key=lambda one: (one['waits'], one['iteration'], one['rank']))
        who = f'process {worst["rank"]} on host {worst["host"]}'
        what = f'last at iteration {worst["iteration"]}, in {worst["place"]}'
        return (
            f'the {self.world} processes stand still since {seconds:.0f} s, the others waiting for {who} ({what})'
            if not worst['waits']
            else f'the {self.world} processes wait for each other since {seconds:.0f} s ({what})'
        )

    def end(self, found: str) -> None:
        # One of those that notice speaks; the launcher ends the others before they do.
        if self.rank > 1:
            time.sleep(10)
        with contextlib.suppress(OSError):
            print(
                f'error: {found}, so its group ends; a training goes on from its last checkpoint with --resume.',
                file=sys.stderr,
                flush=True,
            )
        os._exit(3)


def _state(record: dict) -> str | None:
    """What the kernel says of a silent process of this machine: stopped, gone; None: nothing that explains it."""
    if record['host'] != socket.gethostname() or not os.path.isdir('/proc/self'):
        return None
    try:
        stat = Path(f'/proc/{record["pid"]}/stat').read_text()
    except OSError:
        return 'is gone'
    state = stat.rsplit(')', 1)[1].split()[0]
    return {'T': 'is stopped', 'Z': 'is gone', 'X': 'is gone'}.get(state)
