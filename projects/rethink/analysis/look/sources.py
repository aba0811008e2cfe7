"""Which pictures and videos somebody means by a file, a folder or a pattern, and under which names results go."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from ...config_tree import is_remote
from ...errors import ConfigError
from ...trust.images import EXTENSIONS as IMAGES
from ...trust.soundness import other_than_file

VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv')


def is_image(path: str) -> bool:
    return path.lower().endswith(IMAGES)


def is_video(path: str) -> bool:
    return path.lower().endswith(VIDEOS)


def find(inputs: Iterable[str]) -> list[str]:
    """The paths of images and videos, each once, in the order of the inputs and by name within a folder.

    Args:
        inputs: files; folders, for the images in them and not below; patterns such as ``'photos/**/*.jpg'``, for
            the images and videos among what they match.

    Raises:
        ConfigError: one of them is none of these, or has no image.
    """
    found = {}
    for one in inputs:
        found.update(dict.fromkeys(_of(one)))
    return list(found)


def _of(given: str) -> list[str]:
    if is_remote(given):
        raise ConfigError(f'{given} is an address; download it and name the file.')
    if os.path.isdir(given):
        return _of_folder(given)
    if not os.path.lexists(given) and glob.has_magic(given):
        matched = sorted(glob.glob(given, recursive=True))
        if not matched:
            raise ConfigError(f'nothing matches {given}; the pattern is relative to where you are.')
        good = [path for path in matched if (is_image(path) or is_video(path)) and os.path.isfile(path)]
        if not good:
            raise ConfigError(f'{given} matches {len(matched)} names and no image ({_endings(IMAGES)}) or video.')
        return good
    other = other_than_file(given)
    if other:
        raise ConfigError(f'the input {given} {other}; name an image, a folder of images, a pattern or a video.')
    if not (is_image(given) or is_video(given)):
        raise ConfigError(
            f'{given} has the name of no image ({_endings(IMAGES)}) and of no video ({_endings(VIDEOS)}); convert it.'
        )
    return [given]


def _of_folder(folder: str) -> list[str]:
    files = sorted(entry.path for entry in os.scandir(folder) if entry.is_file())
    images = [path for path in files if is_image(path)]
    if images:
        return images
    below = sum(is_image(name) for _, _, names in os.walk(folder) for name in names)
    videos = sum(map(is_video, files))
    hint = 'name a folder that has some'
    if below:
        hint = f"there are {below} in folders below it: name one of these, or the pattern '{Path(folder, '**', '*')}'"
    elif videos:
        hint = f'there are {videos} videos in it: name one of these'
    raise ConfigError(f'there is no image ({_endings(IMAGES)}) in {folder}; {hint}.')


def _endings(known: tuple[str, ...]) -> str:
    return ', '.join(known)


def names(paths: list[str]) -> dict[str, str]:
    """Path -> the name, without ending, under which its results are written: no two are the same.

    That of the file, below the folders in which the paths differ. Of two that have the same, as ``a.jpg`` and
    ``a.png``, each keeps its ending as well.
    """
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]
    root = os.path.commonpath(folders) if folders else ''
    whole = {path: os.path.relpath(os.path.abspath(path), root) for path in paths}
    stems = [os.path.splitext(name)[0] for name in whole.values()]
    return {
        path: stem if stems.count(stem) == 1 else name for (path, name), stem in zip(whole.items(), stems, strict=True)
    }
