"""What a nested config says of its parts: their types, and whether a file is on this machine."""


def find_types(tree, names: set[str], path: str = 'model') -> list[str]:
    """The dotted names of all ``type`` entries in a nested config whose value, without its scope, is in ``names``."""
    found = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for key, value in items:
        if key == 'type' and type_name(value) in names:
            found.append(path)
        found += find_types(value, names, f'{path}.{key}')
    return found


def type_name(kind) -> str:
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else getattr(kind, '__name__', '')


def is_remote(path) -> bool:
    return '://' in str(path)
