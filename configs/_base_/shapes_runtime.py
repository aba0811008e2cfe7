"""The runtime of trainings that take minutes: logs and checkpoints every few seconds."""

_base_ = './default_runtime.py'

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=100, max_keep_ckpts=2),
)
log_processor = dict(window_size=20)
