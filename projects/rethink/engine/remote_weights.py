"""The weights that a training would download, and how they come to a machine without a network before it.

MMEngine and timm look for what they download in the cache of ``torch.hub``, under the last part of the address, and
take any file that is there. timm's newer weights are on the Hugging Face Hub, which has a cache of its own. Here the
same addresses are found by MMEngine's and timm's own functions, and the files put where they will be looked for.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import CheckpointLoader, checkpoint
from tqdm import tqdm

from ..config_tree import is_remote, items, remote_checkpoints
from ..errors import ConfigError, describe
from ..files import exclusively, sha256, write_atomically
from . import downloads
from .downloads import NotFetched

TIMM = 'timm/'
MANIFEST = 'weights.json'


def named_in(cfg: Config) -> list[str]:
    """What a config would download: ``torchvision://…``, ``https://…``, and ``timm/NAME`` with ``pretrained=True``."""
    return sorted({*remote_checkpoints(cfg), *_of_timm(cfg)})


def _of_timm(tree) -> Iterable[str]:
    """Backbones that timm gives their weights; where the config says from where, there is an address instead."""
    if isinstance(tree, dict) and tree.get('pretrained') is True and isinstance(tree.get('model_name'), str):
        overlay = tree.get('pretrained_cfg_overlay') or {}
        source = overlay.get('url') or overlay.get('file')
        if source is None:
            yield f'{TIMM}{tree["model_name"]}'
        elif is_remote(source):
            yield source
    for _, inner in items(tree):
        yield from _of_timm(inner)


@dataclass
class Wanted:
    """A file of weights.

    Args:
        name: as configs have it, such as ``'torchvision://resnet50'``.
        url: from where; '' of what is on the Hugging Face Hub.
        path: where it will be looked for; None where that is not known before.
        hub: repository of the Hub, and the file in it where timm names one.
        used_by: configs.
    """

    name: str
    url: str = ''
    path: Path | None = None
    hub: tuple[str, str | None] | None = None
    used_by: list[str] = field(default_factory=list)

    @property
    def source(self) -> str:
        return self.url or f'the Hugging Face Hub, {self.hub[0]}'


class _Asked(Exception):
    """The address that MMEngine would download."""


def address(name: str) -> str:
    """Where MMEngine would download what a name stands for; a release of torchvision or MMEngine knows its own names.

    Raises:
        ConfigError: it knows no such name, or does not download it.
    """

    def load_url(url: str, *_, **__):
        raise _Asked(url)

    known, checkpoint.load_url = checkpoint.load_url, load_url
    try:
        CheckpointLoader.load_checkpoint(name, map_location='cpu', logger='silent')
    except _Asked as asked:
        return asked.args[0]
    except KeyError:
        raise ConfigError(f'{name} is no name that MMEngine and torchvision have for weights; correct it.') from None
    except Exception as error:
        raise ConfigError(f'{name} is not for download by HTTP ({describe(error):.200}); fetch it by hand.') from None
    finally:
        checkpoint.load_url = known
    raise ConfigError(f'{name} is on this machine already, and not for download.')


def _find(name: str, cache: Path) -> Wanted:
    if not name.startswith(TIMM):
        url = address(name)
        return Wanted(name, url, cache / downloads.name_of(url))
    import timm
    from timm.models._builder import _resolve_pretrained_source

    model = name.removeprefix(TIMM)
    try:
        kind, where = _resolve_pretrained_source(timm.get_pretrained_cfg(model).to_dict())
    except (RuntimeError, AttributeError):
        kind = ''
    if kind == 'hf-hub':
        return Wanted(name, hub=(where, None) if isinstance(where, str) else tuple(where))
    if kind == 'url':
        return Wanted(name, where, cache / downloads.name_of(where))
    raise ConfigError(f'timm has no weights for {model} to download; name one of timm.list_pretrained().')


def find(names: dict[str, list[str]]) -> list[Wanted]:
    """The files of what configs name.

    Args:
        names: name -> configs that have it.

    Raises:
        ConfigError: a name that stands for nothing, or two addresses for which the cache has one place.
    """
    from torch import hub

    cache, found = Path(hub.get_dir()) / 'checkpoints', {}
    for name, used_by in names.items():
        one = _find(name, cache)
        one = found.setdefault(one.url or one.hub, one)
        one.used_by += [config for config in used_by if config not in one.used_by]
    places: dict[Path, Wanted] = {}
    for one in found.values():
        other = places.setdefault(one.path, one) if one.path else one
        if other is not one:
            raise ConfigError(
                f'{other.url} and {one.url} are both called {one.path.name}, by which torch.hub takes one for the '
                'other; download one of them by hand and name its file in the config.'
            )
    return list(found.values())


# --- the cache -------------------------------------------------------------------------------------------------------


