"""Rules of rate, pixels, pipeline and best checkpoint: settings with which a run learns nothing, or what is wrong."""

from collections.abc import Iterator

from mmengine.registry import TRANSFORMS

from ..config_tree import every_step, step_name, type_name
from .facts import Facts
from .findings import Finding, rule
from .ignored import class_words


@rule('no-rate')
def no_rate(facts: Facts) -> Iterator[Finding]:
    kinds = {type_name(one['type']) for _, one in facts.schedulers}
    if facts.optimizer.get('lr') == 0 and 'OneCycleLR' not in kinds:
        yield Finding(
            'error',
            'optim_wrapper.optimizer.lr',
            'the learning rate is 0.',
            'no weight changes: schedules multiply it.',
            'PyTorch, torch.optim',
            'optim_wrapper.optimizer.lr of the schedule that it is copied from, such as 0.02 for SGD with 16 images',
        )


@rule('rising-rate')
def rising_rate(facts: Facts) -> Iterator[Finding]:
    for where, one in facts.schedulers:
        kind, gamma = type_name(one['type']), one.get('gamma')
        if kind in ('MultiStepLR', 'StepLR', 'ExponentialLR') and _is_number(gamma) and gamma > 1:
            what = f'gamma of {kind} is {gamma}, by which the learning rate is multiplied.'
            fix = f'gamma={1 / gamma:.3g}'
            yield Finding('error', where, what, 'it rises at each step.', 'PyTorch, torch.optim', fix)


@rule('two-conventions')
def two_conventions(facts: Facts) -> Iterator[Finding]:
    """The optimiser of our schedules, which is Detectron's, beside MMDetection's losses."""
    paramwise = (facts.cfg.get('optim_wrapper') or {}).get('paramwise_cfg') or {}
    loss = (facts.model.get('rpn_head') or {}).get('loss_bbox') or {}
    if facts.stage == 'train' and paramwise.get('bias_lr_mult') == 2 and type_name(loss.get('type')) == 'L1Loss':
        yield Finding(
            'warning',
            'optim_wrapper.paramwise_cfg',
            "biases learn twice as fast (bias_lr_mult=2), as in Detectron, and the losses are MMDetection's (L1Loss).",
            'schedules of rethink had one rate and decay for all parameters once, and what inherits them has changed.',
            'docs/fidelity.md, study A',
            "optim_wrapper.paramwise_cfg=None for MMDetection's conventions and the results of before",
        )


@rule('no-hook')
def no_hook(facts: Facts) -> Iterator[Finding]:
    """Hooks of MMEngine that a config takes away, and what then does not happen."""
    hooks = facts.cfg.get('default_hooks') or {}
    kind = type_name(((facts.cfg.get('train_dataloader') or {}).get('sampler') or {}).get('type'))
    lost = {
        'param_scheduler': ('error', 'the learning rate never changes, whatever param_scheduler is.'),
        'checkpoint': ('warning', 'nothing is saved.'),
        'sampler_seed': ('warning', 'each epoch has the images in the same order.'),
    }
    asked = {
        'param_scheduler': bool(facts.cfg.get('param_scheduler')),
        'checkpoint': True,
        'sampler_seed': facts.by_epoch and kind == 'DefaultSampler',
    }
    for name, (level, why) in lost.items():
        if name in hooks and hooks[name] is None and asked[name]:
            what = f"default_hooks.{name} is None, which takes MMEngine's hook away."
            source = 'MMEngine, Runner.register_default_hooks'
            yield Finding(level, f'default_hooks.{name}', what, why, source, f'leave default_hooks.{name} out')


@rule('average')
def average(facts: Facts) -> Iterator[Finding]:
    """A momentum of other libraries, which is that of the old weights."""
    for index, one in enumerate(facts.cfg.get('custom_hooks') or []):
        momentum = one.get('momentum')
        if type_name(one.get('type')) == 'EMAHook' and _is_number(momentum) and 0.5 < momentum < 1:
            yield Finding(
                'error',
                f'custom_hooks.{index}.momentum',
                f'momentum of EMAHook is {momentum}, the share of the newest weights in the average.',
                'the average is the newest weights, and there is none.',
                'MMEngine, ExponentialMovingAverage: averaged = (1 - momentum) * averaged + momentum * weights',
                f'momentum={1 - momentum:.6g}',
            )


