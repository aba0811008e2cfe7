"""What a report says: of studies whose results are known, and of those of which something is missing."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_detector
from PIL import Image
from rethink.analysis import class_gains
from rethink.costs.of_config import measure
from rethink.studies import answer, findings, study, tables
from rethink.studies.claims import CONTRADICTED, OPEN, SHOWN, Claim
from rethink.studies.plan import Plan
from test_study import CONFIG, TOOLS, write_log

AP = 'coco/bbox_mAP'
DECLARED = """
title: Twice
question: Does it?
about: A test.
metric: coco/bbox_mAP
seeds: [0, 1]
runs: {a: {}, b: {}, c: {}}
claims: {it does: a > b}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three configs, which differ in their weights, and a study of them."""
    data = "dataset=dict(type='CocoDataset', ann_file='val.json', data_prefix=dict(img='images/'))"
    for name in 'abc':
        text = CONFIG.format(iters=20).replace("dataset=dict(type='CocoDataset')", data)
        (tmp_path / f'{name}.py').write_text(
            text.replace("checkpoint='weights", f"type='Pretrained', checkpoint='{name}")
        )
    (tmp_path / 'study.yml').write_text(DECLARED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan_of(folder, text: str = DECLARED, **more) -> Plan:
    (folder / 'study.yml').write_text(text)
    return Plan(study.read(folder), folder / 'out', TOOLS, **more)


def trained(plan: Plan, values: dict[str, list[float]]) -> Plan:
    """With these final values, one for each seed, and half of each in the middle."""
    for name, of_seeds in values.items():
        for seed, value in zip(plan.seeds, of_seeds, strict=False):
            log = [{AP: value / 200, 'step': 10}, {AP: value / 100, 'step': 20}]
            write_log(plan.task(name, seed).job, log)
    return plan


def write_images(folder, plan: Plan) -> dict[str, list[dict]]:
    """12 images, and detections of a and b that are all right and of which b has fewer."""
    random = np.random.default_rng(0)
    images, objects, found = [], [], dict(a=[], b=[])
    (folder / 'images').mkdir()
    for image in range(1, 13):
        Image.new('RGB', (100, 80), (image, 90, 90)).save(folder / 'images' / f'{image}.jpg')
        images.append(dict(id=image, width=100, height=80, file_name=f'{image}.jpg'))
        for place in range(3):
            box = [2.0 + 32 * place, float(random.uniform(0, 40)), 28.0, 30.0]
            category = int(random.integers(1, 4))
            objects.append(dict(id=len(objects) + 1, image_id=image, category_id=category, bbox=box, area=840.0))
            objects[-1]['iscrowd'] = 0
            for name, share in (('a', 0.9), ('b', 0.4)):
                if random.uniform() < share:
                    one = dict(image_id=image, category_id=category, bbox=box)
                    found[name].append(one | dict(score=float(random.uniform(0.4, 1))))
    categories = [dict(id=at, name=name) for at, name in enumerate(('x', '<i>', 'z'), 1)]
    (folder / 'val.json').write_text(json.dumps(dict(images=images, annotations=objects, categories=categories)))
    for name, detections in found.items():
        for seed in plan.seeds:
            work_dir = plan.task(name, seed).job.work_dir
            work_dir.mkdir(parents=True, exist_ok=True)
            (work_dir / 'predictions.bbox.json').write_text(json.dumps(detections))
    return found


def test_a_report_of_what_has_not_begun_says_so(folder):
    printed = answer.write(plan_of(folder))
    assert printed.splitlines()[0] == 'The claim is not decided: it does. 0 of 6 runs are finished.'
    assert printed.splitlines()[-1] == str(folder / 'out' / 'report.html')
    text = (folder / 'out' / 'report.md').read_text()
    assert 'a has no result' in text and 'a has no predicted boxes' in text and 'seed 1 waiting' in text
    assert 'nothing has been measured twice yet' in (folder / 'out' / 'report.html').read_text().lower()
    assert (folder / 'out' / 'results.csv').read_text().count('\n') == 1
    assert 'curves.png' not in text and not (folder / 'out' / 'curves.png').exists()


def test_a_quick_report_says_that_its_lengths_were_not_trained(folder):
    answer.write(plan_of(folder, quick=True))
    for name in ('report.md', 'report.html'):
        assert 'of each training one part in 30 was trained' in (folder / 'out' / name).read_text()
    answer.write(plan_of(folder))
    assert 'one part in 30' not in (folder / 'out' / 'report.md').read_text()


def test_results_are_means_and_spreads_over_seeds_beside_what_was_published(folder):
    metafile = 'Models:\n  - {Name: a, Results: [{Metrics: {box AP: 41.0}}]}\n'
    (folder / 'metafile.yml').write_text(metafile)
    plan = trained(plan_of(folder), dict(a=[40.0, 41.0], b=[30.0, 30.5], c=[20.0]))
    found = findings.gather(plan)
    rows = [dict(zip(tables.of_results(found).head, row, strict=True)) for row in tables.of_results(found).rows]
    assert rows[0]['mean ± over seeds'] == f'40.5 ± {np.std([40, 41], ddof=1):.1f}'
    assert rows[0]['each seed'] == '40.0, 41.0' and rows[0]['published'] == '41.0'
    assert rows[0]['measured less published'] == '-0.5' and rows[1]['published'] == ''
    assert rows[2]['mean ± over seeds'] == '20.0' and rows[2]['each seed'] == '20.0, –'
    assert rows[2]['not finished'] == 'seed 1 waiting' and not rows[0]['not finished']
    assert found.answer.startswith('The claim is shown: it does. 5 of 6 runs')
    assert [(one.run, one.seed, one.points) for one in found.curves][0] == ('a', 0, [(10, 20.0), (20, 40.0)])
    assert len(found.curves) == 5
    printed = answer.write(plan)
    assert 'shown' in printed and '40.5 ± 0.7' in printed
    assert '](curves.png)' in (folder / 'out' / 'report.md').read_text() and (folder / 'out' / 'curves.png').exists()
    with open(folder / 'out' / 'results.csv') as file:
        assert sum(row['metric'] == AP for row in csv.DictReader(file)) == 10


def test_pairs_are_what_stands_on_both_sides_of_a_claim_and_say_what_sets_them_apart(folder):
    text = DECLARED.replace('{it does: a > b}', '{it does: a > b, more: a - b > a - c, again: b > a}')
    found = findings.gather(plan_of(folder, text))
    assert [one.runs for one in found.pairs] == [('a', 'b'), ('b', 'c')] and found.claims[1].sentence == 'more'
    (row,) = found.pairs[0].differences.rows
    assert row.name == 'model.init_cfg.checkpoint' and row.values == ("'a.pth'", "'b.pth'")
    assert row.places == ('a.py:2', 'b.py:2') and row.group == 'init'
    said = answer.markdown(found)
    assert 'a (A) and b (B): 1 difference<' in said


@pytest.mark.parametrize(
    'verdicts, said',
    [
        ([], 'Nothing is claimed.'),
        ([SHOWN], 'The claim is shown: s0.'),
        ([SHOWN, SHOWN, OPEN], '2 of 3 claims are shown, 1 is not decided (s2).'),
        ([CONTRADICTED, SHOWN, OPEN], '1 of 3 claims is shown, 1 is contradicted (s0), 1 is not decided (s2).'),
        ([OPEN] * 4, '4 of 4 claims are not decided.'),
    ],
)
def test_the_answer_is_made_of_the_claims(verdicts, said, folder):
    whole = findings.gather(plan_of(folder))
    claims = [Claim(f's{at}', 'a > b', verdict) for at, verdict in enumerate(verdicts)]
    assert replace(whole, claims=claims, finished=6).answer == said
    assert replace(whole, claims=claims).answer == f'{said} 0 of 6 runs are finished.'


@pytest.mark.parametrize(
    'claim, published',
    [
        ('freeze_m > finetune_m', 0.7),
        ('finetune_m > freeze_m - 1', 0.3),
        ('freeze_m - finetune_m > freeze_n - finetune_n', 7.2),
        ('freeze_m > 2 * finetune_m', None),
        ('freeze_m > finetune_n', None),
        ('freeze_n - finetune_n > other', -47.5),
        ('freeze_m[coco/bbox_mAP_75] > finetune_m[coco/bbox_mAP_75]', None),
    ],
)
def test_what_was_published_as_a_difference_stands_beside_it(claim, published, folder):
    names = ['freeze_m', 'finetune_m', 'freeze_n', 'finetune_n', 'other']
    for name in names:
        (folder / f'{name}.py').write_text(CONFIG.format(iters=20))
    (folder / 'metafile.yml').write_text(
        'Models:\n'
        '  - {Name: freeze_m, Results: [{Metrics: {box AP minus fine-tuned: 0.7}}]}\n'
        '  - {Name: freeze_n, Results: [{Metrics: {box AP minus fine-tuned: -6.5}}]}\n'
        '  - {Name: other, Results: [{Metrics: {box AP: 41.0}}]}\n'
    )
    runs = ', '.join(f'{name}: {{}}' for name in names)
    text = f'question: Q\nmetric: {AP}\nruns: {{{runs}}}\nclaims: {{it does: "{claim}"}}\n'
    (one,) = findings.gather(plan_of(folder, text)).claims
    assert one.published == (None if published is None else pytest.approx(published))


def test_classes_are_those_of_the_analysis_over_all_seeds(folder):
    plan = trained(plan_of(folder, DECLARED + 'gains: [[b, a], [b, c]]\n'), dict(a=[90.0, 91], b=[40.0, 41.0]))
    write_images(folder, plan)
    one, missing = findings.gather(plan).gains
    assert missing.why == 'c has no predictions of a finished training.' and missing.gains is None
    some = plan_of(folder, DECLARED + 'gains: [[b, c]]\n', only=['b'])
    assert findings.gather(some).gains[0].why == 'c is left out here by --only.'
    files = [[str(plan.task(name, seed).job.work_dir / 'predictions.bbox.json') for seed in (0, 1)] for name in 'ba']
    expected = class_gains.read(folder / 'val.json', folder / 'val.json', *files)
    np.testing.assert_array_equal(one.gains.delta, expected.delta)
    assert one.gains.arms == ('b', 'a') and len(one.gains.base) == 2
    said = answer.markdown(findings.gather(plan))
    assert '&lt;i&gt;' in said and class_gains.verdict(expected) in said.replace('\\', '')


def test_costs_are_measured_once_of_runs_that_have_a_result(folder, data, monkeypatch):
    write_detector(folder / 'tiny.py', data)
    text = (
        DECLARED.replace('runs: {a: {}', 'runs: {tiny: {}, a: {}').replace('[0, 1]', '[0]') + 'costs: [tiny, a, b]\n'
    )
    plan = trained(plan_of(folder, text), dict(a=[40.0]))
    write_log(plan.task('tiny', 0).job, [{AP: 0.3, 'step': 8}])
    tiny, broken, waiting = findings.gather(plan).costs
    expected = measure(plan.task('tiny', 0).cfg, findings.SETTING)
    assert tiny.ap == 30.0 and tiny.cost.step.flops == expected.step.flops and tiny.cost.kept == expected.kept
    assert broken.cost is None and 'Tiny' in broken.why and waiting.why == 'not finished'
    head, (row, *_) = tables.of_costs(findings.gather(plan))
    assert row[head.index('GFLOP of a step')] == f'{expected.step.flops / 1e9:,.1f}'
    monkeypatch.setattr('rethink.costs.of_config.measure', lambda *_: pytest.fail('measured again'))
    assert len([file for file in (folder / 'out' / 'costs').iterdir() if file.name.startswith('tiny')]) == 1


def test_what_failed_is_said_with_its_last_words(folder):
    plan = plan_of(folder)
    work_dir = plan.task('b', 1).job.work_dir
    work_dir.mkdir(parents=True)
    (work_dir / 'failed.txt').write_text('b: the <disk> is full.\n')
    found = findings.gather(plan)
    assert found.failed == [('b, seed 1', 'b: the <disk> is full.')]
    assert 'the &lt;disk&gt; is full' in answer.markdown(found)
