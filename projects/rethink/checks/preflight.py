"""What is wrong with a run, found before it starts: one sentence that says what, where and what to do.

:func:`check` looks at a config and the files that it names, :func:`rethink.checks.weights.check_weights` at a model
and its checkpoints. Neither trains, downloads or writes.
"""

import importlib.util
import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from ..config_tree import is_remote, type_name
from ..errors import ConfigError, some_names
from ..trust.images import check_images
from ..trust.soundness import other_than_file
from .weights import check_weights

# --- packages --------------------------------------------------------------------------------------------------------

# What needs a package that this project does not bring.
_PACKAGES = dict(
    TIMMBackbone='timm',
    LVISV05Dataset='lvis',
    LVISDataset='lvis',
    LVISV1Dataset='lvis',
    LVISMetric='lvis',
    FasterLVISMetric='lvis',
)


def _check_packages(tree, path: str) -> None:
    """What the modules in a nested config need beyond this project's own packages is installed."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for key, value in items:
        # `of` is the type in what wraps another module, such as FrozenBackbone.
        package = _PACKAGES.get(type_name(value)) if key in ('type', 'of') else None
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f'{path}.{key} is {type_name(value)}, which needs the package {package}, and that is not installed; '
                f'`pip install {package}`.'
            )
        _check_packages(value, f'{path}.{key}')


# --- data ------------------------------------------------------------------------------------------------------------


def _how_to_get(path) -> str:
    if 'shapes' in str(path) and 'splits' not in Path(path).parts:
        part = next((part for part in ('figures', 'voc') if part in str(path)), None)
        more = f' data/shapes --{part}' if part else ''
        return f'make the data with `python tools/dataset_converters/make_shapes.py{more}`'
    if 'splits' in Path(path).parts:
        return 'write it with `python tools/dataset_converters/make_splits.py CONFIG` (docs/datasets.md)'
    if Path(path).parent.name == 'splits':
        return 'write it with tools/dataset_converters/make_splits.py (docs/datasets.md)'
    return 'docs/data.md says where each data set comes from and goes'


def datasets(dataset: dict, name: str) -> Iterator[tuple[str, dict]]:
    """The data sets inside a data set's config, out of their wrappers, with their dotted names."""
    if 'dataset' in dataset:
        yield from datasets(dataset['dataset'], f'{name}.dataset')
    elif isinstance(dataset.get('datasets'), list | tuple):
        for index, inner in enumerate(dataset['datasets']):
            yield from datasets(inner, f'{name}.datasets[{index}]')
    else:
        yield name, dataset


def _join(root: str | None, path: str) -> str:
    return path if not root or os.path.isabs(path) or is_remote(path) else os.path.join(root, path)


def _local(dataset: dict) -> bool:
    return (dataset.get('backend_args') or {}).get('backend', 'local') in ('local', 'LocalBackend')


def _check_files(name: str, dataset: dict) -> None:
    """A data set's annotation file and image folders exist, where they are local, and files in them are files."""
    if not _local(dataset):
        return
    root = dataset.get('data_root')
    paths = {}
    if isinstance(dataset.get('ann_file'), str) and dataset['ann_file']:
        paths['annotation file'] = [_join(root, dataset['ann_file'])]
    prefix = dataset.get('data_prefix')
    folders = prefix.values() if isinstance(prefix, dict) else [prefix] if isinstance(prefix, str) else []
    paths['folder'] = [_join(root, folder) for folder in folders if isinstance(folder, str)]
    if dataset.get('sub_data_root'):
        paths['folder'].append(_join(root, dataset['sub_data_root']))
    if not paths['folder'] and root and ('annotation file' in paths or type_name(dataset.get('type')) in _FOLDERS):
        paths['folder'].append(root)
    for kind, wanted in paths.items():
        for path in wanted:
            if path and not is_remote(path) and not os.path.exists(os.path.expanduser(path)):
                raise ConfigError(f'the {kind} {path} of {name} does not exist; {_how_to_get(path)}.')
            if path and not is_remote(path):
                _check_kind(kind, os.path.expanduser(path), name)


def _check_kind(what: str, path: str, name: str) -> None:
    """What is to be read can be: what a data set has is a folder or a file, and so is every image in it."""
    if os.path.isdir(path):
        if what == 'folder':
            check_images(path, name)
    elif other := other_than_file(path):
        raise ConfigError(f'the {what} {path} of {name} {other}; {_how_to_get(path)}.')


# MMPretrain's data sets that read classes from the names of folders.
_FOLDERS = {'CustomDataset', 'ImageNet', 'ImageNet21k'}


