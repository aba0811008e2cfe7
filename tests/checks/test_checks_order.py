"""Classes in another order: what MMDetection makes of it, and that it is refused with both orders."""

import json
from pathlib import Path

import pytest
import torch
from checked import fails
from conftest import CLASSES, write_detector
from lvis_data import lvis_config, lvis_file, swap, write_lvis
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink.checks import check, stop_on_errors
from rethink.datasets.shapes import CLASSES as SHAPES
from rethink.datasets.shapes import DetectionSpec
from rethink.datasets.shapes_voc import write_voc
from rethink.registering import use_scope
from web_server import web_server

BOTH = r"from place 1 on 'bar', 'square' and 'square', 'bar'"


@pytest.fixture
def other(data, tmp_path):
    """The annotations with the categories listed the other way round."""
    content = json.loads((data / 'annotations.json').read_text())
    content['categories'].reverse()
    path = tmp_path / 'other.json'
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def cfg(tmp_path, data):
    return Config.fromfile(write_detector(tmp_path / 'tiny.py', data))


def evaluated(path: Path, kept: str | None = None) -> tuple[COCOeval, CocoMetric]:
    """A file's own boxes as predictions, all or those of a class: evaluated by pycocotools, and MMDetection's metric.

    A label is the id less one, as of a model that was trained with the classes in the order of :data:`CLASSES`.
    """
    truth = COCO(str(path))
    names = {one['id']: one['name'] for one in truth.dataset['categories']}
    found = [dict(one, score=1.0) for one in truth.dataset['annotations'] if kept in (None, names[one['category_id']])]
    right = COCOeval(truth, truth.loadRes([dict(one) for one in found]), 'bbox')
    right.evaluate(), right.accumulate(), right.summarize()

    metric = CocoMetric(ann_file=str(path), metric='bbox', classwise=True)
    metric.dataset_meta = dict(classes=CLASSES)
    for image in truth.getImgIds():
        boxes = [one for one in found if one['image_id'] == image]
        xywh = torch.tensor([one['bbox'] for one in boxes]).float()
        instances = dict(
            bboxes=torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1),
            scores=torch.ones(len(boxes)),
            labels=torch.tensor([one['category_id'] - 1 for one in boxes]),
        )
        metric.process({}, [dict(img_id=image, ori_shape=(64, 64), pred_instances=instances)])
    return right, metric


def test_what_mmdetection_makes_of_a_file_in_another_order(other, capsys):
    """Every object found, by its class in training: pycocotools says 1.0, MMDetection's metric does not."""
    right, metric = evaluated(other)
    assert right.stats[0] == pytest.approx(1)
    assert metric.evaluate(12)['coco/bbox_mAP'] < 0.1


def test_what_mmdetection_makes_of_metainfo_in_another_order(cfg, data, capsys):
    """AP is pycocotools' own, of all and of each class; in pictures each class has the other's name."""
    right, metric = evaluated(data / 'annotations.json', kept='square')
    metric.dataset_meta = dict(classes=CLASSES[::-1])
    values = metric.evaluate(12)
    assert values['coco/bbox_mAP'] == pytest.approx(right.stats[0], abs=5e-4) == pytest.approx(0.5)
    by_class = right.eval['precision'][:, :, :, 0, -1].mean(axis=(0, 1))
    assert by_class == pytest.approx([1, 0])
    assert [values[f'coco/{name}_precision'] for name in CLASSES] == pytest.approx(list(by_class))
    labels, names = labels_of(cfg, data / 'annotations.json', CLASSES[::-1])
    assert {(CLASSES[id - 1], names[label]) for id, label in labels} == {('square', 'bar'), ('bar', 'square')}


def test_what_mmdetection_makes_of_parts_in_different_orders(cfg, data, other):
    """The same objects have one label in a part and another in the next."""
    one, _ = labels_of(cfg, data / 'annotations.json', CLASSES)
    next_one, _ = labels_of(cfg, other, CLASSES[::-1])
    assert len(one) == 24 and [(id, 1 - label) for id, label in one] == next_one


def labels_of(cfg, file: Path, classes) -> tuple[list[tuple[int, int]], tuple[str, ...]]:
    """Of each object in a file, pycocotools' category and MMDetection's label; MMDetection's names of labels."""
    use_scope('mmdet')
    truth = COCO(str(file))
    built = DATASETS.build(
        dict(cfg.train_dataloader.dataset, ann_file=str(file), metainfo=dict(classes=classes), pipeline=[])
    )
    infos = [built.get_data_info(index) for index in range(len(built))]
    ids = [one['category_id'] for info in infos for one in truth.imgToAnns[info['img_id']]]
    labels = [one['bbox_label'] for info in infos for one in info['instances']]
    return list(zip(ids, labels, strict=True)), built.metainfo['classes']


