"""Time what keypoints add to a training step, and their decoding beside torchvision's.

    python benchmarks/keypoint_head.py [--device cuda] [--repeats 5] [--size 448 640] [--people 100]

* A training step (forward, backward) of ``rethink/scratch_r50_gn_keypoint_2x`` beside the same detector without its
  keypoint branch: same weights, same images and people, same process. The two take turns, and the ratio is the median
  of the ratios of the turns.
* Decoding of heat maps, all people together, beside torchvision's loop over people, for people whose boxes are between
  a thirtieth and the whole of an image of 640 x 480. Both must say the same.
"""

import argparse
import copy
import statistics
import time

import rethink
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from rethink.models.keypoint_ops import decode_keypoints
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints


def detectors(device: str):
    """The detector with keypoints, and the one that lacks nothing but them."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(rethink.config_path('rethink/scratch_r50_gn_keypoint_2x.py'))
    whole = MODELS.build(copy.deepcopy(cfg.model))
    for key in ('keypoint_head', 'keypoint_roi_extractor'):
        cfg.model.roi_head.pop(key)
    cfg.model.roi_head.type = 'StandardRoIHead'
    bare = MODELS.build(cfg.model)
    bare.load_state_dict(whole.state_dict(), strict=False)
    return whole.to(device).train(), bare.to(device).train()


def batch(size: list[int], images: int, people: int, device: str) -> dict:
    generator = torch.Generator().manual_seed(0)
    height, width = size
    samples = []
    for _ in range(images):
        extent = torch.rand(people, 2, generator=generator) * 0.4 + 0.1
        corner = torch.rand(people, 2, generator=generator) * (1 - extent)
        boxes = torch.cat([corner, corner + extent], 1) * torch.tensor([width, height] * 2)
        place = torch.rand(people, 17, 2, generator=generator)
        keypoints = boxes[:, None, :2] + place * (boxes[:, None, 2:] - boxes[:, None, :2])
        truth = InstanceData(bboxes=boxes, labels=torch.zeros(people, dtype=torch.long))
        truth.keypoints = torch.cat([keypoints, torch.full((people, 17, 1), 2.0)], -1)
        sample = DetDataSample(
            metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1, 1))
        )
        sample.gt_instances, sample.ignored_instances = truth, truth[:0]
        samples.append(sample.to(device))
    inputs = [torch.randint(0, 255, (3, height, width), generator=generator).to(device) for _ in range(images)]
    return dict(inputs=inputs, data_samples=samples)


def seconds(function, device: str) -> float:
    start = time.perf_counter()
    function()
    if device != 'cpu':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def step(model, data):
    model.zero_grad(set_to_none=True)
    data = model.data_preprocessor(copy.deepcopy(data), True)
    loss, _ = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    loss.backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--size', type=int, nargs=2, default=[448, 640], help='height and width of the two images')
    parser.add_argument('--people', type=int, default=100, help='people to decode')
    args = parser.parse_args()
    device, turns = args.device, range(args.repeats + 1)  # the first warms up
    print(f'torch {torch.__version__}, {device}, {torch.get_num_threads()} threads; medians of {args.repeats}')

    torch.manual_seed(0)
    whole, bare = detectors(device)
    data = batch(args.size, 2, 4, device)
    pairs = [[seconds(lambda model=model: step(model, data), device) for model in (whole, bare)] for _ in turns][1:]
    times = [statistics.median(column) for column in zip(*pairs, strict=True)]
    ratio = statistics.median(one / other for one, other in pairs)
    print(f'step, 2 images of {args.size[1]} x {args.size[0]}: ', end='')
    print(f'{times[0]:.3f} s with keypoints, {times[1]:.3f} s without; ratio {ratio:.2f}')

    generator = torch.Generator().manual_seed(0)
    extent = torch.tensor([640.0, 480.0]) * 30 ** (torch.rand(args.people, 1, generator=generator) - 1)
    rois = torch.cat([torch.zeros_like(extent), extent], 1).to(device)
    maps = torch.randn(args.people, 17, 56, 56, generator=generator).to(device)
    ours, theirs = decode_keypoints(maps, rois)[0], heatmaps_to_keypoints(maps, rois)[0][..., :2]
    assert torch.allclose(ours, theirs, atol=1e-2), 'the two decode different keypoints'
    functions = decode_keypoints, heatmaps_to_keypoints
    pairs = [[seconds(lambda one=one: one(maps, rois), device) for one in functions] for _ in turns][1:]
    times = [statistics.median(column) for column in zip(*pairs, strict=True)]
    ratio = statistics.median(one / other for one, other in pairs)
    print(f'decoding {args.people} people: {times[0]:.3f} s, torchvision {times[1]:.3f} s; ratio {ratio:.2f}')


if __name__ == '__main__':
    main()
