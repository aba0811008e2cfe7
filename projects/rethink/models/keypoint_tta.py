"""Test-time augmentation of boxes with keypoints: flips and scales."""

from mmcv.ops import batched_nms
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi, bbox_flip
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from torch import Tensor, cat

from ..datasets.coco_keypoint import PERSON_KEYPOINTS, mirrored_order
from .keypoint_head import to_input
from .keypoint_ops import decode_keypoints


@MODELS.register_module()
class KeypointTTAModel(BaseTTAModel):
    """Boxes of all views under one NMS; then the heat maps of the final boxes, averaged over the views.

    Detectron's ``KEYPOINT_AUG`` with ``HM_AVG``: heat maps of a mirrored view are mirrored back, with left and right
    swapped. The order of the views does not change the result beyond rounding, and a single view that is not mirrored
    gives what plain testing does. The feature maps of all views are held at once.

    Args:
        tta_cfg: ``nms`` and ``max_per_img`` as in MMDetection's ``DetTTAModel``.
        keypoint_names: of the data set, from which the pairs of left and right follow.
        kwargs: ``module``, the detector, whose RoI head is :class:`KeypointRoIHead`.
    """

    def __init__(self, tta_cfg: dict, keypoint_names=PERSON_KEYPOINTS, **kwargs) -> None:
        super().__init__(**kwargs)
        self.tta_cfg = tta_cfg
        self.order = mirrored_order(keypoint_names)

    def test_step(self, data: dict) -> list:
        """Predictions for a batch of images in several views.

        Args:
            data: ``inputs`` and ``data_samples``, each a list with one batch for each view, as ``TestTimeAug`` and
                the data loader make it.

        Returns:
            The first view's data samples with ``pred_instances`` in the coordinates of the images.
        """
        views = []
        for index in range(len(data['inputs'])):
            view = {key: value[index] for key, value in data.items()}
            view = self.module.data_preprocessor(view, False)
            features = self.module.extract_feat(view['inputs'])
            samples = view['data_samples']
            proposals = self.module.rpn_head.predict(features, samples, rescale=False)
            metas = [sample.metainfo for sample in samples]
            head = self.module.roi_head
            boxes = head.predict_bbox(features, metas, proposals, head.test_cfg, rescale=True)
            views.append((features, samples, boxes))
        # Images one by one, over all views.
        merged = [self._merge([(boxes[i], samples[i]) for _, samples, boxes in views]) for i in range(len(metas))]
        maps = sum(self._maps(features, samples, merged) for features, samples, _ in views) / len(views)
        for sample, result, one in zip(views[0][1], merged, maps.split([len(one) for one in merged]), strict=True):
            result.keypoints, result.keypoint_scores = decode_keypoints(one, result.bboxes)
            sample.pred_instances = result
        return views[0][1]

    def merge_preds(self, data_samples_list):
        """Not used: views meet before they are predictions."""
        raise NotImplementedError('KeypointTTAModel merges boxes and heat maps in test_step.')

    def _merge(self, views: list) -> InstanceData:
        """The boxes of an image's views under one NMS."""
        boxes = cat([_mirror(result.bboxes, sample.metainfo) for result, sample in views])
        scores, labels = (cat([result[key] for result, _ in views]) for key in ('scores', 'labels'))
        merged = InstanceData(bboxes=boxes, scores=scores, labels=labels)
        if len(boxes):
            kept, indices = batched_nms(boxes, scores, labels, self.tta_cfg['nms'])
            kept, indices = kept[: self.tta_cfg['max_per_img']], indices[: self.tta_cfg['max_per_img']]
            merged = InstanceData(bboxes=kept[:, :4], scores=kept[:, 4], labels=labels[indices])
        return merged

    def _maps(self, features, samples, merged: list[InstanceData]) -> Tensor:
        """Heat maps of the final boxes of all images, from one view, the way round of the images."""
        metas = [sample.metainfo for sample in samples]
        boxes = [to_input(_mirror(one.bboxes, meta), meta) for one, meta in zip(merged, metas, strict=True)]
        parts = self.module.roi_head.keypoint_maps(features, bbox2roi(boxes)).split([len(one) for one in boxes])
        back = [
            one.flip(-1)[:, self.order] if meta.get('flip') else one for one, meta in zip(parts, metas, strict=True)
        ]
        return cat(back)


def _mirror(boxes: Tensor, metainfo: dict) -> Tensor:
    """Boxes between an image and its mirrored view, either way; as they are, if the view is not mirrored."""
    if not metainfo.get('flip'):
        return boxes
    return bbox_flip(boxes, metainfo['ori_shape'], metainfo['flip_direction'])
