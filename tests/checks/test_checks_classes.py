"""Classes of annotations, data set and head: those that differ are found before training."""

import gzip
import json

import pytest
from checked import OURS, annotations, data_of, fails, found
from conftest import write_coco, write_detector
from mmengine.config import Config
from rethink.checks import check, stop_on_errors


@pytest.fixture
def cfg(tmp_path, data):
    return Config.fromfile(write_detector(tmp_path / 'tiny.py', data))


def test_classes_that_are_not_in_the_file(cfg):
    cfg.train_dataloader.dataset.metainfo = dict(classes=('square', 'bars'))
    fails(
        cfg, r"no category for 1 of the 2 classes of train_dataloader\.dataset \('bars'; the file has 'bar', 'square'"
    )


def test_default_classes_on_other_annotations(cfg):
    cfg.train_dataloader.dataset.pop('metainfo')
    fails(cfg, 'no category for 80 of the 80 classes .* and 76 more')


def test_classes_that_may_be_meant_as_one(cfg, tmp_path):
    """Of COCO's file, which has each as a category; what differs in more than capitals and spaces is another name."""
    write_coco(tmp_path / 'more', 4, classes=('square', 'Square ', 'bar', 'bar2'))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(
            data_root=str(tmp_path / 'more'), metainfo=dict(classes=('square', 'Square ', 'bar', 'bar2'))
        )
    (one,) = [one for one in check(cfg) if one.rule == 'alike-classes']
    assert one.level == 'warning' and "alone ('square', 'Square ')" in one.what and "'bar" not in one.what


def test_categories_that_would_vanish(cfg, tmp_path):
    write_coco(tmp_path / 'more', 2, classes=('square', 'bar', 'star'))
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'more')
    fails(cfg, r"1 categories that are not among the classes .*\('star'\).*allow_class_subset")
    cfg.allow_class_subset = True
    stop_on_errors(cfg)


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
    stop_on_errors(cfg)


def test_folders_of_a_classifier(tmp_path):
    for name in ('a', 'b', 'c'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    loader = dict(dataset=dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='train'))
    cfg = Config(dict(default_scope='mmpretrain', train_dataloader=loader, model=dict(head=dict(num_classes=3))))
    stop_on_errors(cfg)
    cfg.model.head.num_classes = 4
    fails(cfg, 'num_classes is 4, but .*/train of .* has 3 folders')


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (b'', 'is not JSON: it is empty'),
        (b'[]', 'is not JSON: it is no JSON object'),
        (b'{"categories": 3}', "has no list 'images' and no list 'categories'"),
        (b'{"categories": [{"id": 1, "na', 'is not JSON: the file ends in the middle'),
        (b'{"images": [], "annotations": [], "categories": []}', 'lists no category'),
        (
            b'{"images": [], "annotations": [], "categories": ["square", "bar"]}',
            '2 of 2 entries of category .* have no id',
        ),
        ('{"images": []}'.encode('utf-16'), 'is not JSON: it is no text in UTF-8'),
        (gzip.compress(b'{"images": []}', mtime=0), 'is not JSON: it is no text in UTF-8'),
    ],
)
def test_files_without_categories(cfg, tmp_path, content, sentence):
    (tmp_path / 'a.json').write_bytes(content)
    cfg.train_dataloader.dataset.ann_file = str(tmp_path / 'a.json')
    fails(cfg, rf'(a\.json.* )?{sentence}')


def test_classes_that_are_a_set_or_there_twice(cfg):
    for classes, sentence in (
        ({'square', 'bar'}, 'is a set, whose order'),
        (('bar', 'bar'), "names 'bar' more than once"),
    ):
        cfg.train_dataloader.dataset.metainfo = dict(classes=classes)
        fails(cfg, rf'metainfo\.classes of train_dataloader\.dataset {sentence}')


