"""The files of a study of a user's own: configs that inherit from ours, and study.yml."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np

from . import hpt
from .backbone import Backbone, Pixels
from .data import SMALL, Part
from .lengths import EVALUATIONS, LONG

ANNOTATIONS, WEIGHTS = 'annotations', 'weights.pth'
# As --detectors names them -> as configs do.
DETECTORS = dict(small='fpn', larger='cascade')
LENGTHS = ('6x', '1x')
INITS = ('finetune', 'scratch', 'freeze')
# Below, BN has too few images in a step for its statistics (rule small-batch-bn of rethink.checks.init).
BN_BATCH = 8
# Up to so many parameters of a backbone, so many channels behind it: that a frozen one leaves a third to be trained.
_CHANNELS = ((6e6, 64), (16e6, 128))
_LARGEST = 256
_WARM_UP = (30, 500)


@dataclass(frozen=True)
class Setting:
    """All that the files say.

    Args:
        name: of the study.
        command: with which it was made, for a comment.
        parts: ``'train'`` and ``'val'``.
        masks: all objects have one.
        size: longer and shorter side of the images.
        anchors: their side in strides.
        backbone, pixels: what is compared.
        weights: a sentence on where they come from.
        detectors: of :data:`DETECTORS`.
        iterations: of 1x.
        rule: the sentence that derives them.
        batch: images in a step.
        amp: mixed precision.
        seeds: of all runs.
        unlabelled: images for self-supervised pre-training; None: there is none.
    """

    name: str
    command: str
    parts: Mapping[str, Part]
    masks: bool
    size: tuple[int, int]
    anchors: int
    backbone: Backbone
    pixels: Pixels
    weights: str
    detectors: Sequence[str]
    iterations: int
    rule: str
    batch: int
    amp: bool
    seeds: Sequence[int]
    unlabelled: hpt.Unlabelled | None = None

    @property
    def arms(self) -> int:
        """Trainings of each detector and length."""
        return len(INITS) + hpt.arms(self)

    @property
    def channels(self) -> int:
        """After the backbone."""
        return next((number for most, number in _CHANNELS if self.backbone.parameters < most), _LARGEST)

    @property
    def swaps_norm(self) -> bool:
        """The batch is too small for BN: fine-tuned it keeps the statistics of the weights, from scratch it is GN."""
        return self.backbone.batch_norm and self.batch < BN_BATCH

    @property
    def lr(self) -> float:
        """0.02, which is for 16 images in the paper and for 8 here, where an image gives few RoIs."""
        return 0.02 * min(self.batch, BN_BATCH) / BN_BATCH

    @property
    def kind(self) -> str:
        return 'Mask R-CNN' if self.masks else 'Faster R-CNN'


def files(one: Setting, folder: Path) -> dict[str, str]:
    """Name below the folder -> text, of all that is text."""
    found = {f'_base_/{name}.py': text for name, text in _bases(one, folder).items()}
    for detector in one.detectors:
        for length in LENGTHS:
            found |= {f'{name}.py': text for name, text in _arms(one, detector, length).items()}
    if one.unlabelled:
        found |= hpt.files(one)
    return found | {'study.yml': _study(one)}


# --- the configs -----------------------------------------------------------------------------------------------------


def _bases(one: Setting, folder: Path) -> dict[str, str]:
    found = dict(
        data=_data(one, folder),
        backbone=_backbone(one),
        fpn=_fpn(one),
        schedule_1x=_schedule(one),
        schedule_6x=_LONG_SCHEDULE.format(name=one.name, long=LONG, number=LONG * one.iterations, batch=one.batch),
    )
    if 'cascade' in one.detectors:
        found['cascade'] = (_MASK_CASCADE if one.masks else _CASCADE).format(name=one.name)
    return found


_DATA = '''"""{name}: {train} images with {objects} objects to train, {val} with {val_objects} to validate; {kind}.

