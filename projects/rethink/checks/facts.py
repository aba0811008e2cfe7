"""What the rules ask of a config: its backbones and where their weights come from, how long it trains, on what."""

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, MODELS

from ..config_tree import items, total_batch, type_name
from ..registering import use_scope
from .datasets import AnnotationFile, Dataset, nested, unwrapped

BATCH_NORMS = ('BN', 'BN1d', 'BN2d', 'BN3d', 'SyncBN', 'MMSyncBN', 'NaiveSyncBN', 'InPlaceABN')
# Keys of a detector; a model with none of them classifies or is self-supervised.
_HEADS = ('bbox_head', 'roi_head', 'rpn_head', 'mask_head', 'panoptic_head', 'panoptic_fusion_head', 'decoder')


@dataclass(frozen=True)
class Backbone:
    """A backbone in a config.

    Args:
        path: its dotted name.
        kind: name of its class, without a scope; of a ``FrozenBackbone``, of the plain one.
        args: its arguments, and the defaults of those that it does not give.
        weights: what gives it weights, such as ``'torchvision://resnet50'``; None where they are random.
        whole: frozen whole.
        allow_random: the config says that random weights may be frozen.
    """

    path: str
    kind: str
    args: dict
    weights: str | None
    whole: bool
    allow_random: bool

    @property
    def frozen_stages(self) -> int:
        """As MMDetection counts: -1 nothing, 0 the stem, 1 stem and first stage."""
        stages = self.args.get('frozen_stages')
        return stages if isinstance(stages, int) else -1

    @property
    def batch_norm(self) -> dict | None:
        """Its ``norm_cfg``, where that is one of BN."""
        norm = self.args.get('norm_cfg')
        return norm if isinstance(norm, dict) and type_name(norm.get('type')) in BATCH_NORMS else None

    @property
    def norm_eval(self) -> bool:
        """BN in evaluation mode while training: it uses its running statistics and does not change them."""
        return bool(self.args.get('norm_eval'))


