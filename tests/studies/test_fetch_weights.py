"""tools/misc/fetch_weights.py: what configs and studies download is fetched beforehand, and trainings find it."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, run_tool, write_detector
from mmengine.config import Config
from rethink.config_tree import remote_checkpoints
from rethink.engine import downloads, remote_weights
from rethink.errors import ConfigError
from rethink.studies import weights
from web_server import web_server

TOOL, TOOLS = 'misc/fetch_weights.py', ROOT / 'tools'
TIMM_MODEL = 'test_resnet'


@pytest.fixture
def web():
    with web_server() as served:
        yield served


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Caches of one's own, which are empty."""
    for name in ('TORCH_HOME', 'HF_HOME'):
        monkeypatch.setenv(name, str(tmp_path / 'home' / name))
    return tmp_path / 'home'


def content(seed: int = 0) -> bytes:
    """The weights of the tiny detector's backbone, as a file."""
    from mmdet.models import ResNet

    torch.manual_seed(seed)
    net = ResNet(18, base_channels=8, stem_channels=8, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1),
                 out_indices=(1, 2))  # fmt: skip
    for value in net.parameters():
        torch.nn.init.normal_(value)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    return file.getvalue()


def named(name: str, held: bytes) -> str:
    return f'{name}-{hashlib.sha256(held).hexdigest()[:8]}.pth'


def detector(tmp_path, data, url: str):
    more = f"model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='{url}')"
    return write_detector(tmp_path / 'tiny.py', data, more)


def error(done) -> str:
    (line,) = [one for one in done.stderr.splitlines() if one.startswith('error: ')]
    return line


# --- what is named ---------------------------------------------------------------------------------------------------


def test_every_name_in_our_configs_has_an_address_with_a_digest(home):
    """The names are MMEngine's; it would ask for them in the first minute of a training on the node."""
    configs = [path for path in (ROOT / 'configs').rglob('*.py') if 'init_cfg' in path.read_text()]
    names = {one for path in configs for one in remote_checkpoints(Config.fromfile(path, import_custom_modules=False))}
    assert {'torchvision://resnet50', 'torchvision://vgg16', 'open-mmlab://detectron/resnet101_gn'} <= names
    found = remote_weights.find({name: [] for name in names})
    assert all(one.url.startswith('https://') and downloads.digest_in(one.path.name) for one in found)
    assert {one.path.parent for one in found} == {home / 'TORCH_HOME' / 'hub' / 'checkpoints'}
    by_name = {one.name: one.url for one in found}
    assert by_name['torchvision://resnet50'] == 'https://download.pytorch.org/models/resnet50-0676ba61.pth'


def test_names_that_are_none(home):
    with pytest.raises(ConfigError, match='torchvision://resnet5 is no name that MMEngine and torchvision have'):
        remote_weights.address('torchvision://resnet5')
    with pytest.raises(ConfigError, match='s3://bucket/a.pth is not for download by HTTP'):
        remote_weights.address('s3://bucket/a.pth')
    with pytest.raises(ConfigError, match='timm has no weights for no_such_model'):
        remote_weights.find({'timm/no_such_model': []})
    with pytest.raises(ConfigError, match='are both called model.pth, by which torch.hub takes one for the other'):
        remote_weights.find({'https://a.org/x/model.pth': [], 'https://a.org/y/model.pth': []})


def test_timm_says_where_its_weights_are(home):
    backbone = dict(type='mmpretrain.TIMMBackbone', model_name='test_resnet', pretrained=True)
    cfg = Config(dict(model=dict(backbone=backbone)))
    assert remote_weights.named_in(cfg) == ['timm/test_resnet']
    cfg.model.backbone.pretrained_cfg_overlay = dict(url='https://a.org/b.pth', hf_hub_id=None)
    assert remote_weights.named_in(cfg) == ['https://a.org/b.pth']
    cfg.model.backbone.pretrained_cfg_overlay = dict(file='here.pth')
    assert remote_weights.named_in(cfg) == []
    cfg.model.backbone.pretrained = False
    assert remote_weights.named_in(cfg) == []
    (one,) = remote_weights.find({'timm/test_resnet': ['a.py']})
    assert one.hub == ('timm/test_resnet.r160_in1k', None) and not one.url


