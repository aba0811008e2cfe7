"""CPU time of an image in the training pipelines: ours, MMDetection's and MMPretrain's as shipped, torchvision's v2.

    python benchmarks/data_pipelines.py [--photographs FOLDER] [--images 200] [--repeats 5] [--cases lsj] [--profile]

The pipelines of configs/_base_/datasets read JPEGs of 640 x 480 with polygons: photographs (scikit-image's, or those
below FOLDER) resized to it, and 7.3 generated objects of 12 to 60 corners on each, as many as in train2017. Theirs are
the same configs with the types that MMDetection and MMPretrain ship, and the same draws; that the samples are equal to
the bit is checked first. torchvision's are its transforms of the same names, on its own decoder. All take turns in one
process on one thread. Counted is what a data worker does: the pipeline, and pickling the sample for the process that
trains; what that one does to unpickle it and to have dense masks stands beside it. Printed are medians, and the median
of the ratios of the turns.
"""

import argparse
import json
import pickle
import random
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FunctionType

import cv2
import numpy as np
import rethink
import torch
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmpretrain.utils import register_all_modules as register_pretrain_modules
from pycocotools import mask as coco_mask
from rethink.configs.export import STOCK
from torchvision import tv_tensors
from torchvision.io import decode_image
from torchvision.transforms import v2

SIZE = (480, 640)
CASES = {
    '800': '_base_/datasets/coco_instance.py',
    '640-800': '_base_/datasets/coco_instance_aug.py',
    'lsj': '_base_/datasets/coco_detection_lsj_1024.py',
    'copy-paste': '_base_/datasets/coco_instance_copypaste_1280.py',
    'moco': '_base_/datasets/moco_views.py',
    'moco, torch': '_base_/datasets/moco_views.py',
}
RESIZE = v2.Resize(800, max_size=1333, antialias=True)
VIEW = v2.Compose(
    [
        v2.RandomResizedCrop(224, scale=(0.2, 1.0), antialias=True),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.4)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], 0.5),
        v2.RandomHorizontalFlip(),
    ]
)
LSJ = [
    v2.ScaleJitter((1024, 1024), (0.1, 2.0), antialias=True),
    v2.RandomCrop((1024, 1024), pad_if_needed=True, fill=114),
    v2.SanitizeBoundingBoxes(),
]
FLIP = [v2.RandomHorizontalFlip(0.5)]
THEIRS = {
    '800': (v2.Compose([RESIZE, *FLIP]), True),
    '640-800': (v2.Compose([v2.RandomShortestSize(range(640, 801), max_size=1333), *FLIP]), True),
    'lsj': (v2.Compose([*LSJ, *FLIP]), False),
}


def photographs(folder: str | None, number: int) -> list[np.ndarray]:
    """Images below a folder, or scikit-image's."""
    if folder:
        paths = [path for path in sorted(Path(folder).rglob('*')) if path.suffix.lower() in ('.jpg', '.png')]
        return [cv2.imread(str(path)) for path in paths[:number]]
    from skimage import data

    names = ('astronaut', 'cat', 'coffee', 'rocket', 'chelsea')
    return [np.ascontiguousarray(getattr(data, name)()[..., ::-1]) for name in names]


def write_data(folder: Path, pictures: list[np.ndarray], number: int) -> None:
    """Images in ``folder/images``, objects in ``folder/objects.json``."""
    draw = np.random.default_rng(0)
    (folder / 'images').mkdir()
    images, objects = [], []
    for index in range(number):
        height, width = SIZE if index % 4 else SIZE[::-1]
        picture = cv2.resize(pictures[index % len(pictures)], (width, height), interpolation=cv2.INTER_CUBIC)
        picture = (picture + draw.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)
        name = f'{index:05d}.jpg'
        cv2.imwrite(str(folder / 'images' / name), picture, (cv2.IMWRITE_JPEG_QUALITY, 92))
        images.append(dict(id=index, file_name=name, width=width, height=height))
        for _ in range(max(1, draw.poisson(7.3))):
            side = min(np.exp(draw.normal(4.2, 0.9)), 400)
            size = np.minimum(side * draw.uniform(0.6, 1.6, 2), (width - 2, height - 2))
            corners = draw.integers(12, 60)
            angle, radius = np.sort(draw.uniform(0, 2 * np.pi, corners)), draw.uniform(0.7, 1, corners)
            centre = draw.uniform(0, (width, height) - size) + size / 2
            points = centre + size / 2 * radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
            box = [*points.min(0), *np.ptp(points, 0)]
            objects.append(
                dict(
                    id=len(objects) + 1,
                    image_id=index,
                    category_id=1,
                    iscrowd=0,
                    bbox=[float(one) for one in box],
                    area=float(box[2] * box[3]),
                    segmentation=[points.round(2).ravel().tolist()],
                )
            )
    whole = dict(images=images, annotations=objects, categories=[dict(id=1, name='thing')])
    (folder / 'objects.json').write_text(json.dumps(whole))


