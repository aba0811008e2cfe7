"""Heat maps of keypoints against torchvision's Keypoint R-CNN, written independently by others."""

import pytest
import torch
from rethink.models import keypoint_ops
from rethink.models.keypoint_head import KeypointRCNNHead
from rethink.models.keypoint_ops import cubic_weights, decode_keypoints, encode_keypoints
from torch.nn import functional as F
from torchvision.models.detection import roi_heads as oracle


def random_rois(generator, number, largest=300.0, smallest=0.0):
    corner = torch.rand(number, 2, generator=generator) * 400 - 50
    return torch.cat([corner, corner + smallest + torch.rand(number, 2, generator=generator) * largest], 1)


def random_people(generator, rois, number=17):
    """Keypoints in and around RoIs, some on the edges, with all three visibilities."""
    place = torch.rand(len(rois), number, 2, generator=generator) * 1.4 - 0.2
    kind = torch.randint(0, 12, place.shape, generator=generator)
    place = torch.where(kind == 0, 0.0, torch.where(kind == 1, 1.0, place))
    corner, end = rois[:, None, :2], rois[:, None, 2:]
    # Not corner + place * extent alone, which misses the edge by a bit.
    xy = torch.where(place == 1, end.expand_as(place), corner + place * (end - corner))
    visibility = torch.randint(0, 3, (*xy.shape[:2], 1), generator=generator)
    return torch.cat([xy, visibility.float()], -1)


@pytest.mark.parametrize('seed', range(3))
def test_encoding_is_torchvisions(seed):
    generator = torch.Generator().manual_seed(seed)
    rois = random_rois(generator, 200, smallest=0.5)
    people = random_people(generator, rois)
    cells, valid = encode_keypoints(people, rois, 56)
    expected, counts = oracle.keypoints_to_heatmap(people, rois, 56)
    assert torch.equal(cells, expected) and torch.equal(valid, counts.bool())
    # The cases that matter are among them.
    assert 0.2 < valid.float().mean() < 0.9
    assert (valid & (people[..., 0] == rois[:, None, 2])).any() and (
        valid & (people[..., 1] == rois[:, None, 3])
    ).any()


def test_cells_by_hand():
    roi = torch.tensor([[10.0, 20.0, 66.0, 132.0]])  # cells of 1 x 2
    people = [
        (10.0, 20.0, 2),  # top left corner
        (66.0, 132.0, 1),  # bottom right corner, hidden
        (11.5, 25.9, 2),
        (9.99, 50.0, 2),  # left of it
        (30.0, 132.1, 2),  # below
        (30.0, 50.0, 0),  # not labelled
        (66.0, 20.0, 2),  # right edge
    ]
    cells, valid = encode_keypoints(torch.tensor([people]), roi, 56)
    assert cells.tolist() == [[0, 56 * 56 - 1, 2 * 56 + 1, 0, 0, 0, 55]]
    assert valid.tolist() == [[True, True, True, False, False, False, True]]


def test_nothing_to_encode_or_decode():
    cells, valid = encode_keypoints(torch.zeros(0, 17, 3), torch.zeros(0, 4), 56)
    assert cells.shape == valid.shape == (0, 17) and cells.dtype == torch.int64
    points, scores = decode_keypoints(torch.zeros(0, 17, 56, 56), torch.zeros(0, 4))
    assert points.shape == (0, 17, 2) and scores.shape == (0, 17)


def test_a_roi_without_extent_has_no_keypoint():
    people = torch.tensor([[[5.0, 5.0, 2.0], [7.0, 6.0, 2.0]]])
    _, valid = encode_keypoints(people, torch.tensor([[5.0, 5.0, 5.0, 9.0]]), 56)
    assert not valid[0, 1]


@pytest.mark.parametrize('size', [1, 5, 8, 21, 56, 57, 140])
def test_cubic_weights_are_torchs(size):
    lines = torch.randn(3, 1, 8, 1)
    weights = cubic_weights(torch.tensor([size]), size + 2, 8)
    assert torch.allclose(weights[0, :size].sum(-1), torch.ones(size), atol=1e-5)
    expected = F.interpolate(lines, (size, 1), mode='bicubic', align_corners=False)[:, 0, :, 0]
    assert torch.allclose(lines[:, 0, :, 0] @ weights[0, :size].T, expected, atol=1e-5)


