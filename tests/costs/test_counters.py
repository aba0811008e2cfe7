"""Operations and bytes of a training step: counted by hand on small nets."""

import weakref

import pytest
import torch
from rethink.costs.counters import REST, saved_bytes, step_cost, training_flops
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class Net(nn.Module):
    """Parts ``a`` and ``b``, one after the other."""

    def __init__(self, a: nn.Module, b: nn.Module) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x):
        return self.b(self.a(x))


# --- operations ------------------------------------------------------------------------------------------------------

# Layer, input, and multiply-adds of the forward pass: positions × kernel × channels in (of a group) × channels out.
LAYERS = {
    'conv': (nn.Conv2d(3, 8, 3, padding=1), (2, 3, 6, 5), 2 * 30 * 9 * 3 * 8),
    'stride': (nn.Conv2d(3, 8, 3, stride=2, padding=1), (2, 3, 6, 5), 2 * 9 * 9 * 3 * 8),
    'groups': (nn.Conv2d(8, 12, 3, groups=4), (1, 8, 6, 6), 16 * 9 * 2 * 12),
    'depthwise': (nn.Conv2d(8, 8, (5, 1), groups=8), (1, 8, 6, 6), 12 * 5 * 1 * 8),
    'transposed': (nn.ConvTranspose2d(4, 6, 2, stride=2, bias=False), (3, 4, 5, 5), 3 * 25 * 4 * 4 * 6),
    'transposed, groups': (nn.ConvTranspose2d(4, 6, 3, groups=2), (1, 4, 5, 5), 25 * 9 * 4 * 3),
    'linear': (nn.Linear(7, 5), (4, 7), 4 * 7 * 5),
    'linear of maps': (nn.Linear(7, 5, bias=False), (2, 3, 4, 7), 24 * 7 * 5),
}


@pytest.mark.parametrize('name', LAYERS)
@pytest.mark.parametrize('weight', [True, False])
@pytest.mark.parametrize('input_', [True, False])
def test_each_gradient_of_a_layer_costs_what_its_forward_pass_does(name, weight, input_):
    layer, shape, multiply_adds = LAYERS[name]
    layer.requires_grad_(weight)
    x = torch.randn(shape, requires_grad=input_)
    cost = training_flops(lambda: layer(x).sum())
    assert cost.forward == {REST: 2 * multiply_adds}
    assert sum(cost.backward.values()) == (weight + input_) * 2 * multiply_adds
    assert cost.flops == (1 + weight + input_) * 2 * multiply_adds


def convs(*frozen: str) -> Net:
    net = Net(nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 5, 1)))
    for name in frozen:
        getattr(net, name).requires_grad_(False)
    return net


A, B = 2 * 64 * 9 * 3 * 4, 2 * 64 * 4 * 5  # of an image of 8 × 8


@pytest.mark.parametrize(
    ('frozen', 'backward'),
    [
        # Images need no gradient: the first layer costs 2 forward passes in all, every other 3.
        ((), dict(a=A, b=2 * B)),
        (('a',), dict(b=B)),  # nothing behind what is frozen needs a gradient either
        (('b',), dict(a=A, b=B)),  # the gradient passes through
    ],
)
def test_what_is_frozen_costs_its_forward_pass(frozen, backward):
    net, x = convs(*frozen), torch.randn(1, 3, 8, 8)
    cost = training_flops(lambda: net(x).sum(), net)
    assert cost.forward == dict(a=A, b=B)
    assert cost.backward == backward
    # Without parts the same in sum.
    assert training_flops(lambda: net(x).sum()).flops == cost.flops


def test_a_loss_without_gradient_has_no_backward_pass():
    net, x = convs('a', 'b'), torch.randn(1, 3, 8, 8)
    cost = step_cost(lambda _: net(x).sum(), net)
    assert cost.forward == dict(a=A, b=B) and not cost.backward and not cost.kept
    with torch.no_grad():
        assert training_flops(lambda: convs()(x).sum()).forward == {REST: A + B}


def test_what_is_computed_again_counts_again():
    net, x = convs(), torch.randn(1, 3, 8, 8)
    cost = training_flops(lambda: checkpoint(net, x, use_reentrant=False).sum(), net)
    # The second layer's input is all that was missing for the backward pass.
    assert cost.backward == dict(a=A + A, b=2 * B)
    x.requires_grad_()  # as MMDetection's backbones do it: all of the forward pass again
    cost = training_flops(lambda: checkpoint(net, x, use_reentrant=True).sum(), net)
    assert cost.backward == dict(a=3 * A, b=3 * B)


def test_attention_is_counted():
    q = torch.randn(1, 2, 16, 8, requires_grad=True)
    forward = training_flops(lambda: F.scaled_dot_product_attention(q, q, q).sum()).forward
    assert forward == {REST: 2 * 2 * (2 * 16 * 16 * 8)}  # two products for each of two heads


