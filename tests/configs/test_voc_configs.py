"""The PASCAL VOC configs of study A against the published settings, and a training of theirs on generated data."""

import re

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rethink.analysis.logs import read_run
from rethink.analysis.published import Row
from rethink.checks import stop_on_errors
from rethink.datasets.shapes import CLASSES, DetectionSpec
from rethink.datasets.shapes_voc import write_voc
from rethink.engine import launch
from test_rethink_configs import FOLDER, MODELS_META, SETTINGS, SIZE, VOC, few_rois, in_iterations, leaves, load
from torch import nn

# The development kits' own counts: VOC2007 trainval, VOC2012 train.
IMAGES = 5011 + 5717
NUM_CLASSES = ('roi_head', 'bbox_head', 'num_classes')


@pytest.mark.parametrize('name', VOC)
def test_the_docstring_states_the_published_number_and_the_length(name):
    text, meta = (FOLDER / f'{name}.py').read_text(), MODELS_META[name]
    assert f'{meta["Results"][0]["Metrics"]["VOC mAP"]} VOC mAP, val2012; not trained by us' in text
    iterations, images = meta['Metadata']['Iterations'], meta['Metadata']['Iterations'] * 16
    assert f'{iterations // 1000}k iterations of 16 images = {images / 1e6:.2f} M images' in text
    assert meta['Metadata']['Training images'] == IMAGES
    assert f'{images / IMAGES:.0f} epochs of the {IMAGES:,} images of trainval2007 + train2012' in text
    assert 'the\npaper says 15k images' in text
    assert f'configs/rethink/{name}.py 8' in text


