"""The site of the docs, for Sphinx: `make docs`.

The pages are the Markdown files of this folder, which are read on their own as well. Two references are made from the
code when the site is built, below `docs/reference` (not in git): the tools, of their `--help`, and the API, of the
docstrings. What cannot be resolved, a file, a heading or a name, fails the build (`-W`).
"""

import ast
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PACKAGE = ROOT / 'projects' / 'rethink'
MADE = DOCS / 'reference'

project = 'rethink'
author = 'the authors of rethink'
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
# The last two are what the notebook leaves here.
exclude_patterns = ['_build', 'reference/beside/readme.md', 'work_dirs', 'rethink_checkout']
html_theme = 'furo'
html_title = 'rethink'

# Headings are linked as on GitHub, whose rule the pages are written for.
myst_heading_anchors = 6
# Files beside the docs (configs, modules) become downloads.
myst_enable_extensions = ['dollarmath']

autodoc_default_options = {'members': True, 'member-order': 'bysource', 'show-inheritance': True}
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


# Markdown beside the docs, and the page of the site that is made of each.
BESIDE = {
    ROOT / 'README.md': 'readme',
    ROOT / 'CHANGELOG.md': 'changelog',
    ROOT / 'CONTRIBUTING.md': 'contributing',
    **{path: f'configs_{path.parent.name}' for path in sorted((ROOT / 'configs').glob('*/README.md'))},
}
_LINK = re.compile(r'\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)')


def links(text: str, old: Path, new: Path) -> str:
    """A page that is read as if it were in the folder ``new`` and was written for ``old``."""

    def moved(found: re.Match) -> str:
        target = (old / found[1]).resolve()
        if not target.exists():
            raise FileNotFoundError(f'{old}: the link {found[1]} leads nowhere')
        if target.is_dir():  # nothing to show of it
            return ']'
        if target in BESIDE:
            target = MADE / 'beside' / f'{BESIDE[target]}.md'
        return f']({os.path.relpath(target, new)}{found[2] or ""})'

    text = _LINK.sub(moved, text)
    return re.sub(r'(?<!!)\[([^\]]*)\](?![(\[:])', r'\1', text) if old != new else text


def write_beside() -> None:
    (MADE / 'beside').mkdir(exist_ok=True)
    for path, name in BESIDE.items():
        made = MADE / 'beside'
        # The README is a part of the first page.
        (made / f'{name}.md').write_text(links(path.read_text(), path.parent, DOCS if name == 'readme' else made))


def read(app, name: str, source: list[str]) -> None:
    """Links of a page of this folder to what is beside it."""
    if '/' not in name:
        source[0] = links(source[0], DOCS, DOCS)


def help_of(tool: Path) -> str:
    environment = os.environ | {'COLUMNS': '110', 'PYTHONPATH': str(PACKAGE.parent), 'PYTHON': sys.executable}
    command = [sys.executable if tool.suffix == '.py' else 'bash', tool, '--help']
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def write_tools() -> None:
    from rethink.commands import scripts

    tools = scripts()
    with ThreadPoolExecutor(2) as pool:
        helps = list(pool.map(help_of, tools.values()))
    parts = ['# All tools\n\nWhat `--help` of each says; what they have in common is in [tools.md](../tools.md).\n']
    for tool, text in zip(tools, helps, strict=True):
        parts.append(f'## tools/{tool}\n\n```text\n{text.rstrip()}\n```\n')
    (MADE / 'tools.md').write_text('\n'.join(parts))


def modules() -> dict[str, list[str]]:
    """Packages of rethink and what has a docstring in each, in the order of their names; ``''`` is the top."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        name = '.'.join(('rethink', *path.relative_to(PACKAGE).with_suffix('').parts)).removesuffix('.__init__')
        package = path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else ''
        if ast.get_docstring(ast.parse(path.read_text())) and not path.stem.startswith('__main__'):
            found.setdefault(package, []).append(name)
    return found


def write_api() -> None:
    parts = ['# API\n\nBy package, of the docstrings; each module begins with what it is for.\n']
    listed = []
    for package, names in sorted(modules().items()):
        page = f'api_{package or "rethink"}'
        listed.append(page)
        title = f'rethink.{package}' if package else 'rethink'
        blocks = [f'## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n' for name in names]
        (MADE / f'{page}.md').write_text('\n'.join([f'# {title}\n', *blocks]))
    parts.append('```{toctree}\n:maxdepth: 1\n\n' + '\n'.join(listed) + '\n```\n')
    (MADE / 'api.md').write_text('\n'.join(parts))


def setup(app) -> None:
    sys.path.insert(0, str(PACKAGE.parent))
    MADE.mkdir(exist_ok=True)
    write_beside()
    write_tools()
    write_api()
    app.connect('source-read', read)
