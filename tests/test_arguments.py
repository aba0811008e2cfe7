"""The command lines of all tools: the same names mean the same, help has examples that parse, and ends are alike."""

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run_tool
from rethink import arguments
from rethink.configs.overrides import Overrides

TOOLS = sorted(path for path in (ROOT / 'tools').rglob('*.py') if path.name != 'launcher.py')
# Names that are a tool's own, though a shared one looks like them.
CONFIG = 'configs/shapes/scratch_r18_gn_1x.py'


@pytest.fixture(scope='module', params=TOOLS, ids=lambda path: path.stem)
def tool(request):
    spec = importlib.util.spec_from_file_location(f'tool_{request.param.stem}', request.param)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsers(tool, monkeypatch) -> list[argparse.ArgumentParser]:
    """The parser of a tool and those of its commands, as `parse_args` has made them."""
    made = []

    def parse_args(self, *_):
        made.append(self)
        raise StopIteration

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
        with pytest.raises(StopIteration):
            tool.parse_args()
    for action in made[0]._actions:
        if isinstance(action, argparse._SubParsersAction):
            made += action.choices.values()
    return made


def test_help_has_no_default_that_is_none_and_ends_with_an_example(tool, monkeypatch):
    for parser in parsers(tool, monkeypatch):
        assert type(parser) is arguments.Parser
        text = parser.format_help()
        assert 'None' not in text and text.count('(default: (') == 0
        assert not re.search(r'\(default: .*\(default: ', ' '.join(text.split('\n  -')[-1].split()))
        after = re.split(r'\nexamples?:\n', text)[-1].splitlines()
        assert after and all(line.startswith('  ') for line in after) and f'tools/{name_of(tool)}' in text
        for action in parser._actions:
            assert action.help == argparse.SUPPRESS or action.help or action.choices or action.metavar, action
            whole = parser._get_formatter()._expand_help(action) if action.help != argparse.SUPPRESS else ''
            assert whole.count('(default') <= 1, whole


def name_of(tool) -> str:
    return str(Path(tool.__file__).relative_to(ROOT / 'tools'))


def test_examples_are_taken_by_the_tool_and_name_configs_that_are_there(tool, monkeypatch):
    said = [one for parser in parsers(tool, monkeypatch) for one in parser.examples]
    commands = [one for one in said if one.startswith('python tools/')]
    assert commands
    for command in commands:
        # A shell expands {a,b} and *.
        words = subprocess.run(
            ['bash', '-c', f'printf "%s\\0" {command}'], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split('\0')[:-1]
        assert words[:2] == ['python', f'tools/{name_of(tool)}']
        monkeypatch.setattr(sys, 'argv', words[1:])
        monkeypatch.chdir(ROOT)
        tool.parse_args()
        for word in words[2:]:
            assert not word.startswith('configs/') or (ROOT / word).exists(), word


def test_shared_arguments_are_the_same_everywhere(tool, monkeypatch):
    for parser in parsers(tool, monkeypatch):
        for action in parser._actions:
            for flag in action.option_strings:
                if flag not in arguments.SHARED or action.help == argparse.SUPPRESS:
                    continue
                assert action.help.startswith(arguments.SHARED[flag]['help']), flag
                assert action.metavar == arguments.SHARED[flag].get('metavar')
        options = {flag: action for action in parser._actions for flag in action.option_strings}
        for flag, type_of in (('--out', arguments.out_file), ('--out-dir', arguments.out_dir)):
            if flag in options and options[flag].help != argparse.SUPPRESS and name_of(tool) != 'test.py':
                assert options[flag].type in (type_of, arguments.picture)
        if '--cfg-options' in options:
            # Given twice both hold.
            assert type(options['--cfg-options']) in (Overrides, argparse._ExtendAction)


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.stem)
def test_a_wrong_request_is_one_sentence_and_exit_code_2(path):
    name = str(path.relative_to(ROOT / 'tools'))
    for wrong in ([], ['--no-such-flag', 'a', 'b', 'c']):
        done = run_tool(name, *wrong)
        assert done.returncode == 2 and not done.stdout
        assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
        assert f'{path.name}' in done.stderr and '--help has' in done.stderr


