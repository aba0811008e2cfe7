"""What README and docs say that a command needs, CI has not, and the command does need."""

import re

from conftest import ROOT
from docs_commands import Command, commands, configs_of, problem, read

# What CI has not got -> what is then in the command, or in a config that it names.
NEEDS = {
    'COCO': 'data/coco',
    'VOC': 'vocdevkit',
    'BDD100K': 'bdd',
    'RESISC45': 'resisc45',
    'UC Merced': 'ucmerced',
    'DomainNet': 'domainnet',
    'Flowers102': 'flowers102',
    'photographs': '--photographs',
    'a GPU': 'benchmarks/gpu.py|cuda',
    'a quiet machine': 'benchmarks/',
    'Slurm': 'srun|slurm',
    'Docker': 'docker',
    'the network': r'\b(pip|uv|conda|make)\b|fetch_weights|resnet_rs\.py',
    'openmim': '-m mim',
}


def content(command: Command) -> str:
    """A command, and all that its configs hold."""
    held = [read(path, call.variables) for call in command.calls for path in configs_of(call)]
    return ' '.join([command.before, command.text, *(str(cfg._cfg_dict) for cfg in held)]).lower()


def asks_for(command: Command, need: str) -> bool:
    if re.fullmatch(r'\d+ GPUs', need):
        return need.split()[0] in re.split(r'[ =]', command.text)
    return need in NEEDS and bool(re.search(NEEDS[need], content(command)))


def groups(found: list[Command]) -> list[list[Command]]:
    """Marked commands, with those that the same mark is for."""
    made = []
    for one in found:
        if made and one.page == made[-1][-1].page and one.needs == made[-1][-1].needs:
            made[-1].append(one)
        else:
            made.append([one])
    return made


@problem
def test_what_is_not_run_says_what_it_needs_and_needs_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    for group in groups([one for one in commands() if one.needs]):
        for need in group[0].needs:
            if need not in NEEDS and not re.fullmatch(r'\d+ GPUs', need):
                yield f'{group[0]}\n    `# needs {need}`: there is {", ".join(NEEDS)}, N GPUs'
            elif not any(asks_for(one, need) for one in group):
                yield f'{group[0]}\n    needs no {need}: take the mark away, and tests run it'
        for one in group:
            if not any(asks_for(one, need) for need in one.needs):
                yield f'{one}\n    needs nothing of {", ".join(one.needs)}: take the mark away, and tests run it'
