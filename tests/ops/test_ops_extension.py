"""The module in mmcv's place, and what else may be installed."""

import importlib.machinery
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
import rethink
import torch
from rethink import ops

mmcv_ops = pytest.importorskip('mmcv.ops')
over_torchvision = pytest.mark.skipif(ops.provided() == 'compiled', reason='compiled mmcv is installed')
over_compiled = pytest.mark.skipif(ops.provided() != 'compiled', reason='compiled mmcv is not installed')


@over_torchvision
def test_everything_that_looks_for_compiled_ops_finds_them():
    import mmcv
    from mmengine.utils.dl_utils import mmcv_full_available

    spec = importlib.util.find_spec('mmcv._ext')
    module = sys.modules['mmcv._ext']
    assert spec is module.__spec__ and spec.name == 'mmcv._ext' and spec.loader is module.__loader__
    assert module.__package__ == 'mmcv'
    assert mmcv._ext is module
    assert mmcv_full_available()
    assert repr(module).startswith("<module 'mmcv._ext' (")


@over_torchvision
def test_environment_report_says_what_the_ops_are():
    import torchvision

    assert mmcv_ops.get_compiler_version() == (
        f'not compiled: torchvision {torchvision.__version__} through rethink.ops'
    )
    assert mmcv_ops.get_compiling_cuda_version().startswith('not compiled: ')


@over_torchvision
def test_the_module_has_what_ops_lists():
    module = sys.modules['mmcv._ext']
    assert len(set(ops.OPS)) == len(ops.OPS)
    for name in ops.OPS:
        assert getattr(module, name) is getattr(ops, name)
    with pytest.raises(NotImplementedError, match="mmcv's op 'roi_pool_forward' is not among"):
        module.roi_pool_forward()  # torchvision rounds RoIs to whole pixels, mmcv does not


@pytest.mark.parametrize('name', sorted(ops.OPS))
def test_arguments_are_those_of_mmcv(name):
    source = Path(mmcv_ops.__file__).parent / 'csrc/pytorch/pybind.cpp'
    if not source.is_file():
        pytest.skip('this mmcv comes without its C++ sources')
    definition = re.search(rf'm[.]def\(\s*"{name}",(.*?);', source.read_text(), re.DOTALL)
    assert list(inspect.signature(getattr(ops, name)).parameters) == re.findall(r'py::arg\("(\w+)"\)', definition[1])


@over_torchvision
def test_an_op_that_is_not_there_says_which_and_what_to_do():
    with pytest.raises(NotImplementedError) as caught:
        mmcv_ops.roi_pool(torch.rand(1, 4, 4, 4), torch.rand(1, 5), 2)
    message = str(caught.value)
    assert message.startswith("mmcv's op 'roi_pool_forward' is not among those that rethink.ops provides")
    assert 'pip install' in message and 'onedl-mmcv' in message and '\n' not in message
    assert message.count('. ') == 0 and message.endswith('.')


@over_torchvision
def test_the_module_has_no_special_names_that_it_does_not_have():
    module = sys.modules['mmcv._ext']
    for name in ('__path__', '__file__', '__wrapped__', '__all__', '_private'):
        with pytest.raises(AttributeError, match=name):
            getattr(module, name)


