"""Rule of RoIs: the heads are made for features of the size that the RoI extractors cut out.

A head is run once without values, on PyTorch's meta device, with features of that shape.
"""

from collections.abc import Iterator

import torch

from ..config_tree import type_name
from .facts import Facts
from .findings import Finding, rule
from .init import part_without_values

_ROI = 'model.roi_head'
_SOURCE = 'the layers of the head'
# PyTorch's words for a linear layer, with values and without, and for a convolution.
_MISFIT = ('mat1 and mat2', 'same reduction dim', 'channel')


@rule('roi-size')
def roi_size(facts: Facts) -> Iterator[Finding]:
    """What a head makes of the features of two RoIs; one that needs more than features is left alone."""
    roi_head = facts.model.get('roi_head')
    # A shared head (C4) makes another size of what is cut out.
    if not facts.detector or not isinstance(roi_head, dict) or roi_head.get('shared_head'):
        return
    for name in ('bbox', 'mask'):
        extractors = roi_head.get(f'{name}_roi_extractor') or roi_head.get('bbox_roi_extractor')
        heads = _listed(roi_head.get(f'{name}_head'))
        extractors = _listed(extractors) * (1 if isinstance(extractors, list | tuple) else len(heads))
        for place, (head, extractor) in enumerate(zip(heads, extractors, strict=False)):
            where = f'{_ROI}.{name}_head' + (f'.{place}' if isinstance(roi_head[f'{name}_head'], list | tuple) else '')
            size = _size(extractor)
            if size is None or not isinstance(head, dict):
                continue
            features = torch.empty(2, extractor.get('out_channels') or 0, *size, device='meta')
            out = _out(facts, head, features)
            if out is None:
                yield _of_head(where, head, extractor, size)
            elif name == 'mask':
                stages = [place] if isinstance(roi_head['mask_head'], list | tuple) else None
                yield from _of_masks(facts, where, stages, out, size)


def _listed(value) -> list:
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def _size(extractor) -> tuple[int, int] | None:
    layer = extractor.get('roi_layer') if isinstance(extractor, dict) else None
    size = layer.get('output_size', layer.get('out_size')) if isinstance(layer, dict) else None
    size = (size, size) if isinstance(size, int) else size
    return tuple(size) if isinstance(size, list | tuple) and len(size) == 2 else None


def _out(facts: Facts, head: dict, features: torch.Tensor):
    """What a head gives; ``()`` where it cannot be built or run alone, None where its layers are of another size."""
    try:
        module = part_without_values(head, facts.scope).to('meta')
    except Exception:  # said when the model is built
        return ()
    try:
        with torch.no_grad():
            return module(features)
    except RuntimeError as error:
        return None if any(words in str(error) for words in _MISFIT) else ()
    except Exception:
        return ()


def _of_head(where: str, head: dict, extractor: dict, size: tuple[int, int]) -> Finding:
    channels, have = head.get('in_channels', 256), extractor.get('out_channels')
    if channels != have:
        key, wanted, given = 'in_channels', f'{channels} channels', f'{have}'
    else:
        have = size[0] if size[0] == size[1] else list(size)
        key, wanted, given = (
            'roi_feat_size',
            f'{(own := head.get("roi_feat_size", 7))} x {own}',
            f'{size[0]} x {size[1]}',
        )
    return Finding(
        'error',
        f'{where}.{key}',
        f'{type_name(head.get("type"))} is made for features of {wanted}, and its RoI extractor gives {given}.',
        'the first step ends with it.',
        _SOURCE,
        f'{where}.{key}={have}, or another RoI extractor',
    )


def _of_masks(facts: Facts, where: str, stages: list[int] | None, out, size: tuple[int, int]) -> Iterator[Finding]:
    """Masks are learnt at ``mask_size``, which is that of what the head gives; one head may be that of all stages."""
    if not isinstance(out, torch.Tensor) or out.dim() != 4:
        return
    rcnn, path = (facts.model.get('train_cfg') or {}).get('rcnn'), 'model.train_cfg.rcnn'
    have = tuple(out.shape[-2:])
    several = isinstance(rcnn, list | tuple)
    for stage, one in enumerate(rcnn if several else [rcnn]):
        wanted = one.get('mask_size') if isinstance(one, dict) and (stages is None or stage in stages) else None
        if not isinstance(wanted, int) or have == (wanted, wanted):
            continue
        key = f'{path}.{stage}.mask_size' if several else f'{path}.mask_size'
        yield Finding(
            'error',
            key,
            f'{key} is {wanted}, and {where} makes masks of {have[0]} x {have[1]} of features of '
            f'{size[0]} x {size[1]}.',
            'the first step with an object ends with it.',
            _SOURCE,
            f'{key}={have[0]}, or another output_size of the RoI extractor',
        )
