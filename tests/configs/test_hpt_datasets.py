"""The data sets of study B: facts as published, and readers that read what the tools write."""

import ast
import re

import cv2
import numpy as np
import official_layouts
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from official_layouts import CONFIGS, NAMES, RELEASED
from rethink.checks import stop_on_errors
from rethink.datasets import splits
from rethink.errors import ConfigError

# classes, mean and std of R, G, B in [0, 1], several labels: HPT's table of data sets and its released configs.
PUBLISHED = dict(
    xview=(36, (0.368, 0.381, 0.3436), (0.2035, 0.1854, 0.1849), False),
    resisc45=(45, (0.368, 0.381, 0.3436), (0.2035, 0.1854, 0.1849), False),
    ucmerced=(21, (0.4842, 0.4901, 0.4505), (0.2180, 0.2021, 0.1958), False),
    bdd_weather=(6, (0.2789, 0.2929, 0.2902), (0.2474, 0.2653, 0.2761), False),
    viper_weather=(6, (0.3485, 0.3422, 0.3395), (0.2449, 0.2408, 0.2390), False),
    chexpert=(5, (0.5028,) * 3, (0.2919,) * 3, True),
    # The release says 10, a placeholder that was left in.
    chest_xray_kids=(3, (0.4815,) * 3, (0.2377,) * 3, False),
    coco2014_multilabel=(80, (0.4702, 0.4470, 0.4076), (0.2785, 0.2740, 0.2889), True),
    voc_multilabel=(20, (0.4511, 0.4292, 0.3967), (0.2764, 0.2729, 0.2849), True),
    domainnet_clipart=(345, (0.7362, 0.7167, 0.6834), (0.3642, 0.3654, 0.3887), False),
    domainnet_infograph=(345, (0.6888, 0.6970, 0.6648), (0.3331, 0.3094, 0.3281), False),
    domainnet_painting=(345, (0.5743, 0.5466, 0.5083), (0.3088, 0.3007, 0.3168), False),
    domainnet_quickdraw=(345, (0.9525,) * 3, (0.2128,) * 3, False),
    domainnet_real=(345, (0.6059, 0.5890, 0.5558), (0.3344, 0.3279, 0.3493), False),
    domainnet_sketch=(345, (0.8327, 0.8270, 0.8179), (0.2727, 0.2753, 0.2810), False),
    flowers102=(102, (0.4355, 0.3777, 0.2880), (0.2970, 0.2459, 0.2705), False),
    # OpenSelfSup/configs/hpt-pretrain/{xview,viper}/linear-eval/linear-eval-base.py
    xview_multilabel=(36, (0.368, 0.381, 0.3436), (0.2035, 0.1854, 0.1849), True),
    viper_multilabel=(23, (0.3485, 0.3422, 0.3395), (0.2449, 0.2408, 0.2390), True),
)
READERS = ('unlabelled', 'train', 'val', 'test', 'train_1000')


def test_there_is_a_file_for_each_of_the_sixteen():
    """And one for the two that the release evaluates otherwise; ImageNet is what bases are made of."""
    readers = {'single_label', 'multi_label', 'imagenet'}
    files = {path.stem.removeprefix('hpt_') for path in CONFIGS.glob('hpt_*.py')} - readers
    assert files == {*NAMES, *RELEASED} == set(PUBLISHED)
    assert len(NAMES) == 16 and len(RELEASED) == 2


@pytest.mark.parametrize('name', [*NAMES, *RELEASED])
def test_facts_are_the_published_ones_and_the_docstring_says_what_it_is(name):
    cfg = official_layouts.config(name)
    classes, mean, std, several = PUBLISHED[name]
    assert (cfg.num_classes, cfg.multi_label) == (classes, several)
    assert cfg.mean == pytest.approx([255 * value for value in mean], abs=1e-9)
    assert cfg.std == pytest.approx([255 * value for value in std], abs=1e-9)
    source = (CONFIGS / f'hpt_{name}.py').read_text()
    docstring = ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) < 40
    assert re.search(r'https?://', docstring) and f'{classes} ' in docstring.split('\n\n')[0]
    assert cfg.data_root.rstrip('/').rsplit('domainnet/')[0] in docstring, 'the folder layout'
    roots = {cfg[f'{reader}_set'].data_root for reader in READERS}
    assert roots == {cfg.data_root}


def test_no_two_data_sets_write_into_the_same_folder():
    roots = [official_layouts.config(name).data_root for name in (*NAMES, *RELEASED, 'imagenet')]
    assert len(set(roots)) == len(roots)
    # A folder inside another is what the other's layout does not look into.
    assert [root for root in roots if any(root != other and root.startswith(other) for other in roots)] == []


