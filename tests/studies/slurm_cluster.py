"""A Slurm of two nodes on this host, for tests: two slurmd, pretended GPUs, a munge of its own, all below one folder.

Needs root and Debian's slurm-wlm and munge. The names of the nodes are added to /etc/hosts while it runs, because the
processes of a training meet by them.
"""

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

NODES = ('rethink-node1', 'rethink-node2')
PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'srun', 'squeue', 'scontrol', 'scancel')
CONFIG = """
ClusterName=rethink
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MessageTimeout=5
MpiDefault=none
GresTypes=gpu
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=16 RealMemory=2000 Gres=gpu:4
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=16 RealMemory=2000 Gres=gpu:4
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why there can be no cluster here."""
    absent = [name for name in PROGRAMS if not which(name)]
    if absent:
        return f'no {absent[0]} here; on Debian, apt-get install slurm-wlm munge'
    if os.geteuid() != 0:
        return 'only root can start slurmd'
    return None if os.access('/etc/hosts', os.W_OK) else '/etc/hosts cannot be written to'


def which(name: str) -> str | None:
    return shutil.which(name, path=f'{os.environ["PATH"]}:/usr/sbin:/sbin')


class Cluster:
    """One that runs.

    Attributes:
        environment: in which Slurm's commands reach it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = dict(SLURM_CONF=str(folder / 'slurm.conf'))
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        for name in ('state', *(f'spool-{node}' for node in NODES)):
            (self.folder / name).mkdir()
        for number in range(8):
            (self.folder / f'gpu{number}').touch()
        text = CONFIG.format(
            host=socket.gethostname().split('.')[0],
            user=getpass.getuser(),
            folder=self.folder,
            nodes=NODES,
            ports=free_ports(3),
        )
        (self.folder / 'slurm.conf').write_text(text)
        lines = [f'NodeName={NODES[at // 4]} Name=gpu File={self.folder}/gpu[{at}-{at + 3}]\n' for at in (0, 4)]
        (self.folder / 'gres.conf').write_text(''.join(lines))
        key = self.folder / 'munge.key'
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        files = {'socket': 'socket', 'key-file': 'key', 'pid-file': 'pid', 'log-file': 'log', 'seed-file': 'seed'}
        of_munge = [f'--{option}={self.folder}/munge.{name}' for option, name in files.items()]
        self.daemon('munged', '--foreground', '--force', *of_munge)
        self.wait_for(lambda: (self.folder / 'munge.socket').exists())
        self.daemon('slurmctld', '-D', '-c')
        for node in NODES:
            self.start_node(node)
        self.wait_for(lambda: self.call('sinfo', '-h', '-o', '%D %t').split() == ['2', 'idle'])

    def start_node(self, node: str) -> None:
        self.daemon('slurmd', '-D', '-N', node, name=node)

    def kill_node(self, node: str) -> None:
        """As a machine that loses power does: its slurmd and all that it has started."""
        self.daemons[node].kill()
        self.daemons.pop(node).wait()
        log = str(self.folder / f'slurmd-{node}.log')
        # The process above the tasks of a step is no child of slurmd; it writes into the same log.
        for process in Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(OSError):
                if any(os.readlink(file) == log for file in (process / 'fd').iterdir()):
                    kill_tree(int(process.name))

    def daemon(self, program: str, *arguments: str, name: str = '') -> None:
        with open(self.folder / f'{name or program}.txt', 'a') as output:
            self.daemons[name or program] = subprocess.Popen(
                [which(program), *arguments],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def call(self, *command: str) -> str:
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True)
        return done.stdout

    def wait_for(self, condition, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f'waited in vain; the logs are in {self.folder}'
            time.sleep(0.1)

    def stop(self) -> None:
        self.call('scancel', '--me')
        for name in reversed(list(self.daemons)):
            process = self.daemons[name]
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def kill_tree(pid: int) -> None:
    children = [
        int(process.name)
        for process in Path('/proc').glob('[0-9]*')
        if f'PPid:\t{pid}\n' in read_text(process / 'status')
    ]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for child in children:
        kill_tree(child)


def read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # of a process that has ended
        return ''


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def names_of_nodes() -> Iterator[None]:
    hosts = Path('/etc/hosts')
    line = f'127.0.0.1 {" ".join(NODES)}\n'
    before = hosts.read_text()
    if line not in before:
        hosts.write_text(before.rstrip('\n') + '\n' + line)
    try:
        yield
    finally:
        hosts.write_text(hosts.read_text().replace(line, ''))


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """One that runs within, with its files in ``folder``."""
    made = Cluster(folder)
    with names_of_nodes():
        try:
            made.start()
            yield made
        finally:
            made.stop()
