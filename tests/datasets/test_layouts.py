"""Official layouts: classes, labels and splits as they were downloaded; what does not fit is one sentence."""

import json
import re

import official_layouts
import pytest
from official_layouts import NAMES, draw
from rethink.datasets import layouts, splits
from rethink.errors import ConfigError


def written(name, folder, number=None):
    """Write a miniature with few classes; its config, number of classes, folder and truth."""
    cfg = official_layouts.config(name)
    number = number or min(cfg.num_classes, 7)
    root = folder / name.removeprefix('domainnet_')
    return cfg, number, root, official_layouts.write(name, root, train=60, num_classes=number)


def read(cfg, root):
    layout = {key: value for key, value in cfg.layout.items() if key not in ('type', 'shares', 'val')}
    return layouts.LAYOUTS[cfg.layout.type](root, **layout)


@pytest.mark.parametrize('name', [*NAMES[:10], 'domainnet_real'])
def test_classes_labels_and_official_splits_are_those_of_the_files(name, tmp_path):
    cfg, number, root, truth = written(name, tmp_path)
    classes, parts = read(cfg, root)
    assert len(classes) == len(set(classes)) == (20 if name == 'voc_multilabel' else number)
    found = {image.path: (split, image) for split, images in parts.items() for image in images}
    assert len(found) == sum(map(len, parts.values())), 'each image once'
    # Only images that nobody labelled and that are for testing are left away.
    assert {path for path in truth if path not in found} == {
        path for path, one in truth.items() if one.classes is None and one.split == 'test'
    }
    for path, (split, image) in found.items():
        assert (root / path).is_file()
        said = truth[path]
        if said.classes is None:
            assert split == 'unlabelled' and image.positive is None
            continue
        assert split == said.split
        for labels, names in (
            (image.positive, said.classes),
            (image.uncertain, said.uncertain),
            (image.missing, said.missing),
        ):
            assert {classes[label] for label in labels} == names and len(labels) == len(names)


def test_names_and_their_order_are_the_data_sets_own(tmp_path):
    for name, expected in (
        ('bdd_weather', ('clear', 'partly cloudy', 'overcast', 'rainy', 'snowy', 'foggy')),
        ('chest_xray_kids', ('normal', 'bacterial pneumonia', 'viral pneumonia')),
        ('coco2014_multilabel', tuple(f'thing {2 * label + 1}' for label in range(7))),
        ('flowers102', tuple('1234567')),
    ):
        cfg, _, root, _ = written(name, tmp_path)
        assert read(cfg, root)[0] == expected


def test_lists_of_file_names_are_the_split_where_they_are_there(tmp_path):
    cfg, _, root, truth = written('ucmerced', tmp_path)
    assert read(cfg, root)[1].keys() == {'all'}
    names = sorted(path.rsplit('/', 1)[1] for path in truth)
    dealt = dict(train=names[0::3], val=names[1::3], test=names[2::3])
    for split, members in dealt.items():
        (root / f'uc_merced-{split}.txt').write_text('\n'.join(members) + '\n')
    _, parts = read(cfg, root)
    assert {split: sorted(one.path.rsplit('/', 1)[1] for one in images) for split, images in parts.items()} == dealt
    (root / 'uc_merced-val.txt').write_text('nothing99.tif\n')
    with pytest.raises(ConfigError, match=r"uc_merced-val\.txt:1: 'nothing99\.tif' is 0 images"):
        read(cfg, root)
    (root / 'uc_merced-val.txt').unlink()
    with pytest.raises(ConfigError, match=r'there is no file .*uc_merced-val\.txt'):
        read(cfg, root)


def test_later_releases_of_the_chest_x_rays_read_too(tmp_path):
    """Other file names, and some training images in a folder of their own."""
    cfg = official_layouts.config('chest_xray_kids')
    expected = {
        'train/NORMAL/NORMAL-1003233-0001.jpeg': ('train', 0),
        'train/PNEUMONIA/BACTERIA-1008087-0001.jpeg': ('train', 1),
        'val/PNEUMONIA/person1946_bacteria_4874.jpeg': ('train', 1),
        'train/PNEUMONIA/person1946_bacteria_4875.jpeg': ('train', 1),
        'test/PNEUMONIA/VIRUS-1024-0003.jpeg': ('test', 2),
        'test/NORMAL/NORMAL2-IM-0035-0001.jpeg': ('test', 0),
    }
    for path in expected:
        draw(tmp_path, f'chest_xray/{path}')
    _, parts = read(cfg, tmp_path)
    found = {image.path: (split, *image.positive) for split, images in parts.items() for image in images}
    assert found == {f'chest_xray/{path}': value for path, value in expected.items()}
    # One patient's two images, of which one was moved.
    assert len({image.group for image in parts['train'] if 'person1946' in image.path}) == 1
    draw(tmp_path, 'chest_xray/train/PNEUMONIA/person5.jpeg')
    with pytest.raises(ConfigError, match=r'person5\.jpeg is not named as'):
        read(cfg, tmp_path)