@pytest.mark.parametrize('at_once', [1, 300_000, 1 << 24])
def test_decoding_is_torchvisions(monkeypatch, at_once):
    """Also with people of very different sizes, one smaller than a pixel, and in parts of any size."""
    monkeypatch.setattr(keypoint_ops, '_CELLS_AT_ONCE', at_once)
    generator = torch.Generator().manual_seed(4)
    rois = random_rois(generator, 30)
    rois[0, 2:] = rois[0, :2] + 0.25
    rois[1, 2] = rois[1, 0] + 400.5
    rois[2] = torch.tensor([3.0, 4.0, 59.0, 60.0])  # as large as the map
    maps = torch.randn(30, 5, 56, 56, generator=generator)
    points, scores = decode_keypoints(maps, rois)
    expected, expected_scores = oracle.heatmaps_to_keypoints(maps, rois)
    assert torch.allclose(scores, expected_scores, atol=1e-4)
    assert torch.allclose(points, expected[..., :2], atol=1e-3)


def test_decoding_undoes_encoding():
    """To half a cell: a peak in the cell of a keypoint is decoded to within it."""
    generator = torch.Generator().manual_seed(5)
    rois = random_rois(generator, 40, smallest=112)
    place = torch.rand(40, 17, 2, generator=generator)
    people = torch.cat(
        [rois[:, None, :2] + place * (rois[:, None, 2:] - rois[:, None, :2]), torch.ones(40, 17, 1)], -1
    )
    cells, valid = encode_keypoints(people, rois, 56)
    assert valid.all()
    maps = 10 * F.one_hot(cells, 56 * 56).float().view(40, 17, 56, 56)
    points, _ = decode_keypoints(maps, rois)
    cell = ((rois[:, 2:] - rois[:, :2]) / 56)[:, None]
    assert ((points - people[..., :2]).abs() < cell * 0.75 + 0.5).all()


def head_and_rois(generator):
    head = KeypointRCNNHead(num_convs=1, in_channels=4, conv_out_channels=8)
    rois = [random_rois(generator, n, smallest=1) for n in (6, 0, 9)]
    people = [random_people(generator, one) for one in rois]
    return head, rois, people


def test_loss_is_torchvisions():
    generator = torch.Generator().manual_seed(6)
    head, rois, people = head_and_rois(generator)
    maps = torch.randn(15, 17, 56, 56, generator=generator, requires_grad=True)
    encoded = [encode_keypoints(one, roi, 56) for one, roi in zip(people, rois, strict=True)]
    loss = head.loss(maps, *map(torch.cat, zip(*encoded, strict=True)))
    expected = oracle.keypointrcnn_loss(maps, rois, people, [torch.arange(len(one)) for one in rois])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = [torch.autograd.grad(one, maps)[0] for one in (loss, expected)]
    assert torch.allclose(*gradients, atol=1e-7) and gradients[0].abs().max() > 0


@pytest.mark.parametrize('number', [0, 3])
def test_a_loss_over_nothing_is_zero_and_reaches_every_parameter(number):
    """No RoI, or none with a keypoint: processes that train together still agree on what has a gradient."""
    head = KeypointRCNNHead(num_convs=2, in_channels=4, conv_out_channels=8)
    maps = head(torch.randn(number, 4, 14, 14))
    loss = head.loss(maps, torch.zeros(number, 17, dtype=torch.long), torch.zeros(number, 17, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert all(one.grad is not None and not one.grad.any() for one in head.parameters())


def test_the_loss_is_float32_in_mixed_precision():
    maps = torch.randn(2, 17, 56, 56).bfloat16()
    cells = torch.randint(0, 56 * 56, (2, 17))
    head = KeypointRCNNHead(num_convs=1, in_channels=4, conv_out_channels=8)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = head.loss(maps, cells, torch.ones(2, 17, dtype=torch.bool))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(F.cross_entropy(maps.float().view(34, -1), cells.view(-1)).item())


def test_the_head_is_detectrons():
    head = KeypointRCNNHead()
    head.init_weights()
    assert [tuple(one.conv.weight.shape) for one in head.convs] == [(512, 256, 3, 3)] + 7 * [(512, 512, 3, 3)]
    for weight, fan_out in [(one.conv.weight, 512 * 9) for one in head.convs] + [(head.deconv.weight, 512 * 16)]:
        assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)  # MSRA
    assert all(not value.any() for name, value in head.named_parameters() if name.endswith('bias'))
    assert head(torch.randn(1, 256, 14, 14)).shape == (1, 17, 56, 56)