@pytest.mark.parametrize('change', ['fewer', 'capitals', 'more'])
def test_it_is_the_file_that_differs(cfg, data, tmp_path, change):
    """As of a converter that lists what occurs in a part: what is to change is that file, and not the classes."""
    content = json.loads((data / 'annotations.json').read_text())
    if change == 'fewer':
        content['categories'] = content['categories'][:1]
        content['annotations'] = [one for one in content['annotations'] if one['category_id'] == 1]
    elif change == 'capitals':
        content['categories'] = [one | dict(name=one['name'].title()) for one in content['categories']]
    else:
        content['categories'].append(dict(id=3, name='star'))
        content['annotations'][0]['category_id'] = 3
    (tmp_path / 'val.json').write_text(json.dumps(content))
    cfg.val_dataloader.dataset.ann_file = cfg.val_evaluator.ann_file = str(tmp_path / 'val.json')
    fails(cfg, rf'{tmp_path}/val\.json has .* of val_dataloader.*; give it the categories of {data}/annotations\.json')


def test_classes_of_file_config_and_head(tmp_path):
    two = ('person', 'kite')
    path = annotations(tmp_path / 'two.json', 4, classes=two, segmentation=[[1, 1, 3, 1, 3, 3]])
    assert 'classes' not in found(OURS, data_of(path, classes=two))
    wrong = found(OURS, {**data_of(path, classes=two), 'model.roi_head.bbox_head.num_classes': 80})['classes']
    assert wrong.level == 'error' and 'num_classes is 80' in wrong.what
    assert "'kites'" in found(OURS, data_of(path, classes=('person', 'kites')))['classes'].what
    # Without the file, head and metainfo are still compared.
    assert 'classes' in found(OURS, {'model.roi_head.bbox_head.num_classes': 79})


def test_classes_as_text(cfg):
    cfg.train_dataloader.dataset.metainfo = dict(classes='ellipse')
    fails(cfg, r"is the text 'ellipse', of which each letter would be a class.*classes=\('ellipse',\)")


@pytest.fixture
def roboflow(tmp_path, data):
    """An export: the group as category 0, without an annotation."""
    content = json.loads((data / 'annotations.json').read_text())
    for category in content['categories']:
        category['supercategory'] = 'figures'
    content['categories'].insert(0, dict(id=0, name='figures', supercategory='none'))
    path = tmp_path / '_annotations.coco.json'
    path.write_text(json.dumps(content))
    return str(path)


def test_the_group_of_an_export_is_no_class(cfg, roboflow):
    """Left out, nothing is lost; as a class, it is one that is never seen."""
    cfg.train_dataloader.dataset.ann_file = roboflow
    stop_on_errors(cfg)
    assert not [one for one in check(cfg) if one.rule in ('classes', 'annotations')]
    cfg.train_dataloader.dataset.metainfo = dict(classes=('figures', 'square', 'bar'))
    cfg.model.bbox_head.num_classes = 3
    (said,) = [one for one in check(cfg) if one.rule == 'annotations']
    assert said.level == 'warning' and 'the group that Roboflow' in said.what
    assert "classes=('square', 'bar')" in said.fix and 'num_classes = 2' in said.fix


def test_all_that_is_to_set_is_said_at_once(cfg, roboflow):
    """Names, the group and the heads, of which one error after another would tell."""
    for part in (cfg.train_dataloader, cfg.val_dataloader):
        part.dataset.metainfo = dict(classes=('squares', 'bars', 'stars'))
    cfg.train_dataloader.dataset.ann_file = roboflow
    cfg.model.bbox_head.num_classes = 3
    found = [one for one in check(cfg) if one.rule == 'classes']
    assert {one.fix for one in found} == {
        "set metainfo = dict(classes=('square', 'bar')) in train_dataloader.dataset, val_dataloader.dataset, and "
        'model.bbox_head.num_classes = 2'
    }
    assert 'the group that Roboflow' in found[0].what
    for part in (cfg.train_dataloader, cfg.val_dataloader):
        part.dataset.metainfo = dict(classes=('square', 'bar'))
    cfg.model.bbox_head.num_classes = 2
    stop_on_errors(cfg)
