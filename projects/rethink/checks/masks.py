"""Rule of masks, which the head of Mask R-CNN needs: the pipeline's to load, the file's to have."""

from collections.abc import Iterator

from ..config_tree import type_name
from .datasets import Dataset
from .facts import Facts
from .findings import Finding, rule


@rule('masks')
def masks(facts: Facts) -> Iterator[Finding]:
    if not (facts.model.get('roi_head') or {}).get('mask_head'):
        return
    for one in facts.datasets['train']:
        loads = [step for step in _steps(facts, one) if type_name(step.get('type')) == 'LoadAnnotations']
        if loads and not any(step.get('with_mask') for step in loads):
            what = 'model.roi_head has a mask_head, and the pipeline loads no masks.'
            why, source = 'training ends at its first step.', 'MMDetection, LoadAnnotations'
            fix = "dict(type='LoadAnnotations', with_bbox=True, with_mask=True)"
            yield Finding('error', f'{one.path}.pipeline', what, why, source, fix)
        elif one.file and one.annotations.endswith('.json') and not one.file.has('segmentation'):
            what = f'model.roi_head has a mask_head, and {one.annotations} has no segmentation.'
            why, source = 'there is nothing to train it with.', "COCO's format of annotations"
            fix = 'a file with masks, or a detector without mask_head (Faster R-CNN)'
            yield Finding('error', one.path, what, why, source, fix)


def _steps(facts: Facts, one: Dataset) -> list[dict]:
    """The transforms of a data set and of what wraps it."""
    wrapper = (facts.cfg.train_dataloader or {}).get('dataset') or {}
    return [step for owner in (one.cfg, wrapper) for step in owner.get('pipeline') or [] if isinstance(step, dict)]
