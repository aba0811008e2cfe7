"""LVIS: a label is a place in a file, images have addresses, and what an evaluation asks for is there before it."""

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from checked import fails
from conftest import CLASSES
from lvis_data import as_v05, images_of_v05, lvis_config, lvis_file, swap, write_lvis
from mmdet.datasets import LVISV05Dataset
from mmengine.registry import METRICS
from rethink.checks import check, data_files, data_report, stop_on_errors
from rethink.registering import use_scope

BOTH = r"from place 1 on 'bar', 'square' and 'square', 'bar'"


@pytest.fixture
def folder(tmp_path):
    return write_lvis(tmp_path)


@pytest.fixture
def cfg(folder):
    return lvis_config(folder)


def truth_of(folder) -> list[dict]:
    return json.loads((folder / 'lvis.json').read_text())['annotations']


def ap_of_metric(folder, name: str, images=None) -> float:
    """AP by FasterLVISMetric against a file: every object of ``lvis.json`` found, labelled as in a training on it."""
    use_scope('mmdet')
    metric = METRICS.build(dict(type='mmdet.FasterLVISMetric', ann_file=str(folder / name), metric='bbox'))
    metric.dataset_meta = dict(classes=CLASSES)
    ids = sorted({one['image_id'] for one in truth_of(folder)})[:images]
    for image in ids:
        some = [one for one in truth_of(folder) if one['image_id'] == image]
        boxes = torch.tensor([one['bbox'] for one in some]).float()
        instances = dict(
            bboxes=torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1),
            scores=torch.ones(len(some)),
            labels=torch.tensor([one['category_id'] - 1 for one in some]),
        )
        metric.process({}, [dict(img_id=image, ori_shape=(64, 64), pred_instances=instances)])
    with contextlib.redirect_stdout(io.StringIO()):
        return metric.evaluate(len(ids))['lvis/bbox_AP']


def ap_of_package(monkeypatch, path, detections: list[dict]) -> float:
    import lvis

    monkeypatch.setattr(np, 'float', float, raising=False)  # which its evaluation calls
    truth = lvis.LVIS(str(path))
    evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, [dict(one, score=1.0) for one in detections]), 'bbox')
    evaluation.run()
    return evaluation.get_results()['AP']


def test_right_input_passes(cfg):
    for stage in ('train', 'test'):
        stop_on_errors(cfg, stage)
    assert not [one for one in check(cfg) if one.level == 'error']


# --- order -----------------------------------------------------------------------------------------------------------


def test_why_the_order_matters(folder, monkeypatch):
    """A file whose classes have each other's ids: by them all is found for the package, and nothing for the metric."""
    swapped = json.loads(Path(lvis_file(folder, 'val.json', swap)).read_text())
    assert ap_of_package(monkeypatch, folder / 'val.json', swapped['annotations']) == pytest.approx(1)
    assert ap_of_metric(folder, 'lvis.json') == pytest.approx(1)
    assert ap_of_metric(folder, 'val.json') == 0


def test_a_file_whose_classes_have_other_ids(folder, run_in_process):
    path = lvis_file(folder, 'val.json', swap)
    cfg = lvis_config(folder, 'val.json')
    fails(cfg, rf'val\.json lists the classes of val_dataloader\.dataset in another order than metainfo \({BOTH}')
    with pytest.raises(ValueError, match=rf'{path} --like {folder}/lvis\.json --ids'):
        stop_on_errors(cfg)
    code, _ = run_in_process('dataset_converters/order_categories.py', path, '--like', folder / 'lvis.json', '--ids')
    assert not code
    stop_on_errors(cfg)
    assert json.loads(Path(path).read_text()) == json.loads((folder / 'lvis.json').read_text())
    assert ap_of_metric(folder, 'val.json') == pytest.approx(1)


def test_parts_of_a_concatenation(folder, cfg):
    plain = cfg.train_dataloader.dataset.to_dict()
    lvis_file(folder, 'other.json', swap)
    parts = [plain, dict(plain, ann_file='other.json')]
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    fails(cfg, r'other\.json lists the classes of train_dataloader\.dataset\.datasets\[1\] in another order')
    parts[1]['metainfo'] = dict(classes=CLASSES[::-1])
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    fails(cfg, rf"other\.json of .*\[1\] lists in another order the classes of .*lvis\.json \({BOTH}.* to \('squ")


def test_training_and_validation_with_other_classes(folder):
    """Of which no metainfo tells: a label is a place."""
    lvis_file(folder, 'val.json', lambda content: content['categories'][1].update(name='rod'))
    cfg = lvis_config(folder, 'val.json')
    fails(cfg, r"val\.json of val_dataloader\.dataset has other classes than .*lvis\.json \(from place 2 on 'rod'")


