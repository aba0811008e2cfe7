"""Rules of images: enough of them, and none of validation in training."""

from checked import OURS, annotations, data_of, found
from rethink import config_path


def test_little_data_is_one_thing_from_scratch_and_another_fine_tuned(tmp_path):
    few, enough = annotations(tmp_path / 'few.json', 9_999), annotations(tmp_path / 'enough.json', 10_000)
    assert found(OURS, data_of(few))['little-data'].level == 'warning'
    # The length of COCO's schedule says nothing of so few images.
    assert 'scratch-short' not in found(OURS, {**data_of(few), 'train_cfg.max_iters': 90_000})
    assert 'little-data' not in found(OURS, data_of(enough))
    assert 'little-data' not in found(config_path('rethink/pretrain_r50_gn_6x.py'), data_of(few))


def test_train_and_val_share_images(tmp_path):
    train = annotations(tmp_path / 'train.json', 10)
    assert '10 images' in found(OURS, data_of(train))['shared-images'].what
    assert (
        '3 images' in found(OURS, data_of(train, annotations(tmp_path / 'a.json', 5, first=7)))['shared-images'].what
    )
    assert 'shared-images' not in found(OURS, data_of(train, annotations(tmp_path / 'b.json', 5, first=10)))
    # The same names in another folder are other images.
    other = {**data_of(train, annotations(tmp_path / 'a.json', 5)), 'val_dataloader.dataset.data_prefix.img': 'others'}
    assert 'shared-images' not in found(OURS, other)
    # Also known without the files.
    assert 'shared-images' in found(OURS, data_of(str(tmp_path / 'nowhere.json')))
