"""The detection configs of study B against metafile.yml, and a training of each on generated data."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image, ImageDraw
from rethink import checks
from rethink.analysis.logs import read_run
from rethink.checks.classes import head_classes
from rethink.checks.weights import check_weights
from rethink.datasets import bdd
from rethink.datasets.shapes import CLASSES, DetectionSpec, write_detection
from rethink.datasets.shapes_voc import write_voc
from rethink.engine.hooks.norm import bn_layers
from test_hpt_configs import FOLDER, META, MODELS_META, load

VOC, BDD, COCO_1X, COCO_2X = NAMES = [
    f'finetune_r50_c4_{task}' for task in ('voc_24ki', 'bdd_90ki', 'mask_coco_1x', 'mask_coco_2x')
]
META = META['Collections'][1]['Metadata']
SETTINGS, OURS = META['Settings'], META['Settings of ours']


def test_every_config_has_its_entry():
    assert {path.stem for path in FOLDER.glob('*_c4_*.py')} == set(NAMES)
    assert {key for key in MODELS_META if '_c4_' in key} == set(NAMES)
    for name in NAMES:
        assert MODELS_META[name]['In Collection'] == 'Hierarchical Pre-Training, detection'
        assert MODELS_META[name]['Config'] == f'configs/hpt/{name}.py'
        assert 'Results' not in MODELS_META[name] and 'Weights' not in MODELS_META[name]


@pytest.mark.parametrize('name', NAMES)
def test_the_docstring_states_what_is_published_and_the_length(name):
    text = ast.get_docstring(ast.parse((FOLDER / f'{name}.py').read_text()))
    entry = MODELS_META[name]['Metadata']
    assert f'Published: {entry["Published"]}; not trained by us.' in text
    iterations, images = entry['Iterations'], entry['Iterations'] * entry['Batch Size']
    length = f'Length: {iterations // 1000}k iterations of {entry["Batch Size"]} images = {images / 1e6:.2f} M images'
    assert f'{length}, {images / entry["Training images"]:.0f} epochs of' in text
    assert f'bash tools/dist_train.sh configs/hpt/{name}.py {SETTINGS["processes"]}' in text


@pytest.mark.parametrize('name', NAMES)
def test_settings(name):
    cfg, entry = load(name), MODELS_META[name]['Metadata']
    settings = entry['Own settings']
    assert cfg.max_iters == cfg.train_cfg.max_iters == entry['Iterations']
    assert cfg.train_dataloader.batch_size * SETTINGS['processes'] == SETTINGS['batch size'] == entry['Batch Size']
    assert cfg.auto_scale_lr.base_batch_size == SETTINGS['batch size']
    wanted = dict(lr=SETTINGS['learning rate'], momentum=OURS['momentum'], weight_decay=OURS['weight decay'])
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', **wanted)
    warm_up, drops = cfg.param_scheduler
    assert (warm_up.type, warm_up.end) == ('LinearLR', settings['warm-up'])
    assert (warm_up.start_factor, warm_up.by_epoch) == (OURS['warm-up begins with'], False)
    assert (drops.type, drops.gamma, drops.by_epoch, drops.end) == ('MultiStepLR', 0.1, False, cfg.max_iters)
    assert drops.milestones == settings['drops']

    begin, estimate = cfg.custom_hooks
    assert begin.type == 'InitFromBaseHook'
    assert estimate == dict(type='ReestimateBNHook', num_images=OURS['images for statistics of BN'], interval='val')

    model = cfg.model
    for rpn, stage in ((model.train_cfg.rpn_proposal, 'training'), (model.test_cfg.rpn, 'test')):
        ours = OURS if stage == 'training' else SETTINGS
        assert (rpn.nms_pre, rpn.max_per_img) == tuple(
            ours[f'RPN {kind}-NMS top, {stage}'] for kind in ('pre', 'post')
        )
    anchors = model.rpn_head.anchor_generator
    assert [anchors.strides[0] * scale for scale in anchors.scales] == OURS['anchors']
    assert model.train_cfg.rcnn.sampler.num == OURS['RoI batch per image']
    assigner = model.train_cfg.rpn.assigner
    assert assigner.min_pos_iou == OURS['IoU of the best anchor, least'] and assigner.match_low_quality
    roi_layer = model.roi_head.bbox_roi_extractor.roi_layer
    assert (roi_layer.output_size, roi_layer.sampling_ratio) == (OURS['RoIAlign size'], 0)
    assert model.test_cfg.rcnn.nms.iou_threshold == OURS['NMS, test']
    for part in (model.backbone, model.roi_head.shared_head):
        assert part.norm_cfg == dict(type='SyncBN', requires_grad=True)
    assert (model.backbone.norm_eval, model.backbone.frozen_stages, model.backbone.style) == (False, -1, 'pytorch')
    assert ('mask_head' in model.roi_head) == ('mask' in name)

    assert (cfg.test_dataloader, cfg.test_evaluator) == (cfg.val_dataloader, cfg.val_evaluator)
    classes = {VOC: 20, BDD: 10}.get(name, 80)
    assert [number for _, number in head_classes(model)] == [classes] * (2 if 'mask' in name else 1)


def pipelines(cfg: Config) -> list:
    dataset = cfg.train_dataloader.dataset
    return [part.pipeline for part in dataset.get('datasets', [dataset])]


@pytest.mark.parametrize('name', NAMES)
def test_images_get_the_published_sizes(name):
    register_all_modules()
    cfg, settings = load(name), MODELS_META[name]['Metadata']['Own settings']
    lowest, highest, step = settings['shorter side, lowest, highest, step']
    longest = settings['longer side']
    np.random.seed(0)
    for pipeline in pipelines(cfg):
        assert [one.type for one in pipeline] == [
            'LoadImageFromFile',
            'LazyLoadAnnotations' if 'mask' in name else 'LoadAnnotations',
            'RandomChoiceResize',
            'RandomFlip',
            'PlanarPackDetInputs',
        ]
        assert pipeline[1].get('with_mask', False) == ('mask' in name)
        # A tenth of the sizes, which all have their own.
        resize = dict(pipeline[2], scales=[(longest / 10, shorter / 10) for _, shorter in pipeline[2].scales])
        assert {one[0] for one in pipeline[2].scales} == {longest}
        resize = Compose([TRANSFORMS.build(resize)])
        drawn = {min(resize(dict(img=np.zeros((48, 48, 3), np.uint8)))['img'].shape[:2]) for _ in range(300)}
        assert drawn == {round(shorter / 10) for shorter in range(lowest, highest + 1, step)}
    (resize,) = [one for one in cfg.val_dataloader.dataset.pipeline if one.type == 'Resize']
    longest = settings.get('longer side, test', longest)
    assert resize.scale == (longest, settings['shorter side, test']) and resize.keep_ratio


@pytest.mark.parametrize('name', [COCO_1X, COCO_2X])
def test_no_side_of_coco_is_longer_than_1200_in_training(name):
    """INPUT.MAX_SIZE_TRAIN of HPT's release; a picture of 480 x 640 at 800 would be 1067, of 480 x 800 1333."""
    (resize,) = [one for one in load(name).train_dataloader.dataset.pipeline if one.type == 'RandomChoiceResize']
    resize = TRANSFORMS.build(dict(resize, scales=[max(resize.scales)]))
    assert resize(dict(img=np.zeros((480, 800, 3), np.uint8)))['img'].shape[:2] == (720, 1200)


