"""The text of a config is yapf's, laid out once."""

import pytest
import rethink  # noqa: F401  (what yapf does is remembered)
from conftest import ROOT
from mmengine.config import Config
from rethink.configs import formatting
from yapf.yapflib import yapf_api

YAPF = yapf_api.FormatCode.__wrapped__
STYLE = dict(based_on_style='pep8', blank_line_before_nested_class_or_def=True)


@pytest.fixture
def counted(monkeypatch):
    """What yapf is asked, of all that goes through what remembers it."""
    asked = []

    def stock(text, *arguments, **options):
        asked.append(text)
        return YAPF(text, *arguments, **options)

    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', formatting._remembering(stock))
    # Where MMEngine has a name of its own for it.
    monkeypatch.setattr('mmengine.config.config.FormatCode', yapf_api.FormatCode, raising=False)
    return asked


def test_a_text_is_laid_out_once_and_again_where_it_changed(counted):
    config = Config.fromfile(ROOT / 'configs/shapes/scratch_r18_gn_1x.py')
    first = config.pretty_text
    assert first == config.pretty_text and len(counted) == 1
    assert first == YAPF(counted[0], style_config=dict(STYLE, split_before_expression_after_opening_paren=True))[0]
    config.train_cfg.max_iters = 7
    assert 'max_iters=7' in config.pretty_text and len(counted) == 2
    assert Config.fromstring(config.pretty_text, '.py').to_dict() == config.to_dict()


def test_another_style_and_another_call_are_yapfs(counted):
    wide = dict(STYLE, column_limit=200)
    text = f'a = dict({", ".join(f"key_{at}={at}" for at in range(12))})\n'
    narrow, one_line = (yapf_api.FormatCode(text, style_config=style)[0] for style in (STYLE, wide))
    assert narrow.count('\n') > one_line.count('\n') == 1
    for _ in range(2):
        assert yapf_api.FormatCode('x=1\n', '<file>', style_config='pep8')[0] == 'x = 1\n'
    assert len(counted) == 4


def test_a_text_that_is_no_python_fails_each_time(counted):
    for _ in range(2):
        with pytest.raises(Exception, match='x'):
            yapf_api.FormatCode('x = = 1\n', style_config=STYLE)
    assert len(counted) == 2
