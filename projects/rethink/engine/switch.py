"""A training that changes its detector on the way: Mask R-CNN first, a cascade for the rest.

Rethinking ImageNet Pre-training, section 5.1: from scratch, the cascade takes over from a plain Mask R-CNN for the
final 270k iterations. A config says so with

    switch_from = dict(config='…/scratch_r50_gn_aug_9x.py', iteration=540_000)

and ``tools/train.py`` runs both parts (docs/cascade.md). The first part is the config itself with the other one's
model, up to that iteration, in ``<work_dir>/before_switch``; data, optimiser and schedule are the same by
construction. Its checkpoint is then turned into one of the cascade, from which training resumes as from any other.
"""

import copy
import gc
import itertools
import os
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, init_dist, is_distributed, is_main_process
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..checks.resumable import check_content
from ..errors import ConfigError, say, unlogged
from ..files import write_atomically
from ..registering import use_scope
from ..trust.checkpoints import read_checkpoint
from ..trust.tensors import check_tensors, compare, read_state_dict, shapes
from . import launch

_HEAD = 'roi_head.bbox_head.'
_OF_FILES = ('last_ckpt', 'keep_ckpt_ids', 'best_ckpt', 'best_score')


def _spec(cfg: Config) -> ConfigDict:
    spec = cfg.switch_from
    unknown = set(spec) - {'config', 'iteration', 'checkpoint', 'model'}
    if unknown or not isinstance(spec.get('iteration'), int) or not spec.get('config'):
        raise ConfigError(
            'switch_from is dict(config=…, iteration=…), and may have checkpoint=… (a Mask R-CNN that is trained) and '
            f'model=… (overrides of its model); it is {dict(spec)}.'
        )
    if not os.path.isfile(spec.config):
        raise ConfigError(f'the config {spec.config} of switch_from does not exist.')
    if not 0 < spec.iteration < cfg.train_cfg.max_iters:
        raise ConfigError(
            f'switch_from.iteration is {spec.iteration}, which is not between 0 and train_cfg.max_iters, '
            f'{cfg.train_cfg.max_iters}.'
        )
    return spec


def first_phase(cfg: Config) -> Config:
    """The part of a training before its switch, as a config of its own.

    Raises:
        ConfigError: ``switch_from`` is not complete, or its iteration not within the training.
    """
    spec = _spec(cfg)
    first = copy.deepcopy(cfg)
    first.pop('switch_from')
    first.default_hooks.pop('switch', None)  # the guard of what is to come
    first.model = Config.fromfile(spec.config).model
    if spec.get('model'):
        first.merge_from_dict(dict(model=spec.model))
    first.work_dir = str(Path(cfg.work_dir) / 'before_switch')
    # The schedule stays that of the whole training: what is to come later does not happen yet.
    first.train_cfg.max_iters = spec.iteration
    first.resume = False  # from load_from, where the config has one: the training begins here
    # Names of what MMEngine keeps for a whole process; the second part has its own.
    first.experiment_name = f'{Path(cfg.filename).stem}_before_switch'
    first.visualizer = ConfigDict(cfg.get('visualizer') or dict(type='Visualizer'), name='before_switch')
    return first


def seeded(weights: dict[str, Tensor], before: ConfigDict, stages: list[ConfigDict]) -> dict[str, Tensor]:
    """The weights of a cascade from those of the model without.

    Every stage begins with the box head, and with the same function: where Mask R-CNN regresses a box for each class,
    the stage's one box gets the mean over the classes; and because a stage writes the same correction in other units
    (``target_means`` and ``target_stds`` of its coder), the last layer is rescaled. Scores are those of the head, and
    everything outside of the box head keeps its name and value.

    Args:
        weights: by name, of a model with a single ``roi_head.bbox_head``.
        before: config of that head.
        stages: configs of the cascade's heads.
    """
    one = before.bbox_coder
    result = {key: value for key, value in weights.items() if not key.startswith(_HEAD)}
    for number, stage in enumerate(stages):
        other = stage.bbox_coder
        for key, value in weights.items():
            if not key.startswith(_HEAD):
                continue
            name = key.removeprefix(_HEAD)
            if name in ('fc_reg.weight', 'fc_reg.bias'):
                # (classes, 4, …), the four being dx, dy, dw, dh.
                value_C4 = value.reshape(-1, 4, *value.shape[1:]).float()
                if stage.reg_class_agnostic:
                    value_C4 = value_C4.mean(0, keepdim=True)
                column = (4, *[1] * (value.dim() - 1))
                scale = value_C4.new_tensor(one.target_stds) / value_C4.new_tensor(other.target_stds)
                value_C4 = value_C4 * scale.reshape(column)
                if name == 'fc_reg.bias':
                    shift = value_C4.new_tensor(one.target_means) - value_C4.new_tensor(other.target_means)
                    value_C4 = value_C4 + shift / value_C4.new_tensor(other.target_stds)
                value = value_C4.flatten(0, 1).to(value.dtype)
            # A copy each: the file they come from is mapped, and stages must not share memory.
            result[f'{_HEAD}{number}.{name}'] = value.clone()
    return result


