"""Files that run nothing and are wrong all the same: damaged, larger than they look, no files, no weights."""

import os
import socket
import struct
import time
import zipfile

import numpy as np
import pytest
import torch
from rethink.errors import ConfigError
from rethink.trust import soundness
from rethink.trust.checkpoints import latest_checkpoint, read_checkpoint, read_content
from rethink.trust.soundness import check_file
from rethink.trust.tensors import check_tensors, read_state_dict
from torch import nn

# --- the file --------------------------------------------------------------------------------------------------------


def content():
    torch.manual_seed(0)
    return dict(meta=dict(iter=2), state_dict={'a.weight': torch.randn(64, 64), 'a.bias': torch.randn(64)})


@pytest.fixture
def whole(tmp_path):
    torch.save(content(), tmp_path / 'iter_2.pth')
    return tmp_path / 'iter_2.pth'


def hole(path, start, length=64):
    """Zeros in the middle of a file, as a lost block leaves them."""
    with open(path, 'r+b') as file:
        file.seek(start)
        file.write(bytes(length))


def place(path, record):
    """Where the bytes of a record begin, and how many they are."""
    with zipfile.ZipFile(path) as archive:
        (info,) = [info for info in archive.infolist() if info.filename.endswith(record)]
        with open(path, 'rb') as file:
            file.seek(info.header_offset)
            name, extra = struct.unpack('<26xHH', file.read(30))
        return info.header_offset + 30 + name + extra, info.file_size


def damage(path, how):
    if how == 'tensor':
        hole(path, place(path, 'data/0')[0] + 1000)
    elif how == 'pickle':
        hole(path, place(path, 'data.pkl')[0] + 40)
    elif how == 'index':
        hole(path, path.stat().st_size - 400)
    elif how == 'local header':
        hole(path, place(path, 'data/0')[0] - 96, 32)
    elif how == 'end':
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(b'')


DAMAGES = ('tensor', 'pickle', 'index', 'local header', 'end')


@pytest.mark.parametrize('how', DAMAGES)
@pytest.mark.parametrize('reader', ['read_content', 'torch.load', 'mmengine'])
def test_a_damaged_file_is_refused(whole, how, reader):
    """Also where only zeros of a tensor tell it, and whoever reads it."""
    from mmengine.runner.checkpoint import CheckpointLoader

    readers = {
        'read_content': lambda path: read_content(path, 'x'),
        'torch.load': torch.load,
        'mmengine': CheckpointLoader.load_checkpoint,
    }
    damage(whole, how)
    with pytest.raises(ConfigError, match=r'iter_2\.pth is damaged: .*; copy it again, or name another checkpoint\.$'):
        readers[reader](str(whole))


def test_a_file_without_checksums_is_read(tmp_path):
    """torch.save writes none where it is told so; then a hole cannot be seen, and the rest of the file is checked."""
    path = tmp_path / 'iter_2.pth'
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(content(), path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_state_dict(path, 'x')['a.weight'], content()['state_dict']['a.weight'])
    damage(path, 'tensor')
    read_content(path, 'x')
    damage(path, 'index')
    with pytest.raises(ConfigError, match='is damaged'):
        read_content(path, 'x')


def test_checksums_are_compared_once(whole, monkeypatch):
    calls = []
    original = soundness._check_sums
    monkeypatch.setattr(soundness, '_check_sums', lambda *args: calls.append(original(*args)))
    read_checkpoint(whole)  # maps, and compares nothing
    assert not calls
    for _ in range(3):
        read_content(whole, 'x')
        torch.load(whole)
    assert len(calls) == 1
    os.utime(whole, ns=(1, 1))
    read_content(whole, 'x')
    assert len(calls) == 2


def test_files_of_older_pytorch_are_read(tmp_path):
    path = tmp_path / 'old.pth'
    torch.save(content(), path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_state_dict(path, 'x')['a.weight'], content()['state_dict']['a.weight'])


