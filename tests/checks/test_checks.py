"""All rules together: the tools that ask them, and the configs of this project and of MMDetection."""

import importlib
import json
from pathlib import Path

import pytest
from checked import MASK_RCNN, MMDET, OURS, found
from conftest import write_detector
from mmengine.config import Config
from rethink import checks, config_path
from rethink.checks import datasets, rules

SCRATCH = str(MMDET / 'scratch/mask-rcnn_r50-scratch_fpn_gn-all_6x_coco.py')


def test_every_rule_has_a_test():
    """In the file of its subject; what ends a run is known there by its sentence, other rules by their name."""
    for name, (find, ends) in checks.RULES.items():
        subject = find.__module__.rsplit('.', 1)[-1]
        text = (Path(__file__).parent / f'test_checks_{subject}.py').read_text()
        assert 'fails(cfg' in text if ends else f"'{name}'" in text


def test_the_order_of_the_rules_is_not_that_of_their_imports():
    stock = list(checks.RULES)
    for name in reversed(stock):
        checks.RULES[name] = checks.RULES.pop(name)
    importlib.reload(rules)
    subjects = [find.__module__ for find, _ in checks.RULES.values()]
    assert list(dict.fromkeys(subjects)) == list(dict.fromkeys(checks.RULES[name][0].__module__ for name in stock))
    for name in stock:
        checks.RULES[name] = checks.RULES.pop(name)


@pytest.fixture
def wrong(data, tmp_path) -> str:
    """The path of a config with two mistakes that would end a run, and one that would make it worthless."""
    lines = (
        "model['backbone'].update(frozen_stages=1)",
        "model['bbox_head'].update(num_classes=3)",
        "val_dataloader['dataset'].update(ann_file='nothing.json')",
    )
    return str(write_detector(tmp_path / 'wrong.py', data, '\n'.join(lines)))


def test_all_of_it_is_said_at_once(wrong, run_in_process, tmp_path):
    code, printed = run_tool(run_in_process, wrong, '--format', 'json')
    said = [(one['level'], one['rule'], one['where'], one['ends']) for one in json.loads(printed)[wrong]]
    assert code == 1 and said[:3] == [
        ('error', 'classes', 'model.bbox_head.num_classes', True),
        ('missing', 'files', 'val_dataloader.dataset', True),
        ('error', 'frozen-random', 'model.backbone.frozen_stages', False),
    ]
    # A run ends with the first, also where the others are not asked for.
    for options in ([], ['--no-check']):
        code, printed = run_in_process('train.py', wrong, '--work-dir', tmp_path / 'run', *options)
        last = printed.strip().splitlines()[-1]
        assert code == 2 and last.startswith('error: model.bbox_head.num_classes is 3, but train_dataloader.dataset ')
        others = '1 missing' if options else '1 error, 1 missing'
        assert f'(and {others} more, by python tools/misc/check_config.py); set it to 2 or correct' in last
        assert '--no-check' not in last and not (tmp_path / 'run').exists()


def test_what_is_not_on_this_machine_is_no_error_of_a_config(run_in_process):
    code, printed = run_tool(run_in_process, OURS, '--strict')
    assert code == 0 and 'missing: the annotation file' in printed and printed.strip().endswith('missing')


def test_an_annotation_file_is_read_once(data, tmp_path, monkeypatch):
    """By all the rules, the data sets and the metrics that have it."""
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data))
    parsed = []
    decode = datasets._decode_list
    monkeypatch.setattr(datasets, '_decode_list', lambda *given: parsed.append(given) or decode(*given))
    assert {one.annotations for one in checks.Facts(cfg).used} == {str(data / 'annotations.json')}
    checks.check(cfg)
    assert len(parsed) == 2  # its categories and its images


def test_the_published_recipe_is_fine():
    assert not found(OURS) and not found(SCRATCH)


def run_tool(run_in_process, *arguments) -> tuple[int, str]:
    code, printed = run_in_process('misc/check_config.py', *arguments)
    return int(code or 0), printed


