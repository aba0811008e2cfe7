"""`make help` lists every target, and starts nothing."""

import re
import subprocess

from conftest import ROOT


def test_help_has_a_line_for_each_target():
    done = subprocess.run(['make', '-s', 'help', 'VENV=/none'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    targets = re.search(r'^\.PHONY: (.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)[1].split()
    assert len(targets) > 5
    listed = dict(re.findall(r'^make ([a-z-]+) +(\S.*)$', done.stdout, re.MULTILINE))
    assert sorted(listed) == sorted(targets)
    assert 'what a plain `make` does' in listed['setup'] and targets[0] == 'setup'


def test_a_plain_make_is_the_setup():
    plain, setup = (
        subprocess.run(['make', '-n', *words, 'VENV=/none'], cwd=ROOT, capture_output=True, text=True).stdout
        for words in ([], ['setup'])
    )
    assert plain == setup and 'pip install' in plain
