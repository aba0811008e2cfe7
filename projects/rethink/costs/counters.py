"""What a training step costs: floating-point operations, and bytes that autograd keeps for the backward pass.

Both are read off a real forward and a real backward pass, so that whatever is frozen is seen as it runs. A step is any
function that returns a loss. :mod:`rethink.costs.of_config` applies this to configs.

What counts as an operation: PyTorch's ``FlopCounterMode`` knows convolutions, matrix products and attention, and
counts a multiply-add as 2 operations. Elementwise operations, normalisation, pooling, interpolation, RoIAlign, NMS and
deformable convolutions count as nothing.
"""

import weakref
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode, flop_registry

# The part of a model that everything belongs to which is computed outside of its submodules.
REST = 'rest'


class Parts:
    """Context that knows which submodule of a model is computing, and which one computed a node of the graph.

    The parts are the model's children. They are followed through their own submodules, which detectors also call
    directly (``roi_head.bbox_head``), and through the methods by which detectors call heads. What a checkpoint of the
    reentrant kind (``with_cp``) computes again on a GPU may be taken for another part's: it is in another thread.

    Args:
        model: None: everything is the rest.
    """

    _METHODS = ('loss', 'loss_and_predict')

    def __init__(self, model: nn.Module | None) -> None:
        self._children = dict(model.named_children()) if model is not None else {}
        self._stack = [REST]
        self._exit = ExitStack()
        # Autograd numbers its nodes in the order in which they are made.
        self._from: list[int] = []
        self._part: list[str] = []

    def __enter__(self) -> 'Parts':
        for name, child in self._children.items():
            for module in child.modules():
                for hook in (
                    module.register_forward_pre_hook(lambda *_, name=name: self._enter(name)),
                    module.register_forward_hook(lambda *_: self._leave(), always_call=True),
                ):
                    self._exit.callback(hook.remove)
            for method in self._METHODS:
                if hasattr(child, method):
                    self._follow(child, method, name)
        self._mark()
        return self

    def __exit__(self, *_) -> None:
        self._exit.close()

    def _follow(self, child: nn.Module, method: str, name: str) -> None:
        call = getattr(child, method)

        def followed(*args, **kwargs):
            self._enter(name)
            try:
                return call(*args, **kwargs)
            finally:
                self._leave()

        setattr(child, method, followed)
        self._exit.callback(delattr, child, method)

    def _enter(self, name: str) -> None:
        self._stack.append(name)
        self._mark()

    def _leave(self) -> None:
        self._stack.pop()
        self._mark()

    def _mark(self) -> None:
        self._from.append(torch.autograd._get_sequence_nr())
        self._part.append(self._stack[-1])

    @property
    def now(self) -> str:
        """The part that is computing; in a backward pass the one that made the node that is computing.

        Unless a module is computing there: what a checkpoint computes again belongs to its module.
        """
        node = torch._C._current_autograd_node()
        if node is None or len(self._stack) > 1:
            return self._stack[-1]
        return self._part[bisect_right(self._from, node._sequence_nr()) - 1]


# --- operations ------------------------------------------------------------------------------------------------------


def _convolution_backward(grad, x, weight, _bias, _stride, _padding, _dilation, transposed, *others, **_) -> int:
    """Operations of ``aten.convolution_backward``: each of the two gradients costs what the forward pass does.

    PyTorch's own formula leaves the groups out of the gradient of the weight, which makes that of a depthwise
    convolution as many times too large as there are channels.
    """
    mask = others[-1]
    positions = x if transposed else grad
    forward = 2 * positions.shape[0] * positions.shape[2:].numel() * weight.numel()
    return (mask[0] + mask[1]) * forward


class _Operations:
    """Context that counts operations by the part of a model that they belong to."""

    def __init__(self, parts: Parts) -> None:
        self.counts: Counter[str] = Counter()
        self._parts = parts
        # Not all releases of PyTorch know attention on a CPU (2.14 does not): the products are those on a GPU.
        aten, name = torch.ops.aten, '_scaled_dot_product_flash_attention'
        formulas = {
            getattr(aten, f'{name}_for_cpu{part}'): flop_registry[getattr(aten, f'{name}{part}')]
            for part in ('', '_backward')
        }
        formulas |= {**flop_registry, aten.convolution_backward: _convolution_backward}
        self._mode = FlopCounterMode(
            display=False, custom_mapping={op: self._counting(formula) for op, formula in formulas.items()}
        )

    def _counting(self, formula: Callable[..., int]) -> Callable[..., int]:
        def count(*args, **kwargs) -> int:
            operations = formula(*args, **kwargs)
            self.counts[self._parts.now] += operations
            return operations

        count._get_raw = True  # tensors, not their shapes: formulas of the registry take care of that
        return count

    def __enter__(self) -> '_Operations':
        self._mode.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._mode.__exit__(*error)

    def take(self) -> dict[str, int]:
        """What was counted since the last call, by part."""
        counted, self.counts = dict(self.counts), Counter()
        return counted