def _groups(model: nn.Module, cfg: Config) -> list[list[str]]:
    """The names of the parameters in each group of the optimiser that a config asks for."""
    keys = ('constructor', 'optimizer', 'paramwise_cfg')
    wrapper = ConfigDict({key: copy.deepcopy(cfg.optim_wrapper[key]) for key in keys if key in cfg.optim_wrapper})
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    with unlogged():
        groups = build_optim_wrapper(model, wrapper).optimizer.param_groups
    return [[names[id(parameter)] for parameter in group['params']] for group in groups]


def _trained_before(cfg: Config, first: Config, path: str) -> dict:
    """The checkpoint of the first part.

    Raises:
        ConfigError: it is of another model or of another iteration, or has no optimiser to go on with.
    """
    spec = cfg.switch_from
    weights = read_state_dict(path, 'switch_from')
    content = read_checkpoint(path)
    check_content(content, path, first)
    model = MODELS.build(ConfigDict(first.model))
    match, lacking, differing, total = compare(model, weights)
    extra = [key for key in weights if key not in model.state_dict()]
    if lacking or differing or extra:
        example = (
            shapes(model, weights, differing[0])
            if differing
            else f'{lacking[0]} is not in the file'
            if lacking
            else f'{extra[0]} is not in that model'
        )
        raise ConfigError(
            f'{path} is not of the model that the training switches from ({spec.config}): {match} of {total} tensors '
            f'match ({example}); name its checkpoint, or take switch_from.checkpoint away to train it.'
        )
    check_tensors(weights, f'{path} (switch_from)', model.state_dict())
    iteration = content['meta']['iter']
    if iteration != spec.iteration:
        raise ConfigError(
            f'{path} was saved at iteration {iteration}, and the switch is at {spec.iteration}: name the checkpoint '
            'of that iteration, or set switch_from.iteration.'
        )
    groups = _groups(model, first)
    sizes = [len(group.get('params', ())) for group in content['optimizer'].get('param_groups', ())]
    if sizes != list(map(len, groups)):
        raise ConfigError(
            f'the optimiser in {path} has {len(sizes)} groups of {sum(sizes)} parameters, and that of the config '
            f'{len(groups)} of {sum(map(len, groups))}: set optim_wrapper.paramwise_cfg to what it was trained with.'
        )
    return dict(content, state_dict=weights, groups=groups)


def convert(cfg: Config, first: Config, path: str) -> dict:
    """A checkpoint of the cascade at the iteration of the switch, from that of the model before.

    Iteration, schedule and logged history go on. So does the momentum of every parameter that goes on; the box heads,
    whose gradients come from other RoIs and losses from here, begin with none. A group of parameters has the learning
    rate and the other options of that which its parameters were in, a stage's head those of the head before.

    Raises:
        ConfigError: see :func:`first_phase`; the checkpoint is of another model or another iteration.
    """
    use_scope(cfg.get('default_scope') or 'mmdet')
    before = _trained_before(cfg, first, path)
    heads = cfg.model.roi_head.bbox_head
    content = {key: value for key, value in before.items() if key != 'groups'}
    content['state_dict'] = seeded(before['state_dict'], first.model.roi_head.bbox_head, heads)
    hub = content['message_hub']
    # Losses of the old head would be logged for ever; the files that MMEngine keeps and clears are of another folder.
    scalars = {key: value for key, value in hub['log_scalars'].items() if not key.startswith('train/')}
    info = {key: value for key, value in hub['runtime_info'].items() if not key.startswith(_OF_FILES)}
    content['message_hub'] = dict(hub, log_scalars=scalars, runtime_info=info)
    old = before['optimizer']
    group_of, momentum = {}, {}
    for number, (names, group) in enumerate(zip(before['groups'], old['param_groups'], strict=True)):
        for name, index in zip(names, group['params'], strict=True):
            group_of[name] = number
            if index in old['state'] and not name.startswith(_HEAD):
                momentum[name] = old['state'][index]
    groups = _groups(MODELS.build(ConfigDict(cfg.model)), cfg)
    # Of each group the one that it comes from.
    come_from = [group_of[re.sub(rf'^({re.escape(_HEAD)})\d+\.', r'\1', names[0])] for names in groups]
    index = itertools.count()
    params = [[next(index) for _ in names] for names in groups]
    content['optimizer'] = dict(
        old,
        state={
            number: momentum[name]
            for names, numbers in zip(groups, params, strict=True)
            for name, number in zip(names, numbers, strict=True)
            if name in momentum
        },
        param_groups=[
            dict(old['param_groups'][one], params=numbers) for one, numbers in zip(come_from, params, strict=True)
        ],
    )
    # What a scheduler keeps for each group.
    content['param_schedulers'] = [
        state | {key: [state[key][one] for one in come_from] for key in ('base_values', '_last_value') if key in state}
        for state in content['param_schedulers']
    ]
    return content