def test_kinds_of_tensors_pass(tmp_path):
    """Storages of all widths, shared, empty, expanded, and what MMEngine keeps beside them, new format and old."""
    base = torch.arange(24.0)
    many = dict(
        views=[base[3:], base.view(4, 6).t()],
        kinds=[torch.zeros(5, dtype=getattr(torch, name)) for name in ('half', 'bfloat16', 'long', 'bool', 'uint8')],
        empty=torch.zeros(0, 3),
        expanded=torch.ones(1).expand(100),
        numpy=np.arange(3),
        parameter=torch.nn.Parameter(torch.ones(2)),
    )
    for new in (True, False):
        torch.save(many, tmp_path / 'many.pth', _use_new_zipfile_serialization=new)
        found = read_content(tmp_path / 'many.pth', 'x')
        assert torch.equal(found['views'][1], many['views'][1]) and found['expanded'].shape == (100,)


class Memory:
    """Seconds, and bytes that the process has more at its highest than before."""

    def __enter__(self):
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')  # the peak begins anew
        self.before, self.start = self._peak(), time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds, self.bytes = time.monotonic() - self.start, self._peak() - self.before

    @staticmethod
    def _peak():
        with open('/proc/self/status') as file:
            (line,) = [line for line in file if line.startswith('VmHWM')]
        return int(line.split()[1]) * 1024


def rewritten(source, path, claimed=None, compress=False, sizes=None):
    """A checkpoint written anew: a storage claims another size, records are deflated, or the index has another one."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, 'w') as new:
        for info in old.infolist():
            data = old.read(info)
            if claimed and info.filename.endswith('data.pkl'):
                # BININT2 4096, the end of a storage's tuple; LONG1 in its place.
                assert b'M\x00\x10tq' in data
                data = data.replace(b'M\x00\x10tq', b'\x8a\x08' + struct.pack('<q', claimed) + b'tq')
            if compress and '/data/' in info.filename:
                with new.open(zipfile.ZipInfo(info.filename), 'w', force_zip64=True) as file:
                    file._compressor, file._zinfo.compress_type = zipfile._get_compressor(8), 8
                    for _ in range(compress):
                        file.write(bytes(1 << 20))
            else:
                new.writestr(info.filename, data)
    if sizes:
        raw = bytearray(path.read_bytes())
        at = raw.rfind(b'PK\x01\x02', 0, raw.rfind(b'data/0'))
        struct.pack_into('<II', raw, at + 20, 0xFFFFFFFF, 0xFFFFFFFF)
        # A zip64 field in place of what is there.
        name = struct.unpack_from('<H', raw, at + 28)[0]
        field = struct.pack('<HHQQ', 1, 16, sizes, sizes)
        struct.pack_into('<H', raw, at + 30, len(field))
        raw[at + 46 + name : at + 46 + name] = field
        end = raw.rfind(b'PK\x05\x06')
        struct.pack_into('<I', raw, end + 12, struct.unpack_from('<I', raw, end + 12)[0] + len(field))
        path.write_bytes(raw)
    return path


def legacy(path, claimed):
    """A file as before PyTorch 1.6, whose storage is said to have so many numbers."""
    torch.save(content(), path, _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    wanted = b'M\x00\x10Nt'
    assert wanted in raw
    path.write_bytes(raw.replace(wanted, b'\x8a\x08' + struct.pack('<q', claimed) + b'Nt'))
    return path


LARGE = {
    'compressed': (lambda whole, path: rewritten(whole, path, compress=2000), 'has a compressed record'),
    'storage': (lambda whole, path: rewritten(whole, path, claimed=10**11), 'needs 400000000000 bytes of the record'),
    'a little more': (lambda whole, path: rewritten(whole, path, claimed=4100), 'needs 16400 bytes .* has 16384'),
    'zip64': (lambda whole, path: rewritten(whole, path, sizes=1 << 40), 'is said to have 1099511627776 bytes'),
    'legacy': (lambda whole, path: legacy(path, 10**11), 'are said to have 4000000002.. bytes and the whole file'),
}


@pytest.mark.parametrize('name', LARGE)
def test_what_would_become_large_is_refused_unread(whole, tmp_path, name):
    make, sentence = LARGE[name]
    path = make(whole, tmp_path / 'large.pth')
    assert path.stat().st_size < 4 << 20
    with Memory() as used, pytest.raises(ConfigError, match=sentence):
        read_content(path, 'x')
    assert used.seconds < 2 and used.bytes < 300 << 20
    with Memory() as used, pytest.raises(ConfigError, match=sentence):
        torch.load(path)
    assert used.seconds < 2 and used.bytes < 300 << 20


def test_a_claim_is_refused_without_running_anything(whole, tmp_path):
    """The sizes are read before PyTorch's safe loader, by a reader that makes nothing of what a pickle names."""

    class Call:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path / "ran"}',)

    for new in (True, False):
        torch.save(dict(content(), more=Call()), tmp_path / 'evil.pth', _use_new_zipfile_serialization=new)
        check_file(tmp_path / 'evil.pth')
        (tmp_path / 'evil.pth').unlink()
    assert not (tmp_path / 'ran').exists()