# Above the highest of MMDetection's configs whose metric is AP.
_CUT = 0.3


@rule('score-threshold')
def score_threshold(facts: Facts) -> Iterator[Finding]:
    """Detections that are thrown away before their AP is computed."""
    tests = facts.model.get('test_cfg')
    if 'panoptic_fusion_head' in facts.model or not isinstance(tests, dict):  # its quality is of the segments left
        return
    for place, one in (('model.test_cfg', tests), ('model.test_cfg.rcnn', tests.get('rcnn'))):
        cut = one.get('score_thr') if isinstance(one, dict) else None
        if _is_number(cut) and cut >= _CUT and any('Coco' in type_name(m.get('type')) for _, m in facts.evaluators):
            yield Finding(
                'warning',
                f'{place}.score_thr',
                f'detections below a score of {cut} are thrown away before AP is computed.',
                'AP is the area below a curve of all scores, and is that of its beginning alone.',
                "MMDetection's configs: 0.05 or less",
                f'{place}.score_thr=0.05; a threshold for pictures is that of the visualisation hook',
            )


def _dicts(value) -> list[dict]:
    return [one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, dict)]


# --- pixels ----------------------------------------------------------------------------------------------------------


_DIVIDES = {
    'data_preprocessor': 'mmengine, ImgDataPreprocessor: (pixel - mean) / std, pixels of 0 to 255',
    'Normalize': 'mmcv, Normalize: (pixel - mean) / std, pixels of 0 to 255',
}


def _normalising(facts: Facts) -> Iterator[tuple[str, str, dict, list[dict]]]:
    """Place, what it is, its settings, and the transforms before it."""
    from mmcv.transforms import Normalize

    for where, one in facts.preprocessors:
        yield where, 'data_preprocessor', one, _transforms(facts)
    for where, steps in facts.pipelines:
        steps = list(every_step(steps))
        for at, step in enumerate(steps):
            kind = _class(facts, step)
            if isinstance(kind, type) and issubclass(kind, Normalize):
                yield where, 'Normalize', step, steps[:at]


@rule('pixel-range')
def pixel_range(facts: Facts) -> Iterator[Finding]:
    said = []  # of the same in many pipelines the first
    for where, name, one, before in _normalising(facts):
        mean, std = one.get('mean'), one.get('std')
        if not all(isinstance(it, list | tuple) and it and all(map(_is_number, it)) for it in (mean, std)):
            continue
        if (name, list(mean), list(std)) in said:
            continue
        said.append((name, list(mean), list(std)))
        of = '' if name == 'data_preprocessor' else f' of {name} in {where}'
        source, to_set = _DIVIDES[name], where if name == 'data_preprocessor' else f'{name} in {where}'
        if 0 in std:
            what = f'std{of} is {list(std)}, and pixels are divided by it.'
            fix = f'{to_set}: std={[1.0] * len(std)} to leave them as they are'
            yield Finding('error', where, what, 'they become infinite.', source, fix)
        elif all(0 < it < 1 for it in std) and all(0 <= it <= 1 for it in mean):
            what = f'mean {list(mean)} and std {list(std)}{of} are for pixels of 0 to 1, and they are of 0 to 255.'
            scaled = [[round(255 * it, 3) for it in values] for values in (mean, std)]
            fix = f'{to_set}: mean={scaled[0]}, std={scaled[1]}'
            level = 'error' if all(_is_known(facts, it) for it in before) else 'warning'
            why = 'the network sees values of up to a thousand, and no weights were trained with such.'
            yield Finding(level, where, what, why, source, fix)


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _transforms(facts: Facts) -> list[dict]:
    return [step for where, steps in facts.pipelines if where.startswith('train') for step in every_step(steps)]


# Of albumentations, which divide by 255.
_TO_ONE = ('Normalize', 'ToFloat')


