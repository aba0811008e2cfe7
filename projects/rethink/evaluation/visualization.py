"""Pictures of predictions: boxes with skeletons."""

import numpy as np
import torch
from mmdet.registry import VISUALIZERS
from mmdet.visualization import DetLocalVisualizer

from ..datasets.coco_keypoint import PERSON_KEYPOINTS, PERSON_SKELETON

# BGR or RGB alike: one colour each for the left side, the right side and what is in the middle.
_COLOURS = dict(left=(255, 160, 0), right=(0, 160, 255), middle=(80, 220, 80))


@VISUALIZERS.register_module()
class KeypointLocalVisualizer(DetLocalVisualizer):
    """MMDetection's :class:`DetLocalVisualizer`, which also draws ``keypoints`` of instances and their skeleton.

    Names and skeleton are those of the data set (``dataset_meta``), or COCO's. Of annotations, keypoints that are not
    labelled are left out, and hidden ones are rings.

    Args:
        name: of this visualizer, by which MMEngine finds it.
        keypoint_score_thr: predicted keypoints with a smaller logit are left out.
        radius: of a keypoint, in pixels.
        kwargs: as in :class:`DetLocalVisualizer`.
    """

    def __init__(self, name: str = 'visualizer', keypoint_score_thr: float = 0.0, radius: float = 3, **kwargs) -> None:
        super().__init__(name, **kwargs)
        self.keypoint_score_thr = keypoint_score_thr
        self.radius = radius

    def _draw_instances(self, image: np.ndarray, instances, classes, palette) -> np.ndarray:
        image = super()._draw_instances(image, instances, classes, palette)
        if 'keypoints' not in instances or not len(instances.keypoints):
            return image
        self.set_image(image)
        keypoints = torch.as_tensor(instances.keypoints).float()
        if keypoints.shape[-1] == 3:
            shown, hidden = keypoints[..., 2] > 0, keypoints[..., 2] == 1
        else:
            shown = torch.as_tensor(instances.keypoint_scores) >= self.keypoint_score_thr
            hidden = torch.zeros_like(shown)
        # Keypoints outside the image must not make room for themselves.
        self.ax_save.autoscale(False)
        self._draw_people(keypoints[..., :2], shown, hidden)
        return self.get_image()

    def _draw_people(self, points, shown, hidden) -> None:
        names = list(self.dataset_meta.get('keypoints', PERSON_KEYPOINTS))
        sides = np.array([next((side for side in _COLOURS if side in name), 'middle') for name in names])
        skeleton = self.dataset_meta.get('skeleton', PERSON_SKELETON)
        bones = np.array([[names.index(name) for name in bone] for bone in skeleton], int).reshape(-1, 2)
        bone_sides = np.where(sides[bones[:, 0]] == sides[bones[:, 1]], sides[bones[:, 0]], 'middle')
        for side, colour in _COLOURS.items():
            first, last = bones[bone_sides == side].T
            drawn = shown[:, first] & shown[:, last]
            lines = torch.stack([points[:, first][drawn], points[:, last][drawn]], 1)
            if len(lines):
                self.draw_lines(lines[..., 0], lines[..., 1], colors=colour, line_widths=self.line_width)
            for ring in (False, True):
                centres = points[shown & (hidden == ring) & torch.as_tensor(sides == side)]
                if len(centres):
                    radii = torch.full((len(centres),), float(self.radius))
                    self.draw_circles(
                        centres, radii, edge_colors=colour, face_colors='none' if ring else colour, line_widths=1
                    )