@pytest.mark.parametrize('name', VOC)
def test_settings(name):
    cfg, meta = load(name), MODELS_META[name]['Metadata']
    iterations = in_iterations(name.split('_')[-1])
    assert cfg.max_iters == cfg.train_cfg.max_iters == cfg.param_scheduler[1].end == iterations == meta['Iterations']
    assert cfg.param_scheduler[1].milestones == [iterations * 2 // 3, iterations * 8 // 9]

    # Published: the sets, scale augmentation in training and nothing else.
    read, annotate, resize, flip, pack = cfg.train_pipeline
    shortest, longest = SETTINGS['shorter side, aug']
    scales = [(SETTINGS['longer side'], shortest), (SETTINGS['longer side'], longest)]
    assert resize == dict(type='RandomResize', scale=scales, keep_ratio=True)
    assert annotate == dict(type='LoadAnnotations', with_bbox=True)
    assert [one.type for one in (read, flip, pack)] == ['LoadImageFromFile', 'RandomFlip', 'PlanarPackDetInputs']
    parts = cfg.train_dataloader.dataset.datasets
    assert all(part.pipeline == cfg.train_pipeline for part in parts)
    val = cfg.val_dataloader.dataset
    assert [part.ann_file for part in (*parts, val)] == [
        'VOC2007/ImageSets/Main/trainval.txt',
        'VOC2012/ImageSets/Main/train.txt',
        'VOC2012/ImageSets/Main/val.txt',
    ]
    assert [part.data_prefix.sub_data_root for part in (*parts, val)] == ['VOC2007/', 'VOC2012/', 'VOC2012/']
    assert val.test_mode and val.pipeline[1] == dict(type='Resize', scale=SIZE, keep_ratio=True)
    assert cfg.test_dataloader == cfg.val_dataloader and cfg.test_evaluator == cfg.val_evaluator
    assert cfg.val_evaluator == dict(type='VOCMetric', metric='mAP', iou_thrs=0.5, eval_mode='area')

    # Everything else is as on COCO: optimiser, batch size and warm-up too, which is ours.
    init = name.split('_')[0]
    coco = load(f'{init}_r101_gn_aug_{9 if init == "scratch" else 6}x')
    for key in ('optim_wrapper', 'auto_scale_lr', 'tta_model', 'tta_pipeline', 'env_cfg', 'custom_imports'):
        assert cfg[key] == coco[key], key
    assert cfg.param_scheduler[0] == coco.param_scheduler[0]
    assert cfg.train_dataloader.batch_size == coco.train_dataloader.batch_size
    ours, theirs = (leaves(one.model) for one in (cfg, coco))
    different = {path for path in ours.keys() | theirs.keys() if ours.get(path, '-') != theirs.get(path, '-')}
    assert {path if path == NUM_CLASSES else path[:2] for path in different} == {
        ('type',),
        ('data_preprocessor', 'pad_mask'),
        ('roi_head', 'mask_head'),
        ('roi_head', 'mask_roi_extractor'),
        ('train_cfg', 'rcnn'),
        NUM_CLASSES,
    }
    # Difficult objects are no crowds.
    assigner = coco.model.train_cfg.rcnn.assigner
    assert cfg.model.train_cfg.rcnn == dict(coco.model.train_cfg.rcnn, assigner=dict(assigner, ignore_iof_thr=-1))
    assert cfg.model.roi_head.bbox_head.num_classes == 20
    assert cfg.model.roi_head.mask_head is None and cfg.model.roi_head.mask_roi_extractor is None
    assert cfg.model.backbone.frozen_stages == SETTINGS[f'frozen stages, {init}']


def test_the_other_choice_of_images_in_the_docs():
    """docs/data.md: trainval of both years, test2007, 11 points."""
    text = (FOLDER.parents[1] / 'docs' / 'data.md').read_text()
    command = re.search(r'pretrain_r101_gn_voc_18ki\.py --cfg-options ((?:.*\\\n)+.*?)(?: +#.*)?\n', text)[1]
    options = dict(one.split('=') for one in command.replace('\\\n', ' ').split())
    cfg = launch.load_config(str(FOLDER / 'pretrain_r101_gn_voc_18ki.py'), options)
    parts = cfg.train_dataloader.dataset.datasets
    assert [part.ann_file for part in parts] == [f'VOC{year}/ImageSets/Main/trainval.txt' for year in (2007, 2012)]
    val = cfg.val_dataloader.dataset
    assert (val.ann_file, val.data_prefix.sub_data_root) == ('VOC2007/ImageSets/Main/test.txt', 'VOC2007/')
    assert cfg.val_evaluator.eval_mode == '11points' and len(options) == 4


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmdet')
    cfg = load('scratch_r101_gn_voc_144ki')
    few_rois(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


def test_forward_backward_step(model):
    inputs = demo_mm_inputs(1, [[3, 128, 160]], num_items=[3], num_classes=20)
    data = model.data_preprocessor(inputs, True)
    loss, logged = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    assert torch.isfinite(loss)
    assert logged.keys() == {'loss', 'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'acc'}
    loss.backward()
    assert not [name for name, one in model.named_parameters() if one.grad is None]
    assert model.roi_head.bbox_head.fc_cls.out_features == 21
    norms = [one for one in model.modules() if isinstance(one, nn.GroupNorm)]
    assert len(norms) == 104 + 8 + 4
    assert not [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]


def test_an_image_with_difficult_objects_alone(model):
    """VOC has such images; they are trained on as background."""
    inputs = demo_mm_inputs(1, [[3, 128, 160]], num_items=[2], num_classes=20)
    sample = inputs['data_samples'][0]
    sample.ignored_instances, sample.gt_instances = sample.gt_instances, sample.gt_instances[:0]
    data = model.data_preprocessor(inputs, True)
    losses = model.loss(data['inputs'], data['data_samples'])
    loss, logged = model.parse_losses(losses)
    assert torch.isfinite(loss) and logged['loss_bbox'] == logged['loss_rpn_bbox'] == 0 < logged['loss_cls']


@pytest.fixture(scope='module')
def devkit(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'VOCdevkit'
    write_voc(root, DetectionSpec(train=4, val=2, size=64, crowd=1), progress=False)
    return f'{root}/'


def prepare(cfg, devkit, folder):
    """Make a config run on the generated data, in this process."""
    for part in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset):
        part.data_root, part.metainfo = devkit, dict(classes=CLASSES)
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].update(num_workers=0, persistent_workers=False)
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    cfg.work_dir, cfg.launcher = str(folder), 'none'
    # What MMEngine keeps for a whole process goes by these names.
    cfg.experiment_name = cfg.visualizer.name = folder.name


def test_the_real_model_trains_and_is_evaluated_by_vocs_map(devkit, tmp_path):
    cfg = load('scratch_r101_gn_voc_144ki')
    prepare(cfg, devkit, tmp_path / 'voc-run')
    for part in cfg.train_dataloader.dataset.datasets:
        part.pipeline[2].scale = [(160, 96), (160, 128)]
    cfg.val_dataloader.dataset.pipeline[1].scale = (160, 128)
    cfg.model.roi_head.bbox_head.num_classes = len(CLASSES)
    # On one core most of the time goes into RoIs.
    cfg.model.train_cfg.rcnn.sampler.num, cfg.model.test_cfg.rpn.max_per_img = 32, 50
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.save_last = False  # half a gigabyte
    stop_on_errors(cfg)
    Runner.from_cfg(cfg).train()

    log = read_run(tmp_path / 'voc-run')
    assert set(log.train) == {1, 2} and all(0 < entry['loss'] < 100 for entry in log.train.values())
    assert 0 <= log.val[2]['pascal_voc/mAP'] <= 1
    assert log.val[2]['pascal_voc/AP50'] == pytest.approx(log.val[2]['pascal_voc/mAP'], abs=5e-4)
    row = Row('scratch_r101_gn_voc_144ki', 'VOC mAP', 'section 5.2', 77.6, log)
    assert row.measured == 100 * log.val[2]['pascal_voc/mAP']


def test_test_time_augmentation_compares_with_annotations_in_the_images_own_coordinates(devkit, tmp_path, monkeypatch):
    """VOCMetric takes the annotations from the samples, which are those of a resized and flipped view."""
    cfg = Config.fromfile(FOLDER.parent / 'shapes' / 'scratch_r18_gn_voc_1x.py')
    prepare(cfg, devkit, tmp_path / 'voc-tta')
    launch.use_tta(cfg)
    runner = Runner.from_cfg(cfg)
    seen = []
    (metric,) = runner.test_evaluator.metrics
    process = metric.process
    monkeypatch.setattr(metric, 'process', lambda batch, samples: (seen.extend(samples), process(batch, samples)))
    assert 0 <= runner.test()['pascal_voc/mAP'] <= 1
    read = runner.test_dataloader.dataset
    assert len(seen) == 2
    for index, sample in enumerate(seen):
        objects = read.get_data_info(index)['instances']
        for key, flag in (('gt_instances', 0), ('ignored_instances', 1)):
            wanted = [one['bbox'] for one in objects if one['ignore_flag'] == flag]
            assert sample[key]['bboxes'].tolist() == wanted
    assert any(len(sample['ignored_instances']['bboxes']) for sample in seen)