@pytest.mark.parametrize('names', [('Square', 'BAR'), (' square', '_bar_'), ('square', 'bar')])
def test_another_spelling_is_no_other_order(folder, names):
    def rename(content):
        for one, name in zip(content['categories'], names, strict=True):
            one['name'] = name

    lvis_file(folder, 'val.json', rename)
    stop_on_errors(lvis_config(folder, 'val.json'))


def test_ids_that_do_not_rise(folder):
    lvis_file(folder, 'val.json', lambda content: content['categories'].reverse())
    cfg = lvis_config(folder, 'val.json')
    fails(cfg, r'val\.json of val_dataloader\.dataset does not list its categories by rising id.*--like .*lvis\.json')


# --- classes ---------------------------------------------------------------------------------------------------------


def test_classes_of_ones_own(cfg):
    """Under the 1203 of LVIS v1: names, and number of the head, at once."""
    for part in (cfg.train_dataloader, cfg.val_dataloader):
        part.dataset.pop('metainfo')
    cfg.model.bbox_head.num_classes = 1203
    findings = [one for one in check(cfg) if one.level == 'error']
    assert {one.rule for one in findings} == {'classes'}
    assert {one.fix for one in findings} == {
        "set metainfo = dict(classes=('square', 'bar')) in train_dataloader.dataset, val_dataloader.dataset, and "
        'model.bbox_head.num_classes = 2'
    }
    for part in (cfg.train_dataloader, cfg.val_dataloader):
        part.dataset.metainfo = dict(classes=CLASSES)
    cfg.model.bbox_head.num_classes = 2
    stop_on_errors(cfg)


def test_another_version_of_lvis(folder, cfg):
    """Of the other version's number and names, the data set's class is wrong or the file."""
    names = LVISV05Dataset.METAINFO['classes']

    def version(content):
        content['categories'] = [dict(id=at, name=name, frequency='r') for at, name in enumerate(names, 1)]

    lvis_file(folder, 'lvis.json', version)
    for part in ('train', 'val'):
        cfg[f'{part}_dataloader'].dataset.pop('metainfo')
    cfg.model.bbox_head.num_classes = 1203
    fails(cfg, '1230 categories and .* a LVISV1Dataset, 1203 classes.*name the annotations of the same version')
    cfg.model.bbox_head.num_classes = 1230
    images_of_v05(folder)
    lvis_file(folder, 'lvis.json', as_v05)
    for part in ('train', 'val'):
        cfg[f'{part}_dataloader'].dataset.type = 'LVISV05Dataset'
    stop_on_errors(cfg)


def test_it_is_the_file_that_differs(folder):
    """As of a converter that lists what occurs in a part."""
    path = lvis_file(folder, 'val.json', lambda content: content.update(
        categories=content['categories'][:1],
        annotations=[one for one in content['annotations'] if one['category_id'] == 1],
    ))  # fmt: skip
    cfg = lvis_config(folder, 'val.json')
    fails(cfg, rf'val\.json has 1 categories .* 2 classes.*; give it the categories of {folder}/lvis\.json')
    cfg.val_dataloader.dataset.ann_file = 'lvis.json'
    fails(cfg, rf'{path} of val_evaluator has 1 categories, and .*lvis\.json has 2.*; give it the categories of')


def test_classes_that_are_called_otherwise(folder, cfg):
    """Labels are right, and what they are called is not: a slip, or other data."""
    for part in (cfg.train_dataloader, cfg.val_dataloader):
        part.dataset.metainfo = dict(classes=('square', 'rod'))
    stop_on_errors(cfg)
    said = [one for one in check(cfg) if one.rule == 'classes']
    assert {one.level for one in said} == {'warning'} and "('rod' for 'bar')" in said[0].what
    assert "classes=('square', 'bar')" in said[0].fix
    for part in (cfg.train_dataloader, cfg.val_dataloader):
        part.dataset.metainfo = dict(classes=('cat', 'dog'))
    fails(cfg, r"2 of the 2 classes of train_dataloader\.dataset are called otherwise .*'cat' for 'square', 'dog' for")
    cfg.model.bbox_head.num_classes = 3
    for part in (cfg.train_dataloader, cfg.val_dataloader):
        part.dataset.metainfo = dict(classes=('square', 'rod'))
    fails(cfg, 'model.bbox_head.num_classes is 3')


def test_classes_as_text(cfg):
    cfg.train_dataloader.dataset.metainfo = dict(classes='ellipse')
    fails(cfg, r"is the text 'ellipse', of which each letter would be a class.*classes=\('ellipse',\)")


# --- images ----------------------------------------------------------------------------------------------------------


