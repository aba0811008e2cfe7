"""Rules of what annotation files say and of the images that they name, of the data sets that a run reads."""

import os
from collections import defaultdict
from collections.abc import Iterator

from ..config_tree import is_remote, step_name
from .annotations import problems
from .datasets import AnnotationFile, Dataset, names_below
from .facts import Facts
from .findings import Finding, rule
from .listed_images import missing_images, sizes_of_images
from .problems import Problem, Use


@rule('annotations', ends=True)
def annotations(facts: Facts) -> Iterator[Finding]:
    said = set()
    for place, one in find(facts):
        if one.what not in said:
            said.add(one.what)
            yield Finding(one.level, place, one.what, source='docs/data.md', fix=one.fix, sure=one.sure)


def find(facts: Facts) -> Iterator[tuple[str, Problem]]:
    """All problems of the files that a run reads, with the dotted name of who reads them."""
    scored = defaultdict(list)
    for _, path, evaluator in _scored(facts):
        scored[os.path.normpath(path)].append(evaluator)
    seen = set()
    for one in facts.used:
        if not _is_coco(one) or not one.file:
            continue
        path = os.path.normpath(one.annotations)
        trains = one.path.startswith('train')
        # One file for training and validation is looked at for each.
        seen |= set() if trains else {path}
        # A metric of boxes and one of masks, or of COCO and of LVIS, may count by the same file.
        uses = []
        for evaluator in (not trains and scored.get(path)) or [None]:
            use = _use(facts, one, trains, evaluator)
            uses += [use] if use not in uses else []
        found = list(_broken(one.file))
        if not found:
            found = [problem for use in uses for problem in problems(one.file.columns, use)]
            found += _of_images(one, uses[0]) if one.local else []
        yield from ((one.path, problem) for problem in found)
    for place, path, evaluator in _scored(facts):
        if os.path.normpath(path) not in seen:
            file, lvis = facts.file(path), _by_lvis(facts, evaluator)
            broken = list(_broken(file))
            # Images are found by those who read them; a metric asks for their ids alone.
            urls = lvis and not broken and not any(file.columns.names)
            use = Use(trains=False, masks=_masks_of(evaluator), lvis=lvis, federated=lvis, urls=urls)
            yield from ((place, problem) for problem in broken or problems(file.columns, use))


def _is_coco(one: Dataset) -> bool:
    from mmdet.datasets import CocoDataset, CocoPanopticDataset

    return one.is_a(CocoDataset) and not one.is_a(CocoPanopticDataset)


def _broken(file: AnnotationFile) -> Iterator[Problem]:
    try:
        file.columns  # noqa: B018  (read here)
    except ValueError as error:
        what = f'{file.path} is not JSON: {str(error).rstrip(".")}.'
        yield Problem('no-json', 'error', what, 'export or copy it again')


def _use(facts: Facts, one: Dataset, trains: bool, evaluator: dict | None) -> Use:
    from mmdet.datasets import LVISV05Dataset, LVISV1Dataset

    from ..datasets.coco_keypoint import CocoKeypointDataset

    steps = [step for step in facts.steps(one) if step_name(step.get('type')) == 'LoadAnnotations']
    keypoints = None
    if one.is_a(CocoKeypointDataset):
        keypoints = len((one.cfg.get('metainfo') or {}).get('keypoints') or one.kind.METAINFO['keypoints'])
    return Use(
        trains=trains,
        scores=evaluator is not None,
        masks=any(step.get('with_mask') for step in steps) or bool(evaluator and _masks_of(evaluator)),
        keypoints=keypoints,
        lvis=one.is_a(LVISV05Dataset),
        federated=evaluator is not None and _by_lvis(facts, evaluator),
        urls=one.is_a(LVISV1Dataset),
        classes=None if one.classes is None else tuple(one.classes),
        filter_cfg={} if one.cfg.get('test_mode') else dict(one.cfg.get('filter_cfg') or {}),
        elsewhere=frozenset(_seen_in_training(facts, one)) if trains else frozenset(),
    )


def _seen_in_training(facts: Facts, one: Dataset) -> Iterator[str]:
    """Names of categories with annotations in the other files of a training."""
    for other in facts.datasets['train']:
        if other is not one and _is_coco(other) and other.file and other.file.numbers:
            categories = other.file.columns.categories
            yield from (its['name'] for its, number in zip(categories, other.file.numbers, strict=True) if number)


def _scored(facts: Facts) -> Iterator[tuple[str, str, dict]]:
    """Files that detections are scored against, with whose they are, and the metric."""
    from mmdet.evaluation import CocoMetric

    for place, evaluator in facts.evaluators:
        path = evaluator.get('ann_file')
        good = facts.metric_is(evaluator, CocoMetric) and not evaluator.get('format_only')
        if good and isinstance(path, str) and not is_remote(path) and os.path.isfile(path):
            yield place, path, evaluator


def _masks_of(evaluator: dict) -> bool:
    metric = evaluator.get('metric')
    return metric == 'segm' or isinstance(metric, list | tuple) and 'segm' in metric


def _by_lvis(facts: Facts, evaluator: dict) -> bool:
    from mmdet.evaluation import LVISMetric

    return facts.metric_is(evaluator, LVISMetric)


def _of_images(one: Dataset, use: Use) -> Iterator[Problem]:
    prefix = one.cfg.get('data_prefix') or {}
    folder = one.join((prefix.get('img') or '') if isinstance(prefix, dict) else prefix)
    if is_remote(folder) or not os.path.isdir(os.path.expanduser(folder or '.')):
        return
    a = one.file.columns
    names = names_below(a.names, a.urls, one.kind)
    missing = list(missing_images(a.path, folder, names))
    yield from missing or sizes_of_images(a, folder, names)
