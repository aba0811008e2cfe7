"""A comparison of a user's own: two configs, a file of a few lines, one command."""

import csv

from conftest import run_tool, write_detector

# docs/studies.md and README.md show the same.
STUDY = """\
question: Does a larger learning rate learn more in four steps?
metric: coco/bbox_mAP
factors:
  rate: [small, large]
runs:
  '{rate}': {}
  broken: {options: {optim_wrapper.optimizer.lr: 0.02}}
claims:
  the larger one is ahead: large > small
"""


def test_two_configs_are_compared_by_a_file_without_python(data, tmp_path):
    """One that cannot be trained does not stop the others; a second start trains what is missing alone."""
    assert len(STUDY.splitlines()) <= 15
    for name, rate in (('small', 0.001), ('large', 0.01), ('broken', 0.01)):
        write_detector(tmp_path / f'{name}.py', data, f'optim_wrapper["optimizer"]["lr"] = {rate}\n')
    (tmp_path / 'study.yml').write_text(STUDY)
    call = (tmp_path, '--out-dir', tmp_path / 'out')
    planned = run_tool('study.py', 'plan', *call)
    assert planned.returncode == 0, planned.stderr
    assert '3 runs, 3 to do' in planned.stdout and 'train.py' in planned.stdout

    (tmp_path / 'broken.py').write_text((tmp_path / 'broken.py').read_text() + 'model["type"] = "NoSuchModel"\n')
    done = run_tool('study.py', 'run', *call, '--side-by-side', '2')
    assert done.returncode == 1 and 'some runs failed' in done.stderr, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
    with open(tmp_path / 'out' / 'results.csv', newline='') as file:
        assert {row['run'] for row in csv.DictReader(file)} == {'small', 'large'}
    assert 'report.html' in done.stdout and (tmp_path / 'out' / 'report.html').is_file()
    stands = run_tool('study.py', 'status', *call).stdout
    assert '3 runs: 2 finished, 1 failed.' in stands and 'NoSuchModel' in stands

    logs = set((tmp_path / 'out').rglob('scalars.json'))
    write_detector(tmp_path / 'broken.py', data)
    again = run_tool('study.py', 'run', *call)
    assert again.returncode == 0, again.stdout + again.stderr
    new = set((tmp_path / 'out').rglob('scalars.json')) - logs
    assert {log.relative_to(tmp_path / 'out').parts[1] for log in new} == {'broken'}
    assert 'the larger one is ahead' in (tmp_path / 'out' / 'report.md').read_text()
