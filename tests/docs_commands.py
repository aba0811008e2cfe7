"""The commands of README and docs: what bash makes of each, what its page says that it needs, and what becomes of it.

A command is a line of a fenced block, with its continued lines or its whole loop, or inline code that begins as one
does. ``# needs COCO, 8 GPUs`` at its end, with a remark behind a colon, or alone above the lines that it is for, up to
the next empty one, says what it needs and CI has not: it is not run then (docs/tools.md).
"""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache, wraps

from conftest import ROOT
from rethink.engine import launch

PAGES = [
    ROOT / 'README.md',
    ROOT / 'CONTRIBUTING.md',
    *sorted((ROOT / 'docs').glob('*.md')),
    *sorted((ROOT / 'configs').glob('*/README.md')),
]
# With what a line of a block of commands begins; a block without one of these holds no commands.
PROGRAMS = ('python', 'python3', 'bash', 'make', 'rethink', 'pip', 'uv', 'git', 'conda', 'docker', 'srun')
SHELL = ('export', '.', 'for')
INLINE = re.compile(
    r'(?<!`)`((?:python (?:tools/|benchmarks/|docs/|-m )|bash tools/|make |rethink |\.ci/)[^`]*)`(?!`)', re.DOTALL
)
NEEDS = re.compile(r'# needs ([^:]+)')
COMMENT = re.compile(r'(^| )#.*$')
ENVIRONMENT = re.compile(r'^(?:[A-Z_]+=\S* )*')
# What stands in capitals in the docs, and what is put there to run it; `<this repository>` is THIS_REPOSITORY.
PLACEHOLDERS = {
    'ARM': 'configs/rethink/scratch_r50_gn_6x.py',
    'OTHER': 'configs/rethink/pretrain_r50_gn_6x.py',
    'ARGUMENTS': 'tiny.py',
    'BACKBONE': 'backbone.pth',
    'CHECKPOINT': 'work_dirs/tiny/iter_8.pth',
    'COMMAND': 'check_config',
    'CONFIG': 'tiny.py',
    'DATA': 'my_data',
    'FILE': 'file',
    'FOLDER': 'configs/mine',
    'JOB': 'job',
    'NAME': 'named',
    'OUT_DIR': 'out',
    'PARTITION': 'gpu',
    'PHOTO': 'my_data/images/000.png',
    'PHOTOS': 'my_data/images',
    'RESULTS': 'results',
    'STUDY': 'configs/mine',
    'THIS_REPOSITORY': 'repository',
    'TOOL': 'get_flops.py',
    'WORK_DIR': 'work_dirs/tiny',
}
# What makes the clone and the environment in which the tests run.
MADE = ['git clone <this repository> && cd rethink', 'make setup', '. .venv/bin/activate']
CI = set(re.findall(r'^make (\S+)$', (ROOT / '.ci' / 'run').read_text(), re.MULTILINE))


@dataclass(frozen=True)
class Call:
    """What a shell starts: its words and the variables set for it. ``[CONFIG …]`` is ``CONFIG`` here."""

    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Command:
    """``before`` is what its block has exported by then."""

    page: str
    line: int
    text: str
    needs: tuple[str, ...] = ()
    inline: bool = False
    before: str = ''

    def __str__(self) -> str:
        return f'{self.page}:{self.line}: {self.text}'

    @property
    def calls(self) -> list[Call]:
        return calls(self.before + plain(self.text))


def plain(text: str) -> str:
    """As a shell reads it: ``<this repository>`` is a word, and so is ``plan|run``."""
    text = re.sub(r'<[a-z ]+>', lambda found: found[0][1:-1].replace(' ', '_').upper(), text)
    return re.sub(r'\b[a-z]+(?:\|[a-z]+)+\b', lambda found: f"'{found[0]}'", text)


# Nothing is found on this PATH, so that what would be started is told instead, by one write.
EXPAND = r"""
exec 3>&1 >/dev/null 2>&1
cd() { :; }
.() { :; }
command_not_found_handle() {
    local name variables=()
    for name in $(compgen -e); do variables+=($'\1'"$name=${!name}"); done
    printf '%s\0' "$@" "${variables[@]}" $'\2' >&3
}
"""


