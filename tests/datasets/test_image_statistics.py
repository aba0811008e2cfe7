"""Mean and deviation of pixels: against float64 over all pixels, with any number of processes, with bad files."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from rethink.datasets import image_statistics
from rethink.datasets.image_statistics import Statistics, find_images, scan
from rethink.errors import ConfigError


def smooth(random, height, width):
    """A picture that compresses and whose channels differ."""
    small = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height)) // np.array([1, 2, 3], np.uint8)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images of many sizes, formats and modes."""
    root = tmp_path_factory.mktemp('images')
    random = np.random.default_rng(0)
    (root / 'a b').mkdir()
    for index in range(20):
        height, width = random.integers(20, 90, 2)
        suffix = ('jpg', 'png', 'tif', 'bmp', 'webp')[index % 5]
        cv2.imwrite(str(root / ('a b' if index % 2 else '') / f'{index}.{suffix}'), smooth(random, height, width))
    rgb = Image.fromarray(smooth(random, 40, 50))
    rgb.convert('L').save(root / 'grey.jpg')
    rgb.convert('CMYK').save(root / 'print.jpg')
    rgb.convert('P').save(root / 'palette.png')
    rgb.convert('RGBA').save(root / 'alpha.png')
    Image.fromarray(np.asarray(rgb.convert('L')).astype(np.uint16) * 257).save(root / 'sixteen.png')
    (root / 'readme.txt').write_text('no image')
    (root / '._0.jpg').write_bytes(b'what macOS leaves beside a file')
    return root


def oracle(folder):
    """float64, all pixels at once, decoded by OpenCV; in R, G, B."""
    pixels = [cv2.imread(str(folder / path), cv2.IMREAD_COLOR).reshape(-1, 3) for path in find_images(folder)]
    pixels = np.concatenate(pixels)[:, ::-1].astype(np.float64)
    return pixels.mean(0), pixels.std(0), len(pixels)


def test_it_is_the_mean_and_deviation_of_all_pixels(folder):
    paths = find_images(folder)
    assert len(paths) == 25 and paths == sorted(paths)
    found = scan(folder, paths, progress=False)
    mean, std, number = oracle(folder)
    assert (found.images, found.pixels, found.corrupt) == (25, number, [])
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.std, std, rtol=1e-12)


def test_any_number_of_processes_gives_the_same_bits(folder):
    paths = find_images(folder)
    others = multiprocessing.active_children()  # MMDetection's eval_map closes its pool and doesn't wait for its end
    one = scan(folder, paths, workers=1, progress=False)
    two = scan(folder, paths, workers=2, progress=False)
    assert vars(one) == vars(two)
    assert (one.mean, one.std) == (two.mean, two.std)
    assert set(multiprocessing.active_children()) <= set(others)


def test_the_order_of_colours_and_their_range_are_those_of_a_config(tmp_path):
    Image.new('RGB', (4, 3), (10, 100, 250)).save(tmp_path / 'plain.png')
    found = scan(tmp_path, ['plain.png'], progress=False)
    assert (found.mean, found.std) == ([10, 100, 250], [0, 0, 0])


def test_grey_and_16_bit_images_count_as_training_reads_them(folder):
    for name in ('grey.jpg', 'sixteen.png'):
        found = scan(folder, [name], progress=False)
        assert found.mean[0] == found.mean[1] == found.mean[2]
    grey = np.asarray(Image.open(folder / 'grey.jpg'), np.float64)
    assert scan(folder, ['grey.jpg'], progress=False).mean[0] == pytest.approx(grey.mean(), abs=0.5)
    sixteen = np.asarray(Image.open(folder / 'sixteen.png'), np.float64) / 257
    assert scan(folder, ['sixteen.png'], progress=False).mean[0] == pytest.approx(sixteen.mean(), abs=0.5)


def test_the_deviation_of_many_bright_pixels_keeps_its_digits():
    """The deviation of nearly equal large values, where sums in floating point lose it."""
    pixels = 3 * 10**10
    sums = [255 * pixels - 30] * 3  # 30 pixels of 254
    squares = [255**2 * (pixels - 30) + 254**2 * 30] * 3
    found = Statistics(1, pixels, sums, squares)
    assert found.std == pytest.approx([(30 / pixels * (1 - 30 / pixels)) ** 0.5] * 3, rel=1e-12)


