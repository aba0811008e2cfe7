"""Differences of configs: what counts, how lists are aligned, what a difference is about, and how it is shown."""

import functools
import itertools
import json
import random
import re
from html.parser import HTMLParser

import pytest
import torch
from conftest import ROOT, run_tool
from mmengine.config import Config
from rethink.configs import report
from rethink.configs.diff import (
    ABSENT,
    GROUPS,
    NAMES,
    _Item,
    align,
    changes,
    diff,
    dotted,
    find,
    type_name,
    unexpected,
)
from rethink.configs.provenance import read
from rethink.configs.report import SCREEN, contrast, listing, show, table, write
from rethink.errors import ConfigError
from test_provenance import CONFIGS, MMDET, sample, values_of

CONFIG = """
data_root = 'data/'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
weights_of_mine = 'weights.pth'
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[0.0]),
    backbone=dict(type='ResNet', depth=50, frozen_stages=1, norm_eval=False, norm_cfg=dict(type='BN'),
                  init_cfg=dict(type='Pretrained', checkpoint=weights_of_mine)),
    roi_head=dict(bbox_head=dict(num_classes=80)),
    train_cfg=dict(nms_pre=2000),
)
max_iters = 90
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.02), paramwise_cfg=dict(norm_decay_mult=1.0))
param_scheduler = [
    dict(type='LinearLR', end=5),
    dict(type='MultiStepLR', end=max_iters, milestones=[60, 80]),
]
train_dataloader = dict(batch_size=2, num_workers=2,
                        dataset=dict(data_root=data_root, ann_file='all.json', pipeline=train_pipeline))
custom_hooks = [dict(type='EMAHook'), dict(type='SetEpochInfoHook')]
default_hooks = dict(checkpoint=dict(interval=10))
randomness = dict(seed=0)
work_dir = 'work_dirs/one'
visualizer = dict(type='DetLocalVisualizer', name='one')
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / 'one.py').write_text(CONFIG)
    return str(tmp_path / 'one.py')


def variant(config: str, text: str) -> str:
    """The file of a config that inherits another one and adds some lines."""
    file = config.replace('one.py', f'other_{random.randrange(10**9)}.py')
    with open(file, 'w') as stream:
        stream.write(f"_base_ = './one.py'\n{text}\n")
    return file


def between(one: str, other: str, only=()):
    return diff([read(one), read(other)], only)


# --- what is a difference, and what it is about ----------------------------------------------------------------------


@pytest.mark.parametrize(
    'group, name, text',
    [
        ('init', 'model.backbone.init_cfg', 'model = dict(backbone=dict(init_cfg=None))'),
        ('init', 'custom_hooks[InitFromBaseHook]', "custom_hooks = [*HOOKS, dict(type='InitFromBaseHook')]"),
        ('init', 'load_from', "load_from = 'detector.pth'"),
        ('freeze', 'model.backbone.frozen_stages', 'model = dict(backbone=dict(frozen_stages=-1))'),
        ('freeze', 'model.backbone.norm_eval', 'model = dict(backbone=dict(norm_eval=True))'),
        ('freeze', 'custom_hooks[TrainBNOnlyHook]', "custom_hooks = [*HOOKS, dict(type='TrainBNOnlyHook')]"),
        ('freeze', 'model.backbone.type', "model = dict(backbone=dict(type='FrozenBackbone'))"),
        ('norm', 'model.backbone.norm_cfg.type', "model = dict(backbone=dict(norm_cfg=dict(type='GN')))"),
        ('model', 'model.backbone.depth', 'model = dict(backbone=dict(depth=101))'),
        ('model', 'model.train_cfg.nms_pre', 'model = dict(train_cfg=dict(nms_pre=1000))'),
        ('data', 'model.data_preprocessor.mean', 'model = dict(data_preprocessor=dict(mean=[1.0]))'),
        ('data', 'model.roi_head.bbox_head.num_classes', 'model = dict(roi_head={"bbox_head": {"num_classes": 2}})'),
        ('data', 'train_dataloader.dataset.ann_file', "train_dataloader = dict(dataset=dict(ann_file='few.json'))"),
        ('schedule', 'train_dataloader.batch_size', 'train_dataloader = dict(batch_size=4)'),
        ('schedule', 'optim_wrapper.paramwise_cfg.norm_decay_mult', 'optim_wrapper = dict(paramwise_cfg=NO_DECAY)'),
        ('schedule', 'train_cfg.max_iters', 'train_cfg = dict(max_iters=10)'),
        ('runtime', 'train_dataloader.num_workers', 'train_dataloader = dict(num_workers=0)'),
        ('runtime', 'randomness.seed', 'randomness = dict(seed=1)'),
        ('runtime', 'default_hooks.checkpoint.interval', 'default_hooks = dict(checkpoint=dict(interval=5))'),
        (NAMES, 'work_dir', "work_dir = 'work_dirs/other'"),
        (NAMES, 'visualizer.name', "visualizer = dict(name='other')"),
        ('runtime', 'something', 'something = 1'),
    ],
)  # fmt: skip
def test_each_difference_has_its_group(config, group, name, text):
    (found,) = between(
        config,
        variant(config, text.replace('HOOKS', '_base_.custom_hooks').replace('NO_DECAY', 'dict(norm_decay_mult=0.0)')),
    )
    assert (found.group, found.name) == (group, name)


def test_a_variable_is_about_what_is_made_from_it(config):
    other = variant(config, "weights_of_mine = 'other.pth'")
    (found,) = between(config, other)
    assert (found.name, found.group) == ('weights_of_mine', 'init')


def test_what_equals_is_no_difference(config):
    assert not between(config, variant(config, 'randomness = dict(seed=0.0)'))
    for text in ('randomness = dict(seed=False)', 'model = dict(data_preprocessor=dict(mean=(0.0,)))'):
        assert len(between(config, variant(config, text))) == 1


def test_a_type_is_its_name_in_the_default_scope(config):
    assert not between(config, variant(config, "model = dict(type='mmdet.FasterRCNN')"))
    assert between(config, variant(config, "model = dict(type='mmpretrain.FasterRCNN')"))
    assert type_name('mmdet.models.detectors.faster_rcnn.FasterRCNN') == 'FasterRCNN'
    assert type_name('torch.optim.sgd.SGD') == type_name(torch.optim.SGD) == 'SGD'
    assert type_name('mmpretrain.models.ResNet') == type_name('mmpretrain.ResNet') == 'mmpretrain.ResNet'


def test_weights_and_freezing_in_a_part_of_one_config_are_no_part_of_model(config):
    added = (
        "model = dict(extra=dict(type='ResNet', frozen_stages={stages}, init_cfg=dict(type='{kind}', checkpoint='x')))"
    )
    found = between(config, variant(config, added.format(stages=2, kind='Pretrained')))
    assert {(one.group, one.name) for one in found} == {
        ('model', 'model.extra'),
        ('init', 'model.extra.init_cfg'),
        ('init', 'model.extra.init_cfg.type'),
        ('init', 'model.extra.init_cfg.checkpoint'),
        ('freeze', 'model.extra.frozen_stages'),
    }
    frozen = between(config, variant(config, "model = dict(extra=dict(type='ResNet', frozen_stages=-1))"))
    assert [one.group for one in frozen] == ['model']


# --- lists -----------------------------------------------------------------------------------------------------------


def test_a_transform_that_is_replaced_and_one_that_is_added(config):
    found = between(
        config,
        variant(
            config,
            'train_pipeline = [_base_.train_pipeline[0], dict(type="Mosaic"),\n'
            '    dict(type="RandomResize", scale=(1333, 800)), *_base_.train_pipeline[2:]]',
        ),
    )
    assert {one.name: one.paths for one in found} == {
        'train_pipeline[Mosaic]': (None, ('train_pipeline', 1)),
        'train_pipeline[Resize]': (('train_pipeline', 1), None),
        'train_pipeline[RandomResize]': (None, ('train_pipeline', 2)),
    }


def test_an_item_of_another_place_is_compared_with_its_like(config):
    text = (
        'warm_up, steps = _base_.param_scheduler\n'
        'param_scheduler = [dict(type="ConstantLR"), dict(warm_up, type="LinearLR", end=9), steps]\ndel warm_up, steps'
    )
    found = {one.name: one for one in between(config, variant(config, text))}
    assert found.keys() == {'param_scheduler[ConstantLR]', 'param_scheduler[LinearLR].end'}
    assert found['param_scheduler[LinearLR].end'].paths == (
        ('param_scheduler', 0, 'end'),
        ('param_scheduler', 1, 'end'),
    )


def test_another_order_is_a_difference_of_its_own(config):
    load, resize, flip, pack = (f'_base_.train_pipeline[{index}]' for index in range(4))
    text = f'train_pipeline = [{load}, {flip}, dict({resize}, scale=(640, 640)), {pack}]'
    found = {one.name: one.values for one in between(config, variant(config, text))}
    assert found == {
        'train_pipeline.order': (
            ('[LoadImageFromFile]', '[Resize]', '[RandomFlip]', '[PackDetInputs]'),
            ('[LoadImageFromFile]', '[RandomFlip]', '[Resize]', '[PackDetInputs]'),
        ),
        'train_pipeline[Resize].scale': ((1333, 800), (640, 640)),
    }


def test_the_second_of_a_type_is_named_so_and_items_go_with_the_most_alike():
    steps = [dict(type='Crop', size=size, kind='a') for size in (8, 16, 32)]
    found = diff([values(steps=steps), values(steps=[dict(type='Crop', size=16, kind='a'), dict(steps[2], kind='b')])])
    assert {one.name: one.values for one in found} == {
        'steps[Crop]': (steps[0], ABSENT),
        'steps[Crop 3].kind': ('a', 'b'),
    }


def values(**entries):
    """A config without a file."""

    class Values:
        name, uses = 'values', {}

    one = Values()
    one.values = entries
    return one


def test_items_without_a_type_are_aligned_by_what_is_equal_in_them():
    ours = [[dict(type='A', a=1), dict(type='B')], [dict(type='C', a=1, b=2)], [dict(type='D')]]
    theirs = [[dict(type='C', a=1, b=3)], [dict(type='D')]]
    found = diff([values(steps=ours), values(steps=theirs)])
    assert {one.name: one.values for one in found} == {
        'steps[0]': (ours[0], ABSENT),
        'steps[1][C].b': (2, 3),
    }


def best_by_trying_all(ours, theirs) -> float:
    number = min(len(ours), len(theirs))
    return max(
        sum(ours[i].likeness(theirs[j]) for i, j in zip(left, right, strict=True))
        for size in range(number + 1)
        for left in itertools.combinations(range(len(ours)), size)
        for right in itertools.combinations(range(len(theirs)), size)
        if all(ours[i].likeness(theirs[j]) for i, j in zip(left, right, strict=True))
    )


def test_the_alignment_is_the_best_of_all():
    draw = random.Random(0)
    for _ in range(60):
        lists = [
            [
                _Item(index, dict(type=draw.choice('AB'), a=draw.randrange(2), b=draw.randrange(2)), 'mmdet')
                for index in range(draw.randrange(6))
            ]
            for _ in range(2)
        ]
        pairs = align(*lists)
        assert [i for i, _ in pairs if i is not None] == list(range(len(lists[0])))
        assert [j for _, j in pairs if j is not None] == list(range(len(lists[1])))
        total = sum(lists[0][i].likeness(lists[1][j]) for i, j in pairs if None not in (i, j))
        assert total == pytest.approx(best_by_trying_all(*lists))


def test_three_configs():
    three = [
        values(steps=[dict(type=kind, a=number) for kind in kinds]) for number, kinds in enumerate(('AB', 'AC', 'AB'))
    ]
    found = {one.name: one.values for one in diff(three)}
    assert found['steps[A].a'] == (0, 1, 2)
    assert found['steps[B]'] == (dict(type='B', a=0), ABSENT, dict(type='B', a=2))
    assert found['steps[C]'] == (ABSENT, dict(type='C', a=1), ABSENT)


# --- configs of files, dumps and checkpoints -------------------------------------------------------------------------


def test_a_config_does_not_differ_from_its_dump(tmp_path):
    for path in sample(CONFIGS, 2):
        config = Config.fromfile(path)
        config.dump(tmp_path / path.name)
        assert not diff([read(str(path)), read(str(tmp_path / path.name))])
        torch.save(dict(meta=dict(cfg=(tmp_path / path.name).read_text())), tmp_path / 'a.pth')
        assert not diff([read(str(path)), read(str(tmp_path / 'a.pth'))])


def mmdets_differences(paths) -> int:
    """Of MMDetection's configs in a row each with the next; how many differ."""
    known, before = 0, None
    for path in paths:
        if values_of(path) is None:
            continue
        one = read(str(path))
        if before is not None:
            found = diff([before, one])
            assert found == sorted(found, key=lambda one: (*GROUPS, NAMES).index(one.group))
            for format in ('table', 'json', 'markdown', 'html'):
                assert write(format, found, [before, one], SCREEN)
            known += bool(found)
        before = one
    return known


