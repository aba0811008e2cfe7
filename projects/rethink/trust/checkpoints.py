"""Files of weights and checkpoints: the newest whole one of a folder, and what one holds, without running its code."""

import os
import pickle
import zipfile
from pathlib import Path

from ..errors import ConfigError, NotOnlyWeights, say
from . import soundness


def read_checkpoint(path: str | os.PathLike):
    """What ``torch.save`` wrote to a local file, without running code from it and on CPU.

    Tensors stay on disk until they are used.

    Raises:
        NotOnlyWeights: it holds more than tensors, containers and MMEngine's logs (:mod:`rethink.trust`).
        ConfigError: it is not a file, or its index is broken (:func:`rethink.trust.soundness.check_file`).
        pickle.UnpicklingError: it is no checkpoint.
        RuntimeError, EOFError, OSError: it cannot be read, for instance because it is half-written.
    """
    soundness.check_file(path, checksums=False)
    import torch

    try:
        return torch.load(path, map_location='cpu', mmap=True, weights_only=True)
    except RuntimeError:  # files from before PyTorch 1.6 cannot be mapped
        return torch.load(path, map_location='cpu', weights_only=True)


# A path is shorter; what is longer is another file.
_LONGEST_PATH = 4096


def _named(pointer: Path) -> str | None:
    """The path in ``last_checkpoint``; None where it is a folder, binary or otherwise none."""
    if soundness.other_than_file(pointer):
        return None
    with open(pointer, 'rb') as file:
        content = file.read(_LONGEST_PATH + 1)
    text = content.decode('utf-8', errors='replace').strip()
    return text if 0 < len(text) <= _LONGEST_PATH and text.isprintable() else None


def _fault(path: Path) -> str | None:
    """Why training cannot go on from a file; None where it is a whole checkpoint."""
    try:
        soundness.check_file(path)
    except ConfigError as error:
        return str(error).split(';')[0]
    # What PyTorch wrote before 1.6 has no index at its end that says that it is whole.
    return None if zipfile.is_zipfile(path) else f'{path} is not a whole checkpoint'


def may_be_folder(cfg) -> bool:
    """Whether the checkpoints of a config may be folders, as those of DeepSpeed and FSDP are."""
    return cfg.get('runner_type') == 'FlexibleRunner'


def _iteration(path: Path) -> tuple[int, int] | None:
    """By which the newer of two checkpoints is told: the iteration in the file, then the number in its name.

    None where a training cannot go on from it: weights alone, such as the best so far. Not by the time of a file: a
    copied folder has another, and a clock may be set back.
    """
    digits = path.stem.rpartition('_')[2]
    number = int(digits) if digits.isdecimal() else 0
    of_training = path.name.startswith(('iter_', 'epoch_'))
    try:
        content = read_checkpoint(path)
        iteration = content['meta']['iter']
        whole = isinstance(iteration, int) and 'optimizer' in content
    except Exception:  # half-written, or another file
        whole = False
    return (iteration if whole else -1, number) if whole or of_training else None


def _in_order(folder: Path) -> list[tuple[tuple[int, int], Path]]:
    """The checkpoints of a training in a folder, the furthest first, each with its :func:`_iteration`."""
    found = [(_iteration(path), path) for path in folder.glob('*.pth') if path.is_file()]
    return sorted(((at, path) for at, path in found if at is not None), reverse=True)


def say_what_is_overwritten(work_dir: str | os.PathLike) -> None:
    """Before a training begins at 0: a line about the checkpoints that another one has left in its folder."""
    there = _in_order(Path(work_dir))
    if there:
        (iteration, _), path = there[0]
        at = f' (the last, {path.name}, at iteration {iteration})' if iteration >= 0 else ''
        say(
            f'{work_dir} has {len(there)} checkpoint{"s" * (len(there) > 1)} of an earlier training{at}: this one '
            'begins at 0 and writes over those of the same names; go on from them with --resume, or name another '
            '--work-dir.'
        )