def test_a_file_in_another_order_than_its_classes(cfg, other, data):
    cfg.val_dataloader.dataset.ann_file = cfg.val_evaluator.ann_file = str(other)
    fails(cfg, rf'other\.json lists the classes of val_dataloader\.dataset in another order .*{BOTH}.*--like {data}')


@pytest.fixture(params=['COCO', 'LVIS'])
def either(request, tmp_path):
    """A config, and a file whose classes have each other's places: COCO's are found by name, LVIS's by place."""
    if request.param == 'COCO':
        return request.getfixturevalue('cfg'), str(request.getfixturevalue('other'))
    folder = write_lvis(tmp_path / 'lvis')
    return lvis_config(folder), lvis_file(folder, 'other.json', swap)


def test_the_file_of_the_metric_alone(either):
    cfg, cfg.test_evaluator.ann_file = either
    fails(cfg, rf'other\.json lists the classes of test_evaluator in another order .*{BOTH}', stage='test')


def test_classes_in_another_order_than_the_files(either):
    cfg, _ = either
    for part in (cfg.train_dataloader, cfg.val_dataloader):
        part.dataset.metainfo = dict(classes=CLASSES[::-1])
    fails(cfg, r"from place 1 on 'square', 'bar' and 'bar', 'square'.*set metainfo\.classes .*\('square', 'bar'\)")


def test_parts_in_different_orders(cfg, other):
    plain = cfg.train_dataloader.dataset
    turned = dict(plain, ann_file=str(other), metainfo=dict(classes=CLASSES[::-1]))
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[plain, turned])
    fails(cfg, r'datasets\[1\] has the classes of train_dataloader\.dataset\.datasets\[0\] in another order')


def test_training_and_validation_in_different_orders(cfg, other):
    cfg.val_dataloader.dataset.metainfo = dict(classes=CLASSES[::-1])
    cfg.val_dataloader.dataset.ann_file = cfg.val_evaluator.ann_file = str(other)
    fails(cfg, rf'val_dataloader\.dataset has the classes of train_dataloader\.dataset in another order \({BOTH}')


def write_checkpoint(cfg, tmp_path, **meta):
    cfg.load_from = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict={}, meta=meta), cfg.load_from)


def in_checkpoint(form: str, names) -> dict:
    """As MMEngine writes it, and MMDetection 2."""
    return dict(CLASSES=names) if form == 'MMDetection 2' else dict(dataset_meta=dict(classes=names))


@pytest.mark.parametrize('form', ['MMEngine', 'MMDetection 2'])
@pytest.mark.parametrize('names, how', [(CLASSES[::-1], 'in another order'), (('cat', 'dog'), 'with other names')])
def test_a_checkpoint_of_other_classes(cfg, tmp_path, names, how, form):
    write_checkpoint(cfg, tmp_path, **in_checkpoint(form, names))
    fails(cfg, f'a.pth was trained on as many classes as test_dataloader.dataset has, {how}', stage='test')
    write_checkpoint(cfg, tmp_path, **in_checkpoint(form, CLASSES))
    stop_on_errors(cfg, 'test')


@pytest.mark.parametrize('form', ['MMEngine', 'MMDetection 2'])
def test_a_training_that_begins_with_the_weights_of_other_classes(cfg, tmp_path, form, capsys):
    """It can learn otherwise, and is told when the same names are in another order; other names are another task."""
    write_checkpoint(cfg, tmp_path, **in_checkpoint(form, CLASSES[::-1]))
    stop_on_errors(cfg)
    said = capsys.readouterr().out
    assert 'in another order' in said and 'the classifier begins with the weights of other classes' in said
    write_checkpoint(cfg, tmp_path, **in_checkpoint(form, ('cat', 'dog')))
    stop_on_errors(cfg)
    assert 'a.pth' not in capsys.readouterr().out


def test_a_checkpoint_at_an_address(cfg, tmp_path, run_in_process, monkeypatch):
    """It is downloaded when the test begins, and looked at then."""
    use_scope('mmdet')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    weights = MODELS.build(cfg.model).state_dict()
    with web_server() as web:
        for names in (CLASSES, CLASSES[::-1]):
            torch.save(dict(state_dict=weights, meta=in_checkpoint('MMEngine', names)), tmp_path / 'a.pth')
            address = web.put(f'{names[0]}.pth', (tmp_path / 'a.pth').read_bytes())
            code, printed = run_in_process('test.py', tmp_path / 'tiny.py', address, '--work-dir', tmp_path / names[0])
            assert code == (None if names == CLASSES else 2), printed
    assert (
        f'error: {address} was trained on as many classes as test_dataloader.dataset has, in another order' in printed
    )


