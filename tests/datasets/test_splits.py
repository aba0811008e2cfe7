"""Splits: what is drawn, written and checked, and that nothing leaks."""

import json
import shutil
from collections import Counter, defaultdict
from functools import partial

import numpy as np
import official_layouts
import pytest
from conftest import ROOT
from rethink.datasets import splits
from rethink.datasets.layouts import Image
from rethink.datasets.splits import deal, draw_labels
from rethink.errors import ConfigError


def rng():
    return np.random.default_rng(0)


def images(*numbers):
    """Images with one label each: so many of each class."""
    return [Image(f'{label}/{index}.jpg', (label,)) for label, number in enumerate(numbers) for index in range(number)]


# --- drawing ---------------------------------------------------------------------------------------------------------


def test_parts_have_every_image_once_and_the_mixture_of_classes_of_the_whole():
    everything = images(100, 40, 5, 1)
    parts = deal(everything, (0.6, 0.2, 0.2), rng())
    assert sorted(sum(parts, []), key=str) == sorted(everything, key=str)
    counts = [Counter(image.positive[0] for image in part) for part in parts]
    assert [count[0] for count in counts] == [60, 20, 20]
    assert [count[1] for count in counts] == [24, 8, 8]
    assert [count[2] for count in counts] == [3, 1, 1]
    assert [count[3] for count in counts] == [1, 0, 0]


def test_a_deal_depends_on_the_seed_and_not_on_the_order_of_the_files():
    everything = images(50, 50)
    assert deal(everything, (0.5, 0.5), rng()) == deal(everything[::-1], (0.5, 0.5), rng())
    assert deal(everything, (0.5, 0.5), rng()) != deal(everything, (0.5, 0.5), np.random.default_rng(1))
    names = [image.path for image in deal(everything, (0.5, 0.5), rng())[0]]
    assert names != sorted(names), 'shuffled'


def test_groups_stay_together():
    random = np.random.default_rng(3)
    everything = [Image(f'{i}.jpg', (i % 2,), group=f'patient{random.integers(60)}') for i in range(300)]
    parts = deal(everything, (0.9, 0.1), rng())
    assert sorted(sum(parts, []), key=str) == sorted(everything, key=str)
    groups = [{image.group for image in part} for part in parts]
    assert not groups[0] & groups[1]
    # To the last patient, of five images on average.
    assert abs(len(parts[1]) - 30) < 12


def test_images_with_several_labels_are_dealt_at_random():
    everything = [Image(f'{i:04d}.jpg', tuple({i % 3, i % 5})) for i in range(1000)]
    train, val = deal(everything, (0.9, 0.1), rng())
    assert (len(train), len(val)) == (900, 100)
    assert 20 < sum(image.path < '0500' for image in val) < 80


@pytest.mark.parametrize('shares', [(0.6, 0.2), (1.2, -0.2), (1.0, 0.0)])
def test_shares_add_up(shares):
    with pytest.raises(ConfigError, match='add up to 1'):
        deal(images(5), shares, rng())


@pytest.mark.parametrize('seed', range(5))
def test_a_thousand_labels_hold_every_class(seed):
    """One class has a single image of 10,000, which a draw without care leaves out nine times in ten."""
    everything = images(6000, 3990, 9, 1)
    classes = list('abcd')
    drawn = draw_labels(everything, classes, 1000, seed)
    assert len({image.path for image in drawn}) == 1000
    assert {image.positive[0] for image in drawn} == {0, 1, 2, 3}
    # Otherwise at random: within five standard deviations of the share.
    assert abs(Counter(image.positive[0] for image in drawn)[0] - 600) < 5 * np.sqrt(1000 * 0.6 * 0.4)
    assert drawn == draw_labels(everything, classes, 1000, seed)
    assert drawn != draw_labels(everything, classes, 1000, seed + 1)
    smaller = draw_labels(everything, classes, 100, seed)
    assert set(smaller) < set(drawn)