def _is_known(facts: Facts, transform: dict) -> bool:
    """Whether it is one of OpenMMLab's, of which none scales pixels to 0 to 1, except Normalize."""
    kind = _class(facts, transform)
    name = getattr(kind, '__module__', '')
    if kind is not None and kind.__name__ == 'Albu':
        return not any(type_name(one.get('type')) in _TO_ONE for one in every_step(transform.get('transforms')))
    return name.startswith(('mmdet.', 'mmcv.', 'mmpretrain.', 'rethink.')) and 'Normalize' not in kind.__name__


def _class(facts: Facts, transform: dict):
    kind = transform.get('type')
    if not isinstance(kind, str):
        return kind
    return TRANSFORMS.get(kind if '.' in kind else f'{facts.scope}.{kind}') or TRANSFORMS.get(kind)


# --- training data ---------------------------------------------------------------------------------------------------


@rule('pipeline-order')
def pipeline_order(facts: Facts) -> Iterator[Finding]:
    """A transform that changes boxes along with the image, before there are boxes."""
    for one in facts.datasets['train']:
        pipeline = _dicts(one.cfg.get('pipeline') or [])
        names = [step_name(step.get('type')) for step in pipeline]
        loads = next((at for at, name in enumerate(names) if 'Annotations' in name and 'Load' in name), 0)
        for step, name in zip(pipeline[:loads], names, strict=False):
            moves = 'gt_bboxes' in class_words(_class(facts, step)) and step.get('prob') != 0
            if not moves or name.startswith('Load'):
                continue
            yield Finding(
                'error',
                f'{one.path}.pipeline',
                f'{name} comes before {names[loads]}.',
                'it changes the image, and the boxes that are loaded then are those of the file.',
                'MMDetection, transforms change the boxes that they find',
                f'{names[loads]} before {name}',
            )


@rule('unshuffled')
def unshuffled(facts: Facts) -> Iterator[Finding]:
    loader = facts.cfg.get('train_dataloader') or {}
    sampler = loader.get('sampler') if isinstance(loader, dict) else None
    kind = type_name((sampler or {}).get('type'))
    if loader and not sampler:
        what = 'the training data have no sampler, and come in the order of the file.'
    elif kind in ('DefaultSampler', 'InfiniteSampler') and sampler.get('shuffle', True) is False:
        what = f'{kind} does not shuffle the training data (shuffle=False).'
    else:
        return
    yield Finding(
        'warning',
        'train_dataloader.sampler',
        what,
        'neighbours in the file are often alike, and each batch is of one kind of images.',
        "MMDetection's configs: train_dataloader shuffles",
        "train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)",
    )


# --- weights and checkpoints -----------------------------------------------------------------------------------------


@rule('weights-twice')
def weights_twice(facts: Facts) -> Iterator[Finding]:
    load_from = facts.cfg.get('load_from')
    own = [one for one in facts.backbones if load_from and one.weights and one.weights != load_from]
    if own and not facts.cfg.get('resume'):
        yield Finding(
            'note',
            'load_from',
            f'load_from ({load_from}) comes after {own[0].path}.init_cfg ({own[0].weights}).',
            'of what both have, the weights of load_from are those that are trained.',
            'MMEngine, Runner.train: init_weights, then load_from',
            f'{own[0].path}.init_cfg=None, where load_from has the whole detector',
        )


@rule('best-of-nothing')
def best_of_nothing(facts: Facts) -> Iterator[Finding]:
    """``save_best`` where nothing is validated; that of no metric is in :mod:`rethink.checks.evaluation`."""
    metrics = [one for name, one in facts.evaluators if name.startswith('val')]
    if facts.stage == 'train' and metrics and all(one.get('format_only') for one in metrics):
        yield Finding(
            'note',
            'val_evaluator.format_only',
            'format_only of val_evaluator writes detections into a file and measures nothing.',
            'no metric is logged.',
            'MMDetection, CocoMetric: for test sets without annotations',
            'val_evaluator.format_only=False',
        )
    wanted = ((facts.cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    if wanted and facts.stage == 'train' and not facts.cfg.get('val_dataloader'):
        yield Finding(
            'warning',
            'default_hooks.checkpoint.save_best',
            f'save_best is {wanted!r}, and nothing is validated.',
            'no best checkpoint is saved.',
            'MMEngine, CheckpointHook: it is saved after a validation',
            'a val_dataloader and val_evaluator, or no save_best',
        )
