"""SIGKILL at random moments in every long tool: it ends with what the run without a kill ends with, to the bit.

    KILLS_SEED=7 OMP_NUM_THREADS=1 python -m pytest -m long -s tests/studies/test_kills.py

prints each kill. Without ``KILLS_SEED`` the seed is drawn, and printed; a case's moments are its own, so that one can
be repeated alone (``-k dist``). A moment is a number of lines that the trainings have logged, so that a repetition
comes as close as the machine allows, or, of a tool that logs nothing, seconds.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from datasets.test_bdd import labels_of
from datasets.test_bdd import write as write_bdd
from everything_random import assert_bit_equal, log, weights, write_everything, write_masks
from mmengine.config import Config
from PIL import Image
from rethink.datasets import bdd
from test_chains import CONFIG as MOCO
from test_chains import SOURCE, write_base, write_images
from test_hpt_evaluation_study import FLIP, LINEAR, squares, tiny, write_random  # noqa: F401  (fixtures)
from test_switch import options as switch_options
from test_switch import shapes  # noqa: F401  (fixture)

pytestmark = pytest.mark.long
SEED = int(os.environ.get('KILLS_SEED') or random.SystemRandom().randrange(10**6))
# Seconds until nothing that was started may run any more, after a kill and after the end.
GRACE = 60
killed = {}


@dataclass
class Case:
    """A command that is killed.

    Args:
        name: of the case.
        command: arguments after the interpreter or the shell, by the folder that it writes to.
        kills: how often it is killed, if it is not finished before.
        alone: kill one process of those that were started, the first or one that it started, and not all at once.
        environment: added to that of the tests.
        same: compares what the folders of the whole run and of the killed one hold; trainings are always compared.
    """

    name: str
    command: Callable[[Path], list]
    kills: int
    alone: bool = False
    environment: dict = field(default_factory=dict)
    same: Callable[[Path, Path], None] | None = None


def processes(token: str) -> list[int]:
    """Those that are alive and have been started, directly or not, with ``KILLS_TOKEN`` set to this."""
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            alive = (folder / 'stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
            if alive and f'KILLS_TOKEN={token}'.encode() in (folder / 'environ').read_bytes().split(b'\0'):
                found.append(int(folder.name))
    return sorted(found)


def left(token: str) -> list[int]:
    """The processes that are still there after the time that they are given."""
    end = time.monotonic() + GRACE
    while (found := processes(token)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def lines(folder: Path) -> int:
    """What was logged, by all trainings of a folder."""
    return sum(path.read_bytes().count(b'\n') for path in folder.rglob('scalars.json'))


def start(case: Case, folder: Path, token: str) -> subprocess.Popen:
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [str(one) for one in case.command(folder)]
    interpreter = 'bash' if arguments[0].endswith('.sh') else sys.executable
    env = os.environ | dict(
        PYTHON=sys.executable, CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1', KILLS_TOKEN=token, **case.environment
    )
    with open(folder.parent / f'{folder.name}.txt', 'a') as output:
        return subprocess.Popen(
            [interpreter, *arguments], cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True
        )


def finish(case: Case, folder: Path) -> float:
    """Run to the end; the seconds."""
    token, begin = uuid.uuid4().hex, time.monotonic()
    code = start(case, folder, token).wait(600)
    taken = time.monotonic() - begin
    assert code == 0, (folder.parent / f'{folder.name}.txt').read_text()[-3000:]
    assert not left(token), 'processes outlive a run that ended'
    return taken


def kill(case: Case, folder: Path, rng: random.Random, span: int, seconds: float) -> str | None:
    """Start and kill; where, or None if it ended before."""
    token, before, begin = uuid.uuid4().hex, lines(folder), time.monotonic()
    process = start(case, folder, token)
    if not span:
        time.sleep(seconds * rng.uniform(0.4, 0.95))
    elif rng.random() < 0.2:  # while it is starting
        time.sleep(seconds * rng.uniform(0.0, 0.5))
    else:
        after = rng.randint(1, span)
        while process.poll() is None and lines(folder) - before < after:
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.5))
    if process.poll() is not None:
        assert process.returncode == 0, (folder.parent / f'{folder.name}.txt').read_text()[-3000:]
        return None
    mine = processes(token)
    victims = [rng.choice([process.pid, *mine])] if case.alone else rng.sample(mine, len(mine))
    for one in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    process.wait(GRACE)
    still = left(token)
    for one in still:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    place = f'line {lines(folder) - before}, {time.monotonic() - begin:.1f} s, {len(victims)} of {len(mine)} processes'
    assert not still, f'{len(still)} processes outlive the kill at {place}'
    return place


def assert_whole_files(folder: Path) -> None:
    """Everything that has its final name is whole."""
    for path in folder.rglob('*.pth'):
        if not path.name.startswith('.'):
            torch.load(path, weights_only=False)
    for path in folder.rglob('last_checkpoint'):
        assert Path(path.read_text()).is_file(), path
    for path in folder.rglob('*.json'):
        # Logs are lines, of which a kill may cut the last one.
        if path.parent.name != 'vis_data' and not path.name.startswith('.'):
            json.loads(path.read_text())


def assert_the_same(whole: Path, folder: Path) -> None:
    """Every checkpoint and every log of trainings."""
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob('*.pth'))
    assert names == sorted(str(path.relative_to(folder)) for path in folder.rglob('*.pth'))
    for name in names:
        assert_bit_equal(weights(folder / name), weights(whole / name))
    for path in whole.rglob('vis_data'):
        work_dir = path.parent.parent.relative_to(whole)
        one, other = log(whole / work_dir), log(folder / work_dir)
        assert one == other, f'the logs of {work_dir} differ'
        train = list(one[0])
        assert train == list(range(train[0], train[-1] + 1)), f'the log of {work_dir} has gaps'
    assert not [path for path in folder.rglob('.*.part')]


def check(case: Case, tmp_path: Path) -> None:
    """Run whole, run killed, compare."""
    rng = random.Random(f'{SEED} {case.name}')
    print(f'\n{case.name}: KILLS_SEED={SEED}', flush=True)
    whole, folder = tmp_path / 'whole', tmp_path / 'killed'
    seconds = finish(case, whole)
    total = lines(whole)
    print(f'  whole: {total} lines logged in {seconds:.0f} s', flush=True)
    for number in range(case.kills):
        # So that about all of the kills are had before the end.
        place = kill(case, folder, rng, 2 * total // (case.kills + 1), seconds)
        if place is None:
            print('  ended before the next kill', flush=True)
            break
        killed[case.name] = number + 1
        print(f'  kill {number + 1}: {place}', flush=True)
        assert_whole_files(folder)
    finish(case, folder)
    assert_the_same(whole, folder)
    if case.same:
        case.same(whole, folder)
    print(f'  the same after {killed.get(case.name, 0)} kills', flush=True)


# --- trainings -------------------------------------------------------------------------------------------------------


def train(config: Path, *more) -> Callable[[Path], list]:
    return lambda folder: ['tools/train.py', config, '--work-dir', folder, '--resume', *more]


def dist_train(config: Path, *more) -> Callable[[Path], list]:
    return lambda folder: ['tools/dist_train.sh', config, 2, '--work-dir', folder, '--resume', *more]


@pytest.fixture(scope='module')
def masks(tmp_path_factory):
    return write_masks(tmp_path_factory.mktemp('masks'))


@pytest.mark.parametrize('workers, amp', [(0, False), (2, True)])
def test_detector(tmp_path, masks, workers, amp):
    """Copy-Paste, random scales, crops and colours, RoIs, dropout, drop path, an average, accumulation."""
    config = write_everything(tmp_path / 'config.py', masks, 24, workers, amp)
    check(Case(f'train.py, {workers} workers{", AMP" * amp}', train(config), 6, alone=amp), tmp_path)


def test_detector_in_two_processes(tmp_path, masks):
    config = write_everything(tmp_path / 'config.py', masks, 24, 1)
    check(Case('dist_train.sh', dist_train(config), 6), tmp_path)


CLASSIFIER = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['rethink'])
model = dict(
    type='ImageClassifier', data_preprocessor=dict(num_classes=2, mean=[127.0] * 3, std=[64.0] * 3),
    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4, drop_path_rate=0.2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=32, topk=1),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]))
read = dict(type='CustomDataset', data_root='{data}')
loader = dict(batch_size=4, num_workers=1, persistent_workers=True, collate_fn=dict(type='default_collate'))
train_dataloader = dict(
    **loader, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True), dataset=dict(**read, pipeline=[
        dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=32),
        dict(type='RandAugment', policies='timm_increasing', num_policies=2, total_level=10, magnitude_level=9,
             magnitude_std=0.5),
        dict(type='RandomErasing', erase_prob=0.5), dict(type='PackInputs')]))
val_dataloader = dict(
    **loader, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**read, pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
val_evaluator = dict(type='Accuracy')
train_cfg = dict(type='ResumableTrainLoop', max_iters=30, val_interval=5)
val_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=30)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=1))
custom_hooks = [dict(type='EMAHook', momentum=0.1, update_buffers=True)]
log_processor = dict(window_size=3, by_epoch=False)
"""


