"""Columns of annotation files: what json reads, however the file is cut, written and kept."""

import json
import os

import numpy as np
import pytest
from rethink.datasets import annotations
from rethink.datasets.annotations import NONE, TEXT, Fault, Mask, read
from rethink.datasets.json_lists import Lists, entries

CONTENT = {
    'info': {'a"[{': ['x]', '\\"'], 'n': {'m': [1, 2]}},
    'images': [dict(id=i, file_name=f'a"[{i}\\', width=3, height=4.5) for i in range(50)],
    'licenses': [1, 'two]', [3]],
    'empty': [],
    'annotations': [
        dict(
            id=i,
            image_id=i % 50,
            category_id=1,
            bbox=[1, 2, 3, 4.5],
            area=13.5,
            iscrowd=i % 2,
            segmentation=[[1, 2, 3, 4, 5, 6]],
            note='}"]\\\\é',
        )
        for i in range(150)
    ],
    'categories': [dict(id=1, name='ä')],
}
TEXTS = {
    'compact': json.dumps(CONTENT, separators=(',', ':')),
    'plain': json.dumps(CONTENT),
    'windows': json.dumps(CONTENT, indent=2, ensure_ascii=False).replace('\n', '\r\n'),
    'mark': '\ufeff' + json.dumps(CONTENT, ensure_ascii=False),
}


@pytest.mark.parametrize('size', [11, 64, 1000, 1 << 20])
@pytest.mark.parametrize('name', TEXTS)
def test_lists_are_what_json_reads(name, size, tmp_path):
    path = tmp_path / 'a.json'
    path.write_bytes(TEXTS[name].encode())
    lists, found = Lists(str(path), size), {}
    for key, start, end in lists:
        found.setdefault(key, []).extend(entries(path, start, end))
    expected = {key: value for key, value in CONTENT.items() if isinstance(value, list)}
    assert {key: value for key, value in found.items() if value} == {k: v for k, v in expected.items() if v}
    assert lists.rest == {key: [] if isinstance(value, list) else value for key, value in CONTENT.items()}
    assert lists.bom == (name == 'mark')


@pytest.mark.parametrize(
    'text', ['', '[]', '[{"images": []}]', '3', '{"images": [', '{"images": []}}', '{"a": "b', '{"images": [{}]} x']
)
def test_what_is_no_object(text, tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(text)
    with pytest.raises(ValueError):
        read(path)


def test_columns(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(TEXTS['plain'])
    found = read(path)
    objects, images = CONTENT['annotations'], CONTENT['images']
    assert found.sections == ['images', 'licenses', 'annotations', 'categories', 'empty']
    assert found.categories == CONTENT['categories'] and found.names == [one['file_name'] for one in images]
    assert found.sizes.tolist() == [[one['width'], one['height']] for one in images]
    assert found.boxes.tolist() == [one['bbox'] for one in objects]
    assert found.of_image.tolist() == [one['image_id'] for one in objects]
    assert found.crowd.tolist() == [one['iscrowd'] for one in objects]
    assert found.areas.tolist() == [13.5] * 150 and set(found.masks) == {Mask.POLYGON}
    assert (
        set(found.faults) == {Fault.NO_KEYPOINTS | Fault.MASK_HERE | Fault.MASK_DRAWN} and not found.image_faults.any()
    )


def test_numbers_of_keypoints_that_no_column_holds(tmp_path):
    objects = [dict(id=1, keypoints=[1, 1, 2], num_keypoints=number) for number in (10**30, -(10**30), 1, 1.5)]
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(dict(images=[], annotations=objects, categories=[])))
    assert read(path).keypoints.tolist() == [[3, 32767, 1], [3, -1, 1], [3, 1, 1], [3, -1, 1]]


def test_ids_that_are_no_integers(tmp_path):
    ids = [1, 2.0, '2', None, 1 << 80, [3]]
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(dict(images=[dict(id=one) for one in ids])))
    found = read(path)
    assert found.image_ids[:2].tolist() == [1, 2] and found.image_ids[3] == NONE
    assert (found.image_ids[[2, 4, 5]] < TEXT).all() and len(set(found.image_ids.tolist())) == 6
    assert [found.id_of(code) for code in found.image_ids] == [1, 2, '2', None, 1 << 80, '[3]']