class Cache:
    """The folder in which downloads are looked for, with what is known of its files in ``weights.json``.

    Attributes:
        known: name of a file -> its ``url``, ``names``, ``bytes``, ``sha256`` and when it was ``fetched``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, folder / MANIFEST
        try:
            content = json.loads(self.manifest.read_text()) if self.manifest.is_file() else {}
        except (OSError, ValueError):
            content = None
        if not isinstance(content, dict) or not all(isinstance(one, dict) for one in content.values()):
            raise ConfigError(f'{self.manifest} is not what this tool has written; remove it, and it is written anew.')
        self.known: dict[str, dict] = content

    def state(self, one: Wanted, any_hash: bool = False) -> str:
        """``'here'``, ``'missing'``, or what is wrong with a file that is here."""
        if one.hub:
            return 'here' if _on_disk(one) else 'missing'
        if not one.path.is_file():
            return 'missing'
        known, digest = self.known.get(one.path.name, {}), '' if any_hash else downloads.digest_in(one.path.name)
        if known.get('url', one.url) != one.url:
            return f'of another address, {known["url"]}'
        if not sha256(one.path).startswith(known.get('sha256', digest)):
            return 'damaged'
        return 'here'

    def fetch(self, one: Wanted, progress: Callable, any_hash: bool = False) -> None:
        """Have a file here, whole, and what it is in the manifest.

        Raises:
            NotFetched: it cannot be had, or the file of this name is another's.
        """
        if one.hub:
            path = _from_hub(one)
            self._note(os.path.relpath(path, self.folder), one, sha256(path), path.stat().st_size)
            return
        state, name = self.state(one, any_hash), one.path.name
        if state.startswith('of another'):
            raise NotFetched(
                f'{one.path} is {state}, and torch.hub would take it for {one.url}; move it away, or name another '
                '--out-dir.'
            )
        if state == 'here' and name not in self.known:
            # Downloaded by something else, which may have been stopped; its server knows how long it is.
            whole = downloads.size(one.url)
            state = 'here' if whole in (None, one.path.stat().st_size) else 'damaged'
        digest = '' if any_hash else downloads.digest_in(name)
        found = sha256(one.path) if state == 'here' else downloads.fetch(one.url, one.path, digest, progress)
        self._note(name, one, found, one.path.stat().st_size)

    def _note(self, name: str, one: Wanted, digest: str, size: int) -> None:
        before = self.known.get(name, {})
        now = dict(
            url=one.source,
            names=sorted({*before.get('names', []), one.name}),
            bytes=size,
            sha256=digest,
            fetched=before.get('fetched') if before.get('sha256') == digest else time.strftime('%Y-%m-%d %H:%M:%S'),
        )
        if now != before:
            self.known[name] = now
            write_atomically(self.manifest, json.dumps(self.known, indent=1, sort_keys=True).encode() + b'\n')


def open_cache() -> Cache:
    from torch import hub

    return Cache(Path(hub.get_dir()) / 'checkpoints')


def tell(wanted: Sequence[Wanted], any_hash: bool = False) -> bool:
    """Print what is needed, from where and for which configs; whether all of it is here."""
    cache = open_cache()
    if not wanted:
        print('Nothing is downloaded for it: weights are files of this machine, or random.')
    states = [cache.state(one, any_hash) for one in wanted]
    for state, one in zip(states, wanted, strict=True):
        print(f'{state:8} {one.name}' + f'\n{"":8} {one.source}' * (one.name != one.url))
        if one.used_by:
            first, more = Path(one.used_by[0]).stem, len(one.used_by) - 1
            print(f'{"":8} for {first}' + f' and {more} more config{"s" * (more > 1)}' * (more > 0))
    return all(state == 'here' for state in states)


def fetch_all(wanted: Sequence[Wanted], any_hash: bool = False) -> list[str]:
    """Have all of it here; a sentence on each that could not be had. Of two processes that fetch, one waits."""
    cache, failed = open_cache(), []
    if not wanted:
        return failed
    with exclusively(cache.folder, wait=True):
        cache = open_cache()
        for number, one in enumerate(wanted, 1):
            try:
                with _shown(one, f'{number} of {len(wanted)}') as progress:
                    cache.fetch(one, progress, any_hash)
            except NotFetched as error:
                failed.append(str(error))
    if len(failed) < len(wanted):
        print(
            f'{len(wanted) - len(failed)} of {len(wanted)} are in {cache.folder}, their SHA-256 in {MANIFEST} there.'
        )
    return failed


def fetched(name: str) -> str:
    """The path of what a name stands for, on this machine, where it is put if it is not there yet.

    Raises:
        ConfigError: it cannot be had, or the file of its name in the cache is another's.
    """
    (one,) = wanted = find({name: []})
    for failed in fetch_all(wanted):
        raise ConfigError(failed)
    return str(one.path)


@contextlib.contextmanager
def _shown(one: Wanted, number: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, and a line elsewhere, once a download has begun."""
    bar: tqdm | None = None

    def progress(here: int, whole: int | None) -> None:
        nonlocal bar
        if bar is None:
            print(f'{number}: {one.source}' + f', from byte {here:,} on' * (here > 0), file=sys.stderr, flush=True)
            bar = tqdm(
                desc=one.path.name[:40],
                initial=here,
                total=whole,
                unit='B',
                unit_scale=True,
                disable=None,
                leave=False,
            )
        if here < bar.n:  # begun anew
            bar.reset(whole)
        bar.total = whole
        bar.update(here - bar.n)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()


def _on_disk(one: Wanted) -> Path | None:
    """The file of a repository of the Hub that is here, of those that timm looks for in this order."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = one.hub[0].partition('@')
    for name in [one.hub[1]] if one.hub[1] else ['model.safetensors', 'pytorch_model.bin']:
        found = try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def _from_hub(one: Wanted) -> Path:
    """By timm's own function, which uses the Hub's: resumable, and whole or not there."""
    from timm.models import load_state_dict_from_hf

    try:
        load_state_dict_from_hf(one.hub[0], **({'filename': one.hub[1]} if one.hub[1] else {}))
    except Exception as error:
        raise NotFetched(f'{one.name} could not be fetched from {one.source} ({describe(error):.300}).') from None
    return _on_disk(one)