def test_classifier_in_two_processes(tmp_path):
    """BN, whose statistics are of each process's images; Mixup, CutMix, RandAugment, drop path, an average."""
    write_images(tmp_path / 'images' / 'a'), write_images(tmp_path / 'images' / 'b', seed=1)
    (tmp_path / 'config.py').write_text(CLASSIFIER.format(data=tmp_path / 'images') + 'randomness = dict(seed=5)\n')
    check(Case('classifier, dist_train.sh', dist_train(tmp_path / 'config.py'), 5, alone=True), tmp_path)


@pytest.fixture
def moco(tmp_path):
    """Config, source and base of MoCo on two random views, eight steps of each training."""
    write_images(tmp_path / 'target'), write_images(tmp_path / 'source', 16, seed=1)
    text = MOCO.format(data=tmp_path).replace(", 'killed_at'", '').replace("dict(type='Killed')", '')
    (tmp_path / 'moco.py').write_text(
        text.replace('max_iters=4', 'max_iters=20')
        .replace('end=4', 'end=20')
        .replace('num_workers=0', 'num_workers=1')
        + 'randomness = dict(seed=2)\n'
    )
    (tmp_path / 'source.py').write_text(SOURCE.format(data=tmp_path))
    write_base(tmp_path / 'base.pth')
    return tmp_path / 'moco.py'