def test_weights_that_cannot_be_read_hide_nothing_else(cfg, tmp_path):
    """They are told when the model has been built; a test ends here."""
    cfg.load_from = str(tmp_path / 'a.pth')
    Path(cfg.load_from).write_bytes(b'half a checkpoint')
    cfg.optim_wrapper.optimizer.lr = 0
    assert 'no-rate' in {one.rule for one in check(cfg)}
    fails(cfg, 'a.pth .* is not a PyTorch checkpoint|a.pth .*half-written', stage='test')


def test_the_file_is_written_anew(cfg, other, data, run_in_process):
    cfg.val_dataloader.dataset.ann_file = cfg.val_evaluator.ann_file = str(other)
    before = json.loads(other.read_text())
    assert run_in_process('dataset_converters/order_categories.py', other, '--like', data / 'annotations.json')[0] in (
        None,
        0,
    )
    after = json.loads(other.read_text())
    assert after == dict(before, categories=before['categories'][::-1])
    stop_on_errors(cfg)


# --- PASCAL VOC, whose labels are places in metainfo.classes ---------------------------------------------------------


@pytest.fixture
def voc(tmp_path):
    """A data set of 2007 and one of 2012 that are trained on, and one for validation and test."""
    write_voc(tmp_path / 'devkit', DetectionSpec(train=4, val=1, size=32), progress=False)

    def image_set(year, name):
        folders = dict(data_root=f'{tmp_path}/devkit/{year}', data_prefix=dict(sub_data_root=''))
        return dict(type='VOCDataset', ann_file=f'ImageSets/Main/{name}.txt', metainfo=dict(classes=SHAPES), **folders)

    val = dict(dataset=image_set('VOC2012', 'val'))
    train = dict(type='ConcatDataset', datasets=[image_set('VOC2007', 'trainval'), image_set('VOC2012', 'train')])
    model = dict(roi_head=dict(bbox_head=dict(num_classes=len(SHAPES))))
    scores = dict(val_evaluator=dict(type='VOCMetric'), test_evaluator=dict(type='VOCMetric'))
    loaders = dict(train_dataloader=dict(dataset=train), val_dataloader=val, test_dataloader=val)
    return Config(dict(default_scope='mmdet', model=model, **loaders, **scores))


def turned(one) -> None:
    one.metainfo = dict(classes=SHAPES[::-1])


def test_what_mmdetection_makes_of_voc_in_another_order(voc):
    """The label of one object is another number, so that both in one training are two classes."""
    use_scope('mmdet')
    one, other = voc.train_dataloader.dataset.datasets[1], dict(voc.train_dataloader.dataset.datasets[1])
    other['metainfo'] = dict(classes=SHAPES[::-1])
    labels = [[it['bbox_label'] for it in DATASETS.build(part).get_data_info(0)['instances']] for part in (one, other)]
    assert labels[0] and labels[1] == [len(SHAPES) - 1 - label for label in labels[0]]


def test_parts_of_voc_in_different_orders(voc):
    stop_on_errors(voc)
    turned(voc.train_dataloader.dataset.datasets[1])
    fails(voc, r'datasets\[1\] has the classes of train_dataloader\.dataset\.datasets\[0\] in another order')


def test_validation_of_voc_in_another_order(voc):
    turned(voc.val_dataloader.dataset)
    first = r'train_dataloader\.dataset\.datasets\[0\]'
    fails(voc, rf'val_dataloader\.dataset has the classes of {first} in another order .*set its metainfo\.classes to')


@pytest.mark.parametrize(
    'names, how', [(SHAPES[::-1], 'in another order'), (('cat', 'dog', 'cow', 'hen', 'ox'), 'with other names')]
)
def test_a_checkpoint_of_voc_with_other_classes(voc, tmp_path, names, how):
    voc.load_from = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict={}, meta=dict(dataset_meta=dict(classes=names))), voc.load_from)
    fails(voc, f'a.pth was trained on as many classes as test_dataloader.dataset has, {how}', stage='test')
    torch.save(dict(state_dict={}, meta=dict(dataset_meta=dict(classes=SHAPES))), voc.load_from)
    stop_on_errors(voc, 'test')


def test_classes_of_voc_as_a_text_or_a_set(voc):
    voc.val_dataloader.dataset.metainfo = dict(classes='star')
    fails(voc, r"metainfo\.classes of val_dataloader\.dataset is the text 'star'.*write a tuple: classes=\('star',\)")
    voc.val_dataloader.dataset.metainfo = dict(classes=set(SHAPES))
    fails(voc, r'metainfo\.classes of val_dataloader\.dataset is a set, whose order is another one')