@cache
def calls(text: str) -> list[Call]:
    # A path would be started where it is there.
    text = re.sub(r'(^|&& )(\S+/)', r'\1called \2', text)
    with tempfile.TemporaryDirectory() as nowhere:
        done = subprocess.run(
            ['/bin/bash', '-c', EXPAND + text], cwd=nowhere, env=dict(PATH='/none'), capture_output=True, text=True
        )
    found = []
    for call in done.stdout.split('\2\0')[:-1]:
        words = [word for word in call.split('\0') if word]
        variables = [tuple(word[1:].split('=', 1)) for word in words if word[0] == '\1']
        words = [word for word in words if word[0] != '\1' and word != 'called']
        words = [re.sub(r'^\[|(?<=^…)\]$|(?<=^\[)(.*)\]$', r'\1', word) for word in words]
        words = [word.rstrip(']') if word.startswith('--') else word for word in words]
        kept = tuple(word for word in words if word != '…')
        known = {'PWD', 'OLDPWD', 'SHLVL', '_', 'PATH'}
        variables = tuple((name, value) for name, value in variables if name not in known)
        several = next((word for word in kept if re.fullmatch(r'[a-z]+(\|[a-z]+)+', word)), '')
        for one in several.split('|'):
            found.append(Call(tuple(one if word == several and several else word for word in kept), variables))
    return found


def needs(comment: str) -> tuple[str, ...]:
    found = NEEDS.search(comment)
    return tuple(found[1].strip().split(', ')) if found else ()


def is_command(line: str) -> bool:
    line = ENVIRONMENT.sub('', line.strip().removeprefix('$ '))
    return line.split(' ')[0] in PROGRAMS + SHELL or line.startswith('.ci/')


def of_block(page: str, first: int, lines: list[str]) -> list[Command]:
    """The commands of a fenced block, whose first line is line ``first`` of the page."""
    with_output = any(line.startswith('$ ') for line in lines)
    found, marked, before, index = [], (), '', 0
    while index < len(lines):
        start = index
        line = lines[index].rstrip()
        while line.endswith('\\') and index + 1 < len(lines):
            index += 1
            line = f'{line[:-1].rstrip()} {lines[index].strip()}'
        index += 1
        if not line:
            marked = ()
        elif line.startswith('#'):
            marked = needs(line) or marked
        elif not with_output or line.startswith('$ '):
            if line.startswith('for '):
                while 'done' not in line.split('\n')[-1].split():
                    line += '\n' + lines[index].rstrip()
                    index += 1
            text = COMMENT.sub('', line.removeprefix('$ ')).rstrip()
            found.append(Command(page, first + start, text, needs(line) or marked, before=before))
            if text.startswith('export '):
                before += text + '\n'
    return found


@cache
def commands() -> list[Command]:
    """All of them, in the order of the pages."""
    found = []
    for path in PAGES:
        page, text = str(path.relative_to(ROOT)), path.read_text()
        lines, prose, fence = text.split('\n'), [], None
        for number, line in enumerate(lines, 1):
            if line.lstrip().startswith('```'):
                if fence is None:
                    fence = number, line.strip('` ')
                else:
                    block = lines[fence[0] : number - 1]
                    if fence[1] in ('', 'bash', 'sh', 'console') and any(map(is_command, block)):
                        found += of_block(page, fence[0] + 1, block)
                    fence = None
                prose.append('')
            else:
                prose.append(line if fence is None else '')
        for inline in INLINE.finditer('\n'.join(prose)):
            line = '\n'.join(prose)[: inline.start()].count('\n') + 1
            found.append(Command(page, line, ' '.join(inline[1].split()), inline=True))
    return sorted(found, key=lambda one: (PAGES.index(ROOT / one.page), one.line))


# --- what becomes of one ---------------------------------------------------------------------------------------------


@cache
def make(words: tuple[str, ...]) -> subprocess.CompletedProcess:
    """What ``make`` would run, with an environment that is set up."""
    command = ['make', '-n', '-o', 'setup', *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@cache
def read(path: str, variables: tuple):
    os.environ.update(variables)
    try:
        return launch.read_config(path, import_custom_modules=False)
    finally:
        for name, _ in variables:
            del os.environ[name]


def configs_of(call: Call) -> list[str]:
    return [word for word in call.words if re.match(r'(configs/|\w+::)', word) and word.endswith('.py')]


def kind(command: Command) -> str:
    """``made``: makes the clone that a test runs in; ``CI``: .ci/run has it; ``start``: of the page that another test
    follows; ``marked``; and all others ``run``."""
    words = command.calls[0].words if command.calls else ()
    same = [one for one in commands() if not one.inline and one.text == command.text]
    if command.text in MADE or words[:2] == ('make', 'setup') or words[:3] == ('python3', '-m', 'venv'):
        return 'made'
    if words[:1] == ('make',) and words[1] in CI:
        return 'CI'
    if command.needs or (command.inline and any(one.needs for one in same)):
        return 'marked'
    if command.inline and 'benchmarks/' in command.text:  # docs/tools.md says so
        return 'marked'
    return 'start' if command.page == 'docs/start.md' else 'run'


def problem(test) -> None:
    """Fail with all that a test yields."""

    @wraps(test)
    def run(*given, **fixtures):
        found = list(test(*given, **fixtures))
        assert not found, '\n' + '\n'.join(found)

    return run
