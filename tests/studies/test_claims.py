"""Claims: how they are read, and that what is shown, contradicted or not decided follows from the interval."""

import json

import numpy as np
import pytest
from rethink.errors import ConfigError
from rethink.studies import study
from rethink.studies.claims import CONTRADICTED, OPEN, SHOWN, judge
from rethink.studies.expressions import parse
from rethink.studies.plan import Plan
from scipy import stats
from test_study import CONFIG, TOOLS, write_log

DECLARED = """
question: Does it?
metric: coco/bbox_mAP
runs: {a: {}, b: {}, B+T_5000: {}, d-1: {}}
claims: {it does: a > b}
"""


@pytest.fixture
def folder(tmp_path):
    for name in ('a', 'b', 'B+T_5000', 'd-1'):
        (tmp_path / f'{name}.py').write_text(CONFIG.format(iters=10))
    (tmp_path / 'study.yml').write_text(DECLARED)
    return tmp_path


AP, AP75 = 'coco/bbox_mAP', 'coco/bbox_mAP_75'


@pytest.mark.parametrize(
    'text, terms, constant',
    [
        ('a > b', {('a', AP): 1, ('b', AP): -1}, 0),
        ('a < b', {('a', AP): -1, ('b', AP): 1}, 0),
        ('a - b > B+T_5000 - d-1', {('a', AP): 1, ('b', AP): -1, ('B+T_5000', AP): -1, ('d-1', AP): 1}, 0),
        ('a > b - 0.5', {('a', AP): 1, ('b', AP): -1}, 0.5),
        ('a + 2 < 0.5 * b + 1', {('a', AP): -1, ('b', AP): 0.5}, -1),
        ('2 * a > a + b', {('a', AP): 1, ('b', AP): -1}, 0),
        ('a[coco/bbox_mAP_75] > 1.05 * b', {('a', AP75): 1, ('b', AP): -1.05}, 0),
        ('a > 30', {('a', AP): 1}, -30),
        ('30 < a', {('a', AP): 1}, -30),
        ('a - 1 - b > 0', {('a', AP): 1, ('b', AP): -1}, -1),
        # A number that is taken away stands right before the relation, and before the end.
        ('a - 1 < b', {('a', AP): -1, ('b', AP): 1}, 1),
        ('a - 1 > b - 3', {('a', AP): 1, ('b', AP): -1}, 2),
        ('a > 2 * b - 0.5 * B+T_5000', {('a', AP): 1, ('b', AP): -2, ('B+T_5000', AP): 0.5}, 0),
        ('- a > - b', {('a', AP): -1, ('b', AP): 1}, 0),
    ],
)  # fmt: skip
def test_a_claim_is_a_sum_above_nothing(text, terms, constant, folder):
    found = parse(text, study.read(folder))
    assert found.terms == terms and found.constant == pytest.approx(constant)
    values = dict(zip(terms, (3.0, 7.0, 11.0, 13.0), strict=False))
    assert found(lambda *key: values[key]) == pytest.approx(sum(terms[key] * values[key] for key in terms) + constant)


@pytest.mark.parametrize(
    'text',
    [
        'a',
        'a >',
        '> a',
        'a > b > a',
        'a b > b',
        'a > * b',
        'a = b',
        'a >= b',
        'a <> b',
        'a +- b > 0',
        '2 * 3 > a b',
        '1 > 0',
        'a > a - 1',
        'a > b -',
        '3 * > a',
        '',
    ],
)
def test_what_is_no_inequality_is_one_sentence(text, folder):
    with pytest.raises(ConfigError, match=r'the claim .* write it as in|has no run'):
        parse(text, study.read(folder))


def test_another_run_is_named_with_those_that_there_are(folder):
    with pytest.raises(ConfigError, match="has no run c; its runs are 'B.T_5000', 'a', 'b'"):
        parse('a > c', study.read(folder))
    (folder / 'study.yml').write_text(DECLARED.replace('a > b', 'a > c'))
    with pytest.raises(ConfigError, match='has no run c'):
        study.read(folder)


def test_metrics_that_nothing_logs_are_known_before_training(folder):
    (folder / 'study.yml').write_text(DECLARED.replace('a > b', "'a[coco/bbox_mAP_95] > b[coco/bbox_mAP_95]'"))
    with pytest.raises(ConfigError, match="a is compared by coco/bbox_mAP_95, and its validation logs 'coco/bbox"):
        Plan(study.read(folder), folder / 'out', TOOLS).check()
    figure = "runs: {'r{x}': {config: a}}\nfactors: {x: [1, 2]}\nfigures: [{x: x, metric: coco/segm_mAP}]"
    (folder / 'study.yml').write_text(f'question: Does it?\nmetric: coco/bbox_mAP\n{figure}')
    with pytest.raises(ConfigError, match=r"a figure is of coco/segm_mAP, and the validations log 'coco/bbox_mAP'"):
        Plan(study.read(folder), folder / 'out', TOOLS).check()
    # A run that is left out, or one that is a command, may have it.
    Plan(study.read(folder), folder / 'out', TOOLS, only=['r1'])._check_figures()
    command = "e: {script: hpt_evaluate.py, makes: '{work_dir}/results.csv', metric: linear}, 'r{x}'"
    text = (folder / 'study.yml').read_text().replace("'r{x}'", command, 1)
    (folder / 'study.yml').write_text(text)
    Plan(study.read(folder), folder / 'out', TOOLS)._check_figures()