def without(number):
    """Without the last images and what is in them."""

    def change(content):
        content['images'] = content['images'][:number]
        content['annotations'] = [one for one in content['annotations'] if one['image_id'] < number]

    return change


def test_why_images_have_to_be_those_of_the_file(folder, monkeypatch):
    """Half of the images and all that is in them found: what is in the others counts as missed."""
    found = [one for one in truth_of(folder) if one['image_id'] < 3]
    assert ap_of_metric(folder, 'lvis.json', 3) == pytest.approx(0.505, abs=0.001)
    assert ap_of_package(monkeypatch, folder / 'lvis.json', found) == pytest.approx(0.505, abs=0.001)
    lvis_file(folder, 'three.json', without(3))
    assert ap_of_metric(folder, 'three.json', 3) == pytest.approx(1)


@pytest.mark.parametrize('version', ['1', '0.5'])
def test_an_evaluator_of_another_file(folder, version):
    changes = [as_v05] if version == '0.5' else []
    images_of_v05(folder)
    lvis_file(folder, 'lvis.json', *changes)
    other = lvis_file(folder, 'other.json', without(4))
    cfg = lvis_config(folder, kind='LVISV1Dataset' if version == '1' else 'LVISV05Dataset')
    stop_on_errors(cfg)
    cfg.val_evaluator.ann_file = other
    fails(cfg, r'val_evaluator evaluates by .*other\.json.* 2 of its 6 images are not in that file, and 0 in it would')
    cfg.val_evaluator.ann_file, cfg.val_dataloader.dataset.ann_file = str(folder / 'lvis.json'), 'other.json'
    fails(cfg, r'0 of its 4 images are not in that file, and 2 in it would count as missed')


def test_other_annotations_of_the_same_images(folder, cfg, capsys):
    cfg.val_evaluator.ann_file = lvis_file(folder, 'other.json')
    stop_on_errors(cfg)
    assert 'the AP is by those annotations' in ' '.join(capsys.readouterr().out.split())


def test_indices_count_the_rest_as_missed(cfg):
    for indices in (3, [0, 1]):
        cfg.val_dataloader.dataset.indices = indices
        fails(cfg, r'val_dataloader\.dataset\.indices takes some images.*the objects of the others would count as')
    cfg.val_dataloader.dataset.indices = None
    cfg.train_dataloader.dataset.indices = 3
    stop_on_errors(cfg)


def test_images_are_counted(folder, cfg):
    """For what is left of a last batch, and for how many are enough."""
    cfg.val_dataloader.update(drop_last=True, batch_size=4)
    fails(cfg, r'val_dataloader\.drop_last is True: 2 of 6 images are not evaluated')
    cfg.val_dataloader.batch_size = 3
    stop_on_errors(cfg)
    assert any(one.rule == 'little-data' and 'on 6 images' in one.what for one in check(cfg))


def test_images_of_training_in_validation(folder, cfg):
    lvis_file(folder, 'val.json', without(2))
    cfg = lvis_config(folder, 'val.json')
    assert any(one.rule == 'shared-images' and 'share 2 images' in one.what for one in check(cfg))
    lvis_file(folder, 'val.json', lambda content: content.update(images=content['images'][4:]), lambda content: (
        content.update(annotations=[one for one in content['annotations'] if one['image_id'] > 3])))  # fmt: skip
    lvis_file(folder, 'lvis.json', without(4))
    assert not any(one.rule == 'shared-images' for one in check(lvis_config(folder, 'val.json')))


def test_images_of_v05_have_the_names_of_2017(folder):
    lvis_file(folder, 'lvis.json', as_v05)
    cfg = lvis_config(folder, kind='LVISV05Dataset')
    fails(cfg, r"6 of the 6 images .* are missing .*'000000000000\.png'")
    images_of_v05(folder)
    stop_on_errors(cfg)


# --- what an evaluation asks for -------------------------------------------------------------------------------------


def drop(section, key, *indices):
    def change(content):
        for index, one in enumerate(content[section]):
            if not indices or index in indices:
                one.pop(key)

    return change


LACKS = {
    'neg_category_ids': (drop('images', 'neg_category_ids', 1), r'1 of 6 images \(id 1\) .*no list neg_category_ids'),
    'not_exhaustive_category_ids': (
        drop('images', 'not_exhaustive_category_ids'),
        r'6 of 6 images .* no list not_exhaustive_category_ids',
    ),
    'null': (
        lambda content: content['images'][0].update(neg_category_ids=None),
        r'1 of 6 images \(id 0\) .*no list neg_category_ids',
    ),
    'frequency': (drop('categories', 'frequency', 1), r"1 of 2 categories .* no frequency, .*\('bar'\)"),
    'another word': (
        lambda content: content['categories'][0].update(frequency='frequent'),
        r"1 of 2 categories .* no frequency, .*\('square'\)",
    ),
}


