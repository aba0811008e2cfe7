"""Time and memory of looking at an annotation file of COCO's size, the first time and after: the pass, and the tool.

    python benchmarks/annotations.py [--images 118287] [--objects 860001] [--points 40] [--keypoints 17]

Generated: boxes and polygons at random, 450 MB of JSON. Each case runs in a process of its own; memory is the largest
that it and any one process that it started had resident (getrusage), and what a process that imports the same and
reads nothing has is printed beside. tools/misc/check_data.py is the whole process, imports and report too, without
the images, which are not there. Where other programs use the cores, seconds of CPU by the number of cores are the time
that it takes on quiet ones.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write(path: Path, images: int, objects: int, points: int, keypoints: int) -> None:
    """As compact as COCO's: numbers with two digits behind the point."""
    rng = np.random.default_rng(0)
    with open(path, 'w') as file:
        file.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        for start in range(images):
            image = dict(license=1, file_name=f'{start:012d}.jpg', height=480, width=640, id=start)
            image['coco_url'] = f'http://images.cocodataset.org/train2017/{start:012d}.jpg'
            file.write((', ' if start else '') + json.dumps(image))
        file.write('], "annotations": [')
        for start in range(0, objects, 10_000):
            number = min(10_000, objects - start)
            corner, size = rng.uniform(0, 240, (number, 2)), rng.uniform(5, 200, (number, 2))
            polygons = (corner[:, None] + rng.uniform(0, 1, (number, points, 2)) * size[:, None]).round(2)
            image, category = rng.integers(0, images, number), rng.integers(1, 81, number)
            places = (corner[:, None] + rng.uniform(0, 1, (number, keypoints, 2)) * size[:, None]).astype(int)
            people = np.concatenate([places, rng.integers(0, 3, (number, keypoints, 1))], 2)
            people[people[..., 2] == 0] = 0
            for index in range(number):
                one = dict(
                    segmentation=[polygons[index].ravel().tolist()],
                    area=round(float(size[index].prod()), 4),
                    iscrowd=0,
                    image_id=int(image[index]),
                    bbox=[*corner[index].round(2).tolist(), *size[index].round(2).tolist()],
                    category_id=int(category[index]),
                    id=start + index + 1,
                )
                if keypoints:
                    labelled = int((people[index, :, 2] > 0).sum())
                    one |= dict(keypoints=people[index].ravel().tolist(), num_keypoints=labelled)
                file.write((', ' if start + index else '') + json.dumps(one))
        categories = [dict(id=index + 1, name=f'class {index}') for index in range(80)]
        file.write(f'], "categories": {json.dumps(categories)}}}')


def measure(what: str, path: Path, cache: Path, keypoints: int) -> None:
    """In a process of its own: seconds, and MB."""
    environment = os.environ | dict(XDG_CACHE_HOME=str(cache))
    code = [sys.executable, __file__, '--one', what, '--path', str(path), '--keypoints', str(keypoints)]
    print(subprocess.run(code, env=environment, check=True, capture_output=True, text=True).stdout, end='', flush=True)


def tool(what: str, path: Path, cache: Path) -> None:
    """tools/misc/check_data.py as it is called."""
    script = Path(__file__).resolve().parents[1] / 'tools' / 'misc' / 'check_data.py'
    report = path.with_name('report.txt')
    start = time.perf_counter()
    command = [sys.executable, str(script), str(path), '--out', str(report)]
    child = subprocess.Popen(command, env=os.environ | dict(XDG_CACHE_HOME=str(cache)), stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(child.pid, 0)
    if not report.exists():
        raise RuntimeError(f'check_data.py ended with {os.waitstatus_to_exitcode(code)}')
    report.unlink()
    seconds, cpu = time.perf_counter() - start, used.ru_utime + used.ru_stime
    print(
        f'check_data.py, {what:6} {seconds:6.2f} s, {cpu:6.2f} s of CPU, {used.ru_maxrss / 1024:5.0f} MB', flush=True
    )


def one(what: str, path: str, keypoints: int) -> None:
    """The case itself: what it imports is not counted as time."""
    import rethink  # noqa: F401
    from rethink.checks.annotations import problems
    from rethink.checks.problems import Use
    from rethink.datasets import annotations

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    if what == 'json.load':
        with open(path) as file:
            json.load(file)
    elif what != 'nothing':
        found = annotations.read(path, progress=False)
        list(problems(found, Use(keypoints=keypoints or None)))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f'{what:12} {time.perf_counter() - start:6.2f} s, {sum(os.times()[:4]) - cpu:6.2f} s of CPU; '
        f'{own:6.0f} MB, {own - before:6.0f} of them for it; '
        f'largest other process {child:5.0f} MB'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=118_287)
    parser.add_argument('--objects', type=int, default=860_001)
    parser.add_argument('--points', type=int, default=22, help='of a polygon')
    parser.add_argument('--keypoints', type=int, default=0, help='of each object')
    parser.add_argument('--json-load', action='store_true', help='also json.load of the whole file')
    parser.add_argument('--one', help=argparse.SUPPRESS)
    parser.add_argument('--path', help='keep the file here, or take it from here')
    args = parser.parse_args()
    if args.one:
        one(args.one, args.path, args.keypoints)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(args.path or f'{folder}/annotations.json')
        if not path.exists():
            write(path, args.images, args.objects, args.points, args.keypoints)
            # As of a data set: of a file that was written just before, the size and the time tell nothing yet.
            os.utime(path, (time.time() - 60,) * 2)
        print(f'{path.stat().st_size / 1e6:.0f} MB, {args.images:,} images, {args.objects:,} objects')
        cases = ['nothing', 'first', 'again'] + ['json.load'] * args.json_load
        for what in cases:
            measure(what, path, Path(folder) / 'cache', args.keypoints)
        for what in ('first', 'again'):
            tool(what, path, Path(folder) / 'cache of the tool')


if __name__ == '__main__':
    main()
