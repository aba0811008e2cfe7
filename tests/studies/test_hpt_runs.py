"""Results of study B from folders: the tables of its evaluations, and where the backbones come from."""

import json
from pathlib import Path

import pytest
import torch
from rethink.errors import ConfigError
from rethink.studies import hpt_runs
from rethink.studies.hpt import Result, Table


def train(folder: Path, iterations: int, hooks: list[dict]) -> Path:
    """A work directory as MMEngine and ExportBackboneHook leave it; the backbone."""
    (folder / '20260101_000000' / 'vis_data').mkdir(parents=True)
    config = f'custom_hooks = {hooks!r}\ntrain_cfg = dict(max_iters={iterations})\n'
    (folder / '20260101_000000' / 'vis_data' / 'config.py').write_text(config)
    torch.save(dict(meta=dict(iterations=iterations), state_dict={}), folder / 'backbone.pth')
    return folder / 'backbone.pth'


def evaluate(folder: Path, backbone: Path | str, *rows: str, chain: str = '', steps: str = '') -> Path:
    """A folder as tools/hpt_evaluate.py leaves it: rows are protocol, metric, rerun, value and val."""
    folder.mkdir(parents=True)
    lines = ['dataset,chain,steps,protocol,metric,rerun,value,val', *(f'aerial,{chain},{steps},{row}' for row in rows)]
    (folder / 'results.csv').write_text('\n'.join(lines) + '\n')
    (folder / 'backbone.sha256').write_text(f'{"0" * 64}  {backbone}\n')
    return folder


def detect(folder: Path, backbone: Path | str, values: dict[int, dict], length: int = 90, **more) -> Path:
    """A work directory of a detector; values are iteration -> metrics."""
    evaluator = more.get('evaluator', dict(type='CocoMetric', metric='bbox'))
    config = dict(
        model=dict(type='FasterRCNN', roi_head=dict(type='StandardRoIHead')),
        train_cfg=dict(max_iters=length),
        val_dataloader=dict(dataset=dict(type='CocoDataset', data_root='data/bdd100k/')),
        val_evaluator=evaluator,
        custom_hooks=[base(backbone)],
    )
    logs = folder / '20260101_000000' / 'vis_data'
    logs.mkdir(parents=True)
    (logs / 'config.py').write_text('\n'.join(f'{name} = {value!r}' for name, value in config.items()))
    (logs / 'scalars.json').write_text(''.join(json.dumps(dict(one, step=at)) + '\n' for at, one in values.items()))
    return folder


def base(path='checkpoints/base.pth') -> dict:
    return dict(type='InitFromBaseHook', checkpoint=str(path))


@pytest.fixture
def chains(tmp_path) -> Path:
    """B+S+T after 500 and 5,000 steps, and B, with two seeds."""
    rows = []
    for seed in (0, 1):
        for chain, iterations, export in (
            ('B', 0, 'B/backbone.pth'),
            ('B+S', 500, 'B+S_500-5000/backbone_500.pth'),
            ('B+S', 5_000, 'B+S_500-5000/backbone.pth'),
            ('B+S+T', 5_000, 'B+S+T_5000/backbone.pth'),
        ):
            rows.append(dict(chain=chain, seed=seed, iterations=iterations, export=f'seed{seed}/{export}'))
    folder = tmp_path / 'my chains'
    folder.mkdir()
    (folder / 'chains.json').write_text(json.dumps(dict(provenance={}, steps=rows)))
    return folder


def test_evaluations_of_chains_are_one_table(chains, tmp_path):
    out = tmp_path / 'evaluate'
    for seed in (0, 1):
        row = f'linear,accuracy,0,{80 + seed},{79 + seed}'
        evaluate(out / f'a{seed}', chains / f'seed{seed}' / 'B+S_500-5000' / 'backbone_500.pth', row)
        evaluate(out / f'b{seed}', chains / f'seed{seed}' / 'B' / 'backbone.pth', row, row.replace(',0,', ',1,'))
    found = hpt_runs.read(out)
    assert found[0] == Result('aerial', 'B+S', 500, 'linear', 'accuracy', 'seed0/B+S_500-5000, 0', 80, 79)
    table = Table(found)
    assert [(one.steps, one.values) for one in table.points('aerial', 'linear', 'B+S')] == [(500, (80, 81))]
    assert [(one.steps, one.values) for one in table.points('aerial', 'linear', 'B')] == [(0, (80, 80, 81, 81))]


def test_a_chain_that_was_named_stays_so(chains, tmp_path):
    backbone = chains / 'seed1' / 'B+S+T_5000' / 'backbone.pth'
    row = 'semi,accuracy,2,70.5,71'
    (one,) = hpt_runs.read(evaluate(tmp_path / 'a', backbone, row, chain='B+T', steps='50'))
    assert one == Result('aerial', 'B+T', 50, 'semi', 'accuracy', 'seed1/B+S+T_5000, 2', 70.5, 71)
    # A backbone from elsewhere, of which nothing else is known.
    elsewhere = evaluate(tmp_path / 'b', '/models/base/x.pth', row, chain='B', steps='0')
    assert hpt_runs.read(elsewhere) == [Result('aerial', 'B', 0, 'semi', 'accuracy', 'models/base, 2', 70.5, 71)]
    unnamed = evaluate(tmp_path / 'c', tmp_path / 'x.pth', row)
    with pytest.raises(ConfigError, match='csv:2: the chain is not known; .* --chain and --steps'):
        hpt_runs.read(unnamed)


