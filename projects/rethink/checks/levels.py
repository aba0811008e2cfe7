"""Rule of feature maps: neck and heads are made for the channels, the strides and the number of maps that they get.

Backbone, neck and heads are run once without values, on PyTorch's meta device, which tells the shapes of their maps.
"""

import inspect
from collections.abc import Iterator

import torch

from ..config_tree import type_name
from .facts import Facts
from .findings import Finding, rule
from .init import part_without_values

_SIZE = 512
_SOURCE = f'the maps of an image of {_SIZE} x {_SIZE}'
# Strides of SSD and YOLACT are no powers of two, but of their sizes of images.
_NEAR = 1.5
# Where heads of one stage have the strides of their maps.
_OF_STRIDES = ('', 'anchor_generator', 'approx_anchor_generator', 'square_anchor_generator', 'prior_generator')


@rule('levels')
def levels(facts: Facts) -> Iterator[Finding]:
    model = facts.model
    if not facts.detector or not isinstance(model.get('backbone'), dict):
        return
    size = _size(model)
    maps, giver = _maps(facts, model.backbone, torch.empty(1, 3, size, size, device='meta')), 'model.backbone'
    necks = model.get('neck') or []
    for place, neck in _several(necks, 'model.neck'):
        if not maps:
            return
        out = _maps(facts, neck, tuple(maps))
        if out is None and not _fit(neck.get('in_channels'), maps):
            yield _channels(place, neck, maps, giver)
            return
        maps, giver = out, place
    if not maps:
        return
    strides = [round(size / one.shape[-1], 1) for one in maps]
    for name in ('rpn_head', 'bbox_head'):
        for place, head in _several(model.get(name), f'model.{name}'):
            yield from _of_head(facts, place, head, maps, strides, giver)
    for name in ('bbox_roi_extractor', 'mask_roi_extractor', 'keypoint_roi_extractor'):
        for place, one in _several((model.get('roi_head') or {}).get(name), f'model.roi_head.{name}'):
            yield from _of_extractor(place, one, maps, strides, giver)


def _size(model: dict) -> int:
    """Of the image; the anchors of SSD are for one of their own."""
    head = model.get('bbox_head')
    own = (head.get('anchor_generator') or {}).get('input_size') if isinstance(head, dict) else None
    return own if isinstance(own, int) else _SIZE


def _several(value, place: str) -> Iterator[tuple[str, dict]]:
    if isinstance(value, dict):
        yield place, value
    elif isinstance(value, list | tuple):
        yield from ((f'{place}.{index}', one) for index, one in enumerate(value) if isinstance(one, dict))


# Many configs have the same backbone and neck: a part, and the shapes that it is given → those that it gives.
_KNOWN: dict[str, list[torch.Size] | None] = {}


def _maps(facts: Facts, part: dict, given: tuple[torch.Tensor, ...] | torch.Tensor) -> list[torch.Tensor] | None:
    """What a part makes of what it is given; None where it cannot be built or run, or gives no maps."""
    shapes = [one.shape for one in given] if isinstance(given, tuple) else given.shape
    key = repr((facts.scope, part, shapes))
    if key not in _KNOWN:
        _KNOWN[key] = _shapes(facts, part, given)
    found = _KNOWN[key]
    return found and [torch.empty(one, device='meta') for one in found]


def _shapes(facts: Facts, part: dict, given) -> list[torch.Size] | None:
    try:
        with torch.no_grad():
            out = part_without_values(part, facts.scope).to('meta')(given)
    except Exception:  # said when it is built or run
        return None
    found = [out] if isinstance(out, torch.Tensor) else list(out) if isinstance(out, tuple | list) else []
    good = found and all(isinstance(one, torch.Tensor) and one.dim() == 4 for one in found)
    return [one.shape for one in found] if good else None


def _fit(channels, maps: list[torch.Tensor]) -> bool:
    """Whether ``in_channels`` of a part are those of the maps."""
    have = [one.shape[1] for one in maps]
    if isinstance(channels, list | tuple):
        return list(channels) == have
    return not isinstance(channels, int) or set(have) == {channels}


