"""How long mean and deviation of an image folder take beside reading and decoding alone.

    python benchmarks/image_statistics.py [--images 200] [--size 720 1280] [--repeats 5] [--workers 2]

Generated JPEGs (quality 90) on the disk of the temporary folder. In each repeat every case runs once, one after the
other in the same process, and what is printed is the median of the ratios to reading and decoding in the same repeat;
the first repeat warms up, so that the files are in memory.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from rethink.datasets.image_statistics import decode, find_images, scan


def write_images(folder: Path, number: int, height: int, width: int) -> None:
    """Smooth pictures with some grain, about as large in bytes as photographs."""
    random = np.random.default_rng(0)
    for index in range(number):
        coarse = random.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3)).astype(np.float32)
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        picture += random.normal(0, 4, (height, width, 1))
        picture = picture.clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f'{index:05d}.jpg'), picture, (cv2.IMWRITE_JPEG_QUALITY, 90))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--size', type=int, nargs=2, default=(720, 1280), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--workers', type=int, default=2, help='processes of the last case')
    args = parser.parse_args()
    cv2.setNumThreads(1)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_images(folder, args.images, *args.size)
        names = find_images(folder)
        paths = [folder / name for name in names]
        measure = partial(scan, folder, names, progress=False)
        cases = {
            'read': lambda: [path.read_bytes() for path in paths],
            'read and decode': lambda: [decode(path) is None for path in paths],
            'scan, 1 process': measure,
            f'scan, {args.workers} processes': partial(measure, workers=args.workers),
        }
        seconds = {case: [] for case in cases}
        for _ in range(args.repeats + 1):
            for case, function in cases.items():
                start = time.perf_counter()
                function()
                seconds[case].append(time.perf_counter() - start)
        size = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    print(f'{args.images} JPEGs of {args.size[0]} x {args.size[1]}, {size:.0f} kB each; OpenCV {cv2.__version__}')
    for case, times in seconds.items():
        base = seconds['read and decode']
        ratio = statistics.median(one / other for one, other in zip(times[1:], base[1:], strict=True))
        rate = args.images / statistics.median(times[1:])
        print(f'{case:20}{statistics.median(times[1:]):8.3f} s {rate:8.0f} images/s {ratio:6.2f} x')


if __name__ == '__main__':
    main()
