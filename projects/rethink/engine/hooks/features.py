"""Features of a frozen backbone, computed once for each image and not once for each time that it is seen."""

import contextlib
import hashlib
import json
import time
from pathlib import Path

import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import barrier, broadcast_object_list, collect_results, get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from ...errors import ConfigError
from ...files import exclusively, write_atomically
from ...models.feature_classifier import FeatureClassifier
from ...trust.checkpoints import read_content
from ...trust.tensors import check_tensors
from .norm import bn_layers, unwrapped

# Transforms that make the same of an image each time.
_DETERMINISTIC = {'LoadImageFromFile', 'Resize', 'ResizeEdge', 'CenterCrop', 'PackInputs'}


class FeatureSet(Dataset):
    """A data set that gives features in place of its images.

    Args:
        images: MMEngine's, whose pipeline ends with ``PackInputs``.
        features: (N, C), of each of its images.
    """

    def __init__(self, images: BaseDataset, features: Tensor) -> None:
        self.images = images
        self.features = features
        self.metainfo = images.metainfo

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict:
        """``inputs`` (C,) and the image's ``data_samples``, for which no image is read."""
        sample = self.images.pipeline.transforms[-1](self.images.get_data_info(index))
        return dict(inputs=self.features[index], data_samples=sample['data_samples'])


def always_the_same(dataset) -> bool:
    """Whether a data set gives the same for an image each time: no step of its pipeline draws."""
    if not isinstance(dataset, BaseDataset):
        return False
    steps = [type(step).__name__ for step in dataset.pipeline.transforms]
    return steps[-1:] == ['PackInputs'] and set(steps) <= _DETERMINISTIC


@HOOKS.register_module()
class FrozenFeaturesHook(Hook):
    """Compute what a frozen backbone makes of an image once, wherever nothing augments the images.

    In linear evaluation the backbone is frozen, so that it makes the same features of the same image each time. Before
    the first iteration this hook runs all images of each of the training, validation and test sets whose pipeline has
    no random step through backbone and neck, in float32 and in evaluation mode. From then on the model, a
    :class:`~rethink.models.feature_classifier.FeatureClassifier`, is given features. With augmentation in training
    these are validation and test alone, whose evaluations then cost next to nothing; without, training is that of a
    linear layer. Results are those of images, to the precision of float32. The order of images stays.

    Features are kept in ``<folder>/<train, val or test>.pt``, for trainings that share the folder and for a resumed
    one. Weights, preprocessing, pipeline and list of images are part of a file's key: features of anything else are
    computed anew and replace it. What is not noticed is an image file that was exchanged.

    Args:
        folder: ``<work_dir>/features`` if None.

    Raises:
        ConfigError: (before training) the backbone is not frozen, its BN is not in evaluation mode, or the model is
            not a ``FeatureClassifier``.
    """

    # After the weights (InitFromBaseHook), before the evaluation of a resumed checkpoint.
    priority = 'HIGH'

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    def before_train(self, runner) -> None:
        model = unwrapped(runner.model)
        _check_frozen(model)
        folder = Path(self.folder or Path(runner.work_dir) / 'features')
        folder.mkdir(parents=True, exist_ok=True)
        loops = dict(train=runner.train_loop, val=runner.val_loop, test=getattr(runner.val_loop, 'test_loop', None))
        for part, loop in loops.items():
            loader = loop and loop.dataloader
            if loader is None or not always_the_same(loader.dataset):
                continue
            start = time.monotonic()
            features, computed = features_of(model, loader, folder / f'{part}.pt', _key(runner.cfg, model, loader))
            runner.logger.info(
                f'Features of {len(features)} {part} images: {"computed and kept in" if computed else "read from"} '
                f'{folder / f"{part}.pt"} in {time.monotonic() - start:.0f} s.'
            )
            # PyTorch forbids to exchange the data set of a loader, but none of these has started. Processes that only
            # hand over features would cost more than they save.
            loader.__dict__.update(dataset=FeatureSet(loader.dataset, features), num_workers=0)


def _check_frozen(model: nn.Module) -> None:
    if not isinstance(model, FeatureClassifier):
        raise ConfigError(
            f'FrozenFeaturesHook gives features to a FeatureClassifier, and the model is a {type(model).__name__}; '
            "set model.type='FeatureClassifier' or take the hook away."
        )
    model.train()
    trained = [name for name, one in model.backbone.named_parameters() if one.requires_grad]
    awake = [name for name, layer in bn_layers(model.backbone).items() if layer.training]
    if trained or awake:
        raise ConfigError(
            f'FrozenFeaturesHook needs a frozen backbone, and backbone.{(trained or awake)[0]} '
            f'{"is trained" if trained else "normalises by batches"}; set frozen_stages=4 and norm_eval=True in the '
            'backbone, or take the hook away.'
        )


def _key(cfg, model: nn.Module, loader: DataLoader) -> str:
    """Of all that features depend on."""
    digest = hashlib.sha256()
    made_by = [cfg.model.get(part) for part in ('data_preprocessor', 'backbone', 'neck')]
    digest.update(json.dumps(made_by, default=str, sort_keys=True).encode())
    digest.update(repr(loader.dataset.pipeline).encode())
    for index in range(len(loader.dataset)):
        digest.update(loader.dataset.get_data_info(index)['img_path'].encode() + b'\n')
    for name, value in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def features_of(model: nn.Module, loader: DataLoader, path: Path, key: str) -> tuple[Tensor, bool]:
    """(N, C) features of a loader's images, in the order of its data set, from the file or computed into it.

    Several processes share the work. Another run that computes into the same folder is waited for.

    Returns:
        features, mapped from the file, and whether they were computed now.
    """
    # The first process holds the folder.
    with exclusively(path.parent, wait=True) if is_main_process() else contextlib.nullcontext():
        found = [_read(path, key) is not None]
        broadcast_object_list(found)
        if not found[0]:
            features = _compute(model, loader)
            if is_main_process():
                content = dict(key=key, features=features)
                write_atomically(path, lambda file: torch.save(content, file))
        barrier()
    return _read(path, key), not found[0]


def _read(path: Path, key: str) -> Tensor | None:
    try:
        content = read_content(str(path), 'features')
        features = content['features'] if isinstance(content, dict) and content.get('key') == key else None
        if features is not None:
            check_tensors(dict(features=features), str(path))
    except (ConfigError, KeyError):  # not there, not whole, damaged, or not finite
        return None
    return features if isinstance(features, Tensor) and features.dim() == 2 else None


@torch.no_grad()
def _compute(model: nn.Module, loader: DataLoader) -> Tensor | None:
    """Features of all images, in the first process."""
    rank, world = get_dist_info()
    number = len(loader.dataset)
    # As many for each process, the last perhaps twice.
    own = Subset(loader.dataset, [index % number for index in range(rank, -(-number // world) * world, world)])
    batches = DataLoader(
        own,
        batch_size=loader.batch_sampler.batch_size,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
    )
    model.eval()
    progress = ProgressBar(len(batches)) if is_main_process() else None
    features = []
    for batch in batches:
        inputs = model.data_preprocessor(batch, False)['inputs']
        features += model.extract_feat(inputs)[-1].float().cpu().unbind()
        if progress:
            progress.update()
    if progress:
        progress.file.write('\n')
    # Dealt out in turn, which is the order in which they are collected.
    everything = collect_results(features, number, 'cpu')
    return torch.stack(everything) if is_main_process() else None
