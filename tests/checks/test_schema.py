"""Configs that are none, values of the wrong kind, overrides and metafiles: each ends in a sentence, in every tool."""

import copy
import json
import traceback

import pytest
from conftest import ROOT, write_detector
from mmengine.config import Config
from rethink import checks
from rethink.analysis import published
from rethink.checks import schema
from rethink.configs.overrides import parse_options
from rethink.engine import launch, schedules
from rethink.errors import ConfigError
from rethink.stopping import interruptible
from rethink.studies import study

# What configs were seen to have in the place of what they should.
WRONG = (None, [], {}, 'x', -1, 3.5, True)


@pytest.fixture
def file(tmp_path, data):
    return write_detector(tmp_path / 'tiny.py', data)


@pytest.fixture
def tree(file):
    values = Config.fromfile(file).to_dict()
    return {key: value for key, value in values.items() if key not in ('load', 'dataset', 'classes', 'norm_cfg')}


# --- files -----------------------------------------------------------------------------------------------------------

NO_CONFIGS = {
    b'': 'is empty',
    b'# nothing\n': 'is empty',
    b'\x00\x01\x02': 'config',
    b'\x80\xff = 1\n': 'config',
    'a = "é"'.encode('utf-16'): 'config',
    b'import sys\nsys.exit(0)\n': r'ends Python at \S+:2 with SystemExit: 0',
    b'x = 1\nraise KeyboardInterrupt\n': r'ends Python at \S+:2 with KeyboardInterrupt',
    b'def f():\n    return f()\nx = f()\n': 'fails at .* with RecursionError',
    b'_base_ = "./tiny.py"\n': 'fails at',
}


@pytest.mark.parametrize(
    'content', [pytest.param(one, marks=pytest.mark.long) if one.startswith(b'_base_') else one for one in NO_CONFIGS]
)
def test_a_file_that_is_no_config(tmp_path, content):
    (tmp_path / 'tiny.py').write_bytes(content)
    with pytest.raises(ConfigError, match=NO_CONFIGS[content]) as caught, interruptible():
        launch.load_config(str(tmp_path / 'tiny.py'))
    assert '\n' not in str(caught.value)


def test_a_folder_and_a_config_that_does_not_end(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match='is a folder; name a config'):
        launch.load_config(str(tmp_path))
    (tmp_path / 'loops.py').write_text('x = 1\nwhile True:\n    x += 1\n')
    monkeypatch.setattr(launch, '_READ', 1)
    with pytest.raises(ConfigError, match=r'loops.py is not read after 1 s; it was at \S+:[23]\.'):
        launch.load_config(str(tmp_path / 'loops.py'))


