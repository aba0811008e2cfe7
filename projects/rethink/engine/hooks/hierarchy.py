"""Hierarchical pre-training: where a step begins, and the file with which the next one begins (Reed et al. 2022)."""

import io
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dist import get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import Tensor, nn

from ...errors import ConfigError, say
from ...files import write_atomically
from ..exported import BACKBONE
from ..weights import check_fit, load, read_weights
from .norm import batches_beside_training, unwrapped


@HOOKS.register_module()
class InitFromBaseHook(Hook):
    """Begin a training with the backbone of another one; with MoCo, also key encoder, projector and queue.

    Each arrow of Base → Source → Target is MoCo v2 that begins with the backbone of the step before (HPT, section 3).
    The checkpoint may be MoCo's own, MMPretrain's, MMDetection's, torchvision's or one of
    :class:`ExportBackboneHook` (:mod:`rethink.engine.weights`). The backbone is loaded whole or the run ends. It
    happens after ``init_weights`` and before the first iteration; a resumed run keeps what is in its checkpoint.

    A C4 detector has the last stage of the backbone in its RoI head (``shared_head.layer4``), and it comes from the
    same file: together they are the whole backbone.

    In MMPretrain's ``MoCo`` the key encoder is made equal to the query (parameters and buffers). The queue is filled
    with keys: ``queue_len`` training images, augmented as in training and gone through again where there are fewer,
    run through the key encoder in batches of the size of training. BN uses the statistics of the batch, as it does in
    training, and its running ones are kept. The queue is then what training itself would have left in it, had the
    encoder stood still, and not random vectors, which are easy to tell from keys. This costs ``queue_len`` forward
    passes, and one read of so many images.

    Args:
        checkpoint: local file.
        projector: begin with its projector, if it has one that fits; the paper's released configs begin with a random
            one, False. Without one the projector stays random.

    Raises:
        ConfigError: (before training) the file cannot be read safely, does not give the backbone whole or is of
            another architecture; the projector has another shape; ``load_from`` would be overwritten; or the queue
            does not hold whole batches.
    """

    priority = 'VERY_HIGH'

    def __init__(self, checkpoint: str, projector: bool = True) -> None:
        self.checkpoint = str(checkpoint)
        self.projector = projector

    def before_train(self, runner) -> None:
        if runner.iter > 0:  # not where a resume found no checkpoint, and training begins
            return
        if runner._load_from:
            raise ConfigError(
                f'both load_from ({runner._load_from}) and InitFromBaseHook ({self.checkpoint}) say where the weights '
                'come from; take one away.'
            )
        model = unwrapped(runner.model)
        check_queue(model, runner.train_dataloader.batch_sampler.batch_size * get_dist_info()[1])
        self.initialise(model)
        if hasattr(model, 'queue'):
            start = time.monotonic()
            fill_queue(model, runner)
            runner.logger.info(f'Filled the queue with {model.queue_len} keys in {time.monotonic() - start:.0f} s.')

    def check(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor], str]:
        """Backbone and projector (or nothing) that a model begins with, and a sentence that says so.

        Raises:
            ConfigError: the file cannot be read, or does not fit.
        """
        weights = read_weights(self.checkpoint)
        what = f'{self.checkpoint} (base, written by {weights.written_by})'
        covered = [f'backbone {check_fit(whole_backbone(model), weights.backbone, what)}']
        projector = weights.projector if self.projector and hasattr(model, 'encoder_k') else {}
        if projector:
            covered.append(f'projector {check_fit(model.neck, projector, what + ", projector")}')
        rest = '.' if projector else '; the rest begins at random.'
        return weights.backbone, projector, f'{what}: {", ".join(covered)}{rest}'

    def initialise(self, model: nn.Module) -> None:
        """Load the checkpoint into a model with a ``backbone`` (and a ``neck`` and an ``encoder_k``)."""
        backbone, projector, sentence = self.check(model)
        # The backbone by itself as well: one that is frozen takes note of what it is given.
        for part in (model.backbone, whole_backbone(model)):
            load(part, backbone)
        if projector:
            load(model.neck, projector)
        if hasattr(model, 'encoder_k'):
            model.encoder_k.module.load_state_dict(nn.Sequential(model.backbone, model.neck).state_dict())
        say(sentence)


