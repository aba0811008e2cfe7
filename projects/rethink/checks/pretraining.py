"""Rules of self-supervised pre-training that begins with a base (HPT)."""

from collections.abc import Iterator

from ..config_tree import type_name
from .facts import Facts
from .findings import Finding, rule

_HPT = 'Self-Supervised Pretraining Improves Self-Supervised Pretraining'
# 5k steps of 256.
ENOUGH = 5_000 * 256


def _begins_with_a_base(facts: Facts) -> bool:
    moco = type_name(facts.model.get('type')) == 'MoCo'
    return moco and any(one.weights is not None for one in facts.backbones)


@rule('hpt-long')
def hpt_long(facts: Facts) -> Iterator[Finding]:
    seen = facts.images_seen
    if not _begins_with_a_base(facts) or seen is None or seen <= 2 * ENOUGH:
        return
    yield Finding(
        'note',
        'train_cfg.max_iters' if not facts.by_epoch else 'train_cfg.max_epochs',
        f'{seen / 1e6:.1f} M images of pre-training that begins with a base.',
        'published: it has converged after 5k steps of 256 (1.28 M images), whatever the size of the data, and '
        'over-fits beyond on small ones.',
        f'{_HPT}, section 4.3',
        'max_iters = 5_000 at 256 images, and the cosine to end there',
    )


@rule('hpt-key-encoder')
def hpt_key_encoder(facts: Facts) -> Iterator[Finding]:
    hooks = [type_name(one.get('type')) for one in facts.cfg.get('custom_hooks') or []]
    if not _begins_with_a_base(facts) or 'InitFromBaseHook' in hooks or facts.cfg.get('resume'):
        return
    yield Finding(
        'warning',
        'model.backbone',
        "the base is loaded into the query's encoder alone.",
        'the key encoder was copied before and has random weights; it becomes equal only where the counter of its '
        'moving average is still 0 at the first step, and the projector stays random.',
        f'{_HPT}; docs/hpt.md',
        "custom_hooks = [dict(type='InitFromBaseHook', checkpoint=…)], and no init_cfg",
    )