def _check_voc(name: str, dataset: dict, classes: list[str] | None) -> None:
    """Images that a set in PASCAL VOC's layout lists have their files, and some object is of a class of the data set.

    Folders are listed and not searched for each file. Of the annotations, files are read up to the first object of a
    class, which is usually in the first: MMDetection drops objects of other classes and says nothing.
    """
    root, prefix = dataset.get('data_root'), dataset.get('data_prefix') or {}
    image_set, year = _join(root, dataset.get('ann_file', '')), _join(root, prefix.get('sub_data_root', ''))
    if is_remote(year) or not os.path.isfile(image_set):
        return
    images = Path(image_set).read_text().splitlines()
    if not images:
        raise ConfigError(f'{image_set} of {name} lists no image; {_how_to_get(image_set)}.')
    for key, default, suffix in (('img_subdir', 'JPEGImages', '.jpg'), ('ann_subdir', 'Annotations', '.xml')):
        folder = os.path.join(year, dataset.get(key, default))
        if not os.path.isdir(folder):
            raise ConfigError(f'the folder {folder} of {name} does not exist; {_how_to_get(folder)}.')
        missing = {image + suffix for image in images} - set(os.listdir(folder))
        if missing:
            raise ConfigError(
                f'{folder} lacks {len(missing)} of the {len(images)} files that {image_set} of {name} lists '
                f'({some_names(missing)}); {_how_to_get(folder)}.'
            )
    there = set()
    for image in images:
        path = os.path.join(folder, f'{image}.xml')
        try:
            there |= {entry.findtext('name') for entry in ElementTree.parse(path).findall('object')}
        except ElementTree.ParseError:
            raise ConfigError(f'{path} of {name} is not XML; it may be half-written.') from None
        if classes is None or there & set(classes):
            return
    raise ConfigError(
        f'no object in {folder} that {image_set} of {name} lists is of a class of the data set; set metainfo.classes '
        f'to the names in the files ({some_names(there) or "there is none"}).'
    )


def coco_categories(path: str | os.PathLike) -> list[dict] | None:
    """The ``categories`` of a COCO JSON file (:func:`coco_list`)."""
    return coco_list(path, 'categories', 'name')


def coco_list(path: str | os.PathLike, key: str, field: str) -> list[dict] | None:
    """A list of a COCO JSON file, without parsing the rest of it; None where there is none.

    COCO's training annotations are 450 MB, which take ten seconds and gigabytes to parse; the categories are some
    kilobytes of them.

    Args:
        key: of the list: ``'categories'``, ``'images'``.
        field: that all of its entries have, by which it is told from others of this name.
    """
    quoted = f'"{key}"'.encode()
    with open(path, 'rb') as file:
        if os.fstat(file.fileno()).st_size == 0:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            place = text.find(quoted)
            while place >= 0:
                found = _decode_list(text, place + len(quoted))
                if found is not None and all(isinstance(item, dict) and field in item for item in found):
                    return found
                place = text.find(quoted, place + 1)
    return None


def _decode_list(text: mmap.mmap, start: int) -> list | None:
    """The JSON list behind the colon at ``start``, reading no more of the file than it needs."""
    size = 1 << 16
    while True:
        chunk = text[start : start + size].decode('utf-8', errors='ignore').lstrip()
        if not chunk.startswith(':') or not chunk[1:].lstrip().startswith('['):
            return None
        try:
            return json.JSONDecoder().raw_decode(chunk[1:].lstrip())[0]
        except json.JSONDecodeError:
            if start + size >= len(text):
                return None
            size *= 4


def _classes(dataset: dict, kind) -> list[str] | None:
    """The classes that a data set will have: those of its ``metainfo``, or those of its class."""
    classes = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(classes, str):
        # MMEngine reads a file of names where there is one, and takes the text as it is otherwise.
        classes = Path(classes).read_text().split('\n') if Path(classes).is_file() else [classes]
    if classes is None:
        classes = getattr(kind, 'METAINFO', {}).get('classes')
    return None if classes is None else list(classes)


def _check_classes(name: str, dataset: dict, kind, subset: bool) -> list[str] | None:
    """The classes of a data set, after a look whether a COCO file has the same.

    MMDetection drops the boxes of the classes that a config lacks and trains nothing for those that a file lacks, and
    says neither.
    """
    from mmdet.datasets import CocoDataset, LVISV05Dataset

    classes = _classes(dataset, kind)
    if not (isinstance(kind, type) and issubclass(kind, CocoDataset)) or not dataset.get('ann_file'):
        return classes
    path = _join(dataset.get('data_root'), dataset['ann_file'])
    if classes is None or is_remote(path) or not os.path.isfile(path):
        return classes
    categories = coco_categories(path)
    if categories is None:
        raise ConfigError(f'{path} of {name} has no list of categories, so it is not a COCO annotation file.')
    if issubclass(kind, LVISV05Dataset):  # takes classes by their ids, whatever they are called
        if len(categories) != len(classes):
            raise ConfigError(
                f'{path} has {len(categories)} categories and {name}, a {kind.__name__}, {len(classes)} classes; name '
                'the annotations of the same version of LVIS.'
            )
        return classes
    there = {category['name'] for category in categories}
    vanish, absent = there - set(classes), set(classes) - there
    if absent:
        raise ConfigError(
            f'{path} has no category for {len(absent)} of the {len(classes)} classes of {name} '
            f'({some_names(absent)}; the file has {some_names(there)}): set metainfo = dict(classes=…) of the data '
            'set to the names in the file.'
        )
    if vanish and not subset:
        raise ConfigError(
            f'{path} has {len(vanish)} categories that are not among the classes of {name} ({some_names(vanish)}) and '
            'whose boxes would be dropped: '
            'add them to metainfo.classes, or allow it with allow_class_subset = True in the config.'
        )
    return classes