def _check_fit(cfg: Config, first: Config) -> None:
    """The second model can go on from the first: found out before weeks of training and not after.

    Raises:
        ConfigError: it cannot.
    """
    use_scope(cfg.get('default_scope') or 'mmdet')
    heads = cfg.model.get('roi_head', {}).get('bbox_head')
    if not isinstance(heads, list) or not isinstance(first.model.get('roi_head', {}).get('bbox_head'), dict):
        raise ConfigError(
            f'switch_from is for a cascade after a model with one box head: {cfg.filename} needs a list in '
            f'model.roi_head.bbox_head, and {cfg.switch_from.config} a single one.'
        )
    before, after = MODELS.build(ConfigDict(first.model)), MODELS.build(ConfigDict(cfg.model))
    weights = seeded(before.state_dict(), first.model.roi_head.bbox_head, heads)
    _, lacking, differing, _ = compare(after, weights)
    if lacking or differing:
        what = shapes(after, weights, differing[0]) if differing else f'it has no {lacking[0]}'
        raise ConfigError(f'{cfg.filename} cannot go on from the model of {cfg.switch_from.config}: {what}.')


def _open_group(cfg: Config) -> None:
    """The processes' group, in which one writes the file that the others then read."""
    launch.start_processes(cfg)
    if cfg.launcher != 'none' and not is_distributed():
        init_dist(cfg.launcher, **cfg.env_cfg.get('dist_cfg', {}))


def phases(cfg: Config, resume: str | None = None) -> Iterator[Config]:
    """The trainings that a config asks for, in order; each begins when the one before has ended.

    Without ``switch_from`` that is the config. With it: the model before, unless its checkpoint is there (that of
    ``switch_from.checkpoint``, or ``before_switch/iter_<iteration>.pth`` in the work directory); then the rest of the
    training, as a resumed one.

    Args:
        cfg: after ``--resume``: if ``cfg.resume`` is set, the checkpoint in ``cfg.load_from`` is of the second part.
        resume: the argument of ``--resume``, which holds for the first part where the second has not begun.

    Raises:
        ConfigError: ``switch_from`` or its checkpoint is wrong.
    """
    if not cfg.get('switch_from'):
        yield cfg
        return
    first = first_phase(cfg)
    if cfg.get('resume'):
        yield cfg
        return
    _check_fit(cfg, first)
    iteration = cfg.switch_from.iteration
    path = cfg.switch_from.get('checkpoint')
    if path is None:
        path = str(Path(first.work_dir) / f'iter_{iteration}.pth')
        if not os.path.isfile(path):
            say(f'Up to iteration {iteration} with the model of {cfg.switch_from.config}, in {first.work_dir}.')
            launch.use_resume(first, 'auto' if resume else None)
            yield first
            # The first training's memory, workers and files, before the second takes its own.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    elif cfg.get('load_from'):
        say(f'load_from ({cfg.load_from}) is not used: the training goes on from switch_from.checkpoint, {path}.')
    converted = convert(cfg, first, path)
    _open_group(cfg)
    target = Path(cfg.work_dir) / f'switched_at_{iteration}.pth'
    if is_main_process():
        buffer = BytesIO()
        torch.save(converted, buffer)
        write_atomically(target, buffer.getvalue())
    barrier()
    say(f'Going on from iteration {iteration} of {path} as {cfg.model.roi_head.type}, written to {target}.')
    cfg.load_from, cfg.resume = str(target), True
    yield cfg
