"""Rules of self-supervised pre-training: each fires on a config that it is for, and not on the corrected one."""

import pytest
from checked import check_case
from rethink import config_path

MOCO = config_path('hpt/pretrain_moco_r50_5ki.py')
WEIGHTS = dict(type='Pretrained', checkpoint='moco_v2_800ep.pth', prefix='backbone.')
# rule → (level, config, overrides that trigger it, GPUs; overrides that do not, GPUs)
CASES = {
    'hpt-long': ('note', MOCO, {'train_cfg.max_iters': 50_000}, None, {}, None),
    'hpt-key-encoder': ('warning', MOCO, {'custom_hooks': [], 'model.backbone.init_cfg': WEIGHTS}, None, {}, None),
}


@pytest.mark.parametrize('name', CASES)
def test_a_config_that_triggers_it_and_one_that_does_not(name):
    check_case(name, *CASES[name])