OTHERS = ('folder', 'fifo', 'socket', 'device', 'loop', 'dangling', 'absent')


def other(path, kind):
    if kind == 'folder':
        path.mkdir()
    elif kind == 'fifo':
        os.mkfifo(path)
    elif kind == 'socket':
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind != 'absent':
        path.symlink_to(dict(device='/dev/zero', loop=path, dangling=path.with_name('nothing'))[kind])
    return path


@pytest.mark.parametrize('kind', OTHERS)
def test_what_is_no_file(tmp_path, kind):
    path = other(tmp_path / 'x', kind)
    words = dict(
        folder='is a folder and not a file',
        fifo='is a FIFO and',
        socket='is a socket and',
        device='is a device and',
        loop='cannot be read .Too many levels',
        dangling='is a symbolic link to a file that does not exist',
        absent='does not exist',
    )
    for read in (check_file, lambda path: read_content(path, 'x'), read_checkpoint):
        with pytest.raises(ConfigError, match=rf'the checkpoint .*x .*{words[kind]}'):
            read(path)
    if kind not in ('absent', 'loop', 'dangling'):  # PyTorch says these itself
        with pytest.raises(ConfigError, match=words[kind]):
            torch.load(path)


# --- the last checkpoint ---------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / 'work'
    folder.mkdir()
    for number in (2, 4, 6):
        torch.save(dict(content(), number=number), folder / f'iter_{number}.pth')
        os.utime(folder / f'iter_{number}.pth', (number, number))
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_6.pth'))
    return folder


@pytest.mark.parametrize('how', [*DAMAGES, 'empty'])
def test_a_damaged_checkpoint_is_passed_over(work, capsys, how):
    damage(work / 'iter_6.pth', how)
    assert latest_checkpoint(work) == str(work / 'iter_4.pth')
    (line,) = capsys.readouterr().out.splitlines()
    assert f'{work / "iter_6.pth"}, which is not a whole checkpoint' in line
    assert f'resuming from {work / "iter_4.pth"}.' in line
    assert (how == 'empty') or 'is damaged: ' in line


def test_two_damaged_checkpoints_are_passed_over(work, capsys):
    damage(work / 'iter_6.pth', 'tensor')
    damage(work / 'iter_4.pth', 'index')
    assert latest_checkpoint(work) == str(work / 'iter_2.pth')
    assert capsys.readouterr().out.count('is damaged') == 2
    damage(work / 'iter_2.pth', 'pickle')
    assert latest_checkpoint(work) is None
    assert 'training starts from the beginning' in capsys.readouterr().out


