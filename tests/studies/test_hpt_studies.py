"""Study B's study files: what they train and with what, and that each command makes what the next ones take."""

from pathlib import Path

import pytest
from conftest import ROOT
from rethink.studies import study
from rethink.studies.plan import Plan

HPT = ROOT / 'configs' / 'hpt'


@pytest.fixture
def plan(monkeypatch):
    """The plan of a study file, or of some of its runs and what they need."""
    for name in ('HPT_BASE', 'HPT_DATASET', 'HPT_TARGET'):
        monkeypatch.delenv(name, raising=False)
    return lambda name, *only: Plan(study.read(HPT / f'{name}.yml'), Path('out'), ROOT / 'tools', seeds=[0], only=only)


def commands(plan: Plan, script: str) -> dict[str, list[str]]:
    """Of the runs that are a script: its arguments."""
    return {task.run.name: task.job.command[2:] for task in plan.tasks if task.run.script == script}


def test_t_of_the_study_of_robustness_is_of_100k(plan):
    """OpenSelfSup/configs/hpt-pretrain/bdd_crop_blur/no_basetrain/100000-iters.py"""
    for policy in ('full', 'crop'):
        cfg = plan('study', f'policy_{policy}_resisc45_T').task(f'policy_{policy}_resisc45_T', 0).cfg
        assert cfg.train_cfg.max_iters == cfg.param_scheduler[0].end == 100_000
    shares = commands(plan('study', 'shares_resisc45_T'), 'grid_search.py')['shares_resisc45_T']
    assert Path(shares[0]).stem == 'scratch_moco_r50_100ki'


def test_hpt_bn_is_the_best_of_its_four_recipes(plan):
    """OpenSelfSup/configs/hpt-pretrain/bdd/moco_v2_800ep_basetrain/*bn-iters.py"""
    found = plan('study', 'evaluate_B+T-BN_5000_resisc45')
    rates = {}
    for name in ('lr0.003', 'lr0.1', 'lr0.1_crop_flip'):
        cfg = found.task(f'bnonly_{name}_resisc45', 0).cfg
        view = cfg.train_dataloader.dataset.pipeline[1].transforms[0]
        happen = [step.type for step in view if step.get('prob', 1) > 0]
        assert happen[0] == 'FastRandomResizedCrop' and happen[-1] == 'RandomFlip'
        rates[name] = cfg.optim_wrapper.optimizer.lr, len(happen), cfg.train_cfg.max_iters
        assert 'TrainBNOnlyHook' in [hook.type for hook in cfg.custom_hooks]
    assert rates == dict(
        [('lr0.003', (0.003, 5, 5_000)), ('lr0.1', (0.1, 5, 5_000)), ('lr0.1_crop_flip', (0.1, 2, 5_000))]
    )
    (arguments,) = commands(found, 'hpt_evaluate.py').values()
    backbones = arguments[: arguments.index('--dataset')]
    assert len(backbones) == 4 and 'chains_resisc45/seed0/B+T-BN_5000' in backbones[0]


def test_what_is_evaluated_is_what_the_chains_make(plan, run_in_process):
    """Through the tool, without a training: the steps that it would run leave each file that the study names."""
    for name, only in (
        ('study', 'evaluate_B+S*'),
        ('study_bases', '*_resisc45'),
        ('study_supervised', 'evaluate_*_flowers102'),
    ):
        found, made = plan(name, only), set()
        for arguments in commands(found, 'hpt_chain.py').values():
            code, printed = run_in_process('hpt_chain.py', *arguments, '--dry-run')
            assert not code, printed
            out = Path(arguments[arguments.index('--out-dir') + 1])
            made |= {str(out / line / 'backbone.pth') for line in printed.splitlines() if line.startswith('seed0/')}
        wanted = set()
        for arguments in commands(found, 'hpt_evaluate.py').values():
            wanted |= set(arguments[: arguments.index('--dataset')])
        assert wanted and wanted <= made, wanted - made
        assert {str(task.job.makes) for task in found.tasks if task.run.script == 'hpt_chain.py'} <= made


