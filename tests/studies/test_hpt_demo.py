"""Study B in miniature: what its verdict says, and from unlabelled images to box AP through the scripts of a user."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_tool
from mmengine.config import Config
from rethink.analysis.logs import read_run
from rethink.studies.demos import Demo, hierarchy
from rethink.studies.hierarchy import Result, draw, margins, mean, pooled_spread, seeds_table, table, verdict

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / 'configs' / 'shapes'


def results(both: tuple, base=(40.0, 20.0), short=(30.0, 10.0), long=(50.0, 22.0)) -> list[Result]:
    """Linear accuracy and AP of B+T, which is also B+T-BN, beside B and T of two lengths."""
    rows = [('B', 0, base), ('T', 40, short), ('T', 200, long), ('B+T', 40, both), ('B+T-BN', 40, both)]
    return [Result(chain, steps, *values, ap50=0.0, mask_ap=0.0) for chain, steps, values in rows]


@pytest.mark.parametrize(
    ('both', 'found', 'sentences'),
    [
        ((60.0, 30.0), 5, ['40 steps from the base beat 200', 'B+T (60.0) is above B by 20.0']),
        # Level with the long one, within the margin; level with B in detection.
        (
            (47.0, 20.5),
            2,
            ['match 200 from', 'above B by 7.0 and above T of 40 steps by 17.0', '(+0.5, less than 1.0)'],
        ),
        ((20.0, 5.0), 0, ['do not reach 200', 'below B by 20.0 and below T of 40 steps by 10.0']),
    ],
)
def test_the_verdict_follows_the_numbers(both, found, sentences):
    words = verdict(results(both), {'top-1': 4.5, 'AP': 1.0})
    assert words.count('As the study found.') == found
    assert words.count('Not what the study found.') == 5 - found
    for sentence in sentences:
        assert sentence in words


def test_means_and_margins_over_seeds():
    """Against numpy; the margin of a mean shrinks with the number of seeds."""
    random = np.random.default_rng(0)
    seeds = [results((60.0, 30.0), *random.uniform(10, 50, (3, 2))) for _ in range(3)]
    values = np.array([[one[2:] for one in seed] for seed in seeds])
    np.testing.assert_allclose([one[2:] for one in mean(seeds)], values.mean(0))
    assert [one[:2] for one in mean(seeds)] == [one[:2] for one in seeds[0]]
    pooled = np.sqrt(values[..., :2].var(0, ddof=1).mean(0))
    np.testing.assert_allclose(list(pooled_spread(seeds).values()), pooled)
    np.testing.assert_allclose(list(margins(3, pooled_spread(seeds)).values()), 2 * pooled * np.sqrt(2 / 3))
    row = next(line for line in seeds_table(seeds).splitlines() if line.startswith('| B | 0 |'))
    assert f'{values[:, 0, 0].mean():.1f} ± {values[:, 0, 0].std(ddof=1):.1f}' in row


def test_the_table_and_the_picture(tmp_path):
    assert '| B+T | 40 | 60.0 | 30.0 | 0.0 | 0.0 |' in table(results((60.0, 30.0)))
    draw(results((60.0, 30.0)), tmp_path / 'picture', 'title')
    assert (tmp_path / 'picture.png').stat().st_size > 10_000 and (tmp_path / 'picture.svg').exists()


def test_the_length_of_a_step_is_that_of_its_config():
    for name in ('scratch_moco_r18', 'pretrain_moco_r18', 'pretrain_moco_r18_bnonly'):
        assert Config.fromfile(SHAPES / f'{name}.py').max_iters == hierarchy.SHORT
    assert Config.fromfile(SHAPES / 'base_moco_r18.py').max_iters > hierarchy.LONG > hierarchy.SHORT


def test_all_of_them_see_pixels_alike_and_have_one_backbone():
    moco, linear, detector = (
        Config.fromfile(SHAPES / f'{name}.py').model
        for name in ('scratch_moco_r18', 'freeze_r18_linear', 'finetune_r18_c4_target')
    )
    for model in (linear, detector):
        assert model.data_preprocessor.mean == moco.data_preprocessor.mean
        assert model.data_preprocessor.std == moco.data_preprocessor.std
        for key in ('depth', 'base_channels', 'stem_channels'):
            assert model.backbone[key] == moco.backbone[key]


def check_report(folder: Path) -> list[tuple[str, int]]:
    """Every number of the report is that of the log; chains and steps."""
    rows = json.loads((folder / 'report.json').read_text())['rows']
    for row in rows:
        name = f'T_{row["steps"]}' if row['chain'] == 'T' else row['chain']
        linear, detector = (read_run(folder / f'{name}_{what}') for what in ('linear', 'detector'))
        assert linear.finished and detector.finished
        assert row['top1'] == linear.val[linear.max_iters]['accuracy/top1'] > 0
        assert row['ap'] == 100 * detector.val[detector.max_iters].get('coco/bbox_mAP', 0.0)
    return [(row['chain'], row['steps']) for row in rows]


def convolutions_as_in_the_base(folder: Path, name: str) -> list[str]:
    """Those of a backbone that nothing has moved; its BN has new statistics in any case."""
    base, other = (
        torch.load(folder / each / 'backbone.pth', weights_only=True)['state_dict'] for each in ('base', name)
    )
    assert not torch.equal(base['backbone.bn1.running_mean'], other['backbone.bn1.running_mean'])
    convolutions = [key for key in base if key.startswith('backbone.') and base[key].dim() == 4]
    return [key for key in convolutions if torch.equal(base[key], other[key])]


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.suffix in ('.pth', '.log')}


def test_from_unlabelled_images_to_box_ap(tmp_path, capsys):
    """One of the arms, as each start of a process takes seconds; a second start trains nothing."""
    demo = Demo(tmp_path, tmp_path / 'data', seed=1, tools=ROOT / 'tools', quick=True)
    arms = tuple(arm for arm in hierarchy.ARMS if arm.chain == 'B+T-BN')
    hierarchy.run(demo, arms)
    folder = tmp_path / 'hpt' / 'seed1'
    check_report(folder)
    assert len(convolutions_as_in_the_base(folder, 'B+T-BN')) == 20
    printed = capsys.readouterr().out
    assert 'Too short to say anything' in printed and (folder / 'hierarchy.png').exists()

    before = written(folder)
    hierarchy.run(demo, arms)
    assert written(folder) == before
    assert capsys.readouterr().out.count('| B+T-BN | 100 |') == 1


@pytest.mark.long
def test_all_arms_through_the_command(tmp_path):
    done = run_tool('demo.py', '--study', 'hpt', '--quick', '--out', tmp_path / 'out', '--data', tmp_path / 'data')
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / 'out-quick' / 'hpt' / 'seed0'
    assert check_report(folder) == [('B', 0), ('B+T', 100), ('B+T-BN', 100), ('T', 100), ('T', 500)]
    assert len(convolutions_as_in_the_base(folder, 'B')) == len(convolutions_as_in_the_base(folder, 'B+T-BN')) == 20
    assert not convolutions_as_in_the_base(folder, 'B+T') and not convolutions_as_in_the_base(folder, 'T_100')
