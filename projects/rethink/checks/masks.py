"""Rule of masks, which the head of Mask R-CNN needs: the pipeline's to load, the file's to have."""

from collections.abc import Iterator

from ..config_tree import step_name
from .facts import Facts
from .findings import Finding, rule


@rule('masks')
def masks(facts: Facts) -> Iterator[Finding]:
    if not (facts.model.get('roi_head') or {}).get('mask_head'):
        return
    for one in facts.datasets['train']:
        loads = [step for step in facts.steps(one) if step_name(step.get('type')) == 'LoadAnnotations']
        if loads and not any(step.get('with_mask') for step in loads):
            what = 'model.roi_head has a mask_head, and the pipeline loads no masks.'
            why, source = 'training ends at its first step.', 'MMDetection, LoadAnnotations'
            fix = "dict(type='LoadAnnotations', with_bbox=True, with_mask=True)"
            yield Finding('error', f'{one.path}.pipeline', what, why, source, fix)
