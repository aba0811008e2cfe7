"""A config as one file: it resolves to what the chain of files does, and says where it is from."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT, run_tool
from mmengine.config import Config
from rethink.configs import export as config_export
from rethink.configs import provenance as config_provenance
from rethink.errors import ConfigError

CONFIGS = sorted((ROOT / 'configs').glob('[!_]*/*.py'))
# One of each study and of each kind of model.
QUICK = {
    'scratch_r50_gn_6x', 'pretrain_r50_gn_keypoint_2x', 'finetune_r50_c4_voc_24ki', 'freeze_r50_bn_linear_5ki',
    'pretrain_mme_b2_domainnet_50ki', 'freeze_r101_adapter_nasfpn_cascade_72e', 'classifier_r18_gn',
}  # fmt: skip


def export(file, tmp_path, stock=False, options=None):
    """The text, and what MMEngine reads from it."""
    text = config_export.export(config_provenance.read(str(file), options), stock)
    (tmp_path / 'flat.py').write_text(text)
    return text, Config.fromfile(tmp_path / 'flat.py')


@pytest.mark.parametrize(
    'file',
    [pytest.param(one, id=one.stem, marks=[] if one.stem in QUICK else pytest.mark.long) for one in CONFIGS],
)
def test_the_file_says_all_that_the_chain_says(file, tmp_path):
    cfg = Config.fromfile(file)
    if cfg.get('switch_from'):
        with pytest.raises(ConfigError, match=r'trains \w+\.py first \(switch_from\), so that one file cannot'):
            export(file, tmp_path)
        cfg.merge_from_dict(dict(switch_from=None))
    text, flat = export(file, tmp_path, options=dict(switch_from=None) if 'switch_from' in cfg else None)
    whole = cfg.to_dict()
    assert flat.to_dict() == {key: whole[key] for key in flat}
    header = ast.get_docstring(ast.parse(text))
    (named,) = re.findall(r'^Left out, as variables that nothing reads: (.*)\.$', header.replace(',\n', ', '), re.M)
    assert set(named.split(', ')) == whole.keys() - flat.keys()
    assert not {'model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'custom_imports'} & set(named.split(', '))
    assert '_base_' not in {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def test_the_header(tmp_path):
    file = ROOT / 'configs' / 'rethink' / 'scratch_r50_gn_6x.py'
    header = ast.get_docstring(ast.parse(export(file, tmp_path, options={'optim_wrapper.optimizer.lr': 0.01})[0]))
    assert header.startswith(ast.get_docstring(ast.parse(file.read_text())))
    head = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert re.search(rf'Exported by rethink \S+ from \S+scratch_r50_gn_6x\.py \(commit {head}(, changed since)?\)$',
                     header, re.M)  # fmt: skip
    assert header.index('    _base_/schedules/schedule_2x.py') < header.index('    rethink/pretrain_r50_gn_6x.py')
    assert 'with optim_wrapper.optimizer.lr=0.01' in header
    assert (
        'Needs rethink for AtomicCheckpointHook, DetectronTTAModel, LazyLoadAnnotations, PlanarPackDetInputs,'
        ' ResumableTrainLoop.'
    ) in header


def test_a_value_of_the_environment_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('HPT_BASE', 'some/where.pth')
    text, flat = export(ROOT / 'configs' / 'hpt' / 'pretrain_moco_r50_5ki.py', tmp_path)
    assert 'and in the environment HPT_BASE=some/where.pth' in text
    assert flat.custom_hooks[0].checkpoint == 'some/where.pth'


def test_without_rethink(tmp_path):
    text, flat = export(ROOT / 'configs' / 'rethink' / 'scratch_r50_gn_6x.py', tmp_path, stock=True)
    assert (flat.train_cfg.type, flat.default_hooks.checkpoint.type) == ('IterBasedTrainLoop', 'CheckpointHook')
    assert 'custom_imports' not in flat and 'tta_model' not in flat
    assert 'ResumableTrainLoop of rethink is IterBasedTrainLoop here.' in text
    assert flat.train_dataloader.dataset.pipeline[1].type == 'LoadAnnotations'
    # In an environment where there is no rethink, every name is one of MMDetection's registries.
    script = f"""
import sys
sys.modules['rethink'] = None
from mmengine.config import Config
from mmengine.registry import HOOKS, LOOPS
import mmengine.runner
cfg = Config.fromfile({str(tmp_path / 'flat.py')!r})
print(HOOKS.get(cfg.default_hooks.checkpoint.type).__name__, LOOPS.get(cfg.train_cfg.type).__name__)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == 'CheckpointHook IterBasedTrainLoop'


def test_what_mmdetection_does_not_have_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r'needs FrozenBackbone, .* of rethink at .*model\.backbone, .*install'):
        export(ROOT / 'configs' / 'frozen' / 'freeze_r50_fpn_72e.py', tmp_path, stock=True)


def test_a_value_without_a_text_is_refused(tmp_path):
    (tmp_path / 'odd.py').write_text("model = dict(type='A', value=open)\n")
    with pytest.raises(ConfigError, match=r'odd\.py cannot be written as one file: value=<.*>\) has no text'):
        export(tmp_path / 'odd.py', tmp_path)


def test_without_rethink_coco_is_evaluated_by_pycocotools(tmp_path):
    base = ROOT / 'configs' / 'rethink' / 'scratch_r50_gn_6x.py'
    file = tmp_path / 'slow.py'
    file.write_text(
        f"_base_ = {str(base)!r}\nval_evaluator = dict(backend='pycocotools')\ntest_evaluator = val_evaluator\n"
    )
    text, flat = export(file, tmp_path, stock=True)
    assert flat.val_evaluator.type == 'CocoMetric' and 'backend' not in flat.val_evaluator
    assert 'CocoMetric has no backend here: it is pycocotools.' in text


def test_names_that_rethink_registers():
    ours = config_export.registered()
    assert {'FrozenBackbone', 'AtomicCheckpointHook', 'ResumableTrainLoop', 'CocoKeypointMetric'} <= ours
    assert not {'MaskRCNN', 'CheckpointHook', 'CocoMetric', 'MoCo'} & ours


def test_the_tool(run_in_process, tmp_path):
    tool, config = 'misc/export_config.py', 'rethink::rethink/scratch_r50_gn_6x.py'
    done = run_tool(tool, config, tmp_path / 'a' / 'flat.py', '--stock')
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == f'Written: {tmp_path}/a/flat.py'
    assert Config.fromfile(tmp_path / 'a' / 'flat.py').train_cfg.max_iters == 540_000
    before = (tmp_path / 'a' / 'flat.py').read_bytes()
    code, printed = run_in_process(tool, config, tmp_path / 'a' / 'flat.py')
    assert code == 2 and 'is there already; give another name, or --force' in printed
    assert (tmp_path / 'a' / 'flat.py').read_bytes() == before
    assert run_in_process(tool, config, tmp_path / 'a' / 'flat.py', '--force')[0] in (None, 0)
    assert (tmp_path / 'a' / 'flat.py').read_bytes() != before
    code, printed = run_in_process(tool, config, tmp_path / 'flat.yml')
    assert code == 2 and 'does not end in .py' in printed