def whole_backbone(model: nn.Module) -> nn.Module:
    """The backbone, with the stages of it that a C4 detector has in its RoI head, under their names in a backbone."""
    shared = getattr(getattr(model, 'roi_head', None), 'shared_head', None)
    if shared is None:
        return model.backbone
    # What else is behind the last stage is the detector's own.
    stages = {name: part for name, part in shared.named_children() if name.startswith('layer')}
    whole = nn.Module()
    for name, part in {**dict(model.backbone.named_children()), **stages}.items():
        whole.add_module(name, part)
    return whole


def check_queue(model: nn.Module, batch: int) -> None:
    """A queue, if the model has one, holds whole batches.

    Args:
        batch: images of all processes in a step.

    Raises:
        ConfigError: it does not.
    """
    if hasattr(model, 'queue') and model.queue_len % batch:
        raise ConfigError(
            f'model.queue_len is {model.queue_len}, not a multiple of the {batch} images of a batch in all processes; '
            'change one of them.'
        )


@torch.no_grad()
def fill_queue(model: nn.Module, runner) -> None:
    """Replace the queue (feat_dim, queue_len) of MMPretrain's ``MoCo`` by keys of training images, of length 1."""
    number = model.queue_len // (runner.train_dataloader.batch_sampler.batch_size * get_dist_info()[1])
    buffers = [(buffer, buffer.clone()) for buffer in model.encoder_k.buffers()]
    model.train()
    model.queue_ptr.zero_()
    for batch in batches_beside_training(runner, number):
        with runner.optim_wrapper.optim_context(runner.model):
            _, view = model.data_preprocessor(batch, True)['inputs']
            keys = nn.functional.normalize(model.encoder_k(view)[0], dim=1)
        model._dequeue_and_enqueue(keys)
    for buffer, value in buffers:
        buffer.copy_(value)


def write_backbone(path: str | os.PathLike, model: nn.Module, parts: Sequence[str] = ('backbone',), **meta) -> None:
    """Write parts of a model as a file with which a step of a hierarchy begins, whole or not at all.

    Args:
        path: of ``dict(meta=…, state_dict=…)``; in the latter names begin with the part, ``backbone.conv1.weight``.
        meta: where it comes from.
    """
    weights = {
        f'{part}.{key}': value.cpu() for part in parts for key, value in model.get_submodule(part).state_dict().items()
    }
    buffer = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=weights), buffer)
    write_atomically(path, buffer.getvalue())


@HOOKS.register_module()
class ExportBackboneHook(Hook):
    """At the end of training write the backbone, and a MoCo's projector, into ``<work_dir>/backbone.pth``.

    With its ``backbone.*`` both MMPretrain and MMDetection begin by
    ``init_cfg = dict(type='Pretrained', checkpoint=…, prefix='backbone.')``, and the next step of a hierarchy by
    :class:`InitFromBaseHook`. The file is ``dict(meta=…, state_dict=…)``; ``meta`` has the config's name, the base
    (None from random initialisation) and the iterations. It is written whole or not at all, and again where a
    finished training is resumed.

    Args:
        at: iterations after which it is written as well, into ``backbone_<iteration>.pth``. Such a file is what a
            shorter training gives only under a schedule that does not depend on the length (a cosine does).
    """

    filename = BACKBONE

    def __init__(self, at: Sequence[int] = ()) -> None:
        self.at = frozenset(at)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 in self.at:
            self._export(runner, runner.iter + 1, f'backbone_{runner.iter + 1}.pth')

    def after_train(self, runner) -> None:
        self._export(runner, runner.iter, self.filename)

    def _export(self, runner, iterations: int, name: str) -> None:
        if not is_main_process():
            return
        model = unwrapped(runner.model)
        bases = [hook.checkpoint for hook in runner.hooks if isinstance(hook, InitFromBaseHook)]
        path = Path(runner.work_dir) / name
        write_backbone(
            path,
            model,
            ['backbone', 'neck'] if hasattr(model, 'encoder_k') else ['backbone'],
            config=Path(runner.cfg.filename or '').stem or None,
            base=bases[0] if bases else None,
            iterations=iterations,
        )
        runner.logger.info(f'The backbone of iteration {iterations} is in {path}.')