def test_each_image_is_as_likely_as_any_other_of_its_class():
    everything = images(40, 10)
    count = Counter()
    for seed in range(400):
        count.update(image.path for image in draw_labels(everything, list('ab'), 10, seed))
    by_class = [[count[image.path] for image in everything if image.positive == (label,)] for label in (0, 1)]
    assert sum(map(sum, by_class)) == 4000
    for numbers in by_class:
        assert max(abs(np.array(numbers) - np.mean(numbers))) < 5 * np.sqrt(np.mean(numbers))


def test_an_image_with_several_labels_counts_for_all_of_them():
    everything = [Image('a', (0, 1, 2)), Image('b', (0,)), Image('c', ()), Image('d', (3,), uncertain=(0,))]
    drawn = draw_labels(everything, list('wxyz'), 2, 0)
    assert [image.path for image in drawn] == ['a', 'd']


def test_labels_that_cannot_be_drawn_are_one_sentence():
    with pytest.raises(ConfigError, match='1000 labels cannot be drawn from 30 training images'):
        draw_labels(images(10, 20), list('ab'), 1000, 0)
    with pytest.raises(ConfigError, match="1 of 3 classes have no training image \\('c'\\)"):
        draw_labels(images(10, 20), list('abc'), 5, 0)
    with pytest.raises(ConfigError, match='3 labels cannot hold each of 4 classes: 4 images are needed'):
        draw_labels(images(5, 5, 5, 5), list('abcd'), 3, 0)
    # Uncertain is not there.
    with pytest.raises(ConfigError, match='have no training image'):
        draw_labels([Image('a', (), uncertain=(0,))], ['w'], 1, 0)


# --- writing ---------------------------------------------------------------------------------------------------------


def lines(root, name):
    return (root / 'splits' / name).read_text().splitlines()


@pytest.fixture
def resisc(tmp_path):
    root = tmp_path / 'resisc'
    official_layouts.write('resisc45', root, train=24, num_classes=4)
    return root


def make(root, name='resisc45', number=4, **arguments):
    cfg = official_layouts.config(name)
    return splits.make(
        root, cfg.layout, number, cfg.multi_label, **dict(dict(labels=[6], progress=False), **arguments)
    )


def test_files_are_lists_of_path_and_label(resisc):
    receipt = make(resisc)
    assert receipt['images'] == dict(train=28, val=12, test=8, unlabelled=40, train_6=6)
    assert lines(resisc, 'classes.txt') == [f'kind {label:02d}' for label in range(4)]
    labelled = sum((lines(resisc, f'{name}.txt') for name in ('train', 'val', 'test')), [])
    assert len(labelled) == len(set(labelled)) == 48
    for line in labelled:
        path, label = line.rsplit(' ', 1)
        assert (resisc / path).is_file() and f'/kind {int(label):02d}/' in path
    assert set(lines(resisc, 'train_6.txt')) < set(lines(resisc, 'train.txt'))
    unlabelled = lines(resisc, 'unlabelled.txt')
    in_order = [line.rsplit(' ', 1)[0] for name in ('train', 'val') for line in lines(resisc, f'{name}.txt')]
    assert sorted(unlabelled) == sorted(in_order)
    # The first k are a random share: of all classes, and of train and val.
    assert unlabelled != sorted(unlabelled) and len({path.split('/')[1] for path in unlabelled[:20]}) == 4


def test_a_seed_gives_the_same_bytes_and_another_one_others(resisc, tmp_path):
    def files(seed, into):
        shutil.copytree(resisc, tmp_path / into)
        make(tmp_path / into, seed=seed)
        return {path.name: path.read_bytes() for path in (tmp_path / into / 'splits').iterdir()}

    first, again, other = files(0, 'a'), files(0, 'b'), files(1, 'c')
    assert first == again
    for name in ('train.txt', 'val.txt', 'test.txt', 'unlabelled.txt', 'train_6.txt'):
        assert first[name] != other[name]


def test_what_is_there_is_left_alone_or_refused(resisc):
    receipt = make(resisc)
    (resisc / 'splits' / 'train.txt').write_text('mine\n')
    assert make(resisc) == receipt
    assert lines(resisc, 'train.txt') == ['mine']
    for other in (dict(seed=1), dict(labels=[7]), dict(corrupt='skip')):
        with pytest.raises(ConfigError, match='was made with other arguments'):
            make(resisc, **other)
    (resisc / 'splits' / 'splits.json').unlink()
    with pytest.raises(ConfigError, match=r'there is no .*splits\.json'):
        make(resisc)
    assert lines(resisc, 'train.txt') == ['mine']