def _head_classes(model, path: str = 'model') -> Iterator[tuple[str, int]]:
    """The ``num_classes`` of the heads that predict the classes of the data set."""
    items = model.items() if isinstance(model, dict) else enumerate(model) if isinstance(model, list | tuple) else ()
    for key, value in items:
        # Masks of all classes may be one channel; semantic and panoptic heads count other things.
        agnostic = isinstance(value, dict) and value.get('class_agnostic')
        if key in ('bbox_head', 'mask_head') and not (key == 'mask_head' and agnostic):
            for index, head in enumerate(value if isinstance(value, list | tuple) else [value]):
                place = f'{path}.{key}[{index}]' if isinstance(value, list | tuple) else f'{path}.{key}'
                if isinstance(head, dict) and isinstance(head.get('num_classes'), int):
                    yield f'{place}.num_classes', head['num_classes']
        if isinstance(value, dict | list | tuple) and key not in ('bbox_head', 'mask_head'):
            yield from _head_classes(value, f'{path}.{key}')


def _check_keypoints(name: str, path: str, classes: list[str] | None, names=None, head: dict | None = None) -> None:
    """A COCO file has keypoints for these classes, as many as the data set has names and the head has heat maps."""
    if is_remote(path) or not os.path.isfile(path):
        return
    categories = [one for one in coco_categories(path) or [] if classes is None or one['name'] in classes]
    annotated = bool(categories) and all(one.get('keypoints') for one in categories)
    if annotated:
        # Beside the categories, the annotations: pycocotools needs this entry in each.
        with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            annotated = text.find(b'"num_keypoints"') >= 0
    if not annotated:
        raise ConfigError(
            f'{path} of {name} has no keypoints, which this config trains or evaluates; use a person_keypoints_*.json.'
        )
    found = {len(one['keypoints']) for one in categories}
    number = (head or {}).get('num_keypoints')
    for wanted, what in (
        (names and len(names), f'names in metainfo of {name}'),
        (number, 'heat maps in keypoint_head'),
    ):
        if wanted and found != {wanted}:
            raise ConfigError(
                f'{path} of {name} has {", ".join(map(str, sorted(found)))} keypoints for each object, but there are '
                f'{wanted} {what}.'
            )


def _check_num_classes(model: dict, name: str, classes: list[str], kind) -> None:
    if 'language_model' in model:  # classes are words there, and num_classes the longest sentence
        return
    # Of a panoptic data set, boxes and masks are of things alone.
    classes = getattr(kind, 'METAINFO', {}).get('thing_classes') or classes
    for place, number in _head_classes(model):
        if number != len(classes):
            raise ConfigError(
                f'{place} is {number}, but {name} has {len(classes)} classes; set it to {len(classes)} or correct '
                'metainfo.classes of the data set.'
            )


def _check_folders(name: str, dataset: dict, model: dict) -> None:
    """A classifier has as many outputs as its data set has folders, which are its classes."""
    number = (model.get('head') or {}).get('num_classes')
    if type_name(dataset.get('type')) != 'CustomDataset' or dataset.get('ann_file') or not isinstance(number, int):
        return
    prefix = dataset.get('data_prefix') or ''
    prefix = prefix.get('img_path', '') if isinstance(prefix, dict) else prefix
    folder = _join(dataset.get('data_root'), prefix)
    if is_remote(folder) or dataset.get('with_label') is False or (dataset.get('metainfo') or {}).get('classes'):
        return
    found = sum(entry.is_dir() for entry in os.scandir(folder))
    if found != number:
        raise ConfigError(
            f'model.head.num_classes is {number}, but {folder} of {name} has {found} folders, each a class; set it to '
            f'{found} or correct the folder.'
        )


