"""What a training step of a config costs: parameters, operations, bytes kept for backward; on a GPU memory and speed.

The step is the detector's own ``loss`` on a generated batch (:mod:`.generated_batch`), and the backward pass from it.
There is no optimiser and nothing is trained, loaded or downloaded: none of this depends on the values of the weights,
which are random.
"""

import contextlib
import copy
import gc
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import mmdet
import torch
from mmdet.models import BaseDetector
from mmengine.config import Config, ConfigDict
from mmengine.device import is_cuda_available
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..engine import launch
from ..errors import ConfigError, unlogged
from ..files import write_atomically
from ..registering import use_scope
from .batch import entries, generate_batch, generate_proposals
from .counters import StepCost, step_cost

# Of the files in a cache; a change of what is measured asks for the next.
_VERSION = 1
_WARM_UP, _TIMED = 3, 10


@dataclass(frozen=True)
class Setting:
    """How a step is measured.

    Args:
        shape: height and width of the images, in pixels.
        batch: images in the step.
        device: ``'cuda'``, ``'cpu'``, or ``'meta'``: backbone and neck are run on PyTorch's meta device, where tensors
            have a shape and no values, and need neither time nor memory. Their operations and bytes are the same; the
            heads, whose work depends on values, are computed on the CPU.
        amp: in mixed precision (float16 on a GPU, bfloat16 on a CPU), as ``tools/train.py --amp``.
    """

    shape: tuple[int, int] = (640, 640)
    batch: int = 1
    device: str = 'cpu'
    amp: bool = False

    def __post_init__(self) -> None:
        if min(*self.shape, self.batch) < 1:
            raise ConfigError(f'there is nothing to measure with images of {self.words}; name numbers above 0.')
        if self.amp and self.device == 'meta':
            raise ConfigError('--device meta knows no mixed precision; leave --amp away or name another device.')
        if self.device == 'cuda' and not is_cuda_available():
            raise ConfigError('there is no GPU for --device cuda; take cpu, or meta for large detectors.')

    @property
    def words(self) -> str:
        """For a sentence, such as ``'640×640, batch 1, cpu, float32'``."""
        precision = ('float16' if self.device == 'cuda' else 'bfloat16') if self.amp else 'float32'
        return f'{self.shape[0]}×{self.shape[1]}, batch {self.batch}, {self.device}, {precision}'

    @property
    def title(self) -> str:
        """For a picture, whose reader need not know how it was counted."""
        images = 'one image' if self.batch == 1 else f'{self.batch} images'
        return f'{images} of {self.shape[0]} × {self.shape[1]} pixels'


@dataclass
class Cost:
    """What was measured of one config.

    Args:
        name: of the config.
        parameters: of the whole model, in numbers; those of one part are in ``parts``.
        trainable: those of them that require a gradient.
        parts: child of the model -> (parameters, trainable ones).
        step: operations and bytes of a step, by part.
        rois: head of the second stage -> RoIs that it sees in a step, all images together.
        peak: bytes of GPU memory at the peak of a step: weights, gradients, activations and work space, without an
            optimiser's state; None on a CPU.
        images_per_second: forward and backward, without an optimiser; None on a CPU.
    """

    name: str
    parameters: int
    trainable: int
    parts: dict[str, tuple[int, int]]
    step: StepCost
    rois: dict[str, int]
    peak: int | None = None
    images_per_second: float | None = None

    @property
    def forward(self) -> int:
        """Operations of the forward pass."""
        return sum(self.step.forward.values())

    @property
    def backward(self) -> int:
        """Operations of the backward pass."""
        return sum(self.step.backward.values())

    @property
    def kept(self) -> int:
        """Bytes kept for the backward pass."""
        return sum(self.step.kept.values())


# --- the config and its model ----------------------------------------------------------------------------------------


def load(name: str, options: dict | None = None) -> Config:
    """Read a config: a path, or a name within a package, such as ``mmdet::retinanet/retinanet_r50_fpn_1x_coco.py``.

    Raises:
        ConfigError: there is no such config, it cannot be read, or it has no model.
    """
    cfg = launch.load_config(name, options)
    if not isinstance(cfg.get('model'), dict):
        raise ConfigError(f'{name} has no model, so there is nothing to measure; name the config of a detector.')
    return cfg


