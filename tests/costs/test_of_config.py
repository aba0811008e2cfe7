"""Training steps of configs: tiny detectors, frozen and not, on any device; the generated batch; the tool."""

import json
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from conftest import run_tool, write_detector
from rethink.analysis.pictures import ARMS, LOOKS
from rethink.costs import of_config, report
from rethink.costs.batch import OBJECTS, generate_batch, generate_proposals
from rethink.costs.counters import StepCost
from rethink.costs.of_config import Cost, Setting, Step, load, measure, measure_once
from rethink.errors import ConfigError
from torch import nn
from torchvision.ops import box_iou

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / 'configs' / 'shapes'
TINY = Setting((64, 64), 2)
META = Setting((64, 64), 2, 'meta')
FROZEN = "model['backbone'].update(type='FrozenBackbone', of='ResNet')"


@pytest.fixture(autouse=True)
def nothing_is_downloaded(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError('weights were asked for')

    monkeypatch.setattr('mmengine.runner.checkpoint.CheckpointLoader.load_checkpoint', refuse)
    monkeypatch.setattr('timm.models._builder.load_pretrained', refuse)


@pytest.fixture
def detector(tmp_path):
    """Write the tiny FCOS under a name, with lines added; its config."""

    def write(name: str = 'finetune_tiny', more: str = '', **values):
        return load(str(write_detector(tmp_path / f'{name}.py', tmp_path, more, **values)))

    return write


def numbers(cost: Cost):
    return cost.parameters, cost.trainable, cost.parts, cost.step, cost.rois


# --- freezing --------------------------------------------------------------------------------------------------------


def test_freezing_saves_the_backward_pass_and_the_activations_of_the_backbone_and_nothing_else(detector):
    tuned, frozen = measure(detector(), TINY), measure(detector('freeze_tiny', FROZEN), TINY)
    assert frozen.parameters == tuned.parameters == tuned.trainable
    assert frozen.parts['backbone'] == (tuned.parts['backbone'][0], 0)
    assert frozen.trainable == tuned.parameters - tuned.parts['backbone'][0]
    assert frozen.step.forward == tuned.step.forward
    backbone = tuned.step.backward.pop('backbone')
    # The images need no gradient: all of the backbone's layers but the first cost two forward passes.
    stem = 2 * 2 * 32 * 32 * 49 * 3 * 8
    assert backbone == 2 * tuned.step.forward['backbone'] - stem
    assert frozen.step.kept.get('backbone', 0) == 0 < tuned.step.kept.pop('backbone')
    # What the frozen backbone gives, its neck keeps; a backbone that is trained has kept it already. So the first
    # layers of the neck cost a forward pass less, those from maps of 16 and 32 channels to 16.
    lateral = 2 * 2 * (64 * 16 * 16 + 16 * 32 * 16)
    assert tuned.step.backward['neck'] - frozen.step.backward['neck'] == lateral
    maps = 4 * 2 * (64 * 16 + 16 * 32)
    assert frozen.step.kept['neck'] - tuned.step.kept['neck'] == maps
    assert frozen.step.backward['bbox_head'] == tuned.step.backward['bbox_head']
    assert frozen.step.kept['bbox_head'] == tuned.step.kept['bbox_head']
    assert report.ratios([tuned, frozen])['freeze_tiny'][0] < 1


def test_adapters_in_a_frozen_backbone_are_trained_and_cost_a_backward_pass(detector):
    more = FROZEN + "\nmodel['backbone']['conv_cfg'] = dict(type='ConvWithAdapter')"
    adapted, frozen = measure(detector('adapter', more), TINY), measure(detector('freeze_tiny', FROZEN), TINY)
    assert 0 < adapted.parts['backbone'][1] == adapted.parameters - frozen.parameters
    assert adapted.step.backward['backbone'] > 0 and adapted.step.kept['backbone'] > 0


# --- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('more', ['', FROZEN])
def test_without_values_the_numbers_are_the_same(detector, more):
    cfg = detector(more=more)
    assert numbers(measure(cfg, META)) == numbers(measure(cfg, TINY))


@pytest.mark.parametrize('name', ['scratch_r18_gn_cascade_6x', 'scratch_r18_gn_keypoint_1x'])
def test_second_stages_sample_all_that_their_config_asks_for(name):
    """16 RoIs of each of two images, a quarter of them positive, in each stage; also of images as small as these."""
    cost = measure(load(str(SHAPES / f'{name}.py')), META)
    stages = [f'bbox_head.{stage}' for stage in range(3)] if 'cascade' in name else ['bbox_head']
    positives = dict(mask_head=8) if 'cascade' in name else dict(keypoint_head=8)
    assert cost.rois == dict.fromkeys(stages, 32) | positives
    assert cost.step.forward['roi_head'] > 0 and cost.step.forward['rpn_head'] > 0


def test_the_whole_of_a_two_stage_detector_is_the_same_without_values():
    cfg = load(str(SHAPES / 'pretrain_r18_gn_1x.py'))  # norm_eval is False: statistics of BN in eval differ (docs)
    assert numbers(measure(cfg, META)) == numbers(measure(cfg, TINY))


def test_mixed_precision_keeps_less_and_computes_the_same(detector):
    single, mixed = measure(detector(), TINY), measure(detector(), Setting((64, 64), 2, amp=True))
    assert mixed.step.forward == single.step.forward and mixed.step.backward == single.step.backward
    assert mixed.kept < 0.8 * single.kept


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('amp', [False, True])
def test_on_a_gpu_memory_and_speed_are_measured(detector, amp):
    cfg = detector()
    on_gpu, on_cpu = measure(cfg, Setting((64, 64), 2, 'cuda', amp)), measure(cfg, TINY)
    assert (on_gpu.step.forward, on_gpu.step.backward) == (on_cpu.step.forward, on_cpu.step.backward)
    assert on_gpu.peak > on_gpu.kept and on_gpu.images_per_second > 0
    assert report.report([on_gpu], TINY, 'table').splitlines()[0].endswith('GiB peak  images/s')


@pytest.mark.parametrize('norm', ['SyncBN', 'MMSyncBN'])
def test_syncbn_is_bn_in_one_process(detector, norm):
    assert measure(detector(norm=f"type='{norm}'"), META).step == measure(detector(), META).step


def test_mmdetections_configs_and_classifiers():
    cost = measure(load('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'), META)  # names weights to download
    assert 21e6 < cost.parameters < 22e6 and set(cost.step.kept) >= {'backbone', 'bbox_head'}
    cost = measure(load(str(SHAPES / 'classifier_r18_gn.py')), META)
    assert set(cost.parts) == {'backbone', 'head'} and cost.backward > cost.forward


def test_a_backbone_that_asks_for_weights_of_its_package_gets_none(detector):
    timm = "dict(type='mmpretrain.TIMMBackbone', model_name='resnet10t', features_only=True, pretrained=True)"
    more = f"model['backbone'] = {timm}\nmodel['neck'].update(in_channels=[64, 64, 128, 256, 512], num_outs=5)\n"
    more += "model['bbox_head'].update(strides=[2, 4, 8, 16, 32], regress_ranges=((-1, 4),) * 4 + ((4, 1e8),))"
    cfg = detector(more=more)
    assert measure(cfg, META).parts['backbone'][0] > 4e6
    assert cfg.model.backbone.pretrained is True, 'the config itself stays'


# --- the step --------------------------------------------------------------------------------------------------------


def test_a_step_is_the_same_whenever_it_is_called_and_whatever_the_backbone_gives(detector):
    steps = []
    for more in ('', FROZEN):
        cfg = detector(more=more)
        torch.manual_seed(3)
        model = of_config.build(cfg)
        steps.append(Step(cfg, model, TINY))
    first = steps[0]().item()
    assert steps[0]().item() == first == steps[1]().item()
    nn.init.constant_(steps[0].model.backbone.conv1.weight, 7.0)
    assert steps[0]().item() == first


def test_gradients_reach_a_backbone_whose_features_were_exchanged(detector):
    cfg = detector()
    step = Step(cfg, of_config.build(cfg), TINY)
    step().backward()
    assert all(one.grad is not None for one in step.model.backbone.parameters())
    assert step.model.backbone.conv1.weight.grad.abs().sum() > 0


def test_a_model_is_gone_before_the_next_is_built(detector, monkeypatch):
    build, models = of_config.build, []

    def noted(cfg):
        model = build(cfg)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(of_config, 'build', noted)
    measure(detector(), TINY)
    assert models[0]() is None


@pytest.mark.parametrize('shape', [(64, 64), (96, 480)])
def test_half_of_the_proposals_are_positive_in_any_stage_and_half_are_negative(shape, detector):
    batch = generate_batch({}, of_config.build(detector()), shape, 1)
    objects = batch['data_samples'][0].gt_instances.bboxes
    proposals = generate_proposals(objects, shape, 1001)
    overlap = box_iou(proposals, objects).amax(1)
    assert len(proposals) == 1001 and (overlap[:500] > 0.9).all() and (overlap[500:] < 0.3).all()
    assert torch.equal(proposals, generate_proposals(objects, shape, 1001))
    height, width = shape
    assert proposals[:, 2].max() < 1.02 * width and proposals[:, 3].max() < 1.02 * height


def test_the_batch_is_what_heads_ask_for_and_always_the_same(detector):
    model = of_config.build(detector())
    cfg = dict(bbox_head=dict(num_classes=3), keypoint_head=dict(num_keypoints=5))
    one, other = (generate_batch(cfg, model, (40, 80), 2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one['inputs'], other['inputs'], strict=True))
    assert not torch.equal(*one['inputs'])
    for sample in one['data_samples']:
        objects = sample.gt_instances
        assert one['inputs'][0].shape == (3, 40, 80) and one['inputs'][0].dtype == torch.uint8
        assert len(objects) == OBJECTS == len(objects.masks) and set(objects.labels.tolist()) == {0, 1, 2}
        left, top, right, bottom = objects.bboxes.T
        assert left.min() >= 0 and top.min() >= 0 and right.max() <= 80 and bottom.max() <= 40
        assert ((right - left) >= 5 - 1e-3).all() and ((bottom - top) <= 20 + 1e-3).all()
        x, y, seen = objects.keypoints.unbind(-1)
        assert x.shape == (OBJECTS, 5) and (seen == 2).all()
        assert ((x >= left[:, None]) & (x <= right[:, None]) & (y >= top[:, None]) & (y <= bottom[:, None])).all()
        for mask, box in zip(objects.masks.masks, objects.bboxes, strict=True):
            rows, columns = mask.nonzero()
            assert abs(rows.min() - box[1]) < 1 and abs(columns.max() - box[2]) < 1
    assert 'keypoints' not in generate_batch({}, model, (40, 80), 1)['data_samples'][0].gt_instances


# --- the cache -------------------------------------------------------------------------------------------------------


def test_what_was_measured_is_not_measured_again(detector, tmp_path, monkeypatch):
    cfg, folder = detector(), tmp_path / 'cache'
    first = measure_once(cfg, META, folder)
    calls = []
    monkeypatch.setattr(of_config, 'measure', lambda cfg, setting: calls.append(cfg) or first)
    assert measure_once(cfg, META, folder) == first and not calls
    measure_once(cfg, Setting((64, 96), 2, 'meta'), folder)
    measure_once(detector(num_classes=3), META, folder)
    assert len(calls) == 2
    measure_once(cfg, META, folder, fresh=True)
    assert len(calls) == 3
    # What says nothing of the model changes nothing.
    measure_once(detector(more='randomness = dict(seed=7)'), META, folder)
    assert len(calls) == 3


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_bad_input_is_told_in_a_sentence(detector, tmp_path):
    with pytest.raises(ConfigError, match='there is no config .*scratch_r18_gn_1y.py; the nearest names are'):
        load(str(SHAPES / 'scratch_r18_gn_1y.py'))
    with pytest.raises(ConfigError, match='there is no config'):
        load('mmdet::retinanet/retinanet_r18_fpn_9x_coco.py')
    with pytest.raises(ConfigError, match="nowhere::a.py names the package 'nowhere', which is not installed"):
        load('nowhere::a.py')
    (tmp_path / 'empty.py').write_text('a = 1')
    with pytest.raises(ConfigError, match='has no model, so there is nothing to measure'):
        load(str(tmp_path / 'empty.py'))
    with pytest.raises(ConfigError, match='is a MoCo, neither a detector nor a classifier'):
        measure(load(str(SHAPES / 'scratch_moco_r18.py')), META)
    cfg = detector()
    cfg.model.backbone.type = 'ResNot'
    with pytest.raises(ConfigError, match='cannot be built: .*ResNot'):
        measure(cfg, META)
    cfg = detector()
    cfg.model.neck.in_channels = [16, 48]
    with pytest.raises(
        ConfigError, match=r'a step of finetune_tiny \(64×64, batch 2, cpu, float32\) fails with Runtime'
    ):
        measure(cfg, TINY)


def test_too_little_memory_is_told_in_a_sentence(detector, monkeypatch):
    with pytest.raises(ConfigError, match='does not fit into memory; lower --shape or --batch, or take --device meta'):
        measure(detector(), Setting((10**9, 10**9)))

    def full(*_):
        raise torch.OutOfMemoryError('CUDA out of memory.')

    monkeypatch.setattr(of_config, 'step_cost', full)
    with pytest.raises(ConfigError, match=r'\(64×64, batch 2, meta, float32\) does not fit into memory'):
        measure(detector(), META)


@pytest.mark.parametrize(
    ('wrong', 'sentence'),
    [
        (dict(shape=(0, 64)), '0×64, batch 1.* name numbers above 0'),
        (dict(batch=0), 'batch 0.* name numbers above 0'),
        (dict(device='meta', amp=True), 'meta knows no mixed precision'),
        pytest.param(
            dict(device='cuda'),
            'there is no GPU',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is one'),
        ),
    ],
)
def test_settings_that_cannot_be(wrong, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Setting(**wrong)


# --- report and figure -----------------------------------------------------------------------------------------------


def cost(name: str, backward: int, kept: int, **more) -> Cost:
    step = StepCost(dict(backbone=2 * 10**9, neck=10**9), dict(neck=backward), dict(backbone=kept, neck=2**20))
    return Cost(name, 40_000_000, 10_000_000, dict(backbone=(30_000_000, 0)), step, dict(bbox_head=512), **more)


TUNED, FREEZE = cost('finetune_x_72e', 6 * 10**9, 3 * 2**20), cost('freeze_x_72e', 15 * 10**8, 0)


def test_the_table_has_every_number_and_the_frozen_one_beside_the_tuned_one():
    lines = report.report([TUNED, FREEZE], TINY, 'markdown').splitlines()
    names = [name.strip() for name in lines[0].strip('|').split('|')]
    assert names[:6] == ['config', 'M parameters', 'trained', 'M in backbone', 'trained', 'GFLOP forward']
    assert 'GiB peak' not in names, 'nothing of a GPU was measured'
    cells = ['finetune_x_72e', '40.00', '25.0 %', '30.00', '0.0 %', '3.000', '6.000', '9.000', '4.000', '3.000']
    assert lines[2] == f'| {" | ".join(cells)} |'
    assert 'freeze_x_72e / finetune_x_72e: 0.500 of the operations, 0.250 of the bytes kept.' in lines
    assert 'RoIs: 512 in bbox_head (finetune_x_72e, freeze_x_72e).' in lines
    plain = report.report([TUNED, FREEZE], TINY, 'table').splitlines()
    assert len({len(line) for line in plain[:3]}) == 1
    content = json.loads(report.report([TUNED, FREEZE], TINY, 'json'))
    assert content['costs'][1]['step']['kept'] == dict(backbone=0, neck=2**20)
    on_gpu = report.report([cost('a', 1, 1, peak=3 * 2**30, images_per_second=12.34)], TINY, 'markdown')
    assert on_gpu.splitlines()[2].endswith('| 3.00 | 12.3 |')


def write_metafile(path: Path) -> Path:
    models = [
        dict(Name=name, Metadata=dict(Published='table 2'), Results=[dict(Metrics={'box AP': ap, 'mask AP': 30.0})])
        for name, ap in (('finetune_x_72e', 50.0), ('freeze_x_72e', 51.5))
    ]
    path.write_text(yaml.safe_dump(dict(Models=models)))
    return path


def test_ap_is_that_given_then_measured_then_published(tmp_path):
    metafile = write_metafile(tmp_path / 'metafile.yml')
    log = tmp_path / 'freeze_x_72e' / '20260101_000000' / 'vis_data'
    log.mkdir(parents=True)
    (log / 'config.py').write_text('train_cfg = dict(max_iters=20)')
    entries = [{'loss': 1.0, 'step': 20}, {'coco/bbox_mAP': 0.402, 'step': 20}]
    (log / 'scalars.json').write_text('\n'.join(map(json.dumps, entries)))
    find = partial(report.find_ap, [TUNED, FREEZE])
    assert find({}) == {}
    found = find({}, metafile, tmp_path)
    assert found['finetune_x_72e'] == report.AP(50.0, 'published')
    assert found['freeze_x_72e'].source == 'measured' and found['freeze_x_72e'].value == pytest.approx(40.2)
    assert find({'freeze_x_72e': 41.0}, metafile, tmp_path)['freeze_x_72e'] == report.AP(41.0, 'given')


@pytest.fixture
def figure(monkeypatch, tmp_path):
    """Draw, and the axes that were saved."""

    def draw(*args, **kwargs):
        monkeypatch.setattr(report.plt, 'close', lambda figure: None)
        report.draw(*args, tmp_path / 'x_3.5k', **kwargs)
        figure = report.plt.gcf()
        monkeypatch.undo()
        assert (tmp_path / 'x_3.5k.png').stat().st_size > 1000 and (tmp_path / 'x_3.5k.svg').is_file()
        report.plt.close(figure)
        return figure.axes[0]

    return draw


def test_the_figure_has_ap_against_operations_with_a_line_for_each_detector(figure):
    aps = dict(finetune_x_72e=report.AP(50.0, 'published'), freeze_x_72e=report.AP(41.0, 'measured'))
    costs = [TUNED, FREEZE, cost('scratch_y_72e', 10**9, 0)]
    axes = figure(costs, aps)
    points = {line.get_label(): line for line in axes.lines}
    tuned, frozen = points['finetune, published'], points['freeze, measured']
    assert (list(tuned.get_xdata()), list(tuned.get_ydata())) == ([9.0], [50.0])
    assert (list(frozen.get_xdata()), list(frozen.get_ydata())) == ([4.5], [41.0])
    assert tuned.get_markerfacecolor() == 'white' != frozen.get_markerfacecolor()
    for init, line in (('freeze', frozen), ('finetune', tuned)):
        look = LOOKS[ARMS[init]]
        assert (line.get_color(), line.get_marker()) == (look.colour, look.marker)
    assert [list(line.get_xdata()) for line in axes.lines if line.get_color() == 'lightgrey'] == [[4.5, 9.0]]
    assert [text.get_text() for text in axes.texts] == ['x_72e'], 'what has no AP is left out'
    assert figure(costs, aps, axis='memory').get_xlabel() == 'kept for backward (GiB)'


def test_adapters_are_a_third_way_to_train_the_same_detector(figure):
    costs = [TUNED, FREEZE, cost('freeze_x_adapter_72e', 2 * 10**9, 0)]
    axes = figure(costs, {one.name: report.AP(50.0, 'given') for one in costs})
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(labels) == ['finetune, given', 'freeze + adapters, given', 'freeze, given']
    assert [list(line.get_xdata()) for line in axes.lines if line.get_color() == 'lightgrey'] == [[4.5, 5.0, 9.0]]
    assert [text.get_text() for text in axes.texts] == ['x_72e']


def test_without_ap_the_figure_has_bars(figure):
    axes = figure([TUNED, FREEZE], {})
    assert [bar.get_width() for bar in axes.patches] == [3.0, 6.0, 3.0, 1.5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ['finetune_x_72e', 'freeze_x_72e']
    axes = figure([TUNED, FREEZE], {}, axis='memory')
    assert [bar.get_width() for bar in axes.patches] == [4 / 1024, 1 / 1024]


# --- the tool --------------------------------------------------------------------------------------------------------


def test_the_tool(detector, tmp_path):
    configs = [detector().filename, detector('freeze_tiny', FROZEN).filename]
    out = tmp_path / 'cost' / 'out.json'
    arguments = [*configs, '--shape', 64, 64, '--batch', 2, '--cache', tmp_path / 'cache', '--format', 'json']
    figure = tmp_path / 'figures' / 'one'
    ap = ['--ap', 'finetune_tiny=20', 'freeze_tiny=21', '--figure', figure]
    done = run_tool('analysis_tools/training_cost.py', *arguments, '--out', out, *ap, OMP_NUM_THREADS='1')
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content == json.loads(out.read_text())
    tuned, frozen = content['costs']
    assert frozen['parts']['backbone'][1] == 0 < tuned['parts']['backbone'][1]
    assert '2/2' in done.stderr, 'progress'
    assert len(list((tmp_path / 'cache').glob('*.json'))) == 2
    assert '<!-- tiny -->' in Path(f'{figure}.svg').read_text()


def test_what_the_tool_refuses(detector, tmp_path, run_in_process):
    config = detector().filename
    tool = partial(run_in_process, 'analysis_tools/training_cost.py', config, '--cache', tmp_path)
    for arguments, sentence in (
        (['--ap', 'finetune_tiny'], 'is not of the form NAME=VALUE'),
        (['--ap', 'other=3'], 'names none of the configs; they are finetune_tiny'),
        (['--metafile', tmp_path / 'no.yml'], 'there is no metafile'),
        (['--shape', 0, 64], 'name numbers above 0'),
        (['--device', 'meta', '--amp'], 'no mixed precision'),
    ):
        code, printed = tool(*arguments)
        assert code == 2 and sentence in printed and printed.count('\n') == 1
    code, printed = run_in_process('analysis_tools/training_cost.py', config, 'configs/none.py', '--cache', tmp_path)
    assert code == 2 and 'there is no config configs/none.py' in printed, 'before the first is measured'
    assert not list(tmp_path.glob('*.json'))
