"""How many images, instances and pixels a whole training sees.

Rethinking ImageNet Pre-training, figure 2: a detector that trains from scratch for long sees far fewer images than one
that is pre-trained on ImageNet and fine-tuned, and about as many pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
from mmengine.config import Config

from . import pictures
from .markdown import markdown_table

# Of the paper's figure 2: 1.28 M images, 100 epochs, 224 x 224 pixels, one labelled object in each.
IMAGENET_IMAGES, IMAGENET_EPOCHS, IMAGENET_SIDE = 1_281_167, 100, 224
_PARTS = ('images', 'instances', 'pixels')


@dataclass
class Samples:
    """What a training sees, every repetition counted.

    Args:
        name: of the config.
        detection: images, instances (boxes that are no crowd) and pixels (of resized images, without padding).
        pretraining: the same for ImageNet; zeros where the backbone starts from random weights.
    """

    name: str
    detection: dict[str, float]
    pretraining: dict[str, float]

    def total(self, part: str) -> float:
        return self.detection[part] + self.pretraining[part]


def resized_pixels(width: int, height: int, step: dict) -> float:
    """Expected number of pixels of an image after a pipeline's ``Resize`` or ``RandomResize``.

    Args:
        step: the transform's config, ``keep_ratio=True``. ``RandomResize`` draws the shorter side uniformly from the
            whole numbers between those of its two scales.

    Raises:
        ValueError: a transform whose sizes are not known here.
    """
    kind = step['type'].split('.')[-1]
    if not step.get('keep_ratio') or kind not in ('Resize', 'RandomResize'):
        raise ValueError(
            f'the size of images after {step} is not known; only Resize and RandomResize with keep_ratio.'
        )
    scales = [step['scale']] if kind == 'Resize' else list(step['scale'])
    longs, shorts = zip(*[(max(scale), min(scale)) for scale in scales], strict=True)
    if min(longs) != max(longs):
        raise ValueError(f'the image size after {step} is not known; its scales differ in their longer side.')
    area, longer, shorter = width * height, max(width, height), min(width, height)
    return mean(area * min(longs[0] / longer, side / shorter) ** 2 for side in range(min(shorts), max(shorts) + 1))


def count(config: Config, annotations: dict, name: str = '') -> Samples:
    """Count what a training sees.

    Args:
        config: iteration-based, with a COCO data set and ``auto_scale_lr.base_batch_size`` images in an iteration.
        annotations: the content of its training annotation file.

    Raises:
        ValueError: the config counts in epochs, names no total batch size, or resizes in a way that is not known.
    """
    batch = config.get('auto_scale_lr', {}).get('base_batch_size')
    iterations = config.train_cfg.get('max_iters')
    if not batch or not iterations:
        raise ValueError(f'{name or config.filename} needs train_cfg.max_iters and auto_scale_lr.base_batch_size.')
    boxes = {}
    for one in annotations['annotations']:
        if not one.get('iscrowd'):
            boxes[one['image_id']] = boxes.get(one['image_id'], 0) + 1
    dataset = config.train_dataloader.dataset
    filters = dataset.get('filter_cfg') or {}
    # As CocoDataset filters: images without a box that is no crowd, and images that are too small.
    used = [
        image
        for image in annotations['images']
        if (image['id'] in boxes or not filters.get('filter_empty_gt'))
        and min(image['width'], image['height']) >= filters.get('min_size', 0)
    ]
    if not used:
        raise ValueError(f'{name or config.filename} has no image left to train on after its filter_cfg.')
    resize = [step for step in dataset.pipeline if 'Resize' in step['type']]
    sizes = {}
    for image in used:
        size = image['width'], image['height']
        if size not in sizes:
            sizes[size] = resized_pixels(*size, resize[0]) if resize else size[0] * size[1]
    images = iterations * batch
    detection = dict(
        images=images,
        instances=images * mean(boxes.get(image['id'], 0) for image in used),
        pixels=images * mean(sizes[image['width'], image['height']] for image in used),
    )
    # An init_cfg may also say how random weights are drawn.
    pretrained = 'Pretrained' in str(config.model.backbone.get('init_cfg'))
    seen = IMAGENET_IMAGES * IMAGENET_EPOCHS if pretrained else 0
    pretraining = dict(images=seen, instances=seen, pixels=seen * IMAGENET_SIDE**2)
    return Samples(name or Path(config.filename).stem, detection, pretraining)


def table(samples: list[Samples]) -> str:
    """Markdown: millions of images and instances, billions (10^9) of pixels, ImageNet's and the detector's."""
    lines = []
    for one in samples:
        cells = []
        for part, unit in zip(_PARTS, (1e6, 1e6, 1e9), strict=True):
            both = f'{one.pretraining[part] / unit:.1f} + ' if one.pretraining[part] else ''
            cells.append(f'{both}{one.detection[part] / unit:.1f}')
        lines.append([one.name, *cells])
    return markdown_table(('config', 'images, M', 'instances, M', 'pixels, 10^9'), lines)


def draw(samples: list[Samples], path: str | Path) -> list[Path]:
    """Bars as in the paper's figure 2, relative to the first config; the files that :func:`pictures.save` writes."""
    figure, axes = plt.subplots(1, 3, figsize=(8, 1.5 + 0.5 * len(samples)), layout='constrained', sharey=True)
    for axis, part in zip(axes, _PARTS, strict=True):
        whole = samples[0].total(part)
        names = [one.name for one in samples]
        first = [one.pretraining[part] / whole for one in samples]
        detection = [one.detection[part] / whole for one in samples]
        before, after = pictures.LOOKS[1], pictures.LOOKS[0]
        look = dict(edgecolor='white', linewidth=0.5)
        axis.barh(names, first, color=before.colour, hatch=before.hatch, label='ImageNet pre-training', **look)
        axis.barh(names, detection, left=first, color=after.colour, hatch=after.hatch, label='detection', **look)
        axis.set(title=part, xlabel=f'of {names[0]}' if axis is axes[1] else '')
        axis.spines[['top', 'right']].set_visible(False)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc='outside lower center', ncols=2)
    files = pictures.save(figure, path)
    plt.close(figure)
    return files