def test_moco_in_two_processes(tmp_path, moco):
    check(Case('MoCo, dist_train.sh', dist_train(moco), 5), tmp_path)


def test_cascade_switch(tmp_path, shapes):  # noqa: F811
    settings = [one for one in switch_options(shapes) if not one.startswith('train_cfg.val_interval')]
    config = ROOT / 'configs/shapes/scratch_r18_gn_cascade_6x.py'
    check(Case('switch', train(config, '--cfg-options', *settings, 'train_cfg.val_interval=8'), 5), tmp_path)


# --- several trainings -----------------------------------------------------------------------------------------------


def test_chain(tmp_path, moco):
    def command(folder: Path) -> list:
        arguments = ['B+T', 'B+S+T', '--iters', 8, '--base', tmp_path / 'base.pth', '--source', tmp_path / 'source.py']
        return ['tools/hpt_chain.py', moco, *arguments, '--out-dir', folder]

    check(Case('hpt_chain.py', command, 5), tmp_path)


def test_grid(tmp_path, masks):
    config = write_everything(tmp_path / 'config.py', masks, 10)
    check(
        Case(
            'grid_search.py',
            lambda folder: ['tools/grid_search.py', config, '--lr', '0.001', '0.002', '--out-dir', folder],
            4,
        ),
        tmp_path,
    )


def test_study(tmp_path, masks):
    """Two arms with two seeds, side by side; the second arm begins with the checkpoint of the first."""
    config = write_everything(tmp_path / 'one.py', masks, 10)
    (tmp_path / 'two.py').write_text(config.read_text())
    (tmp_path / 'study.yml').write_text(
        'question: Is it lost?\nmetric: coco/bbox_mAP\nseeds: [0, 1]\n'
        "runs:\n  one: {}\n  two: {options: {load_from: '{checkpoint:one}'}}\nclaims: {it is not: two > one}\n"
    )

    def command(folder: Path) -> list:
        return ['tools/study.py', 'run', tmp_path, '--out-dir', folder, '--side-by-side', 2]

    def same(whole: Path, folder: Path) -> None:
        one, other = ((path / 'results.csv').read_text().splitlines() for path in (whole, folder))
        # Seconds are those of the machine.
        assert [line.rsplit(',', 1)[0] for line in one] == [line.rsplit(',', 1)[0] for line in other]

    check(Case('study.py', command, 5, same=same), tmp_path)


def test_evaluation(tmp_path, tiny):  # noqa: F811
    config = tiny(LINEAR, 'evaluated', iters=20, interval=5, augment=FLIP)
    config.write_text(
        config.read_text().replace(
            'checkpoint=dict(interval=20)', 'checkpoint=dict(interval=3), logger=dict(interval=1)'
        )
    )
    write_random(tmp_path / 'random.pth', config)

    def command(folder: Path) -> list:
        arguments = ['--configs', config, '--out-dir', folder, '--reruns', 2, '--cfg-options', 'learning_rates=[0.1]']
        return ['tools/hpt_evaluate.py', tmp_path / 'random.pth', *arguments]

    def same(whole: Path, folder: Path) -> None:
        for name in ('table.md', 'table.csv', 'results.csv'):
            assert (whole / name).read_bytes() == (folder / name).read_bytes()

    check(Case('hpt_evaluate.py', command, 4, same=same), tmp_path)


