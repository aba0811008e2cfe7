"""Images that are no files or a bomb end a run with their names: before it where a listing tells, else amid it."""

import io
import os
import struct
import time
import zlib

import cv2
import mmcv
import numpy as np
import pytest
from conftest import write_coco, write_detector
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets.transforms import LoadAnnotations, LoadPanopticAnnotations
from PIL import Image, ImageFile
from rethink import checks
from rethink.datasets import image_statistics, subsets
from rethink.engine import launch
from rethink.errors import ConfigError
from rethink.trust.images import cut_off, file_cut_off, odd_images, size_of, too_large
from rethink.trust.soundness import other_than_file


def bomb(path, size=60_000):
    """A blank PNG of one bit a pixel: 60,000 × 60,000 are 437 kB."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    packer, row = zlib.compressobj(9), bytes(1 + size // 8)
    data = b''.join(packer.compress(row) for _ in range(size)) + packer.flush()
    header = struct.pack('>IIBBBBB', size, size, 1, 0, 0, 0, 0)
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', data) + chunk(b'IEND', b''))
    return path


@pytest.fixture(scope='module')
def large(tmp_path_factory):
    """Below OpenCV's own limit of 2**30 pixels, so that it would be decoded: 2.7 GB."""
    return bomb(tmp_path_factory.mktemp('large') / 'large.png', 30_000)


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'BMP', 'WEBP', 'TIFF', 'GIF'])
def test_the_size_is_that_of_the_decoder(kind):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (37, 61, 3), dtype=np.uint8))
    for options in [{}, dict(progressive=True)] if kind == 'JPEG' else [{}]:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        assert size_of(file.getvalue()) == (61, 37)
    file = io.BytesIO()
    if kind == 'JPEG':  # a header with a thumbnail of another size in front of the picture's own
        picture.save(file, kind, exif=b'Exif\0\0' + b'\xff\xc0\0\x11\x08\0\x01\0\x01' + bytes(9000))
        assert size_of(file.getvalue()) == (61, 37)


def test_what_is_no_image_has_no_size():
    for content in (b'', b'\xff\xd8', b'\xff\xd8\xff', b'\xff\xd8' + b'\xff' * 99, b'\x89PNG\r\n\x1a\n', b'text' * 99):
        assert size_of(content) is None and too_large(content) is None