{command}
"""

_base_ = 'rethink::_base_/datasets/own_{base}.py'

train_images = {train_images!r}
val_images = {val_images!r}
train_file = {train_file}
val_file = {val_file}
metainfo = dict(classes={classes})
# Longer and shorter side that images are made to fit.
scale = {size}

train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(type='Resize', scale=scale, keep_ratio=True)
test_pipeline = _base_.test_pipeline
test_pipeline[1] = dict(type='Resize', scale=scale, keep_ratio=True)

train_dataloader = dict(
    batch_size={batch},
    dataset=dict(data_root=train_images, ann_file=train_file, metainfo=metainfo, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size={batch},
    dataset=dict(data_root=val_images, ann_file=val_file, metainfo=metainfo, pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=val_file)
test_evaluator = val_evaluator

# Of tools/test.py --tta: three sizes, each also flipped.
tta_scales = {tta}
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [dict(type='Resize', scale=one, keep_ratio=True) for one in tta_scales]
'''


def _data(one: Setting, folder: Path) -> str:
    train, val = one.parts['train'], one.parts['val']
    files = {}
    for part in (train, val):
        path = Path(part.data.annotations).resolve()
        own = path.is_relative_to(folder.resolve())
        # Of the folder, wherever that is; a user's own where it is.
        inside = f"'{{{{ fileDirname }}}}/../{path.relative_to(folder.resolve())}'" if own else repr(str(path))
        files[id(part)] = inside
    return _DATA.format(
        name=one.name,
        train=train.number,
        objects=len(train.boxes),
        val=val.number,
        val_objects=len(val.boxes),
        kind='boxes and masks' if one.masks else 'boxes',
        command=fill(f'Written by: {one.command}', 118, break_long_words=False, break_on_hyphens=False),
        base='instance' if one.masks else 'detection',
        train_images=f'{Path(train.data.images).resolve()}/',
        val_images=f'{Path(val.data.images).resolve()}/',
        train_file=files[id(train)],
        val_file=files[id(val)],
        classes=_tuple(train.data.classes),
        size=one.size,
        batch=one.batch,
        tta=[tuple(round(side * share / 16) * 16 for side in one.size) for share in (0.875, 1, 1.25)],
    )


def _tuple(names: Sequence[str]) -> str:
    """On one line where it fits, else a name a line, as ruff has it."""
    line = f'({", ".join(map(repr, names))}{"," * (len(names) == 1)})'
    if len(line) < 90:
        return line
    return '(\n' + ''.join(f'    {name!r},\n' for name in names) + ')'


def literal(value, indent: int = 0) -> str:
    """A value as a config has it: ``dict(a=1)``, on one line where it fits."""
    if not isinstance(value, dict):
        if isinstance(value, list | tuple) and any(isinstance(inner, dict) for inner in value):
            return f'[{", ".join(literal(inner, indent) for inner in value)}]'
        return repr(value)
    items = [f'{key}={literal(inner, indent + 4)}' for key, inner in value.items()]
    line = f'dict({", ".join(items)})'
    if len(line) + indent < 100 and '\n' not in line:
        return line
    space = ' ' * (indent + 4)
    return 'dict(\n' + ''.join(f'{space}{item},\n' for item in items) + ' ' * indent + ')'


_BACKBONE = '''"""{name}: {words}.

Weights: {weights}
"""

backbone = {backbone}
# As the weights know them: {pixels}.
pixels = {preprocessor}
'''


def _backbone(one: Setting) -> str:
    checkpoint = '{{ fileDirname }}/../' + WEIGHTS
    init = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
    norm = dict(norm_eval=True) if one.swaps_norm else {}
    pixels = dict(mean=list(one.pixels.mean), std=list(one.pixels.std), bgr_to_rgb=one.pixels.rgb)
    return _BACKBONE.format(
        name=one.name,
        words=one.backbone.words,
        weights=one.weights,
        backbone=literal(one.backbone.cfg | norm | dict(init_cfg=init)),
        pixels=one.pixels.source,
        preprocessor=literal(pixels),
    )


_FPN = '''"""{kind} with FPN and GN for {name}, the smaller detector: {channels} channels behind the backbone."""

_base_ = ['rethink::_base_/models/{base}_own_fpn_gn.py', './backbone.py']

channels = {channels}
num_classes = {classes}
model = dict(
    data_preprocessor=_base_.pixels,
    backbone=_base_.backbone,
    neck=dict(in_channels={maps}, out_channels=channels),
    # Anchors of {side} to {largest} pixels; a tenth of the objects are below {small}.
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[{anchors}])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(in_channels=channels, conv_out_channels=channels, num_classes=num_classes),
{mask}    ),
)
'''
_MASK = """        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(in_channels=channels, conv_out_channels=channels, num_classes=num_classes),
"""


def _fpn(one: Setting) -> str:
    small = np.percentile(one.parts['train'].sides(one.size), SMALL)
    return _FPN.format(
        kind=one.kind,
        name=one.name,
        base='mask_rcnn' if one.masks else 'faster_rcnn',
        channels=one.channels,
        classes=len(one.parts['train'].data.classes),
        maps=list(one.backbone.channels),
        anchors=one.anchors,
        side=4 * one.anchors,
        largest=64 * one.anchors,
        small=f'{small:.0f}',
        mask=_MASK if one.masks else '',
    )


_CASCADE = '''"""Cascade R-CNN with NAS-FPN for {name}, the larger detector: more behind the backbone of fpn.py."""

_base_ = ['./fpn.py', 'rethink::_base_/models/cascade_stages.py']

model = dict(
    neck=dict(type='NASFPN', stack_times=3),
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=_base_.stage_loss_weights,
        bbox_head=[
            dict(
                _base_.model.roi_head.bbox_head,
                bbox_coder=dict(_base_.model.roi_head.bbox_head.bbox_coder, target_stds=stds),
                reg_class_agnostic=True,
            )
            for stds in _base_.stage_stds
        ],
    ),
    train_cfg=dict(
        rcnn=[dict(_base_.model.train_cfg.rcnn, assigner=assigner) for assigner in _base_.stage_assigners],
    ),
)
'''
_MASK_CASCADE = _CASCADE.replace('Cascade R-CNN', 'Cascade Mask R-CNN').replace(
    "'CascadeRoIHead'", "'LastStageMaskCascadeRoIHead'"
)

_SCHEDULE = '''"""1x on {name}: {iterations} iterations of {batch} images.

