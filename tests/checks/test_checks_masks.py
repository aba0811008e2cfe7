"""Masks of the pipeline and of the file, for a head that needs them."""

from checked import OURS, annotations, data_of, found


def test_masks_of_the_pipeline_and_of_the_file(tmp_path):
    assert 'masks' not in found(OURS)
    pipeline = {'train_dataloader.dataset.pipeline.1.with_mask': False}
    assert 'pipeline loads no masks' in found(OURS, pipeline)['masks'].what
    polygon = [[1, 1, 3, 1, 3, 3]]
    without, having = annotations(tmp_path / 'a.json', 1), annotations(tmp_path / 'b.json', 1, segmentation=polygon)
    assert 'have no segmentation or an empty one' in found(OURS, data_of(without))['annotations'].what
    assert not {'masks', 'annotations'} & found(OURS, data_of(having)).keys()
