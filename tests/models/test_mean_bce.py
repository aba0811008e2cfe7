"""The loss of classifiers of several labels against PyTorch's own, as the configs build it, in float64."""

import official_layouts
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from mmpretrain.utils import register_all_modules

register_all_modules(init_default_scope=False)
SEVERAL = ('chexpert', 'voc_multilabel', 'coco2014_multilabel', 'xview_multilabel', 'viper_multilabel')


def gradients(loss: torch.Tensor, head: torch.nn.Module) -> list[torch.Tensor]:
    return torch.autograd.grad(loss, list(head.parameters()))


@pytest.mark.parametrize('name', SEVERAL)
def test_it_is_the_mean_over_images_and_classes(name):
    """HPT's release, openselfsup/models/heads/cls_head.py: ``nn.BCEWithLogitsLoss()``."""
    init_default_scope('mmpretrain')
    cfg = official_layouts.config(name)
    torch.manual_seed(0)
    head = MODELS.build(dict(cfg.head, num_classes=cfg.num_classes, in_channels=16)).double()
    features = torch.randn(7, 16, dtype=torch.float64)
    target = (torch.rand(7, cfg.num_classes) < 0.3).double()
    target[0] = 0
    samples = [DataSample().set_gt_label(torch.nonzero(row).flatten()) for row in target]

    found = head.loss((features,), samples)['loss']
    wanted = torch.nn.BCEWithLogitsLoss()(head((features,)), target)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    for one, other in zip(gradients(found, head), gradients(wanted, head), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-15)

    # What it is not: MMPretrain's, whose gradient is as many times as large as there are classes.
    head.loss_module = MODELS.build(dict(type='CrossEntropyLoss', use_sigmoid=True))
    summed = head.loss((features,), samples)['loss']
    assert summed.item() == pytest.approx(cfg.num_classes * wanted.item(), rel=1e-6)
