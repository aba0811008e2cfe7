"""The weights in a file: which they are, whether a model can have such numbers, and whether this one takes them."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ..errors import ConfigError, some_names
from .checkpoints import read_content

# Names that a layer has for its tensors and nobody has for anything else.
_WEIGHTS = ('.weight', '.bias', '.running_mean', '.running_var', '.num_batches_tracked')


def read_state_dict(path: str, what: str) -> dict[str, Tensor]:
    """The weights in a local checkpoint, mapped and not yet read; the ``module.`` of a wrapper is left away.

    Args:
        what: its use, for the sentence of an error.

    Raises:
        ConfigError: as :func:`read_content`, or it has no weights of a model.
    """
    return state_dict(read_content(path, what), path, what)


def state_dict(content, path: str, what: str) -> dict[str, Tensor]:
    """:func:`read_state_dict` of a checkpoint that has been read."""
    for key in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    weights = tensors(content, path, what)
    return {key.removeprefix('module.'): value for key, value in weights.items()}


def tensors(content, path: str, what: str) -> dict[str, Tensor]:
    """The tensors of a state dict under the names that it has for them.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(content, dict):
        raise ConfigError(f'{path} ({what}) holds a {type(content).__name__}, not the weights of a model.')
    for key, value in content.items():
        if not isinstance(key, str):
            raise ConfigError(f'{path} ({what}) has {key!r} as the name of a tensor; name another file.')
        if key.endswith(_WEIGHTS) and not isinstance(value, Tensor):
            raise ConfigError(
                f'{path} ({what}) has a {type(value).__name__} for {key} and not a tensor; name another.'
            )
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def compare(model: nn.Module, weights: dict[str, Tensor]) -> tuple[int, list[str], list[str], int]:
    """How many tensors match in name and shape; names the file lacks; names whose shape differs; tensors in all."""
    own = {
        key: value
        for key, value in model.state_dict().items()
        if isinstance(value, Tensor) and not key.endswith('num_batches_tracked')
    }
    lacking = [key for key in own if key not in weights]
    differing = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    return len(own) - len(lacking) - len(differing), lacking, differing, len(own)


def shapes(model: nn.Module, weights: dict[str, Tensor], key: str) -> str:
    theirs, ours = tuple(weights[key].shape), tuple(model.state_dict()[key].shape)
    return f'{key} is {theirs} in the file and {ours} in the model'


# --- the weights -----------------------------------------------------------------------------------------------------


def _unlike_weights(value: Tensor) -> str | None:
    """Why a tensor cannot be a weight of a model, whatever its values; None where it can."""
    for wrong, name in (
        (value.is_meta, 'has no values (a meta tensor)'),
        (value.layout != torch.strided, 'is sparse'),
        (value.is_quantized, 'is quantised'),
        (value.is_complex(), 'is complex'),
    ):
        if wrong:
            return name
    own = _written(value)
    if own.numel() * own.element_size() > own.untyped_storage().nbytes():
        return f'has {value.numel()} values over {own.untyped_storage().nbytes()} bytes'
    return None


def _kind(value: Tensor) -> str:
    return 'float' if value.is_floating_point() else 'bool' if value.dtype == torch.bool else 'integer'


def _written(value: Tensor) -> Tensor:
    """A strided tensor without the dimensions along which it repeats itself, as those of an expanded one do."""
    for dim in range(value.dim()):
        if value.stride(dim) == 0 and value.shape[dim] > 1:
            value = value.narrow(dim, 0, 1)
    return value


def finite(value: Tensor) -> bool:
    """Whether all numbers of a strided tensor are finite, in one pass and without other memory."""
    if not value.is_floating_point() or value.numel() == 0:
        return True
    if value.element_size() == 1:  # float8, for which PyTorch has no minimum
        value = value.to(torch.float32)
    return all(bool(torch.isfinite(one)) for one in torch.aminmax(value))


def _wrong_values(name: str, value: Tensor) -> str | None:
    value = _written(value)
    if not finite(value):
        number = int((~torch.isfinite(value.float())).sum())
        return f'has {number} of {value.numel()} values that are not finite'
    if name.endswith('running_var') and value.numel() and value.is_floating_point() and bool((value < 0).any()):
        return f'has {int((value < 0).sum())} of {value.numel()} variances that are negative'
    return None


def wrong_tensors(weights: Mapping[str, object], own: Mapping[str, Tensor] | None = None) -> Iterator[tuple[str, str]]:
    """Names of weights that no model can have, each with what is wrong with it.

    Args:
        weights: of a file, by name.
        own: the tensors of the model that takes them: others are not looked at, and a number that the model has as a
            float may not be an integer, nor the other way round. All floats are one kind, half precision included.
            Where a shape differs it is the caller's to say.
    """
    for name, value in weights.items():
        mine = None if own is None else own.get(name)
        if own is not None and not isinstance(mine, Tensor):
            continue
        if not isinstance(value, Tensor):
            if own is not None:
                yield name, f'is a {type(value).__name__} and not a tensor'
            continue
        wrong = _unlike_weights(value)
        if wrong is None and mine is not None and _kind(value) != _kind(mine):
            wrong = f'is of {value.dtype} in the file and of {mine.dtype} in the model'
        if wrong is None and name.endswith('num_batches_tracked') and mine is not None and mine.shape != value.shape:
            wrong = f'is {tuple(value.shape)} and not one number'
        # A tensor of another shape is not loaded. It may be of any size, also one that its storage does not have.
        if wrong is None and (mine is None or mine.shape == value.shape):
            wrong = _wrong_values(name, value)
        if wrong:
            yield name, wrong


def check_tensors(weights: Mapping[str, object], what: str, own: Mapping[str, Tensor] | None = None) -> None:
    """Weights are numbers that a model can have: dense, real, finite, of the model's kind, no negative variance.

    One pass over those that the model takes.

    Args:
        what: the file and its use, for the sentence of an error.
        own: as in :func:`wrong_tensors`.

    Raises:
        ConfigError: some are not; with the name of the first, and how many there are.
    """
    wrong = list(wrong_tensors(weights, own))
    if wrong:
        name, how = wrong[0]
        more = (
            f'; so it is, or otherwise wrong, with {len(wrong)} of {len(weights)} tensors ' if len(wrong) > 1 else ''
        )
        more += f'({some_names(name for name, _ in wrong)})' if len(wrong) > 1 else ''
        raise ConfigError(f'{what} cannot be used: {name} {how}{more}; name another file.')
