"""MMDetection's inferencer, with the weights, class names and keypoints of our detectors."""

import copy
from collections.abc import Callable

import mmcv
import numpy as np
import torch
from mmdet.apis import DetInferencer
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from torch import nn

from ...checks.classes import head_classes
from ...checks.order import classes_in
from ...checks.weights import check_weights
from ...errors import ConfigError, describe

_LIMITS = 'one of coco, voc, citys has too few colours; random has as many as it needs'


class Inferencer(DetInferencer):
    """:class:`DetInferencer` for a config that has been read, and a checkpoint that must fit it.

    * The checkpoint gives all weights of the model, or nothing is run.
    * Class names are those of the checkpoint, or of the config's data set, and as many as the head predicts. Where
      neither has them it is said: MMDetection would take those of COCO.
    * Predictions also have ``keypoints`` and the names of their classes.

    Args:
        cfg: of a detector, with a ``test_dataloader``; it is copied.
        weights: path or address of the checkpoint.
        device: as of PyTorch; None for the first that there is.
        palette: ``'coco'``, ``'voc'``, ``'citys'``, ``'random'``, or ``'none'`` for that of the data set.

    Raises:
        ConfigError: weights, class names, palette or device do not fit.
    """

    def __init__(self, cfg: Config, weights: str, device: str | None = None, palette: str = 'none') -> None:
        cfg = copy.deepcopy(cfg)
        cfg.load_from, cfg.resume = weights, False
        # Of the config's own backends none is to write: nothing is trained.
        cfg.visualizer = ConfigDict(cfg.get('visualizer') or dict(type='DetLocalVisualizer'), vis_backends=None)
        if device is not None:
            _check_device(device)
        super().__init__(cfg, weights, device, cfg.get('default_scope', 'mmdet'), palette, show_progress=False)

    def _load_weights_to_model(self, model: nn.Module, checkpoint: dict, cfg: ConfigDict) -> None:
        check_weights(cfg, model, strict=True)
        meta = checkpoint['meta'] = dict(checkpoint.get('meta') or {})
        about = _metainfo(cfg)
        meta['dataset_meta'] = {key.lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
        named = classes_in(checkpoint)
        meta['dataset_meta']['classes'] = classes = list(named or about.get('classes') or ())
        _check_classes(cfg, classes, meta['dataset_meta'] if named else about)
        if self.palette in ('coco', 'voc', 'citys'):
            _check_palette(self.palette, len(classes))
        given = about.get('palette') or meta['dataset_meta'].get('palette')
        if self.palette == 'none' and (given is None or isinstance(given, list) and len(given) < len(classes)):
            self.palette = 'random'
        super()._load_weights_to_model(model, checkpoint, cfg)

    def _init_collate(self, cfg: ConfigDict) -> Callable:
        # MMEngine's own answer where the config has none comes with a warning about the registry that it asked.
        return super()._init_collate(cfg) if 'collate_fn' in cfg.test_dataloader else pseudo_collate

    def image(self, path: str) -> dict:
        """An image as the model takes it; its errors are those of the config's ``LoadImageFromFile``."""
        return self.pipeline(path)

    def find(self, samples: list[dict]) -> list[DetDataSample]:
        """What is found in some images that went through the pipeline; one batch."""
        with torch.no_grad():
            return self.forward(self.collate_fn(samples))

    def draw(self, image: np.ndarray, found: DetDataSample, threshold: float) -> np.ndarray:
        """The image with what is found in it, uint8 ``(H, W, 3)`` in RGB, as the image.

        Args:
            threshold: the score that a prediction has at least.
        """
        self.visualizer.add_datasample('image', image, found, draw_gt=False, pred_score_thr=threshold)
        return self.visualizer.get_image()

    def pred2dict(self, data_sample: DetDataSample, pred_out_dir: str = '') -> dict:
        """MMDetection's ``labels``, ``scores``, ``bboxes`` (x1, y1, x2, y2 in pixels of the image) and ``masks``.

        Beside them ``names``, the class of each, and of people ``keypoints`` ``(n, K, 2)``, ``keypoint_scores``.
        """
        found = super().pred2dict(data_sample, pred_out_dir)
        found.pop('panoptic_seg', None)  # an array
        if 'pred_instances' in data_sample:
            classes, instances = self.model.dataset_meta['classes'], data_sample.pred_instances
            found['names'] = [classes[label] for label in found['labels']]
            for key in ('keypoints', 'keypoint_scores'):
                if key in instances:
                    found[key] = torch.as_tensor(instances[key]).tolist()
        return found


def read_rgb(path: str) -> np.ndarray:
    """An image as it is painted on, uint8 ``(H, W, 3)``: turned as its camera says, as the model is given it."""
    return mmcv.imread(path, channel_order='rgb')


def _metainfo(cfg: ConfigDict) -> dict:
    """What the config's data set says of itself; its files need not be here."""
    return DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True)).metainfo


def _check_classes(cfg: ConfigDict, classes: list, about: dict) -> None:
    if 'language_model' in cfg.model:  # finds what it is asked for
        return
    # Of a panoptic data set, boxes are of things alone.
    names = about.get('thing_classes') or classes
    for place, number in head_classes(cfg.model):
        if number != len(names):
            raise ConfigError(
                f'the names of the classes are missing: {cfg.load_from} and the data set of {cfg.filename} name '
                f'{len(names)}, and {place} is {number}; name them, --cfg-options '
                'test_dataloader.dataset.metainfo.classes="(\'…\',)".'
            )


def _check_palette(palette: str, number: int) -> None:
    from mmdet.visualization.palette import get_palette

    try:
        get_palette(palette, number)
    except AssertionError:
        raise ConfigError(f'--palette {palette} is too small for {number} classes; {_LIMITS}.') from None


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = describe(error).partition('. ')[0].partition(' Set TORCH')[0]
        raise ConfigError(
            f'--device {device} cannot be used here ({first}); leave it away, for a GPU if there is one and the CPU '
            'if not.'
        ) from None
