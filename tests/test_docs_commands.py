"""Every command of README and docs is taken by its tool, and the files and entries that it names are there."""

import argparse
import functools
import importlib.util
import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from docs_commands import (
    PLACEHOLDERS,
    PROGRAMS,
    Call,
    calls,
    commands,
    configs_of,
    make,
    of_block,
    plain,
    problem,
    read,
)
from rethink import commands as named
from rethink import run as scripts
from rethink.configs.overrides import parse_options
from rethink.errors import ConfigError

# What a config may leave away, and an override may set.
LEFT_AWAY = ('randomness', 'metainfo')


def filled(words) -> list[str]:
    return [PLACEHOLDERS.get(word, word) for word in words]


class Parsed(Exception):
    pass


@functools.cache
def module_of(script: Path):
    spec = importlib.util.spec_from_file_location(f'documented_{script.stem}', script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(script: Path, given: list[str]) -> argparse.Namespace:
    """What the parser of a script makes of arguments.

    Raises:
        SystemExit: it does not take them.
    """
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args):
        raise Parsed(parse_args(self, *args))

    argv, sys.argv = sys.argv, [str(script), *given]
    path = sys.path[:]
    sys.path.insert(0, str(script.parent))
    try:
        module = module_of(script)
        if hasattr(module, 'parse_args'):
            return module.parse_args()
        # A benchmark parses where it begins.
        argparse.ArgumentParser.parse_args = parse_and_stop
        module.main()
    except Parsed as stop:
        return stop.args[0]
    finally:
        sys.argv, sys.path[:], argparse.ArgumentParser.parse_args = argv, path, parse_args
    raise AssertionError(f'{script} has read no arguments')


def script_of(call: Call) -> tuple[Path, list[str]] | None:
    """The script that is started at last, and its arguments; None for what is no script of ours.

    Raises:
        ConfigError: no such tool, or too few arguments of a shell script.
    """
    program, *words = filled(call.words)
    if program == 'srun':
        words = words[words.index('python') :]
        program, *words = words
    if program == 'rethink' or (program.startswith('python') and words[:2] == ['-m', 'rethink']):
        words = words if program == 'rethink' else words[2:]
        if not words or words[0] == '--help':
            return None
        if words[0] == 'run':
            return scripts.find(words[1])[0], words[2:]
        script, words = named.find(words[0]), words[1:]
    elif program.startswith('python') and words[:1] == ['-m']:
        return (scripts.find(words[2])[0], words[3:]) if words[1] == 'rethink.run' and words[2:] else None
    elif program in ('python', 'bash'):
        script, words = ROOT / words[0], words[1:]
        if not script.is_file():
            raise ConfigError(f'there is no {script.relative_to(ROOT)}')
    else:
        return None
    if script.suffix == '.py':
        return script, words
    # dist_train.sh CONFIG GPUS …, dist_test.sh CONFIG CHECKPOINT GPUS …, slurm_*.sh PARTITION JOB CONFIG …
    train = 'train' in script.stem
    least = 4 if 'slurm' in script.stem else 3 - train
    if len(words) < least or ('dist' in script.stem and not words[least - 1].isdigit()):
        raise ConfigError(f'{script.name} is to be called as in {named.first_line(script)}')
    words = words[2:] if 'slurm' in script.stem else [*words[: least - 1], *words[least:]]
    return script.with_name('train.py' if train else 'test.py'), words[:1] + words[1 + (train and least == 4) :]


def options(args: argparse.Namespace) -> dict:
    given = getattr(args, 'cfg_options', None) or {}
    return parse_options(given) if isinstance(given, list) else given


def unknown_keys(cfg, given: dict):
    """Overrides of what a config does not have; the last name of one may be new."""
    for key in given:
        *above, last = key.split('.')
        here = cfg
        for name in above:
            if name in LEFT_AWAY:
                break
            try:
                here = here[int(name) if isinstance(here, list | tuple) else name]
            except (KeyError, IndexError, ValueError, TypeError):
                yield key
                break
        else:
            if isinstance(here, list | tuple) and not (last.isdigit() and int(last) < len(here)):
                yield key


