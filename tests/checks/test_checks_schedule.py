"""Rules of length and learning rate: each fires on a config that it is for, and not on the corrected one."""

import pytest
from checked import OURS, annotations, check_case, data_of, fails, found
from conftest import write_detector
from mmengine.config import Config
from rethink import checks, config_path

# rule → (level, config, overrides that trigger it, GPUs; overrides that do not, GPUs)
CASES = {
    'scratch-short': (
        'warning',
        config_path('rethink/scratch_r50_gn_2x.py'),
        {},
        None,
        {'train_cfg.max_iters': 540_000},
        None,
    ),
    'long-tail': ('warning', OURS, {'param_scheduler.1.milestones': [360_000, 480_000]}, None, {}, None),
    'learning-rate': ('warning', OURS, {}, 4, {}, 8),
}


@pytest.mark.parametrize('name', CASES)
def test_a_config_that_triggers_it_and_one_that_does_not(name):
    check_case(name, *CASES[name])


def test_hyper_parameters_of_the_whole_on_a_third(tmp_path):
    third = data_of(annotations(tmp_path / 'third.json', 35_000))
    for arm in ('scratch', 'pretrain'):
        assert found(config_path(f'rethink/{arm}_r50_gn_35k_6x.py'), third)['hyper-parameters'].level == 'note'
        assert 'hyper-parameters' not in found(config_path(f'rethink/{arm}_r50_gn_35k_retuned_6x.py'), third)


def test_a_rate_that_is_to_be_scaled_from_nothing(data, tmp_path):
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data))
    cfg.auto_scale_lr = dict(enable=True)
    fails(cfg, 'auto_scale_lr.enable is True, and there is no base_batch_size')
    cfg.auto_scale_lr.base_batch_size = 2
    checks.stop_on_errors(cfg)
