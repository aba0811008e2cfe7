"""Detections in pictures and videos, painted and as JSON, in a folder."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import mmcv
import numpy as np
from tqdm import tqdm

from ...errors import ConfigError, describe, say
from ...files import write_atomically
from ...trust.images import file_cut_off
from . import sources
from .inferencer import Inferencer, read_rgb

# cv2 writes these with three channels; what has another ending becomes a PNG.
_WRITES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_FPS = 25  # of a video that does not say


class Look:
    """What is found goes into ``<out>/vis`` (pictures, videos) and ``<out>/preds`` (JSON), and is counted.

    Args:
        threshold: the score from which a prediction is painted and counted; the JSON has all.
        batch: images that go through the model at a time.
        pictures: whether they are written; the same of ``predictions``.
    """

    def __init__(
        self,
        inferencer: Inferencer,
        out: str | os.PathLike,
        threshold: float = 0.3,
        batch: int = 1,
        pictures: bool = True,
        predictions: bool = True,
    ) -> None:
        self.inferencer, self.out = inferencer, Path(out)
        self.threshold, self.batch = threshold, batch
        self.pictures, self.predictions = pictures, predictions
        self.found, self.unread = Counter(), []
        self.images = self.videos = self.frames = 0

    @property
    def folders(self) -> list[Path]:
        """That are written into."""
        return [self.out / 'vis'] * self.pictures + [self.out / 'preds'] * self.predictions

    def at(self, paths: list[str]) -> str:
        """Look at all of these images and videos; a sentence on what was found.

        An image that cannot be read is named in a line and left out.

        Raises:
            ConfigError: none of them can be read.
        """
        names = sources.names(paths)
        images = [path for path in paths if not sources.is_video(path)]
        for batch in _batches(self._loaded(images), self.batch):
            found = self.inferencer.find([sample for _, sample in batch])
            for (path, _), one in zip(batch, found, strict=True):
                self._image(path, names[path], one)
        for path in paths:
            if sources.is_video(path):
                self._video(path, names[path])
        if not self.images + self.videos:
            more = f', and {len(self.unread) - 1} more cannot be read either' if len(self.unread) > 1 else ''
            raise ConfigError(f'{self.unread[0]}; replace it, or name another{more}.')
        return self.summary()

    def summary(self) -> str:
        looked = [f'{self.images} image{"s" * (self.images != 1)}'] if self.images else []
        if self.videos:
            looked.append(f'{self.videos} video{"s" * (self.videos != 1)} of {self.frames} frames')
        total = self.found.total()
        each = ', '.join(f'{name} {number}' for name, number in self.found.most_common(6))
        more = ', …' if len(self.found) > 6 else ''
        return (
            f'{" and ".join(looked)}: {total} object{"s" * (total != 1)} with a score of {self.threshold:g} or more'
            + (f' ({each}{more}).' if total else '.')
            + (f' {len(self.unread)} not read.' if self.unread else '')
        )

    def _loaded(self, images: list[str]) -> Iterator[tuple[str, dict]]:
        for path in tqdm(images, unit=' images', disable=None, leave=False):
            try:
                sample = self.inferencer.image(path)
            # mmcv asserts that there is an image; the guards of rethink.trust name what is none.
            except (ConfigError, AssertionError, OSError, cv2.error) as error:
                self._unread(path, error)
                continue
            yield path, sample

    def _unread(self, path: str, error: Exception) -> None:
        told = isinstance(error, ConfigError) and path in str(error)
        what = str(error).partition(';')[0] if told else f'the image {path} cannot be read ({_why(path, error)})'
        self.unread.append(what)
        say(f'warning: {what}; left out.')

    def _image(self, path: str, name: str, found) -> None:
        self.images += 1
        self._count(found)
        if self.predictions:
            self._write_json(name, self.inferencer.pred2dict(found))
        if self.pictures:
            suffix = Path(path).suffix.lower()
            suffix = suffix if suffix in _WRITES else '.png'
            painted = self.inferencer.draw(read_rgb(path), found, self.threshold)
            file = self.out / 'vis' / (name if name.lower().endswith(suffix) else name + suffix)
            write_atomically(file, cv2.imencode(suffix, mmcv.rgb2bgr(painted))[1].tobytes())

    def _count(self, found) -> None:
        if 'pred_instances' in found:
            instances, classes = found.pred_instances, self.inferencer.model.dataset_meta['classes']
            kept = instances.labels[instances.scores >= self.threshold]
            self.found.update(classes[label] for label in kept.tolist())

    def _write_json(self, name: str, content) -> None:
        if isinstance(content, list):  # a line for each frame
            text = '[\n' + ',\n'.join(map(json.dumps, content)) + '\n]\n'
        else:
            text = json.dumps(content)
        write_atomically(self.out / 'preds' / f'{name}.json', text.encode())

    def _video(self, path: str, name: str) -> None:
        video = mmcv.VideoReader(path)
        if not video.opened or not video.width:
            self._unread(path, ConfigError(f'the video {path} cannot be read by OpenCV'))
            return
        number, records = 0, []
        bar = tqdm(_frames(video), total=video.frame_cnt, unit=' frames', disable=None, leave=False)
        with contextlib.ExitStack() as stack:
            write = stack.enter_context(_writer(self.out / 'vis' / f'{name}.mp4', video)) if self.pictures else None
            for batch in _batches(bar, self.batch):
                found = self.inferencer.find([self.inferencer.pipeline(frame) for frame in batch])
                for frame, one in zip(batch, found, strict=True):
                    number += 1
                    self._count(one)
                    if self.predictions:
                        records.append(self.inferencer.pred2dict(one))
                    if write:
                        painted = self.inferencer.draw(mmcv.bgr2rgb(frame), one, self.threshold)
                        write(mmcv.rgb2bgr(painted))
            if not number:
                raise ConfigError(f'the video {path} has no frame that OpenCV can read; convert it, to H.264 in MP4.')
        self.videos, self.frames = self.videos + 1, self.frames + number
        if self.predictions:
            self._write_json(name, records)


def _why(path: str, error: Exception) -> str:
    with contextlib.suppress(OSError):
        if not os.path.getsize(path):
            return 'it is empty'
        if file_cut_off(path):
            return 'it is cut off'
    if isinstance(error, AssertionError):  # of mmcv, which gives OpenCV's answer
        return 'OpenCV knows no such image'
    return describe(error)


def _frames(video: mmcv.VideoReader) -> Iterator[np.ndarray]:
    """uint8 ``(H, W, 3)`` in BGR, until there is no more; the number in a file's head may be wrong."""
    while (frame := video.read()) is not None:
        yield frame


@contextlib.contextmanager
def _writer(path: Path, video: mmcv.VideoReader):
    """Write frames (BGR) as MP4 beside the path, which it gets when all are written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f'.{path.name}.half.mp4')
    writer = cv2.VideoWriter(
        str(half), cv2.VideoWriter_fourcc(*'mp4v'), video.fps or _FPS, (video.width, video.height)
    )
    try:
        if not writer.isOpened():
            raise OSError(None, 'OpenCV cannot write MP4 there', str(path))
        yield writer.write
        writer.release()
        os.replace(half, path)
    finally:
        writer.release()
        half.unlink(missing_ok=True)


def _batches(items, size: int) -> Iterator[list]:
    batch = []
    for one in items:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
