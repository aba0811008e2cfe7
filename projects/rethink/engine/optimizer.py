"""An optimiser that holds what is trained, and nothing that is frozen."""

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ..errors import ConfigError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's default constructor over the parameters that require a gradient when it is called.

    The default one gives the optimiser the frozen parameters as well where there is no ``paramwise_cfg``, and warns of
    each where there is one. With nothing frozen the two make the same groups.

    Args: those of ``DefaultOptimWrapperConstructor``; ``paramwise_cfg.custom_keys`` and the other keys of
    ``paramwise_cfg`` mean the same.

    Raises:
        ConfigError: (when called) no parameter requires a gradient.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, 'module', model)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not trained:
            raise ConfigError(
                'no parameter of the model requires a gradient, so there is nothing to train; thaw some.'
            )
        # Without paramwise_cfg the default constructor asks the model for its parameters and for nothing else.
        return super().__call__(model if self.paramwise_cfg else nn.ParameterList(trained))

    def add_params(self, params: list[dict], module: nn.Module, *args, **kwargs) -> None:
        if any(parameter.requires_grad for parameter in module.parameters()):
            super().add_params(params, module, *args, **kwargs)