def _channels(place: str, part: dict, maps: list[torch.Tensor], giver: str) -> Finding:
    have = [one.shape[1] for one in maps]
    have = have[0] if isinstance(part['in_channels'], int) and len(set(have)) == 1 else have
    wanted = part['in_channels'] if isinstance(part['in_channels'], int) else list(part['in_channels'])
    return Finding(
        'error',
        f'{place}.in_channels',
        f'{type_name(part.get("type"))} is made for maps of {wanted} channels, and {giver} gives {have}.',
        'the first step ends with it.',
        _SOURCE,
        f'{place}.in_channels={have}, or another {giver}',
    )


# --- heads -----------------------------------------------------------------------------------------------------------


def _of_head(facts: Facts, place: str, head: dict, maps: list, strides: list, giver: str) -> Iterator[Finding]:
    if not _fit(head.get('in_channels'), maps) and not _runs(facts, head, maps):
        yield _channels(place, head, maps, giver)
    for inner in _OF_STRIDES:
        part = head.get(inner) if inner else head
        wanted = _strides(facts, part) if isinstance(part, dict) else None
        if wanted and not _near(wanted, strides):
            where = f'{place}.{inner}.strides' if inner else f'{place}.strides'
            what = f'{where} is {wanted}, and {giver} gives {len(maps)} maps of strides {strides}.'
            why = 'boxes are looked for elsewhere than where the features are.'
            if len(wanted) != len(maps):
                why = 'the first step ends with it.'
            yield Finding('error', where, what, why, _SOURCE, f'{where}={_whole(strides)}, or another {giver}')


def _runs(facts: Facts, head: dict, maps: list) -> bool:
    """Whether a head takes the maps; True where it cannot be built alone."""
    try:
        module = part_without_values(head, facts.scope).to('meta')
    except Exception:
        return True
    try:
        with torch.no_grad():
            module(tuple(maps))
    except RuntimeError as error:
        return 'channel' not in str(error)
    except Exception:
        return True
    return True


def _strides(facts: Facts, part: dict) -> list | None:
    """Of a part, or the default of its class; those of two numbers by their first."""
    found = part.get('strides')
    if found is None and inspect.isclass(kind := facts.model_class(part.get('type'))):
        found = getattr(inspect.signature(kind.__init__).parameters.get('strides'), 'default', None)
    if not isinstance(found, list | tuple):
        return None
    found = [one[0] if isinstance(one, list | tuple) and one else one for one in found]
    return found if found and all(isinstance(one, int | float) and one > 0 for one in found) else None


def _near(wanted: list, strides: list) -> bool:
    alike = (max(a, b) / min(a, b) < _NEAR for a, b in zip(wanted, strides, strict=False))
    return len(wanted) == len(strides) and all(alike)


def _whole(strides: list) -> list:
    return [int(one) if float(one).is_integer() else one for one in strides]


def _of_extractor(place: str, one: dict, maps: list, strides: list, giver: str) -> Iterator[Finding]:
    wanted = one.get('featmap_strides')
    if not isinstance(wanted, list | tuple) or not all(isinstance(number, int | float) for number in wanted):
        return
    wanted = list(wanted)
    if not _near(wanted, strides[: len(wanted)]):
        yield Finding(
            'error',
            f'{place}.featmap_strides',
            f'{place}.featmap_strides is {wanted}, and {giver} gives {len(maps)} maps of strides {_whole(strides)}.',
            'features are cut out elsewhere than where the boxes are, or are zeros where there is no such map.',
            _SOURCE,
            f'{place}.featmap_strides={_whole(strides[: len(wanted)])}, or another {giver}',
        )
    channels = one.get('out_channels')
    have = {map_.shape[1] for map_ in maps[: len(wanted)]}
    if isinstance(channels, int) and have != {channels}:
        yield Finding(
            'error',
            f'{place}.out_channels',
            f'{place}.out_channels is {channels}, and {giver} gives maps of {", ".join(map(str, sorted(have)))}.',
            'the first step ends with it.',
            _SOURCE,
            f'{place}.out_channels={", ".join(map(str, sorted(have)))}, or another {giver}',
        )
