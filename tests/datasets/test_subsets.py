"""Smaller training sets: nested, seeded, whole, and counted."""

import json
from functools import partial

import pytest
from pycocotools.coco import COCO
from rethink.datasets import shapes, subsets


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp('shapes')
    shapes.write_detection(root, shapes.DetectionSpec(train=40, val=5, size=32, crowd=0.3), progress=False)
    return root / 'annotations' / 'instances_train2017.json'


@pytest.fixture
def run(run_in_process):
    return partial(run_in_process, 'dataset_converters/coco_subset.py')


def test_subsets_are_nested_seeded_and_differ_between_seeds():
    drawn = subsets.draw_nested(range(100, 300), [150, 20, 60], seed=1)
    assert {size: len(set(ids)) for size, ids in drawn.items()} == {150: 150, 20: 20, 60: 60}
    assert set(drawn[20]) < set(drawn[60]) < set(drawn[150]) < set(range(100, 300))
    assert drawn == subsets.draw_nested(reversed(range(100, 300)), [150, 20, 60], seed=1)
    assert set(drawn[60]) != set(subsets.draw_nested(range(100, 300), [60], seed=2)[60])
    # Asked for alone it is the same set.
    assert drawn[20] == subsets.draw_nested(range(100, 300), [20], seed=1)[20]


def test_the_tool_writes_files_that_pycocotools_reads_with_every_annotation_of_their_images(run, whole, tmp_path):
    code, printed = run(whole, '--sizes', 30, 10, '--out-dir', tmp_path)
    assert code is None
    everything = COCO(whole)
    for size in (30, 10):
        part = COCO(tmp_path / f'instances_train2017_{size}.json')
        assert len(part.imgs) == size
        assert part.cats == everything.cats
        for image_id in part.imgs:
            assert part.imgs[image_id] == everything.imgs[image_id]
            assert part.imgToAnns[image_id] == everything.imgToAnns[image_id]
        assert len(part.anns) == sum(len(everything.imgToAnns[image_id]) for image_id in part.imgs)
        crowds = sum(one['iscrowd'] for one in part.anns.values())
        assert f'{size} images' in printed
        assert f'{len(part.anns) - crowds} boxes, {crowds} crowds' in printed


def test_the_ids_of_another_file(run, whole, tmp_path):
    older = json.loads(whole.read_text())
    older['images'] = [dict(image, file_name='COCO_val2014.jpg') for image in older['images'][5:12]]
    (tmp_path / 'older.json').write_text(json.dumps(older))
    assert run(whole, '--ids-of', tmp_path / 'older.json', '--name', 'val', '--out-dir', tmp_path)[0] is None
    part = COCO(tmp_path / 'instances_train2017_val.json')
    assert sorted(part.imgs) == list(range(6, 13))
    # Images and annotations are those of the file that was named first.
    assert all(image['file_name'] != 'COCO_val2014.jpg' for image in part.imgs.values())


def test_names():
    assert [subsets.size_name(size) for size in (35000, 10000, 3500, 1000, 250)] == ['35k', '10k', '3.5k', '1k', '250']


def test_what_cannot_be_done_is_one_sentence_and_writes_nothing(run, whole, tmp_path):
    strangers = json.loads(whole.read_text())
    strangers['images'] = [dict(strangers['images'][0], id=999)]
    (tmp_path / 'strangers.json').write_text(json.dumps(strangers))
    (tmp_path / 'broken.json').write_text('{"images": [')
    out = tmp_path / 'out'
    for arguments, sentence in (
        ([whole, '--sizes', 10, 41], 'a subset of 41 images cannot be drawn from 40; ask for fewer.'),
        ([whole, '--sizes', 0], 'a subset of 0 images cannot be drawn from 40'),
        (
            [whole, '--ids-of', tmp_path / 'strangers.json'],
            '1 of 1 images, 999 among them, are not in the annotation file',
        ),
        ([tmp_path / 'nothing.json', '--sizes', 1], 'there is no annotation file'),
        ([tmp_path / 'broken.json', '--sizes', 1], 'is not JSON'),
        ([whole.parents[1] / 'shapes.json', '--sizes', 1], 'it is no COCO annotation file'),
    ):
        code, printed = run(*arguments, '--out-dir', out)
        assert code == 2 and printed.startswith('error: ') and sentence in printed and printed.count('\n') == 1
    assert not out.exists()