def test_corrupt_images_are_left_out_of_every_file_or_refused(resisc):
    bad = sorted(path.relative_to(resisc).as_posix() for path in resisc.rglob('*_003.jpg'))
    assert len(bad) == 4
    for path in bad:
        (resisc / path).write_bytes((resisc / path).read_bytes()[:100])
    with pytest.raises(ConfigError, match=r'_003\.jpg cannot be decoded'):
        make(resisc, corrupt='refuse')
    assert not (resisc / 'splits').exists()
    receipt = make(resisc, corrupt='skip')
    assert receipt['skipped'] == bad
    for name in receipt['images']:
        assert not [line for line in lines(resisc, f'{name}.txt') if '_003.jpg' in line]
    shown, wrong = splits.check(resisc, 4, False, num_images=48, decode=True, progress=False)
    assert wrong == [] and '48 images, 4 of them left out as corrupt' in shown[-1]
    # Unless it is asked for, images are not looked into.
    shutil.rmtree(resisc / 'splits')
    assert make(resisc)['skipped'] == []
    wrong = splits.check(resisc, 4, False, num_images=48, decode=True, progress=False)[1]
    assert len(wrong) == 1 and wrong[0].startswith('4 images cannot be decoded')


def test_a_kill_while_writing_leaves_no_splits(resisc, monkeypatch):
    write, written = splits.write_atomically, []

    def stop(path, content):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(path, content)

    monkeypatch.setattr(splits, 'write_atomically', stop)
    with pytest.raises(KeyboardInterrupt):
        make(resisc)
    assert not (resisc / 'splits').exists()
    monkeypatch.undo()
    make(resisc)
    assert not (resisc / 'splits.part').exists()
    assert splits.check(resisc, 4, False, progress=False)[1] == []


def test_what_cannot_be_made_is_one_sentence(resisc, tmp_path):
    with pytest.raises(ConfigError, match='has 4 classes .* and not the 45'):
        make(resisc, number=45)
    with pytest.raises(ConfigError, match='1000 labels cannot be drawn'):
        make(resisc, labels=[1000])
    with pytest.raises(ConfigError, match=r"layout.type is 'folders'; the layouts are class_folders, "):
        splits.make(resisc, dict(type='folders'), 4, False)
    (tmp_path / 'empty' / 'NWPU-RESISC45').mkdir(parents=True)
    with pytest.raises(ConfigError, match='0 classes'):
        make(tmp_path / 'empty')
    assert not (resisc / 'splits').exists()


def test_images_without_labels_are_one_list(tmp_path):
    """Of any depth; there is nothing to draw labels from, and the check of the data set agrees."""
    for name in ('a.jpg', 'deep/er/b.PNG', 'deep/c.jpg'):
        (tmp_path / 'mine' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'mine' / name).write_bytes(b'x')
    receipt = splits.make(tmp_path, dict(type='unlabelled', images='mine'), 0, False)
    assert receipt['images'] == dict(unlabelled=3)
    assert sorted(splits.read_unlabelled(tmp_path)) == ['mine/a.jpg', 'mine/deep/c.jpg', 'mine/deep/er/b.PNG']
    _, wrong = splits.check(tmp_path, 0, False)
    assert not wrong


def test_what_unlabelled_images_need_is_said(tmp_path):
    """A folder of images in the place of folders of classes, and fewer images than labels."""
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'a.jpg').write_bytes(b'x')
    with pytest.raises(ConfigError, match=r"0 classes \(no folder of one\).*layout = dict\(type='unlabelled'"):
        splits.make(tmp_path, dict(type='class_folders', images='mine', shares=(0.6, 0.2, 0.2)), 1, False)
    with pytest.raises(ConfigError, match='ask for fewer with --labels N, or for none with --labels alone'):
        draw_labels(images(3), ['one'], 1000, 0)


