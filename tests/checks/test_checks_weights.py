"""Checkpoints that do not fit a model are found before training, in one sentence."""

import contextlib

import pytest
import torch
from checked import fails
from conftest import write_detector
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import MODELS, init_default_scope
from rethink.checks.weights import check_weights
from rethink.config_tree import remote_checkpoints
from rethink.errors import ConfigError
from web_server import web_server


@pytest.fixture
def cfg(tmp_path, data):
    return Config.fromfile(write_detector(tmp_path / 'tiny.py', data))


@pytest.fixture
def model(cfg):
    init_default_scope('mmdet')
    return MODELS.build(cfg.model)


@pytest.fixture
def whole(model, tmp_path):
    path = tmp_path / 'whole.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return path


def weights_fail(cfg, model, sentence, **kwargs):
    with pytest.raises(ConfigError, match=sentence):
        check_weights(cfg, model, **kwargs)


def test_a_checkpoint_that_fits(cfg, model, whole, capsys):
    cfg.load_from = str(whole)
    check_weights(cfg, model, strict=True)
    total = sum(not key.endswith('num_batches_tracked') for key in model.state_dict())
    assert f'load_from: {total} of {total} tensors' in capsys.readouterr().out


def test_a_test_checkpoint_of_another_model(cfg, model, whole, tmp_path):
    weights = model.state_dict()
    weights['bbox_head.conv_cls.weight'] = torch.zeros(80, 16, 3, 3)
    del weights['neck.lateral_convs.0.conv.weight']
    torch.save(weights, tmp_path / 'other.pth')
    cfg.load_from = str(tmp_path / 'other.pth')
    sentence = (
        r'1 are missing and 1 have another shape \(bbox_head.conv_cls.weight is \(80, 16, 3, 3\) in the file and'
    )
    weights_fail(cfg, model, sentence, strict=True)
    cfg.resume = True
    weights_fail(cfg, model, sentence)
    cfg.resume = False
    check_weights(cfg, model)  # fine-tuning from other classes is what load_from is for


def test_load_from_that_gives_nothing(cfg, model, tmp_path):
    torch.save({'encoder.weight': torch.zeros(3)}, tmp_path / 'nothing.pth')
    cfg.load_from = str(tmp_path / 'nothing.pth')
    weights_fail(cfg, model, 'gives the model nothing: 0 of .* begins with encoder.weight and the model with')


def test_init_cfg(cfg, whole, tmp_path, capsys):
    """With its prefix the backbone of a checkpoint fits, without it nothing does, and both are found before."""
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(whole), prefix='backbone.')
    check_weights(cfg)
    assert 'init_cfg of model.backbone' in capsys.readouterr().out
    for wrong in (dict(prefix='encoder'), dict(prefix=None)):
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(whole), **wrong)
        weights_fail(cfg, None, 'init_cfg of model.backbone.* gives the model nothing')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'absent.pth'))
    weights_fail(cfg, None, r'absent\.pth \(init_cfg of model\.backbone\) does not exist')


def test_init_cfg_of_another_width(cfg, whole):
    """MMEngine loads what fits and leaves the rest random; a wider stem must not pass for pre-training."""
    cfg.model.backbone.update(
        init_cfg=dict(type='Pretrained', checkpoint=str(whole), prefix='backbone.'), stem_channels=16
    )
    weights_fail(cfg, None, r'does not fit: .* have another shape \(conv1\.weight is .* would stay random')


