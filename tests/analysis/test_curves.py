"""Learning curves and published numbers beside measured ones, from work directories."""

import json
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rethink.analysis import curves, published
from rethink.analysis.logs import read_run
from rethink.analysis.pictures import ARMS, LOOKS

ROOT = Path(__file__).resolve().parents[2]


def write_run(work_dir: Path, max_iters: int, until: int, final: float = 0.413) -> Path:
    """A work directory as MMEngine leaves it after ``until`` of ``max_iters`` iterations."""
    log = work_dir / '20260101_000000' / 'vis_data'
    log.mkdir(parents=True)
    (log / 'config.py').write_text(f'train_cfg = dict(max_iters={max_iters})')
    lines = []
    for step in range(100, until + 1, 100):
        lines.append(dict(loss=2.0 * 100 / step, step=step))
        lines.append(
            {'coco/bbox_mAP': final * step / max_iters, 'coco/segm_mAP': 0.3 * step / max_iters, 'step': step}
        )
    (log / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    return work_dir


@pytest.fixture
def tool(run_in_process):
    return partial(run_in_process, 'analysis_tools/learning_curves.py')


@pytest.fixture
def work_dirs(tmp_path):
    write_run(tmp_path / 'scratch_r50_gn_6x', 600, 600)
    write_run(tmp_path / 'pretrain_r50_gn_6x', 600, 300)
    return tmp_path


METAFILE = dict(
    Models=[
        dict(
            Name=name,
            Metadata=dict(Published='table 1'),
            Results=[dict(Metrics={'box AP': 41.1}), dict(Metrics={'mask AP': 36.4})],
        )
        for name in ('scratch_r50_gn_6x', 'pretrain_r50_gn_6x', 'scratch_r50_gn_5x')
    ]
)


def test_published_beside_measured(work_dirs, tool):
    (work_dirs / 'metafile.yml').write_text(yaml.safe_dump(METAFILE))
    code, printed = tool('--published', work_dirs / 'metafile.yml', '--work-dirs', work_dirs)
    assert code is None
    assert printed.splitlines()[2:] == [
        '| scratch_r50_gn_6x | box AP | 41.1 | table 1 | 41.3 | +0.2 | finished |',
        '| scratch_r50_gn_6x | mask AP | 36.4 | table 1 | 30.0 | -6.4 | finished |',
        '| pretrain_r50_gn_6x | box AP | 41.1 | table 1 |  |  | at 300 of 600 |',
        '| pretrain_r50_gn_6x | mask AP | 36.4 | table 1 |  |  | at 300 of 600 |',
        '| scratch_r50_gn_5x | box AP | 41.1 | table 1 |  |  | missing |',
        '| scratch_r50_gn_5x | mask AP | 36.4 | table 1 |  |  | missing |',
    ]


def test_a_number_with_test_time_augmentation_is_that_of_such_a_test(work_dirs):
    metafile = work_dirs / 'metafile.yml'
    model = dict(
        Name='scratch_r50_gn_6x',
        Metadata=dict(Published='table 3'),
        Results=[dict(Metrics={'mask AP (TTA)': 43.2})],
    )
    metafile.write_text(yaml.safe_dump(dict(Models=[model])))

    def measured():
        (row,) = published.read_published(metafile, work_dirs)
        return row.measured

    def tested(time, model, checkpoint, value):
        log = work_dirs / 'scratch_r50_gn_6x' / time
        (log / 'vis_data').mkdir(parents=True)
        config = f'model = {model}\nload_from = "work_dirs/x/{checkpoint}"\ntrain_cfg = dict(max_iters=600)'
        (log / 'vis_data' / 'config.py').write_text(config)
        (log / f'{time}.json').write_text(json.dumps({'coco/segm_mAP': value}))

    assert measured() is None
    tested('20260102_000000', dict(type='MaskRCNN'), 'iter_600.pth', 0.40)
    tested('20260103_000000', dict(type='T', tta_cfg={}), 'iter_500.pth', 0.41)
    assert measured() is None
    tested('20260104_000000', dict(type='T', tta_cfg={}), 'iter_600.pth', 0.43)
    tested('20260105_000000', dict(type='MaskRCNN'), 'iter_600.pth', 0.40)
    assert measured() == pytest.approx(43.0)


def test_every_number_of_the_real_metafile_is_there_and_has_a_logged_name(tmp_path):
    path = ROOT / 'configs' / 'rethink' / 'metafile.yml'
    rows = published.read_published(path, tmp_path)
    results = [one for model in yaml.safe_load(path.read_text())['Models'] for one in model.get('Results', [])]
    assert len(rows) == sum(len(one['Metrics']) for one in results) > 20
    assert {row.metric.removesuffix(published.TTA) for row in rows} <= published.LOGGED.keys()
    assert all(row.status == 'missing' and row.source for row in rows)


def test_the_picture_has_a_line_for_each_run_and_names_what_is_missing(work_dirs, tool, tmp_path):
    arguments = [work_dirs / name for name in ('scratch_r50_gn_6x', 'pretrain_r50_gn_6x', 'scratch_r50_gn_3.5k_5x')]
    code, printed = tool(*arguments, '--out', tmp_path / 'r50_3.5k')
    assert code is None and sorted(tmp_path.glob('r50*')) == [tmp_path / f'r50_3.5k.{one}' for one in ('png', 'svg')]
    image = cv2.imread(str(tmp_path / 'r50_3.5k.png'))
    upper, lower = np.array_split(image.astype(int), [image.shape[0] * 3 // 5])
    scratch, pretrain = (
        [int(LOOKS[ARMS[arm]].colour[at : at + 2], 16) for at in (5, 3, 1)] for arm in ('scratch', 'pretrain')
    )  # in BGR
    for part, colour in ((upper, scratch), (lower, scratch), (image.astype(int), pretrain)):
        assert (np.abs(part - colour).sum(2) < 12).sum() > 100
    # Text is drawn as outlines; matplotlib names it in comments of the SVG.
    svg = (tmp_path / 'r50_3.5k.svg').read_text()
    ElementTree.fromstring(svg)
    for label in ('scratch_r50_gn_6x', 'pretrain_r50_gn_6x (not finished)', 'scratch_r50_gn_3.5k_5x (missing)'):
        assert f'<!-- {label} -->' in svg


def test_five_schedules_of_both_arms_are_ten_lines_of_their_own(tmp_path, monkeypatch):
    """As in figures 1 and 3: the colour is the arm's, the style the length's."""
    for arm in ('scratch', 'pretrain'):
        for number in range(2, 7):
            write_run(tmp_path / f'{arm}_r50_gn_{number}x', 100 * number, 100 * number, final=0.1 * number)
    monkeypatch.setattr(curves.plt, 'close', lambda figure: None)
    curves.draw([read_run(path) for path in tmp_path.iterdir()], tmp_path / 'table1', 'coco/bbox_mAP')
    figure = curves.plt.gcf()
    monkeypatch.undo()
    above, below = figure.axes
    looks = {line.get_label(): (line.get_color(), str(line._dash_pattern)) for line in above.lines}
    assert len(looks) == len(set(looks.values())) == len(below.lines) == 10
    for number in range(2, 7):
        scratch, pretrain = (looks[f'{arm}_r50_gn_{number}x'] for arm in ('scratch', 'pretrain'))
        assert scratch[0] != pretrain[0] and scratch[1] == pretrain[1]
    for line in above.lines:
        number = int(line.get_label()[-2])
        assert list(line.get_xdata()) == [100 * at for at in range(1, number + 1)]
        assert line.get_ydata()[-1] == pytest.approx(10 * number)
    curves.plt.close(figure)


def test_what_cannot_be_drawn_is_one_sentence(tool, tmp_path):
    code, printed = tool(tmp_path / 'nothing', '--out', tmp_path / 'x')
    assert code == 2 and 'error: none of these folders holds a log' in printed
    code, printed = tool('--published', tmp_path / 'no.yml')
    assert code == 2 and 'error: there is no metafile' in printed
    assert not list(tmp_path.glob('x*'))


def test_a_metric_that_nobody_logged(work_dirs, tool, tmp_path):
    runs = [work_dirs / 'scratch_r50_gn_6x', work_dirs / 'pretrain_r50_gn_6x']
    code, printed = tool(*runs, '--metric', 'coco/box_AP', '--out', tmp_path / 'x')
    assert code == 2
    line = "logged coco/box_AP; they have 'coco/bbox_mAP', 'coco/segm_mAP': name one of these."
    assert printed.rstrip().endswith(line) and not (tmp_path / 'x.png').exists()
    # One of two: the other is drawn.
    log = runs[0] / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.write_text(log.read_text().replace('coco/bbox_mAP', 'coco/keypoints_mAP'))
    code, _ = tool(*runs, '--out', tmp_path / 'x')
    assert code is None and (tmp_path / 'x.png').exists()


def test_no_detection_at_all_is_an_ap_of_0(tmp_path):
    """As MMDetection's own metric logs it: with seconds and no metric."""
    run = read_run(write_run(tmp_path / 'scratch', 300, 300))
    run.val[100] = dict(step=100, time=0.1, data_time=0.1)
    assert run.curve('coco/bbox_mAP')[0] == (100, 0.0)
    assert [at for at, _ in run.curve('coco/bbox_mAP')] == [100, 200, 300]
    assert run.curve('coco/other_mAP') == [(100, 0.0)] and run.curve('accuracy/top1') == []


def test_smoothing_looks_back_only(tmp_path):
    assert curves.smoothed([4.0, 2.0, 0.0, 0.0], 2) == [4.0, 3.0, 1.0, 0.0]
    run = read_run(write_run(tmp_path / 'scratch', 200, 200))
    assert [run.train[at]['loss'] for at in sorted(run.train)] == [2.0, 1.0]
