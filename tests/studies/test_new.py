"""A study of a user's own images, from a folder of labelled images to configs that hold what they say."""

import csv
import json
import os
from pathlib import Path

import pytest
import timm
import torch
from conftest import CLASSES, ROOT, run_tool, write_coco
from mmengine.registry import MODELS, init_default_scope
from rethink import checks
from rethink.checks.weights import check_weights
from rethink.configs import comparisons
from rethink.configs.provenance import read
from rethink.datasets import exports
from rethink.engine import launch
from rethink.errors import ConfigError
from rethink.studies import new, study
from rethink.studies.new import backbone, lengths
from rethink.studies.new import data as sizes
from rethink.studies.plan import Plan
from rethink.trust.checkpoints import best_checkpoint, latest_checkpoint
from rethink.trust.tensors import read_state_dict
from torchvision.models import get_model
from web_server import web_server

# A small network with BN; what is tried of it holds for EfficientNet-Lite0, whose family it is of.
TIMM = 'tf_mobilenetv3_small_minimal_100'
TOOLS = ROOT / 'tools'


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    """What somebody trained: a whole classifier in timm's names."""
    torch.manual_seed(1)
    file = tmp_path_factory.mktemp('weights') / 'classifier.pth'
    torch.save(timm.create_model(TIMM, pretrained=False).state_dict(), file)
    return file


@pytest.fixture
def make(tmp_path, monkeypatch, data, weights):
    """``new`` in a folder of its own: the folder that it wrote, and what it said."""
    monkeypatch.chdir(tmp_path)

    def made(name: str = 'mine', **values) -> tuple[Path, str]:
        values = dict(train=data / 'annotations.json', backbone=f'timm/{TIMM}', weights=str(weights)) | values
        said = list(new.create(new.Asked(name, 'python tools/study.py new …', **values), TOOLS))
        return Path(name), '\n'.join(said)

    return made


def configs(folder: Path) -> dict:
    return {file.stem: launch.load_config(str(file)) for file in sorted(folder.glob('*.py'))}


def test_what_it_writes_is_a_study_whose_configs_are_clean_and_compared(make):
    folder, said = make()
    found = configs(folder)
    arms = {f'{i}_{d}_{n}x' for i in ('scratch', 'finetune', 'freeze') for d in ('fpn', 'cascade') for n in (1, 6)}
    assert found.keys() == arms
    for name, cfg in found.items():
        assert not [one for one in checks.check(cfg) if one.level in ('error', 'missing', 'warning')], name
        text = (folder / f'{name}.py').read_text()
        assert len(text.splitlines()) <= 10 and 'rethink::' not in text
    assert not comparisons.undeclared(folder)
    pairs = comparisons.load(folder)[0]
    resolved = {name: read(str(folder / f'{name}.py')) for name in found}
    assert {name for pair in pairs for name in pair[:2]} == arms
    assert not [one for pair in pairs for one in comparisons.check(pair, tuple(resolved[name] for name in pair[:2]))]

    declared = study.read(folder)
    assert declared.name == 'mine' and {run.name for run in declared.runs} == arms
    assert declared.seeds == (0, 1, 2) and len(declared.claims) == 10
    assert 'BN of 8 images' in said and 'nothing found' in said


def test_the_configs_say_what_was_found(make, data):
    folder, said = make(iterations=120)
    cfg = launch.load_config(str(folder / 'finetune_fpn_6x.py'))
    assert tuple(cfg.train_dataloader.dataset.metainfo.classes) == CLASSES
    assert cfg.model.roi_head.bbox_head.num_classes == len(CLASSES)
    # 12 images, of which a fifth is held out.
    numbers = [
        len(json.loads(Path(cfg[f'{part}_dataloader'].dataset.ann_file).read_text())['images'])
        for part in ('train', 'val')
    ]
    assert numbers == [10, 2] and '2 of 12 images are held out' in said
    assert cfg.train_cfg.max_iters == 720 and cfg.train_cfg.val_interval == 72
    assert cfg.param_scheduler[1].milestones == [720 - 36, 720 - 12]
    hook = cfg.default_hooks.checkpoint
    assert hook.type == 'AtomicCheckpointHook' and hook.interval == 72 and hook.save_best == study.read(folder).metric
    short = launch.load_config(str(folder / 'finetune_fpn_1x.py'))
    assert short.param_scheduler[1].milestones == [84, 108] and short.param_scheduler[0].end == 30
    # MMDetection's conventions and not study A's, as docs/your_data.md says.
    assert cfg.optim_wrapper.paramwise_cfg is None and cfg.model.rpn_head.loss_bbox.type == 'L1Loss'
    # Of 64 × 48 and 48 × 64 pixels, objects of 17 and 20 pixels.
    assert cfg.train_pipeline[2].scale == (64, 48)
    assert cfg.model.rpn_head.anchor_generator.scales == [4]
    images = cfg.train_dataloader.dataset
    assert os.path.isdir(images.data_root) and Path(images.data_root).is_relative_to(data)


