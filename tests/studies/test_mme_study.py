"""Domain adaptation in miniature, through the script that a user calls: it learns, and resumes in its order."""

from pathlib import Path

import pytest
from conftest import run_tool
from rethink.analysis.logs import read_run
from rethink.models.mme import MME

CONFIG = 'configs/shapes/scratch_mme_r18.py'
ITERS = 50


@pytest.fixture(scope='module')
def crops(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('shapes')
    sizes = ['--train', 1, '--val', 1, '--crop-train', 200, '--crop-val', 50]
    done = run_tool('dataset_converters/make_shapes.py', folder, *sizes)
    assert not done.returncode, done.stderr
    return folder / 'classification'


def options(crops: Path, name: str, iters: int, batch: int) -> list[str]:
    parts = [f'train_dataloader.dataset.datasets.{part}' for part in range(3)] + ['val_dataloader.dataset']
    return [
        *(f'{part}.data_root={crops}/' for part in parts),
        *(f'train_cfg.{key}={iters}' for key in ('max_iters', 'val_interval')),
        *(f'param_scheduler.0.{key}={iters}' for key in ('end', 'T_max')),
        *(f'train_dataloader.{part}batch_size={batch}' for part in ('', 'sampler.')),
        *(
            f'{part}_dataloader.{key}'
            for part in ('train', 'val')
            for key in ('num_workers=0', 'persistent_workers=False')
        ),
        *('default_hooks.logger.interval=1', 'log_processor.window_size=1', 'randomness.seed=0'),
        *(f'{key}={name}' for key in ('experiment_name', 'visualizer.name')),
    ]


def test_entropy_and_loss_fall_and_the_target_is_evaluated(run_in_process, crops, tmp_path):
    chosen = options(crops, 'mme', ITERS, 64)
    code, printed = run_in_process('train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options', *chosen)
    assert not code, printed[-3000:]
    log = read_run(tmp_path)
    entropy, loss = ([log.train[at][key] for at in range(1, ITERS + 1)] for key in ('entropy', 'loss_labelled'))
    # Chance is log 5 = 1.61 for both.
    assert 1.5 < sum(entropy[:10]) / 10 < 1.61 and sum(loss[:10]) / 10 > 1.5
    assert sum(entropy[-10:]) / 10 < 1.45
    assert sum(loss[-10:]) / 10 < 1.1
    assert 0 <= log.val[ITERS]['accuracy/top1'] <= 100


def test_a_resumed_training_sees_the_images_that_it_would_have_seen(run_in_process, crops, tmp_path, monkeypatch):
    seen = []
    loss = MME.loss

    def watched(self, inputs, samples):
        seen.append([(Path(sample.img_path).name, 'gt_label' in sample) for sample in samples])
        return loss(self, inputs, samples)

    monkeypatch.setattr(MME, 'loss', watched)
    for name, iters, more in (('whole', 4, []), ('part', 2, []), ('rest', 4, ['--resume', '--resume-with', 'new'])):
        work_dir = tmp_path / ('whole' if name == 'whole' else 'stopped')
        chosen = options(crops, name, iters, 8) + ['default_hooks.checkpoint.interval=2']
        code, printed = run_in_process('train.py', CONFIG, '--work-dir', work_dir, *more, '--cfg-options', *chosen)
        assert not code, printed[-3000:]
    whole, stopped = seen[:4], seen[4:]
    assert stopped == whole
    assert [known for _, known in whole[0]] == [True] * 4 + [False] * 4
    assert whole[0] != whole[2]