def _without_weights(tree):
    """A copy of a model's config that loads nothing, in which a backbone may be frozen as it is."""
    if isinstance(tree, list | tuple):
        return [_without_weights(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    tree = {key: _without_weights(value) for key, value in tree.items()}
    init = tree.get('init_cfg')
    if init:
        kept = [one for one in (init if isinstance(init, list) else [init]) if 'Pretrained' not in str(one['type'])]
        tree['init_cfg'] = kept or None
    for key in ('pretrained', 'checkpoint_path', 'teacher_ckpt'):
        if tree.get(key):
            # timm's backbones know True and False, MMDetection's the name of a file.
            tree[key] = {bool: False, str: None}.get(type(tree[key])) if key != 'checkpoint_path' else ''
    if tree.get('type') == 'FrozenBackbone':
        tree['allow_random'] = True
    # Sizes drawn anew for each batch would make every step another one.
    if 'batch_augments' in tree:
        tree['batch_augments'] = None
    return tree


def assemble(cfg: Config) -> nn.Module:
    """The model of a config in training mode, with random weights; SyncBN is BN, as in training with one process.

    Raises:
        ConfigError: it cannot be built.
    """
    launch.start_processes(cfg)
    use_scope(cfg.get('default_scope') or 'mmdet')
    try:
        model = MODELS.build(ConfigDict(_without_weights(cfg.model)))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f'the model of {cfg.filename} cannot be built: {launch.describe(error)}.') from error
    model = revert_sync_batchnorm(model)
    model.init_weights()
    return model.train()


def build(cfg: Config) -> nn.Module:
    """:func:`assemble` a detector or a classifier.

    Raises:
        ConfigError: it cannot be built, or is neither.
    """
    model = assemble(cfg)
    if not isinstance(model, BaseDetector) and not _is_classifier(model):
        raise ConfigError(
            f'the model of {cfg.filename} is a {type(model).__name__}, neither a detector nor a classifier of images; '
            'name the config of one.'
        )
    return model


def _is_classifier(model: nn.Module) -> bool:
    from mmpretrain.models import BaseClassifier

    return isinstance(model, BaseClassifier)


def _numbers(model: nn.Module) -> tuple[int, int]:
    parameters = list(model.parameters())
    return sum(one.numel() for one in parameters), sum(one.numel() for one in parameters if one.requires_grad)


# --- the step --------------------------------------------------------------------------------------------------------


class _Bridge(torch.autograd.Function):
    """Noise in place of features without values; the gradient goes back to where there are none."""

    @staticmethod
    def forward(ctx, feature: Tensor) -> Tensor:
        return torch.randn(feature.shape, dtype=feature.dtype, generator=torch.Generator().manual_seed(0))

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad.to('meta')


class Step:
    """A training step of a model, the same whenever it is called.

    The values of its features, which with random weights say nothing, are exchanged for normal noise in the tensors
    themselves, and the proposals of a first stage for those of :func:`.generated_batch.generate_proposals`, twice as
    many as the second stage samples. Everything else is the model's own ``loss``.

    Args:
        cfg: of the model, as it was built.
        model: stays changed.
        setting: where to run it.
    """

    def __init__(self, cfg: Config, model: nn.Module, setting: Setting) -> None:
        self.model, self.setting = model, setting
        self.batch = generate_batch(cfg.model, model, setting.shape, setting.batch)
        self.rois: Counter[str] = Counter()
        samples = entries([(cfg.model.get('train_cfg') or {}).get('rcnn') or {}], 'num')
        self._proposals = 2 * max([one for one in samples if isinstance(one, int)], default=0)
        self._stands_for: Callable[[Tensor, Tensor], None] | None = None
        model.to('cpu' if setting.device == 'meta' else setting.device)
        self._extract_feat = model.extract_feat
        model.extract_feat = self._features
        if setting.device == 'meta':
            for name in ('backbone', 'neck'):
                if getattr(model, name, None) is not None:
                    getattr(model, name).to('meta')
        if self._proposals and hasattr(model, 'rpn_head'):
            self._loss_and_predict = model.rpn_head.loss_and_predict
            model.rpn_head.loss_and_predict = self._with_proposals
        for name, module in getattr(model, 'roi_head', nn.Module()).named_modules():
            if name.split('.')[0].endswith('_head') and (name.count('.') == 0 or name.split('.', 1)[1].isdigit()):
                module.register_forward_pre_hook(lambda _, inputs, name=name: self._count(name, inputs))

    def __call__(self, stands_for: Callable[[Tensor, Tensor], None] | None = None) -> Tensor:
        """The loss.

        Args:
            stands_for: of :func:`.cost.step_cost`.
        """
        self._stands_for = stands_for
        self.rois.clear()
        torch.manual_seed(0)
        kind = 'cuda' if self.setting.device == 'cuda' else 'cpu'
        dtype = torch.float16 if kind == 'cuda' else torch.bfloat16
        with torch.autocast(kind, dtype, enabled=self.setting.amp):
            data = self.model.data_preprocessor(copy.deepcopy(self.batch), True)
            return self.model.parse_losses(self.model(**data, mode='loss'))[0]

    def _features(self, inputs: Tensor, *args, **kwargs):
        if self.setting.device == 'meta':
            inputs = inputs.to('meta')
        features = self._extract_feat(inputs, *args, **kwargs)
        return torch.utils._pytree.tree_map_only(Tensor, self._with_values, features)

    def _with_values(self, feature: Tensor) -> Tensor:
        if feature.device.type != 'meta':
            # Through data, so that autograd takes no notice.
            feature.data.normal_(generator=torch.Generator(feature.device).manual_seed(0))
            return feature
        noise = _Bridge.apply(feature)
        if self._stands_for:
            self._stands_for(noise, feature)
        return noise

    def _with_proposals(self, x, samples, **kwargs):
        losses, found = self._loss_and_predict(x, samples, **kwargs)
        for result, sample in zip(found, samples, strict=True):
            boxes = generate_proposals(sample.gt_instances.bboxes, sample.img_shape, self._proposals)
            fields = dict(bboxes=boxes, scores=boxes.new_ones(len(boxes)), labels=boxes.new_zeros(len(boxes)).long())
            for key in list(result.keys()):
                result.pop(key)
            for key, value in fields.items():
                result.set_field(value, key)
        return losses, found

    def _count(self, name: str, inputs) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            self.rois[name] += len(inputs[0])


def measure(cfg: Config, setting: Setting) -> Cost:
    """Build the model of a config and measure a training step of it.

    What libraries print meanwhile goes to stderr.

    Raises:
        ConfigError: the model cannot be built, a step of it fails, or there is not enough memory.
    """
    name = Path(cfg.filename).stem
    with quiet():
        model = build(cfg)
        parts = {child: _numbers(module) for child, module in model.named_children() if _numbers(module)[0]}
        numbers = _numbers(model)
        with _step_errors(name, setting):
            step = Step(cfg, model, setting)
            cost = Cost(name, *numbers, parts, step_cost(step, model), dict(step.rois))
            model.zero_grad(set_to_none=True)
            if setting.device == 'cuda':
                cost.peak, cost.images_per_second = _on_gpu(step)
    # Model and step know each other; without this the next model would be built beside this one.
    del model, step
    gc.collect()
    return cost


def _on_gpu(step: Step) -> tuple[int, float]:
    """Bytes at the peak of a step, and images per second, over steps after a warm-up."""
    for at in range(_WARM_UP + _TIMED):
        if at == _WARM_UP:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
        step().backward()
        step.model.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated(), _TIMED * step.setting.batch / (time.perf_counter() - start)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What libraries print while a model is built goes to stderr, and no initialisation is logged."""
    with unlogged(), contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _step_errors(name: str, setting: Setting) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError, ValueError, TypeError, AttributeError, KeyError, AssertionError) as error:
        if isinstance(error, ConfigError):
            raise
        memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
        if memory:
            raise ConfigError(
                f'a step of {name} ({setting.words}) does not fit into memory; lower --shape or --batch'
                + ('.' if setting.device == 'meta' else ', or take --device meta, which needs little of it.')
            ) from error
        raise ConfigError(
            f'a step of {name} ({setting.words}) fails with {launch.describe(error)} at {launch.where(error)}.'
        ) from error


# --- the cache -------------------------------------------------------------------------------------------------------


def cached(cfg: Config, setting: Setting, folder: Path) -> Path:
    """Where the measurement of a config is kept: named after all that it depends on but the code of the models."""
    device = torch.cuda.get_device_name() if setting.device == 'cuda' else setting.device
    content = [
        _VERSION,
        _without_weights(cfg.model),
        asdict(setting),
        device,
        torch.__version__,
        mmdet.__version__,
    ]
    key = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return folder / f'{Path(cfg.filename).stem}-{key}.json'


def measure_once(cfg: Config, setting: Setting, folder: Path, fresh: bool = False) -> Cost:
    """:func:`measure`, unless the measurement is in ``folder``, where it is then put.

    Args:
        fresh: measure again whatever is there.

    Raises:
        ConfigError: as :func:`measure`.
    """
    file = cached(cfg, setting, folder)
    if file.is_file() and not fresh:
        content = json.loads(file.read_text())
        parts = {name: tuple(numbers) for name, numbers in content['parts'].items()}
        return Cost(**content | dict(parts=parts, step=StepCost(**content['step'])))
    cost = measure(cfg, setting)
    write_atomically(file, json.dumps(asdict(cost), indent=1).encode())
    return cost


def default_device() -> str:
    """A GPU, if there is one."""
    return 'cuda' if is_cuda_available() else 'cpu'