def test_a_missing_image_is_told(tmp_path):
    official_layouts.write('flowers102', tmp_path, train=10, num_classes=5)
    (tmp_path / 'jpg' / 'image_00007.jpg').unlink()
    with pytest.raises(ConfigError, match=r"lacks 1 of 25 images \('jpg/image_00007\.jpg'\)"):
        make(tmp_path, 'flowers102', 5)


def test_an_image_in_train_and_test_is_refused(tmp_path):
    root = tmp_path / 'real'
    official_layouts.write('domainnet_real', root, train=10, num_classes=5)
    train, test = tmp_path / 'real_train.txt', tmp_path / 'real_test.txt'
    test.write_text(test.read_text() + train.read_text().splitlines()[7] + '\n')
    with pytest.raises(ConfigError, match='1 images are listed more than once'):
        make(root, 'domainnet_real', 5)
    assert not (root / 'splits').exists()


def test_patients_and_scenes_are_never_in_two_splits(tmp_path):
    for name, number in (('chexpert', 5), ('xview', 6), ('chest_xray_kids', 3)):
        root = tmp_path / name
        official_layouts.write(name, root, train=90, num_classes=number)
        cfg = official_layouts.config(name)
        make(root, name, number, labels=[10])
        seen = defaultdict(set)
        suffix = 'json' if cfg.multi_label else 'txt'
        for split in ('train', 'val', 'test'):
            for image in splits.read(root, split, number, cfg.multi_label):
                if name == 'chexpert':
                    patient = image.path.split('/')[2]
                elif name == 'xview':
                    patient = image.path.rsplit('/', 1)[1].rsplit('_', 1)[0]
                else:  # numbered anew for the test images and for those without a finding
                    kind, file = image.path.split('/')[-2:]
                    patient = ('test' in image.path, kind, file.split('_')[0].rsplit('-', 1)[0])
                seen[patient].add(split)
            assert (root / 'splits' / f'{split}.{suffix}').is_file()
        assert max(map(len, seen.values())) == 1
        assert set.union(*seen.values()) == {'train', 'val', 'test'}


def test_uncertain_and_missing_findings_stay_what_they_are(tmp_path):
    truth = official_layouts.write('chexpert', tmp_path, train=90)
    make(tmp_path, 'chexpert', 5, labels=[10])
    for split in ('train', 'val', 'test', 'train_10'):
        content = json.loads((tmp_path / 'splits' / f'{split}.json').read_text())
        names = content['metainfo']['classes']
        assert names == ['Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema', 'Pleural Effusion']
        for entry in content['data_list']:
            said = truth[entry['img_path']]
            for key, wanted in (('gt_label', said.classes), ('uncertain', said.uncertain), ('missing', said.missing)):
                assert {names[label] for label in entry.get(key, [])} == wanted


# --- checking --------------------------------------------------------------------------------------------------------


def _append(root, name, line):
    path = root / 'splits' / name
    path.write_text(path.read_text() + line + '\n')


DAMAGE = {
    'leak': (
        lambda root: _append(root, 'test.txt', lines(root, 'train.txt')[0]),
        ['1 images are in both train and test', '1 images are in both unlabelled and test'],
    ),
    'unlabelled leak': (
        lambda root: _append(root, 'unlabelled.txt', lines(root, 'test.txt')[0].rsplit(' ', 1)[0]),
        ['1 images are in both unlabelled and test'],
    ),
    'twice': (lambda root: _append(root, 'val.txt', lines(root, 'val.txt')[0]), ['val lists 1 images more than once']),
    'gone': (
        lambda root: (root / lines(root, 'val.txt')[0].rsplit(' ', 1)[0]).unlink(),
        ['1 listed images are not there'],
    ),
    'too few': (
        lambda root: (root / 'splits' / 'val.txt').write_text('\n'.join(lines(root, 'val.txt')[1:]) + '\n'),
        ['splits.json says'],
    ),
    'stranger': (
        lambda root: (root / 'splits' / 'train_6.txt').write_text('\n'.join(lines(root, 'val.txt')[:6]) + '\n'),
        ['train_6 has images that are not in train'],
    ),
    'class': (
        lambda root: (root / 'splits' / 'train_6.txt').write_text(
            '\n'.join([line for line in lines(root, 'train.txt') if line.endswith(' 2')][:6]) + '\n'
        ),
        ["train_6 has no image of 3 classes ('kind 00', 'kind 01', 'kind 03')"],
    ),
    'names': (lambda root: _append(root, 'classes.txt', 'another'), ['classes.txt names 5 classes']),
}