def test_a_study_names_what_its_runs_begin_with(home):
    """An arm that begins with the checkpoint of another run downloads nothing, whatever its config says by itself."""
    folder = ROOT / 'configs' / 'shapes'
    assert remote_checkpoints(Config.fromfile(folder / 'pretrain_r18_gn_1x.py')) == []
    assert weights.named([str(folder / 'study_rethink.yml')], TOOLS) == {}
    found = weights.named(['rethink::frozen/study.yml', 'https://a.org/b.pth', 'timm/x'], TOOLS)
    assert found['https://a.org/b.pth'] == [] and found['timm/x'] == []
    used_by = found['torchvision://resnet101']
    assert len(used_by) == len(set(used_by)) > 3 and all('r101' in one for one in used_by)
    options = {'model.backbone.init_cfg.checkpoint': 'mine.pth'}
    config = str(ROOT / 'configs/frozen/finetune_r101_fpn_72e.py')
    assert weights.named([config], TOOLS) == {'torchvision://resnet101': [config]}
    assert weights.named([config], TOOLS, options) == {}


# --- fetched, and found ----------------------------------------------------------------------------------------------


def test_a_training_finds_what_was_fetched_where_there_is_no_network(tmp_path, data, web, home):
    held = content()
    name = named('r18', held)
    config = detector(tmp_path, data, web.put(name, held))
    listed = run_tool(TOOL, config, '--list')
    assert listed.returncode == 1 and not listed.stderr and not web.asked
    assert f'missing  {web.address}/{name}\n' in listed.stdout and 'for tiny' in listed.stdout
    web.cut[f'/{name}'] = [len(held) // 2]
    done = run_tool(TOOL, config, '--out-dir', tmp_path / 'out')
    assert done.returncode == 0, done.stderr
    assert f'1 of 1: {web.address}/{name}' in done.stderr
    assert [one[2] for one in web.asked] == [None, f'bytes={len(held) // 2}-']
    cache = tmp_path / 'out' / 'torch' / 'hub' / 'checkpoints'
    assert sorted(os.listdir(cache)) == [name, 'weights.json'] and (cache / name).read_bytes() == held
    known = json.loads((cache / 'weights.json').read_text())[name]
    assert known['sha256'] == hashlib.sha256(held).hexdigest() and known['bytes'] == len(held)
    assert known['url'] == f'{web.address}/{name}'
    there = run_tool(TOOL, config, '--out-dir', tmp_path / 'out', '--list')
    assert there.returncode == 0 and there.stdout.startswith('here ')

    variables = dict(re.findall(r'(\w+)=(\S+)', done.stdout.splitlines()[-1]))
    assert variables['HF_HUB_OFFLINE'] == '1'
    # The node has a copy elsewhere, and no such server.
    (tmp_path / 'out').rename(tmp_path / 'node')
    variables = {key: value.replace(f'{tmp_path}/out', f'{tmp_path}/node') for key, value in variables.items()}
    config.write_text(config.read_text().replace(web.address, 'http://127.0.0.1:9'))
    options = ['train_cfg.max_iters=1', 'train_cfg.val_interval=9', 'default_hooks.checkpoint.interval=1']
    options += ['optim_wrapper.optimizer.lr=0.0', 'model.backbone.norm_eval=True']
    train = ['train.py', config, '--work-dir', tmp_path / 'work', '--no-check', '--cfg-options', *options]
    without = run_tool(*train)
    assert without.returncode == 2 and 'could not be downloaded' in error(without)
    assert 'fetch_weights.py' in error(without)
    trained = run_tool(*train, **variables)
    assert trained.returncode == 0, trained.stderr
    ours = torch.load(tmp_path / 'work' / 'iter_1.pth', weights_only=False)['state_dict']
    theirs = torch.load(io.BytesIO(held))
    assert all(torch.equal(ours[f'backbone.{key}'], value) for key, value in theirs.items() if 'running' not in key
               and 'num_batches' not in key)  # fmt: skip


def test_one_that_cannot_be_had_does_not_keep_the_others(web, home):
    good, other = content(), content(1)
    addresses = [web.put('wrong-01234567.pth', good), f'{web.address}/none.pth', web.put(named('right', other), other)]
    done = run_tool(TOOL, *addresses)
    assert done.returncode == 1 and '1 of 3 are in' in done.stdout
    errors = [one for one in done.stderr.splitlines() if one.startswith('error: ')]
    assert len(errors) == 2 and 'not with 01234567' in errors[0] and 'the server answers 404' in errors[1]
    cache = home / 'TORCH_HOME' / 'hub' / 'checkpoints'
    assert sorted(os.listdir(cache)) == sorted([named('right', other), 'weights.json'])
    taken = run_tool(TOOL, addresses[0], '--any-hash')
    assert taken.returncode == 0 and (cache / 'wrong-01234567.pth').read_bytes() == good
    # What was taken on purpose is as it is noted.
    assert run_tool(TOOL, addresses[0], '--list').returncode == 0


def test_what_is_here_is_looked_at(web, home):
    held = content()
    address = web.put(named('r18', held), held)
    cache = home / 'TORCH_HOME' / 'hub' / 'checkpoints'
    cache.mkdir(parents=True)
    path = cache / named('r18', held)
    path.write_bytes(held[:-100])
    listed = run_tool(TOOL, address, '--list')
    assert listed.returncode == 1 and listed.stdout.startswith('damaged')
    assert run_tool(TOOL, address).returncode == 0 and path.read_bytes() == held
    del web.asked[:]
    assert run_tool(TOOL, address).returncode == 0 and not web.asked
    # One without a digest in its name, half of which something else has left: its server knows how long it is.
    plain = web.put('plain.pth', held)
    (cache / 'plain.pth').write_bytes(held[:-100])
    assert run_tool(TOOL, plain).returncode == 0 and (cache / 'plain.pth').read_bytes() == held
    assert [one[0] for one in web.asked] == ['HEAD', 'GET']
    # torch.hub would take it for any file of the name.
    other = web.put('folder/plain.pth', content(1))
    done = run_tool(TOOL, other)
    assert done.returncode == 1 and f'is of another address, {plain}, and torch.hub would take it' in error(done)
    assert (cache / 'plain.pth').read_bytes() == held
    (cache / 'weights.json').write_text('[]')
    done = run_tool(TOOL, plain, '--list')
    assert done.returncode == 2 and 'is not what this tool has written' in error(done)


def test_weights_of_timm_come_from_the_hub_and_are_found_offline(tmp_path, home):
    """A server in the place of the Hub, as `HF_ENDPOINT` names it."""
    import timm
    from safetensors.torch import save

    torch.manual_seed(3)
    model = timm.create_model(TIMM_MODEL)
    held = save({key: value.contiguous() for key, value in model.state_dict().items()})
    commit = {'X-Repo-Commit': '0' * 40}
    with web_server(lambda path, content: commit) as web:
        web.put('timm/test_resnet.r160_in1k/resolve/main/model.safetensors', held)
        offline = dict(HF_ENDPOINT=web.address, HF_HUB_DISABLE_XET='1', HF_HUB_DISABLE_TELEMETRY='1')
        done = run_tool(TOOL, f'timm/{TIMM_MODEL}', '--out-dir', tmp_path / 'out', cold=True, **offline)
    assert done.returncode == 0, done.stderr
    (known,) = json.loads((tmp_path / 'out/torch/hub/checkpoints/weights.json').read_text()).values()
    assert known['sha256'] == hashlib.sha256(held).hexdigest() and known['names'] == [f'timm/{TIMM_MODEL}']
    (tmp_path / 'load.py').write_text(
        'import timm, torch\n'
        f'torch.save(timm.create_model("{TIMM_MODEL}", pretrained=True).state_dict(), "{tmp_path}/got.pth")\n'
    )
    variables = dict(re.findall(r'(\w+)=(\S+)', done.stdout.splitlines()[-1]))
    subprocess.run([sys.executable, tmp_path / 'load.py'], env=os.environ | variables, check=True, capture_output=True)
    got = torch.load(tmp_path / 'got.pth')
    assert all(torch.equal(got[key], value) for key, value in model.state_dict().items())
