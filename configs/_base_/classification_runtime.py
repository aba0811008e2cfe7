"""The runtime of evaluating a backbone by classification: validation and test side by side (study B)."""

_base_ = './default_runtime.py'

default_scope = 'mmpretrain'
val_cfg = dict(type='ValAndTestLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    checkpoint=dict(interval=500, max_keep_ckpts=1),
    visualization=dict(_delete_=True, type='VisualizationHook', enable=False),
)
visualizer = dict(type='UniversalVisualizer')
