"""The runtime of self-supervised pre-training by MMPretrain: nothing to evaluate, a backbone at the end."""

_base_ = './default_runtime.py'

default_scope = 'mmpretrain'
default_hooks = dict(
    checkpoint=dict(interval=1_000),
    visualization=dict(_delete_=True, type='VisualizationHook', enable=False),
)
custom_hooks = [dict(type='ExportBackboneHook')]
visualizer = dict(type='UniversalVisualizer')