def test_the_arms_begin_where_they_say(make, weights):
    """Fine-tuned and frozen: the user's weights, tensor for tensor; from scratch: none of them."""
    folder, _ = make(detectors=['small'])
    given = torch.load(weights)
    for name, cfg in configs(folder).items():
        if name.endswith('6x'):
            continue
        init_default_scope('mmdet')
        model = MODELS.build(cfg.model)
        model.init_weights()
        model.train()
        own = {key.removeprefix('timm_model.'): value for key, value in model.backbone.state_dict().items()}
        weighted = [key for key in own if own[key].ndim == 4]
        assert set(own) <= set(given)
        same = [torch.equal(own[key], given[key]) for key in weighted]
        assert not any(same) if name.startswith('scratch') else all(same)
        trained = any(one.requires_grad for one in model.backbone.parameters())
        statistics = any(one.training for one in model.backbone.modules() if isinstance(one, torch.nn.BatchNorm2d))
        assert trained == statistics == (not name.startswith('freeze'))


def test_the_pixels_are_those_of_the_weights(make):
    folder, said = make(detectors=['small'])
    known = timm.get_pretrained_cfg(TIMM)
    preprocessor = launch.load_config(str(folder / 'freeze_fpn_1x.py')).model.data_preprocessor
    assert preprocessor.mean == pytest.approx([255 * value for value in known.mean])
    assert preprocessor.std == pytest.approx([255 * value for value in known.std])
    assert preprocessor.bgr_to_rgb is True and f'timm, of {TIMM}' in said
    # The file of weights knows them: what is changed by hand is noticed.
    file = folder / '_base_' / 'backbone.py'
    file.write_text(file.read_text().replace('bgr_to_rgb=True', 'bgr_to_rgb=False'))
    found = checks.check(launch.load_config(str(folder / 'freeze_fpn_1x.py')))
    assert [one.rule for one in found if one.level == 'warning'] == ['pixels']


def test_a_folder_is_written_again_only_where_it_is_the_same(make):
    folder, _ = make(detectors=['small'])
    before = {file: file.stat().st_mtime_ns for file in folder.rglob('*.py')}
    assert 'is there already, the same' in make(detectors=['small'])[1]
    with pytest.raises(ConfigError, match=r"mine is there and differs .*'_base_/schedule_1x.py'"):
        make(detectors=['small'], iterations=300)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob('*.py')} == before
    assert [path.name for path in folder.parent.iterdir()] == ['mine']


def test_what_fails_leaves_nothing_and_what_was_killed_is_swept(make, tmp_path):
    left = tmp_path / '.mine.0123abcd.part'
    left.mkdir()
    (left / 'study.yml').write_text('half')
    with pytest.raises(ConfigError, match='there is no file of weights nowhere.pth'):
        make(weights='nowhere.pth')
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match='names no folder'):
        make('a/b')


