"""A batch for any detector or classifier, without a data set, and values that make all of its steps alike.

What a two-stage detector computes depends on the proposals that its first stage happens to find. Here features and
proposals are generated, so that every step samples as many RoIs as its config asks for, with as many positives, and so
that two configs that differ in their backbone's training alone do the same work behind it.
"""

import numpy as np
import torch
from mmdet.models import BaseDetector
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

# Objects on each image; train2017 has 7.3.
OBJECTS = 7


def entries(tree, key: str) -> list:
    """The values of ``key`` wherever it is in a nested config, in order."""
    found = []
    for name, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if name == key:
            found.append(value)
        elif isinstance(value, dict | list | tuple):
            found += entries(value, key)
    return found


def generate_batch(cfg: dict, model: nn.Module, shape: tuple[int, int], batch: int) -> dict:
    """What a data loader gives ``model.data_preprocessor``: noise, with objects and what the heads of ``cfg`` ask for.

    An image of a detector has :data:`OBJECTS` objects, rectangles with sides of 1/16 to 1/2 of the image, with masks,
    keypoints (inside the box, all visible) where there is a head for them, and a semantic map of a single class; an
    image of a classifier has a label. It is the same from call to call.

    Args:
        cfg: of the model.
        model: built from it.
        shape: height and width of the images, in pixels.
        batch: images.

    Returns:
        ``inputs``: uint8 (3, H, W) for each image; ``data_samples``.
    """
    random = torch.Generator().manual_seed(0)
    # No detector sees fewer classes than its smallest head.
    classes = min([value for value in entries(cfg, 'num_classes') if isinstance(value, int)], default=1)
    make = _detection_sample if isinstance(model, BaseDetector) else _classification_sample
    images = [torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=random) for _ in range(batch)]
    return dict(inputs=images, data_samples=[make(cfg, shape, classes, index, random) for index in range(batch)])


def _classification_sample(cfg: dict, shape: tuple[int, int], classes: int, index: int, random: torch.Generator):
    from mmpretrain.structures import DataSample

    sample = DataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
    return sample.set_gt_label([index % classes])


def _detection_sample(
    cfg: dict, shape: tuple[int, int], classes: int, index: int, random: torch.Generator
) -> DetDataSample:
    height, width = shape
    scale = torch.tensor([width, height], dtype=torch.float32)
    sides = torch.empty(OBJECTS, 2).uniform_(1 / 16, 1 / 2, generator=random)
    corners = torch.rand(OBJECTS, 2, generator=random) * (1 - sides)
    boxes = torch.cat([corners * scale, (corners + sides) * scale], 1)
    objects = InstanceData(bboxes=boxes, labels=torch.arange(OBJECTS) % classes)
    masks = np.zeros((OBJECTS, height, width), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.round().int().tolist(), strict=True):
        mask[top : bottom + 1, left : right + 1] = 1
    objects.masks = BitmapMasks(masks, height, width)
    keypoints = max(entries(cfg, 'num_keypoints'), default=0)
    if keypoints:
        places = torch.rand(OBJECTS, keypoints, 2, generator=random)
        places = boxes[:, None, :2] + places * (boxes[:, None, 2:] - boxes[:, None, :2])
        objects.keypoints = torch.cat([places, torch.full((OBJECTS, keypoints, 1), 2.0)], 2)
    sample = DetDataSample(
        metainfo=dict(
            img_id=index,
            img_path='',
            img_shape=shape,
            ori_shape=shape,
            scale_factor=(1.0, 1.0),
            flip=False,
            flip_direction=None,
            border=[0, height, 0, width],  # CenterNet
        )
    )
    sample.gt_instances = objects
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, height, width, dtype=torch.long))
    return sample


def generate_proposals(objects: Tensor, shape: tuple[int, int], number: int) -> Tensor:
    """Proposals for an image of which as many as a sampler wants are positive, and the others are negative.

    Half of them lie on the objects (IoU above 0.9, which every stage of a cascade takes for positive), the others have
    an IoU of less than 0.3 with each of them.

    Args:
        objects: (N, 4), boxes of the image, N at least 1.
        shape: height and width of the image.
        number: of proposals.

    Returns:
        (number, 4), in the dtype and on the device of ``objects``.
    """
    random = torch.Generator().manual_seed(1)
    boxes = objects.cpu().float()
    on = boxes[torch.arange(number // 2) % len(boxes)]
    sides = (on[:, 2:] - on[:, :2]).repeat(1, 2)
    on = on + sides * torch.empty(len(on), 4).uniform_(-0.01, 0.01, generator=random)
    found, missing = [on], number - len(on)
    scale = torch.tensor([shape[1], shape[0]], dtype=torch.float32)
    while missing > 0:
        # Small ones, so that there is room beside the objects.
        sides = torch.empty(2 * missing, 2).uniform_(0.02, 0.1, generator=random)
        corners = torch.rand(2 * missing, 2, generator=random) * (1 - sides)
        off = torch.cat([corners * scale, (corners + sides) * scale], 1)
        off = off[bbox_overlaps(off, boxes).amax(1) < 0.3][:missing]
        found.append(off)
        missing -= len(off)
    return torch.cat(found).to(objects)
