"""AP of each class and precision against recall in a study's report: pycocotools' numbers, and pictures of 1 to 80."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from analysis.test_class_ap import generate
from matplotlib.colors import to_hex
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink.analysis import class_ap
from rethink.analysis.pictures import ARMS, LOOKS
from rethink.studies import answer, classes, page, precision_recall, tables
from test_answer import AP, folder, plan_of, trained  # noqa: F401  (fixture)
from test_page import classes as made
from test_page import filled

FIGURES = """
question: Q
metric: coco/bbox_mAP
seeds: [0, 1]
factors: {length: [6x, 1x], init: [scratch, finetune]}
runs: {'{init}_{length}': {config: a}}
figures: [{x: length}]
"""


def predicted(where, plan, runs: dict[str, list[int]], content: dict | None = None) -> dict[tuple, list[dict]]:
    """Detections of these runs and seeds, of another draw each, on the same images; (run, seed) -> detections."""
    content = content or generate()[0]
    (where / 'val.json').write_text(json.dumps(content))
    found = {}
    for name, seeds in runs.items():
        for seed in seeds:
            of_another = generate(seed=len(found))[1]
            ids = {one['id'] for one in content['images']}, {one['id'] for one in content['categories']}
            kept = [one for one in of_another if one['image_id'] in ids[0] and one['category_id'] in ids[1]]
            # What is right, found by more as the draws go on.
            kept += [
                dict(image_id=one['image_id'], category_id=one['category_id'], bbox=one['bbox'], score=0.5)
                for one in content['annotations'][: 20 * len(found)]
            ]
            found[name, seed] = kept
            (plan.task(name, seed).job.work_dir / 'predictions.bbox.json').write_text(json.dumps(kept))
    return found


def by_pycocotools(file, detections) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(file)
        boxes = [{key: one[key] for key in ('image_id', 'category_id', 'bbox', 'score')} for one in detections]
        found = COCOeval(truth, truth.loadRes(boxes), 'bbox')
        found.evaluate()
        found.accumulate()
        found.summarize()
    return found


def test_numbers_are_those_of_pycocotools(folder):  # noqa: F811
    plan = trained(plan_of(folder), dict(a=[40.0, 41.0], b=[30.0]))
    found = predicted(folder, plan, dict(a=[0, 1], b=[0]))
    (one,) = classes.gather(plan)
    assert (one.title, one.metric, one.missing) == ('', 'box AP', 'c: no predictions of a finished training')
    assert [arm.name for arm in one.arms] == ['a', 'b'] and one.names == tuple(f'class {at}' for at in range(6))
    for arm, seeds in zip(one.arms, ([0, 1], [0]), strict=True):
        for at, seed in enumerate(seeds):
            expected = by_pycocotools(folder / 'val.json', found[arm.run, seed])
            # (thresholds, recalls, classes, sizes, detections), -1 of the last class, which has no object.
            precision = expected.eval['precision'][:, :, :, 0, -1]
            assert np.isnan(arm.ap[at, -1]) and (precision[..., -1] == -1).all() and one.objects[-1] == 0
            np.testing.assert_allclose(arm.ap[at, :-1], 100 * precision[..., :-1].mean((0, 1)), rtol=1e-12)
            np.testing.assert_allclose(arm.overall[at], 100 * expected.stats[0], rtol=1e-12)
            for iou, threshold, stat in ((0.5, 0, 1), (0.75, 5, 2)):
                for place in range(5):
                    np.testing.assert_allclose(
                        arm.curves(iou, place)[at], precision[threshold, :, place], rtol=1e-12, atol=1e-15
                    )
                # The area below the mean curve is what the log calls AP50 and AP75.
                np.testing.assert_allclose(arm.curves(iou)[at].mean(), expected.stats[stat], rtol=1e-12)
    crowds = [one['category_id'] for one in json.loads((folder / 'val.json').read_text())['annotations']]
    assert 0 < one.objects.sum() < len(crowds)  # regions of a crowd are none


def test_each_file_is_evaluated_once_and_again_where_it_has_changed(folder, monkeypatch):  # noqa: F811
    plan = trained(plan_of(folder), dict(a=[40.0, 41.0]))
    found = predicted(folder, plan, dict(a=[0, 1]))
    (first,) = classes.gather(plan)
    precisions = class_ap.precisions
    monkeypatch.setattr(class_ap, 'precisions', lambda *_, **__: pytest.fail('evaluated again'))
    (again,) = classes.gather(plan)
    np.testing.assert_array_equal(again.arms[0].precision, first.arms[0].precision)
    assert again.names == first.names and (again.objects == first.objects).all()
    monkeypatch.setattr(class_ap, 'precisions', precisions)
    file = plan.task('a', 1).job.work_dir / 'predictions.bbox.json'
    file.write_text(json.dumps(found['a', 1][::2]))
    (changed,) = classes.gather(plan)
    assert (changed.arms[0].ap[0, :-1] == first.arms[0].ap[0, :-1]).all()
    assert (changed.arms[0].ap[1, :-1] != first.arms[0].ap[1, :-1]).any()
    # Half of a file, after a disk was full.
    kept = plan.out / 'classes' / 'seed0_a.npz'
    kept.write_bytes(kept.read_bytes()[:100])
    np.testing.assert_array_equal(classes.gather(plan)[0].arms[0].ap, changed.arms[0].ap)


def test_classes_that_a_config_leaves_out_do_not_count(folder):  # noqa: F811
    file = folder / 'a.py'
    file.write_text(
        file.read_text().replace("ann_file='val", "metainfo=dict(classes=('class 3', 'class 1')), ann_file='val")
    )
    plan = trained(plan_of(folder), dict(a=[40.0], b=[30.0]))
    predicted(folder, plan, dict(a=[0], b=[0]))
    two, all_of_them = classes.gather(plan)
    assert two.names == ('class 1', 'class 3') and len(all_of_them.names) == 6
    np.testing.assert_array_equal(two.arms[0].ap.shape, (1, 2))


def test_what_cannot_be_read_is_said_and_the_others_are_there(folder):  # noqa: F811
    plan = trained(plan_of(folder), dict(a=[40.0], b=[30.0]))
    predicted(folder, plan, dict(a=[0], b=[0]))
    (plan.task('b', 0).job.work_dir / 'predictions.bbox.json').write_text('[{')
    (one,) = classes.gather(plan)
    assert 'b: the results file' in one.missing and 'only the beginning' in one.missing
    assert [arm.name for arm in one.arms] == ['a']


def test_a_comparison_is_a_place_of_the_first_figure(folder):  # noqa: F811
    plan = plan_of(folder, FIGURES)
    plan = trained(plan, {task.run.name: [10.0, 11.0] for task in plan.tasks if task.seed == 0})
    predicted(folder, plan, {name: [0, 1] for name in ('scratch_6x', 'finetune_6x', 'finetune_1x')})
    longest, shortest = classes.gather(plan)
    assert (longest.title, shortest.title) == ('6x', '1x')
    assert [arm.name for arm in longest.arms] == ['scratch', 'finetune'] and not longest.missing
    assert [arm.name for arm in shortest.arms] == ['finetune'] and shortest.missing.startswith('scratch_1x: no pred')
    answer.write(plan)
    said = (plan.out / 'report.md').read_text()
    assert '### 6x' in said and '](precision_recall.png)' in said
    assert Image.open(plan.out / 'precision_recall.png').format == 'PNG'
    assert 'finetune' in (plan.out / 'report.html').read_text()
    # Of the learning curves' arms, in the same colours.
    look = precision_recall.looks([longest, shortest])
    assert {name: LOOKS[one.colour] for name, one in look.items()} == {
        name: LOOKS[ARMS[name]] for name in ('scratch', 'finetune')
    }


def test_studies_of_other_metrics_have_no_such_part(folder):  # noqa: F811
    plan = trained(plan_of(folder, f'question: Q\nmetric: {AP}\nruns: {{a: {{metric: accuracy/top1}}}}\n'), {})
    assert not classes.gather(plan)


def test_the_table_falls_and_begins_with_the_mean():
    one = made(number=80, seeds=3)
    table = tables.of_class_ap(one)
    assert table.head == ['class', 'objects', 'scratch', 'finetune'] and len(table.rows) == 81
    assert table.rows[0][:2] == ['all 80', str(one.objects.sum())] and table.rows[-1] == ['class 79', '0', '–', '–']
    of = np.array([arm.ap[:, :-1].mean(0) for arm in one.arms])
    order = [f'class {at}' for at in np.argsort(-of.mean(0), kind='stable')]
    assert [row[0] for row in table.rows[1:-1]] == order
    best = int(order[0].split()[1])
    values = one.arms[1].ap[:, best]
    assert table.rows[1][3] == f'{values.mean():.1f} ± {values.std(ddof=1):.1f}'
    values = np.nanmean(one.arms[0].ap, 1)
    assert table.rows[0][2] == f'{values.mean():.1f} ± {values.std(ddof=1):.1f}'
    alone = tables.of_class_ap(made(number=1, seeds=1))
    assert len(alone.rows) == 1 and '±' not in alone.rows[0][2]


@pytest.mark.parametrize('number, rows', [(1, 1), (4, 1 + 3), (7, 1 + 6), (80, 1)])
def test_a_picture_has_the_mean_and_a_few_classes(number, rows, monkeypatch):
    one = made(number=number)
    monkeypatch.setattr(precision_recall.plt, 'close', lambda drawing: None)
    drawn = Image.open(io.BytesIO(precision_recall.picture([one])))
    drawing = precision_recall.plt.gcf()
    assert len(drawing.axes) == 2 * rows and drawn.width < 1200
    titles = [axes.get_title() for axes in drawing.axes]
    first = 'class 0' if number == 1 else f'mean of {number - 1} classes'
    assert titles[:2] == [f'fpn, 6x: {first}, IoU 0.5', f'fpn, 6x: {first}, IoU 0.75']
    lines = {line.get_label(): line for line in drawing.axes[1].lines}
    for arm in one.arms:
        expected = arm.precision[:, 1, : max(1, number - 1)].mean((0, 1))
        np.testing.assert_allclose(lines[arm.name].get_ydata(), expected)
        assert to_hex(lines[arm.name].get_color()) == LOOKS[ARMS[arm.name]].colour
    (legend,) = drawing.legends
    assert [text.get_text() for text in legend.texts] == ['scratch', 'finetune', 'band: all seeds, line: their mean']
    precision_recall.plt.close('all')


def test_eighty_classes_are_folded_and_the_page_stays_small():
    many = [replace(made(number=80), title=f'panel {at}') for at in range(4)]
    text = page.write(replace(filled(), classes=many))
    assert len(text.encode()) < 2_000_000 and text.count('<summary>80 classes</summary>') == 4
    assert 'Curves of each class' not in text
    said = answer.markdown(replace(filled(), classes=many))
    assert said.count('<summary>80 classes</summary>') == 4
    large = [replace(made(number=7, arms=('scratch', 'finetune', 'freeze')), title=str(at)) for at in range(8)]
    text = page.write(replace(filled(), classes=large))
    assert len(text.encode()) < 2_000_000 and 'Curves of each class are left away' in text
    few = page.write(replace(filled(), classes=[made(number=3)]))
    assert few.count('<summary>Curves of each class<') == 1
    assert 'left away' not in few and '<summary>3 classes' not in few
