"""A config as one flat file that needs no other: for another repository, or to be kept beside a result.

Variables of the config's files that nothing reads once they are in their places (``norm_cfg``, ``train_pipeline``) are
left out: in a flat file, changing them would change nothing.
"""

import ast
import inspect
import os
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner

from ..config_tree import SAME_BITS
from ..errors import ConfigError
from ..version import __version__
from .provenance import ResolvedConfig

# What is read at the top of a config: by MMEngine's Runner, by MMDetection's tools, by this project's.
_STOCK_KEYS = {*inspect.signature(Runner.__init__).parameters} - {'self', 'cfg'} | {
    'auto_scale_lr', 'compile', 'custom_imports', 'find_unused_parameters', 'model_wrapper_cfg', 'runner_type',
    'sync_bn', 'tta_model', 'tta_pipeline',
}  # fmt: skip
_OUR_KEYS = {'allow_class_subset', 'auto_scaled'}
_KEYS_OF_A_PROTOCOL = {'data_root', 'epochs', 'learning_rates', 'metric', 'multi_label', 'num_classes', 'protocol'}
# A reader looks for the model first and for the logger last.
_FIRST = (
    'default_scope', 'custom_imports', 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler',
    'auto_scale_lr', 'custom_hooks', 'val_dataloader', 'val_evaluator', 'val_cfg', 'test_dataloader', 'test_evaluator',
    'test_cfg', 'tta_model', 'tta_pipeline', 'load_from', 'resume', 'randomness',
)  # fmt: skip
# What MMEngine and MMDetection have in place of ours, with the same arguments and the same results.
STOCK = {
    'AtomicCheckpointHook': 'CheckpointHook',
    'ResumableTrainLoop': 'IterBasedTrainLoop',
    'ResumableEpochTrainLoop': 'EpochBasedTrainLoop',
    'FasterLVISMetric': 'LVISMetric',
    **SAME_BITS,
}


def export(config: ResolvedConfig, stock: bool = False) -> str:
    """The text of a config file without ``_base_`` that resolves to what ``config`` resolves to.

    Args:
        config: the config.
        stock: for an environment without rethink: its checkpoint hook, training loop, transforms and LVIS metric are
            then those of MMEngine and MMDetection, its test-time augmentation is left out.

    Raises:
        ConfigError: with ``stock``, the config needs a module of rethink; it trains another config first; or a value
            cannot be written as text.
    """
    values = config.config.to_dict()
    if values.get('switch_from'):
        first = Path(values['switch_from']['config']).name
        raise ConfigError(
            f'{config.name} trains {first} first (switch_from), so that one file cannot hold it; export that config, '
            'and this one with --cfg-options switch_from=None to go on from its checkpoint (docs/cascade.md).'
        )
    keys = set(_STOCK_KEYS)
    if not stock:
        keys |= _OUR_KEYS | (_KEYS_OF_A_PROTOCOL if 'protocol' in values else set())
    read = {key: value for key, value in values.items() if key in keys}
    dropped = sorted(values.keys() - read.keys())
    notes = _made_stock(read) if stock else []
    ours = _of_rethink(read)
    used = sorted({kind for _, kind in ours})
    if stock and used:
        paths = [path for path, _ in ours]
        raise ConfigError(
            f'{config.name} needs {", ".join(used)} of rethink at {", ".join(paths)}, for which MMDetection has '
            'nothing equal; export it without --stock and install rethink where it is used.'
        )

    header = _header(config, used, dropped, notes)
    text = f'{header}\n{_body(config, read)}\n'
    _prove(config, text, read)
    return text


def _body(config: ResolvedConfig, values: dict) -> str:
    order = [key for key in _FIRST if key in values] + sorted(values.keys() - set(_FIRST))
    try:
        return '\n'.join(Config({key: values[key]}).pretty_text.strip() for key in order)
    except SyntaxError as error:
        raise ConfigError(_no_text(config, str(error).splitlines()[-1].strip())) from error


def _no_text(config: ResolvedConfig, what: str) -> str:
    return (
        f'{config.name} cannot be written as one file: {what} has no text; give it as numbers, strings, lists, tuples '
        'or dicts.'
    )


