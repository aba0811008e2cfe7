"""What the tests of the rules share: findings by the name of their rule, the sentence that ends a run, annotations."""

import json
from pathlib import Path

import mmdet
import pytest
from mmengine.config import Config
from rethink import checks, config_path
from rethink.errors import ConfigError

MMDET = Path(mmdet.__file__).parent / '.mim' / 'configs'
MASK_RCNN = str(MMDET / 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
OURS = config_path('rethink/scratch_r50_gn_6x.py')
RANDOM = {'model.backbone.init_cfg': None}
BN = {'model.backbone.norm_cfg': dict(type='BN', requires_grad=True), 'model.backbone.norm_eval': False}


def found(path: str, options: dict | None = None, gpus: int | None = None) -> dict[str, checks.Finding]:
    """Rule -> its last finding; files that are not on this machine are left out."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    findings = [one for one in checks.check(cfg, gpus) if one.level != 'missing']
    for one in findings:
        assert one.level in checks.LEVELS and one.where and one.what.endswith('.') and one.fix
        assert one.ends or (one.source and (one.why or one.rule == 'annotations'))
    return {one.rule: one for one in findings}


def check_case(name: str, level, path, wrong, gpus, right, gpus_right) -> None:
    """A rule speaks of a config with some overrides, and not with others."""
    assert found(path, wrong, gpus)[name].level == level
    assert name not in found(path, right, gpus_right)


def fails(cfg: Config, sentence: str, stage: str = 'train') -> None:
    """A run of it ends before it starts, with this in one sentence."""
    with pytest.raises(ConfigError, match=sentence) as caught:
        checks.stop_on_errors(cfg, stage)
    assert '\n' not in str(caught.value) and str(caught.value).endswith('.') and '--no-check' not in str(caught.value)


def annotations(path: Path, images: int, first: int = 0, classes=('person',), **more) -> str:
    records = [
        dict(id=first + index, file_name=f'{first + index}.jpg', width=64, height=64) for index in range(images)
    ]
    boxes = [dict(id=1, image_id=first, category_id=1, bbox=[1, 1, 2, 2], area=4, iscrowd=0, **more)]
    categories = [dict(id=index + 1, name=name) for index, name in enumerate(classes)]
    path.write_text(json.dumps(dict(images=records, annotations=boxes, categories=categories)))
    return str(path)


def data_of(train: str, val: str | None = None, classes=('person',)) -> dict:
    """Overrides of a detector with masks, for annotations of one's own."""
    options = {
        'model.roi_head.bbox_head.num_classes': len(classes),
        'model.roi_head.mask_head.num_classes': len(classes),
    }
    for part, path in (('train', train), ('val', val or train), ('test', val or train)):
        options[f'{part}_dataloader.dataset.ann_file'] = path
        options[f'{part}_dataloader.dataset.data_root'] = ''
        options[f'{part}_dataloader.dataset.data_prefix.img'] = 'images'
        options[f'{part}_dataloader.dataset.metainfo'] = dict(classes=classes)
    return options