def test_what_a_clone_or_a_download_leaves_in_place_of_weights(tmp_path):
    path = tmp_path / 'weights.pth'
    for content, words in (
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n', 'left by Git LFS'),
        (b'<!DOCTYPE html><html>404</html>', 'a web page in place of the file'),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=f'weights.pth is {words}'):
            read_content(str(path), 'load_from')


POINTERS = {
    'binary': b'\x00\xff\xfe/iter_6.pth',
    'empty': b'',
    'newlines': b'work/\niter_6.pth\n',
    'huge': b'a/' * (1 << 20),
    'nul': b'iter\x006.pth',
}


@pytest.mark.parametrize('kind', [*POINTERS, *OTHERS])
def test_a_pointer_that_names_no_checkpoint(work, capsys, kind):
    """The newest is taken, and a line says so."""
    pointer = work / 'last_checkpoint'
    pointer.unlink()
    if kind in POINTERS:
        pointer.write_bytes(POINTERS[kind])
    else:
        other(pointer, kind)
    assert latest_checkpoint(work) == str(work / 'iter_6.pth')
    (line,) = capsys.readouterr().out.splitlines()
    assert 'names no checkpoint' in line or 'there is no' in line
    assert line.endswith(f'resuming from {work / "iter_6.pth"}.')


@pytest.mark.parametrize('kind', OTHERS)
def test_a_pointer_to_what_is_no_file(work, tmp_path, capsys, kind):
    (work / 'last_checkpoint').write_text(str(other(tmp_path / 'named', kind)))
    assert latest_checkpoint(work) == str(work / 'iter_6.pth')
    assert 'which is not a whole checkpoint' in capsys.readouterr().out
    # Where checkpoints are folders it is one.
    assert (latest_checkpoint(work, folders=True) == str(tmp_path / 'named')) == (kind == 'folder')


def test_a_pointer_to_another_place(work, tmp_path, capsys):
    """A copied folder goes on from its own checkpoint; what it has not comes from where it was, and a line says so."""
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    for name in ('iter_6.pth', 'iter_8.pth'):
        torch.save(content(), elsewhere / name)
    (work / 'last_checkpoint').write_text(str(elsewhere / 'iter_6.pth'))
    assert latest_checkpoint(work) == str(work / 'iter_6.pth')
    assert not capsys.readouterr().out
    (work / 'last_checkpoint').write_text(f'{elsewhere / "iter_8.pth"}\n')
    assert latest_checkpoint(work) == str(elsewhere / 'iter_8.pth')
    assert 'of another folder' in capsys.readouterr().out


# --- the weights -----------------------------------------------------------------------------------------------------

NAN, INF = float('nan'), float('inf')
WRONG = {
    'nan': (torch.tensor([1.0, NAN, NAN]), 'has 2 of 3 values that are not finite'),
    'infinite': (torch.tensor([1.0, -INF, 1.0]), 'has 1 of 3 values that are not finite'),
    'half nan': (torch.tensor([1.0, NAN, 1.0]).half(), 'has 1 of 3 values that are not finite'),
    'bfloat16 nan': (torch.tensor([1.0, NAN, 1.0]).bfloat16(), 'has 1 of 3 values that are not finite'),
    'integer': (torch.ones(3, dtype=torch.int), 'is of torch.int32 in the file and of torch.float32 in the model'),
    'bool': (torch.ones(3, dtype=torch.bool), 'is of torch.bool in the file and of torch.float32 in the model'),
    'complex': (torch.ones(3, dtype=torch.complex64), 'is complex'),
    'sparse': (torch.ones(3).to_sparse(), 'is sparse'),
    'meta': (torch.ones(3, device='meta'), r'has no values \(a meta tensor\)'),
    'quantised': (torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), 'is quantised'),
    'overlapping': (torch.ones(5).as_strided((3, 3), (1, 1)), 'has 9 values over 20 bytes'),
    'none': (None, 'is a NoneType and not a tensor'),
}


