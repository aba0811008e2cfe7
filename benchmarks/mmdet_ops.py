"""Which of mmcv's ops MMDetection's configs reach, and whether a model of each combination of them runs.

    python benchmarks/mmdet_ops.py list COMBINATIONS.json          every config is built, none is run
    python benchmarks/mmdet_ops.py run NAME [NAME ...]             a step of training and a prediction of these configs
    python benchmarks/mmdet_ops.py all COMBINATIONS.json OUT.json  the smallest config of each combination in turn

``list`` builds the model of every config of the installed mmdet without memory for its weights and notes which
functions of ``mmcv.ops`` its modules can call: those that their classes name, and the functions of mmdet that these
call. A branch that a config never takes counts as well, so a combination says what is reachable. ``run`` says what was
called: it trains a step on two images of noise with boxes and masks of noise, predicts on one, and names the functions
of ``mmcv._ext``. Weights are random; nothing is downloaded.
"""

import argparse
import contextlib
import copy
import io
import json
import resource
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import torch

SIDE = 128
"""Height and width of the images."""


def configs() -> Path:
    import mmdet

    return Path(mmdet.__file__).parent / '.mim/configs'


def names() -> list[str]:
    """Names, relative to the folder of the configs, of those that somebody trains or tests."""
    found = configs().rglob('*.py')
    return sorted(p.relative_to(configs()).as_posix() for p in found if not {'_base_', 'common'} & set(p.parts))


def model_config(name: str):
    """The config's model, without weights to load."""
    from mmengine.config import Config, ConfigDict

    cfg = Config.fromfile(configs() / name)

    def forget(tree):
        for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
            if key == 'init_cfg' and isinstance(value, dict) and 'checkpoint' in value:
                tree[key] = None
            elif key in ('teacher_config', 'teacher_ckpt') and isinstance(value, str):
                # A teacher is a config of its own; its weights would be downloaded.
                tree[key] = None if key == 'teacher_ckpt' else str(configs() / value.partition('configs/')[2])
            elif isinstance(value, dict | list | tuple | ConfigDict):
                forget(value)

    forget(cfg.model)
    return cfg


def build(cfg):
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    init_default_scope(cfg.get('default_scope', 'mmdet'))

    def in_one_process(tree):  # as `train.py` does it
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            if key == 'type' and value == 'MMSyncBN':
                tree[key] = 'BN'
            elif isinstance(value, dict | list | tuple):
                in_one_process(value)

    model = copy.deepcopy(cfg.model)
    in_one_process(model)
    return MODELS.build(model)


# --- What a model can reach ---


def _of_mmcv(value) -> str | None:
    module = getattr(value, '__module__', None) or ''
    owner = getattr(getattr(value, '__self__', None), '__name__', '')  # `Function.apply`
    if module.startswith('mmcv.ops') or owner.endswith('Function'):
        return getattr(value, '__name__', '') if module.startswith('mmcv.ops') else owner
    return None


