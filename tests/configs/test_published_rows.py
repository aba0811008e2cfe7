"""Every row of the paper's tables: its config takes a training step through tools/train.py and produces its metric.

The configs run as they are, on a data set in the layout that they name, of few and small images; only length, sizes
and numbers of proposals are overridden. Configs that share a model share the run.
"""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
import torchvision
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image, ImageDraw
from rethink.analysis.logs import read_run
from rethink.analysis.published import LOGGED, TTA
from rethink.datasets.person import PERSON_KEYPOINTS
from test_rethink_configs import FOLDER, INITS, MODELS_META, load

# One config for each model that a row names.
RUN = [f'{init}_{model}_6x' for model in ('r50_gn', 'r101_gn', 'r50_syncbn') for init in INITS]
RUN += [
    f'{init}_{depth}_gn_{head}_{n}x'
    for depth, heads in (('r50', ['aug_cascade']), ('r101', ['aug_cascade']), ('x152', ['aug', 'aug_cascade']))
    for head in heads
    for init, n in (('scratch', 9), ('pretrain', 6))
]
RUN += [f'{init}_r50_gn_keypoint_2x' for init in INITS]
RUN += ['scratch_vgg16_aug_11x', 'pretrain_vgg16_aug_9x']
# These run on VOC's folders, in test_voc_configs.py.
ELSEWHERE = ['scratch_r101_gn_voc_144ki', 'pretrain_r101_gn_voc_18ki']


@cache
def model_of(name: str) -> dict:
    return load(name).model.to_dict()


def write_person(draw: ImageDraw.ImageDraw, place: tuple[int, int, int, int], **more) -> dict:
    """A box painted as a person, as an annotation with a polygon and 17 visible keypoints."""
    x, y, w, h = place
    draw.rectangle([x, y, x + w, y + h], fill=(200, 30, 30))
    keypoints = [value for index in range(17) for value in (x + w * index / 17, y + h * index / 17, 2)]
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return dict(
        more,
        category_id=1,
        bbox=[x, y, w, h],
        area=w * h,
        iscrowd=0,
        segmentation=[polygon],
        keypoints=keypoints,
        num_keypoints=17,
    )


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A folder with ``data/coco`` as docs/data.md has it: two images for training, one to evaluate on."""
    root = tmp_path_factory.mktemp('rows')
    coco = root / 'data' / 'coco'
    (coco / 'annotations').mkdir(parents=True)
    categories = [dict(id=index + 1, name=name) for index, name in enumerate(CocoDataset.METAINFO['classes'])]
    for split, number in (('train2017', 2), ('val2017', 1)):
        (coco / split).mkdir()
        images, annotations = [], []
        for index in range(number):
            picture = Image.new('RGB', (160, 128), (40, 60, 40))
            draw = ImageDraw.Draw(picture)
            for person, place in enumerate([(8, 10, 60, 100), (90, 20, 50, 90)]):
                annotations.append(write_person(draw, place, id=2 * index + person + 1, image_id=index))
            picture.save(coco / split / f'{index}.jpg')
            images.append(dict(id=index, file_name=f'{index}.jpg', width=160, height=128))
        person = dict(categories[0], keypoints=list(PERSON_KEYPOINTS), skeleton=[[1, 2]])
        for kind, known in (('instances', categories), ('person_keypoints', [person])):
            content = dict(images=images, annotations=annotations, categories=known)
            (coco / 'annotations' / f'{kind}_{split}.json').write_text(json.dumps(content))
    return root


def small(cfg: Config) -> list[str]:
    """The overrides: one iteration of one image, few proposals and boxes; a box counts also with a score of 0."""
    (step,) = [at for at, one in enumerate(cfg.train_dataloader.dataset.pipeline) if 'Resize' in one.type]
    (test_step,) = [at for at, one in enumerate(cfg.val_dataloader.dataset.pipeline) if one.type == 'Resize']
    resize = cfg.train_dataloader.dataset.pipeline[step]
    key = 'scales' if 'scales' in resize else 'scale'
    sizes = '(160,128)' if isinstance(resize[key], tuple) else '[(160,112),(160,128)]'
    options = [
        f'train_dataloader.dataset.pipeline.{step}.{key}={sizes}',
        f'val_dataloader.dataset.pipeline.{test_step}.scale=(160,128)',
        'train_dataloader.batch_size=1',
        'train_cfg.max_iters=1',
        'train_cfg.val_interval=1',
        'default_hooks.logger.interval=1',
        'default_hooks.checkpoint.save_last=False',
        'model.train_cfg.rpn_proposal.max_per_img=32',
        'model.test_cfg.rpn.max_per_img=32',
        'model.test_cfg.rcnn.score_thr=-1.0',
        'model.test_cfg.rcnn.max_per_img=8',
    ]
    options += [f'{part}_dataloader.num_workers=0' for part in ('train', 'val')]
    options += [f'{part}_dataloader.persistent_workers=False' for part in ('train', 'val')]
    if 'switch_from' in cfg:
        # The cascade alone; the switch is trained through in test_switch.py.
        options.append('switch_from=None')
    return options


def imagenet(cfg: Config, file: Path) -> list[str]:
    """The overrides that name ``file`` as ImageNet weights: random ones with their names and shapes."""
    if cfg.model.backbone.type == 'VGG':
        weights = torchvision.models.vgg16().state_dict()
        keys = ['backbone.init_cfg', 'roi_head.bbox_head.init_cfg.3']
    else:
        init_default_scope('mmdet')
        backbone = MODELS.build(dict(cfg.model.backbone, init_cfg=None))
        weights, keys = backbone.state_dict(), ['backbone.init_cfg']
    torch.save(weights, file)
    return [f'model.{key}.checkpoint={file}' for key in keys]


@pytest.mark.parametrize('name', RUN)
def test_it_takes_a_step_and_produces_its_metric(name, folder, run_in_process, monkeypatch, tmp_path):
    cfg = load(name)
    options = small(cfg)
    if name.startswith('pretrain'):
        options += imagenet(cfg, tmp_path / 'weights.pth')
    # What MMEngine keeps for a whole process goes by these names.
    options += [f'experiment_name={name}', f'visualizer.name={name}']
    monkeypatch.chdir(folder)
    work_dir = tmp_path / name
    code, printed = run_in_process(
        'train.py', FOLDER / f'{name}.py', '--work-dir', work_dir, '--cfg-options', *options
    )
    assert code is None, printed[-3000:]
    log = read_run(work_dir)
    assert 0 < log.train[1]['loss'] < 100
    rows = [one for one in MODELS_META if model_of(one) == cfg.model]
    metrics = {metric for row in rows for one in MODELS_META[row].get('Results', []) for metric in one['Metrics']}
    assert metrics or 'no number' in MODELS_META[name]['Metadata']['Published']
    assert {LOGGED[metric.removesuffix(TTA)] for metric in metrics} <= log.val[1].keys()


def test_every_row_is_run():
    models = [model_of(name) for name in RUN + ELSEWHERE]
    assert not [name for name in MODELS_META if model_of(name) not in models]
