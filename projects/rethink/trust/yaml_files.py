"""Files in YAML beside the configs, read without running anything, with a sentence for what is none."""

from pathlib import Path

import yaml

from ..errors import ConfigError
from ..reuse import located


def read_yaml(path: str | Path, what: str) -> dict:
    """The dict that a YAML file holds.

    Args:
        path: or ``rethink::PATH``, one beside the configs of this project.
        what: it is, for the sentence of an error, such as ``'metafile'``.

    Raises:
        ConfigError: there is no such file, it is not YAML, has a tag that would make more than values, or is no dict.
    """
    path = located(path)
    if not path.is_file():
        there = f'{path} is not a file' if path.exists() else f'there is no {what} {path}'
        raise ConfigError(f'{there}; the studies have configs/<study>/{what if "." in what else f"{what}.yml"}.')
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except yaml.constructor.ConstructorError as error:
        raise ConfigError(
            f'the {what} {path} has what is more than values ({error.problem}, line {error.problem_mark.line + 1}); '
            'take it out.'
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f', at line {mark.line + 1}' if mark else ''
        raise ConfigError(f'the {what} {path} is not YAML in UTF-8{where}; correct it.') from None
    except ValueError as error:  # a date that is none, say
        raise ConfigError(f'the {what} {path} has a value that cannot be read ({error}); correct it.') from None
    if not isinstance(content, dict):
        kind = 'empty' if content is None else f'a {type(content).__name__}'
        raise ConfigError(f'the {what} {path} is {kind}, and should be a dict; correct it.')
    return content


def entry(tree, key: str, kind: type | tuple[type, ...], where: str, default=None):
    """``tree[key]``, which must be of a kind; ``default`` where there is none.

    Raises:
        ConfigError: ``tree`` is no dict, has no such key and there is no default, or another kind of value.
    """
    value = tree.get(key) if isinstance(tree, dict) else None
    value = default if value is None else value
    if not isinstance(value, kind) or isinstance(value, bool):
        names = ' or '.join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        found = 'missing' if value is None else f'{value!r:.60}'
        raise ConfigError(f'{where}: {key} is {found}, and should be of the kind {names}.')
    return value
