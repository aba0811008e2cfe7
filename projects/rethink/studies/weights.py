"""What configs and studies would download before they train (:mod:`rethink.engine.remote_weights`)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from ..config_tree import is_remote
from ..engine import launch
from ..engine.remote_weights import TIMM, named_in
from ..reuse import located
from . import study
from .plan import Plan


def named(sources: Sequence[str], tools: Path, options: dict | None = None) -> dict[str, list[str]]:
    """Names of weights, each with the configs that have it, in the order in which they are found.

    Args:
        sources: configs; studies, as files or folders; and weights themselves, by name or address.
        tools: folder of the scripts.
        options: overrides of the configs.

    Raises:
        ConfigError: one is none of these, or cannot be read.
    """
    found: dict[str, list[str]] = {}
    for source in sources:
        if is_remote(source) or source.startswith(TIMM):
            found.setdefault(source, [])
            continue
        for name, cfg in _configs(source, tools, options):
            for one in named_in(cfg):
                used_by = found.setdefault(one, [])
                if name not in used_by:
                    used_by.append(name)
    return found


def _configs(source: str, tools: Path, options: dict | None) -> Iterator[tuple[str, Config]]:
    if not source.endswith(('.yml', '.yaml')) and not located(source).is_dir():
        yield source, launch.load_config(source, options, import_custom_modules=False)
        return
    # As they are trained: a run that begins with another's checkpoint downloads none.
    declared = study.read(source)
    text = [f'{key}={value}' for key, value in (options or {}).items()]
    for task in Plan(declared, Path('work_dirs') / declared.name, tools, options=text).tasks:
        if task.cfg is not None:
            yield task.run.config, task.cfg
