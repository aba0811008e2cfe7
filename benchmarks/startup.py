"""CPU time and memory of every tool until it has something to say, beside importing MMDetection.

    python benchmarks/startup.py [--repeats 5] [--only help diff train …]

Each case is a process of its own, run as a user does, and they take turns. CPU time is that of the process and of
those that it started (getrusage), which other work on the machine disturbs less than a clock; memory is the largest
that one of them had resident. Ratios are to what MMDetection's own tools import before
they do anything: MMEngine's Runner and all modules that MMDetection registers. "to the first step" is `train.py` with
MMDetection's RetinaNet of a ResNet-18, without weights, on a few generated images: config, checks, data, model,
optimiser and the first batch, and there it ends.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# rethink, for mmcv's ops, without which MMDetection cannot be imported; nothing of its own is registered by that.
IMPORTS = (
    'import rethink; from mmengine.runner import Runner; '
    'from mmdet.utils import register_all_modules; register_all_modules()'
)
CONFIG = """
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
custom_imports = dict(imports=['rethink', 'stops'])
custom_hooks = [dict(type='StopHook')]
data = dict(data_root='{data}/', metainfo=dict(classes={classes}))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{data}/annotations/instances_val2017.json')
test_evaluator = val_evaluator
model = dict(backbone=dict(init_cfg=None, frozen_stages=-1, norm_eval=False), bbox_head=dict(num_classes={number}))
"""
STOPS = """
import os
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
@HOOKS.register_module()
class StopHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        os._exit(0)
"""


def cases(folder: Path) -> dict[str, list[str]]:
    """Name → arguments of Python; the first is what the others are compared with."""
    # Not in this process: a process that it starts has its memory for a moment, which counts.
    make = [str(ROOT / 'tools' / 'dataset_converters' / 'make_shapes.py'), str(folder)]
    numbers = ['--train', '8', '--val', '2', '--crop-train', '5', '--crop-val', '5']
    subprocess.run([sys.executable, *make, *numbers], check=True, stdout=subprocess.DEVNULL)
    data = folder / 'detection'
    categories = json.loads((data / 'annotations' / 'instances_val2017.json').read_text())['categories']
    classes = [one['name'] for one in categories]
    (folder / 'stops.py').write_text(STOPS)
    (folder / 'detector.py').write_text(CONFIG.format(data=data, classes=classes, number=len(classes)))
    found = {'imports of MMDetection': ['-c', IMPORTS], 'import torch': ['-c', 'import torch']}
    found |= {'import mmengine.config': ['-c', 'import mmengine.config'], 'import rethink': ['-c', 'import rethink']}
    tools = sorted(path for path in (ROOT / 'tools').rglob('*.py') if path.name != 'launcher.py')
    found |= {f'{path.relative_to(ROOT / "tools")} --help': [str(path), '--help'] for path in tools}
    configs = [str(ROOT / 'configs' / 'rethink' / f'{name}_r50_gn_6x.py') for name in ('scratch', 'pretrain')]
    study = str(ROOT / 'configs' / 'shapes' / 'study_rethink.yml')
    for name, arguments in {
        'misc/diff_configs.py': configs,
        'misc/print_config.py': configs[:1],
        'misc/print_config.py --provenance': configs[:1],
        'misc/check_config.py': configs[:1],
        'misc/export_config.py': [configs[0], str(folder / 'exported.py'), '--force'],
        'study.py plan': [study],
        'study.py status': [study],
        'analysis_tools/learning_curves.py --published': [str(ROOT / 'configs' / 'rethink' / 'metafile.yml')],
        'train.py of a config that is not there': [str(folder / 'none.py')],
        'train.py to the first step': [str(folder / 'detector.py'), '--work-dir', str(folder / 'work_dir')],
    }.items():
        tool, _, more = name.partition(' ')
        options = [one for one in more.split() if one.startswith('--') or one in ('plan', 'status')]
        found[name] = [str(ROOT / 'tools' / tool), *options, *arguments]
    return found


def measure(name: str, arguments: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of CPU, and MB."""
    environment = os.environ | dict(PYTHONPATH=os.pathsep.join([str(folder), str(ROOT / 'projects')]))
    with open(folder / 'said.txt', 'w+') as said:
        process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=said, stderr=said, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        expected = 2 if 'not there' in name else 0
        assert process.returncode == expected, f'{name} ended with {process.returncode}: {said.read()}'
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--only', nargs='+', default=[''], metavar='PART', help='of the names of the cases')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        every = cases(Path(folder))
        first = next(iter(every))
        chosen = {name: one for name, one in every.items() if name == first or any(part in name for part in args.only)}
        seconds, memory = {name: [] for name in chosen}, {name: [] for name in chosen}
        for turn in range(args.repeats + 1):
            for name, arguments in chosen.items():
                time, size = measure(name, arguments, Path(folder))
                if turn:  # the first compiles what is not compiled yet
                    seconds[name].append(time)
                    memory[name].append(size)
    print('| | CPU, s | of the imports | MB |\n| --- | --- | --- | --- |')
    for name in chosen:
        ratio = statistics.median(one / two for one, two in zip(seconds[name], seconds[first], strict=True))
        values = f'{statistics.median(seconds[name]):.2f} | {ratio:.2f} | {statistics.median(memory[name]):.0f}'
        print(f'| {name} | {values} |')


if __name__ == '__main__':
    main()
