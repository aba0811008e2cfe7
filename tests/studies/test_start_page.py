"""docs/start.md, followed to the letter on generated images: each command runs and leaves what the page says."""

import os
import subprocess

import pytest
from conftest import CLASSES, ROOT, write_coco
from docs_commands import MADE, commands
from warm_python import warm_python

PAGE = (ROOT / 'docs' / 'start.md').read_text()
# The page's numbers are for photographs; these images are of 64 pixels.
SHORTER = {'--image-size 160 120': '--image-size 64 48', '--iterations 50': '--iterations 10'}

# Six trainings, four minutes: of CI, beside `make test`.
pytestmark = pytest.mark.long


def of_the_page() -> list[str]:
    return [one.text for one in commands() if one.page == 'docs/start.md' and not one.inline]


@pytest.fixture(scope='module')
def followed(tmp_path_factory):
    """The folder in which all commands were run, and what each printed."""
    clone = tmp_path_factory.mktemp('start')
    for name in ('tools', 'configs', 'projects'):
        (clone / name).symlink_to(ROOT / name)
    write_coco(clone / 'my_data', images=20)
    environment = os.environ | dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1')
    printed = {}
    for command in (one for one in of_the_page() if one not in MADE):
        for page, here in SHORTER.items():
            command = command.replace(page, here)
        python, _, arguments = command.partition(' ')
        assert python == 'python', command
        done = subprocess.run(
            f'{warm_python()} {arguments}', shell=True, cwd=clone, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, command + done.stdout[-2000:] + done.stderr[-4000:]
        printed[arguments.split()[0]] = done.stdout + done.stderr
    return clone, printed


def test_the_page_has_commands_and_no_other_numbers():
    assert of_the_page()[:3] == MADE and len(of_the_page()) == 10
    assert all(PAGE.count(page) == 1 for page in SHORTER)


def test_the_data_are_told(followed):
    printed = followed[1]['tools/misc/check_data.py']
    assert all(name in printed for name in CLASSES) and '20' in printed


def test_six_trainings_end_in_verdicts_of_the_claims(followed):
    out = followed[0] / 'work_dirs' / 'mine'
    assert {path.parent.name for path in (out / 'seed0').glob('*/last_checkpoint')} == {
        f'{init}_fpn_{length}' for init in ('scratch', 'finetune', 'freeze') for length in ('1x', '6x')
    }
    report = (out / 'report.md').read_text()
    claims = [line for line in report.splitlines() if line.startswith('|') and 'after' in line]
    verdicts = ('shown', 'contradicted', 'not decided')
    assert len(claims) >= 4 and all(any(one in line for one in verdicts) for line in claims), report
    assert (out / 'report.html').stat().st_size > 10_000


def test_detections_are_painted(followed):
    names = {f'{index:03d}' for index in range(20)}
    assert {path.stem for path in (followed[0] / 'found' / 'vis').iterdir()} == names
    assert {path.stem for path in (followed[0] / 'found' / 'preds').iterdir()} == names


def test_arms_differ_in_the_initialisation(followed):
    assert '1 difference: init.' in followed[1]['tools/misc/diff_configs.py']
