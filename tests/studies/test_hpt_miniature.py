"""Study B in miniature: its configs, and from unlabelled images to box AP through the tool of a user."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT, run_tool
from mmengine.config import Config
from rethink.analysis.logs import read_run
from rethink.datasets import shapes_domains
from rethink.studies import results, study
from rethink.studies.plan import Plan

SHAPES = ROOT / 'configs' / 'shapes'
STUDY = SHAPES / 'study_hpt.yml'


def test_the_length_of_a_step_is_that_of_its_config():
    for name in ('scratch_moco_r18', 'pretrain_moco_r18', 'pretrain_moco_r18_bnonly'):
        assert Config.fromfile(SHAPES / f'{name}.py').max_iters == 100
    assert Config.fromfile(SHAPES / 'base_moco_r18.py').max_iters > 500
    plan = Plan(study.read(STUDY), Path('out'), ROOT / 'tools')
    for name in ('T_100', 'T_500', 'B+T_100', 'B+T-BN_100'):
        task = plan.task(name, 0)
        assert task.job.iterations == task.cfg.param_scheduler[0].end == int(name.split('_')[1])


def test_all_of_them_see_pixels_alike_and_have_one_backbone():
    moco, linear, detector = (
        Config.fromfile(SHAPES / f'{name}.py').model
        for name in ('scratch_moco_r18', 'freeze_r18_linear', 'finetune_r18_c4_target')
    )
    for model in (linear, detector):
        assert model.data_preprocessor.mean == moco.data_preprocessor.mean
        assert model.data_preprocessor.std == moco.data_preprocessor.std
        for key in ('depth', 'base_channels', 'stem_channels'):
            assert model.backbone[key] == moco.backbone[key]


def run_study(folder: Path, *arguments) -> Plan:
    """Run it on few images, a thirtieth of each training."""
    source, target = shapes_domains.SourceCrops(train=320), shapes_domains.TargetCrops(train=320, val=100)
    scenes = shapes_domains.TargetScenes(train=32, val=8)
    shapes_domains.write_domains(folder / 'data' / 'shapes', source, target, scenes)
    done = run_tool(
        'study.py', 'run', STUDY, '--quick', '--seeds', '1', '--out-dir', folder / 'out', *arguments, cwd=folder
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return Plan(study.read(STUDY), folder / 'out', ROOT / 'tools', seeds=[1], quick=True)


def check(plan: Plan, backbone: str) -> None:
    """What is reported is what the logs have."""
    linear, detector = (plan.task(f'{what}_{backbone}', 1) for what in ('linear', 'detector'))
    logs = [read_run(task.job.work_dir) for task in (linear, detector)]
    assert all(log.finished for log in logs)
    assert results.final(linear, 'accuracy/top1') == logs[0].val[logs[0].max_iters]['accuracy/top1'] > 0
    assert results.final(detector, 'coco/bbox_mAP') == 100 * logs[1].val[logs[1].max_iters].get('coco/bbox_mAP', 0.0)


def convolutions_as_in_the_base(folder: Path, name: str) -> list[str]:
    """Those of a backbone that nothing has moved; its BN has new statistics in any case."""
    base, other = (
        torch.load(folder / each / 'backbone.pth', weights_only=True)['state_dict'] for each in ('base', name)
    )
    assert not torch.equal(base['backbone.bn1.running_mean'], other['backbone.bn1.running_mean'])
    convolutions = [key for key in base if key.startswith('backbone.') and base[key].dim() == 4]
    return [key for key in convolutions if torch.equal(base[key], other[key])]


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.suffix in ('.pth', '.log')}


def test_from_unlabelled_images_to_box_ap(tmp_path):
    """One of the arms, as each start of a process takes seconds; a second start trains nothing."""
    plan = run_study(tmp_path, '--only', '*_B+T-BN_100')
    check(plan, 'B+T-BN_100')
    folder = tmp_path / 'out' / 'seed1'
    assert len(convolutions_as_in_the_base(folder, 'B+T-BN_100')) == 20
    before = written(folder)
    run_study(tmp_path, '--only', '*_B+T-BN_100')
    assert written(folder) == before


@pytest.mark.long
def test_all_arms(tmp_path):
    plan = run_study(tmp_path)
    for backbone in ('B', 'B+T_100', 'B+T-BN_100', 'T_100', 'T_500'):
        check(plan, backbone)
    folder = tmp_path / 'out' / 'seed1'
    for name in ('B', 'B+T-BN_100'):
        assert len(convolutions_as_in_the_base(folder, name)) == 20
    assert not convolutions_as_in_the_base(folder, 'B+T_100') and not convolutions_as_in_the_base(folder, 'T_100')