def test_install_again_changes_nothing():
    before, count = sys.modules['mmcv._ext'], len(sys.modules)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert ops.install() == ops.install() == ops.provided()
    assert sys.modules['mmcv._ext'] is before and len(sys.modules) == count
    assert rethink.ops is ops


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A fresh copy of rethink.ops, and a folder in front of the installed packages where nothing knows mmcv yet."""
    for name in list(sys.modules):
        if name.partition('.')[0] == 'mmcv':
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.spec_from_file_location('ops_elsewhere', ops.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/__init__.py').touch()
    return module, tmp_path / 'mmcv'


def test_a_compiled_extension_that_loads_is_left_alone(elsewhere):
    module, package = elsewhere
    (package / '_ext.py').write_text("def nms():\n    return 'compiled'\n")
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert module.install() == module.install() == module.provided() == 'compiled'
    import mmcv._ext

    assert mmcv._ext.__file__ == str(package / '_ext.py')
    assert mmcv._ext.nms() == 'compiled' and not hasattr(mmcv._ext, 'softnms')


def test_a_compiled_extension_that_does_not_load_is_replaced_with_one_warning(elsewhere):
    module, package = elsewhere
    (package / f'_ext{importlib.machinery.EXTENSION_SUFFIXES[0]}').write_bytes(b'not a shared object')
    with pytest.warns(UserWarning) as caught:
        assert module.install() == module.install() == module.provided() == 'torchvision'
    (message,) = {str(warning.message) for warning in caught}
    assert len(caught) == 1
    assert message.startswith(f"mmcv's compiled ops do not load beside torch {torch.__version__} (")
    assert 'rethink.ops uses torchvision in their place' in message and '\n' not in message
    import mmcv._ext

    assert mmcv._ext.nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5, 0).tolist() == [0]


def test_no_extension_is_replaced_without_a_word(elsewhere):
    module, _ = elsewhere
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert module.install() == module.provided() == 'torchvision'
    import mmcv._ext

    assert mmcv._ext is sys.modules['mmcv._ext'] and mmcv._ext.__spec__.origin == 'ops_elsewhere'


def test_an_error_inside_a_compiled_extension_is_not_taken_for_a_missing_one(elsewhere):
    module, package = elsewhere
    (package / '_ext.py').write_text('import a_module_that_it_needs\n')
    with pytest.raises(ModuleNotFoundError, match="^No module named 'a_module_that_it_needs'$"):
        module.install()
    assert 'mmcv._ext' not in sys.modules


def test_no_mmcv_is_one_sentence(elsewhere):
    module, package = elsewhere
    (package / '__init__.py').write_text("raise ModuleNotFoundError('No module', name='mmcv')\n")
    with pytest.raises(ImportError, match='^rethink needs mmcv: `pip install .*` brings it[.]$'):
        module.install()


def test_a_torchvision_that_does_not_import_is_one_sentence(elsewhere, monkeypatch):
    module, package = elsewhere
    (package.parent / 'torchvision.py').write_text(
        "raise RuntimeError('operator torchvision::nms does not exist\\nmore')\n"
    )
    monkeypatch.delitem(sys.modules, 'torchvision')
    with pytest.raises(ImportError) as caught:
        module.install()
    assert str(caught.value) == (
        f'The installed torchvision has no compiled ops for torch {torch.__version__} (operator torchvision::nms does '
        'not exist); install both together from PyPI with `pip install --force-reinstall torch torchvision`.'
    )
    assert 'mmcv._ext' not in sys.modules


def run(code, path=None):
    """Exit status and error output of a program in another interpreter, ``path`` before the installed packages."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    if path is not None:
        environment['PYTHONPATH'] = os.pathsep.join([str(path), *filter(None, [os.environ.get('PYTHONPATH')])])
    process = subprocess.run(
        [sys.executable, '-W', 'always', '-c', textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return process.returncode, process.stderr


def test_import_is_silent():
    status, error = run(
        """
        import rethink
        import mmcv.ops, mmcv.cnn.bricks.transformer
        assert mmcv.cnn.bricks.transformer.MultiScaleDeformableAttention
        """
    )
    assert status == 0, error
    assert 'Fail to import' not in error and 'not compiled' not in error


@over_torchvision
def test_stand_ins_that_were_imported_before_are_replaced():
    mmdet = pytest.importorskip('mmdet')
    if mmdet.__version__ == '3.3.0':
        pytest.skip('classic mmdet cannot be imported without ops')
    status, error = run(
        """
        from mmdet.structures.mask import structures
        before = structures.roi_align
        import rethink, mmcv.ops
        assert before is not mmcv.ops.roi_align
        assert structures.roi_align is mmcv.ops.roi_align
        """
    )
    assert status == 0, error


def test_a_torchvision_without_ops_is_one_sentence(tmp_path):
    (tmp_path / 'mmcv.py').touch()
    (tmp_path / 'torchvision.py').write_text("__version__ = '0.0+cpu'\n")
    status, error = run(
        f"""
        import importlib.util, sys
        spec = importlib.util.spec_from_file_location('ops', {str(ops.__file__)!r})
        ops = sys.modules['ops'] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(ops)
        ops.install()
        """,
        tmp_path,
    )
    last = error.rstrip().splitlines()[-1]
    assert status == 1
    assert last.startswith('ImportError: The installed torchvision has no compiled ops for torch ')
    assert '(no torchvision::nms); install both together' in last