def _steps(pipeline: list):
    """All steps, those within others as well."""
    for step in pipeline:
        yield step
        inner = step.get('transforms') or ()
        yield from _steps([one for part in inner for one in (part if isinstance(part, list) else [part])])


def build(case: str, folder: Path, stock: bool):
    """index -> sample, how many there are, and the steps; with the types of our config or with the shipped ones."""
    cfg = Config.fromfile(rethink.config_path(CASES[case]))
    views = 'moco' in case
    whole = {} if views else cfg.train_dataloader.dataset
    inner = whole.get('dataset', whole)
    parts = [inner] if inner is whole else [inner, whole]
    pipelines = [cfg.pipeline] if views else [one.pipeline for one in parts]
    for step in (step for pipeline in pipelines for step in _steps(pipeline)):
        if stock:
            step.type = STOCK.get(step.type, step.type)
        elif case == 'moco, torch' and step.type == 'FastRandomResizedCrop':
            step.backend = 'torch'
    init_default_scope('mmpretrain' if views else 'mmdet')
    if views:
        paths = sorted(map(str, (folder / 'images').iterdir()))
        pipeline = Compose(cfg.pipeline)
        return lambda index: pipeline(dict(img_path=paths[index])), [pipeline.transforms]
    inner.update(data_root=f'{folder}/', ann_file='objects.json', data_prefix=dict(img='images/'))
    inner.metainfo = dict(classes=('thing',))
    dataset = DATASETS.build(whole)
    steps = [dataset.pipeline if isinstance(dataset.pipeline, list) else dataset.pipeline.transforms]
    if inner is not whole:
        steps.append(dataset.dataset.pipeline.transforms)
    return dataset.__getitem__, steps


def build_torchvision(case: str, folder: Path):
    """index -> sample of torchvision's own types, with masks that pycocotools makes, as in its references."""
    data = json.loads((folder / 'objects.json').read_text())
    objects = [[one for one in data['annotations'] if one['image_id'] == image['id']] for image in data['images']]

    def sample(index: int):
        record = data['images'][index]
        height, width = record['height'], record['width']
        image = tv_tensors.Image(decode_image(str(folder / 'images' / record['file_name'])))
        if 'moco' in case:
            return [VIEW(image), VIEW(image)]
        boxes = torch.tensor([one['bbox'] for one in objects[index]])
        target = dict(
            boxes=tv_tensors.BoundingBoxes(boxes, format='XYWH', canvas_size=(height, width)),
            labels=torch.zeros(len(boxes), dtype=torch.int64),
        )
        transforms, masks = THEIRS[case]
        if masks:
            polygons = [coco_mask.frPyObjects(one['segmentation'], height, width) for one in objects[index]]
            bitmaps = np.stack([coco_mask.decode(one).any(axis=2) for one in polygons]).astype(np.uint8)
            target['masks'] = tv_tensors.Mask(torch.from_numpy(bitmaps))
        return transforms(image, target)

    return sample


def dense(sample) -> None:
    """What a step asks for."""
    instances = getattr(sample.get('data_samples'), 'gt_instances', None) if isinstance(sample, dict) else None
    if instances is not None and 'masks' in instances:
        assert instances.masks.masks is not None


