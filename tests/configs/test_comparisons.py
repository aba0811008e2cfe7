"""The comparisons that are declared next to the configs hold: what is declared differs, and nothing else does."""

import functools
from pathlib import Path

import pytest
from rethink.configs import comparisons
from rethink.configs.provenance import read

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
STUDIES = sorted({path.parent for path in CONFIGS.glob('*/*.py')} - {CONFIGS / '_base_'})
DECLARED = [folder for folder in STUDIES if any(folder.glob(comparisons.FILES))]
PAIRS = [(folder, one) for folder in DECLARED for one in comparisons.load(folder)[0]]
resolved = functools.lru_cache(maxsize=None)(read)


@pytest.fixture(autouse=True)
def defaults(monkeypatch):
    """What configs read from the environment is as in the files."""
    for name in ('HPT_BASE', 'HPT_DATASET', 'HPT_TARGET', 'X152_GN_WEIGHTS'):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize('folder', STUDIES, ids=lambda one: one.name)
def test_every_config_is_compared(folder):
    assert folder in DECLARED, f'{folder} has configs and no {comparisons.FILES}, which says what is compared'
    missing = comparisons.undeclared(folder)
    assert not missing, '\n'.join(missing)


@pytest.mark.parametrize('folder, pair', PAIRS, ids=lambda one: getattr(one, 'name', None) or f'{one[0]}-{one[1]}')
def test_a_pair_differs_in_what_is_declared_alone(folder, pair):
    wrong = comparisons.check(pair, tuple(resolved(str(folder / f'{name}.py')) for name in pair[:2]))
    assert not wrong, '\n'.join(wrong)


@pytest.fixture
def study(tmp_path):
    """A folder of three configs with one comparison."""
    base = 'model = dict(backbone=dict(depth=50, frozen_stages=1, init_cfg=dict(type="Pretrained", checkpoint="x")))\n'
    (tmp_path / 'pretrain_r50_1x.py').write_text(base + 'max_iters = 90\ntrain_cfg = dict(max_iters=max_iters)\n')
    scratch = '_base_ = "pretrain_r50_1x.py"\nmodel = dict(backbone=dict(frozen_stages=-1, init_cfg=None))\n'
    (tmp_path / 'scratch_r50_1x.py').write_text(scratch)
    (tmp_path / 'scratch_r50_6x.py').write_text(scratch + 'max_iters = 540\ntrain_cfg = dict(max_iters=max_iters)\n')
    (tmp_path / 'study.yml').write_text(
        'comparisons:\n'
        '  - pair: ["pretrain_{x:.+}", "scratch_{x}"]\n    differ: [initialisation, freezing]\n'
        '  - pair: ["scratch_{x}_1x", "scratch_{x}_{n}x"]\n    differ: [length]\n'
    )
    return tmp_path


def holds(folder) -> list[str]:
    return [
        sentence
        for one in comparisons.load(folder)[0]
        for sentence in comparisons.check(one, tuple(read(str(folder / f'{name}.py')) for name in one[:2]))
    ]


def test_pairs_are_found_by_their_names(study):
    found, alone = comparisons.load(study)
    assert [one[:2] for one in found] == [('pretrain_r50_1x', 'scratch_r50_1x'), ('scratch_r50_1x', 'scratch_r50_6x')]
    assert not alone and not comparisons.undeclared(study) and not holds(study)


def test_a_new_config_must_be_declared(study):
    (study / 'freeze_r50_1x.py').write_text('_base_ = "pretrain_r50_1x.py"\n')
    (sentence,) = comparisons.undeclared(study)
    assert 'freeze_r50_1x.py is in no comparison: add to' in sentence
    assert '- pair: [freeze_r50_1x, NEIGHBOUR]' in sentence and 'initialisation, freezing' in sentence
    with (study / 'study.yml').open('a') as file:
        file.write('alone:\n  freeze_r50_1x: a trial\n')
    assert not comparisons.undeclared(study)


def test_another_difference_is_found(study):
    with (study / 'scratch_r50_1x.py').open('a') as file:
        file.write('model["backbone"]["depth"] = 101\n')
    assert any('differ in model.backbone.depth (model: 50 and 101)' in sentence for sentence in holds(study))


def test_a_factor_that_does_not_differ_is_found(study):
    (study / 'scratch_r50_1x.py').write_text(
        '_base_ = "pretrain_r50_1x.py"\nmodel = dict(backbone=dict(init_cfg=None))'
    )
    assert holds(study)[0] == 'pretrain_r50_1x and scratch_r50_1x do not differ in freezing.'


def test_a_variable_proves_nothing(study):
    """A length that is set and does not reach the loop; another variable that nothing reads is no difference."""
    text = '_base_ = "scratch_r50_1x.py"\nmax_iters = 540\n'
    (study / 'scratch_r50_6x.py').write_text(text)
    assert holds(study) == ['scratch_r50_1x and scratch_r50_6x do not differ in length.']
    (study / 'scratch_r50_6x.py').write_text(text + 'train_cfg = dict(max_iters=max_iters)\nmy_note = 1\n')
    assert holds(study) == []


@pytest.mark.parametrize(
    'text, message',
    [
        ('comparisons:\n  - {pair: [a, b], differ: [luck]}', 'luck'),
        ('comparisons:\n  - {pair: [a, b], differ: [length]}', 'a and b, and no two configs are named so'),
        ('comparisons: []\nalone: {gone: why}', 'gone is alone, and there is no such config'),
    ],
)
def test_declarations_that_fit_nothing_are_errors(study, text, message):
    (study / 'study.yml').write_text(text)
    with pytest.raises(ValueError, match=message):
        comparisons.load(study)