@pytest.mark.parametrize('name', [*NAMES[:10], 'domainnet_sketch', *RELEASED])
def test_readers_read_a_miniature_in_the_official_layout(name, tmp_path):
    """Every sample has the label that the official files give its image; each split is a batch of a data loader."""
    root = tmp_path / name.removeprefix('domainnet_')
    cfg = official_layouts.config(name)
    # Files are slow to write: a few of the many classes do.
    number = cfg.num_classes if cfg.num_classes < 100 else 20
    truth = official_layouts.write(name, root, train=max(50, 3 * number), num_classes=number)
    labels = number + 5
    splits.make(root, cfg.layout, number, cfg.multi_label, labels=[labels])
    classes = (root / 'splits' / 'classes.txt').read_text().splitlines()
    init_default_scope('mmpretrain')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    seen = {}
    for reader in READERS:
        settings = dict(cfg[f'{reader}_set'], data_root=f'{root}/', pipeline=pipeline, serialize_data=False)
        settings['ann_file'] = settings['ann_file'].replace('1000', str(labels))
        if 'classes' in settings:
            settings['classes'] = str(root / 'splits' / 'classes.txt')
        dataset = seen[reader] = DATASETS.build(settings)
        if reader != 'unlabelled':
            assert len(dataset.metainfo['classes']) == number
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            said = truth[info['img_path'].removeprefix(f'{root}/')]
            if reader == 'unlabelled':
                assert 'gt_label' not in info and said.split != 'test'
            elif cfg.multi_label:
                assert {classes[label] for label in info['gt_label']} == said.classes
            else:
                assert {classes[info['gt_label']]} == said.classes
        batch = pseudo_collate([dataset[index] for index in (0, len(dataset) - 1)])
        assert [tuple(one.shape) for one in batch['inputs']] == [(3, 6, 8)] * 2
    assert len(seen['train_1000']) == labels


def test_a_training_without_splits_is_refused_with_the_command_that_writes_them(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{CONFIGS / 'hpt_chexpert.py'}'\n"
        "default_scope = 'mmpretrain'\n"
        'train_dataloader = dict(dataset=dict(**_base_.train_set, pipeline=[]))\n'
    )
    with pytest.raises(
        ConfigError, match=r'data/chexpert/splits/train\.json of train_dataloader\.dataset .*make_splits'
    ):
        stop_on_errors(Config.fromfile(config))


def test_what_the_preprocessor_makes_of_a_picture_with_these_statistics_has_mean_0_and_deviation_1(tmp_path):
    """Means and deviations are in R, G, B and from 0 to 255, as MMPretrain's preprocessors want them."""
    init_default_scope('mmpretrain')
    cfg = official_layouts.config('flowers102')  # of which the three channels differ most
    random = np.random.default_rng(0)
    rgb = random.choice([-1, 1], (64, 64, 3)) * cfg.std + cfg.mean
    cv2.imwrite(str(tmp_path / 'picture.png'), rgb[..., ::-1].clip(0, 255).round())
    (tmp_path / 'splits').mkdir()
    (tmp_path / 'splits' / 'unlabelled.txt').write_text('picture.png\n')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    dataset = DATASETS.build(dict(cfg.unlabelled_set, data_root=str(tmp_path), pipeline=pipeline))
    settings = dict(type='SelfSupDataPreprocessor', mean=cfg.mean, std=cfg.std, to_rgb=True)
    preprocessor = MODELS.build(settings)
    sample = pseudo_collate([dataset[0]])
    # Two views of one image, as pre-training has them.
    (view, _) = preprocessor(dict(inputs=[torch.stack(sample['inputs'])] * 2, data_samples=[]))['inputs']
    assert view.mean((0, 2, 3)).abs().max() < 0.05
    assert (view.std((0, 2, 3)) - 1).abs().max() < 0.05


@pytest.mark.parametrize('name', RELEASED)
def test_lists_that_the_release_does_not_have_are_asked_for_in_one_sentence(name, tmp_path):
    cfg = official_layouts.config(name)
    number = cfg.num_classes
    (tmp_path / 'meta').mkdir()

    def refused():
        with pytest.raises(ConfigError) as error:
            splits.make(tmp_path, cfg.layout, number, True, labels=[])
        assert '\n' not in str(error.value)
        return str(error.value)

    list_of = tmp_path / cfg.layout.lists.format(split='train')
    assert f'there is no list {list_of}, and HPT does not publish it: write it' in refused()
    assert f'and {number} numbers 1 or 0 separated by commas, one for each class.' in refused()
    for wrong in ('1,0', ','.join(['2'] * number), 'one.jpg ' + ','.join(['1'] * (number + 1))):
        list_of.write_text(f'0.jpg {",".join(["1"] * number)}\n{wrong}\n')
        assert f'{list_of}:2: expected a path, a space and {number} of 1, 0, -1 or nothing' in refused()