def test_mmdetections_configs_have_differences():
    assert mmdets_differences(sample(MMDET, 30)) >= 20


@pytest.mark.long
def test_all_of_mmdetections_configs_have_differences():
    assert mmdets_differences(MMDET) > 600


def check_screens(pairs) -> int:
    """That the table of each pair is on one screen of 120 columns and has all differences; how many are folded."""
    known, more = functools.lru_cache(maxsize=None)(lambda path: read(str(path))), 0
    for pair in pairs:
        configs = [known(path) for path in pair]
        found = changes(diff(configs))
        text = table(found, configs)
        lines = text.splitlines()
        assert len(lines) <= SCREEN and max(map(len, lines)) <= 120, pair
        counted = [one for one in found if one.group != NAMES and not one.is_variable]
        assert re.search(rf'^{len(counted)} differences?[:.]', text, re.MULTILINE), pair
        more += '--all lists each' in text
        # What stands for several says how many.
        rows = report.folded(found, configs, 30).rows
        several = [re.search(r' \((\d+) differences\)$', row.name) for row in rows]
        assert sum(int(one[1]) if one else 1 for one in several) == len(counted), pair
        assert len(rows) <= 30, pair
    return more


def test_any_pair_of_ours_is_on_one_screen(monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    draw = random.Random(0)
    assert check_screens(itertools.pairwise(draw.sample(CONFIGS, 24))) > 5


@pytest.mark.long
def test_every_pair_of_families_is_on_one_screen(monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    families = {(path.parent, path.stem.rpartition('_')[0]): path for path in CONFIGS}
    assert check_screens(itertools.combinations(families.values(), 2)) > 1000


# --- fewer lines, and formats ----------------------------------------------------------------------------------------


def test_a_variable_that_nothing_reads_is_no_difference(config):
    """It is named apart, also as JSON; what is made of one is a difference of its own."""
    other = variant(config, "train_pipeline = [dict(type='LoadImageFromFile')]\nmax_iters = 180")
    found = between(config, other)
    assert found and all(one.is_variable for one in found) and unexpected(found, []) == []
    for format in ('table', 'markdown', 'html'):
        text = write(format, found, [read(config), read(other)], SCREEN)
        assert '0 differences.' in text and 'Resize' not in text
        assert 'Variables that no run reads, not counted: train_pipeline, max_iters.' in text
    listed = json.loads(write('json', found, [read(config), read(other)], SCREEN))['differences']
    assert {one['variable'] for one in listed} == {True}
    other = variant(config, 'max_iters = 180\ntrain_cfg = dict(max_iters=max_iters)')
    found = between(config, other)
    assert [one.name for one in unexpected(found, [])] == ['train_cfg.max_iters']
    assert '\n1 difference: schedule.' in write('table', found, [read(config), read(other)], SCREEN)


def test_the_smallest_part_that_is_enough_is_folded(config):
    other = variant(
        config,
        'model = dict(backbone=dict(depth=101, norm_eval=True, strides=2), roi_head=dict(a=1, b=2, c=dict(d=3)),\n'
        '             train_cfg=dict(nms_pre=1, x=dict(y=1, z=2)))\ntrain_dataloader = dict(batch_size=3)',
    )
    configs = [read(config), read(other)]
    found = changes(diff(configs))

    def names(limit):
        return [row.name for row in report.folded(found, configs, limit).rows if row.group == 'model']

    assert len(found) == 9 and len(names(9)) == 7
    # Of two differences are backbone and train_cfg: the deeper path, the first of them.
    assert names(8) == [
        'model.backbone (2 differences)',
        *('model.roi_head.a', 'model.roi_head.b', 'model.roi_head.c', 'model.train_cfg.nms_pre', 'model.train_cfg.x'),
    ]
    assert names(7)[0] == 'model.backbone.depth' and 'model.roi_head (3 differences)' in names(7)
    assert names(3) == ['model (7 differences)']
    (row,) = (row for row in report.folded(found, configs, 7).rows if row.name.startswith('model.roi_head'))
    assert row.values == ('—', 'a=1, b=2, c=(d=3)')


def test_many_differences_are_folded_and_all_lists_them(config, monkeypatch):
    monkeypatch.setenv('COLUMNS', '140')
    inner = ', '.join(f'option_{number}={number}' for number in range(60))
    configs = [read(config), read(variant(config, f'model = dict(roi_head=dict({inner}))\nrandomness = dict(seed=1)'))]
    found = diff(configs)
    text = write('table', found, configs, SCREEN)
    assert re.search(r'model.roi_head \(60 differences\) +— +option_0=0, option_1=1, .*…\n', text)
    assert re.search(r'randomness.seed +0 +1\n', text) and '--all lists each' in text
    text = write('table', found, configs, None)
    assert all(f'model.roi_head.option_{number} ' in text for number in range(60)) and '--all' not in text


def test_a_long_name_keeps_its_end(config, monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')
    inner = ', '.join(f'{"long_" * 12}{number}={number}' for number in range(28))
    configs = [read(config), read(variant(config, f'model = dict(roi_head=dict({inner}))'))]
    text = write('table', diff(configs), configs, SCREEN)
    assert re.search(r'^model.roi_…\S+_27 +— +27$', text, re.MULTILINE)


def test_one_change_in_many_places_is_one_line(config):
    other = variant(
        config,
        'max_iters = 180\ntrain_cfg = dict(max_iters=max_iters)\n'
        'milestones = [max_iters - 9]\n'
        'steps = dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones)\n'
        'param_scheduler = [_base_.param_scheduler[0], steps]\ndel steps\n',
    )
    found = changes(between(config, other))
    assert [[one.name for one in change.places] for change in found] == [
        ['train_cfg.max_iters', 'max_iters'],
        ['param_scheduler[MultiStepLR].end'],
        ['param_scheduler[MultiStepLR].milestones', 'milestones'],
    ]
    gn, bn = (
        variant(config, f'norm_cfg = dict(type={kind!r})\nmodel = dict(backbone=dict(norm_cfg=norm_cfg))')
        for kind in ('GN', 'SyncBN')
    )
    (norm,) = changes(between(gn, bn))
    assert [one.name for one in norm.places] == ['model.backbone.norm_cfg.type', 'norm_cfg.type']


def test_only_and_expected(config):
    other = variant(
        config, 'model = dict(backbone=dict(depth=101, init_cfg=None))\nrandomness = dict(seed=1)\nwork_dir = "x"'
    )
    assert {one.name for one in between(config, other, ['model.backbone'])} == {
        'model.backbone.depth',
        'model.backbone.init_cfg',
    }
    assert not between(config, other, ['model.roi_head', 'train_pipeline[Resize].scale'])
    assert {one.name for one in unexpected(between(config, other), ['init', 'model'])} == {'randomness.seed'}
    pipeline = variant(config, 'train_pipeline = _base_.train_pipeline[1:]')
    assert between(config, pipeline, ['train_pipeline.0']) == between(config, pipeline, ['train_pipeline'])


def test_a_part_is_named_by_keys_indices_and_types(config):
    values = read(config).values | dict(custom_keys={'backbone.norm': dict(lr_mult=2)})
    for name, path in {
        'model.backbone.norm_cfg': ('model', 'backbone', 'norm_cfg'),
        'train_pipeline.1.scale': ('train_pipeline', 1, 'scale'),
        'train_pipeline[RandomFlip].prob': ('train_pipeline', 2, 'prob'),
        'custom_keys.backbone.norm.lr_mult': ('custom_keys', 'backbone.norm', 'lr_mult'),
    }.items():
        assert find(values, name) == path
    for name, message in {
        'modle.backbone': '--only modle.backbone: the config has no modle, but model',
        'model.back': 'model has no back, but backbone',
        'train_pipeline[Mosaic].prob': r'train_pipeline has no \[Mosaic\], but 0, 1, 2, 3, \[LoadImage',
        'max_iters.end': 'max_iters has no end.$',
    }.items():
        with pytest.raises(ConfigError, match=message):
            find(values, name)
    other = variant(config, 'model = dict(extra=dict(a=1))')
    assert not between(other, other, ['model.extra'])
    assert len(between(config, other, ['model.extra'])) == 1
    with pytest.raises(ConfigError, match='model has no extras, but extra'):
        between(other, other, ['model.backbone', 'model.extras'])


def test_values_in_a_line():
    assert show(dict(type='Resize', scale=(8, 8), keep_ratio=True)) == 'Resize(scale=(8, 8), keep_ratio=True)'
    assert show([dict(a=(1,)), None]) == '[(a=(1,)), None]'
    assert len(show('x' * 500, 80)) == 80 and show('x' * 500, 80).endswith('…')
    names = [f'class {index}' for index in range(80)]
    assert contrast([names, [*names[:40], 'other', *names[41:]]]) == ["[…, 'class 40', …]", "[…, 'other', …]"]
    assert contrast([names, names[1:]]) == ["['class 0', …]", '[…]']
    assert contrast([[1], [2]]) == ['[1]', '[2]']


def test_the_table_has_values_files_and_lines(config, monkeypatch):
    monkeypatch.setenv('COLUMNS', '160')
    other = variant(config, 'model = dict(backbone=dict(depth=101))\nwork_dir = "x"')
    text = write('table', between(config, other), [read(config), read(other)], SCREEN)
    assert re.search(r'model.backbone.depth +50 +101\n +one.py:13 +other_\d+.py:2\n', text)
    assert text.endswith(f'1 difference: model.\nNot counted: work_dir.\nFiles are below {text.split()[-1]}\n')
    monkeypatch.chdir(config.rpartition('/')[0])
    text = write('table', between(config, other), [read(config), read(other)], SCREEN)
    assert text.endswith('Files are below this folder.\n')


def test_json_has_every_difference_whole(config):
    other = variant(config, 'train_pipeline = _base_.train_pipeline[:3]\nmodel = dict(backbone=dict(init_cfg=None))')
    found = json.loads(write('json', between(config, other), [read(config), read(other)], SCREEN))
    init, pipeline = found['differences']
    assert (init['group'], init['name']) == ('init', 'model.backbone.init_cfg')
    assert init['configs'][1] == dict(path='model.backbone.init_cfg', value=None, file=other, line=3)
    assert pipeline['configs'] == [
        dict(path='train_pipeline.3', value=dict(type='PackDetInputs'), file=config, line=7),
        None,
    ]


class Cells(HTMLParser):
    """Text of the cells of a page; that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ('meta', 'br', 'wbr'):
            self.open.append(tag)
        assert tag != 'script' and not [value for key, value in attrs if key in ('src', 'href')]
        if tag == 'td':
            self.cells.append('')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if 'td' in self.open:
            self.cells[-1] += data


def test_the_page_needs_nothing_else_and_escapes(config):
    other = variant(config, "train_dataloader = dict(dataset=dict(data_root='<script>alert(1)</script>&|'))")
    found = between(config, other)
    parser = Cells()
    parser.feed(write('html', found, [read(config), read(other)], SCREEN))
    assert not parser.open
    assert parser.cells[0] == 'train_dataloader.dataset.data_root' and parser.cells[1].startswith("'data/'one.py:")
    assert parser.cells[2].startswith("'<script>alert(1)</script>&|'other_")
    markdown = write('markdown', found, [read(config), read(other)], SCREEN)
    (row,) = [line for line in markdown.splitlines() if 'data_root' in line]
    assert len(re.findall(r'(?<!\\)\|', row)) == 4


def test_the_listing(config):
    lines = listing(read(config, {'model.backbone.depth': 18}), ['model.backbone']).splitlines()
    assert {line.split(' = ')[0] for line in lines} == {
        f'model.backbone.{key}'
        for key in (
            'type',
            'depth',
            'frozen_stages',
            'norm_eval',
            'norm_cfg.type',
            'init_cfg.type',
            'init_cfg.checkpoint',
        )
    }
    assert any(re.fullmatch(r'model.backbone.depth = 18 +# command line', line) for line in lines)
    assert any(re.fullmatch(r"model.backbone.type = 'ResNet' +# .*one.py:13", line) for line in lines)
    assert dotted(('a', '[B]', 'c')) == 'a[B].c'


# --- the tools -------------------------------------------------------------------------------------------------------

PAIR = [str(ROOT / f'configs/rethink/{init}_r50_gn_6x.py') for init in ('scratch', 'pretrain')]
FROZEN = str(ROOT / 'configs/frozen/freeze_r50_fpn_72e.py')


def test_the_tool_proves_a_comparison(run_in_process):
    code, text = run_in_process('misc/diff_configs.py', *PAIR, '--expect', 'init,freeze')
    assert code is None and '2 differences: init, freeze.' in text
    code, text = run_in_process('misc/diff_configs.py', *PAIR, '--expect', 'init')
    assert code == '--expect init: model.backbone.frozen_stages (freeze) differs as well.'
    code, text = run_in_process('misc/diff_configs.py', PAIR[0], FROZEN, '--expect', 'freeze', '--format', 'json')
    others = {one['group'] for one in json.loads(text)['differences']} - {'freeze', NAMES}
    assert len(others) > 4 and re.search(r'^--expect freeze: (\S+ \(\w+\),? ){10}and \d+ more differ as well', code)
    code, text = run_in_process(
        'misc/diff_configs.py', PAIR[0], '--cfg-options', 'model.backbone.depth=18', '--expect', ''
    )
    assert 'model.backbone.depth (model) differs' in code and 'command line' in text


def test_stdout_has_the_json_and_nothing_else():
    """MMDetection prints while it is imported."""
    found = run_tool('misc/diff_configs.py', *PAIR, '--format', 'json', '--only', 'model.backbone.frozen_stages')
    (one,) = json.loads(found.stdout)['differences']
    assert (one['group'], [side['value'] for side in one['configs']]) == ('freeze', [-1, 1])


def test_wrong_input_is_a_sentence(run_in_process):
    for arguments, message in {
        (PAIR[0],): 'one config has nothing to differ from',
        (*PAIR, '--expect', 'luck'): '--expect does not know luck; groups are init, freeze',
        (PAIR[0], 'none.py'): 'there is no config none.py',
        (*PAIR, '--only', 'modle.backbone'): '--only modle.backbone: the config has no modle, but model',
    }.items():
        code, text = run_in_process('misc/diff_configs.py', *arguments)
        assert code == 2 and re.match(f'(.*\n)?error: .*{message}', text), text


def test_a_config_is_printed_as_mmdetection_does_or_with_its_places(run_in_process, tmp_path):
    code, text = run_in_process('misc/print_config.py', PAIR[0], '--save-path', tmp_path / 'flat.py')
    assert code is None and text.startswith('Config:\nauto_scale_lr = dict(base_batch_size=16, enable=False)')
    assert not diff([read(PAIR[0]), read(str(tmp_path / 'flat.py'))])
    code, text = run_in_process('misc/print_config.py', PAIR[0], '--provenance', '--only', 'model.backbone.init_cfg')
    place = r'# configs/_base_/models/mask_rcnn_r50_fpn_gn.py:\d+\n'
    assert code is None and re.match(rf"model.backbone.init_cfg.0.type = 'Caffe2Xavier' +{place}", text)
    code, text = run_in_process(
        'misc/print_config.py', PAIR[0], '--provenance', '--only', 'param_scheduler[LinearLR].end'
    )
    assert code is None and re.fullmatch(r'param_scheduler.0.end = 500 +# configs/_base_/schedules/.*py:\d+\n', text)
    code, text = run_in_process('misc/print_config.py', PAIR[0], '--only', 'model')
    assert code == 2 and 'add --provenance' in text
    code, text = run_in_process('misc/print_config.py', PAIR[0], '--save-path', 'flat.txt')
    assert code == 2 and '--save-path flat.txt ends in none of .py, .json, .yml' in text