@pytest.mark.parametrize('what', DAMAGE)
def test_check_tells_what_is_wrong(resisc, what):
    make(resisc)
    assert splits.check(resisc, 4, False, num_images=48, progress=False)[1] == []
    damage, sentences = DAMAGE[what]
    damage(resisc)
    wrong = splits.check(resisc, 4, False, num_images=48, progress=False)[1]
    for sentence in sentences:
        assert any(sentence in one for one in wrong), wrong


def test_check_counts_the_images_of_the_whole_data_set(resisc):
    make(resisc)
    wrong = splits.check(resisc, 4, False, num_images=50, progress=False)[1]
    assert wrong == ['there are 48 images and the whole data set has 50.']


@pytest.mark.parametrize(
    ('line', 'sentence'),
    [
        ('a/b.jpg', r"train\.txt:\d+: 'a/b\.jpg' is not a path, a space and a label"),
        ('a/b.jpg -1', 'is not a path, a space and a label'),
        ('a/b c.jpg 4', r'gives a/b c\.jpg the class 4, of 4 counted from 0'),
    ],
)
def test_a_line_that_is_no_label_is_told(resisc, line, sentence):
    make(resisc)
    _append(resisc, 'train.txt', line)
    with pytest.raises(ConfigError, match=sentence):
        splits.check(resisc, 4, False, progress=False)


def test_json_that_is_none_is_told(tmp_path):
    official_layouts.write('chexpert', tmp_path, train=60)
    make(tmp_path, 'chexpert', 5)
    assert splits.check(tmp_path, 5, True, progress=False)[1] == []
    for content in ('{"data_list": [', '{}', '{"data_list": [{"img_path": "a"}, 3]}'):
        (tmp_path / 'splits' / 'val.json').write_text(content)
        with pytest.raises(ConfigError, match=r'val\.json is not in the format'):
            splits.check(tmp_path, 5, True, progress=False)
    entry = dict(img_path='a', gt_label=[0], uncertain=[9])
    (tmp_path / 'splits' / 'val.json').write_text(json.dumps(dict(data_list=[entry])))
    with pytest.raises(ConfigError, match='the class 9, of 5'):
        splits.check(tmp_path, 5, True, progress=False)


# --- the tools -------------------------------------------------------------------------------------------------------

FLOWERS = ROOT / 'configs' / '_base_' / 'datasets' / 'hpt_flowers102.py'


@pytest.fixture
def run(run_in_process):
    return lambda tool, *arguments: run_in_process(f'dataset_converters/{tool}.py', *arguments)


def test_the_tools_make_and_check_a_data_set_of_a_config(run, tmp_path):
    truth = official_layouts.write('flowers102', tmp_path, train=102)
    make_splits = partial(run, 'make_splits', FLOWERS, '--data-root', tmp_path, '--workers', 1)
    code, printed = make_splits()
    assert code == 2 and 'error: 1000 labels cannot be drawn from 102' in printed
    assert not (tmp_path / 'splits').exists()
    code, printed = make_splits('--labels', 102, '--corrupt', 'skip')
    assert code is None and 'train_102         102 images' in printed
    code, printed = run('check_dataset', FLOWERS, '--data-root', tmp_path, '--decode', '--workers', 1)
    # A checker that found something, as the others end; 2 is a wrong request.
    assert code == 1
    assert f'wrong: there are {len(truth)} images and the whole data set has 8,189.' in printed
    assert printed.count('wrong: ') == 1 and '102 classes, the rarest in 1 of them' in printed


def test_a_config_without_a_data_set_is_one_sentence(run):
    for tool in ('make_splits', 'check_dataset', 'image_statistics'):
        code, printed = run(tool, ROOT / 'configs' / '_base_' / 'datasets' / 'coco_instance.py')
        assert code == 2 and 'error: the config does not say layout, num_classes' in printed