def test_sums_of_one_large_image_are_exact(tmp_path):
    picture = np.random.default_rng(0).integers(200, 256, (1500, 1100, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'large.bmp'), picture)
    pixels, sums, squares = image_statistics.measure(tmp_path / 'large.bmp')
    exact = picture[..., ::-1].reshape(-1, 3).astype(np.int64)
    assert pixels == len(exact)
    assert (sums, squares) == (exact.sum(0).tolist(), (exact**2).sum(0).tolist())


@pytest.fixture
def broken(folder, tmp_path):
    """Ten whole images and five that are not, in names between them."""
    random = np.random.default_rng(1)
    for index in range(10):
        cv2.imwrite(str(tmp_path / f'{index}.jpg'), smooth(random, 120, 160))
    cv2.imwrite(str(tmp_path / '5b.png'), smooth(random, 50, 50))
    for name in ('3b.jpg', '5b.png'):
        whole = (tmp_path / name.replace('b.jpg', '.jpg')).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / '0b.jpg').write_bytes(b'')
    (tmp_path / '9b.jpg').write_bytes(b'<html>404</html>')
    (tmp_path / '4b.tif').write_bytes(b'II*\0')
    return tmp_path


@pytest.mark.parametrize('workers', [1, 2])
def test_corrupt_images_are_left_out_and_listed_or_refused(broken, workers):
    paths = find_images(broken)
    whole = [path for path in paths if 'b' not in path]
    found = scan(broken, paths, 'skip', workers, progress=False)
    assert found.corrupt == ['0b.jpg', '3b.jpg', '4b.tif', '5b.png', '9b.jpg']
    expected = scan(broken, whole, progress=False)
    assert (found.sums, found.squares, found.pixels) == (expected.sums, expected.squares, expected.pixels)
    with pytest.raises(ConfigError, match=r'0b\.jpg cannot be decoded.*--corrupt skip'):
        scan(broken, paths, 'refuse', workers, progress=False)
    with pytest.raises(ConfigError, match='none of the 2 images'):
        scan(broken, ['0b.jpg', '9b.jpg'], 'skip', workers, progress=False)
    with pytest.raises(ConfigError, match=r'gone\.jpg cannot be read \(No such file or directory\)'):
        scan(broken, [*whole, 'gone.jpg'], 'skip', workers, progress=False)


def test_empty_and_missing_folders_are_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match='has no image'):
        find_images(tmp_path)
    with pytest.raises(ConfigError, match='there is no folder'):
        find_images(tmp_path / 'nowhere')
    with pytest.raises(ConfigError, match='is empty'):
        scan(tmp_path, [], progress=False)


def stop_at(number, calls):
    """``measure`` that notes its calls in a list and is interrupted where there are ``number``."""
    measure = image_statistics.measure

    def measured(path):
        if len(calls) == number:
            raise KeyboardInterrupt
        calls.append(path)
        return measure(path)

    return measured


def test_a_scan_that_was_stopped_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    paths, state = find_images(folder), tmp_path / 'state'
    whole = scan(folder, paths, progress=False)
    calls = []
    monkeypatch.setattr(image_statistics, 'measure', stop_at(10, calls))
    with pytest.raises(KeyboardInterrupt):
        scan(folder, paths, state=state, progress=False)
    assert json.loads(state.read_text())['done'] == 10
    monkeypatch.undo()
    monkeypatch.setattr(image_statistics, 'measure', stop_at(None, calls))
    assert vars(scan(folder, paths, state=state, progress=False)) == vars(whole)
    assert len(calls) == len(set(calls)) == 25
    assert not state.exists()


def test_a_scan_of_other_images_or_with_another_choice_begins_anew(broken, tmp_path, monkeypatch):
    paths, state = find_images(broken), tmp_path / 'state'
    whole = [path for path in paths if 'b' not in path]
    # Stopped after 0b.jpg, which is corrupt and was skipped.
    monkeypatch.setattr(image_statistics, 'measure', stop_at(4, []))
    with pytest.raises(KeyboardInterrupt):
        scan(broken, paths, 'skip', state=state, progress=False)
    monkeypatch.undo()
    assert json.loads(state.read_text())['done'] == 4
    kept = state.read_bytes()
    with pytest.raises(ConfigError, match=r'0b\.jpg cannot be decoded'):
        scan(broken, paths, 'refuse', state=state, progress=False)
    state.write_bytes(kept)
    assert vars(scan(broken, whole, state=state, progress=False)) == vars(scan(broken, whole, progress=False))
    # A state that is no state is no state.
    state.write_text('{"key"')
    assert scan(broken, whole, state=state, progress=False).images == 10


