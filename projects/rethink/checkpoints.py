"""Files of weights and checkpoints: the newest whole one of a folder, and what one holds, without running its code."""

import os
import pickle
from pathlib import Path

import torch
from torch import nn

from .errors import ConfigError, NotOnlyWeights, say


def read_checkpoint(path: str | os.PathLike):
    """What ``torch.save`` wrote to a local file, without running code from it and on CPU.

    Tensors stay on disk until they are used.

    Raises:
        NotOnlyWeights: it holds more than tensors, containers and MMEngine's logs (:mod:`rethink.trust`).
        pickle.UnpicklingError: it is no checkpoint.
        RuntimeError, EOFError, OSError: it cannot be read, for instance because it is half-written.
    """
    try:
        return torch.load(path, map_location='cpu', mmap=True, weights_only=True)
    except RuntimeError:  # files from before PyTorch 1.6 cannot be mapped
        return torch.load(path, map_location='cpu', weights_only=True)


def _complete(path: Path) -> bool:
    """Whether a checkpoint was written to its end (a torch.save file is a zip archive, whose index comes last)."""
    import zipfile

    return path.is_file() and zipfile.is_zipfile(path)


def latest_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """The checkpoint that ``--resume`` goes on from: what ``last_checkpoint`` names, if it is whole.

    After a kill amid a save (with MMEngine's own hook), or when the folder was moved, that file may be empty, name a
    half-written checkpoint or one of the old place; then the newest whole ``iter_*.pth`` or ``epoch_*.pth`` is taken.
    None where there is no checkpoint.
    """
    folder = Path(work_dir)
    pointer = folder / 'last_checkpoint'
    if not pointer.is_file():
        return None
    named = pointer.read_text().strip()
    if named and (os.path.isdir(named) or _complete(Path(named))):
        return named
    if named and _complete(folder / Path(named).name):
        return str(folder / Path(named).name)
    whole = [path for path in (*folder.glob('iter_*.pth'), *folder.glob('epoch_*.pth')) if _complete(path)]
    newest = max(whole, key=lambda path: path.stat().st_mtime, default=None)
    say(
        f'{pointer} names {named or "nothing"}, which is not a whole checkpoint; '
        + (f'resuming from {newest}.' if newest else 'there is no other, so training starts from the beginning.')
    )
    return None if newest is None else str(newest)


def read_content(path: str, what: str):
    """All that a local checkpoint holds, tensors mapped and not yet read.

    Args:
        what: its use, for the sentence of an error.

    Raises:
        NotOnlyWeights: it holds more than tensors, containers and MMEngine's logs.
        ConfigError: there is no such file, or it is not a checkpoint, or not a whole one.
    """
    if not os.path.isfile(path):
        raise ConfigError(f'the checkpoint {path} ({what}) does not exist; name one that does, or train it first.')
    try:
        return read_checkpoint(path)
    except NotOnlyWeights as error:
        raise NotOnlyWeights(f'{str(error).rstrip(".")} ({what}).') from None
    except pickle.UnpicklingError as error:
        raise ConfigError(f'{path} ({what}) is not a PyTorch checkpoint.') from error
    except Exception as error:  # the unpickler lets any exception through that arbitrary bytes lead to
        raise ConfigError(f'{path} ({what}) cannot be read as a checkpoint; it may be half-written.') from error


def read_state_dict(path: str, what: str) -> dict[str, torch.Tensor]:
    """The weights in a local checkpoint, mapped and not yet read; the ``module.`` of a wrapper is left away.

    Args:
        what: its use, for the sentence of an error.

    Raises:
        ConfigError: as :func:`read_content`, or it has no weights of a model.
    """
    content = read_content(path, what)
    for key in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict):
        raise ConfigError(f'{path} ({what}) holds a {type(content).__name__}, not the weights of a model.')
    return {key.removeprefix('module.'): value for key, value in content.items() if isinstance(value, torch.Tensor)}


def compare(model: nn.Module, weights: dict[str, torch.Tensor]) -> tuple[int, list[str], list[str], int]:
    """How many tensors match in name and shape; names the file lacks; names whose shape differs; tensors in all."""
    own = {
        key: value
        for key, value in model.state_dict().items()
        if isinstance(value, torch.Tensor) and not key.endswith('num_batches_tracked')
    }
    lacking = [key for key in own if key not in weights]
    differing = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    return len(own) - len(lacking) - len(differing), lacking, differing, len(own)


def shapes(model: nn.Module, weights: dict[str, torch.Tensor], key: str) -> str:
    theirs, ours = tuple(weights[key].shape), tuple(model.state_dict()[key].shape)
    return f'{key} is {theirs} in the file and {ours} in the model'
