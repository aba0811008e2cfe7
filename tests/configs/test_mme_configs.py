"""Domain adaptation of study B: what is trained on what, beginning where, for both targets and every budget."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from mmpretrain.structures import DataSample
from mmpretrain.utils import register_all_modules
from PIL import Image
from rethink import config_path
from rethink.engine.hooks.hierarchy import InitFromBaseHook
from rethink.engine.weights import read_weights
from rethink.studies import grid
from rethink.studies.axes import points as points_of

TARGETS = ('clipart', 'sketch')
MOCO, MME = (config_path(f'hpt/pretrain_{name}.py') for name in ('moco_b2_domainnet_5ki', 'mme_b2_domainnet_50ki'))
RESNET = config_path('hpt/pretrain_mme_r34_domainnet_50ki.py')
PER_CLASS = 'train_dataloader.dataset.datasets.1.per_class'
META = yaml.safe_load((Path(MME).parent / 'metafile.yml').read_text())
(COLLECTION,) = (one for one in META['Collections'] if 'domain adaptation' in one['Name'])
SETTINGS = COLLECTION['Metadata']['Settings']
BUDGETS = COLLECTION['Metadata']['Settings of ours']['labels for each class of the target']
CLASSES = ('aircraft carrier', 'alarm_clock', 'ant')


def load(path: str, target: str, monkeypatch) -> Config:
    monkeypatch.setenv('HPT_TARGET', target)
    register_all_modules(init_default_scope=False)
    init_default_scope('mmpretrain')
    return Config.fromfile(path)


@pytest.fixture(scope='module')
def domains(tmp_path_factory) -> Path:
    """Splits of three domains of three classes: 70 training images of each class, 10 to validate and 5 to test."""
    root = tmp_path_factory.mktemp('domainnet')
    image = Image.fromarray(np.zeros((40, 30, 3), np.uint8))
    for domain in ('real', *TARGETS):
        splits = root / domain / 'splits'
        splits.mkdir(parents=True)
        names = {
            split: [f'{label}/{split}{index}.png' for label in range(len(CLASSES)) for index in range(number)]
            for split, number in dict(train=70, val=10, test=5).items()
        }
        for split, images in names.items():
            (splits / f'{split}.txt').write_text('\n'.join(f'{name} {name[0]}' for name in images))
        (splits / 'unlabelled.txt').write_text('\n'.join(names['train'] + names['val']))
        (splits / 'classes.txt').write_text('\n'.join(CLASSES))
        for name in (one for images in names.values() for one in images):
            (root / domain / name).parent.mkdir(exist_ok=True)
            image.save(root / domain / name)
    return root


def moved(cfg: Config, root: Path) -> Config:
    """The config with its data below another folder."""
    return Config.fromstring(cfg.pretty_text.replace('data/domainnet/', f'{root}/'), '.py')


def origin(root: Path, path: str) -> tuple[str, str]:
    """Domain and split of an image."""
    domain, _, name = Path(path).relative_to(root).parts
    return domain, name.removesuffix('.png').rstrip('0123456789')


@pytest.mark.parametrize('target', TARGETS)
def test_pre_training_sees_both_domains_without_labels_and_no_test_image(target, domains, monkeypatch):
    cfg = moved(load(MOCO, target, monkeypatch), domains)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert not any('gt_label' in info for info in infos)
    found = Counter(origin(domains, info['img_path']) for info in infos)
    assert found == {(domain, split): n for domain in ('real', target) for split, n in (('train', 210), ('val', 30))}
    view = dataset[0]['inputs']
    assert len(view) == 2 and view[0].shape == (3, 224, 224)


@pytest.mark.parametrize('target', TARGETS)
def test_a_batch_is_a_quarter_of_the_source_a_quarter_labelled_and_half_unlabelled(target, domains, monkeypatch):
    cfg = moved(load(MME, target, monkeypatch), domains)
    loader = dict(cfg.train_dataloader, num_workers=0, persistent_workers=False)
    batches = iter(Runner.build_dataloader(loader, seed=0))
    drawn = []
    for _ in range(2):
        batch = next(batches)
        samples = batch['data_samples']
        kinds = [(*origin(domains, one.img_path), 'gt_label' in one) for one in samples]
        assert kinds[:24] == [('real', 'train', True)] * 24
        assert kinds[24:48] == [(target, 'train', True)] * 24
        assert all(kind[0] == target and not kind[2] for kind in kinds[48:]) and len(kinds) == 96
        assert {image.shape for image in batch['inputs']} == {(3, 224, 224)}
        drawn += [one.img_path for one in samples[24:48]]
    assert len(set(drawn)) == 3, 'one label for each class, and the same images again and again'
    test = DATASETS.build(cfg.val_dataloader.dataset)
    infos = [test.get_data_info(index) for index in range(len(test))]
    assert Counter(origin(domains, info['img_path']) for info in infos) == {(target, 'test'): 15}
    assert cfg.train_cfg.val_interval == cfg.train_cfg.max_iters, 'nothing is chosen on the test set'


def test_seven_budgets_are_seven_values_of_one_entry(domains, tmp_path, monkeypatch):
    cfg = moved(load(MME, 'clipart', monkeypatch), domains)
    points = points_of(cfg, {PER_CLASS: list(map(str, BUDGETS))})
    found = [grid.Grid(tmp_path, cfg).effective(point) for point in points]
    before = set()
    for budget, one in zip(BUDGETS, found, strict=True):
        parts = [DATASETS.build(dict(part, lazy_init=True)) for part in one.train_dataloader.dataset.datasets]
        source, target, unlabelled = (part.load_data_list() for part in parts)
        images = {info['img_path'] for info in target}
        assert len(images) == len(target) == len(CLASSES) * budget and before < images
        assert len(source) == 210 and len(unlabelled) == 240
        before = images


def test_domains_whose_labels_mean_other_classes_are_refused(domains, tmp_path, monkeypatch):
    cfg = moved(load(MME, 'clipart', monkeypatch), domains)
    (tmp_path / 'classes.txt').write_text('\n'.join(reversed(CLASSES)))
    cfg.train_dataloader.dataset.datasets[0].classes = str(tmp_path / 'classes.txt')
    with pytest.raises(ValueError, match='meta information'):
        DATASETS.build(cfg.train_dataloader.dataset)


def test_mme_begins_with_all_of_what_pre_training_has_written(tmp_path, monkeypatch):
    moco = load(MOCO, 'sketch', monkeypatch).model
    moco.queue_len = 8
    pretrained = MODELS.build(moco)
    pretrained.init_weights()
    state = {f'backbone.{key}': value for key, value in pretrained.backbone.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'backbone.pth')
    model = MODELS.build(load(MME, 'sketch', monkeypatch).model)
    model.init_weights()
    InitFromBaseHook(str(tmp_path / 'backbone.pth')).initialise(model)
    weights = read_weights(tmp_path / 'backbone.pth').backbone
    assert weights.keys() == model.backbone.state_dict().keys()
    assert all(torch.equal(value, weights[key]) for key, value in model.backbone.state_dict().items())


@pytest.mark.parametrize('target', TARGETS)
def test_each_begins_with_the_one_before(target, monkeypatch):
    moco, mme = (load(path, target, monkeypatch) for path in (MOCO, MME))
    (begin,) = (hook for hook in mme.custom_hooks if hook.type == 'InitFromBaseHook')
    assert begin.checkpoint == f'{moco.work_dir}/backbone.pth'
    monkeypatch.setenv('HPT_BASE', 'other.pth')
    assert load(MOCO, target, monkeypatch).custom_hooks[0].checkpoint == 'other.pth'
    for stage in (moco, mme):
        assert dict(arch='b2', type='EfficientNet') == stage.model.backbone
        pixels = {key: stage.model.data_preprocessor[key] for key in ('mean', 'std', 'to_rgb')}
        assert pixels == dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


def test_the_metafile_has_them_and_their_lengths(monkeypatch):
    entries = {model['Name']: model for model in META['Models']}
    for path in (MOCO, MME, RESNET):
        cfg, entry = load(path, 'clipart', monkeypatch), entries[Path(path).stem]
        assert entry['Config'] == f'configs/hpt/{Path(path).name}'
        length, batch = entry['Metadata']['Iterations'], entry['Metadata']['Batch Size']
        assert (cfg.train_cfg.max_iters, cfg.auto_scale_lr.base_batch_size) == (length, batch)
        text = Path(path).read_text()
        assert f'Length: {length // 1000}k iterations of {batch} images = {length * batch / 1e6:.2f} M images' in text
        assert f'Published: {entry["Metadata"]["Published"]}; not trained by us.' in text


def test_the_published_settings_and_a_step(monkeypatch):
    cfg = load(MME, 'clipart', monkeypatch)
    model = MODELS.build(cfg.model)
    model.init_weights()
    assert (model.entropy_weight, model.head.temperature) == (
        SETTINGS['weight of the entropy'],
        SETTINGS['temperature'],
    )
    assert model.head.fc.weight.shape == (345, 1408)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    groups = {id(one): group for group in optimizer.param_groups for one in group['params']}
    for name, parameter in model.named_parameters():
        group = groups[id(parameter)]
        part = 'backbone' if name.startswith('backbone.') else 'head'
        assert group['lr'] == pytest.approx(SETTINGS[f'learning rate, {part}']), name
        assert (group['momentum'], group['weight_decay']) == (SETTINGS['momentum'], SETTINGS['weight decay'])
    samples = [DataSample() for _ in range(4)]
    for label, sample in enumerate(samples[:2]):
        sample.set_gt_label(label)
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in samples]
    before = model.head.fc.weight.detach().clone()
    logged = model.train_step(dict(inputs=images, data_samples=samples), optimizer)
    assert 0 < logged['entropy'] <= np.log(345) + 1e-5
    assert not torch.equal(before, model.head.fc.weight)


def test_the_head_of_a_resnet_is_the_released_one(monkeypatch):
    """SSDA_MME, model/basenet.py, Predictor_deep: scores, and the gradient of its ``adentropy``, in float64."""
    torch.manual_seed(0)
    cfg = load(RESNET, 'clipart', monkeypatch)
    cfg.model.backbone.update(depth=18)
    model = MODELS.build(cfg.model).double()
    model.init_weights()
    fc1, fc2 = model.neck.fc, model.head.fc
    assert (fc1.weight.shape, fc1.bias.shape) == ((512, 512), (512,)) and fc2.weight.shape == (345, 512)
    assert fc2.bias is None and not fc1.bias.any()
    # utils/utils.py, weights_init: Glorot's normal.
    for one in (fc1, fc2):
        assert one.weight.std().item() == pytest.approx((2 / sum(one.weight.shape)) ** 0.5, rel=0.02)

    images = torch.randn(5, 3, 64, 64, dtype=torch.float64)
    model.eval()
    map_of_features = model.backbone(images)[-1].detach()
    hidden = map_of_features.mean((2, 3)) @ fc1.weight.T + fc1.bias
    scores = torch.nn.functional.normalize(hidden) @ fc2.weight.T / 0.05
    torch.testing.assert_close(model.head(model.neck(map_of_features)), scores, rtol=1e-10, atol=1e-12)

    p = scores.softmax(1)
    objective = 0.1 * (p * (p + 1e-5).log()).sum(1).mean()
    of_classifier, of_features = torch.autograd.grad(objective, [fc2.weight, fc1.weight])
    monkeypatch.setattr(model, 'extract_feat', lambda inputs: model.neck(map_of_features))
    loss = -model.entropy_weight * model._entropy(images)
    found = torch.autograd.grad(loss, [fc2.weight, fc1.weight])
    # Theirs adds 1e-5 to each probability.
    torch.testing.assert_close(found[0], of_classifier, rtol=0.02, atol=1e-6)
    torch.testing.assert_close(found[1], -of_features, rtol=0.02, atol=1e-6)

    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    rates = {id(one): group['lr'] for group in optimizer.param_groups for one in group['params']}
    assert rates[id(fc1.weight)] == rates[id(fc2.weight)] == 0.01 and rates[id(model.backbone.conv1.weight)] == 0.001


def test_the_classifier_begins_as_the_released_one(monkeypatch):
    model = MODELS.build(load(MME, 'clipart', monkeypatch).model)
    model.init_weights()
    assert model.head.fc.weight.std().item() == pytest.approx((2 / (345 + 1408)) ** 0.5, rel=0.02)
