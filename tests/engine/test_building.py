"""What of a config cannot be built: the part, the argument or the file, and what to do."""

import json
import re

import pytest
from conftest import write_coco, write_detector
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from rethink.engine import launch
from rethink.engine.endings import cannot_be_built
from rethink.errors import ConfigError

CASES = {
    'class': (
        {'model.backbone.type': 'ResNett'},
        r'^model.backbone \(ResNett\) of .*tiny.py with its overrides cannot be built: no class ResNett is registered '
        r'as a model; the nearest names are ResNet\b',
    ),
    'argument': (
        {'model.neck.out_chanels': 16},
        r"^model.neck \(FPN\) of .* it takes no 'out_chanels'; the nearest is 'out_channels'",
    ),
    'inherited': (
        {'optim_wrapper.optimizer': dict(type='AdamW', lr=0.1)},
        r"^optim_wrapper.optimizer \(AdamW\) of .* it takes no 'momentum'; leave it out, or write _delete_=True",
    ),
    'missing': ({'model.neck': dict(_delete_=True, type='FPN')}, r'^model.neck \(FPN\) of .* it needs .*in_channels'),
    'value': ({'model.backbone.depth': 19}, r'^model.backbone \(ResNet\) of .*depth 19 .*\(raised at .*resnet.py:\d+'),
    'sentence': ({'val_evaluator.metric': 'mAP'}, "cannot be built: metric should be one of 'bbox'"),
    'assertion without a word': (
        {'model.bbox_head.norm_cfg': dict(_delete_=True, type='GN')},
        r"^model.bbox_head \(FCOSHead\) of .*AssertionError: 'num_groups' in cfg_",
    ),
    'hook': ({'custom_hooks': [dict(type='EMAHok')]}, r'no class EMAHok is registered as a hook; .*EMAHook'),
    'transform': (
        {'train_dataloader.dataset.pipeline': [dict(type='LoadImageFromFil')]},
        r'no class LoadImageFromFil is registered as a transform; the nearest names are LoadImageFromFile',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_the_part_and_what_to_do(case, data, tmp_path):
    options, sentence = CASES[case]
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data))
    cfg.merge_from_dict(dict(options, work_dir=str(tmp_path / 'run')))
    with pytest.raises((ConfigError, KeyError, TypeError)) as caught:
        runner = launch.build_runner(cfg)
        runner.build_dataloader(cfg.train_dataloader)  # when training starts
        runner.build_evaluator(cfg.val_evaluator)
        runner.build_optim_wrapper(cfg.optim_wrapper)
    text = str(caught.value)
    if not isinstance(caught.value, ConfigError):
        text = cannot_be_built(cfg, caught.value)
    assert re.search(sentence, text) and '\n' not in text, text


def test_a_record_without_a_key_names_the_file(tmp_path):
    """``KeyError: 'area'`` said nothing of where."""
    write_coco(tmp_path, images=2)
    content = json.loads((tmp_path / 'annotations.json').read_text())
    for one in content['annotations']:
        del one['bbox']
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', tmp_path))
    init_default_scope('mmdet')
    with pytest.raises(KeyError) as caught:
        DATASETS.build(cfg.train_dataloader.dataset)
    text = cannot_be_built(cfg, caught.value)
    assert text.startswith('train_dataloader.dataset (CocoDataset) of ')
    assert f"a record of {tmp_path / 'annotations.json'} has no 'bbox', which it reads; add it" in text