def test_the_images():
    voc = load(VOC)
    parts = [*voc.train_dataloader.dataset.datasets, voc.val_dataloader.dataset]
    assert [part.ann_file for part in parts] == [
        'VOC2007/ImageSets/Main/trainval.txt',
        'VOC2012/ImageSets/Main/trainval.txt',
        'VOC2007/ImageSets/Main/test.txt',
    ]
    assert [part.data_prefix.sub_data_root for part in parts] == ['VOC2007/', 'VOC2012/', 'VOC2007/']
    assert load(BDD).train_dataloader.dataset.ann_file == 'annotations/detection_train.json'
    assert load(BDD).train_dataloader.dataset.data_prefix.img == 'images/100k/train/'
    assert load(BDD).val_dataloader.dataset.data_prefix.img == 'images/100k/val/'
    for name in (COCO_1X, COCO_2X):
        assert load(name).train_dataloader.dataset.ann_file == 'annotations/instances_train2017.json'
        assert load(name).val_evaluator.ann_file.endswith('instances_val2017.json')


def test_pixels_are_mocos_and_on_bdd_those_of_its_pre_training():
    facts = Config.fromfile(FOLDER.parent / '_base_' / 'datasets' / 'hpt_bdd_weather.py')
    for name in NAMES:
        pixels = load(name).model.data_preprocessor
        mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
        wanted = (facts.mean, facts.std) if name == BDD else (mean, std)
        assert (pixels.mean, pixels.std) == wanted and pixels.bgr_to_rgb