@pytest.mark.parametrize('number', [6, 7, 8, 9, 60, 61, 400])
def test_what_a_long_polygon_is_stays(number, tmp_path):
    polygon = [12345.678] * number
    path = tmp_path / 'a.json'
    one = dict(id=1, segmentation=[polygon], keypoints=[12345.0, 1.0, 2] * number, num_keypoints=number)
    path.write_text(json.dumps(dict(images=[], annotations=[one, dict(one, segmentation=polygon)])))
    found = read(path)
    assert found.masks.tolist() == [Mask.POLYGON if number % 2 == 0 else Mask.SHORT, Mask.FLAT]
    assert found.keypoints.tolist() == [[3 * number, number, number]] * 2


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Files of all sizes are kept, and read by two processes in small slices."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(annotations, '_LARGE', 1)
    path = tmp_path / 'a.json'
    path.write_text(TEXTS['plain'])
    os.utime(path, (1e9, 1e9))
    return path


def counted(monkeypatch) -> list:
    """What is read and not taken from what is kept."""
    calls, plain = [], annotations._read
    monkeypatch.setattr(annotations, '_read', lambda path, *more: calls.append(path) or plain(path, *more))
    return calls


def same(one, other) -> bool:
    pairs = [(value, getattr(other, name)) for name, value in vars(one).items()]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def test_several_processes_read_the_same(large, monkeypatch):
    monkeypatch.setattr(annotations, 'Lists', lambda path: Lists(path, 2000))
    assert same(read(large, workers=2, progress=False), annotations._read(str(large), 1, False)[0])


def test_what_is_kept_is_that_of_the_file(large, monkeypatch):
    calls = counted(monkeypatch)
    first = read(large, 1)
    assert same(first, read(large, 1)) and len(calls) == 1
    # Other bytes of the same size at another time; then the old ones at a new time, by their digest.
    text = large.read_text()
    large.write_text(text.replace('"area": 13.5', '"area": 14.5'))
    assert read(large, 1).areas[0] == 14.5 and len(calls) == 2
    os.utime(large, (1e9, 1e9 + 5))
    assert read(large, 1).areas[0] == 14.5 and len(calls) == 2
    # A file that was written just before may be written again at the same time.
    large.write_text(text)
    stamp = os.stat(large)
    read(large, 1)
    large.write_text(text.replace('"area": 13.5', '"area": 15.5'))
    os.utime(large, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert read(large, 1).areas[0] == 15.5


def test_a_file_with_another_time_is_asked_for_its_digest_once(large, monkeypatch):
    """As of a copy, or of one that was read just after it was written."""
    calls, asked, plain = counted(monkeypatch), [], annotations.digest_of
    monkeypatch.setattr(annotations, 'digest_of', lambda path: asked.append(path) or plain(path))
    first = read(large, 1)
    os.utime(large, (1e9, 1e9 + 5))
    assert all(same(first, read(large, 1)) for _ in range(3)) and len(calls) == len(asked) == 1
    # Now, which is not sure to be the last time.
    os.utime(large)
    assert all(same(first, read(large, 1)) for _ in range(2)) and len(calls) == 1 and len(asked) == 3


def test_a_damaged_or_unwritable_cache_is_no_cache(large, monkeypatch):
    calls = counted(monkeypatch)
    read(large, 1)
    kept = annotations.cache_folder(large) / 'columns.npz'
    kept.write_bytes(kept.read_bytes()[:100])
    assert read(large, 1).areas[0] == 13.5 and len(calls) == 2
    monkeypatch.setenv('XDG_CACHE_HOME', '/dev/null')
    assert read(large, 1).areas[0] == 13.5 and len(calls) == 3
