"""Make of a clean tree what can be published: checked, built, tried. Publishes nothing, and tags only with --tag.

    python .ci/release.py           (make release)
    python .ci/release.py --tag

What is looked at: no file is changed or new; the version (projects/rethink/version.py) is that of the first section
of CHANGELOG.md, which has a day, and of CITATION.cff with that day; there is no tag of it yet. Then the source
archive, and from it the wheel, are built of what git has and checked by twine in an environment of its own. The
wheel is installed into an empty folder, where its command compares two configs that it carries. Whether CI is green,
and to upload, is left to a person. Needs PyPI, for hatchling and twine.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ARMS = ('rethink::rethink/scratch_r50_gn_6x.py', 'rethink::rethink/pretrain_r50_gn_6x.py')


class Refused(Exception):
    """Why there is no release, in one sentence."""


def run(*command, cwd: Path | None = None, **environment) -> str:
    """What a command prints; where it fails, its last lines are the reason."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd or ROOT,
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        last = '\n'.join(done.stdout.strip().splitlines()[-15:])
        raise Refused(f'{" ".join(map(str, command[:4]))} ended with exit code {done.returncode}:\n{last}')
    return done.stdout.rstrip()


def version() -> str:
    """The one version, which three files agree on.

    Raises:
        Refused: they do not, or it is not released yet.
    """
    (here,) = re.findall(r"^__version__ = '(.+)'$", (ROOT / 'projects/rethink/version.py').read_text(), re.M)
    if not re.fullmatch(r'\d+\.\d+\.\d+((a|b|rc)\d+)?', here):
        raise Refused(f'projects/rethink/version.py has {here}, which is no version such as 0.2.0 or 0.2.0rc1.')
    section = re.search(r'^## \[(.+?)\](?: - (.+))?$', (ROOT / 'CHANGELOG.md').read_text(), re.M)
    named, day = section.groups() if section else (None, None)
    if named != here:
        raise Refused(f'the first section of CHANGELOG.md is {named}, and projects/rethink/version.py has {here}.')
    if not re.fullmatch(r'\d{4}-\d\d-\d\d', day or ''):
        raise Refused(f'CHANGELOG.md has {here} as {day}; write the day of the release there, as 2026-01-31.')
    cited = dict(
        re.findall(r'^(version|date-released): *["\']?([^"\'\n]+)', (ROOT / 'CITATION.cff').read_text(), re.M)
    )
    if (cited.get('version'), cited.get('date-released')) != (here, day):
        raise Refused(
            f'CITATION.cff has version {cited.get("version")} and date-released {cited.get("date-released")}, and '
            f'CHANGELOG.md {here} and {day}.'
        )
    return here


def check_tree(tag: str) -> None:
    """Nothing is changed, nothing new, and there is no such tag.

    Raises:
        Refused: there is.
    """
    changed = run('git', 'status', '--porcelain')
    if changed:
        files = [line[3:] for line in changed.splitlines()]
        more = f' and {len(files) - 3} more' if len(files) > 3 else ''
        raise Refused(f'files are changed or new: {", ".join(files[:3])}{more}; commit them, or take them away.')
    if run('git', 'tag', '--list', tag):
        raise Refused(f'there is a tag {tag} already; a release has a version of its own.')


def build(folder: Path, out: Path) -> list[Path]:
    """The source archive and the wheel of what git has, checked and tried; their files in ``out``."""
    source, built = folder / 'source', folder / 'built'
    source.mkdir()
    archive = folder / 'source.tar'
    run('git', 'archive', '--output', archive, 'HEAD')
    run('tar', '--extract', '--file', archive, '--directory', source)
    # The wheel is built from the source archive, which therefore has all that it needs.
    run(sys.executable, '-m', 'build', '--outdir', built, source)
    files = sorted(built.iterdir())
    if [one.name.split('-')[0] for one in files] != ['rethink_detection'] * 2:
        raise Refused(f'built were {[one.name for one in files]}, in place of one archive and one wheel.')

    print('twine', flush=True)
    venv.create(folder / 'twine', with_pip=True)
    python = folder / 'twine' / 'bin' / 'python'
    run(python, '-m', 'pip', 'install', '-q', 'twine')
    print(run(python, '-m', 'twine', 'check', '--strict', *files))

    print('installed elsewhere', flush=True)
    site, empty = folder / 'site', folder / 'empty'
    empty.mkdir()
    wheel = next(one for one in files if one.suffix == '.whl')
    run(sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', site, wheel)
    command, path = site / 'bin' / 'rethink', str(site)
    said = run(command, '--version', cwd=empty, PYTHONPATH=path)
    if f'{site}/rethink' not in said:
        raise Refused(f'the command of the wheel runs another rethink: {said}')
    print(said)
    print(run(command, 'diff', *ARMS, '--expect', 'init,freeze', cwd=empty, PYTHONPATH=path).splitlines()[-1])

    out.mkdir(exist_ok=True)
    return [Path(shutil.move(one, out / one.name)) for one in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--tag', action='store_true', help='make the annotated tag, here; it is not pushed')
    tag = parser.parse_args().tag
    try:
        name = f'v{version()}'
        check_tree(name)
        with tempfile.TemporaryDirectory() as folder:
            files = build(Path(folder), ROOT / 'dist')
        for file in files:
            print(f'{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(ROOT)}')
        if tag:
            run('git', 'tag', '--annotate', name, '--message', f'rethink {name[1:]}')
            print(f'tagged {name}; git push origin {name} publishes it')
    except Refused as refused:
        sys.exit(f'error: {refused}')


if __name__ == '__main__':
    main()
