"""``rethink COMMAND``: the scripts of tools/ by name, from a checkout and from an installed wheel."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rethink
from conftest import ROOT, run_tool, write_coco, write_detector
from rethink import commands
from rethink.analysis.logs import read_run
from rethink.errors import ConfigError
from rethink.reuse import COMMANDS
from warm_python import warm_python

SCRIPTS = sorted(
    path for path in (ROOT / 'tools').rglob('*') if path.suffix in ('.py', '.sh') and path.stem != 'launcher'
)
TINY = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2']


def command(*given, cold=False, cwd=ROOT, **environment) -> subprocess.CompletedProcess:
    """``rethink …``, of this checkout."""
    env = os.environ | dict(CUDA_VISIBLE_DEVICES='') | environment
    python = sys.executable if cold else warm_python()
    line = [python, '-m', 'rethink', *map(str, given)]
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True)


# --- names -----------------------------------------------------------------------------------------------------------


def test_every_script_has_names_of_its_own_and_a_line():
    assert sorted(commands.scripts().values()) == SCRIPTS
    names = [name for script in commands.scripts() for name in commands.names(script)]
    assert len(names) == len(set(names)) and 'run' not in names and 'help' not in names
    assert COMMANDS.keys() <= {path.stem for path in SCRIPTS}
    listed = ' '.join(commands.listing().split())
    for path in SCRIPTS:
        line = commands.first_line(path)
        assert line.endswith(('.', ')', ':')) and ' '.join(line.split()) in listed, path
        assert all(commands.find(name) == path for name in commands.names(path.name))


@pytest.mark.parametrize('name', ['check', 'check_config', 'check-config', 'check_config.py'])
def test_one_script_by_several_names(name):
    assert commands.find(name) == ROOT / 'tools/misc/check_config.py'


@pytest.mark.parametrize(
    ('wrong', 'nearest'),
    [
        ('trian', 'train'),
        ('chek', 'check'),
        ('shapes', 'make_shapes'),
        ('train_dist', 'train'),
        ('config', 'check_config'),
    ],
)
def test_no_such_command_names_the_nearest(wrong, nearest):
    with pytest.raises(ConfigError, match=f"no command '{wrong}'; the nearest (is|are) .*{nearest}.*; rethink --help"):
        commands.find(wrong)


def test_a_wrong_command_is_one_sentence():
    for given in (['zzz'], ['--amp', 'train'], ['run', 'zzz'], ['']):
        done = command(*given)
        assert done.returncode == 2 and not done.stdout
        assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1, done.stderr


def test_help_version_and_a_reader_that_stops():
    assert command().stdout == command('--help').stdout == command('-h').stdout
    assert command('--version').stdout == f'rethink {rethink.version.with_commit()}, {Path(rethink.__file__).parent}\n'
    for given in ('', 'run'):
        line = f'{shlex.join([sys.executable, "-m", "rethink"])} {given} | head -n 0; exit ${{PIPESTATUS[0]}}'
        done = subprocess.run(['bash', '-c', line], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 141 and not done.stderr


# --- the same as the script ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'script', 'given', 'code'),
    [
        ('check', 'misc/check_config.py', ['--help'], 0),
        ('check', 'misc/check_config.py', [], 2),
        ('check', 'misc/check_config.py', ['configs/none.py'], 2),
        (
            'diff',
            'misc/diff_configs.py',
            ['{0}/scratch_r50_gn_6x.py', '{0}/pretrain_r50_gn_5x.py', '--expect', 'init'],
            1,
        ),
        ('print', 'misc/print_config.py', ['{0}/scratch_r50_gn_6x.py', '--provenance', '--only', 'model.backbone'], 0),
        ('study', 'study.py', ['status', 'configs/shapes/study_rethink.yml'], 0),
        ('study', 'study.py', ['status', 'configs/none.yml'], 2),
        ('dist_train', 'dist_train.sh', ['--help'], 0),
        ('dist_train', 'dist_train.sh', ['{0}/scratch_r50_gn_6x.py'], 2),
        ('dist-train', 'dist_train.sh', ['{0}/scratch_r50_gn_6x.py', 'none'], 2),
    ],
    ids=lambda one: one if isinstance(one, str) else '',
)
def test_a_command_prints_and_ends_as_its_script(name, script, given, code):
    given = [one.format('configs/rethink') for one in given]
    ours, theirs = command(name, *given), run_tool(script, *given)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.returncode == code and ours.stdout + ours.stderr


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_training_as_that_of_its_script(number, tmp_path, data):
    config = write_detector(tmp_path / 'tiny.py', data)
    line = [sys.executable, '-m', 'rethink', 'train', config, '--work-dir', tmp_path / 'work']
    line += ['--no-check', '--cfg-options', 'train_cfg.max_iters=5000', 'train_cfg.val_interval=5000']
    with open(tmp_path / 'said', 'w') as said:
        process = subprocess.Popen(
            list(map(str, line)),
            stdout=said,
            stderr=said,
            env=os.environ | {'CUDA_VISIBLE_DEVICES': ''},
            # What starts the tests in the background may have it ignored, as nohup does, and then it stays ignored.
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
        )
        try:
            deadline = time.monotonic() + 180
            while not (tmp_path / 'work' / 'last_checkpoint').exists():
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / 'said').read_text()
                time.sleep(0.1)
            process.send_signal(number)
            assert process.wait(60) == 128 + number
        finally:
            process.kill()
    text = (tmp_path / 'said').read_text()
    assert 'stopped; the same command with --resume goes on' in text and 'Traceback' not in text


def test_scripts_of_bash_get_the_interpreter_that_this_is(tmp_path):
    """Also where no environment is active, as with ``/path/of/venv/bin/rethink``."""
    fake = tmp_path / 'python'
    fake.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    for given, python in ((dict(PYTHON=str(fake)), str(fake)), ({}, sys.executable)):
        code = (
            'import os, sys; from rethink import commands\n'
            'os.execvp = lambda file, words: print(file, *words, os.environ["PYTHON"])\n'
            'sys.argv = ["rethink", "dist_train", "a.py", "2"]; commands.main()'
        )
        env = {key: value for key, value in os.environ.items() if key != 'PYTHON'} | given
        done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == f'bash bash {ROOT}/tools/dist_train.sh a.py 2 {python}\n'
    done = command('dist_train', 'a.py', '3', '--amp', PYTHON=str(fake))
    assert done.stdout.splitlines()[-5:] == [f'{ROOT}/tools/train.py', 'a.py', '--launcher', 'pytorch', '--amp']


# --- of an installed wheel -------------------------------------------------------------------------------------------


@pytest.fixture
def installed(wheel, tmp_path):
    """Runs the console script of the wheel in an empty folder."""

    def run(*given) -> subprocess.CompletedProcess:
        env = {key: value for key, value in os.environ.items() if key != 'PYTHON'}
        env |= dict(PYTHONPATH=str(wheel), CUDA_VISIBLE_DEVICES='')
        line = [wheel / 'bin' / 'rethink', *map(str, given)]
        return subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True)

    return run


def ran(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_every_command_of_the_wheel_has_help_that_can_be_typed_there(installed, wheel):
    listed = ran(installed('--help'))
    assert f'Configs are in {wheel}/rethink/.mim/configs;' in listed
    for path in SCRIPTS:
        usual = commands.names(path.name)[0]
        assert re.search(rf'^  {usual}\b', listed, re.MULTILINE)
        text = ran(installed(usual, '--help'))
        assert text.startswith(f'usage: rethink {usual} '), text[:200]
        assert (
            'python tools/' not in text and 'bash tools/' not in text and ' configs/' not in text.split('example')[-1]
        )
        for word in re.findall(r' rethink::(\S+)', text.split('example')[-1]):
            names = subprocess.run(['bash', '-c', f'echo {word}'], capture_output=True, text=True).stdout.split()
            assert all((wheel / 'rethink/.mim/configs' / name).is_file() for name in names), word


def test_configs_of_the_wheel_by_their_names(installed, tmp_path):
    arms = [f'rethink::rethink/{init}_r50_gn_6x.py' for init in ('scratch', 'pretrain')]
    assert ran(installed('diff', *arms, '--expect', 'init,freeze')).endswith('\n2 differences: init, freeze.\n')
    assert installed('diff', *arms, '--expect', 'init').returncode == 1
    assert 'rethink::_base_/models' in ran(installed('print', arms[0], '--provenance', '--only', 'model.backbone'))
    assert '| scratch_r50_gn_2x | box AP |' in ran(installed('curves', '--published', 'rethink::rethink/metafile.yml'))
    planned = ran(installed('study', 'plan', 'rethink::shapes/study_rethink.yml'))
    assert '.mim/tools/dataset_converters/make_shapes.py' in planned and 'rethink training_cost measures' in planned
    assert '.mim/tools/train.py' in ran(installed('study', 'plan', 'rethink::rethink'))
    missing = installed('check', 'rethink::shapes/scratch_r18_gn_1x.py')
    said = ' '.join(missing.stdout.split())
    assert missing.returncode == 0 and 'make the data with `rethink make_shapes data/shapes`' in said
    assert os.listdir(tmp_path) == []
    wrong = installed('study', 'plan', 'rethink::none/study.yml')
    assert wrong.returncode == 2 and wrong.stderr.startswith('error: there is no study ')


# Trainings and a study, each a Python of its own: of CI, beside `make test`.
@pytest.mark.long
def test_data_training_test_and_study_with_the_wheel_alone(installed, tmp_path):
    assert 'written' in ran(
        installed('make_shapes', 'data/shapes', '--train', 8, '--val', 4, '--crop-train', 10, '--crop-val', 5)
    )
    assert re.search(r'instances_val2017 +4 ', ran(installed('data', 'data/shapes/detection')))
    small = [
        f'{part}_dataloader.{key}'
        for part in ('train', 'val')
        for key in ('num_workers=0', 'persistent_workers=False')
    ]
    small += [
        *TINY,
        'train_dataloader.batch_size=1',
        'default_hooks.logger.interval=1',
        'default_hooks.checkpoint.interval=2',
    ]
    one = 'rethink::shapes/scratch_r18_gn_1x.py'
    ran(installed('dist_train', one, 2, '--work-dir', 'two', '--cfg-options', *small))
    log = read_run(tmp_path / 'two')
    assert set(log.train) == {1, 2} and 'coco/bbox_mAP' in log.val[2]
    assert 'coco/bbox_mAP' in ran(installed('test', one, 'two/iter_2.pth', '--work-dir', 'tested'))

    write_detector(tmp_path / 'tiny.py', write_coco(tmp_path / 'tiny', images=4))
    (tmp_path / 'study.yml').write_text('question: Does it run?\nmetric: coco/bbox_mAP\nruns: {tiny: {}}\n')
    ran(installed('study', 'run', 'study.yml', '--out-dir', 'out'))
    report = (tmp_path / 'out' / 'report.md').read_text()
    assert 'rethink study run' in report and 'tools/study.py' not in report
