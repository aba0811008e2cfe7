"""Every command of README and docs that needs nothing is run, in the order of its page, on generated data."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, write_coco, write_detector
from docs_commands import PLACEHOLDERS, Command, commands, kind, make, plain
from PIL import Image
from rethink.datasets import shapes_domains, shapes_tail
from rethink.trust.tensors import read_state_dict
from warm_python import warm_python

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
    # It finds the docs themselves, and must not write there.
    r'python (docs/measured/draw.py)': rf'python {ROOT}/\1 --out-dir drawn',
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