def trained(folder, values: dict[str, list[float]], text: str = 'a > b') -> Plan:
    """A plan whose runs have these final values, one for each seed."""
    (folder / 'study.yml').write_text(DECLARED.replace('a > b', text))
    plan = Plan(study.read(folder), folder / 'out', TOOLS, seeds=range(len(values['a'])))
    for name, of_seeds in values.items():
        for seed, value in enumerate(of_seeds):
            write_log(plan.task(name, seed).job, [{AP: value / 100, 'step': 10}])
    return plan


def test_several_seeds_give_students_interval_of_their_differences(folder):
    a, b = [30.0, 32.0, 31.0], [29.0, 30.5, 30.2]
    found = judge(trained(folder, dict(a=a, b=b)), 'it does', {('a', AP): 41.1, ('b', AP): 40.6})
    low, high = stats.ttest_1samp(np.subtract(a, b), 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high)) and found.value == pytest.approx(1.1)
    assert found.verdict == SHOWN and "Student's, 3 seeds" in found.how and found.published == pytest.approx(0.5)


@pytest.mark.parametrize(
    'b, text, verdict',
    [
        ([31.0, 33.5, 32.0], 'a > b', CONTRADICTED),
        ([28.0, 33.5, 31.0], 'a > b', OPEN),
        ([31.0, 33.5, 32.0], 'a > b - 3', SHOWN),
        ([31.0, 33.5, 32.0], 'a < b', SHOWN),
    ],
)
def test_the_verdict_is_read_off_the_interval(b, text, verdict, folder):
    found = judge(trained(folder, dict(a=[30.0, 32.0, 31.0], b=b), text), 'it does', {})
    assert found.verdict == verdict and found.published is None
    assert (found.low > 0, found.high < 0) == (verdict == SHOWN, verdict == CONTRADICTED)


def test_without_a_result_or_an_interval_nothing_is_decided(folder):
    (folder / 'out').mkdir()
    plan = trained(folder, dict(a=[30.0]))
    found = judge(plan, 'it does', {})
    assert (found.verdict, found.value, found.how) == (OPEN, None, 'b has no result')
    write_log(plan.task('b', 0).job, [{AP: 0.2, 'step': 10}])
    found = judge(plan, 'it does', {})
    assert (found.verdict, found.value) == (OPEN, pytest.approx(10.0))
    assert 'one seed' in found.how and 'nothing is kept image by image' in found.how


def test_a_run_that_nobody_asked_for_is_not_said_to_have_no_result(folder):
    trained(folder, dict(a=[30.0], b=[29.0]))
    left = Plan(study.read(folder), folder / 'out', TOOLS, only=['b'])
    found = judge(left, 'it does', {})
    assert (found.verdict, found.value, found.how) == (OPEN, None, 'a is left out here by --only')


def test_only_seeds_that_are_finished_for_both_count(folder):
    plan = trained(folder, dict(a=[30.0, 32.0, 31.0], b=[29.0, 30.5]))
    found = judge(plan, 'it does', {})
    assert found.value == pytest.approx(1.25) and '2 seeds' in found.how


def write_images(folder, seeds: int = 40):
    """Annotations of many images, and detections of two detectors of which one misses more."""
    rng = np.random.default_rng(0)
    images, annotations, detections = [], [], dict(a=[], b=[])
    for image in range(1, seeds + 1):
        images.append(dict(id=image, width=100, height=100, file_name=f'{image}.jpg'))
        for _ in range(3):
            box = [*rng.uniform(0, 60, 2), *rng.uniform(20, 40, 2)]
            category = int(rng.integers(1, 3))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=category,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=0,
                )
            )
            for name, found in (('a', 0.9), ('b', 0.4)):
                if rng.uniform() < found:
                    detections[name].append(
                        dict(image_id=image, category_id=category, bbox=box, score=float(rng.uniform(0.3, 1)))
                    )
    categories = [dict(id=1, name='x'), dict(id=2, name='y')]
    (folder / 'val.json').write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return detections


def test_one_seed_is_judged_by_images_drawn_again(folder, monkeypatch):
    monkeypatch.chdir(folder)
    plan = trained(folder, dict(a=[90.0], b=[40.0]))
    for name, found in write_images(folder).items():
        (plan.task(name, 0).job.work_dir / 'predictions.bbox.json').write_text(json.dumps(found))
    one = plan.task('b', 0).job.work_dir / 'predictions.bbox.json'
    whole = one.read_text()
    one.write_text(whole[: len(whole) // 2])
    unread = judge(plan, 'it does', {})
    assert (unread.verdict, unread.value) == (OPEN, pytest.approx(50)) and str(one) in unread.how
    one.write_text(whole)
    found = judge(plan, 'it does', {})
    assert found.verdict == SHOWN and found.how == 'bootstrap, 40 images' and found.low < 50 < found.high + 15
    # The same images for both: of two that find the same nothing is left of the noise.
    (folder / 'study.yml').write_text(DECLARED.replace('a > b', 'a > d-1 - 1'))
    same = Plan(study.read(folder), folder / 'out', TOOLS)
    write_log(same.task('d-1', 0).job, [{AP: 0.9, 'step': 10}])
    kept = [same.task(name, 0).job.work_dir / 'predictions.bbox.json' for name in ('a', 'd-1')]
    kept[1].write_text(kept[0].read_text())
    again = judge(same, 'it does', {})
    assert again.verdict == SHOWN and again.low == pytest.approx(1) and again.high == pytest.approx(1)
    # A single AP has none: images that are drawn twice raise it in every draw.
    (folder / 'study.yml').write_text(DECLARED.replace('a > b', 'a > 30'))
    alone = judge(Plan(study.read(folder), folder / 'out', TOOLS), 'it does', {})
    assert (alone.verdict, alone.value) == (OPEN, pytest.approx(60)) and 'differences alone' in alone.how
