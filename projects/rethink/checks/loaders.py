"""Rules of data loaders and pipelines: all of the data comes out of them, once, with what the model asks for."""

import inspect
from collections.abc import Iterator

from mmcv.image import io as mmcv_io
from mmengine.registry import TRANSFORMS

from ..config_tree import every_step, items, step_name, type_name
from .facts import Facts
from .findings import Finding, rule
from .ignored import class_words
from .validation import moves

_ENDLESS = ('InfiniteSampler', 'MultiSourceSampler', 'GroupMultiSourceSampler')
_DECODERS = ('cv2', 'turbojpeg', 'pillow', 'tifffile')
# What mmcv decodes with, and has None in place of where the package is missing or was not asked for.
_READY = {'turbojpeg': 'jpeg', 'tifffile': 'tifffile'}
# MMDetection's that draw, beside all that begin with Random.
_DRAW = {
    *('PhotoMetricDistortion', 'MinIoURandomCrop', 'Expand', 'Mosaic', 'MixUp', 'CopyPaste', 'CutOut', 'Albu'),
    *('YOLOXHSVRandomAug', 'CachedMosaic', 'CachedMixUp', 'AutoAugment', 'RandAugment', 'TrivialAugmentWide'),
}


def _loaders(facts: Facts) -> Iterator[tuple[str, dict]]:
    for part in facts.parts:
        loader = facts.cfg.get(f'{part}_dataloader')
        if isinstance(loader, dict):
            yield part, loader


@rule('endless', ends=True)
def endless(facts: Facts) -> Iterator[Finding]:
    """A sampler without an end, where the loop waits for its end."""
    by_iterations = 'max_iters' in (facts.cfg.get('train_cfg') or {})
    for part, loader in _loaders(facts):
        kind = type_name((loader.get('sampler') or {}).get('type'))
        if kind in _ENDLESS and not (part == 'train' and by_iterations):
            what = 'the first epoch of the training' if part == 'train' else f'what {part}_dataloader is evaluated on'
            yield Finding(
                'error',
                f'{part}_dataloader.sampler.type',
                f'{part}_dataloader.sampler is {kind}, which has no end: {what} would never end.',
                fix=f"{part}_dataloader.sampler = dict(type='DefaultSampler', shuffle={part == 'train'})",
            )


@rule('loader', ends=True)
def loader(facts: Facts) -> Iterator[Finding]:
    """Options of a loader that exclude each other, with which PyTorch ends when it is built."""
    for part, one in _loaders(facts):
        name = f'{part}_dataloader'
        if not one.get('num_workers'):
            for key in ('persistent_workers', 'prefetch_factor'):
                if one.get(key):
                    what = f'{name}.{key} is {one[key]}, and there are no workers (num_workers=0).'
                    fix = f'set {name}.num_workers to 1 or more, or leave {key} out'
                    yield Finding('error', f'{name}.{key}', what, fix=fix)
        if one.get('drop_last') and one.get('batch_sampler'):
            what = f'{name}.drop_last is True, and {name}.batch_sampler makes the batches.'
            fix = f'set {name}.batch_sampler.drop_last, and leave {name}.drop_last out'
            yield Finding('error', f'{name}.drop_last', what, fix=fix)


@rule('left-out', ends=True)
def left_out(facts: Facts) -> Iterator[Finding]:
    """Images of a last batch that never come. Those that are filtered are counted with the annotations."""
    for part, one in _loaders(facts):
        name, size = f'{part}_dataloader', one.get('batch_size')
        drops = one.get('drop_last') or (one.get('batch_sampler') or {}).get('drop_last')
        some = one.get('num_batch_per_epoch')
        if part != 'train' and some is not None:
            what = (
                f'{name}.num_batch_per_epoch is {some}: no more batches are evaluated, and by an annotation file the '
                'objects of all other images would count as missed.'
            )
            yield Finding('error', f'{name}.num_batch_per_epoch', what, fix='leave it out')
        numbers = [inner.images for inner in facts.datasets[part]]
        images = sum(numbers) if numbers and None not in numbers else None
        if drops and isinstance(size, int) and images is not None and images < size and facts.by_epoch:
            what = (
                f'{name} has {images} images and a batch_size of {size}, and drop_last leaves such a batch out: none.'
            )
            yield Finding(
                'error', f'{name}.drop_last', what, fix=f'set drop_last=False, or {name}.batch_size={images}'
            )
        elif drops and part != 'train' and size != 1 and (images is None or images % size):
            many = 'the images of the last batch are' if images is None else f'{images % size} of {images} images are'
            what = f'{name}.drop_last is True: {many} not evaluated, and their objects count as missed.'
            yield Finding('error', f'{name}.drop_last', what, fix=f'set {name}.drop_last=False')