@pytest.mark.filterwarnings('ignore::UserWarning', 'ignore::FutureWarning', 'ignore::DeprecationWarning')
@pytest.mark.parametrize('name', WRONG)
def test_a_tensor_that_no_model_has(name):
    value, sentence = WRONG[name]
    shape = (3, 3) if name == 'overlapping' else (3,)
    own = {'a.weight': torch.zeros(shape), 'b.weight': torch.zeros(shape)}
    with pytest.raises(ConfigError, match=rf'^x cannot be used: a\.weight {sentence}; name another file\.$'):
        check_tensors({'a.weight': value, 'b.weight': torch.ones(shape)}, 'x', own)
    with pytest.raises(ConfigError, match=rf'a\.weight {sentence}; so it is, or otherwise wrong, with 2 of 2 tensors'):
        check_tensors({'a.weight': value, 'b.weight': value}, 'x', own)
    # What the model does not take is nobody's concern.
    check_tensors({'c.weight': value}, 'x', own)


def test_tensors_that_models_have():
    own = {
        'bn.running_var': torch.ones(3),
        'bn.num_batches_tracked': torch.tensor(1),
        'queue_ptr': torch.zeros(1, dtype=torch.long),
        'mask': torch.ones(2, dtype=torch.bool),
        'empty': torch.zeros(0),
    }
    check_tensors(own, 'x', own)
    check_tensors({**own, 'queue_ptr': torch.zeros(1, dtype=torch.int)}, 'x', own)
    for dtype in (torch.half, torch.bfloat16, torch.double):
        check_tensors({**own, 'bn.running_var': torch.ones(3, dtype=dtype)}, 'x', own)
    check_tensors({**own, 'bn.running_var': torch.ones(1).expand(3)}, 'x', own)
    # Of another shape it is not loaded, whatever is in it; what covers the model says so.
    check_tensors({**own, 'bn.running_var': torch.full((4,), NAN)}, 'x', own)
    with pytest.raises(ConfigError, match=r'bn\.running_var has 2 of 3 variances that are negative'):
        check_tensors({**own, 'bn.running_var': torch.tensor([-1.0, 0.0, -1e-3])}, 'x', own)
    with pytest.raises(ConfigError, match=r'num_batches_tracked is \(2,\) and not one number'):
        check_tensors({**own, 'bn.num_batches_tracked': torch.zeros(2, dtype=torch.long)}, 'x', own)


def test_a_huge_expanded_tensor_is_looked_at_once():
    start = time.monotonic()
    check_tensors(dict(a=torch.ones(1).expand(10**6, 10**6)), 'x')
    with pytest.raises(ConfigError, match='has 1 of 1 values'):
        check_tensors(dict(a=torch.tensor(NAN).expand(10**6, 10**6)), 'x')
    assert time.monotonic() - start < 1


def test_a_base_whose_weights_are_none(tmp_path):
    """What ``InitFromBaseHook``, and with it chains, evaluations and re-estimated BN, begins with."""
    from rethink.engine.weights import check_fit, read_weights

    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    weights = {f'backbone.{key}': value.clone() for key, value in own.state_dict().items()}
    weights['backbone.1.running_var'][2] = -1
    torch.save(dict(state_dict=weights), tmp_path / 'base.pth')
    base = read_weights(tmp_path / 'base.pth').backbone
    with pytest.raises(ConfigError, match=r'base cannot be used: 1\.running_var has 1 of 4 variances'):
        check_fit(own, base, 'base')


@pytest.mark.parametrize('value', [None, [], 3, 'x'])
def test_a_weight_that_is_no_tensor(tmp_path, value):
    torch.save(dict(state_dict={'a.weight': value, 'b.weight': torch.ones(1)}), tmp_path / 'x.pth')
    with pytest.raises(ConfigError, match=rf'has a {type(value).__name__} for a\.weight and not a tensor'):
        read_state_dict(tmp_path / 'x.pth', 'x')