{rule}.
"""

_base_ = ['rethink::_base_/schedules/schedule_2x.py', 'rethink::_base_/shapes_runtime.py']

max_iters = {iterations}
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // {evaluations})
# Beside the last two, the weights of the best evaluation; the study is judged by the last one all the same.
default_hooks = dict(checkpoint=dict(interval=max_iters // {evaluations}, save_best='coco/bbox_mAP'))
# All parameters alike, as in MMDetection's configs and the miniatures.
optim_wrapper = dict(optimizer=dict(lr={lr:g}), paramwise_cfg=None)
# After 70 and 90 % of 1x; as on COCO, a longer schedule only adds iterations before them.
drops_before_end = (max_iters * 3 // 10, max_iters // 10)
milestones = [max_iters - left for left in drops_before_end]
param_scheduler = [
    dict(_base_.param_scheduler[0], end={warm_up}),
    dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones),
]
auto_scale_lr = dict(base_batch_size={batch})
'''
_LONG_SCHEDULE = '''"""{long}x on {name}: {number} iterations of {batch} images."""

_base_ = './schedule_1x.py'

max_iters = {long} * _base_.max_iters
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 10)
default_hooks = dict(checkpoint=dict(interval=max_iters // 10))
milestones = [max_iters - left for left in _base_.drops_before_end]
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones),
]
'''


def _schedule(one: Setting) -> str:
    least, most = _WARM_UP
    return _SCHEDULE.format(
        name=one.name,
        iterations=one.iterations,
        batch=one.batch,
        rule=fill(one.rule, 118),
        evaluations=EVALUATIONS,
        lr=one.lr,
        warm_up=min(most, max(least, one.iterations // 20)),
    )


_ARM = '''"""{name}: {what}, {length}.

Run: python tools/train.py {name}/{file}.py
"""

{body}'''


def _arms(one: Setting, detector: str, length: str) -> dict[str, str]:
    model = dict(fpn=f'{one.kind} FPN', cascade=f'Cascade {"Mask " * one.masks}R-CNN NAS-FPN')[detector]
    base = f'finetune_{detector}_{length}'
    of = one.backbone.cfg['type']
    scratch = dict(init_cfg=one.backbone.first)
    if one.swaps_norm:
        scratch |= dict(norm_eval=False, norm_cfg=dict(type='GN', num_groups=32, requires_grad=True))
    bodies = {
        'finetune': f"_base_ = ['./_base_/{detector}.py', './_base_/data.py', './_base_/schedule_{length}.py']\n",
        'scratch': f"_base_ = './{base}.py'\n\nmodel = dict(backbone={literal(scratch)})\n",
        'freeze': f"_base_ = './{base}.py'\n\nmodel = dict(backbone=dict(type='FrozenBackbone', of='{of}'))\n",
    }
    how = dict(
        finetune=f'{one.backbone.name} fine-tuned',
        scratch=f'{one.backbone.name} from random weights',
        freeze=f'{one.backbone.name} frozen',
    )
    return {
        f'{init}_{detector}_{length}': _ARM.format(
            name=one.name, what=f'{model}, {how[init]}', length=length, file=f'{init}_{detector}_{length}', body=body
        )
        for init, body in bodies.items()
    }


# --- the study -------------------------------------------------------------------------------------------------------

_STUDY = """# Written by: {command}
# python tools/study.py plan|run|status|report {name}     (docs/studies.md, docs/your_data.md)
title: What pre-training is worth on {name}
question: Is a detector on {name} better that begins with {backbone} than one from random weights?
about: >-
{about}
metric: coco/bbox_mAP
seeds: {seeds}
{amp}
factors:
  # The longest first, so that two at a time end together.
  length: [6x, 1x]
  detector: [{detectors}]
  init: [finetune, scratch, freeze]