def _named(code: types.CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _named(constant)
    return found


def _reached(function, seen: set) -> set[str]:
    """Names from ``mmcv.ops`` in a function, and in the functions of mmdet that it names."""
    function = getattr(function, '__func__', function)
    function = getattr(function, 'fget', function) or function
    while hasattr(function, '__wrapped__'):
        function = function.__wrapped__
    if not isinstance(function, types.FunctionType) or function in seen:
        return set()
    seen.add(function)
    found = set()
    for name in _named(function.__code__):
        value = function.__globals__.get(name)
        op = _of_mmcv(value)
        if op:
            if not isinstance(value, type):  # a layer counts where there is one
                found.add(op)
        elif isinstance(value, types.FunctionType) and value.__module__.startswith('mmdet'):
            found |= _reached(value, seen)
    return found


def reachable(model: torch.nn.Module, cfg) -> list[str]:
    found, seen, classes = set(), set(), set()
    for module in model.modules():
        for kind in type(module).__mro__:
            if kind in classes:
                continue
            classes.add(kind)
            if kind.__module__.startswith('mmcv.ops'):
                found.add(kind.__name__)
            elif kind.__module__.startswith('mmdet'):
                for function in vars(kind).values():
                    found |= _reached(function, seen)
    found |= {op for op in ('soft_nms', 'MMSyncBN') if f"'{op}'" in str(cfg.model)}
    return sorted(found)


def list_combinations(out: Path) -> None:
    import rethink  # noqa: F401  the ops

    combinations, failures = {}, {}
    for name in names():
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try:
                cfg = model_config(name)
                if 'model' not in cfg:
                    raise KeyError('no model')
                try:
                    with torch.device('meta'):
                        model = build(cfg)
                except Exception:  # some compute with their weights when they are built
                    model = build(model_config(name))
                size = sum(p.numel() for p in model.parameters())
                key = ' '.join(reachable(model, cfg))
                combinations.setdefault(key, []).append((size, name))
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                failures[name] = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
        out.write_text(
            json.dumps(
                {'combinations': {k: sorted(v) for k, v in combinations.items()}, 'failures': failures}, indent=1
            )
        )
    count = sum(map(len, combinations.values()))
    print(f'{count} configs are built, in {len(combinations)} combinations; {len(failures)} are not built.')


# --- Running one ---


def inputs(cfg, model, training: bool):
    from mmdet.testing import demo_mm_inputs, demo_track_inputs  # noqa: F401

    text = str(cfg.model)
    classes = _classes(cfg.model) or 2
    return demo_mm_inputs(
        batch_size=2 if training else 1,
        image_shapes=(3, SIDE, SIDE),
        num_items=[3, 2] if training else [2],
        num_classes=min(classes, 2),
        with_mask=True,
        with_semantic='semantic' in text or 'panoptic' in text.lower() or 'Mask2Former' in text or 'SOLO' in text,
        use_box_type=False,
    )


def _classes(tree) -> int:
    if isinstance(tree, dict):
        own = tree.get('num_classes') or tree.get('num_things_classes')
        if isinstance(own, int):
            return own
        return max([_classes(v) for v in tree.values()] or [0])
    return max([_classes(v) for v in tree] or [0]) if isinstance(tree, list | tuple) else 0


def run(name: str) -> dict:
    """One step of training and one prediction; the functions of ``mmcv._ext`` that each called."""
    import rethink  # noqa: F401  the ops
    from mmengine.logging import MessageHub
    from mmengine.model import revert_sync_batchnorm
    from rethink import ops

    for count in ('iter', 'epoch'):  # which some preprocessors ask for
        MessageHub.get_current_instance().update_info(count, 0)
        MessageHub.get_current_instance().update_info(f'max_{count}s', 100)
    called = set()
    extension = sys.modules['mmcv._ext']

    def traced(op, function):
        def call(*args, **kwargs):
            called.add(op)
            return function(*args, **kwargs)

        return call

    for op in ops.OPS:
        setattr(extension, op, traced(op, getattr(ops, op)))
    result = {'name': name}
    start = time.time()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.manual_seed(0)
        for stage in ('build', 'step', 'predict'):
            called.clear()
            try:
                if stage == 'build':
                    cfg = model_config(name)
                    # They enlarge small images, many to 1024 pixels.
                    cfg.model.get('data_preprocessor', {}).pop('batch_augments', None)
                    model = build(cfg)
                    if hasattr(model, 'init_weights'):
                        model.init_weights()
                    model = revert_sync_batchnorm(model)
                elif stage == 'step':
                    model.train()
                    data = model.data_preprocessor(inputs(cfg, model, True), True)
                    loss, logs = model.parse_losses(model(**data, mode='loss'))
                    loss.backward()
                    grads = [p.grad for p in model.parameters() if p.grad is not None]
                    result['finite'] = all(bool(grad.isfinite().all()) for grad in grads)
                    result['loss'] = loss.item()
                else:
                    model.eval()
                    with torch.no_grad():
                        data = model.data_preprocessor(inputs(cfg, model, False), False)
                        model(**data, mode='predict')
                result[stage] = sorted(called)
            except Exception as error:
                result['error'] = f'{stage}: {type(error).__name__}: {error}'.splitlines()[0][:300]
                if stage == 'build':
                    break
    result['seconds'] = round(time.time() - start, 1)
    result['gigabytes'] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)
    return result


def run_all(combinations: Path, out: Path) -> None:
    """Run a config of each combination: the smallest, or, where noise is no input for it, that of another folder."""
    results = []
    for key, members in json.loads(combinations.read_text())['combinations'].items():
        smallest = {}
        for _, name in members:
            smallest.setdefault(name.partition('/')[0], name)
        for name in list(smallest.values())[:3]:
            process = subprocess.run(
                [sys.executable, __file__, 'run', name], capture_output=True, text=True, timeout=600, check=False
            )
            if process.returncode:
                result = {'name': name, 'error': f'exit {process.returncode}: {process.stderr.strip()[-200:]}'}
            else:
                result = json.loads(process.stdout.strip().splitlines()[-1])
            if 'error' not in result:
                break
        results.append({**result, 'reachable': key, 'configs': len(members)})
        print(json.dumps(results[-1]), flush=True)
        out.write_text(json.dumps(results, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['list', 'run', 'all'])
    parser.add_argument('names', nargs='+')
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == 'list':
        list_combinations(Path(args.names[0]))
    elif args.what == 'all':
        run_all(*map(Path, args.names))
    else:
        for name in args.names:
            print(json.dumps(run(name)), flush=True)


if __name__ == '__main__':
    main()
