"""torchvision's Mask R-CNN, of the size of ours, as the benchmarks of steps take it."""

import functools

import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads


class TorchvisionMaskRCNN(nn.Module):
    """Mask R-CNN R50-FPN with GN everywhere and the heads of ``rethink/scratch_r50_gn_2x``, random weights.

    It has one convolution in the RPN, and 1000 proposals an image, as ours; behind MMEngine's ``train_step``.

    Args:
        shape: height and width of the images, which are not resized.
        rois: drawn of an image.
    """

    def __init__(self, shape: tuple[int, int], rois: int = 512) -> None:
        super().__init__()
        norm = functools.partial(nn.GroupNorm, 32)
        self.model = MaskRCNN(
            _resnet_fpn_extractor(resnet50(norm_layer=norm), 5, norm_layer=norm),
            num_classes=81,
            min_size=min(shape),
            max_size=max(shape),
            rpn_pre_nms_top_n_train=2000,
            rpn_post_nms_top_n_train=1000,
            box_batch_size_per_image=rois,
            box_head=FastRCNNConvFCHead((256, 7, 7), [256] * 4, [1024], norm_layer=norm),
            mask_head=MaskRCNNHeads(256, [256] * 4, 1, norm_layer=norm),
        )

    def loss(self, data: dict) -> Tensor:
        """The sum of the losses.

        Args:
            data: a batch as MMDetection's data loaders give it.
        """
        device = next(self.parameters()).device
        images = [one.to(device).float() / 255 for one in data['inputs']]
        targets = []
        for sample in data['data_samples']:
            objects = sample.gt_instances
            masks = objects.masks.to_tensor(torch.uint8, device)
            targets.append(dict(boxes=objects.bboxes.to(device), labels=objects.labels.to(device) + 1, masks=masks))
        return sum(self.model(images, targets).values())

    def train_step(self, data: dict, optim_wrapper) -> dict[str, Tensor]:
        with optim_wrapper.optim_context(self):
            loss = self.loss(data)
        optim_wrapper.update_params(loss)
        return dict(loss=loss.detach())
