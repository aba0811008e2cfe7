"""What a cascade adds to a training step and to testing, and test-time augmentation to testing.

    python benchmarks/tta_cascade.py [--size 800 1216] [--repeats 5] [--shapes] [--device cuda]

Random weights and a random image with ten objects. In each repeat every case runs once, one after the other in the
same process, and what is printed is the median of the ratios to the Mask R-CNN of the same repeat; the first repeat
warms up. The score threshold is so low that there are as many boxes as a config allows, more than a trained model has.
``--shapes`` takes the small models of configs/shapes and 128 pixels.
"""

import argparse
import copy
import logging
import statistics
import time
import warnings

import rethink
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import TRANSFORMS, init_default_scope
from mmengine.runner import set_random_seed


def models(shapes: bool) -> dict[str, tuple[Config, torch.nn.Module]]:
    """The Mask R-CNN, our cascade, and mmdet's with a mask head in each stage."""
    names = ('shapes/scratch_r18_gn_6x.py', 'shapes/scratch_r18_gn_cascade_6x.py')
    if not shapes:
        names = ('rethink/scratch_r50_gn_aug_9x.py', 'rethink/scratch_r50_gn_aug_cascade_9x.py')
    plain, cascade = (Config.fromfile(rethink.config_path(name)) for name in names)
    threefold = copy.deepcopy(cascade)
    threefold.model.roi_head.type = 'CascadeRoIHead'
    found = {'Mask R-CNN': plain, 'cascade, one mask head': cascade, 'cascade, three (mmdet)': threefold}
    result = {}
    for name, cfg in found.items():
        set_random_seed(0)
        cfg.model.test_cfg.rcnn.score_thr = 1e-4
        model = MODELS.build(cfg.model)
        model.init_weights()
        result[name] = cfg, model
    return result


def views(cfg: Config, size: tuple[int, int]) -> dict:
    """One random image (height, width) through the TTA pipeline of a config, without loading."""
    picture = torch.randint(256, (*size, 3), dtype=torch.uint8).numpy()
    resize, flip, _, pack = cfg.tta_pipeline[1].transforms
    pack[0]['meta_keys'] = ('img_id', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
    augment = TRANSFORMS.build(dict(type='TestTimeAug', transforms=copy.deepcopy([resize, flip, pack])))
    return pseudo_collate([augment(dict(img=picture, img_shape=size, ori_shape=size, img_id=0))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, nargs=2, default=(800, 1216), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--shapes', action='store_true')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    size = (128, 128) if args.shapes else tuple(args.size)
    register_all_modules(init_default_scope=False)
    init_default_scope('mmdet')
    logging.disable(logging.INFO)  # the initialisation of each tensor
    warnings.filterwarnings('ignore', message='To copy construct')
    cuda = args.device != 'cpu'

    cases = {}
    for name, (cfg, model) in models(args.shapes).items():
        model = model.to(args.device)
        classes = cfg.model.roi_head.mask_head.num_classes
        inputs = demo_mm_inputs(1, [[3, *size]], num_items=[10], num_classes=classes, with_mask=True)
        for sample in inputs['data_samples']:
            sample.set_metainfo(dict(ori_shape=size, img_shape=size, scale_factor=(1.0, 1.0)))

        def train(model=model, inputs=inputs):
            model.train().zero_grad()
            data = model.data_preprocessor(copy.deepcopy(inputs), True)
            model.parse_losses(model.loss(data['inputs'], data['data_samples']))[0].backward()

        @torch.no_grad()
        def test(model=model, inputs=inputs):
            return model.eval().test_step(copy.deepcopy(inputs))

        cases['train', name], cases['test', name] = train, test
        if name == 'Mask R-CNN':
            data, wrapped = views(cfg, size), MODELS.build(dict(cfg.tta_model, module=model))

            @torch.no_grad()
            def augmented(model=model, wrapped=wrapped, data=data):
                model.eval()
                return wrapped.test_step(data)

            cases['test', f'TTA, {len(data["inputs"])} views'] = augmented
            print('boxes:', len(test()[0].pred_instances), 'plain,', len(augmented()[0].pred_instances), 'augmented')

    seconds = {case: [] for case in cases}
    memory = {}
    for _ in range(args.repeats + 1):
        for case, function in cases.items():
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            function()
            if cuda:
                torch.cuda.synchronize()
                memory[case] = torch.cuda.max_memory_allocated() / 2**30
            seconds[case].append(time.perf_counter() - start)
    print(f'torch {torch.__version__}, {args.device}, {torch.get_num_threads()} threads, one image of {size}')
    for case, times in seconds.items():
        base = seconds[case[0], 'Mask R-CNN']
        ratio = statistics.median(one / other for one, other in zip(times[1:], base[1:], strict=True))
        line = f'{case[0]:6}{case[1]:26}{statistics.median(times[1:]):9.3f} s {ratio:8.2f} x'
        print(line + (f' {memory[case]:8.2f} GiB' if cuda else ''))


if __name__ == '__main__':
    main()