@pytest.mark.parametrize('lacks', LACKS)
def test_what_the_first_validation_would_end_with(folder, lacks, monkeypatch):
    """As the package does; and the metric by itself scores nothing of it."""
    change, sentence = LACKS[lacks]
    path = lvis_file(folder, 'val.json', change)
    with pytest.raises((KeyError, ValueError, TypeError)):
        ap_of_package(monkeypatch, path, truth_of(folder))
    with pytest.raises(ValueError, match='of LVIS|have no list'):
        ap_of_metric(folder, 'val.json')
    cfg = lvis_config(folder, 'val.json')
    fails(cfg, rf'{sentence}.*, at which the first validation ends \(lvis\); in val_dataloader.dataset: write')
    # Alone, as the file of the metric; and where nothing is scored.
    cfg = lvis_config(folder)
    cfg.val_evaluator.ann_file = path
    fails(cfg, rf'{sentence}.*in val_evaluator: write')
    cfg.val_evaluator.update(format_only=True, outfile_prefix='x')
    stop_on_errors(cfg)
    METRICS.build(dict(cfg.val_evaluator, type='mmdet.FasterLVISMetric'))
    # A training does not ask for it.
    Path(folder / 'lvis.json').rename(folder / 'right.json')
    Path(path).rename(folder / 'lvis.json')
    stop_on_errors(lvis_config(folder, 'right.json'))


def test_what_is_scored_by_pycocotools_needs_iscrowd(folder):
    """LVIS's data set, and the metric of COCO."""
    cfg = lvis_config(folder, metric='CocoMetric')
    fails(cfg, r'12 of 12 annotations .* no iscrowd, at which the first validation ends \(pycocotools\)')
    lvis_file(folder, 'lvis.json', lambda content: [one.update(iscrowd=0) for one in content['annotations']])
    stop_on_errors(cfg)


def test_validation_without_an_annotation(folder):
    lvis_file(folder, 'val.json', lambda content: content.update(annotations=[]))
    cfg = lvis_config(folder, 'val.json')
    fails(cfg, r'val\.json has no annotation, so there is nothing to find')
    cfg.val_evaluator.update(format_only=True, outfile_prefix='x')
    stop_on_errors(cfg)


def test_ids_that_are_shifted(folder):
    def shift(content):
        for one in content['annotations']:
            one['category_id'] -= 1

    lvis_file(folder, 'val.json', shift)
    fails(lvis_config(folder, 'val.json'), r'one too low, so that every box trains as another class')


# --- without a config ------------------------------------------------------------------------------------------------


def looked_at(path):
    return data_report.look(data_files.find(path), False, 1, progress=False)


@pytest.mark.parametrize('version', ['1', '0.5', 'a name and an address'])
def test_files_of_lvis_by_themselves(folder, version):
    """Told by what an image was searched for, or by how frequent a class is."""
    images_of_v05(folder)

    def both(content):
        for image in content['images']:
            image['file_name'] = image['coco_url'].rsplit('/', 1)[-1]

    changes = {'1': [], '0.5': [as_v05], 'a name and an address': [both]}[version]
    (folder / 'annotations').mkdir()
    path = lvis_file(folder, 'annotations/val2017.json', *changes)
    found = looked_at(path)
    assert not found.problems and len(found.splits[0].names) == 6
    for change, sentence in LACKS.values():
        kinds = [one for one in looked_at(lvis_file(folder, 'annotations/val2017.json', *changes, change)).problems]
        assert [one.level for one in kinds] == ['error'] and re.search(sentence, kinds[0].what), kinds


def test_files_of_coco_by_themselves_need_iscrowd(folder):
    images_of_v05(folder)
    for name, changes in (('coco', [as_v05]), ('addresses', [])):
        keys = [drop('images', key) for key in ('neg_category_ids', 'not_exhaustive_category_ids')]
        path = lvis_file(folder, f'{name}.json', *changes, *keys, drop('categories', 'frequency'))
        kinds = {one.kind for one in looked_at(path).problems}
        assert ('no-iscrowd' in kinds) == (name == 'coco') and ('lvis-images' in kinds) == (name != 'coco')


def test_files_of_lvis_in_another_order(folder):
    (one,) = data_report._orders(
        data_files.find(folder / 'lvis.json') + data_files.find(lvis_file(folder, 'v.json', swap))
    )
    assert one.level == 'error' and one.fix.endswith(f'{folder}/v.json --like {folder}/lvis.json --ids')
