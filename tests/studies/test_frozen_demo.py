"""Study C in miniature: its configs, and from generated data to a table through the scripts of a user."""

import json
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
from rethink.studies.demos import Demo, frozen
from rethink.studies.frozen_study import ARMS, DETECTORS

ROOT = Path(__file__).resolve().parents[2]
CLASSIFIER = 'classifier_r18_gn_tail'


def config(detector: str, arm: str) -> dict:
    return Config.fromfile(ROOT / 'configs' / 'shapes' / f'{frozen.config_name(detector, arm)}.py').to_dict()


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


def check_report(folder: Path) -> list[tuple[str, str]]:
    """Every number of the report is that of the log; detectors and arms."""
    content = json.loads((folder / 'report.json').read_text())
    for row in content['rows']:
        log = read_run(folder / frozen.config_name(row['detector'], row['arm']))
        assert log.finished and log.max_iters == 20
        assert row['ap'] == 100 * log.val[20].get('coco/bbox_mAP', 0.0)
        assert row['seconds'] > 0 and row['kept'] > 0
    for detector, classes in content['classes'].items():
        frozen_row, tuned_row = (
            next(row for row in content['rows'] if (row['detector'], row['arm']) == (detector, arm))
            for arm in ('freeze', 'finetune')
        )
        assert frozen_row['trainable'] < tuned_row['trainable'] == tuned_row['parameters']
        assert frozen_row['backward'] < tuned_row['backward'] and frozen_row['forward'] == tuned_row['forward']
        assert frozen_row['kept'] < tuned_row['kept']
        # MMDetection rounds the AP of all classes to three digits.
        for key, row in (('base', tuned_row), ('other', frozen_row)):
            mean = sum(one[key] for one in classes) / len(classes)
            assert mean == pytest.approx(row['ap'], abs=0.06)
    return [(row['detector'], row['arm']) for row in content['rows']]


def weights(folder: Path, name: str, iteration: int) -> dict:
    state = torch.load(folder / name / f'iter_{iteration}.pth', weights_only=False)['state_dict']
    return {key: value for key, value in state.items() if key.startswith('backbone.')}


def test_from_crops_to_a_table(tmp_path, capsys):
    """Two of the arms, as each start of a process takes seconds; a second start trains nothing."""
    demo = Demo(tmp_path, tmp_path / 'data', seed=1, tools=ROOT / 'tools', quick=True)
    frozen.run(demo, ('fpn',), ('freeze', 'finetune'))
    folder = tmp_path / 'frozen' / 'seed1'
    assert check_report(folder) == [('fpn', 'freeze'), ('fpn', 'finetune')]
    printed = capsys.readouterr().out
    assert 'Too short to say anything' in printed and (folder / 'frozen.png').exists()
    classifier = weights(folder, CLASSIFIER, 30)
    kept, moved = (weights(folder, frozen.config_name('fpn', arm), 20) for arm in ('freeze', 'finetune'))
    assert all(torch.equal(kept[key], value) for key, value in classifier.items())
    assert not any(torch.equal(moved[key], value) for key, value in classifier.items())

    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.suffix in ('.pth', '.log')}
    frozen.run(demo, ('fpn',), ('freeze', 'finetune'))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert capsys.readouterr().out.count('| FPN | frozen |') == 1


@pytest.mark.long
def test_all_arms_through_the_command(tmp_path):
    done = run_tool('demo.py', '--study', 'frozen', '--quick', '--out', tmp_path / 'out', '--data', tmp_path / 'data')
    assert done.returncode == 0, done.stderr[-3000:]
    found = check_report(tmp_path / 'out-quick' / 'frozen' / 'seed0')
    assert found == [(detector, arm) for detector in DETECTORS for arm in ARMS]
