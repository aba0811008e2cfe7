"""What timm leaves random of a network that is to have weights.

With ``pretrained=True`` timm loads what fits, for a backbone (``features_only``) never strictly: a file whose tensors
have other names, or that has half of them, gives nothing or half without a word.
"""

import functools

from torch import Tensor, nn


def install() -> None:
    """Let timm mark the tensors that it has loaded nothing into, from here on."""
    from timm.models import _builder

    plain = _builder.load_pretrained

    @functools.wraps(plain)
    def load_pretrained(model: nn.Module, pretrained_cfg=None, *args, **kwargs):
        lacking = []
        load = model.load_state_dict

        def load_state_dict(*state, **how):
            result = load(*state, **how)
            lacking.extend(result.missing_keys)
            return result

        model.load_state_dict = load_state_dict
        try:
            plain(model, pretrained_cfg, *args, **kwargs)
        finally:
            del model.load_state_dict
        cfg = pretrained_cfg or model.pretrained_cfg
        source = cfg.get('file') or cfg.get('url') or f'the weights that timm has for {cfg.get("architecture")}'
        own = model.state_dict(keep_vars=True)
        for key in lacking:
            # On the tensor: as a backbone the network is taken apart, and its tensors get other names.
            own[key].lacking_in = source

    _builder.load_pretrained = load_pretrained


def left_random(module: nn.Module) -> dict[str, str]:
    """The weights and statistics in a module that timm was to load and did not: name → the source that lacks them."""
    own = module.state_dict(keep_vars=True)
    floating = {key: one for key, one in own.items() if isinstance(one, Tensor) and one.is_floating_point()}
    return {key: one.lacking_in for key, one in floating.items() if hasattr(one, 'lacking_in')}