def test_levels_and_exit_codes(run_in_process):
    options = ['--cfg-options', 'model.backbone.init_cfg=None']
    code, printed = run_tool(run_in_process, MASK_RCNN, *options)
    assert code == 1 and 'frozen-random' in printed and '2 errors' in printed
    short = config_path('rethink/scratch_r50_gn_2x.py')
    assert run_tool(run_in_process, short)[0] == 0 and run_tool(run_in_process, short, '--strict')[0] == 1
    code, printed = run_tool(run_in_process, OURS, short, '--format', 'json')
    content = json.loads(printed)
    rules = [[one['rule'] for one in content[path] if one['level'] != 'missing'] for path in (OURS, short)]
    assert code == 0 and rules == [[], ['scratch-short']]


def test_training_stops_on_errors_and_goes_on_when_told_to(data, tmp_path, run_in_process):
    config = write_detector(tmp_path / 'tiny.py', data)
    frozen = ['--work-dir', tmp_path / 'run', '--cfg-options', 'model.backbone.frozen_stages=1']
    frozen += ['experiment_name=frozen', 'visualizer.name=frozen', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    code, printed = run_in_process('train.py', config, *frozen)
    assert code == 2 and 'stem and stage 1 of ResNet are frozen' in printed and '--no-check' in printed
    # A warning is said and trained.
    assert '[small-batch-bn]' in printed and not (tmp_path / 'run').exists()
    code, printed = run_in_process('train.py', config, *frozen, '--no-check')
    assert not code and (tmp_path / 'run' / 'iter_2.pth').is_file()


# --- configs of ours and MMDetection's own ---------------------------------------------------------------------------


def of_ours() -> list[Path]:
    return sorted(path for path in Path(OURS).parents[1].glob('*/*.py') if path.parent.name != '_base_')


def test_no_error_in_some_configs_of_ours():
    """One of each study, beginning and backbone."""
    kinds = {(path.parent, *path.stem.split('_')[:2]): path for path in of_ours()}
    assert len(kinds) > 25 and not errors_of(list(kinds.values()))


@pytest.mark.long
def test_no_error_in_any_config_of_ours():
    assert not errors_of(of_ours())


# Errors of these are none of the rules': a variable of a child that its base has used before (docs/check_config.md).
REAL = {
    'bytetrack_yolox_x_8xb4-80e_crowdhuman-mot20train_test-mot20test.py',
    'bytetrack_yolox_x_8xb4-amp-80e_crowdhuman-mot20train_test-mot20test.py',
    'ga-fast-rcnn_r50-caffe_fpn_1x_coco.py',
    'mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-90k_coco.py',
    'mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-scp-90k_coco.py',
    'yolox_x_8xb4-80e_crowdhuman-mot20train_test-mot20test.py',
}


def own_configs() -> list[Path]:
    return sorted(path for path in MMDET.glob('*/*.py') if path.parent.name not in ('_base_', 'common'))


def errors_of(paths: list[Path]) -> dict[str, list[str]]:
    wrong = {}
    for path in paths:
        try:
            cfg = Config.fromfile(str(path), import_custom_modules=False)
        except FileNotFoundError:  # a base that the package does not carry
            continue
        wrong[path.name] = [str(one) for one in checks.check(cfg) if one.level == 'error']
    return {name: errors for name, errors in wrong.items() if errors}


def test_no_false_error_in_some_configs_of_mmdetection():
    """One of each seventh folder; panoptic FPN and PVT are where errors were false once."""
    folders = {path.parent.name: path for path in own_configs()}
    some = [folders[name] for name in sorted(folders)[::7]] + [folders['panoptic_fpn'], folders['pvt']]
    assert len(some) > 10 and not errors_of(some).keys() - REAL


@pytest.mark.long
def test_no_false_error_in_any_config_of_mmdetection():
    found = own_configs()
    assert len(found) > 700 and errors_of(found).keys() == REAL