def _check_labels(name: str, dataset: dict, model: dict) -> None:
    """A classifier has as many outputs as the data set of MMPretrain has classes, by its own file or its labels'."""
    number = (model.get('head') or {}).get('num_classes')
    classes, labels = dataset.get('classes'), dataset.get('ann_file')
    if not isinstance(number, int) or not labels or not _local(dataset):
        return
    where = classes if isinstance(classes, str) else _join(dataset.get('data_root'), labels)
    if isinstance(classes, str):
        if not os.path.isfile(where):
            raise ConfigError(f'the file of classes {where} of {name} does not exist; {_how_to_get(where)}.')
        classes = Path(where).read_text(encoding='utf-8').splitlines()
    elif classes is None and where.endswith('.json'):
        try:
            content = json.loads(Path(where).read_text(encoding='utf-8'))
        except ValueError:
            raise ConfigError(f'{where} of {name} is not JSON, it may be half-written; write it again.') from None
        classes = (content.get('metainfo') or {}).get('classes')
    if classes is not None and len(classes) != number:
        raise ConfigError(
            f'model.head.num_classes is {number}, but {where} of {name} has {len(classes)} classes; set it to '
            f'{len(classes)} or correct the data set.'
        )


# --- all of it -------------------------------------------------------------------------------------------------------


def _check_evaluator(cfg: Config, stage: str) -> None:
    evaluators = cfg.get(f'{stage}_evaluator') or []
    for index, evaluator in enumerate(evaluators if isinstance(evaluators, list | tuple) else [evaluators]):
        path = evaluator.get('ann_file') if isinstance(evaluator, dict) else None
        name = f'{stage}_evaluator[{index}]' if isinstance(evaluators, list | tuple) else f'{stage}_evaluator'
        if path and not is_remote(path) and not os.path.exists(path):
            raise ConfigError(f'the annotation file {path} of {name} does not exist; {_how_to_get(path)}.')
        if path and not is_remote(path):
            _check_kind('annotation file', path, name)
        of_keypoints = path and type_name(evaluator.get('type')) == 'CocoKeypointMetric'
        if of_keypoints and 'keypoints' in evaluator.get('metric', 'keypoints'):
            _check_keypoints(name, path, None)


def check(cfg: Config, stage: str = 'train', model: nn.Module | bool | None = None) -> None:
    """Everything about a run that can be known before it starts.

    Args:
        stage: ``'train'`` looks at the training and validation data (with ``ValAndTestLoop`` also at the test data),
            ``'test'`` at the test data.
        model: also check the checkpoints against this model (:func:`rethink.checks.weights.check_weights`); True
            builds it from the config.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    from mmdet.datasets import XMLDataset

    from ..datasets.coco_keypoint import CocoKeypointDataset

    init_default_scope(cfg.get('default_scope') or 'mmengine')
    for part in ('model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'test_dataloader', 'test_evaluator'):
        _check_packages(cfg.get(part), part)
    stages = ('train', 'val') if stage == 'train' else (stage,)
    if stage == 'train' and type_name((cfg.get('val_cfg') or {}).get('type')) == 'ValAndTestLoop':
        stages += ('test',)
    for part in stages:
        loader = cfg.get(f'{part}_dataloader')
        if loader is None:
            if part != 'val':
                raise ConfigError(f'{cfg.filename} has no {part}_dataloader, so there is nothing to {stage}.')
            continue
        for name, dataset in datasets(loader['dataset'], f'{part}_dataloader.dataset'):
            _check_files(name, dataset)
            kind = dataset.get('type')
            if isinstance(kind, str):
                scope = cfg.get('default_scope') or 'mmengine'
                found = DATASETS.get(kind if '.' in kind else f'{dataset.get("_scope_", scope)}.{kind}')
                if found is None:
                    raise ConfigError(f'{name}.type is {kind!r}, which is no registered data set.')
                kind = found
            classes = _check_classes(name, dataset, kind, bool(cfg.get('allow_class_subset')))
            if classes is not None:
                _check_num_classes(cfg.get('model') or {}, name, classes, kind)
            if isinstance(kind, type) and issubclass(kind, CocoKeypointDataset):
                names = (dataset.get('metainfo') or {}).get('keypoints') or kind.METAINFO['keypoints']
                head = ((cfg.get('model') or {}).get('roi_head') or {}).get('keypoint_head')
                _check_keypoints(name, _join(dataset.get('data_root'), dataset['ann_file']), classes, names, head)
            if isinstance(kind, type) and issubclass(kind, XMLDataset) and _local(dataset):
                _check_voc(name, dataset, classes)
            _check_folders(name, dataset, cfg.get('model') or {})
            _check_labels(name, dataset, cfg.get('model') or {})
        _check_evaluator(cfg, part)
    load_from = cfg.get('load_from')
    if load_from and not is_remote(load_from) and not os.path.exists(load_from):
        raise ConfigError(f'the checkpoint {load_from} does not exist.')
    if model is not None and model is not False:
        if model is True:
            from mmengine.registry import MODELS

            model = MODELS.build(cfg.model)
        check_weights(cfg, model, strict=stage == 'test')
