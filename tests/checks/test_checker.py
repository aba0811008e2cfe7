"""Each rule of the checker fires on a config that it is for, and not on the corrected one."""

import json
from pathlib import Path

import mmdet
import pytest
from conftest import write_detector
from mmengine.config import Config
from rethink import config_path
from rethink.checks import checker
from rethink.checks.checker import RULES, init

MMDET = Path(mmdet.__file__).parent / '.mim' / 'configs'
MASK_RCNN = str(MMDET / 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
SCRATCH = str(MMDET / 'scratch/mask-rcnn_r50-scratch_fpn_gn-all_6x_coco.py')
OURS = config_path('rethink/scratch_r50_gn_6x.py')
RANDOM = {'model.backbone.init_cfg': None}


def found(path: str, options: dict | None = None, gpus: int | None = None) -> dict[str, checker.Finding]:
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    findings = checker.check(cfg, gpus)
    for one in findings:
        assert (
            one.level in checker.LEVELS and one.where and one.what.endswith('.') and one.why and one.source and one.fix
        )
    return {one.rule: one for one in findings}


BN = {'model.backbone.norm_cfg': dict(type='BN', requires_grad=True), 'model.backbone.norm_eval': False}
CAFFE = str(MMDET / 'mask_rcnn/mask-rcnn_r50-caffe_fpn_1x_coco.py')
MOCO = config_path('hpt/pretrain_moco_r50_5ki.py')
WEIGHTS = dict(type='Pretrained', checkpoint='moco_v2_800ep.pth', prefix='backbone.')
# rule → (level, config, overrides that trigger it, GPUs; overrides that do not, GPUs)
CASES = {
    'frozen-random': ('error', MASK_RCNN, RANDOM, None, {**RANDOM, 'model.backbone.frozen_stages': -1}, None),
    'frozen-bn-random': (
        'error',
        MASK_RCNN,
        {**RANDOM, 'model.backbone.norm_cfg': dict(type='BN', requires_grad=False)},
        None,
        {'model.backbone.norm_cfg': dict(type='BN', requires_grad=False)},
        None,
    ),
    'bn-eval-random': (
        'error',
        MASK_RCNN,
        {**RANDOM, 'model.backbone.frozen_stages': -1},
        None,
        {**RANDOM, 'model.backbone.frozen_stages': -1, 'model.backbone.norm_eval': False},
        None,
    ),
    'small-batch-bn': ('warning', OURS, BN, None, {}, None),
    'pixels': (
        'warning',
        CAFFE,
        {'model.data_preprocessor.bgr_to_rgb': True},
        None,
        {},
        None,
    ),
    'frozen-capacity': (
        'warning',
        str(MMDET / 'retinanet/retinanet_r101_fpn_1x_coco.py'),
        {'model.backbone.type': 'FrozenBackbone', 'model.backbone.of': 'ResNet'},
        None,
        {},
        None,
    ),
    'scratch-short': (
        'warning',
        config_path('rethink/scratch_r50_gn_2x.py'),
        {},
        None,
        {'train_cfg.max_iters': 540_000},
        None,
    ),
    'long-tail': ('warning', OURS, {'param_scheduler.1.milestones': [360_000, 480_000]}, None, {}, None),
    'learning-rate': ('warning', OURS, {}, 4, {}, 8),
    'hpt-long': ('note', MOCO, {'train_cfg.max_iters': 50_000}, None, {}, None),
    'hpt-key-encoder': ('warning', MOCO, {'custom_hooks': [], 'model.backbone.init_cfg': WEIGHTS}, None, {}, None),
}


@pytest.mark.parametrize('name', CASES)
def test_a_config_that_triggers_it_and_one_that_does_not(name):
    level, path, wrong, gpus, right, gpus_right = CASES[name]
    assert found(path, wrong, gpus)[name].level == level
    assert name not in found(path, right, gpus_right)


# --- rules that read annotations -------------------------------------------------------------------------------------


def annotations(path: Path, images: int, first: int = 0, classes=('person',), **more) -> str:
    records = [dict(id=first + index, file_name=f'{first + index}.jpg', width=9, height=9) for index in range(images)]
    boxes = [dict(id=1, image_id=first, category_id=1, bbox=[1, 1, 2, 2], area=4, iscrowd=0, **more)]
    categories = [dict(id=index + 1, name=name) for index, name in enumerate(classes)]
    path.write_text(json.dumps(dict(images=records, annotations=boxes, categories=categories)))
    return str(path)


def data(train: str, val: str | None = None, classes=('person',)) -> dict:
    options = {
        'model.roi_head.bbox_head.num_classes': len(classes),
        'model.roi_head.mask_head.num_classes': len(classes),
    }
    for part, path in (('train', train), ('val', val or train), ('test', val or train)):
        options[f'{part}_dataloader.dataset.ann_file'] = path
        options[f'{part}_dataloader.dataset.data_root'] = ''
        options[f'{part}_dataloader.dataset.data_prefix.img'] = 'images'
        options[f'{part}_dataloader.dataset.metainfo'] = dict(classes=classes)
    return options


def test_little_data_is_one_thing_from_scratch_and_another_fine_tuned(tmp_path):
    few, enough = annotations(tmp_path / 'few.json', 9_999), annotations(tmp_path / 'enough.json', 10_000)
    assert found(OURS, data(few))['little-data'].level == 'warning'
    # The length of COCO's schedule says nothing of so few images.
    assert 'scratch-short' not in found(OURS, {**data(few), 'train_cfg.max_iters': 90_000})
    assert 'little-data' not in found(OURS, data(enough))
    assert 'little-data' not in found(config_path('rethink/pretrain_r50_gn_6x.py'), data(few))


def test_hyper_parameters_of_the_whole_on_a_third(tmp_path):
    third = data(annotations(tmp_path / 'third.json', 35_000))
    for arm in ('scratch', 'pretrain'):
        assert found(config_path(f'rethink/{arm}_r50_gn_35k_6x.py'), third)['hyper-parameters'].level == 'note'
        assert 'hyper-parameters' not in found(config_path(f'rethink/{arm}_r50_gn_35k_retuned_6x.py'), third)


def test_classes_of_file_config_and_head(tmp_path):
    two = ('person', 'kite')
    path = annotations(tmp_path / 'two.json', 4, classes=two, segmentation=[])
    assert 'classes' not in found(OURS, data(path, classes=two))
    wrong = found(OURS, {**data(path, classes=two), 'model.roi_head.bbox_head.num_classes': 80})['classes']
    assert wrong.level == 'error' and 'num_classes is 80' in wrong.what
    assert "'kites'" in found(OURS, data(path, classes=('person', 'kites')))['classes'].what
    # Without the file, head and metainfo are still compared.
    assert 'classes' in found(OURS, {'model.roi_head.bbox_head.num_classes': 79})


def test_train_and_val_share_images(tmp_path):
    train = annotations(tmp_path / 'train.json', 10)
    assert '10 images' in found(OURS, data(train))['shared-images'].what
    assert '3 images' in found(OURS, data(train, annotations(tmp_path / 'a.json', 5, first=7)))['shared-images'].what
    assert 'shared-images' not in found(OURS, data(train, annotations(tmp_path / 'b.json', 5, first=10)))
    # The same names in another folder are other images.
    other = {**data(train, annotations(tmp_path / 'a.json', 5)), 'val_dataloader.dataset.data_prefix.img': 'others'}
    assert 'shared-images' not in found(OURS, other)
    # Also known without the files.
    assert 'shared-images' in found(OURS, data(str(tmp_path / 'nowhere.json')))


def test_masks_of_the_pipeline_and_of_the_file(tmp_path):
    assert 'masks' not in found(OURS)
    pipeline = {'train_dataloader.dataset.pipeline.1.with_mask': False}
    assert 'pipeline loads no masks' in found(OURS, pipeline)['masks'].what
    without, having = annotations(tmp_path / 'a.json', 4), annotations(tmp_path / 'b.json', 4, segmentation=[])
    assert 'has no segmentation' in found(OURS, data(without))['masks'].what
    assert 'masks' not in found(OURS, data(having))


def test_keypoints_of_the_file(tmp_path):
    config = config_path('rethink/scratch_r50_gn_keypoint_2x.py')
    without = annotations(tmp_path / 'a.json', 4)
    having = annotations(tmp_path / 'b.json', 4, keypoints=[1, 1, 2], num_keypoints=1)
    content = json.loads(Path(having).read_text())
    content['categories'][0]['keypoints'] = ['nose']
    Path(having).write_text(json.dumps(content))

    def of(path):
        return {f'{part}_dataloader.dataset.{key}': value for part in ('train', 'val', 'test') for key, value in (
            ('ann_file', path), ('data_root', ''))}  # fmt: skip

    assert found(config, of(without))['keypoints'].level == 'error'
    assert 'keypoints' not in found(config, of(having))


def test_every_rule_has_a_case():
    elsewhere = {'little-data', 'hyper-parameters', 'classes', 'shared-images', 'masks', 'keypoints'}
    assert RULES.keys() == CASES.keys() | elsewhere


# --- the questions that are asked for years --------------------------------------------------------------------------


def test_init_cfg_none_alone():
    """The usual first try: frozen stages, and BN in evaluation mode, over random weights, for 1x."""
    assert {'frozen-random', 'bn-eval-random', 'scratch-short'} <= found(MASK_RCNN, RANDOM).keys()


def test_bn_with_two_images():
    tried = {**RANDOM, **BN, 'model.backbone.frozen_stages': -1}
    wrong = found(MASK_RCNN, tried)
    assert 'small-batch-bn' in wrong and not any(one.level == 'error' for one in wrong.values())
    assert 'small-batch-bn' not in found(MASK_RCNN, {**tried, 'train_dataloader.batch_size': 8})
    synchronous = {**tried, 'model.backbone.norm_cfg': dict(type='SyncBN')}
    assert 'small-batch-bn' in found(MASK_RCNN, synchronous, gpus=2)
    assert 'small-batch-bn' not in found(MASK_RCNN, synchronous, gpus=8)


def test_weights_may_come_from_elsewhere():
    for options in (
        {**RANDOM, 'load_from': 'model.pth'},
        {**RANDOM, 'custom_hooks': [dict(type='InitFromBaseHook', checkpoint='base.pth')]},
        {**RANDOM, 'model.init_cfg': dict(type='Pretrained', checkpoint='model.pth')},
    ):
        assert not found(MASK_RCNN, options).keys() & {'frozen-random', 'bn-eval-random', 'scratch-short'}


def test_the_published_recipe_is_fine():
    assert not found(OURS) and not found(SCRATCH)


@pytest.mark.parametrize(
    'cfg',
    [
        Config.fromfile(config_path('rethink/pretrain_r50_gn_2x.py')),
        # Computes with tensors while it is built.
        Config(
            dict(
                model=dict(
                    type='FCOS',
                    backbone=dict(
                        type='FrozenBackbone', of='EfficientNet', arch='b0', out_indices=(3, 4), allow_random=True
                    ),
                    neck=dict(type='FPN', in_channels=[40, 112], out_channels=8, num_outs=2),
                    bbox_head=dict(type='FCOSHead', num_classes=2, in_channels=8),
                )
            )
        ),
    ],
    ids=['R50', 'EfficientNet'],
)
def test_trainable_share_is_that_of_the_model(cfg):
    model = init.MODELS.build(dict(cfg.model, _scope_='mmdet'))
    total = sum(one.numel() for one in model.parameters())
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert 0 < trained < total and init.trainable_share(cfg) == pytest.approx(trained / total, rel=1e-12)


# --- the tools -------------------------------------------------------------------------------------------------------


def run_tool(run_in_process, *arguments) -> tuple[int, str]:
    code, printed = run_in_process('misc/check_config.py', *arguments)
    return int(code or 0), printed


def test_levels_and_exit_codes(run_in_process):
    options = ['--cfg-options', 'model.backbone.init_cfg=None']
    code, printed = run_tool(run_in_process, MASK_RCNN, *options)
    assert code == 1 and 'frozen-random' in printed and '2 errors' in printed
    short = config_path('rethink/scratch_r50_gn_2x.py')
    assert run_tool(run_in_process, short)[0] == 0 and run_tool(run_in_process, short, '--strict')[0] == 1
    code, printed = run_tool(run_in_process, OURS, short, '--json')
    content = json.loads(printed)
    assert code == 0 and content[OURS] == [] and content[short][0]['rule'] == 'scratch-short'


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


def own_configs() -> list[Path]:
    return sorted(path for path in MMDET.glob('*/*.py') if path.parent.name not in ('_base_', 'common'))


def errors_of(paths: list[Path]) -> dict[str, list[str]]:
    wrong = {}
    for path in paths:
        try:
            cfg = Config.fromfile(str(path), import_custom_modules=False)
        except FileNotFoundError:  # a base that the package does not carry
            continue
        wrong[path.name] = [str(one) for one in checker.check(cfg) if one.level == 'error']
    return {name: errors for name, errors in wrong.items() if errors}


def test_no_false_error_in_some_configs_of_mmdetection():
    """One of each seventh folder; panoptic FPN and PVT are where errors were false once."""
    folders = {path.parent.name: path for path in own_configs()}
    some = [folders[name] for name in sorted(folders)[::7]] + [folders['panoptic_fpn'], folders['pvt']]
    assert len(some) > 10 and not errors_of(some)


@pytest.mark.long
def test_no_false_error_in_any_config_of_mmdetection():
    found = own_configs()
    assert len(found) > 700 and not errors_of(found)
