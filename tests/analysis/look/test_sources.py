"""Which files are meant, and under which names their results go."""

import os
import re

import pytest
from rethink.analysis.look.sources import find, names
from rethink.errors import ConfigError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for name in ('a.jpg', 'B.JPG', 'notes.txt', 'street.mp4', 'below/c.png', 'empty/readme.md'):
        (tmp_path / 'photos' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'photos' / name).write_bytes(b'x')
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    'inputs, found',
    [
        (['photos'], ['photos/B.JPG', 'photos/a.jpg']),
        (['photos/a.jpg', 'photos'], ['photos/a.jpg', 'photos/B.JPG']),
        (['photos/*'], ['photos/B.JPG', 'photos/a.jpg', 'photos/street.mp4']),
        (['photos/**/*'], ['photos/B.JPG', 'photos/a.jpg', 'photos/below/c.png', 'photos/street.mp4']),
        (['photos/street.mp4'], ['photos/street.mp4']),
    ],
)
def test_what_is_meant(photos, inputs, found):
    assert sorted(find(inputs)) == sorted(found)
    assert find(inputs)[0] == found[0]


def test_a_name_with_the_signs_of_a_pattern_is_a_name(photos):
    os.rename('photos/a.jpg', 'photos/a[1].jpg')
    assert find(['photos/a[1].jpg']) == ['photos/a[1].jpg']


@pytest.mark.parametrize(
    'given, words',
    [
        ('photos/empty', 'there is no image (.jpg'),
        ('photos/none', 'the input photos/none does not exist'),
        ('photos/*.gif', 'nothing matches photos/*.gif'),
        ('photos/*.txt', 'matches 1 names and no image'),
        ('photos/notes.txt', 'has the name of no image'),
        ('https://example.org/a.jpg', 'is an address'),
    ],
)
def test_what_is_none_is_told(photos, given, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        find([given])


def test_a_folder_of_folders_says_how_to_name_what_is_below(photos):
    for name in ('a.jpg', 'B.JPG'):
        os.remove(f'photos/{name}')
    with pytest.raises(ConfigError, match=r"there are 1 in folders below it.*'photos/\*\*/\*'"):
        find(['photos'])
    assert find(['photos/**/*.png']) == ['photos/below/c.png']


def test_no_two_results_have_one_name():
    paths = ['d/a.jpg', 'd/a.png', 'd/b.jpg', 'd/e/b.jpg', 'd/e/c.mp4']
    assert names(paths) == {
        'd/a.jpg': 'a.jpg',
        'd/a.png': 'a.png',
        'd/b.jpg': 'b',
        'd/e/b.jpg': 'e/b',
        'd/e/c.mp4': 'e/c',
    }
    assert names(['x/y/one.jpg']) == {'x/y/one.jpg': 'one'}