@pytest.fixture
def run(run_in_process):
    return partial(run_in_process, 'dataset_converters/image_statistics.py')


def test_the_tool_prints_lines_for_a_config_and_writes_json(run, folder, tmp_path):
    code, printed = run(folder, '--workers', 1, '--out', tmp_path / 'out.json')
    assert code is None
    mean, std, number = oracle(folder)
    assert f'25 images, {number:,} pixels, 0 images left out' in printed
    assert 'mean = [' + ', '.join(f'{value:.3f}' for value in mean) + ']' in printed
    assert 'in [0, 1]: ' + ', '.join(f'{value / 255:.4f}' for value in std) in printed
    written = json.loads((tmp_path / 'out.json').read_text())
    np.testing.assert_allclose([written['mean'], written['std']], [mean, std], rtol=1e-12)
    assert [path.name for path in tmp_path.iterdir()] == ['out.json']


def test_the_tool_lists_what_it_skips_and_ends_with_a_sentence_otherwise(run, broken):
    code, printed = run(broken, '--workers', 1, '--corrupt', 'skip')
    assert code is None
    assert '10 images' in printed and '5 images left out' in printed
    assert printed.count('left out, cannot be decoded: ') == 5
    code, printed = run(broken, '--workers', 1)
    assert code == 2 and 'error: ' in printed and '0b.jpg cannot be decoded' in printed


def test_the_tool_compares_the_unlabelled_images_of_a_data_set_with_its_config(run, folder, tmp_path):
    (folder / 'splits').mkdir(exist_ok=True)
    (folder / 'splits' / 'unlabelled.txt').write_text('0.jpg\ngrey.jpg\n')
    config = ROOT / 'configs/_base_/datasets/hpt_flowers102.py'
    code, printed = run(config, '--data-root', folder, '--workers', 1)
    assert code is None
    assert '2 images' in printed
    assert 'the config has 0.4355, 0.3777, 0.2880' in printed and 'the config has 0.2970, 0.2459, 0.2705' in printed
    code, printed = run(config, '--data-root', tmp_path, '--workers', 1)
    assert code == 2 and 'make_splits.py' in printed


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_stopped_from_outside_no_process_is_left(tmp_path, how):
    """Ctrl-C goes to all processes of the group; a SIGKILL to the first one alone."""
    picture = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    encoded = cv2.imencode('.png', picture)[1].tobytes()
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / '000.png').write_bytes(encoded)
    for index in range(1, 2000):
        os.link(tmp_path / 'images' / '000.png', tmp_path / 'images' / f'{index:04d}.png')
    tool = ROOT / 'tools' / 'dataset_converters' / 'image_statistics.py'
    command = [sys.executable, tool, tmp_path / 'images', '--workers', '2', '--out', tmp_path / 'o.json']
    with open(tmp_path / 'log', 'w') as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stderr=log,
            stdout=log,
            start_new_session=True,
            # Tests that run in the background of a shell ignore it, and so would their processes.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
    deadline = time.time() + 120
    while not (len(_group(process.pid)) == 3 and '/2000' in (tmp_path / 'log').read_text()):
        assert process.poll() is None and time.time() < deadline, (tmp_path / 'log').read_text()
        time.sleep(0.05)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)
        process.wait(30)
        assert 'goes on from here' in (tmp_path / 'log').read_text()
        assert (tmp_path / '.o.json.scan').exists()
    else:
        process.kill()
        process.wait(30)
    assert not (tmp_path / 'o.json').exists()
    while _group(process.pid):
        assert time.time() < deadline, 'a worker was left behind'
        time.sleep(0.05)


def _group(leader):
    """Processes of a process group that are not zombies."""
    found = []
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            try:
                with open(f'/proc/{entry}/stat') as file:
                    fields = file.read().rsplit(')', 1)[1].split()
            except OSError:
                continue
            if fields[0] != 'Z' and int(fields[2]) == leader:
                found.append(int(entry))
    return found
