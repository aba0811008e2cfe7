"""Study B in miniature, through the scripts that a user calls: a base, and from it a step with BN alone."""

import shutil

import pytest
import torch
from rethink.analysis.logs import read_run

SMALL = [
    'model.queue_len=32',
    'train_dataloader.batch_size=8',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'default_hooks.logger.interval=1',
    'log_processor.window_size=1',
    'default_hooks.checkpoint.interval=2',
    'randomness.seed=0',
]


def length(iterations: int) -> list[str]:
    """As in docs/hpt.md."""
    return [f'train_cfg.max_iters={iterations}', f'param_scheduler.0.end={iterations}']


@pytest.fixture
def train(run_in_process, tmp_path):
    code, printed = run_in_process(
        'dataset_converters/make_shapes.py',
        *(tmp_path / 'shapes', '--train', 20, '--val', 1, '--crop-train', 20, '--crop-val', 5),
    )
    assert not code, printed

    def run(config: str, name: str, *options, resume: bool = False):
        root = tmp_path / 'shapes' / 'classification'
        options = [*SMALL, f'train_dataloader.dataset.data_root={root}/', f'experiment_name={name}', *options]
        # Another length is another schedule here, which somebody has to want.
        more = ['--resume', '--resume-with', 'new'] if resume else []
        arguments = [f'configs/shapes/{config}.py', '--work-dir', tmp_path / config]
        return run_in_process('train.py', *arguments, *more, '--cfg-options', *options)

    return run


def weights(folder) -> dict:
    return torch.load(folder / 'backbone.pth', weights_only=True)['state_dict']


def test_a_base_and_a_step_from_it_that_is_stopped_and_continued(train, tmp_path):
    code, printed = train('base_moco_r18', 'hpt-base', *length(4))
    assert not code, printed[-3000:]
    base = tmp_path / 'base_moco_r18'
    log = read_run(base)
    assert [log.train[at]['lr'] for at in (1, 3)] == pytest.approx([2e-3, 1e-3])

    from_base = f'custom_hooks.0.checkpoint={base / "backbone.pth"}'
    target = tmp_path / 'pretrain_moco_r18_bnonly'
    code, printed = train('pretrain_moco_r18_bnonly', 'hpt-bn-1', from_base, *length(2))
    assert not code, printed[-3000:]
    assert 'backbone 100 of 100 tensors, projector 4 of 4 tensors' in printed
    (target / 'backbone.pth').unlink()
    (tmp_path / 'gone').mkdir()
    shutil.move(base / 'backbone.pth', tmp_path / 'gone')
    code, printed = train('pretrain_moco_r18_bnonly', 'hpt-bn-2', from_base, *length(6), resume=True)
    assert not code, printed[-3000:]
    assert torch.load(target / 'backbone.pth', weights_only=True)['meta'] == dict(
        config='pretrain_moco_r18_bnonly', base=str(base / 'backbone.pth'), iterations=6
    )
    before, after = weights(tmp_path / 'gone'), weights(target)
    convolutions = [key for key, value in before.items() if key.startswith('backbone.') and value.ndim == 4]
    assert len(convolutions) == 20 and all(torch.equal(before[key], after[key]) for key in convolutions)
    others = [key for key in before if key not in convolutions]
    assert not [key for key in others if torch.equal(before[key], after[key])]


def test_a_base_that_is_not_there_is_one_sentence(train, monkeypatch, tmp_path):
    def ended(code):
        raise SystemExit(code)

    monkeypatch.setattr('os._exit', ended)
    code, _ = train('pretrain_moco_r18', 'hpt-absent', f'custom_hooks.0.checkpoint={tmp_path}/no.pth', *length(2))
    assert code == 2
    assert not list((tmp_path / 'pretrain_moco_r18').rglob('*.pth'))
