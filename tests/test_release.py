""".ci/release.py: what it refuses, in a repository made for it; and a whole release of a clone of this one."""

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest
import rethink
from conftest import ROOT

SPEC = importlib.util.spec_from_file_location('release_of_ci', ROOT / '.ci' / 'release.py')
FILES = {
    'projects/rethink/version.py': "__version__ = '1.2.3'\n",
    'CHANGELOG.md': '# Changelog\n\n## [1.2.3] - 2026-01-31\n\n- new\n\n## [1.2.2] - 2025-12-01\n',
    'CITATION.cff': 'cff-version: 1.2.0\ntype: software\nversion: 1.2.3\ndate-released: 2026-01-31\n',
}


def git(folder, *words) -> str:
    own = ['-c', 'user.name=A', '-c', 'user.email=a@b.c']
    return subprocess.run(['git', *own, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def release(tmp_path, monkeypatch):
    """The module, for a repository with a version that can be released."""
    module = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(module)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, 'init', '-q')
    git(tmp_path, 'add', '-A')
    git(tmp_path, 'commit', '-q', '-m', 'a')
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    return module


def test_the_version_of_this_repository_is_one():
    section = re.search(r'^## \[(.+?)\]', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)
    cited = re.search(r'^version: (.+)$', (ROOT / 'CITATION.cff').read_text(), re.MULTILINE)
    assert section[1] == cited[1] == rethink.__version__


def test_one_that_can_be_released(release):
    assert release.version() == '1.2.3'
    release.check_tree('v1.2.3')


@pytest.mark.parametrize(
    ('file', 'old', 'new', 'said'),
    [
        ('projects/rethink/version.py', '1.2.3', '1.2.4', 'first section of CHANGELOG.md is 1.2.3, and .* has 1.2.4'),
        ('projects/rethink/version.py', '1.2.3', '1.2', 'has 1.2, which is no version'),
        ('CHANGELOG.md', '2026-01-31', 'unreleased', 'has 1.2.3 as unreleased; write the day'),
        ('CHANGELOG.md', '## [1.2.3] - 2026-01-31\n', '', 'first section of CHANGELOG.md is 1.2.2'),
        ('CITATION.cff', '1.2.3', '1.2.2', 'CITATION.cff has version 1.2.2 and date-released 2026-01-31'),
        ('CITATION.cff', 'date-released: 2026-01-31\n', '', 'date-released None'),
    ],
)
def test_versions_that_differ_are_refused(release, tmp_path, file, old, new, said):
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(release.Refused, match=said):
        release.version()


def test_a_tree_that_is_not_clean_and_a_tag_that_is_there_are_refused(release, tmp_path):
    (tmp_path / 'new.txt').write_text('')
    with pytest.raises(release.Refused, match=r'files are changed or new: new\.txt; commit'):
        release.check_tree('v1.2.3')
    (tmp_path / 'new.txt').unlink()
    (tmp_path / 'CHANGELOG.md').write_text('')
    with pytest.raises(release.Refused, match=r'files are changed or new: CHANGELOG\.md'):
        release.check_tree('v1.2.3')
    git(tmp_path, 'checkout', '-q', 'CHANGELOG.md')
    git(tmp_path, 'tag', 'v1.2.3')
    with pytest.raises(release.Refused, match=r'there is a tag v1\.2\.3 already'):
        release.check_tree('v1.2.3')


@pytest.mark.long
def test_a_whole_release_of_a_clone(tmp_path):
    """Downloads twine. Builds, checks, tries and tags, and leaves everything else as it was."""
    clone = tmp_path / 'clone'
    subprocess.run(['git', 'clone', '-q', ROOT, clone], check=True)
    day = f'## [{rethink.__version__}] - 2026-01-31'
    text = (clone / 'CHANGELOG.md').read_text()
    (clone / 'CHANGELOG.md').write_text(re.sub(r'^## \[.*$', day, text, count=1, flags=re.MULTILINE))
    with open(clone / 'CITATION.cff', 'a') as file:
        file.write('date-released: 2026-01-31\n')
    command = [sys.executable, '.ci/release.py', '--tag']
    refused = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr.startswith('error: files are changed or new: CHANGELOG.md')
    git(clone, 'config', 'user.name', 'A')
    git(clone, 'config', 'user.email', 'a@b.c')
    git(clone, 'commit', '-q', '-a', '-m', 'release')
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('PASSED') == 2 and '2 differences: init, freeze.' in done.stdout
    name = f'rethink_detection-{rethink.__version__}'
    assert sorted(one.name for one in (clone / 'dist').iterdir()) == [f'{name}-py3-none-any.whl', f'{name}.tar.gz']
    assert (
        git(clone, 'cat-file', '-t', f'v{rethink.__version__}') == 'tag' and git(clone, 'status', '--porcelain') == ''
    )
    shutil.rmtree(clone)
