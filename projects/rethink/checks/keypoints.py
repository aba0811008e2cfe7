"""Rule of keypoints: the file has them for each class, as many as the data set has names and the head heat maps."""

import os
from collections.abc import Iterator

from ..config_tree import type_name
from .datasets import AnnotationFile
from .facts import Facts
from .findings import Finding, rule


@rule('keypoints', ends=True)
def keypoints(facts: Facts) -> Iterator[Finding]:
    from ..datasets.coco_keypoint import CocoKeypointDataset

    head = (facts.model.get('roi_head') or {}).get('keypoint_head') or {}
    said = set()
    for one in facts.used:
        own = one.is_a(CocoKeypointDataset)
        if one.file and one.annotations.endswith('.json') and (own or (head and one.path.startswith('train'))):
            names = own and ((one.cfg.get('metainfo') or {}).get('keypoints') or one.kind.METAINFO['keypoints'])
            wanted = {f'names in metainfo of {one.path}': names and len(names)} if own else {}
            wanted['heat maps in keypoint_head'] = head.get('num_keypoints')
            found = list(_look(one.path, one.file, one.classes, wanted))
            said |= {one.annotations} if found else set()
            yield from found
    for place, evaluator in facts.evaluators:
        path = evaluator.get('ann_file')
        of_keypoints = type_name(evaluator.get('type')) == 'CocoKeypointMetric'
        asked = of_keypoints and 'keypoints' in evaluator.get('metric', 'keypoints')
        if asked and path and path not in said and os.path.isfile(path):
            yield from _look(place, facts.file(path), None, {})


def _look(place: str, file: AnnotationFile, classes: list[str] | None, wanted: dict) -> Iterator[Finding]:
    categories = [one for one in file.categories or [] if classes is None or one['name'] in classes]
    # Beside the categories, the annotations: pycocotools needs this entry in each.
    if not categories or not all(one.get('keypoints') for one in categories) or not file.has('num_keypoints'):
        what = f'{file.path} of {place} has no keypoints, which this config trains or evaluates.'
        yield Finding('error', place, what, fix='use a person_keypoints_*.json')
        return
    found = {len(one['keypoints']) for one in categories}
    for what, number in wanted.items():
        if number and found != {number}:
            numbers = ', '.join(map(str, sorted(found)))
            there = f'{file.path} of {place} has {numbers} keypoints for each object, but there are {number} {what}.'
            yield Finding('error', place, there, fix='correct that number, or name the annotations that have it')
