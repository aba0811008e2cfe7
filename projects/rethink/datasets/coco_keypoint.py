"""COCO person keypoints in MMDetection: the data set, and the transforms that carry keypoints through a pipeline.

Keypoints are ``gt_keypoints``, float32 of (N, K, 3): x, y and COCO's visibility (0 not labelled, 1 labelled but
hidden, 2 visible), in the same continuous coordinates as boxes: a pixel covers [i, i + 1). COCO's files name the pixel
that a keypoint is in, so loading adds half a pixel and evaluation takes it off again, as in detectron2; then mirroring
is ``width - x`` for boxes and keypoints alike. x and y mean nothing where the visibility is 0.
"""

import numpy as np
from mmcv.transforms import RandomChoiceResize
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip, Resize
from mmdet.registry import DATASETS, TRANSFORMS

from .person import PERSON_KEYPOINTS, PERSON_SKELETON, PIXEL_CENTRE
from .planar import PlanarPackDetInputs


def mirrored_order(names) -> list[int]:
    """For each keypoint the index of the one that takes its place in a mirror: ``left_x`` and ``right_x`` swap.

    Args:
        names: of the keypoints, in the order of the data.

    Raises:
        ValueError: a name with ``left`` has no partner with ``right``, or the other way round.
    """
    names = list(names)
    other = {'left': 'right', 'right': 'left'}
    partners = ['_'.join(other.get(word, word) for word in name.split('_')) for name in names]
    alone = [name for name, partner in zip(names, partners, strict=True) if partner not in names]
    if alone:
        raise ValueError(f'the keypoint {alone[0]!r} has no mirrored partner among {", ".join(names)}.')
    return [names.index(partner) for partner in partners]


@DATASETS.register_module()
class CocoKeypointDataset(CocoDataset):
    """``person_keypoints_*.json`` of COCO: MMDetection's :class:`CocoDataset`, and the keypoints of each person.

    ``filter_cfg`` also knows ``filter_no_keypoints=True``: images in which no keypoint is labelled are not trained on,
    as in Detectron (``has_visible_keypoints``).

    Raises:
        ValueError: an annotation has no ``keypoints``, or another number of them than the data set has names.
    """

    METAINFO = dict(
        classes=('person',),
        palette=[(220, 20, 60)],
        keypoints=PERSON_KEYPOINTS,
        skeleton=PERSON_SKELETON,
    )

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """As in :class:`CocoDataset`; each instance gets ``keypoints``, 3·K numbers as in COCO's file."""
        number = len(self.metainfo['keypoints'])
        data_info = super().parse_data_info(dict(raw_data_info, raw_ann_info=[]))
        for annotation in raw_data_info['raw_ann_info']:
            # One at a time, so that what the base class leaves out does not put the rest out of step.
            found = super().parse_data_info(dict(raw_data_info, raw_ann_info=[annotation]))['instances']
            for instance in found:
                keypoints = annotation.get('keypoints')
                if keypoints is None or len(keypoints) != 3 * number:
                    has = 'no keypoints' if keypoints is None else f'{len(keypoints)} keypoint numbers'
                    raise ValueError(
                        f'annotation {annotation.get("id")} of {self.ann_file} has {has}, not 3 for each of {number}; '
                        'a keypoint config needs person_keypoints_*.json.'
                    )
                data_info['instances'].append(dict(instance, keypoints=keypoints))
        return data_info

    def filter_data(self) -> list[dict]:
        """What ``filter_cfg`` leaves."""
        kept = super().filter_data()
        if self.test_mode or not (self.filter_cfg or {}).get('filter_no_keypoints'):
            return kept
        return [
            one
            for one in kept
            if any(any(person['keypoints'][2::3]) and not person['ignore_flag'] for person in one['instances'])
        ]


@TRANSFORMS.register_module()
class LoadKeypointAnnotations(LoadAnnotations):
    """MMDetection's :class:`LoadAnnotations`, which also adds ``gt_keypoints``, float32 of (N, K, 3)."""

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        keypoints = [instance['keypoints'] for instance in results.get('instances', [])]
        width = len(keypoints[0]) if keypoints else 3 * len(PERSON_KEYPOINTS)
        results['gt_keypoints'] = np.array(keypoints, np.float32).reshape(-1, width // 3, 3)
        results['gt_keypoints'][..., :2] += PIXEL_CENTRE
        return results


@TRANSFORMS.register_module()
class KeypointResize(Resize):
    """MMDetection's :class:`Resize`, which also moves ``gt_keypoints``."""

    def _resize_keypoints(self, results: dict) -> None:
        if results.get('gt_keypoints') is not None:
            scaled = results['gt_keypoints'].copy()
            scaled[..., :2] *= np.array(results['scale_factor'], np.float32)
            results['gt_keypoints'] = scaled

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        self._resize_keypoints(results)
        return results


@TRANSFORMS.register_module()
class KeypointRandomChoiceResize(RandomChoiceResize):
    """mmcv's :class:`RandomChoiceResize` with :class:`KeypointResize`, unless another ``resize_type`` is named."""

    def __init__(self, scales, resize_type: str = 'KeypointResize', **resize_kwargs) -> None:
        super().__init__(scales, resize_type=resize_type, **resize_kwargs)


@TRANSFORMS.register_module()
class KeypointRandomFlip(RandomFlip):
    """MMDetection's :class:`RandomFlip`, horizontal, which also mirrors ``gt_keypoints``: x, and left with right.

    Args:
        keypoint_names: of the data set, from which the pairs follow.

    Raises:
        ValueError: another direction than horizontal: upside down, left and right do not swap.
    """

    def __init__(self, prob=None, direction='horizontal', keypoint_names=PERSON_KEYPOINTS) -> None:
        if direction != 'horizontal':
            raise ValueError(f'KeypointRandomFlip mirrors horizontally only, not {direction!r}.')
        super().__init__(prob=prob, direction=direction)
        self.order = mirrored_order(keypoint_names)

    def _flip(self, results: dict) -> None:
        super()._flip(results)
        if results.get('gt_keypoints') is not None:
            mirrored = results['gt_keypoints'][:, self.order]
            mirrored[..., 0] = results['img'].shape[1] - mirrored[..., 0]
            results['gt_keypoints'] = mirrored


@TRANSFORMS.register_module()
class PackKeypointInputs(PlanarPackDetInputs):
    """MMDetection's :class:`PackDetInputs`, which also packs ``gt_instances.keypoints``, float32 of (N, K, 3)."""

    mapping_table = PackDetInputs.mapping_table | dict(gt_keypoints='keypoints')
