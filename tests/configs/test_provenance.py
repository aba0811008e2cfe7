"""Where values come from: against MMEngine's own reading of every config, and line by line in a chain of each form."""

import functools
import json
from pathlib import Path

import mmdet
import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from rethink.configs.provenance import ResolvedConfig, literal_config, read
from rethink.configs.trace import Trace, locate
from rethink.errors import ConfigError, NotOnlyWeights

CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
MMDET = sorted((Path(mmdet.__file__).parent / '.mim' / 'configs').rglob('*.py'))
# A script.
MMDET = [path for path in MMDET if path.name != 'override_category.py']


def leaves(value, path=()):
    """Values of a config, lists of plain values whole."""
    nested = isinstance(value, list | tuple) and any(isinstance(one, dict | list | tuple) for one in value)
    items = value.items() if isinstance(value, dict) and value else enumerate(value) if nested else None
    if items is None:
        yield path, value
    else:
        for key, one in items:
            yield from leaves(one, (*path, key))


def unscoped(value):
    """A copy without the `_scope_` that MMEngine adds to what comes from another package."""
    if isinstance(value, dict):
        return {key: unscoped(one) for key, one in value.items() if key != '_scope_'}
    return [unscoped(one) for one in value] if isinstance(value, list | tuple) else value


def test_the_traced_values_are_mmengines_and_every_line_has_the_key_or_the_value():
    """On the line stands the key, or the value, or a variable of the file that has it, or a comprehension begins."""
    load = functools.lru_cache(maxsize=None)(Config.fromfile)
    seen = set()
    for path in CONFIGS:
        config = read(str(path))
        assert unscoped(config._trace.tree) == unscoped(config.values), path
        for at, value in leaves(config.values):
            place = config.origin(at)
            key = next(one for one in reversed(at) if isinstance(one, str))
            if (place, key) in seen:
                continue
            seen.add((place, key))
            assert place.line, (path, at)
            if key in place.source or repr(value) in place.source or str(value) in place.source:
                continue
            # A comprehension over several lines, or over this one.
            if place.source.rstrip().endswith(('{', '[')) or ' for ' in place.source:
                continue
            variable = place.source.partition(' = ')[0]
            assert load(place.file)[variable] == value, (path, at, place)
    assert len(seen) > 1500


