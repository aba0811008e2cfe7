"""MMDetection's own configs on these ops: one of each combination of ops that they reach."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rethink import ops

SURVEY = Path(__file__).parents[2] / 'benchmarks/mmdet_ops.py'


@pytest.mark.long
@pytest.mark.skipif(ops.provided() == 'compiled', reason='compiled mmcv is installed')
def test_a_config_of_each_combination_of_ops_takes_a_step_and_predicts(tmp_path):
    if not SURVEY.is_file():
        pytest.skip('benchmarks/ does not lie beside these tests')
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'HF_HUB_OFFLINE': '1'}

    def survey(*arguments):
        subprocess.run([sys.executable, SURVEY, *arguments], env=environment, check=True, timeout=3600)

    survey('list', tmp_path / 'combinations.json')
    combinations = json.loads((tmp_path / 'combinations.json').read_text())['combinations']
    assert sum(map(len, combinations.values())) > 700 and len(combinations) > 30
    survey('all', tmp_path / 'combinations.json', tmp_path / 'results.json')
    results = json.loads((tmp_path / 'results.json').read_text())
    assert {result['reachable'] for result in results} == set(combinations)
    # mmcv has line_nms on a GPU only, and CLRNet's annotations are lanes.
    failed = {r['reachable']: r['error'] for r in results if 'error' in r and 'line_nms' not in r['reachable']}
    assert not failed
    assert max(result['gigabytes'] for result in results) < 10
    called = {op for result in results for op in (*result.get('step', []), *result.get('predict', []))}
    missing = {
        'deform_conv_backward_input',
        'deform_conv_backward_parameters',
        'deform_roi_pool_backward',
        'carafe_backward',
        'masked_im2col_forward',
        'modulated_deform_conv_backward',
        'nms',
        'roi_align_backward',
        'softnms',
    } - called
    assert not missing