def _made_stock(values: dict) -> list[str]:
    """Exchange in place what has an equal in MMEngine or MMDetection; what was done, in sentences."""
    notes = []
    for _, part in _parts(values):
        if part['type'] in STOCK and part.get('backend') != 'torch':  # which is ours alone
            notes.append(f'{part["type"]} of rethink is {STOCK[part["type"]]} here.')
            part['type'] = STOCK[part['type']]
        if part['type'] == 'CocoMetric' and 'backend' in part:
            notes.append(f'{part["type"]} has no backend here: it is pycocotools.')
            del part['backend']
    of_tta = {key: values[key] for key in ('tta_model', 'tta_pipeline') if key in values}
    if _of_rethink(of_tta):
        for key in of_tta:
            del values[key]
        notes.append('Test-time augmentation, which is a module of rethink, is left out.')
    imports = values.get('custom_imports', {})
    if 'rethink' in imports.get('imports', ()):
        imports['imports'] = [one for one in imports['imports'] if one != 'rethink']
        if not imports['imports']:
            del values['custom_imports']
    return list(dict.fromkeys(notes))


# --- what is ours ----------------------------------------------------------------------------------------------------


def registered() -> set[str]:
    """The names that MMEngine's registries, and those below them, know by rethink alone.

    Not those of a class that takes the place of its parent, as our ``CocoMetric`` does.
    """

    def names(registry: Registry) -> Iterator[str]:
        for name, module in registry.module_dict.items():
            parents = [one.__name__ for one in inspect.getmro(module)[1:]] if inspect.isclass(module) else []
            if module.__module__.split('.')[0] == 'rethink' and name not in parents:
                yield name
        for child in registry.children.values():
            yield from names(child)

    return {name for root in vars(mmengine.registry).values() if isinstance(root, Registry) for name in names(root)}


def _of_rethink(values: dict) -> list[tuple[str, str]]:
    """Path and type of every part that is a module of rethink."""
    ours = registered()
    return [(path, part['type']) for path, part in _parts(values) if part['type'].split('.')[-1] in ours]


def _parts(tree, path: str = '') -> Iterator[tuple[str, dict]]:
    """Path and dict of everything that names its type."""
    if isinstance(tree, dict) and isinstance(tree.get('type'), str):
        yield path, tree
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for key, value in items:
        yield from _parts(value, f'{path}.{key}'.lstrip('.'))


# --- the header ------------------------------------------------------------------------------------------------------


def _header(config: ResolvedConfig, used: list[str], dropped: list[str], notes: list[str]) -> str:
    """The docstring: what the config's own says, then where the file is from and what it needs."""
    file = Path(config.file)
    own = ast.get_docstring(ast.parse(file.read_text())) if file.suffix == '.py' and file.is_file() else None
    lines = [own, ''] if own else [f'{config.name}, as one file.', '']
    lines.append(f'Exported by rethink {__version__} from {config.name}{_state(file)}')
    if len(config.files) > 1:
        folder = os.path.commonpath([os.path.dirname(one) for one in config.files])
        lines.append('which inherited, the base of all first:')
        lines += [f'    {os.path.relpath(one, folder)}' for one in config.files[:-1]]
    if config.options:
        lines.append('with ' + ' '.join(f'{key}={value!r}' for key, value in config.options.items()))
    environment = config.config.env_variables
    if environment:
        lines.append('and in the environment ' + ' '.join(f'{key}={value}' for key, value in environment.items()))
    lines.append('')
    if used:
        lines.append(f'Needs rethink for {", ".join(used)}.')
    else:
        lines.append('Needs nothing of rethink; with an mmcv that has compiled ops, MMDetection alone trains it.')
    lines += notes
    if dropped:
        lines += textwrap.wrap(f'Left out, as variables that nothing reads: {", ".join(dropped)}.', 119)
    # MMEngine would put values into what looks like a variable of it, in a docstring as well.
    text = '\n'.join(lines).replace('\\', '\\\\').replace('"""', "'''").replace('{{', '{ {')
    return f'"""{text}\n"""\n'


def _state(file: Path) -> str:
    """``(commit 1a2b3c4, changed since)`` for a file that git knows, else nothing."""

    def git(*args: str) -> str:
        return subprocess.run(['git', *args], cwd=file.parent, capture_output=True, text=True, check=True).stdout

    try:
        if not git('ls-files', file.name):
            return ''
        # Any file of the chain may have changed, and the folder of all configs is what they have in common.
        changed = ', changed since' if git('status', '--porcelain', '--', ':/configs') else ''
        return f' (commit {git("rev-parse", "--short", "HEAD").strip()}{changed})'
    except (OSError, subprocess.CalledProcessError):
        return ''


def _prove(config: ResolvedConfig, text: str, values: dict) -> None:
    """Read the text as MMEngine will; refuse it if that gives anything else."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'exported.py'
        file.write_text(text)
        try:
            back = Config.fromfile(file, import_custom_modules=False).to_dict()
        except Exception as error:
            raise ConfigError(_no_text(config, f'a value ({error})')) from error
    for key in values:
        if back.get(key) != values[key]:
            raise ConfigError(_no_text(config, f'a value of {key}'))