def test_the_backbone_is_a_variable(monkeypatch):
    for name in NAMES:
        assert load(name).custom_hooks[0].checkpoint == 'checkpoints/moco_v2_800ep_pretrain.pth.tar'
    monkeypatch.setenv('HPT_BASE', '/work_dirs/backbone.pth')
    for name in NAMES:
        assert load(name).custom_hooks[0].checkpoint == '/work_dirs/backbone.pth'


def test_weights_of_norms_do_not_decay_and_all_others_do():
    init_default_scope('mmdet')
    cfg = load(COCO_1X)
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    of_norms = {one for layer in bn_layers(model).values() for one in layer.parameters()}
    assert len(of_norms) == 2 * 54
    seen = set()
    for group in wrapper.param_groups:
        for parameter in group['params']:
            wanted = OURS['weight decay of norms'] if parameter in of_norms else OURS['weight decay']
            assert (group['weight_decay'], group['lr']) == (wanted, SETTINGS['learning rate'])
            seen.add(parameter)
    assert seen >= set(model.parameters())


# --- a training of each ----------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def base(tmp_path_factory) -> Path:
    """A backbone as the hook exports it: R50, random."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    backbone = MODELS.build(dict(type='ResNet', depth=50, norm_cfg=dict(type='BN'), zero_init_residual=False))
    backbone.init_weights()
    file = tmp_path_factory.mktemp('base') / 'backbone.pth'
    torch.save(dict(state_dict={f'backbone.{key}': one for key, one in backbone.state_dict().items()}), file)
    return file


def write_bdd(root: Path) -> None:
    """Three images for training, of which one is held out, and one other; a car in each."""
    for split, number in dict(train=3, val=1).items():
        folder = root / 'images' / '100k' / split
        folder.mkdir(parents=True)
        items = []
        for index in range(number):
            picture = Image.new('RGB', (160, 90), (40, 60, 40))
            ImageDraw.Draw(picture).rectangle([20, 30, 110, 80], fill=(200, 30, 30))
            picture.save(folder / f'{index}.jpg')
            box = dict(x1=20.0, y1=30.0, x2=110.0, y2=80.0)
            items.append(dict(name=f'{index}.jpg', labels=[dict(category='car', box2d=box)]))
        (root / 'labels').mkdir(exist_ok=True)
        (root / 'labels' / f'bdd100k_labels_images_{split}.json').write_text(json.dumps(items))
    bdd.convert(root, val=1, progress=False)


def on_generated_data(cfg: Config, name: str, root: Path) -> None:
    """Write a few images in the layout that a config asks for, and point it at them."""
    spec, parts = DetectionSpec(train=4, val=2, size=64, crowd=1), [cfg.train_dataloader.dataset]
    metainfo = dict(classes=CLASSES)
    if name == VOC:
        write_voc(root, spec, progress=False)
        parts = cfg.train_dataloader.dataset.datasets
        # What is generated has no other.
        parts[1].ann_file = 'VOC2012/ImageSets/Main/train.txt'
        cfg.val_dataloader.dataset.update(ann_file='VOC2012/ImageSets/Main/val.txt')
        cfg.val_dataloader.dataset.data_prefix.sub_data_root = 'VOC2012/'
    elif name == BDD:
        write_bdd(root)
        metainfo = cfg.metainfo
    else:
        write_detection(root, spec, progress=False)
    for dataset in (*parts, cfg.val_dataloader.dataset):
        dataset.update(data_root=f'{root}/', metainfo=metainfo)
        if 'pipeline' in dataset and dataset.pipeline[2].type == 'RandomChoiceResize':
            dataset.pipeline[2].scales = [(160, 64), (160, 96)]
    for head in cfg.model.roi_head.values():
        if isinstance(head, dict) and 'num_classes' in head:
            head.num_classes = len(metainfo['classes'])
    (resize,) = [one for one in cfg.val_dataloader.dataset.pipeline if one.type == 'Resize']
    resize.scale = (160, 96)
    if 'ann_file' in cfg.val_evaluator:
        cfg.val_evaluator.ann_file = f'{root}/{cfg.val_dataloader.dataset.ann_file}'
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator


METRICS = {
    VOC: ['pascal_voc/mAP', *(f'pascal_voc/AP{iou}' for iou in range(50, 100, 5))],
    BDD: [f'coco/bbox_mAP{iou}' for iou in ('', '_50', '_75')],
    COCO_1X: [f'coco/{kind}_mAP{iou}' for kind in ('bbox', 'segm') for iou in ('', '_50', '_75')],
}


@pytest.mark.parametrize('name', [VOC, BDD, COCO_1X])
def test_it_trains_estimates_its_statistics_and_produces_its_metrics(name, base, tmp_path, monkeypatch):
    monkeypatch.setenv('HPT_BASE', str(base))
    cfg = load(name)
    on_generated_data(cfg, name, tmp_path / 'data')
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].update(num_workers=0, persistent_workers=False)
    # On one core most of the time goes into RoIs.
    cfg.model.train_cfg.rcnn.sampler.num = cfg.model.test_cfg.rpn.max_per_img = 8
    cfg.custom_hooks[1].num_images = 2
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    cfg.train_cfg.update(max_iters=1, val_interval=1)
    # In the first step of a warm-up scales of 1 do not move by a float32.
    cfg.param_scheduler[0].start_factor = 1.0
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.save_last = False
    cfg.work_dir, cfg.experiment_name, cfg.launcher = str(tmp_path / name), name, 'none'
    cfg.visualizer.name = name
    checks.stop_on_errors(cfg)
    check_weights(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()

    log = read_run(tmp_path / name)
    assert 0 < log.train[1]['loss'] < 100
    found = log.val[1]
    assert {key for key in found if key.startswith(('coco/', 'pascal_voc/'))} >= set(METRICS[name])
    assert all(-1 <= found[key] <= 1 for key in METRICS[name])
    if name == VOC:
        assert found['pascal_voc/mAP'] == pytest.approx(np.mean([found[key] for key in METRICS[VOC][1:]]), abs=5e-4)
    (file,) = (tmp_path / name).rglob('*.log')
    assert 'Estimated the statistics of 54 BN layers on 2 training images.' in file.read_text()
    # All layers have moved away from the base, those of res5 among them.
    weights = torch.load(base, weights_only=True)['state_dict']
    state = runner.model.state_dict()
    for key, before in weights.items():
        after = state[key.replace('backbone.layer4', 'roi_head.shared_head.layer4')]
        assert not torch.equal(after, before), key


def test_difficult_objects_of_voc_are_no_targets(tmp_path):
    """Unlike in Detectron2, which trains on them (docs/hpt.md)."""
    init_default_scope('mmdet')
    cfg = load(VOC)
    on_generated_data(cfg, VOC, tmp_path / 'data')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    difficult = 0
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        difficult += len(sample.ignored_instances)
        assert len(sample.gt_instances)
    assert difficult