# --- pipelines -------------------------------------------------------------------------------------------------------


def _steps(pipeline) -> list[dict]:
    """The transforms of a pipeline, and those within them."""
    found = []
    for _, one in items(pipeline):
        if isinstance(one, dict) and 'type' in one:
            found.append(one)
        found += _steps(one)
    return found


def _pipelines(facts: Facts) -> Iterator[tuple[str, str, list[dict], bool]]:
    """Part, dotted name and transforms of each data set and what wraps it, and whether they are classes known here."""
    for part in facts.parts:
        for one in facts.datasets[part]:
            steps = _steps(facts.steps(one))
            kinds = [facts.class_of(TRANSFORMS, step['type']) for step in steps]
            ours = all(
                inspect.isclass(kind) and kind.__module__.startswith(('mmdet.', 'mmcv.', 'rethink.')) for kind in kinds
            )
            yield part, f'{one.path}.pipeline', steps, bool(steps) and ours


@rule('image-channels', ends=True)
def image_channels(facts: Facts) -> Iterator[Finding]:
    """Images are read with as many channels as are normalised, by a decoder that is there."""
    mean = (facts.model.get('data_preprocessor') or {}).get('mean') if isinstance(facts.model, dict) else None
    three = isinstance(mean, list | tuple) and len(mean) == 3
    for _, place, steps, known in _pipelines(facts):
        for step in steps if known else ():
            if not step_name(step['type']).startswith('LoadImage'):
                continue
            kind, decoder = step.get('color_type', 'color'), step.get('imdecode_backend', 'cv2')
            if kind not in mmcv_io.imread_flags:
                what = f'{place} reads images with color_type={kind!r}, which mmcv does not know.'
                yield Finding('error', place, what, fix=f'one of {", ".join(mmcv_io.imread_flags)}')
            elif three and kind.startswith('grayscale'):
                what = f'{place} reads images of one channel (color_type={kind!r}), and mean and std are of three.'
                fix = "color_type='color', which gives grey images three channels, or mean and std of one"
                yield Finding('error', place, what, fix=fix)
            elif three and kind == 'unchanged':
                what = (
                    f'{place} reads images as they are (color_type={kind!r}): a grey one (1 channel) or one with '
                    'transparency (4) ends the training when its turn comes, and pixels of 16 bits are normalised as '
                    'if they had 8.'
                )
                yield Finding('warning', place, what, fix="color_type='color', which makes three of any")
            if decoder not in (None, *_DECODERS):
                what = f'{place} decodes images by {decoder!r}, which mmcv does not know.'
                yield Finding('error', place, what, fix=f'imdecode_backend, one of {", ".join(_DECODERS)}')
            elif decoder in _READY and getattr(mmcv_io, _READY[decoder]) is None:
                what = f'{place} decodes images by {decoder}, which mmcv has not got ready here.'
                how = 'install tifffile' if decoder == 'tifffile' else "mmcv.use_backend('turbojpeg') before"
                yield Finding('error', place, what, fix=f"{how}, or imdecode_backend='cv2'")


@rule('pipeline-parts', ends=True)
def pipeline_parts(facts: Facts) -> Iterator[Finding]:
    """A pipeline loads images and packs them; that it loads boxes is in :mod:`.validation`."""
    if not facts.detector:
        return
    yield from _of_several_images(facts)
    for _, place, steps, known in _pipelines(facts):
        names = ' '.join(step_name(step['type']) for step in steps)
        for word, kind, why, where in (
            ('Pack', 'PackDetInputs', 'the model gets no inputs', 'last'),
            ('Image', 'LoadImageFromFile', 'there is none', 'first'),
        ):
            if known and word not in names:
                fix = f"add dict(type='{kind}'), {where}"
                yield Finding('error', place, f'{place} has no {kind}: {why}.', fix=fix)