def sample(paths: list[Path], number: int) -> list[Path]:
    return paths[:: max(1, len(paths) // number)]


def values_of(path: Path):
    try:
        return Config.fromfile(path, import_custom_modules=False).to_dict()
    except (FileNotFoundError, KeyError):  # some of MMDetection's name bases or variables that are not there
        return None


def check_mmdets(paths: list[Path]) -> int:
    known = 0
    for path in paths:
        values = values_of(path)
        if values is not None:
            assert unscoped(Trace(str(path)).tree) == unscoped(values), path
            known += 1
    return known


def test_mmdetections_configs():
    assert check_mmdets(sample(MMDET, 30)) >= 25


@pytest.mark.long
def test_all_of_mmdetections_configs():
    assert check_mmdets(MMDET) > 700


# --- each form -------------------------------------------------------------------------------------------------------

BASE = """
width = 256  # width
norm_cfg = dict(
    type='GN',  # norm type
    num_groups=32,  # groups
)
model = dict(
    backbone=dict(depth=50, norm_cfg=norm_cfg),  # depth
    neck=dict(type='FPN', out_channels=width),
    head={'convs': 4},  # convs
    old=dict(a=1, b=2),
)
load = dict(type='Load')  # load
pipeline = [
    load,
    dict(type='Resize', scale=(8, 8)),  # resize
    dict(type='Flip', prob=0.5),  # flip
    dict(type='Pack'),  # pack
]
scheduler = [dict(type='Linear', end=500), dict(type='Step', milestones=[1, 2])]  # scheduler
data_root = '{{$DATA_OF_TEST:data}}/coco/'  # environment
stages = [1, 2]
options = dict(a=1, b=2)
"""
CHILD = """
_base_ = './base.py'
max_iters = 6 * 90  # max_iters
model = dict(
    neck=dict(out_channels=_base_.width),
    old=dict(_delete_=True, c=3),  # c
    heads=[
        dict(_base_.model.head, stage=stage)  # stage
        for stage in _base_.stages
    ],
    name='{{ fileBasenameNoExtension }}',  # name
)
first, *rest = _base_.pipeline
pipeline = [
    first,
    dict(rest[0], scale=(4, 4)),  # smaller
    *rest[1:],
]
scheduler = [_base_.scheduler[0], dict(_base_.scheduler[1], milestones=[max_iters - 1])]  # drops
scheduler[0]['end'] = max_iters  # assigned
test_pipeline = _base_.pipeline
test_pipeline[2] = dict(type='Pad')  # pad
options = dict(b=3, **dict(c=4))  # options
total = {{_base_.width}}
"""
WHERE = {
    'model.backbone.depth': 'depth',
    'model.backbone.norm_cfg.num_groups': 'groups',
    'model.neck.out_channels': 'width',
    'model.head.convs': 'convs',
    'model.old.c': 'c',
    'model.heads.1.stage': 'stage',
    'model.heads.0.convs': 'convs',
    'model.name': 'name',
    'pipeline.0.type': 'load',
    'pipeline.1.type': 'resize',
    'pipeline.1.scale': 'smaller',
    'pipeline.2.prob': 'flip',
    'pipeline.3.type': 'pack',
    'scheduler.1.type': 'scheduler',
    'scheduler.1.milestones': 'drops',
    'scheduler.0.end': 'assigned',
    'test_pipeline.2.type': 'pad',
    'test_pipeline.3.type': 'pack',
    'options.a': None,
    'options.b': 'options',
    'options.c': 'options',
    'total': 'width',
    'data_root': 'environment',
    'norm_cfg.type': 'norm type',
    'max_iters': 'max_iters',
}


@pytest.fixture
def chain(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'child.py').write_text(CHILD)
    return str(tmp_path / 'child.py')


def keys(name: str) -> tuple:
    return tuple(int(one) if one.isdigit() else one for one in name.split('.'))


@pytest.mark.parametrize('name', WHERE)
def test_each_form_of_a_value_has_its_line(chain, name):
    source = read(chain).origin(keys(name)).source
    if WHERE[name] is None:
        assert source.startswith('options = dict(a=1')
    else:
        assert source.rstrip().endswith(f'# {WHERE[name]}')


def test_what_is_deleted_is_gone(chain):
    config = read(chain)
    assert config.values['model']['old'] == dict(c=3) and config.values == config._trace.tree
    assert locate(config._trace.tree, ('model', 'old', 'a')) is None


def test_a_base_is_not_changed_by_what_a_child_does_to_its_lists(chain):
    """MMEngine hands on copies: the second place of a list stays as it is."""
    config = read(chain)
    assert [one['type'] for one in config.values['test_pipeline']] == ['Load', 'Resize', 'Pad', 'Pack']
    assert [one['type'] for one in config.values['pipeline']] == ['Load', 'Resize', 'Flip', 'Pack']


def test_environment_variables_are_named(chain, monkeypatch):
    assert read(chain).origin(('data_root',)).variables == []
    monkeypatch.setenv('DATA_OF_TEST', '/elsewhere')
    config = read(chain)
    assert config.values['data_root'] == '/elsewhere/coco/'
    assert config.origin(('data_root',)).describe().endswith(', $DATA_OF_TEST')


def test_overrides_come_from_the_command_line(chain):
    config = read(chain, {'scheduler.1.milestones': [7], 'model.backbone': dict(depth=101)})
    assert config.origin(('scheduler', 1, 'milestones')).describe() == 'command line'
    assert config.origin(('model', 'backbone', 'depth')).describe() == 'command line'
    assert config.origin(('scheduler', 1, 'type')).line
    with pytest.raises(ConfigError, match='does not fit'):
        read(chain, {'max_iters.end': 3})


def test_a_changed_file_is_read_anew(chain):
    before = read(chain).origin(('max_iters',)).line
    Path(chain).write_text('# one line more\n' + CHILD)
    assert read(chain).origin(('max_iters',)).line == before + 1


def test_a_value_that_the_trace_has_not_found_has_its_file_alone(chain):
    config = read(chain)
    config.values['model']['neck']['out_channels'] = 1
    assert config.origin(('model', 'neck', 'out_channels')) == (chain, 0)


def test_read_base_configs_have_the_last_statement_that_writes_a_value(tmp_path):
    (tmp_path / 'base.py').write_text(
        'from torch.optim import SGD\n\nmodel = dict(backbone=dict(depth=50), neck=dict(width=256))\n'
        'optimizer = dict(type=SGD, lr=0.1)\nold = dict(a=1)\n'
    )
    (tmp_path / 'child.py').write_text(
        'from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n\n'
        'model.update(dict(backbone=dict(depth=101)))\nold = dict(b=1)\n'
    )
    config = read(str(tmp_path / 'child.py'))
    assert config.values['optimizer']['type'] == 'torch.optim.SGD'
    for name, wanted in {
        'model.backbone.depth': ('child.py', 6),
        'model.neck.width': ('base.py', 3),
        'optimizer.lr': ('base.py', 4),
        'old.b': ('child.py', 7),
    }.items():
        place = config.origin(keys(name))
        assert (Path(place.file).name, place.line) == wanted


def test_json_has_its_file(tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps(dict(model=dict(depth=50))))
    assert read(str(tmp_path / 'a.json')).origin(('model', 'depth')) == (str(tmp_path / 'a.json'), 0)


# --- names of configs ------------------------------------------------------------------------------------------------


def test_packages():
    name = 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    config = read(f'mmdet::{name}')
    assert read(f'mmdet::{name[:-3]}').file == config.file
    assert config.values['model']['type'] == 'FasterRCNN'
    place = config.origin(('train_cfg', 'max_epochs'))
    assert place.file.endswith('_base_/schedules/schedule_1x.py')
    assert place.describe('/') == f'mmdet::_base_/schedules/schedule_1x.py:{place.line}'
    assert read('rethink::rethink/scratch_r50_gn_6x.py').values['train_cfg']['max_iters'] == 540_000


def test_the_newest_dump_of_a_work_directory(chain, tmp_path):
    config, folder = Config.fromfile(chain), tmp_path / 'work'
    (folder / '20200101' / 'vis_data').mkdir(parents=True)
    config.dump(folder / '20200101' / 'vis_data' / 'config.py')
    (found,) = folder.rglob('config.py')
    assert read(str(folder)).file == str(found)
    config.dump(folder / 'child.py')
    assert read(str(folder)).file == str(folder / 'child.py')
    assert read(str(folder)).values == read(chain).values


def test_the_config_in_a_checkpoint(chain, tmp_path):
    config = Config.fromfile(chain)
    torch.save(dict(meta=dict(cfg=config.pretty_text), state_dict={}), tmp_path / 'iter_1.pth')
    found = read(str(tmp_path / 'iter_1.pth'))
    assert found.values == read(chain).values
    assert found.origin(('max_iters',)) == (str(tmp_path / 'iter_1.pth'), 0)


def test_every_dump_of_ours_is_nothing_but_values():
    for path in sample(CONFIGS, 2):
        config = Config.fromfile(path)
        assert literal_config(config.pretty_text) == config.to_dict()


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    mark = tmp_path / 'executed'
    for text in (
        f'a = open({str(mark)!r}, "w")',
        f'import os\nos.mkdir({str(mark)!r})',
        f'a = dict(b=[__import__("os").mkdir({str(mark)!r})])',
        f'a = [dict() for _ in open({str(mark)!r}, "w")]',
    ):
        torch.save(dict(meta=dict(cfg=text)), tmp_path / 'a.pth')
        with pytest.raises(ConfigError, match='is more than values'):
            read(str(tmp_path / 'a.pth'))
        assert not mark.exists()
    torch.save(dict(meta=dict(cfg='a = 1'), more=functools.partial(print)), tmp_path / 'b.pth')
    with pytest.raises(NotOnlyWeights):
        read(str(tmp_path / 'b.pth'))


def test_errors_are_sentences(tmp_path):
    (tmp_path / 'wrong.py').write_text('model = dict(\n')
    (tmp_path / 'empty').mkdir()
    torch.save(dict(state_dict={}), tmp_path / 'weights.pth')
    (tmp_path / 'notes.txt').write_text('model = 1')
    for name, message in {
        str(ROOT / 'configs/rethink/scratch_r50_gn_7x.py'): 'the nearest names are .*scratch_r50_gn_6x.py',
        str(tmp_path / 'wrong.py'): 'syntax error at .*wrong.py:1',
        str(tmp_path / 'empty'): 'has no dumped config',
        str(ROOT / 'configs/rethink'): r'has \d+ configs and no training was started in it; name one',
        str(tmp_path / 'notes.txt'): 'is no config .*, work directory or checkpoint',
        str(tmp_path / 'weights.pth'): 'has no config within',
        str(tmp_path / 'none.pth'): 'does not exist',
        'mmdet::faster_rcnn/none.py': 'there is no config .*/configs/faster_rcnn/none.py; the nearest names',
        'rethink::rethink/none.py': "rethink has no config 'rethink/none.py'",
        'nowhere::a/b.py': "names the package 'nowhere', which is not installed",
    }.items():
        with pytest.raises(ConfigError, match=message):
            read(name)


def test_a_config_that_the_trace_cannot_follow_has_its_file(tmp_path):
    file = tmp_path / 'odd.py'
    file.write_text('a = dict(b=1)\nassert type(a) is dict\n')
    config = read(str(file))
    assert isinstance(config, ResolvedConfig) and config.origin(('a', 'b')) == (str(file), 0)
