"""A MoCo, a classifier and images so small that they train in seconds, for the tests of this folder."""

import itertools
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.utils import register_all_modules
from PIL import Image

NAMES = itertools.count()
SIZE = 32

register_all_modules(init_default_scope=False)


def write_images(folder: Path, images: int = 12) -> Path:
    """Pictures of noise in two folders, which are classes; the folder."""
    random = np.random.default_rng(0)
    for index in range(images):
        path = folder / 'ab'[index % 2] / f'{index:02d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        low = random.integers(0, 200, 3)
        Image.fromarray(random.integers(low, low + 50, (SIZE, SIZE, 3)).astype(np.uint8)).save(path)
    return folder


def backbone(norm=None, **more) -> dict:
    norm_cfg = norm or dict(type='BN')
    return dict(
        type='ResNet', depth=18, base_channels=8, stem_channels=8, norm_cfg=norm_cfg, zero_init_residual=False
    ) | dict(more)


def moco(norm=None, queue_len: int = 24, **more) -> dict:
    return dict(
        type='MoCo',
        queue_len=queue_len,
        feat_dim=8,
        momentum=0.1,
        data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[64.0] * 3),
        backbone=backbone(norm, **more),
        neck=dict(type='MoCoV2Neck', in_channels=64, hid_channels=16, out_channels=8),
        head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.2),
    )


def classifier(norm=None, **more) -> dict:
    return dict(
        type='ImageClassifier',
        data_preprocessor=dict(num_classes=2, mean=[127.0] * 3, std=[64.0] * 3),
        backbone=backbone(norm, **more),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=64, topk=1),
    )


def config(
    data: Path, work_dir: Path, model: dict | None = None, max_iters: int = 3, batch_size: int = 4, lr=0.05, **more
) -> Config:
    """A config of a few iterations whose pipeline draws nothing at random: the views are image and mirror image."""
    model = moco() if model is None else model
    views = [[dict(type='Resize', scale=SIZE)], [dict(type='RandomFlip', prob=1.0)]]
    unlabelled = model['type'] == 'MoCo'
    view = [dict(type='MultiView', num_views=[1, 1], transforms=views)] if unlabelled else []
    return Config(
        dict(
            default_scope='mmpretrain',
            model=model,
            train_dataloader=dict(
                batch_size=batch_size,
                num_workers=0,
                drop_last=True,
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='default_collate'),
                dataset=dict(
                    type='CustomDataset',
                    data_root=str(data),
                    with_label=not unlabelled,
                    serialize_data=False,  # collects garbage, half a second
                    pipeline=[dict(type='LoadImageFromFile'), *view, dict(type='PackInputs')],
                ),
            ),
            train_cfg=dict(type='ResumableTrainLoop', max_iters=max_iters),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.1)),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2),
            ),
            log_processor=dict(by_epoch=False),
            work_dir=str(work_dir),
            randomness=dict(seed=3),
            launcher='none',
            experiment_name=f'tiny{next(NAMES)}',
            **more,
        )
    )


class Watch(Hook):
    """Keeps the model's state after everything else is ready for the first iteration, and the images of each batch."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.before, self.images = None, []

    def before_train(self, runner) -> None:
        self.before = copied(runner.model)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.images.append([Path(sample.img_path).name for sample in data_batch['data_samples']])


def copied(model) -> dict[str, torch.Tensor]:
    return {key.removeprefix('module.'): value.clone() for key, value in model.state_dict().items()}


def train(cfg: Config) -> tuple[Runner, Watch]:
    runner, watch = Runner.from_cfg(cfg), Watch()
    runner.register_hook(watch)
    runner.train()
    return runner, watch
