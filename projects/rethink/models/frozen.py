"""Any backbone, frozen whole (Vasconcelos et al. 2022, https://arxiv.org/abs/2204.00484, section 3)."""

import functools
import types

import torch
from mmdet.registry import MODELS
from mmengine.registry import MODELS as MODELS_OF_ALL
from torch import Tensor, nn

from ..errors import ConfigError, some_names
from ..trust.timm_weights import left_random
from .adapters import Adapter


class Frozen:
    """Mixin in front of a backbone's class: nothing in it trains but what is in an :class:`Adapter`.

    - No other parameter requires a gradient.
    - All modules are in evaluation mode whatever ``train()`` is called with: BN uses its running statistics and does
      not change them, dropout and stochastic depth do nothing. Adapters alone follow ``train()``.
    - Nothing is kept for a backward pass, unless an adapter or the input asks for a gradient; then autograd starts
      there. A ``frozen_stages`` of the plain backbone also freezes the adapters in these stages.
    - Parameters, buffers and their names are those of the plain backbone.

    It also knows which tensors no checkpoint has given yet. After ``init_weights`` has been called, as MMEngine's
    Runner does before it trains, the first forward pass with gradients enabled raises a :class:`ConfigError` where
    there are some, unless ``allow_random``. What can be known before is found by :mod:`rethink.checks.weights`.

    :func:`frozen` puts it on an instance.
    """

    plain: type[nn.Module]

    def train(self, mode: bool = True) -> nn.Module:
        # Of the plain class: it may do more, such as freeze some stages.
        super().train(False)
        trained = set()
        for adapter in self.adapters():
            adapter.train(mode)
            trained.update(adapter.parameters())
        for parameter in set(self.parameters()) - trained:
            parameter.requires_grad_(False)
        return self

    def forward(self, *args, **kwargs):
        """As the plain backbone's.

        Raises:
            ConfigError: it would train beside random weights.
        """
        if torch.is_grad_enabled():
            self._refuse_random_weights()
        adapters = self.adapters()
        follow = {part for adapter in adapters for part in adapter.modules()}
        if any(part.training and part not in follow for part in self.modules()):
            # Somebody has called train() of a part, and not of the whole.
            self.train(any(adapter.training for adapter in adapters))
        inputs = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        trained = [one for adapter in adapters for one in adapter.parameters()]
        differentiable = any(one.requires_grad for one in inputs + trained)
        with torch.set_grad_enabled(torch.is_grad_enabled() and differentiable):
            return super().forward(*args, **kwargs)

    def adapters(self) -> list[Adapter]:
        """The trainable modules inside."""
        return [module for module in self.modules() if isinstance(module, Adapter)]

    # --- whether the weights are random ---

    def init_weights(self) -> None:
        if not getattr(self, '_is_init', False):
            self.not_given = weight_names(self)  # what was loaded before is drawn anew
            if hasattr(self.plain, 'init_weights'):
                super().init_weights()
        self._initialised = True

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        own = self.state_dict()
        given = {key for key in self.not_given if f'{prefix}{key}' in state_dict}
        self.not_given -= {key for key in given if own[key].shape == state_dict[f'{prefix}{key}'].shape}

    def _refuse_random_weights(self) -> None:
        if self._initialised and self.not_given and not self.allow_random:
            raise ConfigError(
                f'a frozen {self.plain.__name__} has {len(self.not_given)} of {len(weight_names(self))} tensors '
                f'that no checkpoint gave ({some_names(self.not_given)}), and would keep random weights; name a '
                'checkpoint of this architecture in its init_cfg or in load_from, or set allow_random=True in it.'
            )

    # The class is made at run time, so pickle cannot find it by its name.
    def __reduce_ex__(self, protocol):
        _, _, *state = super().__reduce_ex__(protocol)
        return _empty, (self.plain,), *state


def weight_names(backbone: nn.Module) -> set[str]:
    """The tensors of a backbone that a checkpoint has to give: weights and statistics, not those of adapters.

    Integers are counters and tables of indices, which are no weights.
    """
    adapters = tuple(f'{name}.' for name, module in backbone.named_modules() if isinstance(module, Adapter))
    return {
        key
        for key, value in backbone.state_dict().items()
        if isinstance(value, Tensor) and value.is_floating_point() and not key.startswith(adapters)
    }


@functools.cache
def _frozen_class(plain: type[nn.Module]) -> type[nn.Module]:
    body = dict(plain=plain, __module__=plain.__module__, __doc__=plain.__doc__)
    return types.new_class(f'Frozen{plain.__name__}', (Frozen, plain), exec_body=lambda space: space.update(body))


def _empty(plain: type[nn.Module]) -> nn.Module:
    kind = _frozen_class(plain)
    return kind.__new__(kind)


def frozen(backbone: nn.Module, allow_random: bool = False) -> nn.Module:
    """Freeze a backbone in place (:class:`Frozen`) and return it.

    Args:
        allow_random: train also where no checkpoint gives its weights.
    """
    backbone.__class__ = _frozen_class(type(backbone))
    backbone.allow_random = allow_random
    # A backbone that was built with its weights, as timm's are with pretrained=True, says so to MMEngine.
    names = weight_names(backbone)
    backbone.not_given = names & left_random(backbone).keys() if getattr(backbone, '_is_init', False) else names
    backbone._initialised = False
    return backbone.train()


@MODELS_OF_ALL.register_module(name='FrozenBackbone')
def build_frozen(of: str, allow_random: bool = False, **plain) -> nn.Module:
    """Build a registered backbone and freeze it: ``backbone=dict(type='FrozenBackbone', of='ResNet', depth=50, …)``.

    Args:
        of: the plain backbone's type, of MMDetection (``'ResNet'``), MMPretrain (``'mmpretrain.EfficientNet'``), timm
            (``'mmpretrain.TIMMBackbone'``) or any other.
        allow_random: train also where no checkpoint gives its weights.
        plain: all other arguments, as the plain backbone has them.
    """
    return frozen(MODELS.build(dict(type=of, **plain)), allow_random)
