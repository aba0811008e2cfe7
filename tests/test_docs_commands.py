"""Every command of README and docs: a tool takes it, its files are there, and it is run here or says what it needs."""

import argparse
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, write_coco, write_detector
from docs_commands import PROGRAMS, Call, Command, calls, commands, of_block, plain
from PIL import Image
from rethink import commands as named
from rethink import run as scripts
from rethink.configs.overrides import parse_options
from rethink.datasets import shapes_domains, shapes_tail
from rethink.engine import launch
from rethink.errors import ConfigError
from rethink.trust.tensors import read_state_dict
from test_start_page import MADE
from warm_python import warm_python

# What stands in capitals in the docs, and what is put there to run it; `<this repository>` is THIS_REPOSITORY.
PLACEHOLDERS = {
    'ARM': 'configs/rethink/scratch_r50_gn_6x.py',
    'OTHER': 'configs/rethink/pretrain_r50_gn_6x.py',
    'ARGUMENTS': 'tiny.py',
    'BACKBONE': 'backbone.pth',
    'CHECKPOINT': 'work_dirs/tiny/iter_8.pth',
    'COMMAND': 'check_config',
    'CONFIG': 'tiny.py',
    'DATA': 'my_data',
    'FILE': 'file',
    'FOLDER': 'configs/mine',
    'JOB': 'job',
    'NAME': 'named',
    'OUT_DIR': 'out',
    'PARTITION': 'gpu',
    'PHOTO': 'my_data/images/000.png',
    'PHOTOS': 'my_data/images',
    'RESULTS': 'results',
    'STUDY': 'configs/mine',
    'THIS_REPOSITORY': 'repository',
    'TOOL': 'get_flops.py',
    'WORK_DIR': 'work_dirs/tiny',
}
# What a config may leave away, and an override may set.
LEFT_AWAY = ('randomness', 'metainfo')


def problem(test) -> None:
    """Fail with all that a test yields."""

    @functools.wraps(test)
    def run(*given, **fixtures):
        found = list(test(*given, **fixtures))
        assert not found, '\n' + '\n'.join(found)

    return run


def filled(words) -> list[str]:
    return [PLACEHOLDERS.get(word, word) for word in words]


# --- a tool takes it -------------------------------------------------------------------------------------------------


class Parsed(Exception):
    pass


@functools.cache
def module_of(script: Path):
    spec = importlib.util.spec_from_file_location(f'documented_{script.stem}', script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(script: Path, given: list[str]) -> argparse.Namespace:
    """What the parser of a script makes of arguments.

    Raises:
        SystemExit: it does not take them.
    """
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args):
        raise Parsed(parse_args(self, *args))

    argv, sys.argv = sys.argv, [str(script), *given]
    path = sys.path[:]
    sys.path.insert(0, str(script.parent))
    try:
        module = module_of(script)
        if hasattr(module, 'parse_args'):
            return module.parse_args()
        # A benchmark parses where it begins.
        argparse.ArgumentParser.parse_args = parse_and_stop
        module.main()
    except Parsed as stop:
        return stop.args[0]
    finally:
        sys.argv, sys.path[:], argparse.ArgumentParser.parse_args = argv, path, parse_args
    raise AssertionError(f'{script} has read no arguments')


def script_of(call: Call) -> tuple[Path, list[str]] | None:
    """The script that is started at last, and its arguments; None for what is no script of ours.

    Raises:
        ConfigError: no such tool, or too few arguments of a shell script.
    """
    program, *words = filled(call.words)
    if program == 'srun':
        words = words[words.index('python') :]
        program, *words = words
    if program == 'rethink' or (program.startswith('python') and words[:2] == ['-m', 'rethink']):
        words = words if program == 'rethink' else words[2:]
        if not words or words[0] == '--help':
            return None
        if words[0] == 'run':
            return scripts.find(words[1])[0], words[2:]
        script, words = named.find(words[0]), words[1:]
    elif program.startswith('python') and words[:1] == ['-m']:
        return (scripts.find(words[2])[0], words[3:]) if words[1] == 'rethink.run' and words[2:] else None
    elif program in ('python', 'bash'):
        script, words = ROOT / words[0], words[1:]
        if not script.is_file():
            raise ConfigError(f'there is no {script.relative_to(ROOT)}')
    else:
        return None
    if script.suffix == '.py':
        return script, words
    # dist_train.sh CONFIG GPUS …, dist_test.sh CONFIG CHECKPOINT GPUS …, slurm_*.sh PARTITION JOB CONFIG …
    train = 'train' in script.stem
    least = 4 if 'slurm' in script.stem else 3 - train
    if len(words) < least or ('dist' in script.stem and not words[least - 1].isdigit()):
        raise ConfigError(f'{script.name} is to be called as in {named.first_line(script)}')
    words = words[2:] if 'slurm' in script.stem else [*words[: least - 1], *words[least:]]
    return script.with_name('train.py' if train else 'test.py'), words[:1] + words[1 + (train and least == 4) :]