def test_a_large_photograph_is_no_bomb(large):
    """One byte for each ten pixels is no unusual compression; a byte for thousands is none of a photograph."""
    header = large.read_bytes()[:64]
    assert too_large(header + bytes(30_000 * 30_000 // 10)) is None
    assert too_large(large.read_bytes()) == f'would have 30000 × 30000 pixels and has {large.stat().st_size} bytes'
    blank = cv2.imencode('.png', np.zeros((8000, 8000), np.uint8))[1].tobytes()
    assert mmcv.imfrombytes(blank).shape == (8000, 8000, 3)


def test_it_is_refused_at_once_and_by_name(large, tmp_path):
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r'the image .*large\.png would have 30000 × 30000 pixels and has'):
        LoadImageFromFile()(dict(img_path=str(large)))
    with pytest.raises(ConfigError, match='an image would have'):
        mmcv.imfrombytes(large.read_bytes())
    os.mkfifo(tmp_path / 'pipe.jpg')
    with pytest.raises(ConfigError, match=r'the image .*pipe\.jpg is a FIFO and not a file'):
        LoadImageFromFile()(dict(img_path=str(tmp_path / 'pipe.jpg')))
    assert LoadImageFromFile(ignore_empty=True)(dict(img_path=str(tmp_path / 'pipe.jpg'))) is None
    assert time.monotonic() - start < 2


def test_what_cannot_be_decoded_has_a_name(tmp_path, data):
    whole = (data / 'images' / '000.png').read_bytes()
    jpeg = cv2.imencode('.jpg', cv2.imread(str(data / 'images' / '000.png')))[1].tobytes()
    for content in (b'', b'text', whole[:100], whole[:-100], jpeg[:200]):
        (tmp_path / 'x.png').write_bytes(content)
        with pytest.raises(AssertionError, match=r'failed to load image: .*x\.png'):
            LoadImageFromFile()(dict(img_path=str(tmp_path / 'x.png')))


def encoded(kind, **options):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8))
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    'whole',
    [encoded('JPEG'), encoded('JPEG', progressive=True), encoded('PNG'),
     encoded('JPEG', exif=b'Exif\0\0' + b'\xff\xd8' + bytes(4000) + b'\xff\xd9')],
    ids=['JPEG', 'progressive', 'PNG', 'thumbnail'],
)  # fmt: skip
def test_half_an_image_has_no_end(whole, tmp_path):
    # Cameras write more behind it.
    for content, half in ((whole, False), (whole + bytes(5000), False), (whole[:-2], whole[:2] == b'\xff\xd8'),
                          (whole[: len(whole) * 2 // 3], True)):  # fmt: skip
        assert cut_off(content) is half
        (tmp_path / 'x').write_bytes(content)
        assert file_cut_off(tmp_path / 'x') is half
    assert not cut_off(encoded('BMP')[:-100]) and not cut_off(b'')


def test_half_an_image_that_is_filled_is_named_once(tmp_path, capfd, monkeypatch):
    """Pillow fills it where it is told to; once for a training and its data workers."""
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)
    path = tmp_path / 'half.jpg'
    path.write_bytes(encoded('JPEG')[:-1000])
    load = LoadImageFromFile(imdecode_backend='pillow')
    worker = os.fork()
    if not worker:
        load(dict(img_path=str(path)))
        os._exit(0)
    os.waitpid(worker, 0)
    for _ in range(2):
        assert load(dict(img_path=str(path)))['img'].shape == (60, 80, 3)
    assert capfd.readouterr().out == (
        f'warning: the image {path} is cut off, and what is missing is filled; copy it again.\n'
    )


@pytest.mark.parametrize('panoptic', [False, True])
def test_a_segmentation_map_that_is_none(tmp_path, panoptic, large):
    load = LoadAnnotations(with_bbox=False, with_label=False, with_seg=True)
    if panoptic:  # its __init__ asks for a package that is not on PyPI
        loader = LoadPanopticAnnotations.__new__(LoadPanopticAnnotations)
        loader.backend_args = None
        load = loader._load_masks_and_semantic_segs
    path = tmp_path / 'map.png'
    record = dict(seg_map_path=str(path), segments_info=[], ori_shape=(60, 80))
    os.mkfifo(path)
    with pytest.raises(ConfigError, match=rf'the segmentation map {path} is a FIFO and not a file; replace it'):
        load(dict(record))
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=rf'the segmentation map {path} is a folder and not a file'):
        load(dict(record))
    with pytest.raises(ConfigError, match=rf'the segmentation map {large} would have 30000'):
        load(dict(record, seg_map_path=str(large)))
    path.rmdir()
    for content in (b'text', b'', encoded('PNG')[:-100]):
        path.write_bytes(content)
        with pytest.raises(AssertionError, match=rf'failed to load image: {path}'):
            load(dict(record))
    with pytest.raises(FileNotFoundError, match='gone'):
        load(dict(record, seg_map_path=str(tmp_path / 'gone.png')))
    path.write_bytes(encoded('PNG'))
    assert panoptic or load(dict(record))['gt_seg_map'].shape[:2] == (60, 80)


def test_a_listing_finds_what_is_no_file(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'real.jpg').write_bytes(b'x')
    (tmp_path / 'a' / 'link.jpg').symlink_to(tmp_path / 'real.jpg')
    (tmp_path / 'folder.jpg').mkdir()
    os.mkfifo(tmp_path / 'pipe')  # nobody takes it for an image
    assert not list(odd_images(tmp_path))
    for path in (tmp_path / 'pipe.JPG', tmp_path / 'a' / 'pipe.png'):
        os.mkfifo(path)
        assert list(odd_images(tmp_path)) == [str(path)] and other_than_file(path) == 'is a FIFO and not a file'
        path.unlink()
    for target, words in (('/dev/zero', 'is a device'), (tmp_path / 'gone', 'is a symbolic link to a file that')):
        (tmp_path / 'link.png').symlink_to(target)
        (odd,) = odd_images(tmp_path)
        assert words in other_than_file(odd)
        (tmp_path / 'link.png').unlink()


@pytest.fixture
def own(tmp_path):
    """A data set of its own, and the config of a detector that trains on it."""
    folder = write_coco(tmp_path / 'data', 4)
    return folder, launch.load_config(str(write_detector(tmp_path / 'tiny.py', folder)), None, str(tmp_path / 'work'))


def replaced(path):
    path.unlink()
    os.mkfifo(path)
    return path


def test_a_fifo_is_found_before_training(own):
    folder, cfg = own
    path = replaced(folder / 'images' / '001.png')
    with pytest.raises(
        ConfigError, match=rf'the image {path} of train_dataloader\.dataset is a FIFO and not a file.*; replace'
    ):
        checks.stop_on_errors(cfg)
    path.unlink()
    path = replaced(folder / 'annotations.json')
    with pytest.raises(ConfigError, match=rf'the annotation file {path} of train_dataloader\.dataset is a FIFO'):
        checks.stop_on_errors(cfg)


def test_half_an_image_and_a_folder_in_its_place_are_found_before_training(own):
    folder, cfg = own
    path = folder / 'images' / '001.png'
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ConfigError, match=r"1 of all images of .*annotations\.json are cut off \('001\.png'\)"):
        checks.stop_on_errors(cfg)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=r'1 of the 4 images .* are no files: 001\.png in .* is a folder and not a'):
        checks.stop_on_errors(cfg)


