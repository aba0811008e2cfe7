"""Images of one's own in COCO's format, boxes and masks: coco_instance.py for small images, 8 in a batch.

What inherits from it says where they are, the classes and the size; `tools/study.py new` writes such a file
(docs/your_data.md).
"""

_base_ = './coco_instance.py'

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(data_root=None, data_prefix=dict(img=''), filter_cfg=dict(min_size=8)),
)
val_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(data_root=None, data_prefix=dict(img='')))
test_dataloader = val_dataloader
