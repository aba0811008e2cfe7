"""What the tools and the package import before they need it. Time is what the benchmarks are for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_coco

ROOT = Path(__file__).resolve().parents[1]
TOOLS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'tools').rglob('*.py') if path.name != 'launcher.py')
LARGE = {'torch', 'torchvision', 'mmcv', 'mmdet', 'mmpretrain', 'matplotlib', 'scipy', 'bokeh', 'timm'}
# A tool that has read its arguments reads configs with MMEngine's, which imports NumPy and rich.
NONE_OF = LARGE | {'mmengine', 'numpy', 'rich', 'cv2', 'pycocotools', 'PIL', 'yaml', 'tqdm'}
# The defaults that its help prints are those of what it draws with.
DRAWS = {'tools/dataset_converters/make_shapes.py': {'numpy', 'cv2', 'pycocotools', 'tqdm'}}
CONFIGS = [f'configs/rethink/{init}_r50_gn_6x.py' for init in ('scratch', 'pretrain')]
RUN = """
import contextlib, io, json, os, runpy, sys
def imported(code):
    names = sorted({name.partition('.')[0] for name in sys.modules})
    print(json.dumps([code, names]), file=sys.__stdout__, flush=True)
os._exit = lambda code: (imported(code), os.kill(os.getpid(), 9))
try:
    with contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as stop:
    imported(stop.code or 0)
else:
    imported(0)
"""


def python(code: str, *arguments: str) -> list:
    """What a program prints as JSON in its last line, in a process of its own."""
    command = [sys.executable, '-c', code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run(tool: str, *arguments: str) -> tuple[int, set[str]]:
    """Exit code of a tool, and the packages that it has imported."""
    code, names = python(f'import sys; sys.argv = {[tool, *arguments]!r}\n{RUN}')
    return code, set(names)


@pytest.mark.parametrize('tool', TOOLS)
def test_help_imports_nothing(tool):
    code, names = run(tool, '--help')
    assert code == 0 and names & NONE_OF <= DRAWS.get(tool, set())


@pytest.mark.parametrize(
    'command',
    [
        ['tools/misc/diff_configs.py', *CONFIGS],
        ['tools/misc/diff_configs.py', CONFIGS[0], '--cfg-options', 'model.backbone.depth=101', '--format', 'html'],
        ['tools/misc/print_config.py', CONFIGS[0]],
        ['tools/misc/print_config.py', CONFIGS[0], '--provenance'],
        ['tools/study.py', 'plan', 'configs/shapes/study_rethink.yml'],
        ['tools/study.py', 'status', 'configs/shapes/study_rethink.yml'],
        ['tools/analysis_tools/learning_curves.py', '--published', 'configs/rethink/metafile.yml'],
    ],
    ids=lambda command: ' '.join(Path(one).name for one in command[:3]),
)
def test_reading_configs_imports_neither_pytorch_nor_mmdetection(command):
    code, names = run(*command)
    assert code == 0 and 'mmengine' in names and not names & LARGE


def test_data_are_looked_at_without_pytorch(tmp_path):
    """Images, sizes and duplicates too; what decodes pixels is MMCV, which imports it."""
    write_coco(tmp_path)
    code, names = run('tools/misc/check_data.py', str(tmp_path))
    assert code == 0 and 'numpy' in names and not names & LARGE


@pytest.mark.parametrize('module', ['rethink.run', 'rethink'])
@pytest.mark.parametrize('arguments', [[], ['--help']], ids=['alone', 'help'])
def test_the_list_of_tools_imports_nothing(module, arguments):
    listed = (
        f'import runpy, sys; sys.argv = {[module, *arguments]!r}; runpy.run_module({module!r}, run_name="__main__")'
    )
    names = python(f"{listed}; import json; print(json.dumps([one.partition('.')[0] for one in sys.modules]))")
    assert not set(names) & NONE_OF


def test_wrong_pictures_are_told_before_anything_large_is_imported(tmp_path):
    code, names = run('tools/image_demo.py', str(tmp_path), CONFIGS[0])
    assert code == 2 and not names & LARGE


@pytest.mark.parametrize('tool', ['tools/train.py', 'tools/misc/check_config.py'])
def test_a_config_that_is_not_there_is_told_before_anything_large_is_imported(tool):
    code, names = run(tool, 'configs/none.py')
    assert code == 2 and not names & LARGE


def test_importing_the_package_imports_nothing():
    code = "import rethink, sys, json; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    assert not set(python(code)) & NONE_OF


@pytest.mark.parametrize('first', ['rethink', 'mmengine.runner', 'mmcv'])
def test_what_configs_name_is_registered_and_guarded_whatever_was_imported_first(first):
    code = f"""
import json, {first}
import mmengine.config
import rethink
from mmdet.registry import MODELS
found = [MODELS.get(name) is not None for name in ('BottleneckNASFPN', 'FrozenBackbone', 'mmpretrain.MME')]
import mmcv, numpy, torch
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets.api_wrappers import COCO
from mmdet.datasets.transforms import LoadAnnotations
found += [hasattr(one, 'guarded') for one in (torch.load, numpy.load, mmcv.imfrombytes, COCO.loadRes)]
found += [hasattr(one, '__wrapped__') for one in (LoadImageFromFile.transform, LoadAnnotations._load_seg_map)]
print(json.dumps(found))
"""
    assert python(code) == [True] * 9


@pytest.mark.parametrize('collects', [True, False])
def test_what_is_imported_is_not_looked_through_for_garbage(collects):
    """And garbage is collected afterwards as it was before."""
    code = 'import gc, json, sys\nif sys.argv[1] == "False": gc.disable()\n'
    code += 'import rethink.registering\nrethink.registering.now()\n'
    code += 'import torch\nseen = {id(one) for one in gc.get_objects()}\n'
    code += 'kept = [id(sys.modules[name]) in seen for name in ("torch.nn", "mmdet.models", "mmpretrain.models")]\n'
    code += 'print(json.dumps([gc.isenabled(), kept]))'
    assert python(code, str(collects)) == [collects, [False, False, False]]
