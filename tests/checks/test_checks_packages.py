"""What a config needs beyond this project is installed and registered."""

import pytest
from checked import fails
from conftest import write_detector
from mmengine.config import Config


@pytest.fixture
def cfg(tmp_path, data):
    return Config.fromfile(write_detector(tmp_path / 'tiny.py', data))


def test_a_data_set_that_is_not_registered(cfg):
    cfg.train_dataloader.dataset.type = 'CocoDatset'
    fails(cfg, "'CocoDatset', which is no registered data set")
