"""Study B: MoCo on a varied source, then on a small target that looks different; is the detour worth its steps?

What is trained on the target, and from where, is named as in the paper (:mod:`rethink.studies.chains`). Of each
backbone a linear layer on the frozen features is trained with the target's labels, and a Mask R-CNN C4 on its scenes.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...analysis.logs import read_run
from ...datasets import shapes_domains
from ...engine.hooks.hierarchy import exported
from ...reuse import config_path
from .. import hierarchy
from ..jobs import Job
from . import Demo, where_crops, where_scenes

# Of trainings on the target: those that begin with the base, and of a long one that does not.
SHORT, LONG = 100, 500


class Arm(NamedTuple):
    """How a backbone came to be.

    Args:
        chain: B, T, B+T or B+T-BN.
        config: of configs/shapes; None for B, of which only the statistics of BN are estimated on the target.
        steps: iterations on the target.
    """

    chain: str
    config: str | None
    steps: int

    @property
    def name(self) -> str:
        return self.chain if self.chain != 'T' else f'T_{self.steps}'


ARMS = (
    Arm('B', None, 0),
    Arm('B+T', 'pretrain_moco_r18', SHORT),
    Arm('B+T-BN', 'pretrain_moco_r18_bnonly', SHORT),
    Arm('T', 'scratch_moco_r18', SHORT),
    Arm('T', 'scratch_moco_r18', LONG),
)


class _Export(Job):
    """A job that ends with the backbone of its last iteration; ``steps`` of it, none for B."""

    @property
    def steps(self) -> int:
        return self.iterations

    @property
    def backbone(self) -> Path:
        return self.work_dir / 'backbone.pth'

    @property
    def finished(self) -> bool:
        return exported(self.backbone, self.steps)

    @property
    def result(self) -> str:
        return f'a whole {self.backbone.name}'


class _Estimate(_Export):
    steps = 0

    @property
    def done(self) -> float:
        return self.cost * self.backbone.is_file()


def run(demo: Demo, arms: tuple[Arm, ...] = ARMS) -> None:
    """Write the data, train what is not trained, and print table and verdict.

    Args:
        arms: what is compared.

    Raises:
        JobError: a training failed.
        ConfigError: another process runs in the folder.
    """
    source, target, scenes = (
        shapes_domains.SourceCrops(),
        shapes_domains.TargetCrops(),
        shapes_domains.TargetScenes(),
    )
    if demo.quick:
        source, target = replace(source, train=128), replace(target, train=128, val=100)
        scenes = replace(scenes, train=32, val=8)
    shapes_domains.write_domains(demo.data, source, target, scenes)

    folder = demo.out / 'hpt' / f'seed{demo.seed}'
    print(
        'Study B in miniature: MoCo R18 on a source (B) and a small target (T), crops without labels; each '
        'backbone then with a linear layer and as a Mask R-CNN C4, on the target.'
    )
    demo.run(_jobs(demo, folder, arms), folder)
    _report(demo, folder, arms)


def _jobs(demo: Demo, folder: Path, arms: tuple[Arm, ...]) -> list[Job]:
    def pretraining(config: str, name: str, data: str, options: list[str], length: int | None = None, after=()):
        options = [f'train_dataloader.dataset.data_root={demo.data / data}/', *options]
        if demo.quick:
            options.append('model.queue_len=64')
        return demo.training(config, folder / name, options, length, _Export, after=list(after))

    base = pretraining('base_moco_r18', 'base', 'source', [])
    pretrainings, linears, detectors = [base], [], []
    for arm in arms:
        if arm.config is None:
            job = _estimate(demo, folder / arm.name, base)
        else:
            # The hook that begins with a base is the first.
            start = [f'custom_hooks.0.checkpoint={base.backbone}'] if arm.chain != 'T' else []
            after = [base] if start else []
            job = pretraining(arm.config, arm.name, 'target', start, arm.steps, after)
        begin = f'custom_hooks.0.checkpoint={job.backbone}'
        linear = [*where_crops(demo.data / 'target'), begin]
        detector = [*where_scenes(demo.data / 'target_detection'), begin]
        pretrainings.append(job)
        # An iteration of a linear layer on features takes next to no time.
        linears.append(
            demo.training('freeze_r18_linear', folder / f'{arm.name}_linear', linear, after=[job], cost=0.05)
        )
        detectors.append(
            demo.training('finetune_r18_c4_target', folder / f'{arm.name}_detector', detector, after=[job])
        )
    return [*pretrainings, *linears, *detectors]


def _estimate(demo: Demo, work_dir: Path, base: _Export) -> _Export:
    command = demo.script('model_converters/reestimate_bn.py')
    command += [config_path('shapes/scratch_moco_r18.py'), str(base.backbone), str(work_dir / 'backbone.pth')]
    command += ['--cfg-options', f'train_dataloader.dataset.data_root={demo.data / "target"}/']
    command += [f'randomness.seed={demo.seed}']
    return _Estimate(work_dir.name, command, work_dir, 1, after=[base])


def read_results(folder: Path, arms: tuple[Arm, ...] = ARMS) -> list[hierarchy.Result]:
    """What the logs of a seed say."""

    def last(arm: Arm, what: str) -> dict[str, float]:
        run = read_run(folder / f'{arm.name}_{what}')
        return run.val.get(run.max_iters, {})

    return [
        hierarchy.Result(
            arm.chain,
            arm.steps,
            last(arm, 'linear').get('accuracy/top1', 0.0),
            # MMDetection logs no AP where not one box was detected, which is an AP of 0.
            *(100 * last(arm, 'detector').get(f'coco/{key}', 0.0) for key in hierarchy.METRICS.values()),
        )
        for arm in arms
    ]


def _report(demo: Demo, folder: Path, arms: tuple[Arm, ...]) -> None:
    results = read_results(folder, arms)
    hierarchy.draw(results, folder / 'hierarchy', f'Hierarchical pre-training on shapes (seed {demo.seed})')
    if demo.quick:
        words = 'Too short to say anything: without --quick the numbers come with a verdict.'
    else:
        words = hierarchy.verdict(results, hierarchy.margins())
    report = f'{hierarchy.table(results)}\n\n{words}\n'
    (folder / 'report.md').write_text(report)
    (folder / 'report.json').write_text(
        json.dumps(dict(seed=demo.seed, rows=[one._asdict() for one in results]), indent=1)
    )
    print(f'\n{report}')
    seeds = {int(path.name[4:]): path for path in sorted(folder.parent.glob('seed[0-9]*'))}
    done = {seed: read_results(path, arms) for seed, path in seeds.items() if _finished(path, arms)}
    if len(done) > 1 and not demo.quick:
        _report_seeds(folder.parent, done)
    print(f'Picture: {folder / "hierarchy.png"} (and .svg), numbers: {folder / "report.json"}, logs: {folder}')


def _finished(folder: Path, arms: tuple[Arm, ...]) -> bool:
    return all(read_run(folder / f'{arm.name}_{what}').finished for arm in arms for what in ('linear', 'detector'))


def _report_seeds(folder: Path, done: dict[int, list[hierarchy.Result]]) -> None:
    seeds = list(done.values())
    spread = hierarchy.pooled_spread(seeds)
    words = hierarchy.verdict(hierarchy.mean(seeds), hierarchy.margins(len(seeds), spread))
    noise = ', '.join(f'{key} {one:.1f}' for key, one in spread.items())
    report = (
        f'Seeds {", ".join(map(str, done))}, mean ± standard deviation:\n\n{hierarchy.seeds_table(seeds)}\n\n{words}\n'
        f'* Standard deviation over the seeds of a chain, pooled over the chains: {noise}.\n'
    )
    (folder / 'seeds.md').write_text(report)
    print(report)
