"""Study B's evaluations in miniature, through the scripts that a user calls: real trainings on generated images."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.utils import register_all_modules
from PIL import Image
from rethink import checks
from rethink.analysis.logs import read_run
from rethink.checks.weights import check_weights
from rethink.engine import launch
from rethink.errors import ConfigError

CONFIGS = ROOT / 'configs'
LINEAR, SEMI = (
    CONFIGS / 'shapes' / f'{name}.py' for name in ('freeze_r18_bn_linear_300i', 'finetune_r18_bn_semi_100i')
)
TINY = """
_base_ = {config!r}
data_root = '{root}/'
model = dict(backbone=dict(stem_channels=16, base_channels=16), head=dict(in_channels=128))
reader = dict(data_root=data_root, {classes})
load = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=32)]
pack = [dict(type='PackInputs', meta_keys=('img_path', 'uncertain', 'missing'))]
loader = dict(batch_size=32, num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, dataset=dict(**reader, {ann_file}pipeline=[*load, {augment}*pack]))
val_dataloader = test_dataloader = dict(**loader, dataset=dict(**reader, pipeline=[*load, *pack]))
train_cfg = dict(max_iters={iters}, val_interval={interval})
param_scheduler = [dict(_base_.param_scheduler[0], end={iters}, milestones=[{iters} // 3, {iters} * 2 // 3])]
default_hooks = dict(checkpoint=dict(interval={iters}))
auto_scale_lr = dict(base_batch_size=32)
randomness = dict(seed=0)
experiment_name = {name!r}
visualizer = dict(name={name!r})
"""
FLIP = "dict(type='RandomFlip', prob=0.5), "

register_all_modules(init_default_scope=False)


COLOURS = np.array([[230, 40, 40], [40, 200, 40], [60, 60, 240], [220, 200, 40], [200, 60, 220]])


@pytest.fixture(scope='module')
def squares(tmp_path_factory):
    """A folder for each kind of label: squares on noise, whose colour is their class, in the files of make_splits.py.

    One square in an image of `crops`, up to three in one of `scenes`, of which some are uncertain or missing.
    """
    folder = tmp_path_factory.mktemp('squares')
    random = np.random.default_rng(0)
    for kind in ('crops', 'scenes'):
        (folder / kind / 'splits').mkdir(parents=True)
        (folder / kind / 'splits' / 'classes.txt').write_text('red\ngreen\nblue\nyellow\nviolet\n')
        for split, number in (('train', 250), ('val', 100), ('test', 100)):
            entries = []
            for index in range(number):
                chosen = [index % 5] if kind == 'crops' else random.permutation(5)[: random.integers(1, 4)]
                picture = random.integers(0, 255, (32, 32, 1)).repeat(3, 2)
                for label in chosen:
                    x, y = random.integers(0, 22, 2)
                    picture[y : y + 10, x : x + 10] = COLOURS[label] + random.integers(-40, 40, 3)
                name = f'{split}{index}.png'
                Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / kind / name)
                entries.append(dict(img_path=name, gt_label=sorted(map(int, chosen))))
            if kind == 'crops':
                lines = [f'{one["img_path"]} {one["gt_label"][0]}\n' for one in entries]
                (folder / kind / 'splits' / f'{split}.txt').write_text(''.join(lines))
            else:
                entries[0] |= dict(uncertain=[entries[0]['gt_label'].pop()], missing=[])
                entries[1]['missing'] = [entries[1]['gt_label'].pop()]
                classes = ['red', 'green', 'blue', 'yellow', 'violet']
                content = dict(metainfo=dict(classes=classes), data_list=entries)
                (folder / kind / 'splits' / f'{split}.json').write_text(json.dumps(content))
    return folder


@pytest.fixture
def tiny(squares, tmp_path, monkeypatch):
    """Write a config of the miniature whose images and backbone are half as large; the file."""

    def write(config, name, scenes=False, iters=60, interval=20, augment='', ann_file=''):
        monkeypatch.setenv('HPT_DATASET', 'scenes' if scenes else 'crops')
        root = squares / ('scenes' if scenes else 'crops')
        text = TINY.format(
            config=str(config),
            root=root,
            classes='' if scenes else f"classes='{root}/splits/classes.txt'",
            ann_file=f"ann_file='splits/{ann_file}', " if ann_file else '',
            **dict(augment=augment, iters=iters, interval=interval, name=name),
        )
        path = tmp_path / f'{name}.py'
        path.write_text(text)
        return path

    return write


def write_random(path, config) -> dict:
    """A backbone as it is before training; its tensors."""
    init_default_scope('mmpretrain')
    torch.manual_seed(1)
    backbone = MODELS.build(launch.load_config(str(config)).model.backbone)
    backbone.init_weights()
    weights = {f'backbone.{key}': value for key, value in backbone.state_dict().items()}
    torch.save(dict(state_dict=weights), path)
    return weights


def weights_of(work_dir, iters) -> dict:
    return torch.load(work_dir / f'iter_{iters}.pth', weights_only=False)['state_dict']


def test_a_trained_backbone_is_separable_and_nothing_but_the_head_is_trained(
    tiny, tmp_path, monkeypatch, run_in_process
):
    random = tmp_path / 'random.pth'

    def train(config, base, *options):
        monkeypatch.setenv('HPT_BASE', str(base))
        code, printed = run_in_process(
            'train.py', config, '--work-dir', tmp_path / config.stem, '--cfg-options', *options
        )
        assert not code, printed[-3000:]
        return tmp_path / config.stem

    # Everything is fine-tuned, with all labels of the training split.
    semi = tiny(SEMI, 'semi', iters=40, ann_file='train.txt')
    before = write_random(random, semi)
    head = 'optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult=10'
    run = train(semi, random, 'optim_wrapper.optimizer.lr=0.02', head)
    after = weights_of(run, 40)
    moved = [key for key in before if not key.endswith('num_batches_tracked')]
    assert all(not torch.equal(before[key], after[key]) for key in moved), 'weights, BN and its statistics'

    found = {}
    for name, base in (('on_random', random), ('on_trained', run / 'iter_40.pth')):
        linear = train(tiny(LINEAR, name, iters=40), base, 'optim_wrapper.optimizer.lr=0.1')
        start, end = torch.load(base, weights_only=False)['state_dict'], weights_of(linear, 40)
        assert all(torch.equal(start[key], end[key]) for key in before), 'bit for bit'
        log = read_run(linear)
        assert set(log.val) == {20, 40}
        for part in ('val', 'test'):
            # 20 images of each class: the mean over classes is that over images.
            assert log.val[40][f'{part}/single-label/recall'] == pytest.approx(log.val[40][f'{part}/accuracy/top1'])
        found[name] = log.val[40]['test/accuracy/top1']
    # Chance is 20, with a standard deviation of 4 on 100 images.
    assert found['on_trained'] > 50 and found['on_trained'] > found['on_random'], found

    # Several labels: the same backbone, by AUROC, of which 50 is chance.
    scenes = train(tiny(LINEAR, 'scenes', scenes=True, iters=40), run / 'iter_40.pth', 'optim_wrapper.optimizer.lr=1')
    measured = read_run(scenes).val[40]
    assert set(measured) >= {'val/multi-label/AUROC', 'test/multi-label/AUROC'}
    assert measured['test/multi-label/AUROC'] > 60


def test_one_command_gives_the_table_and_a_second_start_trains_nothing(tiny, tmp_path, monkeypatch, run_in_process):
    monkeypatch.setenv('HPT_BASE', 'restored after the test')
    config = tiny(LINEAR, 'one', iters=20)
    write_random(tmp_path / 'random.pth', config)
    command = ['hpt_evaluate.py', tmp_path / 'random.pth', '--configs', config, '--out-dir', tmp_path / 'out']
    command += ['--reruns', '1', '--cfg-options', 'learning_rates=[0.1]']
    code, printed = run_in_process(*command)
    assert not code, printed[-3000:]
    log = read_run(tmp_path / 'out' / 'one' / 'lr=0.1_seed=0')
    assert log.config.custom_hooks[0].checkpoint == str(tmp_path / 'random.pth')
    test = log.val[20]['test/accuracy/top1']
    assert (
        f'| linear | one | 0.1 | accuracy/top1 | {log.val[20]["val/accuracy/top1"]:.2f} | **{test:.2f}** |' in printed
    )
    assert {path.name for path in (tmp_path / 'out' / 'one' / 'features').glob('*.pt')} == {
        f'{part}.pt' for part in ('train', 'val', 'test')
    }
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out' / 'one').rglob('*.*') if path.is_file()}
    code, again = run_in_process(*command)
    assert not code and '1 trainings, 1 of them finished' in again
    assert {path: path.stat().st_mtime_ns for path in before if path.name != 'grid.json'} == {
        path: at for path, at in before.items() if path.name != 'grid.json'
    }


def test_wrong_input_is_found_before_training(tiny, tmp_path, monkeypatch):
    def wrong(change, sentence, scenes=False):
        monkeypatch.setenv('HPT_BASE', str(tmp_path / 'random.pth'))
        cfg = launch.load_config(str(tiny(LINEAR, 'wrong', scenes=scenes)))
        change(cfg)
        with pytest.raises(ConfigError, match=sentence) as error:
            checks.stop_on_errors(cfg)
            check_weights(cfg)
        assert '\n' not in str(error.value)

    write_random(tmp_path / 'random.pth', tiny(LINEAR, 'right'))
    wrong(
        lambda cfg: cfg.test_dataloader.dataset.update(ann_file='splits/no.txt'),
        r'no\.txt of test_dataloader.*make_splits',
    )
    wrong(
        lambda cfg: cfg.model.head.update(num_classes=6),
        r'num_classes is 6, but .*classes\.txt of train_.* has 5 classes',
    )
    wrong(
        lambda cfg: cfg.model.head.update(num_classes=4),
        r'num_classes is 4, but .*train\.json of .* has 5 classes',
        True,
    )
    wrong(lambda cfg: cfg.train_dataloader.dataset.update(classes='no.txt'), r'the file of classes no\.txt of train_')
    wrong(lambda cfg: cfg.model.backbone.update(depth=34), 'random.pth .* does not fit the model: .* are missing')
