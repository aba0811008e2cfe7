"""Wrong input is found before training, in one sentence that names the place; right input passes."""

import copy
import json

import pytest
import torch
from conftest import write_coco, write_detector
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from rethink.checks.preflight import check, coco_categories
from rethink.checks.weights import check_weights, remote_checkpoints
from rethink.errors import ConfigError


@pytest.fixture
def cfg(tmp_path, data):
    return Config.fromfile(write_detector(tmp_path / 'tiny.py', data))


def fails(cfg, sentence, **kwargs):
    with pytest.raises(ConfigError, match=sentence) as caught:
        check(cfg, **kwargs)
    assert '\n' not in str(caught.value) and str(caught.value).endswith('.')


def test_right_input_passes(cfg):
    check(cfg, 'train', model=True)
    check(cfg, 'test')


@pytest.mark.parametrize('wrapper', ['none', 'repeat', 'concat', 'mix', 'balanced'])
def test_missing_files_also_in_wrappers(cfg, wrapper):
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = {
        'none': inner,
        'repeat': dict(type='RepeatDataset', times=2, dataset=inner),
        'concat': dict(type='ConcatDataset', datasets=[inner, copy.deepcopy(inner)]),
        'mix': dict(type='MultiImageMixDataset', dataset=dict(type='RepeatDataset', times=2, dataset=inner)),
        'balanced': dict(type='ClassBalancedDataset', dataset=inner, oversample_thr=0.1),
    }[wrapper]
    check(cfg)
    inner.data_prefix.img = 'nothing/'
    fails(cfg, r'folder .*nothing/ of train_dataloader\.dataset.* does not exist.*docs/data\.md')
    inner.ann_file = 'nothing.json'
    fails(cfg, r'annotation file .*/nothing\.json of train_dataloader\.dataset.* does not exist')


def test_missing_shapes_name_their_command(cfg):
    cfg.val_dataloader.dataset.data_root = 'data/shapes-that-nobody-made/'
    fails(cfg, r'val_dataloader.*make_shapes\.py')


def test_missing_annotations_of_the_evaluator(cfg):
    cfg.val_evaluator.ann_file = 'nothing.json'
    fails(cfg, r'annotation file nothing\.json of val_evaluator')


def test_files_that_are_not_local_are_left_alone(cfg):
    cfg.train_dataloader.dataset.backend_args = dict(backend='petrel')
    cfg.train_dataloader.dataset.data_root = 's3://bucket/'
    check(cfg)


def test_classes_that_are_not_in_the_file(cfg):
    cfg.train_dataloader.dataset.metainfo = dict(classes=('square', 'bars'))
    fails(
        cfg, r"no category for 1 of the 2 classes of train_dataloader\.dataset \('bars'; the file has 'bar', 'square'"
    )


def test_default_classes_on_other_annotations(cfg):
    cfg.train_dataloader.dataset.pop('metainfo')
    fails(cfg, 'no category for 80 of the 80 classes .* and 76 more')


def test_categories_that_would_vanish(cfg, tmp_path):
    write_coco(tmp_path / 'more', 2, classes=('square', 'bar', 'star'))
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'more')
    fails(cfg, r"1 categories that are not among the classes .*\('star'\).*allow_class_subset")
    cfg.allow_class_subset = True
    check(cfg)


@pytest.mark.parametrize(
    'model',
    [
        dict(bbox_head=dict(num_classes=3)),
        dict(roi_head=dict(bbox_head=[dict(num_classes=2), dict(num_classes=3)])),
        dict(roi_head=dict(bbox_head=dict(num_classes=2), mask_head=dict(num_classes=3))),
        dict(detector=dict(roi_head=dict(bbox_head=dict(num_classes=3)))),
    ],
)
def test_number_of_classes(cfg, model):
    cfg.model = model
    fails(cfg, r'head.*\.num_classes is 3, but train_dataloader\.dataset has 2 classes')


def test_numbers_that_count_something_else(cfg):
    cfg.model = dict(
        rpn_head=dict(num_classes=1),
        roi_head=dict(
            bbox_head=dict(num_classes=2),
            mask_head=dict(num_classes=1, class_agnostic=True),
            semantic_head=dict(num_classes=183),
        ),
    )
    check(cfg)


def test_folders_of_a_classifier(tmp_path):
    for name in ('a', 'b', 'c'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    loader = dict(dataset=dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='train'))
    cfg = Config(dict(default_scope='mmpretrain', train_dataloader=loader, model=dict(head=dict(num_classes=3))))
    check(cfg)
    cfg.model.head.num_classes = 4
    fails(cfg, 'num_classes is 4, but .*/train of .* has 3 folders')


@pytest.mark.parametrize('first', [True, False])
def test_categories_without_parsing_the_file(tmp_path, first):
    """At the beginning or the end of a big file, and with the word elsewhere."""
    categories = [dict(id=i, name=f'klasse {i} ü', text='x' * 500) for i in range(400)]
    images = [dict(id=0, file_name='"categories": [1].jpg', categories=[3])]
    other = dict(info='categories', images=images, annotations=[dict(id=i) for i in range(50_000)])
    content = dict(categories=categories, **other) if first else dict(**other, categories=categories)
    (tmp_path / 'a.json').write_text(json.dumps(content, ensure_ascii=False))
    assert coco_categories(tmp_path / 'a.json') == categories


