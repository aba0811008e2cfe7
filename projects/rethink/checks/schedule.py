"""Rules of length and learning rate."""

from collections.abc import Iterator

from ..config_tree import type_name
from ..reuse import tool
from .facts import Facts
from .findings import Finding, rule

_TABLE = 'Rethinking ImageNet Pre-training, table 1 and section 4'
# 5x and the 60k iterations after the first drop, both of 16 images.
LONG_ENOUGH = 5 * 90_000 * 16
TAIL = 60_000 * 16
# Below, the number of images is what limits training from scratch, and the length of COCO's schedule says nothing.
_COCO_SIZED = 50_000


def _millions(images: float) -> str:
    return f'{images / 1e6:.2f} M images'


@rule('scratch-short')
def scratch_short(facts: Facts) -> Iterator[Finding]:
    seen = facts.images_seen
    if facts.from_scratch is None or seen is None or seen >= LONG_ENOUGH:
        return
    if facts.train_images is not None and facts.train_images < _COCO_SIZED:
        return
    yield Finding(
        'warning',
        f'train_cfg.max_{"epochs" if facts.by_epoch else "iters"}',
        f'training from scratch for {_millions(seen)}.',
        'published on COCO, R50: 3.5 box AP behind fine-tuning at 2x (2.88 M images), level at 5x and '
        '6x (7.20 and 8.64 M).',
        _TABLE,
        'max_iters = 6 * 90_000 at 16 images (72 epochs), drops at the last 60k and 20k',
    )


@rule('long-tail')
def long_tail(facts: Facts) -> Iterator[Finding]:
    drops, length = facts.drops, facts.length
    if facts.from_scratch is None or not drops or length is None:
        return
    tail = facts.seen(length - drops[0])
    if tail is None or tail <= 1.5 * TAIL:
        return
    yield Finding(
        'warning',
        'param_scheduler',
        f'the learning rate falls at {drops[0]} of {length} {"epochs" if facts.by_epoch else "iterations"}, and '
        f'{_millions(tail)} follow at a small one.',
        'training longer at a large rate helps, at a small one it over-fits.',
        f'{_TABLE}: drops at the last 60k and 20k iterations of 16 images, whatever the length',
        'milestones = [max_iters - 60_000, max_iters - 20_000] at 16 images',
    )


@rule('learning-rate')
def learning_rate(facts: Facts) -> Iterator[Finding]:
    base, total = facts.base_batch, facts.total_batch
    scaled = (facts.cfg.get('auto_scale_lr') or {}).get('enable') or facts.cfg.get('auto_scaled')
    if facts.gpus is None or not base or not total or total == base or scaled:
        return
    rate = facts.optimizer.get('lr')
    yield Finding(
        'warning',
        'optim_wrapper.optimizer.lr',
        f'the learning rate{f" {rate:g}" if isinstance(rate, int | float) else ""} is for {base} images in a step, '
        f'and {facts.gpus} process{"es" * (facts.gpus > 1)} of {facts.batch} make {total}.',
        'too large a rate diverges, too small a one trains as if it were shorter; and the schedule sees '
        f'{total / base:g} times the images.',
        "the linear scaling rule (Goyal et al. 2017); MMDetection's auto_scale_lr",
        f'{tool("train.py")} --auto-scale (rate and schedule), or --auto-scale-lr (rate alone)',
    )


@rule('base-batch', ends=True)
def base_batch(facts: Facts) -> Iterator[Finding]:
    """Without it MMEngine ends when it scales the rate."""
    if facts.stage == 'train' and (facts.cfg.get('auto_scale_lr') or {}).get('enable') and not facts.base_batch:
        what = 'auto_scale_lr.enable is True, and there is no base_batch_size that the learning rate is for.'
        yield Finding('error', 'auto_scale_lr', what, fix='set auto_scale_lr.base_batch_size, such as 16')


@rule('hyper-parameters')
def hyper_parameters(facts: Facts) -> Iterator[Finding]:
    """A third of COCO with the numbers of the whole."""
    images, rate = facts.train_images, facts.optimizer.get('lr')
    if not facts.detector or images is None or not 20_000 <= images <= 60_000 or not facts.base_batch or not rate:
        return
    original = type_name(facts.optimizer.get('type')) == 'SGD' and abs(rate / facts.base_batch - 0.02 / 16) < 1e-6
    gammas = [one.get('gamma', 0.1) for _, one in facts.schedulers if type_name(one['type']) == 'MultiStepLR']
    if original and gammas == [0.1]:
        yield Finding(
            'note',
            'optim_wrapper.optimizer.lr',
            f'{images:,} training images with the learning rate and the decay that are usual for 118k.',
            'published for 35k images of COCO: fine-tuning over-fits with them; 36.3 AP with others, and as much from '
            'scratch.',
            'Rethinking ImageNet Pre-training, section 5.2',
            'lr=0.04, gamma=0.02, shorter side from 512 to 800 (configs/rethink/*_35k_retuned_6x.py), or '
            f'{tool("grid_search.py")}',
        )
