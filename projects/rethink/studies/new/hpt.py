"""Self-supervised pre-training on a user's own images, from the same weights, as study B has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigError

LISTED = 'unlabelled.txt'
BATCH = 64
# The length in epochs of the user's images, and its bounds in iterations; the upper one is that of HPT.
_EPOCHS, _LEAST, _MOST = 100, 100, 5_000
_QUEUE = 65_536
# A view's side is a part of the shorter side of an image, in steps and bounds; HPT's is 224.
_VIEW, _STEP, _SMALLEST, _LARGEST = 0.4, 32, 64, 224
WHOLE, BN = 'pretrain_moco', 'pretrain_moco_bnonly'


@dataclass(frozen=True)
class Unlabelled:
    """Images without labels.

    Args:
        folder: that they are below.
        names: below it.
        source: what they are, for a sentence.
    """

    folder: Path
    names: Sequence[str]
    source: str

    @property
    def iterations(self) -> int:
        """Of 64 images."""
        return min(_MOST, max(_LEAST, round(_EPOCHS * len(self.names) / BATCH / 10) * 10))

    @property
    def queue(self) -> int:
        """Keys: whole batches, no more than there are images."""
        return min(_QUEUE, len(self.names) // BATCH * BATCH)

    @property
    def words(self) -> str:
        epochs = self.iterations * BATCH / len(self.names)
        return (
            f'self-supervised: MoCo v2 from the same weights on {len(self.names)} images ({self.source}), '
            f'{self.iterations} iterations of {BATCH}, {epochs:.0f} epochs'
        )

    def check(self) -> None:
        """
        Raises:
            ConfigError: they do not fill a batch.
        """
        if len(self.names) < BATCH:
            raise ConfigError(
                f'{self.folder} has {len(self.names)} images ({self.source}), and --hpt needs {BATCH} or more; name '
                'more with --unlabelled.'
            )


_BASE = '''"""MoCo v2 on {number} images of {name}: {iterations} iterations of {batch}, {epochs:.0f} epochs.

SGD with HPT's learning rate of 0.03 for 256 images, scaled to {batch}, cosine to 0.
"""

_base_ = [
    'rethink::_base_/models/moco_own.py',
    'rethink::_base_/datasets/moco_views.py',
    'rethink::_base_/schedules/moco_5ki.py',
    'rethink::_base_/moco_runtime.py',
    './backbone.py',
]

pixels = _base_.pixels
model = dict(
    queue_len={queue},
    momentum={momentum},
    data_preprocessor=dict(mean=pixels.mean, std=pixels.std, to_rgb=pixels.bgr_to_rgb),
    # The last map alone; weights come by the hook.
    backbone=dict(_base_.backbone, type='WithSplitBN', of=_base_.backbone.type, {last}, init_cfg=None),
    neck=dict(in_channels={channels}),
)

size = {size}
crop, *colours, blur, flip = _base_.view
blur = dict(blur, magnitude_range=(0.1, 2.0 * size / _base_.view_size))
view = [dict(crop, scale=size), *colours, blur, flip]
pipeline = [_base_.pipeline[0], dict(_base_.pipeline[1], transforms=[view]), _base_.pipeline[2]]
train_dataloader = dict(
    batch_size={batch},
    num_workers=1,
    dataset=dict(
        type='CustomDataset',
        data_root={folder!r},
        data_prefix='',
        ann_file='{{{{ fileDirname }}}}/../annotations/{listed}',
        with_label=False,
        pipeline=pipeline,
    ),
)

max_iters = {iterations}
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=0.03 * {batch} / 256))
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
default_hooks = dict(checkpoint=dict(interval=max_iters // 10, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size={batch})
'''
_WHOLE = '''"""{name}: MoCo v2 on its images without labels, beginning with the weights of {backbone} (Base+Target).

Run: python tools/train.py {name}/pretrain_moco.py
"""

_base_ = './_base_/moco.py'

custom_hooks = [dict(type='InitFromBaseHook', checkpoint='{{{{ fileDirname }}}}/weights.pth'), *_base_.custom_hooks]
'''
_BN_ALONE = '''"""{name}: as pretrain_moco.py, of {backbone} BN alone is trained (HPT-BN).

Run: python tools/train.py {name}/pretrain_moco_bnonly.py
"""

_base_ = './pretrain_moco.py'

custom_hooks = [*_base_.custom_hooks, dict(type='TrainBNOnlyHook', also=['neck'])]
'''
COMPARED = """  - pair: [pretrain_moco, pretrain_moco_bnonly]
    differ: [freezing]
"""


def files(one) -> dict[str, str]:
    """Name below the folder -> text; of a :class:`.folder.Setting` with unlabelled images."""
    images = one.unlabelled
    side = round(_VIEW * one.size[1] / _STEP) * _STEP
    found = {
        '_base_/moco.py': _BASE.format(
            name=one.name,
            number=len(images.names),
            iterations=images.iterations,
            batch=BATCH,
            epochs=images.iterations * BATCH / len(images.names),
            queue=images.queue,
            # HPT's is for 5k iterations; in few the key encoder follows ten times as fast, as in shapes.
            momentum=0.001 if images.iterations >= 1_000 else 0.01,
            last=_last(one.backbone.cfg),
            channels=one.backbone.channels[-1],
            size=min(_LARGEST, max(_SMALLEST, side)),
            folder=f'{images.folder}/',
            listed=LISTED,
        ),
        f'{WHOLE}.py': _WHOLE.format(name=one.name, backbone=one.backbone.name),
        f'annotations/{LISTED}': ''.join(f'{name}\n' for name in images.names),
    }
    if one.backbone.batch_norm:
        found[f'{BN}.py'] = _BN_ALONE.format(name=one.name, backbone=one.backbone.name)
    return found


def _last(backbone: dict) -> str:
    if 'nodes' in backbone:
        return f'nodes={backbone["nodes"][-1:]!r}'
    return f'out_indices={backbone["out_indices"][-1:]!r}'


def runs(one) -> str:
    """Of study.yml: the two pre-trainings, and the detectors that begin with them."""
    found = f'  {WHOLE}: {{}}\n' + _RUN.format('B+T', WHOLE)
    return found + (f'  {BN}: {{}}\n' + _RUN.format('B+T-BN', BN) if one.backbone.batch_norm else '')


_RUN = """  '{0}_{{detector}}_{{length}}':
    config: finetune_{{detector}}_{{length}}
    options: {{model.backbone.init_cfg.checkpoint: '{{backbone:{1}}}'}}
"""
_CLAIM = """  'with {{detector}}, after {{length}}, pre-training on own images{1} adds to the weights': >-
    {0}_{{detector}}_{{length}} > finetune_{{detector}}_{{length}}
"""


def claims(one) -> str:
    found = _CLAIM.format('B+T', '')
    return found + (_CLAIM.format('B+T-BN', ', of BN alone,') if one.backbone.batch_norm else '')


def arms(one) -> int:
    """Of each detector and length, beside those of the labelled images."""
    return 0 if one.unlabelled is None else 1 + one.backbone.batch_norm
