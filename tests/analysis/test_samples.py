"""Samples seen: counted by hand on a small data set, and by MMDetection's own pipeline."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from rethink.analysis import samples

ROOT = Path(__file__).resolve().parents[2]
ANNOTATIONS = dict(
    images=[
        dict(id=1, width=640, height=480),
        dict(id=2, width=480, height=640),
        dict(id=3, width=2000, height=500),
        dict(id=4, width=640, height=480),  # only a crowd: not trained on
        dict(id=5, width=640, height=20),  # too small
    ],
    annotations=[
        *[dict(image_id=1)] * 3,
        dict(image_id=2, iscrowd=0),
        dict(image_id=2, iscrowd=1),
        *[dict(image_id=3)] * 2,
        dict(image_id=4, iscrowd=1),
        dict(image_id=5),
    ],
)


def load(name):
    return Config.fromfile(ROOT / 'configs' / 'rethink' / f'{name}.py')


def test_counted_by_hand():
    one = samples.count(load('scratch_r50_gn_6x'), ANNOTATIONS)
    # 640 x 480 becomes 1067 x 800 (both ways round), 2000 x 500 becomes 1333 x 333.
    pixels = (2 * 640 * 480 * (800 / 480) ** 2 + 2000 * 500 * (1333 / 2000) ** 2) / 3
    assert one.detection['images'] == 540_000 * 16
    assert one.detection['instances'] == pytest.approx(540_000 * 16 * 2)
    assert one.detection['pixels'] == pytest.approx(540_000 * 16 * pixels)
    assert set(one.pretraining.values()) == {0}


def test_pretrained_arms_have_seen_imagenet():
    one = samples.count(load('pretrain_r50_gn_2x'), ANNOTATIONS)
    assert one.pretraining['images'] == one.pretraining['instances'] == 128_116_700
    assert one.pretraining['pixels'] == 128_116_700 * 224 * 224
    assert one.total('images') == 180_000 * 16 + 128_116_700


@pytest.mark.parametrize('name', ['scratch_r50_gn_6x', 'scratch_r50_gn_aug_9x'])
@pytest.mark.parametrize('size', [(640, 480), (333, 500), (1600, 400)])
def test_pixels_are_those_that_the_pipeline_makes(name, size):
    register_all_modules()
    (step,) = [step for step in load(name).train_dataloader.dataset.pipeline if 'Resize' in step.type]
    width, height = size
    transform, made = TRANSFORMS.build(step), []
    np.random.seed(0)
    for _ in range(1 if step.type == 'Resize' else 400):
        shape = transform(dict(img=np.zeros((height, width, 3), np.uint8)))['img'].shape
        made.append(shape[0] * shape[1])
    # The pipeline rounds to whole pixels, and draws.
    assert samples.resized_pixels(*size, step) == pytest.approx(np.mean(made), rel=0.02)


def test_what_is_not_known_is_refused():
    with pytest.raises(ValueError, match='only Resize and RandomResize'):
        samples.resized_pixels(10, 10, dict(type='RandomCrop'))
    with pytest.raises(ValueError, match='differ in their longer side'):
        scale = [(1333, 640), (2000, 800)]
        samples.resized_pixels(10, 10, dict(type='RandomResize', scale=scale, keep_ratio=True))
    config = load('scratch_r50_gn_6x')
    config.train_cfg = dict(by_epoch=True, max_epochs=12)
    with pytest.raises(ValueError, match='needs train_cfg.max_iters'):
        samples.count(config, ANNOTATIONS)


def test_the_tool_prints_a_table_and_draws(tmp_path, run_in_process):
    (tmp_path / 'train.json').write_text(json.dumps(dict(ANNOTATIONS, categories=[])))
    configs = [ROOT / 'configs' / 'rethink' / f'{name}.py' for name in ('pretrain_r50_gn_2x', 'scratch_r50_gn_6x')]
    tool = partial(run_in_process, 'analysis_tools/samples_seen.py')
    code, printed = tool(*configs, '--annotations', tmp_path / 'train.json', '--out', tmp_path / 'figure')
    assert code is None
    assert '| pretrain_r50_gn_2x | 128.1 + 2.9 | 128.1 + 5.8 |' in printed
    assert '| scratch_r50_gn_6x | 8.6 | 17.3 |' in printed
    assert (tmp_path / 'figure.png').stat().st_size > 10_000 and (tmp_path / 'figure.svg').exists()
    code, printed = tool(configs[0], '--annotations', 'nothing.json')
    assert code == 2 and 'error: there is no annotation file nothing.json' in printed
    voc = ROOT / 'configs' / 'rethink' / 'scratch_r101_gn_voc_144ki.py'
    assert 'trains on several data sets' in tool(voc, '--annotations', tmp_path / 'train.json')[1]