def test_parts_are_those_that_a_detector_calls():
    """Through a method of the part, through a module inside it, and outside of all."""

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4, bias=False)

        def loss(self, x):
            return F.linear(x, self.inner.weight).sum()

    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 4, bias=False), Head()

    net, x = Detector(), torch.randn(3, 4)

    def step():
        features = net.body(x)
        outside = F.linear(features, torch.ones(1, 4))
        return net.head.loss(features) + net.head.inner(features).sum() + outside.sum()

    cost = training_flops(step, net)
    one = 2 * 3 * 4 * 4
    assert cost.forward == dict(body=one, head=2 * one, rest=one // 4)
    assert cost.backward == dict(body=one, head=4 * one, rest=one // 4)
    assert 'loss' not in vars(net.head) and not net.head.inner._forward_hooks, 'the model is left as it was'


# --- bytes -----------------------------------------------------------------------------------------------------------


def kept(net: nn.Module, x: torch.Tensor) -> dict[str, int]:
    return saved_bytes(lambda: net(x).sum(), net)


def test_layers_keep_their_input_where_a_weight_is_trained():
    net, x = Net(nn.Linear(6, 5), nn.Linear(5, 3)), torch.randn(4, 6)
    assert kept(net, x) == dict(a=4 * 4 * 6, b=4 * 4 * 5)
    net.a.requires_grad_(False)
    assert kept(net, x) == dict(b=4 * 4 * 5)
    # The gradient of the input needs the weight alone, which is there anyway.
    net.a.requires_grad_(True)
    net.b.requires_grad_(False)
    assert kept(net, x) == dict(a=4 * 4 * 6)


def test_a_storage_counts_once_for_the_first_part_that_saves_it():
    # Convolution keeps its input; ReLU, in place on the output, keeps what the next convolution also keeps.
    net = Net(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()),
    )
    x = torch.randn(2, 3, 8, 8)
    maps = 4 * 2 * 64
    assert kept(net, x) == dict(a=(3 + 4) * maps, b=5 * maps)


def test_batch_norm_keeps_its_input_and_two_numbers_for_each_channel():
    net = Net(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    x, maps = torch.randn(2, 3, 8, 8), 4 * 2 * 64
    assert kept(net, x) == dict(a=3 * maps, b=4 * maps + 2 * 4 * 4)
    # With running statistics, which are buffers and no more than that.
    assert kept(net.eval(), x) == dict(a=3 * maps, b=4 * maps)


def test_a_view_keeps_its_storage_whole():
    net = Net(nn.Identity(), nn.Linear(2, 3))
    x = torch.randn(10, 2)
    assert saved_bytes(lambda: net(x[:1]).sum(), net) == dict(b=4 * 10 * 2)
    assert saved_bytes(lambda: net(x[:1]).sum() + net(x[5:]).sum(), net) == dict(b=4 * 10 * 2)


def test_what_is_let_go_of_before_the_end_is_not_kept():
    net, x = Net(nn.Linear(6, 5), nn.ReLU()), torch.randn(4, 6)

    def step():
        net(torch.randn(1000, 6))  # nobody asks for its gradient
        return net(x).sum()

    assert saved_bytes(step, net) == dict(a=4 * 4 * 6, b=4 * 4 * 5)
    assert saved_bytes(lambda: net(x).detach().sum(), net) == {}


def test_copies_of_weights_in_low_precision_are_kept():
    net, x = nn.Linear(3, 5, bias=False), torch.randn(4, 3, requires_grad=True)

    def step():
        with torch.autocast('cpu', torch.bfloat16):
            return net(x).float().sum()

    assert saved_bytes(step, net) == {REST: 2 * (4 * 3 + 5 * 3)}


def test_a_graph_that_was_looked_at_is_let_go_of():
    net, x = Net(nn.Linear(6, 5), nn.ReLU()), torch.randn(4, 6)
    alive = []

    def step():
        features = net.a(x)
        alive.append(weakref.ref(features.untyped_storage()))
        return net.b(features).sum()

    saved_bytes(step, net)
    assert alive[0]() is None


def test_computing_again_keeps_less():
    net, x = convs(), torch.randn(1, 3, 8, 8)
    assert kept(net, x) == dict(a=4 * 64 * 3, b=4 * 64 * 4)
    again = saved_bytes(lambda: checkpoint(net, x, use_reentrant=False).sum(), net)
    assert sum(again.values()) == 4 * 64 * 3


def test_tensors_without_values_count_the_same():
    real, x = convs(), torch.randn(2, 3, 8, 8)
    meta = convs().to('meta')
    assert step_cost(lambda _: real(x).sum(), real) == step_cost(lambda _: meta(x.to('meta')).sum(), meta)


def test_a_copy_may_stand_for_another_tensor():
    net, x, y = nn.Linear(2, 3), torch.randn(4, 2), torch.randn(4, 2)

    def step(stands_for):
        stands_for(y, x)
        return net(x).sum() + net(y).sum()

    assert step_cost(step, net).kept == {REST: 4 * 4 * 2}
    assert step_cost(lambda _: net(x).sum() + net(y).sum(), net).kept == {REST: 2 * 4 * 4 * 2}