@pytest.mark.parametrize(
    'command',
    [
        ['analysis_tools/scaling.py', CONFIG, '--out', '{file}/below'],
        ['analysis_tools/scaling.py', CONFIG, '--out', '{folder}'],
        ['analysis_tools/scaling.py', CONFIG, '--gpus', '0'],
        ['analysis_tools/drift.py', 'a.pth', 'b.pth', '--out-dir', '{file}'],
        ['analysis_tools/learning_curves.py', 'a', '--out', '{folder}/a.jpg'],
        ['misc/export_config.py', CONFIG, '{file}/x.py'],
        ['misc/print_config.py', CONFIG, '--save-path', '{file}/x.py'],
        ['misc/check_config.py', CONFIG, '--gpus', '0'],
        ['study.py', 'plan', 'configs/shapes/study_rethink.yml', '--gpu-ids', '0,1,2', '--gpus', '2'],
        ['study.py', 'plan', 'configs/shapes/study_rethink.yml', '--gpus', 'many'],
    ],
    ids=lambda command: ' '.join(command[:1] + command[-2:]).replace('/', ' '),
)
def test_what_cannot_be_written_or_is_no_number_is_told_before_anything_is_done(command, tmp_path):
    (tmp_path / 'file').write_text('')
    given = [one.format(file=tmp_path / 'file', folder=tmp_path) for one in command]
    done = run_tool(*given)
    assert done.returncode == 2 and done.stderr.startswith('error: ') and done.stderr.count('\n') == 1, done.stderr
    assert os.listdir(tmp_path) == ['file']


@pytest.mark.parametrize(
    ('old', 'now', 'given'),
    [
        (['study.py', 'plan', 'S', '--out', 'x'], ['study.py', 'plan', 'S', '--out-dir', 'x'], '--out-dir'),
        (['study.py', 'plan', 'S', '--processes', '2'], ['study.py', 'plan', 'S', '--gpus', '2'], '--gpus'),
        (['grid_search.py', 'C', '--out', 'x'], ['grid_search.py', 'C', '--out-dir', 'x'], '--out-dir'),
        (['misc/check_config.py', 'C', '--json'], ['misc/check_config.py', 'C', '--format', 'json'], '--format json'),
    ],
    ids=lambda one: ' '.join(one).replace('/', ' ') if isinstance(one, list) else '',
)
def test_documented_names_of_before_are_taken_and_say_the_new_one(old, now, given, monkeypatch, capsys):
    found = []
    for name, *words in (old, now):
        spec = importlib.util.spec_from_file_location('tool_of_old', ROOT / 'tools' / name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [name, *words])
        found.append((vars(module.parse_args()), capsys.readouterr().err))
    assert found[0][0] == found[1][0] and not found[1][1]
    assert found[0][1].count('\n') == 1 and f'is called {given} now' in found[0][1]


def closed_pipe(*command, head: int = 0) -> tuple[int, str]:
    """Exit code and stderr of a tool whose reader stops after so many lines."""
    line = f'{shlex.join([sys.executable, *command])} | head -n {head}; exit ${{PIPESTATUS[0]}}'
    env = os.environ | dict(CUDA_VISIBLE_DEVICES='')
    done = subprocess.run(['bash', '-c', line], cwd=ROOT, env=env, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.stem)
def test_help_into_a_closed_pipe_is_quiet(path):
    code, errors = closed_pipe(str(path), '--help')
    assert code in (0, arguments.CLOSED_PIPE) and errors == ''


@pytest.mark.parametrize(
    'command',
    [
        ['misc/check_config.py', 'configs/rethink/scratch_r50_gn_6x.py', '--format', 'json'],
        ['misc/diff_configs.py', *[f'configs/rethink/{one}_r50_gn_6x.py' for one in ('scratch', 'pretrain')], '--all'],
        ['misc/print_config.py', 'configs/rethink/scratch_r50_gn_6x.py'],
        ['study.py', 'plan', 'configs/shapes/study_rethink.yml'],
        ['analysis_tools/learning_curves.py', '--published', 'configs/rethink/metafile.yml'],
    ],
    ids=lambda command: Path(command[0]).stem,
)
def test_a_reader_that_stops_ends_a_tool_quietly(command):
    """`head` closes the pipe while the tool still has its imports before it, so that its first write fails."""
    code, errors = closed_pipe(f'tools/{command[0]}', *command[1:])
    assert code == arguments.CLOSED_PIPE and errors == ''


def test_a_training_whose_reader_stops_ends_quietly_as_well(tmp_path, data):
    """Its log lines go through `logging`, which shows a traceback for each that it cannot write."""
    from conftest import write_detector

    file = write_detector(tmp_path / 'tiny.py', data)
    code, errors = closed_pipe('tools/train.py', str(file), '--work-dir', str(tmp_path / 'work'), head=1)
    assert code == arguments.CLOSED_PIPE and 'Traceback' not in errors and 'Logging error' not in errors
    assert 'BrokenPipe' not in errors


def test_a_file_that_is_written_is_the_last_line_on_stderr_and_its_folder_is_made(tmp_path):
    out = tmp_path / 'new' / 'folder' / 'scaling.md'
    done = run_tool('analysis_tools/scaling.py', CONFIG, '--format', 'markdown', '--out', out)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f'Written: {out}' and out.read_text() == done.stdout
