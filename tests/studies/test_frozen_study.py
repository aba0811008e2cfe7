"""Study C in miniature: its configs, and from generated data to results through the tool of a user."""

from pathlib import Path

import pytest
import torch
from conftest import run_tool
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from rethink.analysis.logs import read_run
from rethink.datasets import shapes_tail
from rethink.studies import results, study
from rethink.studies.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
CLASSIFIER = 'classifier_r18_gn_tail'
STUDY = ROOT / 'configs' / 'shapes' / 'study_frozen.yml'
DETECTORS = ('fpn', 'nasfpn_cascade')


def name(detector: str, arm: str) -> str:
    return f'{arm}_r18_gn_tail_{detector}_2x'


def config(detector: str, arm: str) -> dict:
    return Config.fromfile(ROOT / 'configs' / 'shapes' / f'{name(detector, arm)}.py').to_dict()


def test_the_backbone_is_the_classifiers_and_classes_are_those_of_the_data():
    classifier = Config.fromfile(ROOT / 'configs' / 'shapes' / f'{CLASSIFIER}.py')
    register_all_modules()
    theirs = MMPRETRAIN_MODELS.build(classifier.model.backbone).state_dict()
    assert classifier.model.head.num_classes == 10 and tuple(classifier.classes) == shapes_tail.CLASSES
    for detector in DETECTORS:
        detector = Config(config(detector, 'finetune'))
        ours = MMDET_MODELS.build(dict(detector.model.backbone, init_cfg=None)).state_dict()
        assert {key: one.shape for key, one in ours.items()} == {key: one.shape for key, one in theirs.items()}
        one, other = classifier.model.data_preprocessor, detector.model.data_preprocessor
        assert (one.mean, one.std, one.to_rgb) == (other.mean, other.std, other.bgr_to_rgb)
        init = detector.model.backbone.init_cfg
        assert init.checkpoint.endswith(f'/{CLASSIFIER}/iter_{classifier.max_iters}.pth')
        assert detector.metainfo.classes == shapes_tail.CLASSES
        heads = detector.model.roi_head.bbox_head
        assert {head.num_classes for head in (heads if isinstance(heads, list) else [heads])} == {10}


def test_outside_the_backbone_there_is_as_much_as_the_bases_say():
    """16 % of the parameters in the small detector, 46 % in the larger one."""
    register_all_modules()
    shares = []
    for detector in DETECTORS:
        model = MMDET_MODELS.build(Config(config(detector, 'scratch')).model)
        whole, backbone = (sum(one.numel() for one in part.parameters()) for part in (model, model.backbone))
        shares.append(round(100 * (1 - backbone / whole)))
    assert shares == [16, 46]


def run_study(folder: Path, *arguments) -> Plan:
    """Run it on few images, a thirtieth of each training."""
    scenes, crops = shapes_tail.TailScenes(train=64, val=16), shapes_tail.TailCrops(train=128, val=50)
    shapes_tail.write_tail(folder / 'data' / 'shapes', scenes, crops)
    done = run_tool('study.py', 'run', STUDY, '--quick', '--out-dir', folder / 'out', *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return Plan(study.read(STUDY), folder / 'out', ROOT / 'tools', seeds=[1], quick=True)


def weights(folder: Path, name: str, iteration: int) -> dict:
    state = torch.load(folder / name / f'iter_{iteration}.pth', weights_only=False)['state_dict']
    return {key: value for key, value in state.items() if key.startswith('backbone.')}


def test_the_frozen_backbone_stays_the_classifiers_and_a_second_start_trains_nothing(tmp_path):
    """Two of the arms, as each start of a process takes seconds."""
    arguments = ['--seeds', '1', '--only', name('fpn', 'freeze'), name('fpn', 'finetune')]
    run_study(tmp_path, *arguments)
    folder = tmp_path / 'out' / 'seed1'
    classifier = weights(folder, CLASSIFIER, 30)
    kept, moved = (weights(folder, name('fpn', arm), 20) for arm in ('freeze', 'finetune'))
    assert all(torch.equal(kept[key], value) for key, value in classifier.items())
    assert not any(torch.equal(moved[key], value) for key, value in classifier.items())

    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.suffix in ('.pth', '.log')}
    run_study(tmp_path, *arguments)
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.long
def test_all_arms_are_trained_and_measured(tmp_path):
    plan = run_study(tmp_path, '--seeds', '1')
    for detector in DETECTORS:
        for arm in ('freeze', 'finetune', 'scratch'):
            task = plan.task(name(detector, arm), 1)
            log = read_run(task.job.work_dir)
            assert log.finished and log.max_iters == 20
            assert results.final(task, 'coco/bbox_mAP') == 100 * log.val[20].get('coco/bbox_mAP', 0.0)
    text = (tmp_path / 'out' / 'report.md').read_text()
    assert all(sentence in text for sentence in plan.study.claims)