# --- data ------------------------------------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def same_files(whole: Path, folder: Path) -> None:
    ours, other = files(folder), files(whole)
    assert ours.keys() == other.keys()
    assert not [name for name in ours if ours[name] != other[name]]


def test_image_statistics(tmp_path):
    rng = random.Random(0)
    (tmp_path / 'images').mkdir()
    for index in range(20):
        picture = Image.effect_noise((640, 480), rng.uniform(10, 90)).convert('RGB')
        picture.save(tmp_path / 'images' / f'{index}.jpg')
    # Enough that the workers decode for longer than Python needs to start.
    for index in range(20, 3000):
        os.link(tmp_path / 'images' / f'{index % 20}.jpg', tmp_path / 'images' / f'{index}.jpg')

    def command(folder: Path) -> list:
        return [
            'tools/dataset_converters/image_statistics.py',
            tmp_path / 'images',
            '--workers',
            2,
            '--out-dir',
            folder / 'statistics.json',
        ]

    check(Case('image_statistics.py', command, 4, alone=True, same=same_files), tmp_path)


def test_make_shapes(tmp_path):
    def command(folder: Path) -> list:
        numbers = ['--train', 60, '--val', 20, '--crop-train', 100, '--crop-val', 40]
        return ['tools/dataset_converters/make_shapes.py', folder, *numbers]

    check(Case('make_shapes.py', command, 4, same=same_files), tmp_path)


def test_coco_subset(tmp_path):
    images = [dict(id=index, file_name=f'{index}.jpg', width=640, height=480) for index in range(40_000)]
    boxes = [
        dict(id=index + 1, image_id=index // 4, category_id=1, bbox=[1, 1, 9, 9], area=81, iscrowd=0)
        for index in range(160_000)
    ]
    content = dict(images=images, annotations=boxes, categories=[dict(id=1, name='thing')])
    (tmp_path / 'all.json').write_text(json.dumps(content))

    def command(folder: Path) -> list:
        return [
            'tools/dataset_converters/coco_subset.py',
            tmp_path / 'all.json',
            '--sizes',
            10_000,
            30_000,
            '--out-dir',
            folder,
        ]

    check(Case('coco_subset.py', command, 4, same=same_files), tmp_path)


def test_bdd_to_coco(tmp_path):
    """Three files that belong together, written anew where another draw has written them before."""
    rng = np.random.default_rng(0)
    content = {'train': 3000, 'val': 1000}
    labels = {
        split: {f'{split}-{index:05d}.jpg': labels_of(rng, 10) for index in range(number)}
        for split, number in content.items()
    }
    Image.new('RGB', (64, 36)).save(tmp_path / 'image.jpg')

    def command(folder: Path) -> list:
        if not (folder / 'labels').exists():
            for split, images in labels.items():
                (folder / 'images/100k' / split).mkdir(parents=True, exist_ok=True)
                for name in images:
                    os.link(tmp_path / 'image.jpg', folder / 'images/100k' / split / name)
            write_bdd(folder, bdd._LAYOUTS[0], labels)
            if folder.name == 'killed':
                bdd.convert(folder, 400, seed=1, progress=False)
        return ['tools/dataset_converters/bdd_to_coco.py', folder, '--val', 400]

    check(Case('bdd_to_coco.py', command, 4, same=same_files), tmp_path)


def test_make_splits(tmp_path):
    """All files or none, with every image decoded before."""
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'image.jpg')
    (tmp_path / 'config.py').write_text(f"_base_ = '{ROOT}/configs/_base_/datasets/hpt_ucmerced.py'\n")
    layout = Config.fromfile(tmp_path / 'config.py')

    def command(folder: Path) -> list:
        for label in range(layout.num_classes):
            place = folder / layout.layout.images / f'class{label:02d}'
            if not place.exists():
                place.mkdir(parents=True)
                for index in range(layout.num_images // layout.num_classes):
                    os.link(tmp_path / 'image.jpg', place / f'{index}.jpg')
        return [
            'tools/dataset_converters/make_splits.py', tmp_path / 'config.py', '--data-root', folder, '--corrupt',
            'refuse', '--workers', 2,
        ]  # fmt: skip

    def same(whole: Path, folder: Path) -> None:
        same_files(whole / 'splits', folder / 'splits')

    check(Case('make_splits.py', command, 4, alone=True, same=same), tmp_path)


def test_enough_were_killed():
    """After the others: 40 or more, if all of them ran."""
    print(f'\n{sum(killed.values())} kills, KILLS_SEED={SEED}: {killed}')
    if len(killed) >= 12:
        assert sum(killed.values()) >= 40