def test_check_config_says_that_a_config_is_empty(tmp_path, run_in_process):
    (tmp_path / 'empty.py').write_text('')
    code, printed = run_in_process('misc/check_config.py', tmp_path / 'empty.py')
    assert code == 2 and 'empty.py is empty' in printed and 'nothing found' not in printed


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (b'', 'is not JSON: it is empty'),
        (b'\x00\x01\xff', 'is not JSON: it is no text in UTF-8'),
        (b'[]', 'is not JSON: it is no JSON object'),
        (b'{"images": 3}', "has no list 'images' and no list 'categories'"),
    ],
)
def test_check_config_names_an_annotation_file_that_is_none(tmp_path, data, content, sentence):
    broken = tmp_path / 'broken.json'
    broken.write_bytes(content)
    cfg = launch.load_config(str(write_detector(tmp_path / 'tiny.py', data)))
    cfg.train_dataloader.dataset.ann_file = str(broken)
    (found,) = [one for one in checks.check(cfg) if one.rule == 'annotations']
    assert f'{broken} {sentence}' in found.what and found.where == 'train_dataloader.dataset' and found.fix


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'value', 'sentence'),
    [
        ('model', [], r"model is \[\], and should be a dict with a 'type', in \S+tiny\.py"),
        ('model', None, "model is None, and should be a dict with a 'type'"),
        ('train_dataloader', [], r'train_dataloader is \[\], and should be a dict'),
        ('train_dataloader.dataset', None, "train_dataloader.dataset is None, and should be a dict with a 'type'"),
        (
            'train_dataloader.batch_size',
            '2',
            "train_dataloader.batch_size is '2', and should be a whole number from 1",
        ),
        ('train_cfg', None, 'has no train_cfg, so there is nothing to train'),
        ('optim_wrapper', 'SGD', "optim_wrapper is 'SGD', and should be a dict, or None"),
        ('param_scheduler', 3, 'param_scheduler is 3, and should be a dict'),
        ('custom_hooks', dict(type='EMAHook'), 'custom_hooks is .*, and should be a list of dicts'),
        ('default_hooks', [dict(type='EMAHook')], 'default_hooks is .*, and should be a dict of dicts'),
        ('val_evaluator', 'CocoMetric', "val_evaluator is 'CocoMetric', and should be"),
        ('optim_wrapper.optimizer.lr', '0.1', "optim_wrapper.optimizer.lr is '0.1', and should be a number"),
        ('log_level', 'info', "log_level is 'info', and should be a level of logging"),
        ('model.backbone.out_indices', '(1, 2)', 'model.backbone.out_indices is'),
        (
            'model.backbone.init_cfg',
            'torchvision://resnet18',
            "init_cfg is 'torchvision://resnet18', and should be a dict",
        ),
        ('optim_wrapper.optimizer.weight_decay', '1e-4', 'weight_decay is .1e-4., and should be a number'),
        ('train_cfg.dynamic_intervals', [4, 1], r'dynamic_intervals is \[4, 1\], and should be a list of pairs'),
        (
            'model_wrapper_cfg',
            dict(find_unused_parameters=True),
            "model_wrapper_cfg is .*, and should be a dict with a 'type'",
        ),
        ('train_dataloader.dataset.data_root', ['/a', 'b/'], 'and should be a text, or None, .*quoted twice'),
        ('val_cfg', None, 'has val_dataloader and val_evaluator, and no val_cfg: set all three'),
        ('model.backbone.type', 3, 'model.backbone.type is 3, and should be the name of a class'),
    ],
)
def test_a_value_of_another_kind(file, name, value, sentence):
    cfg = launch.read_config(str(file))
    place, _, key = name.rpartition('.')
    owner = cfg
    for part in place.split('.') if place else ():
        owner = owner[part]
    owner[key] = value
    with pytest.raises(ConfigError, match=sentence):
        schema.check(cfg, 'train')


def dotted(tree, path=()):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*path, key)
        if isinstance(value, dict | list | tuple):
            yield from dotted(value, (*path, key))


def test_any_value_anywhere_is_a_sentence_or_left_to_its_class(tree, file, monkeypatch):
    """Each entry of a config in turn, through what train.py, test.py and the checker do before they build."""
    steps = dict(
        train=(schedules.check_length, lambda cfg: checks.stop_on_errors(cfg, 'train', 1, worthless=True)),
        test=(lambda cfg: checks.stop_on_errors(cfg, 'test'),),
    )
    read = Config.fromfile(file)
    monkeypatch.setattr(schedules, 'Config', type('Read', (), dict(fromfile=staticmethod(lambda _: read))))
    for path in dotted(tree):
        for value in WRONG:
            changed = copy.deepcopy(tree)
            owner = changed
            for key in path[:-1]:
                owner = owner[key]
            if isinstance(owner, tuple):
                continue
            owner[path[-1]] = copy.deepcopy(value)
            for stage, looks in steps.items():
                cfg = Config(copy.deepcopy(changed), filename=str(file))
                try:
                    schema.check(cfg, stage)
                    for look in looks:
                        look(cfg)
                except ConfigError as error:
                    assert '\n' not in str(error)
                except Exception as error:
                    names = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
                    assert 'build_from_cfg' in names, f'{path} = {value!r}, {stage}: {launch.describe(error)}'


def test_what_is_no_value_of_a_config_is_a_sentence_of_train_and_test(file, run_in_process, tmp_path):
    for tool, more in (('train.py', ()), ('test.py', ('none.pth',))):
        code, printed = run_in_process(tool, file, *more, '--work-dir', tmp_path / 'w', '--cfg-options', 'model=3')
        assert code == 2 and "error: model is 3, and should be a dict with a 'type'" in printed


# --- overrides -------------------------------------------------------------------------------------------------------

TOOLS = (
    'train.py',
    'test.py',
    'misc/check_config.py',
    'misc/diff_configs.py',
    'misc/print_config.py',
    'misc/export_config.py',
    'analysis_tools/training_cost.py',
    'analysis_tools/scaling.py',
    'model_converters/reestimate_bn.py',
    'grid_search.py',
    'hpt_chain.py',
)