def test_single_trainings_say_themselves_what_they_are(chains, tmp_path):
    at = hpt_runs.origin
    assert at(train(tmp_path / 't', 200, [])) == dict(chain='T', steps='200')
    assert at(train(tmp_path / 'bt', 50, [base()]))['chain'] == 'B+T'
    assert at(train(tmp_path / 'bn', 50, [base(), dict(type='TrainBNOnlyHook')]))['chain'] == 'B+T-BN'
    source = chains / 'seed0' / 'B+S_500-5000' / 'backbone.pth'
    assert at(train(tmp_path / 'bst', 50, [base(source)]))['chain'] == 'B+S+T'
    assert at(train(tmp_path / 'own base', 50, [base(tmp_path / 't' / 'backbone.pth')]))['chain'] == 'B+T'
    assert at(tmp_path / 'nowhere.pth') == {}
    (tmp_path / 't' / 'backbone.pth').write_bytes(b'')
    with pytest.raises(ConfigError, match='is no backbone that a training exported'):
        at(tmp_path / 't' / 'backbone.pth')


def test_grids_give_policies_and_shares(tmp_path):
    """Whose points with everything are two pre-trainings of the same."""
    for grid, points in (
        ('policies', {'policy=crop': dict(policy='crop'), 'policy=full': dict(policy='full')}),
        ('shares', {'share=0.1': dict(share='0.1'), 'share=1': dict(share='1')}),
    ):
        (tmp_path / grid).mkdir()
        record = dict(config={}, points=[dict(values=values, overrides=[]) for values in points.values()])
        (tmp_path / grid / 'grid.json').write_text(json.dumps(record))
        for name in points:
            backbone = train(tmp_path / grid / name, 5_000, [base()])
            evaluate(tmp_path / 'evaluate' / name, backbone, 'linear,accuracy,0,60,61')
    found = hpt_runs.read(tmp_path / 'evaluate')
    assert [(one.chain, one.steps, one.policy, one.share) for one in found] == [
        ('B+T', 5_000, 'crop', 1.0),
        ('B+T', 5_000, 'full', 1.0),
        ('B+T', 5_000, 'full', 0.1),
        ('B+T', 5_000, 'full', 1.0),
    ]
    (full,) = Table(found).points('aerial', 'linear', 'B+T')
    assert full.values == (60, 60)


def test_detectors_are_rows_by_what_they_began_with(chains, tmp_path):
    source = chains / 'seed0' / 'B+S_500-5000' / 'backbone_500.pth'
    grid = tmp_path / 'detect' / 'grid'
    values = {45: {'coco/bbox_mAP': 0.5}, 90: {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_50': 0.75}}
    detect(grid / 'seed=0', source, values)
    # Not yet trained to its end; nothing detected; from the base, and longer; by VOC's metric.
    detect(grid / 'seed=1', source, {45: {'coco/bbox_mAP': 0.5}})
    detect(grid / 'seed=2', source, {90: {'data_time': 0.1}})
    detect(tmp_path / 'detect' / 'long', tmp_path / 'base.pth', {24_000: {'coco/bbox_mAP': 0.5}}, 24_000)
    voc = dict(type='mmdet.VOCMetric')
    detect(tmp_path / 'detect' / 'voc', source, {90: {'pascal_voc/mAP': 0.5}}, evaluator=voc)
    # No detectors: the pre-training itself, and a training without an evaluation by boxes.
    train(tmp_path / 'detect' / 'bt', 50, [base()])
    detect(tmp_path / 'detect' / 'masks', source, {90: {}}, evaluator=[dict(type='CocoMetric')])
    found = {one.rerun.split(', ')[1]: one for one in hpt_runs.read(tmp_path / 'detect')}
    assert found.keys() == {'seed=0', 'seed=1', 'seed=2', 'long', 'voc'}
    rerun = 'seed0/B+S_500-5000, seed=0'
    assert found['seed=0'] == Result('bdd100k, 90', 'B+S', 500, 'detection', 'coco/bbox_mAP', rerun, 25.0)
    assert [found[name].value for name in ('seed=1', 'seed=2', 'voc')] == [None, 0.0, 50.0]
    assert (found['long'].dataset, found['long'].chain, found['long'].steps) == ('bdd100k, 24k', 'B', 0)
    assert found['voc'].metric == 'pascal_voc/mAP'


def test_what_is_no_folder_of_evaluations_is_one_sentence(chains, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ConfigError, match='has no finished evaluation of tools/hpt_evaluate.py'):
        hpt_runs.read(tmp_path / 'empty')
    with pytest.raises(ConfigError, match='cannot be read'):
        hpt_runs.read(tmp_path / 'none')
    folder = evaluate(tmp_path / 'a', chains / 'seed0' / 'B' / 'backbone.pth', 'linear,accuracy,0,60,61')
    (chains / 'chains.json').write_text('{')
    with pytest.raises(ConfigError, match='chains.json cannot be read'):
        hpt_runs.read(folder)
