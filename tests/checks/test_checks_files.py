"""Files that are not there, or are none, are found before training, in one sentence; right input passes."""

import copy

import pytest
from checked import fails
from conftest import write_detector
from mmengine.config import Config
from rethink.checks import stop_on_errors
from rethink.checks.weights import check_weights


@pytest.fixture
def cfg(tmp_path, data):
    return Config.fromfile(write_detector(tmp_path / 'tiny.py', data))


def test_right_input_passes(cfg):
    stop_on_errors(cfg)
    check_weights(cfg)
    stop_on_errors(cfg, 'test')


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
    stop_on_errors(cfg)
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
    stop_on_errors(cfg)


def test_a_folder_in_place_of_an_annotation_file(tmp_path, data):
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data))
    cfg.train_dataloader.dataset.ann_file = 'images'
    fails(
        cfg, rf'the annotation file {data}/images of train_dataloader\.dataset is a folder and not a file; name a file'
    )


def test_a_path_that_begins_with_data_root(tmp_path, data, monkeypatch):
    monkeypatch.chdir(data.parent)
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data.name))
    cfg.train_dataloader.dataset.ann_file = f'{data.name}/annotations.json'
    fails(cfg, rf'does not exist; there is {data.name}/annotations\.json: paths are below data_root')
