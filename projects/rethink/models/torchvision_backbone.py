"""The networks of torchvision as backbones: their maps at chosen nodes of their graph."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names


@MODELS.register_module()
class TorchvisionBackbone(BaseModule):
    """A classifier of torchvision up to its last map, which gives the maps at some nodes of its graph.

    ``backbone=dict(type='TorchvisionBackbone', name='mobilenet_v3_large', nodes=['features.3.add', …])``. What is
    behind the last node is not there. Tensors are called as in torchvision, behind ``net.``.

    Args:
        name: of :func:`torchvision.models.get_model`.
        nodes: as :func:`nodes` lists them.
        init_cfg: as of any module.
    """

    def __init__(self, name: str, nodes: Sequence[str], init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.net = create_feature_extractor(get_model(name, weights=None), list(nodes))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, C, H, W) in the order of the nodes, of (B, 3, H, W)."""
        return tuple(self.net(images).values())


def nodes(name: str) -> list[str]:
    """The nodes of a network of torchvision that are the same in training and evaluation, in order."""
    trained, evaluated = get_graph_node_names(get_model(name, weights=None))
    return [one for one in evaluated if one in set(trained)]