def latest_checkpoint(work_dir: str | os.PathLike, folders: bool = False, doing: str = 'resuming') -> str | None:
    """The checkpoint that ``--resume`` goes on from: what ``last_checkpoint`` names, if it is whole.

    Where a kill came before the pointer was written, one of the same training that is further is taken, by the logs
    in the two. One that is further and of another training is named in a line.

    After a kill amid a save (with MMEngine's own hook), when the folder was moved, or when a disk lost a part, that
    file may be empty or something else, or name a checkpoint that is half-written, damaged or of the old place. Then
    the checkpoint of the most iterations whose index and checksums are right is taken, and a line says so. None where
    there is no checkpoint.

    Args:
        folders: a checkpoint may be a folder (:func:`may_be_folder`).
        doing: what is done with it, for the lines that are printed.
    """
    folder = Path(work_dir)
    pointer = folder / 'last_checkpoint'
    named = _named(pointer)
    if named and folders and os.path.isdir(named):
        return named
    faults = []
    # The folder's own before that of the old place, from which this one may be a copy.
    for path in dict.fromkeys([folder / Path(named).name, Path(named)] if named else []):
        if not os.path.lexists(path):
            continue
        fault = _fault(path)
        if fault is None:
            if path.resolve().parent != folder.resolve():
                say(f'{pointer} names {path}, of another folder, and there is none of this name here: {doing} it.')
            else:
                path = _further(path, folder, doing)
            return str(path)
        faults.append(fault)
    newest = None
    for _, path in _in_order(folder):
        fault = _fault(path)
        if fault is None:
            newest = path
            break
        faults += [fault] if fault not in faults else []
    if newest is None and not faults and not os.path.lexists(pointer):
        return None
    if named:
        what = f'{pointer} names {named}, which is not a whole checkpoint'
    else:
        what = f'{pointer} names no checkpoint' if os.path.lexists(pointer) else f'there is no {pointer}'
    if faults:
        what += f' ({"; ".join(faults)})'
    resumes = doing == 'resuming'
    begins = ', so training starts from the beginning.' if resumes else '.'
    say(f'{what}; ' + (f'{doing} {"from " * resumes}{newest}.' if newest else 'there is no other' + begins))
    return None if newest is None else str(newest)


def best_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """The best so far by ``save_best``, if it is whole; None without.

    It is the one that the last checkpoint names as its training's, and otherwise, as of several metrics, the one that
    is furthest.
    """
    folder, found = Path(work_dir), []
    own = _best_of_the_last(folder)
    for path in folder.glob('best_*.pth'):
        if _fault(path) is None:
            try:
                found.append((path.name == own, int(read_checkpoint(path)['meta']['iter']), path.name, path))
            except (NotOnlyWeights, pickle.UnpicklingError, KeyError, TypeError, ValueError, RuntimeError, OSError):
                continue
    return str(max(found)[-1]) if found else None


def _best_of_the_last(folder: Path) -> str:
    """The name of the best checkpoint, by the message hub in the last one; '' where that says nothing."""
    try:
        last = folder / Path(_named(folder / 'last_checkpoint')).name
        return Path(read_checkpoint(last)['message_hub']['runtime_info']['best_ckpt']).name
    except Exception:  # none yet, half-written, or of another program
        return ''


def _further(path: Path, folder: Path, doing: str) -> Path:
    """The last checkpoint, or one of the same training that is further: a kill may come before its pointer.

    A line about it, or about one of another training, as there is where one began anew in its folder.
    """
    own, line = _iteration(path), None
    for (iteration, _), other in _in_order(folder):
        if own is None or not 0 <= own[0] < iteration:
            break
        named = f'{folder / "last_checkpoint"} names {path.name}, of iteration {own[0]}'
        if not _goes_on_from(other, path):
            how = f'; --resume {other} goes on from there' if doing == 'resuming' else ''
            of_another = f'{other.name} is of iteration {iteration}, and of another training{how}'
            line = line or f'{named}: {doing} it; {of_another}.'
        elif _fault(other) is None:
            further = f'{other.name} is of iteration {iteration} of the same training'
            what = f'from {other.name} (--resume {path} goes back)' if doing == 'resuming' else other.name
            say(f'{named}; {further}: {doing} {what}.')
            return other
    if line:
        say(line)
    return path


def _goes_on_from(later: Path, earlier: Path) -> bool:
    """Whether the log in a checkpoint begins with that in another: what each iteration lost, and how long it took.

    No two trainings take the same times, and one that went back takes others for what it trains again.
    """
    import numpy as np

    try:
        after, before = (
            {name: vars(one)['_log_history'] for name, one in log.items() if name.startswith('train/')}
            for log in (read_checkpoint(path)['message_hub']['log_scalars'] for path in (later, earlier))
        )
        same = all(np.array_equal(after[name][: len(one)], one, equal_nan=True) for name, one in before.items())
    except Exception:  # a log of another program
        return False
    return same and len(before.get('train/time', ())) > 0


def read_content(path: str, what: str):
    """All that a local checkpoint holds, tensors mapped and not yet read.

    Args:
        what: its use, for the sentence of an error.

    Raises:
        NotOnlyWeights: it holds more than tensors, containers and MMEngine's logs.
        ConfigError: there is no such file, or it is not a checkpoint, or not a whole one.
    """
    other = soundness.other_than_file(path)
    if other:
        raise ConfigError(f'the checkpoint {path} ({what}) {other}; name a checkpoint, or train it first.')
    soundness.check_file(path)
    try:
        return read_checkpoint(path)
    except NotOnlyWeights as error:
        raise NotOnlyWeights(f'{str(error).rstrip(".")} ({what}).') from None
    except pickle.UnpicklingError as error:
        raise ConfigError(f'{path} ({what}) is not a PyTorch checkpoint.') from error
    except Exception as error:  # the unpickler lets any exception through that arbitrary bytes lead to
        raise ConfigError(f'{path} ({what}) cannot be read as a checkpoint; it may be half-written.') from error