# --- bytes -----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Saved:
    """A tensor in the graph; it lives as long as the graph needs it."""

    tensor: Tensor


def _storage(tensor: Tensor) -> int:
    """Identity of a tensor's memory, while it lives; also on the meta device, where no address says it."""
    return tensor.untyped_storage()._cdata


class _Kept:
    """Context that notes what autograd saves, by the part of a model that is computing."""

    def __init__(self, parts: Parts, model: nn.Module) -> None:
        self._parts = parts
        self._own = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._saved: list[tuple[weakref.ref, str]] = []
        self._stands_for: dict[int, Tensor] = {}
        self._hooks = saved_tensors_hooks(self._pack, lambda saved: saved.tensor)

    def _pack(self, tensor: Tensor) -> _Saved:
        saved = _Saved(tensor.detach())  # an output that a node saves would keep the node, which keeps it
        self._saved.append((weakref.ref(saved), self._parts.now))
        return saved

    def __enter__(self) -> '_Kept':
        self._hooks.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._hooks.__exit__(*error)

    def stands_for(self, copy: Tensor, tensor: Tensor) -> None:
        """A copy that exists for the measurement alone counts as the tensor that it replaces."""
        self._stands_for[_storage(copy)] = tensor

    def bytes(self) -> dict[str, int]:
        """What is kept now, by part: each storage once, for the first part that saved it."""
        seen, kept = set(self._own), Counter()
        for reference, part in self._saved:
            saved = reference()
            if saved is None:
                continue
            tensor = self._stands_for.get(_storage(saved.tensor), saved.tensor)
            if _storage(tensor) not in seen:
                seen.add(_storage(tensor))
                kept[part] += tensor.untyped_storage().nbytes()
        return dict(kept)


# --- a step ----------------------------------------------------------------------------------------------------------


@dataclass
class StepCost:
    """What one forward and one backward pass cost, by part of the model (its children, and ``'rest'``).

    Args:
        forward: operations of the forward pass (multiply-add = 2).
        backward: operations of the backward pass.
        kept: bytes that autograd keeps between the two.
    """

    forward: dict[str, int] = field(default_factory=dict)
    backward: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        """Operations of both passes."""
        return sum(self.forward.values()) + sum(self.backward.values())


def training_flops(step: Callable[[], Tensor], model: nn.Module | None = None) -> StepCost:
    """Operations of the forward and the backward pass of a step.

    Args:
        step: returns a loss, of which the gradient is then computed. Gradients of parameters are left behind.
        model: its children are the parts among which the operations are divided; None: one part.
    """
    with Parts(model) as parts, _Operations(parts) as operations:
        loss = step()
        forward = operations.take()
        if loss.requires_grad:
            loss.backward()
        return StepCost(forward, operations.take())


def saved_bytes(step: Callable[[], Tensor], model: nn.Module) -> dict[str, int]:
    """Bytes that autograd keeps at the end of a step's forward pass, by part of the model.

    Each storage counts once and whole, also where only a view of it was saved; what was saved and let go of before the
    end does not count. Parameters and buffers of the model do not count; their copies in the low precision of autocast
    do, and so do the images, where the first layer is trained. What a function of autograd keeps other than by
    ``save_for_backward`` is not seen.

    Args:
        step: returns a loss; only its forward pass is run.
        model: whose parameters and buffers do not count, and whose children are the parts.
    """
    with Parts(model) as parts, _Kept(parts, model) as kept:
        loss = step()  # holds the graph while it is looked at
        found = kept.bytes()
        del loss
    return found


def step_cost(step: Callable[..., Tensor], model: nn.Module) -> StepCost:
    """:func:`training_flops` and :func:`saved_bytes` of one and the same step.

    Args:
        step: called with a function by which it may say that a tensor, made for the measurement alone, stands for
            another one (``stands_for(copy, tensor)``); returns a loss.
        model: as in :func:`saved_bytes`.
    """
    with Parts(model) as parts, _Operations(parts) as operations:
        with _Kept(parts, model) as kept:
            loss = step(kept.stands_for)
        forward, found = operations.take(), kept.bytes()
        if loss.requires_grad:
            loss.backward()
        return StepCost(forward, operations.take(), found)