runs:
{hpt}  '{{init}}_{{detector}}_{{length}}': {{}}

figures:
  - {{x: length, panel: detector}}
{gains}
claims:
  'with {{detector}}, after the short schedule pre-training is ahead': >-
    finetune_{{detector}}_1x > scratch_{{detector}}_1x
  'with {{detector}}, after the long schedule training from scratch is at most a point behind, or ahead': >-
    scratch_{{detector}}_6x > finetune_{{detector}}_6x - 1
  'with {{detector}}, after {{length}}, freezing is ahead of fine-tuning': >-
    freeze_{{detector}}_{{length}} > finetune_{{detector}}_{{length}}
{capacity}{own}
# Which configs are compared, and the factors in which they may differ (docs/configs.md).
comparisons:
  - pair: ['finetune_{{x:.+}}', 'scratch_{{x}}']
    differ: [{scratch}]
  - pair: ['finetune_{{x:.+}}', 'freeze_{{x}}']
    differ: [freezing]
  - pair: ['{{init}}_{{detector}}_1x', '{{init}}_{{detector}}_6x']
    differ: [length]
"""
_GAINS = """
# AP class by class.
gains:
  - ['scratch_{detector}_6x', 'finetune_{detector}_6x']
"""
_CAPACITY_CLAIM = """  'after {length}, the larger detector is better for freezing than for fine-tuning': >-
    freeze_cascade_{length} - finetune_cascade_{length} > freeze_fpn_{length} - finetune_fpn_{length}
"""
_CAPACITY = """  - pair: ['{init}_fpn_{length}', '{init}_cascade_{length}']
    differ: [capacity]
"""


def _study(one: Setting) -> str:
    classes = one.parts['train'].data.classes
    named = ', '.join(classes[:6]) + (f' and {len(classes) - 6} more' if len(classes) > 6 else '')
    numbers = [one.parts[part].number for part in ('train', 'val')]
    about = f'{one.kind} on {numbers[0]} images of {one.name} ({named}), validated on {numbers[1]}. {one.rule}.'
    both = len(one.detectors) > 1
    text = _STUDY.format(
        command=one.command,
        name=one.name,
        backbone=one.backbone.name,
        about=fill(about, 116, initial_indent='  ', subsequent_indent='  ', break_long_words=False),
        seeds=list(one.seeds),
        amp='# Mixed precision, as train.py --amp.\namp: true\n' if one.amp else '',
        detectors=', '.join(sorted(one.detectors)),
        hpt=hpt.runs(one) if one.unlabelled else '',
        own=hpt.claims(one) if one.unlabelled else '',
        gains=_GAINS if len(classes) > 1 else '',
        capacity=_CAPACITY_CLAIM if both else '',
        scratch='initialisation, freezing, normalisation' if one.swaps_norm else 'initialisation',
    )
    return text + (_CAPACITY if both else '') + (hpt.COMPARED if hpt.arms(one) > 1 else '') + _alone(one)


def _alone(one: Setting) -> str:
    if hpt.arms(one) != 1:
        return ''
    return f'\nalone:\n  {hpt.WHOLE}: MoCo v2 on own images, where B+T begins; the backbone has no BN to train alone\n'


def differing(new: Path, old: Path) -> Iterable[str]:
    """Names of files that are not the same in two folders."""
    names = [{str(file.relative_to(folder)) for file in folder.rglob('*') if file.is_file()} for folder in (new, old)]
    kept = [{name for name in found if '__pycache__' not in name and not name.startswith('.')} for found in names]
    for name in sorted(kept[0] | kept[1]):
        both = all((folder / name).is_file() for folder in (new, old))
        if not both or (new / name).read_bytes() != (old / name).read_bytes():
            yield name
