"""Annotation files are read as far as they are asked for."""

import json

import pytest
from rethink.checks.datasets import AnnotationFile


@pytest.mark.parametrize('first', [True, False])
def test_categories_without_parsing_the_file(tmp_path, first):
    """At the beginning or the end of a big file, and with the word elsewhere."""
    categories = [dict(id=i, name=f'klasse {i} ü', text='x' * 500) for i in range(400)]
    images = [dict(id=0, file_name='"categories": [1].jpg', categories=[3])]
    other = dict(info='categories', images=images, annotations=[dict(id=i) for i in range(50_000)])
    content = dict(categories=categories, **other) if first else dict(**other, categories=categories)
    (tmp_path / 'a.json').write_text(json.dumps(content, ensure_ascii=False))
    assert AnnotationFile(tmp_path / 'a.json').categories == categories