def test_masks_are_trained_where_there_are_some(make, tmp_path):
    whole = write_coco(tmp_path / 'masks')
    content = json.loads((whole / 'annotations.json').read_text())
    for one in content['annotations']:
        x, y, w, h = one['bbox']
        one['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h, x, y + h / 2]]  # no box
    (whole / 'annotations.json').write_text(json.dumps(content))
    folder, _ = make(train=whole / 'annotations.json')
    for name, cfg in configs(folder).items():
        assert cfg.model.type == 'MaskRCNN' and cfg.model.roi_head.mask_head, name
        assert cfg.val_evaluator.metric == ['bbox', 'segm']


def test_a_batch_too_small_for_bn_is_said_or_refused(make, tmp_path):
    with pytest.raises(ConfigError, match='take --batch 8'):
        make(batch=4)
    torch.manual_seed(0)
    torch.save(get_model('resnet18', weights=None).state_dict(), tmp_path / 'r18.pth')
    folder, said = make(batch=4, backbone='resnet18', weights=str(tmp_path / 'r18.pth'), detectors=['small'])
    assert 'differ in their norm as well' in said
    found = configs(folder)
    assert (
        found['finetune_fpn_1x'].model.backbone.norm_eval
        and found['finetune_fpn_1x'].optim_wrapper.optimizer.lr == 0.01
    )
    assert found['scratch_fpn_1x'].model.backbone.norm_cfg.type == 'GN'
    assert 'torchvision, of resnet18' in said


def test_own_unlabelled_images_add_arms_that_begin_with_them(make, tmp_path):
    """Base+Target and HPT-BN of study B, from the same weights; detectors that begin with what these leave."""
    more = write_coco(tmp_path / 'more', images=65)
    folder, said = make(hpt=True, unlabelled=more / 'images', detectors=['small'], seeds=[0])
    assert 'on 65 images' in said and '100 iterations of 64' in said and 'nothing found' in said
    moco = launch.load_config(str(folder / 'pretrain_moco_bnonly.py'))
    assert moco.model.queue_len == 64 and moco.train_cfg.max_iters == 100
    assert len((folder / 'annotations' / 'unlabelled.txt').read_text().split()) == 65
    assert [hook.type for hook in moco.custom_hooks] == ['InitFromBaseHook', 'ExportBackboneHook', 'TrainBNOnlyHook']
    assert moco.model.data_preprocessor.to_rgb and moco.model.data_preprocessor.mean[0] > 100
    check_weights(moco)  # the base gives the whole backbone
    runs = {run.name: run for run in study.read(folder).runs}
    assert runs['B+T_fpn_1x'].needs == ('pretrain_moco',) and runs['B+T-BN_fpn_6x'].needs == ('pretrain_moco_bnonly',)
    assert len(runs) == 2 + 2 * 5
    with pytest.raises(ConfigError, match='has 10 images .*, and --hpt needs 64 or more'):
        make('other', hpt=True)


@pytest.mark.long
def test_moco_begins_with_the_weights(make, tmp_path, weights):
    """A step of it on the whole way; BN alone leaves every other tensor as it was."""
    more = write_coco(tmp_path / 'more', images=65)
    folder, _ = make(hpt=True, unlabelled=more / 'images', detectors=['small'])
    options = ('train_cfg.max_iters=1', 'param_scheduler.0.end=1', 'train_dataloader.num_workers=0')
    options += ('train_dataloader.persistent_workers=False',)
    ended = run_tool(
        'train.py', folder / 'pretrain_moco_bnonly.py', '--work-dir', 'out', '--cfg-options', *options, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    left = read_state_dict('out/backbone.pth', 'backbone')
    given = torch.load(weights)
    for key, value in left.items():
        if key.startswith('backbone.') and value.ndim == 4:
            assert torch.equal(value, given[key.removeprefix('backbone.timm_model.')]), key


def test_a_study_in_mixed_precision_trains_so_and_not_otherwise(make, tmp_path):
    folder, _ = make(detectors=['small'], seeds=[0], amp=True)
    plan = Plan(study.read(folder), tmp_path / 'out', TOOLS, only=['scratch_fpn_1x'])
    (job,) = plan.jobs
    assert '--amp' in job.command
    plan.save()
    (job.work_dir / 'iter_1.pth').write_bytes(b'')
    plan.check()  # the same: it goes on
    (folder / 'study.yml').write_text((folder / 'study.yml').read_text().replace('amp: true', 'amp: false'))
    with pytest.raises(ConfigError, match='they differ in amp'):
        Plan(study.read(folder), tmp_path / 'out', TOOLS, only=['scratch_fpn_1x']).check()


# --- backbones -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'name, options, channels',
    [
        ('resnet18', None, (64, 128, 256, 512)),
        ('mobilenet_v3_small', None, (16, 24, 48, 576)),
        ('timm/convnext_atto', None, (40, 80, 160, 320)),
        # Its first stage is no map that timm gives by itself.
        ('timm/dla46_c', None, (64, 64, 128, 256)),
        ('mmpretrain.MobileNetV2', None, (24, 32, 96, 1280)),
        ('mmpretrain.ConvNeXt', dict(arch='atto'), (40, 80, 160, 320)),
        ('mmdet.ResNet', dict(depth=18), (64, 128, 256, 512)),
    ],
)
def test_the_maps_of_any_library_are_found(name, options, channels):
    assert backbone.resolve(name, options).channels == channels


@pytest.mark.parametrize(
    'name, sentence',
    [
        ('timm/efficientnet_lite00', 'the nearest names are efficientnet_lite0'),
        ('timm/vit_tiny_patch16_224', 'a detector needs one that takes any size'),
        ('mmdet.ResNet', '--backbone-options'),
        ('mmpretrain.VisionTransformer', 'needs 4, 8, 16 and 32'),
        ('nothing', "names are torchvision's"),
        ('vit_b_16', 'a detector needs one that takes any size'),
        ('mmdet.Nothing', 'mmdet has no backbone'),
    ],
)
def test_what_is_no_backbone_of_a_detector_is_a_sentence(name, sentence):
    with pytest.raises(ConfigError, match=sentence):
        backbone.resolve(name)


def test_weights_of_torchvision_are_given_whole(tmp_path):
    torch.manual_seed(0)
    wanted = get_model('mobilenet_v3_small', weights=None)
    torch.save(wanted.state_dict(), tmp_path / 'c.pth')
    one = backbone.resolve('mobilenet_v3_small')
    pixels, said = backbone.fetch(one, str(tmp_path / 'c.pth'), tmp_path / 'w.pth')
    assert pixels.mean == (123.675, 116.28, 103.53) and 'torchvision, of mobilenet_v3_small' in pixels.words
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'), prefix='backbone.')
    found = MODELS.build(dict(one.cfg, init_cfg=init))
    found.init_weights()
    found.train(False)
    images = torch.randn(1, 3, 64, 96)
    assert torch.equal(found(images)[-1], wanted.eval().features(images))


class Ran:
    """Unpickled, it leaves a file."""

    def __reduce__(self):
        return os.mkdir, ('ran',)


@pytest.mark.parametrize('name', [f'timm/{TIMM}', 'mobilenet_v3_small'])
def test_weights_at_an_address(name, tmp_path, monkeypatch):
    """They are those of the file; what is not there, of another network, or runs code is one sentence."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    torch.manual_seed(0)
    of = name.removeprefix('timm/')
    whole = timm.create_model(of, pretrained=False) if of == TIMM else get_model(of, weights=None)
    content = dict(good=whole.state_dict(), other=dict(a=torch.ones(1)), runs=dict(state_dict=Ran()))
    one = backbone.resolve(name)
    with web_server() as web:
        for kind, what in content.items():
            torch.save(what, f'{kind}.pth')
            content[kind] = web.put(f'{kind}.pth', Path(f'{kind}.pth').read_bytes())
        pixels, said = backbone.fetch(one, content['good'], tmp_path / 'there.pth')
        there, _ = backbone.fetch(one, 'good.pth', tmp_path / 'here.pth')
        assert content['good'] in said and pixels.mean == there.mean
        a, b = (read_state_dict(tmp_path / f'{name}.pth', 'weights') for name in ('there', 'here'))
        assert a.keys() == b.keys() and all(torch.equal(value, b[key]) for key, value in a.items())
        for kind, address in dict(content, none=f'{web.address}/none.pth').items():
            if kind != 'good':
                with pytest.raises(ConfigError, match='name weights|with --weights|more than values') as caught:
                    backbone.fetch(one, address, tmp_path / 'no.pth')
                assert f'{kind}.pth' in str(caught.value) and '\n' not in str(caught.value)
    assert not (tmp_path / 'no.pth').exists() and not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('name', ['resnet18', 'timm/resnet18'])
def test_weights_further_down_in_a_file_are_found_and_it_is_said(name, tmp_path):
    """timm, which loads without insisting, is given what it finds nothing in."""
    given = get_model('resnet18', weights=None).state_dict()
    prefixes = dict(student='module.backbone.', teacher='backbone.')
    content = {key: {f'{prefix}{name}': one for name, one in given.items()} for key, prefix in prefixes.items()}
    torch.save(content, tmp_path / 'dino.pth')
    _, said = backbone.fetch(backbone.resolve(name), str(tmp_path / 'dino.pth'), tmp_path / 'w.pth')
    assert said.endswith("dino.pth, of its teacher/backbone.*; 'student/module.backbone.*' would fit as well.")
    found = torch.load(tmp_path / 'w.pth')['state_dict']
    assert all(torch.equal(found[key], given[key.split('.', 1)[1].removeprefix('timm_model.')]) for key in found)
    # And no weights that a training would end with.
    given['layer1.0.conv1.weight'][0] = float('nan')
    torch.save(given, tmp_path / 'nan.pth')
    with pytest.raises(ConfigError, match='nan.pth .*layer1.0.conv1.weight has 576 of 36864 values that are not fin'):
        backbone.fetch(backbone.resolve(name), str(tmp_path / 'nan.pth'), tmp_path / 'w.pth')


def test_weights_of_another_network_are_refused(weights, tmp_path):
    with pytest.raises(ConfigError, match='timm cannot load resnet18'):
        backbone.fetch(backbone.resolve('timm/resnet18'), str(weights), tmp_path / 'w.pth')
    with pytest.raises(ConfigError, match='gives resnet18 0 of'):
        backbone.fetch(backbone.resolve('resnet18'), str(weights), tmp_path / 'w.pth')
    assert not list(tmp_path.iterdir())


def test_the_config_in_a_checkpoint_says_its_pixels(tmp_path):
    """As MMEngine's Runner writes them, with the text of the config."""
    one = backbone.resolve('mmpretrain.MobileNetV2')
    module = backbone._build(one.name, one.cfg)
    state = {f'backbone.{key}': value for key, value in module.state_dict().items()}
    text = 'model = dict(data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6], to_rgb=False))\n'
    torch.save(dict(meta=dict(cfg=text), state_dict=state), tmp_path / 'c.pth')
    pixels, _ = backbone.fetch(one, str(tmp_path / 'c.pth'), tmp_path / 'w.pth')
    assert (pixels.mean, pixels.std, pixels.rgb) == ((1, 2, 3), (4, 5, 6), False)


# --- lengths ---------------------------------------------------------------------------------------------------------


def test_1x_has_as_many_epochs_as_on_coco():
    assert lengths.by_the_rule(118_287, 16)[0] == 90_000
    # 12.17 epochs of 5,000 images in batches of 8 are 7,609 iterations.
    assert lengths.by_the_rule(5_000, 8) == (7_610, lengths.by_the_rule(5_000, 8)[1])
    assert '12.2 epochs' in lengths.by_the_rule(5_000, 8)[1]
    number, said = lengths.by_the_rule(40, 8)
    assert number == lengths.LEAST and 'fewer than the 100' in said


def test_a_budget_shortens_1x_or_is_refused():
    speeds = [lengths.Speed(1.0, 0.1)] * 4
    whole = lengths.duration(200, speeds, 10, 2)
    # 200 and 1,200 steps, twice ten evaluations of 10 images, twice a start, two at a time.
    assert whole == 4 * (1400 + 20 + 20) / 2
    assert lengths.fitted(200, whole, speeds, 10, 2) == 200
    fits = lengths.fitted(200, 2000, speeds, 10, 2)
    assert fits == 130 and lengths.duration(fits, speeds, 10, 2) <= 2000 < lengths.duration(fits + 10, speeds, 10, 2)
    with pytest.raises(ConfigError, match='8 trainings of at least 100 and 600 iterations take 24.7 minutes here'):
        lengths.fitted(200, 60, speeds, 10, 2)
    assert lengths.seconds('1.5h') == 5400
    with pytest.raises(ConfigError, match="--budget is '2 weeks'"):
        lengths.seconds('2 weeks')


# --- data ------------------------------------------------------------------------------------------------------------


def test_sizes_follow_from_the_images(data, tmp_path):
    part = sizes.look(exports.read(data / 'annotations.json', tmp_path))
    assert part.counts == dict.fromkeys(CLASSES, 12) and part.used == part.number == 12
    # Images of 64 × 48 and 48 × 64, objects of 20 × 20 and 10 × 30.
    assert sizes.image_size([part]) == (64, 48)
    assert sizes.image_size([part], [128]) == (128, 96) and sizes.image_size([part], [96, 96]) == (96, 96)
    assert sorted(set(part.sides((128, 96)).round(2))) == [round(2 * 300**0.5, 2), 40]
    assert sizes.anchor_scale(part, (64, 48)) == 4 and sizes.anchor_scale(part, (128, 96)) == 8


@pytest.mark.parametrize(
    'arguments, sentence',
    [
        (['--batch', 0], '--batch is 0, and is to be 1 or more.'),
        (['--iterations', 125], '--iterations is 125, and is to be a multiple of 10, the evaluations.'),
        (['--std', 1, 1, 1], '--mean and --std are given together, --bgr with both.'),
        (['--unlabelled', '.'], '--unlabelled is for --hpt, which is not given.'),
        (['--image-size', 320, 16], '--image-size is [320, 16], and is to be one or two numbers of 32 or more.'),
        (['--budget', 'soon'], "--budget is 'soon', and is to be a time, as 90m or 2h."),
    ],
)
def test_arguments_that_cannot_be_are_named_before_the_data_are_read(arguments, sentence, run_in_process):
    code, said = run_in_process('study.py', 'new', 'mine', '--train', 'nowhere', *arguments)
    assert code == 2 and said == f'error: {sentence}\n'


def test_a_folder_becomes_a_report_with_two_commands(data, weights, tmp_path, monkeypatch, run_in_process):
    """The whole way in a few iterations: what is written, trained, evaluated, judged and drawn."""
    monkeypatch.chdir(tmp_path)
    arguments = ('--train', data, '--backbone', f'timm/{TIMM}', '--weights', weights, '--seeds', 0, '--amp')
    code, said = run_in_process('study.py', 'new', 'mine', *arguments, '--detectors', 'small', '--iterations', 100)
    assert not code and said.endswith('python tools/study.py run mine\n'), said
    # A threshold below which there are detections after three steps.
    few = ('--quick', '--only', 'f*_1x', '--cfg-options', 'model.test_cfg.rcnn.score_thr=0.0')
    run = run_tool('study.py', 'run', 'mine', *few, cwd=tmp_path, OMP_NUM_THREADS='1')
    assert run.returncode == 0, run.stdout + run.stderr
    out = tmp_path / 'work_dirs' / 'mine_quick'
    with open(out / 'results.csv', newline='') as file:
        assert {row['run'] for row in csv.DictReader(file)} == {'finetune_fpn_1x', 'freeze_fpn_1x'}
    page = (out / 'report.html').read_text()
    assert 'What pre-training is worth on mine' in page and all(name in page for name in CLASSES)
    # What image_demo.py takes; weights alone, and no checkpoint to go on from.
    for arm in ('finetune_fpn_1x', 'freeze_fpn_1x'):
        best = torch.load(out / 'seed0' / arm / 'best_coco_bbox_mAP_iter_3.pth', weights_only=False)
        assert best['meta']['iter'] == 3 and 'optimizer' not in best
        assert best_checkpoint(out / 'seed0' / arm).endswith('best_coco_bbox_mAP_iter_3.pth')
        assert latest_checkpoint(out / 'seed0' / arm).endswith('/iter_3.pth')
    # The weights that the folder has are what a frozen backbone ends with.
    last = torch.load(out / 'seed0' / 'freeze_fpn_1x' / 'iter_3.pth', weights_only=False)['state_dict']
    given = torch.load(weights)
    kept = {key.removeprefix('backbone.timm_model.'): one for key, one in last.items() if key.startswith('backbone.')}
    assert kept and all(torch.equal(one, given[key]) for key, one in kept.items())


@pytest.mark.long
def test_from_a_folder_to_a_verdict_within_a_budget(data, weights, tmp_path):
    """Whole trainings, after this machine has been timed, and a verdict from the images of validation."""
    made = run_tool(
        'study.py', 'new', 'mine', '--train', data, '--backbone', f'timm/{TIMM}', '--weights', weights,
        '--seeds', 0, '--detectors', 'small', '--iterations', 100, '--budget', '8h', cwd=tmp_path,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert 's a step with fpn' in made.stdout and 'which fits into 8.0 hours' in made.stdout, made.stdout
    run = run_tool('study.py', 'run', 'mine', '--lengths', '1x', cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    report = (tmp_path / 'work_dirs' / 'mine' / 'report.md').read_text()
    rows = [line for line in report.splitlines() if 'after the short schedule pre-training is ahead' in line]
    assert any('bootstrap, 2 images' in row for row in rows), rows