def test_a_command_trains_in_one_process_what_four_do(plan):
    """A study starts a command in one process, whatever it has; the learning rate is for 256 images."""
    for name, only in (
        ('study', '*resisc45*'),
        ('study', 'source_*'),
        ('study_bases', '*'),
        ('study_supervised', '*'),
    ):
        found = plan(name, only)
        trains = [*commands(found, 'hpt_chain.py').values(), *commands(found, 'grid_search.py').values()]
        assert trains
        for arguments in trains:
            options = arguments[arguments.index('--cfg-options') + 1 :]
            assert options == [
                'train_dataloader.batch_size=256',
                'model.backbone.norm_cfg.type=SplitBN',
                'model.backbone.norm_cfg.groups=4',
            ]


def test_sources_have_the_released_lengths(plan):
    """utils/pretrain-configs/*: RESISC-45 50k (and 5k), COCO 2014 50k, clipart and CheXpert 5k."""
    found = commands(plan('study', 'source_*'), 'hpt_chain.py')
    source = {name: arguments[arguments.index('--source') + 1] for name, arguments in found.items()}
    assert source == dict(
        source_ucmerced='resisc45',
        source_chest_xray_kids='chexpert',
        source_domainnet_sketch='domainnet_clipart',
        source_voc_multilabel='coco2014_multilabel',
    )
    assert found['source_ucmerced'][5:8] == ['50k', '5k', '--target'] and '50k' in found['source_voc_multilabel']
    assert not {'50k', '--source-iters'} & {*found['source_chest_xray_kids'], *found['source_domainnet_sketch']}


def test_shares_are_of_1_10_25_and_100_percent(plan, run_in_process, tmp_path, monkeypatch):
    """And every backbone of a share that is evaluated is a point of a grid, HPT-BN's of four recipes."""
    found = plan('study', 'linear_share_*_resisc45_*')
    splits = tmp_path / 'data' / 'resisc45' / 'splits'
    splits.mkdir(parents=True)
    (splits / 'unlabelled.txt').write_text(''.join(f'{index}.jpg\n' for index in range(25_200)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HPT_DATASET', 'resisc45')
    made = set()
    for name, arguments in commands(found, 'grid_search.py').items():
        assert found.task(name, 0).job.environment == dict(HPT_DATASET='resisc45')
        code, printed = run_in_process('grid_search.py', *arguments, '--dry-run')
        assert not code, printed
        out = Path(arguments[arguments.index('--out-dir') + 1])
        made |= {str(out / line / 'backbone.pth') for line in printed.splitlines() if line.startswith('share=')}
    assert len(made) == 4 * (2 + 4)
    wanted, shares = set(), set()
    for name, arguments in commands(found, 'hpt_evaluate.py').items():
        backbones = arguments[: arguments.index('--dataset')]
        assert len(backbones) == (4 if name.endswith('-BN') else 1)
        wanted |= set(backbones)
        shares.add(found.task(name, 0).run.factors['share'])
    assert wanted == made and shares == {'0.01', '0.1', '0.25', '1'}


def test_bases_of_20_200_and_800_epochs(plan):
    found = plan('study_bases', '*_resisc45')
    base = found.task('base_20ep', 0)
    assert base.job.environment == dict(HPT_DATASET='imagenet')
    assert base.cfg.train_cfg.max_iters * 256 / 1_281_167 == pytest.approx(20, abs=0.02)
    bases = {
        name: arguments[arguments.index('--base') + 1] for name, arguments in commands(found, 'hpt_chain.py').items()
    }
    assert bases == {
        'chains_20ep_resisc45': str(base.job.work_dir / 'backbone.pth'),
        **{f'chains_{n}ep_resisc45': f'checkpoints/moco_v2_{n}ep_pretrain.pth.tar' for n in (200, 800)},
    }
    found = plan('study_supervised', 'evaluate_B+T_50_*')
    assert len(commands(found, 'hpt_chain.py')) == 16
    assert all('checkpoints/resnet50-0676ba61.pth' in one for one in commands(found, 'hpt_chain.py').values())