@pytest.mark.parametrize('text', ['', '[]', '{"categories": 3}', '{"categories": [{"id": 1, "na'])
def test_files_without_categories(cfg, tmp_path, text):
    (tmp_path / 'a.json').write_text(text)
    cfg.train_dataloader.dataset.ann_file = str(tmp_path / 'a.json')
    fails(cfg, 'no list of categories')


def test_a_data_set_that_is_not_registered(cfg):
    cfg.train_dataloader.dataset.type = 'CocoDatset'
    fails(cfg, "'CocoDatset', which is no registered data set")


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.fixture
def model(cfg):
    init_default_scope('mmdet')
    return MODELS.build(cfg.model)


@pytest.fixture
def whole(model, tmp_path):
    path = tmp_path / 'whole.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return path


def weights_fail(cfg, model, sentence, **kwargs):
    with pytest.raises(ConfigError, match=sentence):
        check_weights(cfg, model, **kwargs)


def test_a_checkpoint_that_fits(cfg, model, whole, capsys):
    cfg.load_from = str(whole)
    check_weights(cfg, model, strict=True)
    total = sum(not key.endswith('num_batches_tracked') for key in model.state_dict())
    assert f'load_from: {total} of {total} tensors' in capsys.readouterr().out


def test_a_test_checkpoint_of_another_model(cfg, model, whole, tmp_path):
    weights = model.state_dict()
    weights['bbox_head.conv_cls.weight'] = torch.zeros(80, 16, 3, 3)
    del weights['neck.lateral_convs.0.conv.weight']
    torch.save(weights, tmp_path / 'other.pth')
    cfg.load_from = str(tmp_path / 'other.pth')
    sentence = (
        r'1 are missing and 1 have another shape \(bbox_head.conv_cls.weight is \(80, 16, 3, 3\) in the file and'
    )
    weights_fail(cfg, model, sentence, strict=True)
    cfg.resume = True
    weights_fail(cfg, model, sentence)
    cfg.resume = False
    check_weights(cfg, model)  # fine-tuning from other classes is what load_from is for


def test_load_from_that_gives_nothing(cfg, model, tmp_path):
    torch.save({'encoder.weight': torch.zeros(3)}, tmp_path / 'nothing.pth')
    cfg.load_from = str(tmp_path / 'nothing.pth')
    weights_fail(cfg, model, 'gives the model nothing: 0 of .* begins with encoder.weight and the model with')


def test_init_cfg(cfg, whole, tmp_path, capsys):
    """With its prefix the backbone of a checkpoint fits, without it nothing does, and both are found before."""
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(whole), prefix='backbone.')
    check(cfg, model=True)
    assert 'init_cfg of model.backbone' in capsys.readouterr().out
    for wrong in (dict(prefix='encoder'), dict(prefix=None)):
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(whole), **wrong)
        fails(cfg, 'init_cfg of model.backbone.* gives the model nothing', model=True)
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'absent.pth'))
    fails(cfg, r'absent\.pth \(init_cfg of model\.backbone\) does not exist', model=True)


def test_init_cfg_of_another_width(cfg, whole):
    """MMEngine loads what fits and leaves the rest random; a wider stem must not pass for pre-training."""
    cfg.model.backbone.update(
        init_cfg=dict(type='Pretrained', checkpoint=str(whole), prefix='backbone.'), stem_channels=16
    )
    fails(cfg, r'does not fit: .* have another shape \(conv1\.weight is .* would stay random', model=True)


def test_init_cfg_that_would_freeze_random_weights(cfg, whole, tmp_path):
    weights = torch.load(whole, weights_only=False)
    weights = weights.get('state_dict', weights)
    partial = {key: value for key, value in weights.items() if not key.startswith('backbone.layer1.')}
    torch.save(dict(state_dict=partial), tmp_path / 'partial.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'partial.pth'), prefix='backbone.')
    cfg.model.backbone.update(init_cfg=init_cfg, frozen_stages=1)
    fails(cfg, r'lacks \d+ of the frozen tensors \(layer1\..*freeze random weights', model=True)
    cfg.model.backbone.frozen_stages = -1
    check(cfg, model=True)


def test_remote_checkpoints_are_left_to_mmengine(cfg):
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet18')
    check(cfg, model=True)
    assert remote_checkpoints(cfg) == ['torchvision://resnet18']


def test_checkpoints_that_are_none(cfg, model, whole, tmp_path):
    broken = tmp_path / 'broken.pth'
    cfg.load_from = str(broken)
    fails(cfg, r'the checkpoint .*broken\.pth does not exist')
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    weights_fail(cfg, model, 'half-written')
    broken.write_text('a text, not a pickle')
    weights_fail(cfg, model, 'broken.pth .* is not a PyTorch checkpoint|half-written')
    torch.save([1, 2], broken)
    weights_fail(cfg, model, 'holds a list')
