"""benchmarks/gpu.py, on the CPU."""

import importlib.util
import json
import logging
import os
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / 'benchmarks/gpu.py'


@pytest.fixture
def measured(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(PATH.parent)
    spec = importlib.util.spec_from_file_location('gpu', PATH)
    gpu = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gpu)

    def run(*arguments: str) -> tuple[dict, str]:
        monkeypatch.setattr('sys.argv', ['gpu.py', '--device', 'cpu', '--out', str(tmp_path / 'gpu'), *arguments])
        disabled = logging.root.manager.disable
        try:
            gpu.main()
        finally:
            logging.disable(disabled)
        written = (tmp_path / 'gpu.md').read_text()
        assert written.strip() == capsys.readouterr().out.strip()
        return json.loads((tmp_path / 'gpu.json').read_text()), written

    return run


def check(found: dict, models: int) -> None:
    assert len(found['steps']) == 4 * models
    assert [row for row in [*found['steps'], *found['ops'], *found['loaders']] if 'failed' in row] == []
    for row in found['steps']:
        assert row['seconds'] > 0 and row['flops'] > 0
        assert row['images_per_second'] == pytest.approx(row['images'] / row['seconds'])
    assert [row for row in found['loaders'] if not row['images_per_second'] > 0] == []
    assert {row['workers'] for row in found['loaders']} == {1, len(os.sched_getaffinity(0))}
    errors = {row['op']: row['error'] for row in found['ops']}
    assert errors.pop('NMS') == 0
    assert min(errors.values()) > 0 and max(errors.values()) < 1e-4, errors


def test_steps_and_ops_are_measured(measured):
    found, table = measured('--only', 'MoCo')
    check(found, 1)
    # A ResNet-50 at 64 x 64, in float32: two encoders, four forwards' worth for the trained one.
    row = found['steps'][0]
    assert row['flops'] / row['images'] == pytest.approx(4 * 2 * 4.09e9 * (64 / 224) ** 2, rel=0.1)
    assert f'| {row["model"]} | float32 | {1e3 * row["seconds"]:.1f} |' in table


def test_what_there_is_no_time_for_is_said(measured):
    found, table = measured('--only', 'MoCo', '--minutes', '0')
    assert {row['failed'] for rows in list(found.values())[2:] for row in rows} == {'left out: the minutes are over'}
    assert table.count('left out') == 9 + len(found['loaders'])


@pytest.mark.long
def test_all_models(measured):
    found, _ = measured('--minutes', '60')
    check(found, 8)