def test_init_cfg_that_would_freeze_random_weights(cfg, whole, tmp_path):
    weights = torch.load(whole, weights_only=False)
    weights = weights.get('state_dict', weights)
    partial = {key: value for key, value in weights.items() if not key.startswith('backbone.layer1.')}
    torch.save(dict(state_dict=partial), tmp_path / 'partial.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'partial.pth'), prefix='backbone.')
    cfg.model.backbone.update(init_cfg=init_cfg, frozen_stages=1)
    weights_fail(cfg, None, r'lacks \d+ of the frozen tensors \(layer1\..*freeze random weights')
    cfg.model.backbone.frozen_stages = -1
    check_weights(cfg)


LAYOUTS = {
    'plain': ('', True),
    'of a detector': ('backbone.', True),
    'of a wrapper': ('module.', True),
    'of a wrapped detector': ('module.backbone.', True),
    'of MoCo': ('module.encoder_q.', True),
    'of MoCo, exported': ('encoder_q.', True),
    'without a state_dict': ('', False),
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize(
    'prefix', [None, '', 'backbone', 'backbone.', 'module', 'module.backbone.', 'module.encoder_q.', 'encoder_q.']
)
def test_a_prefix_gives_what_mmengine_loads_with_it(layout, prefix, cfg, model, tmp_path):
    """The oracle is MMEngine, which initialises the backbone: some tensors are those of the file, or none is."""
    begin, wrapped = LAYOUTS[layout]
    weights = {f'{begin}{key}': value + 1 for key, value in model.backbone.state_dict().items()}
    torch.save(dict(state_dict=weights) if wrapped else weights, tmp_path / 'weights.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    if prefix is not None:
        init_cfg['prefix'] = prefix
    cfg.model.backbone.init_cfg = init_cfg
    loaded = MODELS.build(cfg.model.backbone)
    with contextlib.suppress(AssertionError):  # no tensor has the prefix
        loaded.init_weights()
    equal = [torch.equal(value, weights[f'{begin}{key}']) for key, value in loaded.state_dict().items()]
    assert all(equal) or not any(equal)
    if all(equal):
        check_weights(cfg)
    else:
        fits = begin if begin not in ('', 'module.') else None
        weights_fail(
            cfg, None, f"gives the model nothing.*prefix='{fits}' fits" if fits else 'gives the model nothing'
        )


def test_load_from_takes_what_the_runner_takes(cfg, model, tmp_path):
    """Nothing of a file that keeps its weights below ``model``; the ``module.`` of a wrapper is left away."""
    weights = model.state_dict()
    cfg.load_from = str(tmp_path / 'weights.pth')
    torch.save({f'module.{key}': value for key, value in weights.items()}, cfg.load_from)
    check_weights(cfg, model, strict=True)
    torch.save(dict(model=weights), tmp_path / 'below_model.pth')
    cfg.load_from = str(tmp_path / 'below_model.pth')
    weights_fail(cfg, model, 'gives the model nothing: 0 of')


PVT = dict(type='PyramidVisionTransformer', num_layers=[1, 1, 1, 1], embed_dims=8, init_cfg=dict(type='Pretrained'))


def as_its_authors_name_it(own: dict) -> dict:
    """The weights of MMDetection's PVT under the names of PVT's release, which MMDetection converts when it loads."""
    found = {}
    for key, value in own.items():
        stage, part, rest = int(key.split('.')[1]) + 1, key.split('.')[2], key.split('.', 3)[3]
        if part == '0':
            found[f'patch_embed{stage}.' + rest.replace('projection', 'proj')] = value
        elif part == '2':
            found[f'norm{stage}.{rest}'] = value
        elif rest == '0.pos_embed':
            found[f'pos_embed{stage}'] = torch.cat([value[:, :1], value], 1) if stage == 4 else value
        elif rest.startswith('1.attn.attn.in_proj_'):
            kind, third = rest.rpartition('_')[2], len(value) // 3
            found[f'block{stage}.0.attn.q.{kind}'], found[f'block{stage}.0.attn.kv.{kind}'] = value.split(
                [third, 2 * third]
            )
        else:
            rest = (
                rest.removeprefix('1.').replace('attn.attn.out_proj', 'attn.proj').replace('ffn.layers.0', 'mlp.fc1')
            )
            rest = rest.replace('ffn.layers.4', 'mlp.fc2')
            found[f'block{stage}.0.{rest}'] = value.flatten(1) if 'mlp' in rest and value.dim() == 4 else value
    return found


def test_a_class_that_converts_is_asked_what_it_loads(tmp_path, capsys):
    """No name of PVT's release is one of MMDetection's, and all of its tensors are loaded."""
    init_default_scope('mmdet')
    file = tmp_path / 'pvt.pth'
    cfg = Config(dict(default_scope='mmdet', model=PVT))
    cfg.model.init_cfg.checkpoint = str(file)
    own = MODELS.build(cfg.model).state_dict()
    theirs = as_its_authors_name_it(own)
    assert not own.keys() & theirs.keys()
    torch.save(theirs, file)
    check_weights(cfg)
    assert f'{len(own)} of {len(own)} tensors come from {file}' in capsys.readouterr().out
    model = MODELS.build(cfg.model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    check_weights(cfg, model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    torch.save({key: value for key, value in theirs.items() if not key.startswith('block3')}, file)
    check_weights(cfg)
    part = sum(not key.startswith('layers.2.1.1') for key in own)
    assert f'{part} of {len(own)} tensors come from {file}' in capsys.readouterr().out
    torch.save(dict(fc=torch.ones(1)), file)
    weights_fail(cfg, None, f'gives the model nothing: 0 of {len(own)} tensors match; the file begins with fc')


class Drawn(BaseModule):
    """As some of MMDetection's: draws its weights, and loads what a file has of them."""

    def __init__(self, init_cfg: dict) -> None:
        super().__init__(init_cfg)
        self.linear = torch.nn.Linear(3, 3)

    def init_weights(self) -> None:
        torch.nn.init.normal_(self.linear.weight)
        super().init_weights()


def test_what_a_class_draws_as_it_is_asked_is_drawn_again_by_the_training(tmp_path, capsys):
    file = tmp_path / 'a.pth'
    model = Drawn(dict(type='Pretrained', checkpoint=str(file)))
    torch.save({'linear.bias': torch.ones(3)}, file)
    before = torch.get_rng_state()
    check_weights(Config(dict(model=dict())), model)
    assert '1 of 2 tensors come from' in capsys.readouterr().out
    assert torch.equal(torch.get_rng_state(), before)
    model.init_weights()
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """Addresses of what is saved, and the cache into which it is downloaded."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    with web_server() as served:

        def put(name: str, content: dict) -> str:
            torch.save(content, tmp_path / name)
            return served.put(name, (tmp_path / name).read_bytes())

        yield put


def test_what_is_downloaded_is_looked_at_as_well(cfg, model, web, capsys):
    """The usual mistakes: weights of another depth, of another width, of a detector for a backbone, and of nothing."""
    weights = model.backbone.state_dict()
    whole = web('whole.pth', dict(state_dict=weights))
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=whole)
    assert remote_checkpoints(cfg) == [whole]
    check_weights(cfg)
    assert f'75 of 75 tensors come from {whole}' in capsys.readouterr().out

    half = {key: one for key, one in weights.items() if not key.startswith('layer3')}
    cfg.model.backbone.init_cfg.checkpoint = web('half.pth', half)
    check_weights(cfg)
    said = capsys.readouterr().out
    assert '50 of 75 tensors come from' in said and "half.pth, without 'layer3.0.bn1.bias', " in said
    cfg.model.backbone.frozen_stages = 3
    weights_fail(cfg, None, r'half\.pth .*lacks .* of the frozen tensors')
    cfg.model.backbone.frozen_stages = -1

    wide = {key: torch.cat([one, one]) if one.dim() else one for key, one in weights.items()}
    cfg.model.backbone.init_cfg.checkpoint = web('wide.pth', wide)
    weights_fail(cfg, None, r'/wide\.pth .* gives the model nothing: 0 of 75')
    some = weights | dict(list(wide.items())[:9])
    cfg.model.backbone.init_cfg.checkpoint = web('some.pth', some)
    weights_fail(cfg, None, r'/some\.pth .* does not fit: .* have another shape')
    cfg.model.backbone.init_cfg.checkpoint = web('detector.pth', dict(state_dict=model.state_dict()))
    weights_fail(cfg, None, r"/detector\.pth .* gives the model nothing: .*prefix='backbone\.' fits")
    # What a job would download elsewhere.
    check_weights(cfg, remote=False)
    cfg.model.backbone.init_cfg = None
    cfg.load_from = web('other.pth', dict(a=torch.ones(1)))
    weights_fail(cfg, None, r'/other\.pth .* gives the model nothing')


def test_checkpoints_that_are_none(cfg, model, whole, tmp_path):
    broken = tmp_path / 'broken.pth'
    cfg.load_from = str(broken)
    fails(cfg, r'the checkpoint .*broken\.pth does not exist')
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    weights_fail(cfg, model, 'half-written')
    broken.write_text('a text, not a pickle')
    weights_fail(cfg, model, 'broken.pth .* is not a PyTorch checkpoint|half-written')
    torch.save([1, 2], broken)
    weights_fail(cfg, model, 'holds a list')