def wrong(call: Call):
    """Sentences."""
    if call.words[0] not in PROGRAMS and not call.words[0].startswith('.ci/'):
        yield f'{call.words[0]} is no program that tests/docs_commands.py knows'
    for word in call.words:
        if re.fullmatch(r'[A-Z][A-Z_]+', word) and word not in PLACEHOLDERS:
            yield f'{word} is no placeholder of tests/docs_commands.py: take one of these, or add it'
        if re.match(r'(configs|tools|benchmarks|requirements|docker)/(?!mine)', word) and not (ROOT / word).exists():
            yield f'there is no {word}'
    if call.words[0] == 'make':
        done = make(call.words[1:])
        if done.returncode:
            yield done.stderr.strip()
        for name in re.findall(r'^([A-Z]+)=', '\n'.join(call.words), re.MULTILINE):
            if not re.search(rf'\b{name}\b', (ROOT / 'Makefile').read_text()):
                yield f'the Makefile has no {name}'
    if call.words[0].startswith('.ci/') and not (ROOT / call.words[0]).is_file():
        yield f'there is no {call.words[0]}'
    args = None
    try:
        started = script_of(call)
        args = parse(*started) if started and '--help' not in started[1] else None
    except (ConfigError, SystemExit) as error:
        yield str(error)
    for path in configs_of(call):
        try:
            cfg = read(path, call.variables)
        except ConfigError as error:
            yield str(error)
            continue
        for key in unknown_keys(cfg, options(args)) if args else ():
            yield f'{path} has nothing where {key} would be set'


@problem
def test_each_command_is_taken_by_its_tool_and_its_files_are_there(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for command in commands():
        assert command.calls or command.text.split()[0] in ('.', 'export'), f'{command} starts nothing'
        for call in command.calls:
            for sentence in wrong(call):
                yield f'{command}\n    {sentence} {capsys.readouterr().err.strip()}'


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('python tools/trian.py CONFIG', 'there is no tools/trian.py'),
        ('rethink trian CONFIG', "no command 'trian'"),
        ('python -m rethink.run no_such.py CONFIG', 'no script no_such.py'),
        ('pyhton tools/train.py CONFIG', 'pyhton is no program'),
        ('python tools/train.py CONFIG --no-such 1', 'unrecognized arguments: --no-such 1'),
        ('python tools/misc/export_onnx.py WORK_DIR --images PHOTO', 'required: --out'),
        ('python tools/misc/diff_configs.py CONFIG OTHER --format yaml', 'invalid choice'),
        ('python tools/train.py MINE', 'MINE is no placeholder'),
        ('python tools/train.py configs/rethink/scratch_r50_gn_7x.py', 'no config configs/rethink/scratch'),
        ('python tools/train.py configs/shapes/scratch_r18_gn_1x.py --cfg-options model.bakbone.a=1', 'model.bakbone'),
        ('HPT_DATASET=none python tools/train.py configs/hpt/pretrain_moco_r50_5ki.py', 'hpt_none.py'),
        ('bash tools/dist_train.sh CONFIG', 'dist_train.sh is to be called as'),
        ('bash tools/dist_test.sh CONFIG CHECKPOINT --tta', 'dist_test.sh is to be called as'),
        ('bash tools/dist_train.sh CONFIG 8 --no-such', 'unrecognized arguments: --no-such'),
        ('bash tools/slurm_train.sh gpu JOB CONFIG', 'slurm_train.sh is to be called as'),
        ('make tset', "No rule to make target 'tset'"),
        ('make demo SEEDS=1', 'the Makefile has no SEEDS'),
        ('pip install -r requirements/none.txt', 'there is no requirements/none.txt'),
        ('.ci/none', 'there is no .ci/none'),
        ('cd here && python tools/train.py', 'required: config'),
        ('for one in a b; do\n    python tools/train.py $one --no-such\ndone', 'unrecognized arguments: --no-such'),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_command_is_found(text, sentence, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    found = ' '.join(f'{one} {capsys.readouterr().err}' for call in calls(plain(text)) for one in wrong(call))
    assert sentence in found


def test_a_block_is_read_as_a_shell_and_a_reader_do():
    block = [
        '$ python tools/train.py a.py \\',
        '      --amp  # some words',
        'output',
        '# needs COCO, 8 GPUs',
        "$ python tools/train.py [CONFIG …] 'a b' {b,c}.py",
        '',
        '$ export NAME=value',
        '$ OTHER=1 python tools/study.py plan|run STUDY | head  # needs Slurm: a cluster',
        '$ for one in 1 2; do python $one; done',
    ]
    found = of_block('page.md', 1, block)
    assert [(one.line, one.needs) for one in found] == [
        (1, ()), (5, ('COCO', '8 GPUs')), (7, ()), (8, ('Slurm',)), (9, ()),
    ]  # fmt: skip
    # What a pipe starts is told in any order.
    assert [sorted((call.words for call in one.calls), key=len)[::-1] for one in found] == [
        [('python', 'tools/train.py', 'a.py', '--amp')],
        [('python', 'tools/train.py', 'CONFIG', 'a b', 'b.py', 'c.py')],
        [],
        [('python', 'tools/study.py', 'run', 'STUDY'), ('python', 'tools/study.py', 'plan', 'STUDY'), ('head',)],
        [('python', '2'), ('python', '1')],
    ]
    (planned,) = [call for call in found[3].calls if 'plan' in call.words]
    assert dict(planned.variables) == dict(NAME='value', OTHER='1')