class Facts:
    """A config, seen by the rules.

    Args:
        cfg: resolved.
        gpus: processes that train; None: as many as make the batch that the config's learning rate is for.
        stage: ``'train'`` or ``'test'``.
    """

    def __init__(self, cfg: Config, gpus: int | None = None, stage: str = 'train') -> None:
        self.cfg, self.gpus, self.stage = cfg, gpus, stage
        self.model = cfg.get('model') or {}
        self._made: dict[object, object] = {}
        self.scope = cfg.get('default_scope') or 'mmdet'
        use_scope(self.scope)

    # --- model ---

    @functools.cached_property
    def compared(self) -> bool:
        """It stands in the folder of a study of one's own, which asks what this is worth; ours are of other data."""
        folder = Path(self.cfg.filename or '').absolute().parent
        return any(folder.glob('study*.yml')) and not (folder.parent / '_base_' / 'default_runtime.py').is_file()

    @functools.cached_property
    def backbones(self) -> list[Backbone]:
        """All backbones of the model: a tracker or a semi-supervised detector has it one level down."""
        return list(self._backbones(self.model, 'model', self._loaded()))

    def _loaded(self) -> str | None:
        """What gives weights to the whole model, or to its backbone by a hook."""
        for hook in self.cfg.get('custom_hooks') or []:
            if type_name(hook.get('type')) == 'InitFromBaseHook':
                return hook.get('checkpoint')
        return self.cfg.get('load_from') or (self.cfg.get('resume') and 'the resumed checkpoint') or None

    def _backbones(self, tree, path: str, given: str | None) -> Iterator[Backbone]:
        if isinstance(tree, dict):
            given = _own_weights(tree) or given
            if path.rsplit('.', 1)[-1] == 'backbone' and 'type' in tree:
                yield self._backbone(tree, path, given)
                return
        for key, inner in items(tree):
            yield from self._backbones(inner, f'{path}.{key}' if isinstance(key, str) else f'{path}[{key}]', given)

    def _backbone(self, cfg: dict, path: str, given: str | None) -> Backbone:
        kind = cfg.get('of') if type_name(cfg['type']) == 'FrozenBackbone' else cfg['type']
        args = {**_defaults(self.model_class(kind)), **cfg}
        stages = args.get('num_stages') or 4
        whole = kind is not cfg['type'] or (
            isinstance(args.get('frozen_stages'), int) and args['frozen_stages'] >= stages
        )
        return Backbone(path, type_name(kind), args, given, whole, bool(cfg.get('allow_random')))

    def model_class(self, kind):
        """The class of a ``type`` in the model; None where none is registered."""
        return self.class_of(MODELS, kind)

    @property
    def backbone(self) -> Backbone | None:
        """That of the detector; None where the model has none or several."""
        return self.backbones[0] if len(self.backbones) == 1 else None

    @property
    def detector(self) -> bool:
        return any(key in self.model for key in _HEADS)

    @property
    def from_scratch(self) -> Backbone | None:
        """The backbone of a detector that is trained from random weights."""
        one = self.backbone
        return one if self.detector and one is not None and one.weights is None else None

    # --- data ---

    @property
    def parts(self) -> tuple[str, ...]:
        """Whose data a run of this stage reads."""
        if self.stage == 'test':
            return ('test',)
        also_test = type_name((self.cfg.get('val_cfg') or {}).get('type')) == 'ValAndTestLoop'
        return ('train', 'val', 'test') if also_test else ('train', 'val')

    @functools.cached_property
    def datasets(self) -> dict[str, list[Dataset]]:
        """``'train'``, ``'val'``, ``'test'`` → its data sets."""
        found = {}
        for part in ('train', 'val', 'test'):
            whole = (self.cfg.get(f'{part}_dataloader') or {}).get('dataset')
            inner = unwrapped(whole, f'{part}_dataloader.dataset') if isinstance(whole, dict) else ()
            found[part] = [self._dataset(name, one) for name, one in inner if isinstance(one, dict)]
        return found

    def _dataset(self, name: str, cfg: dict) -> Dataset:
        kind = cfg.get('type')
        if isinstance(kind, str):
            scope = cfg.get('_scope_') or self.cfg.get('default_scope') or 'mmengine'
            kind = DATASETS.get(kind if '.' in kind else f'{scope}.{kind}')
        path = Dataset(name, cfg, kind).annotations
        return Dataset(name, cfg, kind, self.file(path) if path and os.path.isfile(path) else None)

    def class_of(self, registry, kind) -> type | None:
        """A class by its name in a registry."""
        if not isinstance(kind, str):
            return kind
        scoped = kind if '.' in kind else f'{self.scope}.{kind}'
        return self.once((registry, kind), lambda: registry.get(scoped) or registry.get(kind))

    def steps(self, one: Dataset) -> list[dict]:
        """The transforms of a data set and of what wraps it."""
        wrapper = (self.cfg.get(f'{one.path.split("_")[0]}_dataloader') or {}).get('dataset') or {}
        owners = (one.cfg, wrapper) if wrapper is not one.cfg else (wrapper,)
        return [step for owner in owners for step in owner.get('pipeline') or [] if isinstance(step, dict)]

    @functools.cached_property
    def pipelines(self) -> list[tuple[str, list]]:
        """All pipelines of the config with their dotted names, those of wrappers, hooks and TTA too."""
        found = []
        for part in ('train', 'val', 'test'):
            dataset = (self.cfg.get(f'{part}_dataloader') or {}).get('dataset')
            within = nested(dataset, f'{part}_dataloader.dataset')
            found += [(f'{name}.pipeline', one.get('pipeline')) for name, one in within]
        for where, one in self.hooks:
            found.append((f'{where}.switch_pipeline', one.get('switch_pipeline')))
        found.append(('tta_pipeline', self.cfg.get('tta_pipeline')))
        return [(where, steps) for where, steps in found if isinstance(steps, list | tuple)]

    @functools.cached_property
    def preprocessors(self) -> list[tuple[str, dict]]:
        """What normalises images, with its dotted name: of the model, or of a part of it that MMDetection wraps."""
        own = list(_preprocessors(self.model, 'model'))
        whole = self.cfg.get('data_preprocessor')  # MMEngine gives it to a model that has none
        return own if own or not isinstance(whole, dict) else [('data_preprocessor', whole)]

    def file(self, path: str) -> AnnotationFile:
        path = os.path.normpath(path)
        return self.once(path, lambda: AnnotationFile(path))

    def once(self, key, make: Callable):
        """What ``make`` makes, the same for all who ask by this key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @property
    def used(self) -> list[Dataset]:
        """The data sets of a run of this stage."""
        return [one for part in self.parts for one in self.datasets[part]]

    @property
    def evaluators(self) -> list[tuple[str, dict]]:
        """Their metrics, with their dotted names."""
        found = []
        for part in self.parts:
            some = self.cfg.get(name := f'{part}_evaluator') or []
            several = isinstance(some, list | tuple)
            found += [(f'{name}[{index}]', one) for index, one in enumerate(some)] if several else [(name, some)]
        return [(name, one) for name, one in found if isinstance(one, dict)]

    def metric_is(self, metric: dict, *kinds: type) -> bool:
        """Whether a metric of :attr:`evaluators` is of one of these classes, or derives from one."""
        kind = self.class_of(METRICS, metric.get('type'))
        return isinstance(kind, type) and issubclass(kind, kinds)

    # --- batch and length ---

    @property
    def batch(self) -> int | None:
        """Images of one process in an iteration."""
        size = (self.cfg.get('train_dataloader') or {}).get('batch_size')
        return size if isinstance(size, int) else None

    @property
    def base_batch(self) -> int | None:
        """Images in a step that the learning rate of the config is for."""
        return (self.cfg.get('auto_scale_lr') or {}).get('base_batch_size')

    @property
    def total_batch(self) -> int | None:
        """Images in a step of the optimiser; the base batch where the number of processes is not known."""
        if self.gpus is None or self.batch is None:
            return self.base_batch
        return total_batch(self.cfg, self.gpus)[1]

    @property
    def train_images(self) -> int | None:
        """Images of the training data, where they are known."""
        numbers = [one.images for one in self.datasets['train']]
        return sum(numbers) if numbers and None not in numbers else None

    @property
    def images_seen(self) -> float | None:
        """Images of the whole training, those seen twice counted twice; None where it is not known."""
        return self.seen(self.length)

    @property
    def length(self) -> int | None:
        """Iterations or epochs (:attr:`by_epoch`) of the training."""
        train = self.cfg.get('train_cfg') or {}
        return train.get('max_iters') or train.get('max_epochs')

    @property
    def by_epoch(self) -> bool:
        return 'max_iters' not in (self.cfg.get('train_cfg') or {})

    def seen(self, length: float | None) -> float | None:
        """Images in so many iterations or epochs."""
        if length is None:
            return None
        if not self.by_epoch:
            return length * self.total_batch if self.total_batch else None
        return length * self.train_images * self._repeats if self.train_images else None

    @property
    def _repeats(self) -> int:
        dataset = (self.cfg.get('train_dataloader') or {}).get('dataset') or {}
        return dataset.get('times', 1) if type_name(dataset.get('type')) == 'RepeatDataset' else 1

    @property
    def iterations(self) -> int | None:
        """Of the whole training, where they are known; of one process where the number of processes is not."""
        if not self.by_epoch:
            return self.length
        return self.length * self.epoch if self.length and self.epoch else None

    @functools.cached_property
    def epoch(self) -> int | None:
        """Iterations of an epoch, as :attr:`iterations`; images that a data set leaves out are counted."""
        loader = self.cfg.get('train_dataloader') or {}
        images = self._drawn(loader.get('dataset'), 'train_dataloader.dataset')
        usual = ('DefaultSampler', 'InfiniteSampler', 'AspectRatioBatchSampler', '')
        samplers = (type_name((loader.get(key) or {}).get('type')) for key in ('sampler', 'batch_sampler'))
        if not images or not self.batch or not all(one in usual for one in samplers):
            return None
        most = loader.get('num_batch_per_epoch')
        number = ceil(images / (self.batch * (self.gpus or 1)))
        return min(number, most) if isinstance(most, int) else number

    def _drawn(self, tree, name: str) -> int | None:
        """Samples of an epoch of a data set or of what wraps it; None where that is not known."""
        if not isinstance(tree, dict):
            return None
        kind = type_name(tree.get('type'))
        if 'dataset' in tree:
            times = {'RepeatDataset': tree.get('times', 1), 'MultiImageMixDataset': 1}.get(kind)
            inner = self._drawn(tree['dataset'], f'{name}.dataset')
            return inner * times if inner and isinstance(times, int) else None
        if isinstance(tree.get('datasets'), list | tuple):
            parts = [self._drawn(one, f'{name}.datasets[{index}]') for index, one in enumerate(tree['datasets'])]
            return sum(parts) if kind == 'ConcatDataset' and None not in parts else None
        images = next((one.images for one in self.datasets['train'] if one.path == name), None)
        some = tree.get('indices')
        if images is None or some is None:
            return images
        return min(images, some) if isinstance(some, int) else len(some)

    @functools.cached_property
    def schedulers(self) -> list[tuple[str, dict]]:
        """Schedules with their dotted names; those of several optimisers are lists in a dict."""
        return list(_with_type(self.cfg.get('param_scheduler'), 'param_scheduler'))

    @functools.cached_property
    def hooks(self) -> list[tuple[str, dict]]:
        """Hooks that the config names, with their dotted names; settings of a default one may have no type."""
        default = [(f'default_hooks.{name}', one) for name, one in (self.cfg.get('default_hooks') or {}).items()]
        custom = [(f'custom_hooks.{index}', one) for index, one in enumerate(self.cfg.get('custom_hooks') or [])]
        return [(where, one) for where, one in (*default, *custom) if isinstance(one, dict)]

    @property
    def drops(self) -> list[int]:
        """Where the learning rate falls in steps, in iterations or epochs."""
        return sorted(
            milestone
            for _, one in self.schedulers
            if type_name(one['type']) == 'MultiStepLR' and one.get('by_epoch', True) == self.by_epoch
            for milestone in one.get('milestones') or []
        )

    @property
    def optimizer(self) -> dict:
        return (self.cfg.get('optim_wrapper') or {}).get('optimizer') or {}


def _preprocessors(tree, name: str) -> Iterator[tuple[str, dict]]:
    for key, inner in items(tree):
        if key == 'data_preprocessor' and isinstance(inner, dict):
            yield f'{name}.{key}', inner
        yield from _preprocessors(inner, f'{name}.{key}')


def _with_type(tree, name: str) -> Iterator[tuple[str, dict]]:
    if isinstance(tree, dict) and 'type' in tree:
        yield name, tree
        return
    for key, inner in items(tree):
        yield from _with_type(inner, f'{name}.{key}')


def _own_weights(cfg: dict) -> str | None:
    """What a part of a model says that it gets its weights from, all of it."""
    inits = cfg.get('init_cfg')
    for init in inits if isinstance(inits, list | tuple) else [inits]:
        # A class with an init_weights of its own, such as PVT's, needs no type.
        if isinstance(init, dict) and init.get('checkpoint'):
            return init['checkpoint']
    # timm's is a bool; old detectors have a path.
    if cfg.get('pretrained'):
        return cfg['pretrained'] if isinstance(cfg['pretrained'], str) else 'its library'
    return cfg.get('checkpoint_path') or None


def _defaults(kind) -> dict:
    """Defaults of a class's arguments, those that it hands on to its parents too."""
    found = {}
    for parent in reversed(inspect.getmro(kind)) if inspect.isclass(kind) else ():
        if '__init__' in vars(parent) and parent is not object:
            parameters = inspect.signature(parent.__init__).parameters.values()
            found.update({one.name: one.default for one in parameters if one.default is not one.empty})
    return found