@pytest.mark.parametrize('tool', TOOLS)
def test_an_override_that_is_none(file, tool, run_in_process, tmp_path):
    more = {'test.py': ['x.pth'], 'misc/export_config.py': ['x.py'], 'model_converters/reestimate_bn.py': ['x', 'y']}
    more |= {
        'grid_search.py': ['--lr', '1', '--out-dir', tmp_path / 'out'],
        'hpt_chain.py': ['B', '--out-dir', tmp_path / 'out'],
    }
    for option, words in {
        'model.type': "'model.type' is not of the form KEY=VALUE",
        '=3': "'=3' is not of the form KEY=VALUE",
        'a..b=3': "'a..b=3' is not of the form KEY=VALUE",
        'a=[1,2': "'a=[1,2' has a bracket without the other",
        'a=[1': "'a=[1' has a bracket without the other",
        'a=(1,2]': "'a=(1,2]' has a bracket without the other",
    }.items():
        code, printed = run_in_process(tool, file, *more.get(tool, ()), '--cfg-options', option)
        assert code == 2 and words in printed and printed.count('error: ') == 1, printed


def test_overrides_are_read_as_mmengine_reads_them():
    assert parse_options(['a=/my data/a (1)/x.json', 'b=[one two, three ]', 'c= 5', 'd=[(1, 2), (3, 4)]']) == {
        'a': '/my data/a (1)/x.json',
        'b': ['one two', 'three'],
        'c': 5,
        'd': [(1, 2), (3, 4)],
    }
    assert parse_options(['a.b=1', 'c=[1,(2.5,x)]', 'd=a=b', 'e=None,true', 'f=']) == {
        'a.b': 1,
        'c': [1, (2.5, 'x')],
        'd': 'a=b',
        'e': [None, True],
        'f': '',
    }
    # A comma in a path: MMEngine has no way to say it.
    assert parse_options(['a="/my, data/x=1.json"', "b='/a,b/'", "c='x','y'", 'd=/a,b']) == {
        'a': '/my, data/x=1.json',
        'b': '/a,b/',
        'c': ['x', 'y'],
        'd': ['/a', 'b'],
    }


# --- metafiles -------------------------------------------------------------------------------------------------------

METAFILES = {
    'not YAML': (b'Models: [', 'is not YAML in UTF-8, at line 1'),
    'a list': (b'- 1', 'is a list, and should be a dict'),
    'empty': (b'', 'is empty, and should be a dict'),
    'binary': (b'\x00\xff\xfe', 'is not YAML in UTF-8'),
    'no models': (b'Collections: []', 'Models is missing, and should be of the kind list'),
    'no name': (b'Models: [{Results: []}]', r'Models\[0\]: Name is missing'),
    'a name that is none': (b'Models: [3]', r'Models\[0\]: Name is missing'),
    'no metrics': (b'Models: [{Name: a, Results: [{Task: b}]}]', 'Results: Metrics is missing'),
    'no number': (
        b'Models: [{Name: a, Metadata: {Published: t}, Results: [{Metrics: {box AP: high}}]}]',
        "box AP is 'high', and should be of the kind int or float",
    ),
    'a tag': (b'Models: !!python/object/apply:os.system ["touch ran"]', 'has what is more than values'),
}


@pytest.mark.parametrize('name', METAFILES)
def test_a_metafile_that_is_none(tmp_path, name, run_in_process, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, words = METAFILES[name]
    (tmp_path / 'metafile.yml').write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        published.read_published('metafile.yml', tmp_path)
    for tool, option in (('learning_curves', '--published'), ('training_cost', '--metafile')):
        config = [ROOT / 'configs/rethink/scratch_r50_gn_6x.py'] * (tool == 'training_cost')
        code, printed = run_in_process(f'analysis_tools/{tool}.py', *config, option, 'metafile.yml')
        assert code == 2 and printed.count('error: ') == 1 and 'Traceback' not in printed, printed
    assert not (tmp_path / 'ran').exists()
    (tmp_path / 'study.yml').write_bytes(content)
    with pytest.raises(ConfigError, match='study.yml'):
        study.read(tmp_path)


def test_a_metafile_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(ConfigError, match='there is no metafile'):
        published.read_published(tmp_path / 'no.yml', tmp_path)
    with pytest.raises(ConfigError, match='is not a file'):
        published.read_published(tmp_path, tmp_path)


def test_an_annotation_file_that_is_none_is_a_sentence_of_samples_seen(tmp_path, file, run_in_process):
    for content in ('', '[]', json.dumps(dict(images=[]))):
        (tmp_path / 'broken.json').write_text(content)
        arguments = ('--annotations', tmp_path / 'broken.json', '--out', tmp_path / 'x')
        code, printed = run_in_process('analysis_tools/samples_seen.py', file, *arguments)
        assert code == 2 and printed.count('error: ') == 1 and 'broken.json' in printed