def _of_several_images(facts: Facts) -> Iterator[Finding]:
    """Transforms of several images are given the others by ``MultiImageMixDataset``, whose pipeline they are in."""
    for part, one in _loaders(facts):
        whole = one.get('dataset') or {}
        mixes = type_name(whole.get('type')) == 'MultiImageMixDataset'
        for inner in facts.datasets[part]:
            for step in _steps(inner.cfg.get('pipeline')):
                words = class_words(facts.class_of(TRANSFORMS, step['type']))
                # RTMDet's take the others from what they have seen before.
                if 'mix_results' in words and 'results_cache' not in words:
                    name = type_name(step['type'])
                    what = f'{name} is in {inner.path}.pipeline, where it is given one image alone.'
                    fix = f"wrap the data set in a MultiImageMixDataset, with {name} in that one's pipeline"
                    yield Finding('error', f'{inner.path}.pipeline', what, fix=fix)
        hooks = facts.cfg.get('custom_hooks') or []
        for hook in hooks if part == 'train' and mixes else ():
            switched, length = hook.get('switch_pipeline') or [], len(whole.get('pipeline') or [])
            if len(switched) > length:
                what = f'MultiImageMixDataset uses {length} of the {len(switched)} transforms in switch_pipeline.'
                fix = f'as many transforms as {part}_dataloader.dataset.pipeline has, without those of its data set'
                yield Finding('error', 'custom_hooks', what, fix=fix)


@rule('meta-keys', ends=True)
def meta_keys(facts: Facts) -> Iterator[Finding]:
    """What detections and metrics ask of a sample at the first evaluation is packed with it."""
    if not facts.detector:
        return
    metrics = {part: [one for name, one in facts.evaluators if name.startswith(part)] for part in facts.parts}
    for part, place, steps, known in _pipelines(facts):
        packs = [step for step in steps if step_name(step['type']) == 'PackDetInputs']
        if part == 'train' or not known or len(packs) != 1:
            continue
        default = (
            inspect.signature(facts.class_of(TRANSFORMS, packs[0]['type']).__init__).parameters['meta_keys'].default
        )
        given = packs[0].get('meta_keys', default)
        if not isinstance(given, list | tuple):
            continue
        asked = {'img_shape': 'the detector', 'ori_shape': 'the detector'}
        if any('Coco' in type_name(one.get('type')) for one in metrics[part]):
            asked['img_id'] = 'CocoMetric'
        # Corner heads undo a border, and no scale.
        if 'border' not in given:
            asked['scale_factor'] = 'the detector'
        for key, who in asked.items():
            if key not in given:
                what = f'meta_keys of PackDetInputs in {place} lacks {key!r}, which {who} asks for.'
                yield Finding('error', place, what, fix=f'add {key!r}')
        kinds = [facts.class_of(TRANSFORMS, step['type']) for step in steps if step is not packs[0]]
        if 'scale_factor' in asked and not any('scale_factor' in class_words(kind) for kind in kinds):
            what = f'{place} has no transform that sets the scale_factor, which the detector asks for.'
            yield Finding('error', place, what, fix="add dict(type='Resize', scale=(1333, 800), keep_ratio=True)")


@rule('drawn-at-test')
def drawn_at_test(facts: Facts) -> Iterator[Finding]:
    """Colours and the like; what moves boxes is in :mod:`.validation`."""
    for part, place, steps, _ in _pipelines(facts):
        for step in steps if part != 'train' else ():
            name = step_name(step['type'])
            draws = name.startswith('Random') or name in _DRAW
            if draws and step.get('prob') != 0 and not step.get('test_mode') and not moves(facts, step):
                yield Finding(
                    'warning',
                    place,
                    f'{name} is in {place}, so that images are changed at random before they are evaluated.',
                    'two evaluations of a checkpoint differ, and neither is of the images as they are.',
                    "MMDetection's configs: no test pipeline draws",
                    f'leave {name} out there',
                )


@rule('normalised-twice')
def normalised_twice(facts: Facts) -> Iterator[Finding]:
    given = [(where, one.get('mean'), one.get('std')) for where, one in facts.preprocessors]
    both = [one for one in given if isinstance(one[1], list | tuple) and isinstance(one[2], list | tuple)]
    where = next((where for where, mean, std in both if any(mean) or any(one != 1 for one in std)), None)
    for _, place, steps, _ in _pipelines(facts) if where else ():
        if any(type_name(step['type']) == 'Normalize' for step in every_step(steps)):
            yield Finding(
                'error',
                place,
                f'Normalize in {place} subtracts the mean, and {where} does so once more.',
                'the network sees pixels that are nearly constant, as no weights were trained with.',
                'MMDetection 3: the data_preprocessor normalises, and no transform',
                f'leave Normalize out of {place}',
            )