def assert_equal(one, other) -> None:
    inputs = [sample['inputs'] for sample in (one, other)]
    for first, second in zip(*(part if isinstance(part, list) else [part] for part in inputs), strict=True):
        assert torch.equal(first.float(), second.float())
    if not hasattr(one['data_samples'], 'gt_instances'):
        return
    for part in ('gt_instances', 'ignored_instances'):
        first, second = getattr(one['data_samples'], part), getattr(other['data_samples'], part)
        assert torch.equal(first.labels, second.labels) and torch.equal(first.bboxes.tensor, second.bboxes.tensor)
        assert 'masks' not in first or np.array_equal(first.masks.masks, second.masks.masks)
    assert one['data_samples'].metainfo == other['data_samples'].metainfo


def seed(number: int) -> None:
    random.seed(number), np.random.seed(number), torch.manual_seed(number)


def profile(case: str, folder: Path, stock: bool, images: int) -> None:
    """CPU time of an image in each step."""
    sample, lists = build(case, folder, stock)
    spent = Counter()

    def timed(step):
        def call(results):
            start = time.process_time()
            results = step(results)
            spent[type(step).__name__] += time.process_time() - start
            return results

        if hasattr(step, 'get_indexes'):
            call.get_indexes = step.get_indexes
        return call

    def inside(steps: list) -> None:
        for place, step in enumerate(steps):
            inner = getattr(step, 'transforms', None)
            if inner is None:
                # Views may share their steps.
                steps[place] = step if isinstance(step, FunctionType) else timed(step)
                continue
            inner = getattr(inner, 'transforms', inner)
            for part in inner if isinstance(inner[0], Compose) else [inner]:
                inside(getattr(part, 'transforms', part))

    for steps in lists:
        inside(steps)
    for _ in range(2):  # the first warms up
        spent.clear()
        for index in range(images):
            seed(index)
            one = sample(index)
            start = time.process_time()
            pickle.dumps(one, 5)
            spent['to pickle'] += time.process_time() - start
    print(f'{case}, {"shipped" if stock else "ours"}:', end=' ')
    print(', '.join(f'{name} {1000 * value / images:.2f}' for name, value in spent.most_common()), 'ms')


def measure(case: str, folder: Path, images: int, repeats: int) -> None:
    cases = {'ours': build(case, folder, False)[0], 'shipped': build(case, folder, True)[0]}
    if case != 'moco, torch':
        for index in range(0, images, 5):
            samples = []
            for get in cases.values():
                seed(index)
                samples.append(get(index))
            assert_equal(*samples)
    if case in THEIRS or 'moco' in case:
        cases['torchvision'] = build_torchvision(case, folder)
    worker, trainer, sizes = ({name: [] for name in cases} for _ in range(3))
    for number in range(repeats + 1):
        for name, get in cases.items():
            seed(number)
            spent, after, size = 0.0, 0.0, 0
            for index in range(images):
                start = time.process_time()
                handed = pickle.dumps(get(index), 5)
                middle = time.process_time()
                dense(pickle.loads(handed))
                spent, after = spent + middle - start, after + time.process_time() - middle
                size += len(handed)
            for found, value in ((worker, spent), (trainer, after), (sizes, size)):
                found[name].append(value / images)
    for name in cases:
        rate = 1 / statistics.median(worker[name][1:])
        megabytes, later = statistics.median(sizes[name][1:]) / 1e6, 1000 * statistics.median(trainer[name][1:])
        ratio = statistics.median(a / b for a, b in zip(worker['shipped'][1:], worker[name][1:], strict=True))
        print(
            f'{case:12}{name:12}{1000 / rate:8.2f} ms {rate:7.1f} images/s {ratio:6.2f} x shipped; '
            f'{megabytes:6.2f} MB, {later:6.2f} ms where it is trained',
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--photographs', metavar='FOLDER')
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--profile', action='store_true', help='the time of each step as well')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    register_all_modules(init_default_scope=False)
    register_pretrain_modules(init_default_scope=False)
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder), photographs(args.photographs, args.images), args.images)
        print(f'torch {torch.__version__}, OpenCV {cv2.__version__}, {args.images} images')
        for case in args.cases:
            measure(case, Path(folder), args.images, args.repeats)
            for stock in (False, True) if args.profile else ():
                profile(case, Path(folder), stock, args.images)


if __name__ == '__main__':
    main()