@functools.cache
def make(words: tuple[str, ...]) -> subprocess.CompletedProcess:
    """What ``make`` would run, with an environment that is set up."""
    command = ['make', '-n', '-o', 'setup', *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def options(args: argparse.Namespace) -> dict:
    given = getattr(args, 'cfg_options', None) or {}
    return parse_options(given) if isinstance(given, list) else given


@functools.cache
def read(path: str, variables: tuple):
    os.environ.update(variables)
    try:
        return launch.read_config(path, import_custom_modules=False)
    finally:
        for name, _ in variables:
            del os.environ[name]


def unknown_keys(cfg, given: dict):
    """Overrides of what a config does not have; the last name of one may be new."""
    for key in given:
        *above, last = key.split('.')
        here = cfg
        for name in above:
            if name in LEFT_AWAY:
                break
            try:
                here = here[int(name) if isinstance(here, list | tuple) else name]
            except (KeyError, IndexError, ValueError, TypeError):
                yield key
                break
        else:
            if isinstance(here, list | tuple) and not (last.isdigit() and int(last) < len(here)):
                yield key


def configs_of(call: Call) -> list[str]:
    return [word for word in call.words if re.match(r'(configs/|\w+::)', word) and word.endswith('.py')]


def wrong(call: Call):
    """Sentences."""
    if call.words[0] not in PROGRAMS and not call.words[0].startswith('.ci/'):
        yield f'{call.words[0]} is no program that tests/docs_commands.py knows'
    for word in call.words:
        if re.fullmatch(r'[A-Z][A-Z_]+', word) and word not in PLACEHOLDERS:
            yield f'{word} is no placeholder of tests/test_docs_commands.py: take one of these, or add it'
        if re.match(r'(configs|tools|benchmarks|requirements|docker)/(?!mine)', word) and not (ROOT / word).exists():
            yield f'there is no {word}'
    if call.words[0] == 'make':
        done = make(call.words[1:])
        if done.returncode:
            yield done.stderr.strip()
        for name in re.findall(r'^([A-Z]+)=', '\n'.join(call.words), re.MULTILINE):
            if not re.search(rf'\b{name}\b', (ROOT / 'Makefile').read_text()):
                yield f'the Makefile has no {name}'
    if call.words[0].startswith('.ci/') and not (ROOT / call.words[0]).is_file():
        yield f'there is no {call.words[0]}'
    args = None
    try:
        started = script_of(call)
        args = parse(*started) if started and '--help' not in started[1] else None
    except (ConfigError, SystemExit) as error:
        yield str(error)
    for path in configs_of(call):
        try:
            cfg = read(path, call.variables)
        except ConfigError as error:
            yield str(error)
            continue
        for key in unknown_keys(cfg, options(args)) if args else ():
            yield f'{path} has nothing where {key} would be set'


@problem
def test_each_command_is_taken_by_its_tool_and_its_files_are_there(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for command in commands():
        assert command.calls or command.text.split()[0] in ('.', 'export'), f'{command} starts nothing'
        for call in command.calls:
            for sentence in wrong(call):
                yield f'{command}\n    {sentence} {capsys.readouterr().err.strip()}'


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('python tools/trian.py CONFIG', 'there is no tools/trian.py'),
        ('rethink trian CONFIG', "no command 'trian'"),
        ('python -m rethink.run no_such.py CONFIG', 'no script no_such.py'),
        ('pyhton tools/train.py CONFIG', 'pyhton is no program'),
        ('python tools/train.py CONFIG --no-such 1', 'unrecognized arguments: --no-such 1'),
        ('python tools/misc/export_onnx.py WORK_DIR --images PHOTO', 'required: --out'),
        ('python tools/misc/diff_configs.py CONFIG OTHER --format yaml', 'invalid choice'),
        ('python tools/train.py MINE', 'MINE is no placeholder'),
        ('python tools/train.py configs/rethink/scratch_r50_gn_7x.py', 'no config configs/rethink/scratch'),
        ('python tools/train.py configs/shapes/scratch_r18_gn_1x.py --cfg-options model.bakbone.a=1', 'model.bakbone'),
        ('HPT_DATASET=none python tools/train.py configs/hpt/pretrain_moco_r50_5ki.py', 'hpt_none.py'),
        ('bash tools/dist_train.sh CONFIG', 'dist_train.sh is to be called as'),
        ('bash tools/dist_test.sh CONFIG CHECKPOINT --tta', 'dist_test.sh is to be called as'),
        ('bash tools/dist_train.sh CONFIG 8 --no-such', 'unrecognized arguments: --no-such'),
        ('bash tools/slurm_train.sh gpu JOB CONFIG', 'slurm_train.sh is to be called as'),
        ('make tset', "No rule to make target 'tset'"),
        ('make demo SEEDS=1', 'the Makefile has no SEEDS'),
        ('pip install -r requirements/none.txt', 'there is no requirements/none.txt'),
        ('.ci/none', 'there is no .ci/none'),
        ('cd here && python tools/train.py', 'required: config'),
        ('for one in a b; do\n    python tools/train.py $one --no-such\ndone', 'unrecognized arguments: --no-such'),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_command_is_found(text, sentence, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    found = ' '.join(f'{one} {capsys.readouterr().err}' for call in calls(plain(text)) for one in wrong(call))
    assert sentence in found


def test_a_block_is_read_as_a_shell_and_a_reader_do():
    block = [
        '$ python tools/train.py a.py \\',
        '      --amp  # some words',
        'output',
        '# needs COCO, 8 GPUs',
        "$ python tools/train.py [CONFIG …] 'a b' {b,c}.py",
        '',
        '$ export NAME=value',
        '$ OTHER=1 python tools/study.py plan|run STUDY | head  # needs Slurm: a cluster',
        '$ for one in 1 2; do python $one; done',
    ]
    found = of_block('page.md', 1, block)
    assert [(one.line, one.needs) for one in found] == [
        (1, ()), (5, ('COCO', '8 GPUs')), (7, ()), (8, ('Slurm',)), (9, ()),
    ]  # fmt: skip
    # What a pipe starts is told in any order.
    assert [sorted((call.words for call in one.calls), key=len)[::-1] for one in found] == [
        [('python', 'tools/train.py', 'a.py', '--amp')],
        [('python', 'tools/train.py', 'CONFIG', 'a b', 'b.py', 'c.py')],
        [],
        [('python', 'tools/study.py', 'run', 'STUDY'), ('python', 'tools/study.py', 'plan', 'STUDY'), ('head',)],
        [('python', '2'), ('python', '1')],
    ]
    (planned,) = [call for call in found[3].calls if 'plan' in call.words]
    assert dict(planned.variables) == dict(NAME='value', OTHER='1')


# --- and it is run, or says what it needs ----------------------------------------------------------------------------

# What CI has not got -> what is then in the command, or in a config that it names.
NEEDS = {
    'COCO': 'data/coco',
    'VOC': 'vocdevkit',
    'BDD100K': 'bdd',
    'RESISC45': 'resisc45',
    'UC Merced': 'ucmerced',
    'DomainNet': 'domainnet',
    'Flowers102': 'flowers102',
    'photographs': '--photographs',
    'a GPU': 'benchmarks/gpu.py|cuda',
    'a quiet machine': 'benchmarks/',
    'Slurm': 'srun|slurm',
    'Docker': 'docker',
    'the network': r'\b(pip|uv|conda|make)\b|fetch_weights|resnet_rs\.py',
    'openmim': '-m mim',
}
CI = set(re.findall(r'^make (\S+)$', (ROOT / '.ci' / 'run').read_text(), re.MULTILINE))


def content(command: Command) -> str:
    """A command, and all that its configs hold."""
    held = [read(path, call.variables) for call in command.calls for path in configs_of(call)]
    return ' '.join([command.before, command.text, *(str(cfg._cfg_dict) for cfg in held)]).lower()


def asks_for(command: Command, need: str) -> bool:
    if re.fullmatch(r'\d+ GPUs', need):
        return need.split()[0] in re.split(r'[ =]', command.text)
    return need in NEEDS and bool(re.search(NEEDS[need], content(command)))


def groups(found: list[Command]) -> list[list[Command]]:
    """Marked commands, with those that the same mark is for."""
    made = []
    for one in found:
        if made and one.page == made[-1][-1].page and one.needs == made[-1][-1].needs:
            made[-1].append(one)
        else:
            made.append([one])
    return made


def kind(command: Command) -> str:
    """``made``: makes the clone that a test runs in; ``CI``: .ci/run has it; ``start``: of the page that another test
    follows; ``marked``; and all others ``run``."""
    words = command.calls[0].words if command.calls else ()
    same = [one for one in commands() if not one.inline and one.text == command.text]
    if command.text in MADE or words[:2] == ('make', 'setup') or words[:3] == ('python3', '-m', 'venv'):
        return 'made'
    if words[:1] == ('make',) and words[1] in CI:
        return 'CI'
    if command.needs or (command.inline and any(one.needs for one in same)):
        return 'marked'
    if command.inline and 'benchmarks/' in command.text:  # docs/tools.md says so
        return 'marked'
    return 'start' if command.page == 'docs/start.md' else 'run'


@problem
def test_what_is_not_run_says_what_it_needs_and_needs_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    for group in groups([one for one in commands() if one.needs]):
        for need in group[0].needs:
            if need not in NEEDS and not re.fullmatch(r'\d+ GPUs', need):
                yield f'{group[0]}\n    `# needs {need}`: there is {", ".join(NEEDS)}, N GPUs'
            elif not any(asks_for(one, need) for one in group):
                yield f'{group[0]}\n    needs no {need}: take the mark away, and tests run it'
        for one in group:
            if not any(asks_for(one, need) for need in one.needs):
                yield f'{one}\n    needs nothing of {", ".join(one.needs)}: take the mark away, and tests run it'


# --- on generated data -----------------------------------------------------------------------------------------------

# What makes a command take seconds: in its text,
SMALLER = {
    r'data/shapes --(domains|tail)': r'data/full --\1',
    r'(make_shapes\.py data/shapes)(?! --[dt])': r'\1 --train 120 --val 8 --crop-train 1700 --crop-val 100 '
    '--figure-train 24 --figure-val 8',
    r'--sizes 10000 3500 1000': '--sizes 8 4 2',
    r'bdd_to_coco.py data/bdd100k': r'\g<0> --val 1',
    # Counting the operations of a detector takes a quarter of a minute.
    r'configs/frozen/\{finetune,freeze\}_(r101|rs101)': r'configs/frozen/freeze_\1',
    r' configs/frozen/\{finetune,freeze\}_effb7\S+': '',
    r'--shape 1280 1280': '--shape 256 256',
    r'(CONFIG|CHECKPOINT|scratch_r18_gn_6x.py) [82]\b': r'\1 2',
    r'(configs/shapes/(\w+)\.py) CHECKPOINT': r'\1 demo/rethink/seed0/\2/iter_300.pth',
    r'train_cfg.max_iters=4 train_cfg.val_interval=4': r'\g<0> train_dataloader.dataset.pipeline.2.scale="(128,128)" '
    'val_dataloader.dataset.pipeline.1.scale="(128,128)"',
    r'(hpt_evaluate.py .*configs/shapes.*)': r'\1 --reruns 1 --cfg-options train_cfg.max_iters=2 '
    'train_cfg.val_interval=2 default_hooks.checkpoint.interval=2',
    r'(train.py configs/shapes/pretrain_r18_gn_6x.py)$': r'\1 --cfg-options '
    'model.backbone.init_cfg.checkpoint=work_dirs/classifier_r18_gn/iter_600.pth',
    # It ends with 1 where something is missing, as here.
    r'(fetch_weights.py \S+ --list)': r'\1 || test $? = 1',
    # Of that name other pages train the real detector.
    r'((?:image_demo|export_onnx)\.py .*?)work_dirs/scratch_r50_gn_6x': r'\1work_dirs/tiny',
    r'--iters 200': '--iters 2 --scratch-iters 2 --bn-images 64',
    r'(study.py new \S.*)': r'\1 --image-size 64 48 --iterations 10 --seeds 0 --detectors small '
    '--backbone timm/tf_efficientnet_lite0 --weights tf_efficientnet_lite0.pth',
    # One arm of one's own study: docs/start.md runs all; of B, and the pair of C that differs in freezing alone.
    r'(study.py run (raccoons|cells)).*': r'\1 --only scratch_fpn_1x',
    r'(study_hpt.yml)': r"\1 --only '*_B+T-BN_100'",
    r'(study_frozen.yml)': r"\1 --only 'f*_tail_fpn_2x'",
    r'run (configs/|rethink::)shapes/study_rethink.yml$': r'\g<0> --only scratch_r18_gn_1x',
    r'hpt_chain.py CONFIG (.*) …': r'hpt_chain.py configs/shapes/pretrain_moco_r18.py \1 --base resnet50.pth '
    '--source configs/shapes/base_moco_r18.py --dry-run',
    r'rethink run browse_dataset CONFIG': r'\g<0> --not-show',
    r'--seeds [\d ]+(?=--out-dir)': '',
    r'--image-size 192 144 --iterations \d+|--budget 8h': '',
}
# and as overrides of a training, and of those of a study, of which --quick is a thirtieth.
SHORT = dict(
    max_iters=2, val_interval=2, **{'default_hooks.checkpoint.interval': 2, 'default_hooks.logger.interval': 1}
)


# Whose trainings are there: of the detector of tiny.py.
NAMES = [
    *(f'{init}_{model}_{length}' for init in ('scratch', 'pretrain') for length in ('2x', '6x')
      for model in ('r50_gn', 'r101_gn', 'r50_syncbn')),
    'scratch_r50_gn_1k_6x', 'pretrain_r50_gn_1k_6x', 'finetune_r50_fpn_72e', 'freeze_r50_fpn_72e',
]  # fmt: skip
STUDY = """
question: Does pre-training help on my images?
metric: coco/bbox_mAP
factors: {init: [scratch, pretrain]}
runs: {'{init}_r50_6x': {}}
claims: {pre-training is ahead: pretrain_r50_6x > scratch_r50_6x}
"""


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    """A folder that is like a clone in which somebody has data and has trained a detector."""
    folder = tmp_path_factory.mktemp('docs') / 'rethink'
    folder.mkdir()
    for name in ('tools', 'projects', 'benchmarks', 'Makefile', 'requirements'):
        (folder / name).symlink_to(ROOT / name)
    (folder / 'configs' / 'mine').mkdir(parents=True)
    for path in (ROOT / 'configs').iterdir():
        (folder / 'configs' / path.name).symlink_to(path)
    (folder / 'bin').mkdir()
    for name, text in {'python': '', 'rethink': '-m rethink '}.items():
        (folder / 'bin' / name).write_text(f'#!/bin/sh\nexec {warm_python()} {text}"$@"\n')
        (folder / 'bin' / name).chmod(0o755)
    return prepare(folder)


def prepare(folder: Path) -> Path:
    """Put data and what others have trained where the pages have them."""
    coco = folder / 'data' / 'coco'
    write_coco(folder / 'my_data')
    write_detector(folder / 'tiny.py', folder / 'my_data')
    # In COCO's layout.
    (coco / 'annotations').mkdir(parents=True)
    for split in ('train2017', 'val2017'):
        (coco / split).symlink_to(folder / 'my_data' / 'images')
        shutil.copy(folder / 'my_data' / 'annotations.json', coco / 'annotations' / f'instances_{split}.json')
    images = json.loads((folder / 'my_data' / 'annotations.json').read_text())
    few = dict(images, images=images['images'][:4])
    few['annotations'] = [one for one in images['annotations'] if one['image_id'] < 4]
    (coco / 'annotations' / 'instances_valminusminival2014.json').write_text(json.dumps(few))
    shutil.copytree(coco, folder / 'data' / 'mine', symlinks=True, ignore=shutil.ignore_patterns('*2014*'))
    for name in ('train.json', 'val.json'):
        shutil.copy(folder / 'my_data' / 'annotations.json', folder / name)
    write_coco(folder / 'bccd', images=90)
    for name in ('data/raccoon', 'raccoon'):
        (folder / name).symlink_to(folder / 'my_data')
    photo = np.array(Image.open(folder / 'my_data' / 'images' / '000.png'))
    Image.fromarray(photo).save(folder / 'street.jpg')
    film = cv2.VideoWriter(str(folder / 'street.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 5, photo.shape[1::-1])
    film.write(photo)
    film.release()
    bdd = folder / 'data' / 'bdd100k'
    box = dict(category='car', box2d=dict(x1=5, y1=5, x2=20, y2=20))
    for folder_of_images in ('photos', 'data/bdd100k/images/100k/train', 'data/bdd100k/images/100k/val'):
        (folder / folder_of_images).mkdir(parents=True)
        for name in ('a.jpg', 'b.jpg'):
            Image.fromarray(photo).save(folder / folder_of_images / name)
    (bdd / 'labels').mkdir()
    for split in ('train', 'val'):
        labels = [dict(name=name, labels=[box]) for name in ('a.jpg', 'b.jpg')]
        (bdd / 'labels' / f'bdd100k_labels_images_{split}.json').write_text(json.dumps(labels))
    # Generated, few of them; what is there is left alone.
    for more in ('', ' --figures', ' --voc'):
        shell(folder, shorter(f'python tools/dataset_converters/make_shapes.py data/shapes{more}'))
    shapes = folder / 'data' / 'shapes'
    (folder / 'data' / 'VOCdevkit').symlink_to(shapes / 'voc')
    source, target = shapes_domains.SourceCrops(train=80), shapes_domains.TargetCrops(train=80, val=20)
    shapes_domains.write_domains(shapes, source, target, shapes_domains.TargetScenes(train=16, val=4))
    shapes_tail.write_tail(shapes, shapes_tail.TailScenes(train=16, val=4), shapes_tail.TailCrops(train=64, val=20))
    # A study, a config and trainings of one's own.
    for name, rate in {'scratch_r50_6x': 0.001, 'pretrain_r50_6x': 0.01}.items():
        more = f'optim_wrapper["optimizer"]["lr"] = {rate}\n'
        write_detector(folder / 'configs' / 'mine' / f'{name}.py', folder / 'my_data', more)
    (folder / 'configs' / 'mine' / 'study.yml').write_text(STUDY)
    (folder / 'my_config.py').write_text("_base_ = 'rethink::shapes/scratch_r18_gn_6x.py'\n")
    shell(folder, 'python tools/model_converters/efficientnet_lite.py tf_efficientnet_lite0.pth')
    shell(folder, 'python tools/train.py tiny.py')
    trained = folder / 'work_dirs' / 'tiny'
    for name in NAMES:
        shutil.copytree(trained, folder / 'work_dirs' / name)
    (folder / 'results').mkdir()
    shell(folder, f'python tools/test.py tiny.py {trained}/iter_8.pth --cfg-options test_evaluator.outfile_prefix=r')
    for name in ('finetune_0', 'freeze_0'):
        shutil.copy(folder / 'r.bbox.json', folder / 'results' / f'{name}.bbox.json')
    backbone = {
        key.removeprefix('backbone.'): value
        for key, value in read_state_dict(trained / 'iter_8.pth', 'a checkpoint').items()
        if key.startswith('backbone.')
    }
    torch.save(backbone, folder / 'resnet50.pth')
    # Of a demo pages have checkpoints.
    run_once(folder, smaller(next(one for one in commands() if one.text == 'make demo'), folder))
    return folder


def shell(folder: Path, text: str) -> str:
    """What a command prints, which must succeed."""
    environment = os.environ | dict(
        PATH=f'{folder}/bin:{os.environ["PATH"]}', PYTHON=f'{folder}/bin/python', OMP_NUM_THREADS='1',
        CUDA_VISIBLE_DEVICES='', HF_HUB_OFFLINE='1',
    )  # fmt: skip
    command = ['timeout', '300', 'bash', '-e', '-o', 'pipefail', '-c', text]
    begun = time.time()
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(f'{time.time() - begun:5.1f} s  {done.returncode}  {text}')
    assert done.returncode == 0, f'{text}\n{done.stdout[-4000:]}'
    return done.stdout


def shorter(text: str) -> str:
    for page, here in SMALLER.items():
        text = re.sub(page, here, text)
    return text


def smaller(command: Command, folder: Path) -> str:
    """A command as it is run here."""
    text = command.text
    if command.text.startswith('make demo'):
        lines = make(command.calls[0].words[1:]).stdout.splitlines()
        text = re.sub(r'^\S*/python', 'python', lines[-1])
    text = plain(shorter(text)).replace('THIS_REPOSITORY', str(ROOT))
    text = re.sub(r'(?<!=)\[((?:--)?\w+)[^]]*\]', r'\1', text).replace(' …', '')
    text = re.sub(r'\b[A-Z][A-Z_]+\b(?![=/])', lambda found: PLACEHOLDERS.get(found[0], found[0]), text)
    text = re.sub(r'[^\s=]+/iter_\d+\.pth', lambda found: last_of(folder, found[0]), text)
    # MoCo's BN splits a batch in four.
    batch = 8 if re.search('moco|hpt', text) else 2
    short = [f'{"train_cfg." * ("." not in key)}{key}={value}' for key, value in SHORT.items()]
    short += [
        f'train_dataloader.{key}' for key in (f'batch_size={batch}', 'num_workers=0', 'persistent_workers=False')
    ]
    several = re.search(r"'([a-z]+(?:\|[a-z]+)+)'", text)
    if several:
        each = text.replace(several[0], '$one')
        text = f'for one in {several[1].replace("|", " ")}; do {each}; done'
    if re.search(r'\b(tools/(dist_)?train\.|tools/grid_search|rethink (dist_)?train)\S* (configs/|\w+::)', text):
        return f'{text} --cfg-options {" ".join(short)}{" switch_from.iteration=1" * ("cascade" in text)}'
    if re.search(r'study(.py)? (plan|run|status|report) \S*(?<!mine)( |$)', text):
        tiny = f' --cfg-options train_cfg.max_iters=30 train_dataloader.batch_size={batch}' * ('shapes' in text)
        return f'{text} --quick --seeds 0{tiny}'
    return text


def last_of(folder: Path, checkpoint: str) -> str:
    """The last checkpoint of a training that was longer in the docs."""
    above = Path(os.path.dirname(checkpoint))
    last = folder / above / 'last_checkpoint'
    return str(above / Path(last.read_text().strip()).name) if last.is_file() else checkpoint


RUN = {}
for one in commands():
    RUN.setdefault(one.page, []).append(one)
ALREADY = set()


def run_once(folder: Path, text: str) -> None:
    """Run a command that no page has had; what makes a study of images, or is of one, runs each time."""
    made = re.search(r'study\.py new (\w+)', text)
    if made:
        shutil.rmtree(folder / made[1], ignore_errors=True)
        shutil.rmtree(folder / 'work_dirs' / made[1], ignore_errors=True)
    if text not in ALREADY or re.search(r'study\.py (new|run) \w+ ', text):
        shell(folder, text)
    ALREADY.add(text)


@pytest.mark.long
@pytest.mark.parametrize('page', [page for page, found in RUN.items() if any(kind(one) == 'run' for one in found)])
def test_the_commands_of_a_page_run(page, clone):
    failed = []
    for command in RUN[page]:
        if kind(command) != 'run':
            continue
        for text in [*command.before.splitlines(), smaller(command, clone)]:
            try:
                run_once(clone, text)
            except AssertionError as error:
                failed.append(f'{command}\n{error}')
    assert not failed, '\n\n\n'.join(failed)