def test_lists_are_read_with_blank_lines_and_windows_line_ends(tmp_path):
    cfg, _, root, _ = written('domainnet_real', tmp_path)
    before = read(cfg, root)
    file = tmp_path / 'real_train.txt'
    file.write_bytes(b'\xef\xbb\xbf' + file.read_bytes().replace(b'\n', b'\r\n') + b'\r\n\r\n')
    assert read(cfg, root) == before


def _replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _weather(path, weather):
    entries = json.loads(path.read_text())
    entries[0]['attributes']['weather'] = weather
    path.write_text(json.dumps(entries))


BROKEN = {
    'no folder': ('xview', lambda root: (root / 'crops').rename(root / 'other'), 'there is no folder .*crops'),
    'an empty class': ('xview', lambda root: (root / 'crops' / 'zzz').mkdir(), 'class folder .*zzz has no image'),
    'a name without a scene': ('xview', lambda root: draw(root, 'crops/kind 00/x.png'), r'x\.png is not named'),
    'other weather': (
        'bdd_weather',
        lambda root: _weather(root / 'labels/bdd100k_labels_images_val.json', 'hail'),
        "weather 'hail'",
    ),
    'half a JSON': (
        'bdd_weather',
        lambda root: (root / 'labels/bdd100k_labels_images_train.json').write_text('[{"name": '),
        'train.json is not JSON',
    ),
    'no weather': ('viper_weather', lambda root: (root / 'weather.txt').unlink(), r'there is no file .*weather\.txt'),
    'two weathers': (
        'viper_weather',
        lambda root: _replace(root / 'weather.txt', '002 ', '001 '),
        r'weather\.txt:2: expected a sequence',
    ),
    'no frames': (
        'viper_weather',
        lambda root: (root / 'val').rename(root / 'Val'),
        'there is no folder .*val/img',
    ),
    'no column': (
        'chexpert',
        lambda root: _replace(root / 'CheXpert-v1.0-small/train.csv', 'Edema', 'Oedema'),
        'no column Edema',
    ),
    'a strange value': (
        'chexpert',
        lambda root: _replace(root / 'CheXpert-v1.0-small/valid.csv', 'Frontal,AP,,', 'Frontal,AP,,7'),
        r'valid\.csv:2: Atelectasis is',
    ),
    'a strange path': (
        'chexpert',
        lambda root: _replace(root / 'CheXpert-v1.0-small/train.csv', '/patient00000/', '/somebody/'),
        r'train\.csv:2: .* is no path of CheXpert',
    ),
    'no COCO file': (
        'coco2014_multilabel',
        lambda root: (root / 'annotations/instances_val2014.json').write_text('{}'),
        'no COCO annotation file',
    ),
    'other categories': (
        'coco2014_multilabel',
        lambda root: _replace(root / 'annotations/instances_val2014.json', 'thing 3', 'thing x'),
        'other categories for train than for val',
    ),
    'half an XML': (
        'voc_multilabel',
        lambda root: (root / 'VOC2007/Annotations/2007_val_000003.xml').write_text('<annotation>'),
        r'2007_val_000003\.xml is not XML',
    ),
    'another class in an XML': (
        'voc_multilabel',
        lambda root: _replace(root / 'VOC2007/Annotations/2007_val_000003.xml', '<name>', '<name>aqua'),
        'none of the 20 classes',
    ),
    'no image set': (
        'voc_multilabel',
        lambda root: (root / 'VOC2012/ImageSets/Main/val.txt').unlink(),
        r'there is no file .*VOC2012/ImageSets/Main/val\.txt',
    ),
    'a line without a label': (
        'domainnet_real',
        lambda root: _replace(root.parent / 'real_train.txt', ' 0\n', '\n'),
        r'real_train\.txt:1: expected real/<class>/<file>',
    ),
    'a label of two classes': (
        'domainnet_real',
        lambda root: _replace(root.parent / 'real_test.txt', ' 3\n', ' 4\n'),
        'label 4 is thing_003 here and thing_004 elsewhere',
    ),
    'another domain': (
        'domainnet_real',
        lambda root: (root.parent / 'real_test.txt').write_text('sketch/thing_000/a.png 0\n'),
        r'real_test\.txt:1: expected real/',
    ),
    'no MATLAB file': (
        'flowers102',
        lambda root: (root / 'setid.mat').write_bytes(b'MATLAB?'),
        r'setid\.mat is not the MATLAB file',
    ),
    'the MATLAB files exchanged': (
        'flowers102',
        lambda root: (root / 'imagelabels.mat').write_bytes((root / 'setid.mat').read_bytes()),
        r'imagelabels\.mat is not the MATLAB file',
    ),
}


@pytest.mark.parametrize('what', BROKEN)
def test_what_does_not_fit_is_one_sentence_and_writes_nothing(what, tmp_path):
    name, damage, sentence = BROKEN[what]
    cfg, number, root, _ = written(name, tmp_path, 20 if name.startswith('voc') else None)
    damage(root)
    with pytest.raises(ConfigError) as error:
        splits.make(root, cfg.layout, number, cfg.multi_label, labels=[])
    assert re.search(sentence, str(error.value)) and '\n' not in str(error.value)
    assert not (root / 'splits').exists() and not (root / 'splits.part').exists()