@pytest.mark.parametrize('workers', [0, 1])
def test_a_bomb_ends_a_training_with_its_name(own, large, tmp_path, run_in_process, workers):
    """Also from a data worker, which can hand over an error as text alone."""
    folder, _ = own
    for image in (folder / 'images').iterdir():
        image.write_bytes(large.read_bytes())
    options = ('--cfg-options', f'train_dataloader.num_workers={workers}')
    code, printed = run_in_process('train.py', tmp_path / 'tiny.py', '--work-dir', tmp_path / 'work', *options)
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith('error:')]
    assert line.startswith(f'error: the image {folder}/images/00') and 'would have 30000 × 30000 pixels' in line


def test_the_tools_for_data_sets(own, large, run_in_process):
    folder, _ = own
    (folder / 'images' / '000.png').write_bytes(large.read_bytes())
    with pytest.raises(ConfigError, match=r'000\.png cannot be decoded'):
        image_statistics.scan(folder / 'images', ['000.png', '001.png'], progress=False)
    found = image_statistics.scan(folder / 'images', ['000.png', '001.png'], corrupt='skip', progress=False)
    assert found.images == 1 and found.corrupt == ['000.png']
    replaced(folder / 'images' / '000.png')
    for workers in (1, 2):
        with pytest.raises(ConfigError, match=r'the image .*000\.png is a FIFO'):
            image_statistics.scan(folder / 'images', ['000.png', '001.png'], workers=workers, progress=False)
    replaced(folder / 'annotations.json')
    with pytest.raises(ConfigError, match=r'the annotation file .*annotations\.json is a FIFO'):
        subsets.read(folder / 'annotations.json')


def test_a_config_that_is_a_fifo(tmp_path):
    os.mkfifo(tmp_path / 'config.py')
    with pytest.raises(ConfigError, match=r'config\.py is no file; name a config'):
        launch.load_config(str(tmp_path / 'config.py'))
    (tmp_path / 'over.py').write_text("_base_ = 'config.py'\n")
    with pytest.raises(ConfigError, match=r'the base of .*over\.py, .*config\.py is a FIFO'):
        launch.load_config(str(tmp_path / 'over.py'))
