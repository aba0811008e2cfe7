"""A line on a terminal that says how far a training is: time left, loss, AP and the best so far."""

import logging
import operator
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop
from tqdm import tqdm

# Seconds between two drawings, at least.
_PAUSE = 0.5
# Columns of the bar, at least; where a terminal does not say how wide it is, it is taken for so many columns.
_BAR, _COLUMNS = 5, 80


def on_terminal() -> bool:
    """Whether there is one to draw on: of the first process, and not a file, a pipe or an editor's shell."""
    return is_main_process() and sys.stderr.isatty() and os.environ.get('TERM') != 'dumb'


def _columns(file) -> int:
    """That can be used: the last one stays free, as some terminals begin the next line behind it."""
    try:
        columns = os.get_terminal_size(file.fileno()).columns
    except OSError:
        columns = 0
    return (columns or _COLUMNS) - 1


class _Line(tqdm):
    """A bar, and behind it as much as the terminal has room for."""

    # tqdm's thread, which would be there when data workers are forked, is for bars that are not told of the time.
    monitor_interval = 0
    visible = False

    def hide(self) -> None:
        """Take it away until it is drawn again."""
        if self.visible:
            self.clear()
            self.visible = False

    def again(self) -> None:
        """Draw it as it was."""
        self.refresh()
        self.visible = True

    def show(self, done: int, long: list[str], short: list[str]) -> None:
        """Draw it.

        Args:
            long: parts, the most important first. The first two are there if need be without a bar, as in ``short``.
            short: the same in fewer characters.
        """
        self.ncols, self.n = _columns(self.fp), done
        for bar, parts in (('|{bar}| ', long), ('|{bar}| ', short), ('', short)):
            room = self.ncols - len('100% ') - bool(bar) * (_BAR + len('|| '))
            fit = next((n for n in range(len(parts), 1, -1) if len(', '.join(parts[:n])) <= room), 0)
            if fit:
                break
        text = ', '.join(parts[: fit or 1])
        self.bar_format = '{percentage:3.0f}% ' + bar + text.replace('{', '{{').replace('}', '}}')
        self.again()


class _Above:
    """``stdout`` or ``stderr`` for what others write, such as warnings: not behind the line but in its place."""

    def __init__(self, stream, line: _Line) -> None:
        self._stream, self._line, self._own = stream, line, os.getpid()

    def write(self, text: str) -> int:
        if os.getpid() == self._own:  # and not a data worker, which was forked with the line
            self._line.hide()
        return self._stream.write(text)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


class ProgressLineHook(Hook):
    """Draw the line on stderr; log lines of the runner scroll above it, and log files are as without it.

    :class:`~rethink.engine.runner.SteadyRunner` gives it to a training whose stderr is a terminal. It looks and does
    not touch: neither the model nor a number that is drawn at random. The time left is by the mean of all that has
    passed in this process, evaluations included.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.line: _Line | None = None
        self.metric = ''
        self.last = self.best = None
        self.best_at = ''
        self.evaluating = False
        self._due = 0.0

    def before_train(self, runner) -> None:
        self._recall(runner)
        self.line = _Line(
            total=runner.max_iters,
            initial=runner.iter,
            file=sys.stderr,
            ascii='utf' not in (sys.stderr.encoding or '').lower(),
            leave=False,
            ncols=_columns(sys.stderr),
            bar_format='{percentage:3.0f}% |{bar}|',
        )
        self._start, self._began = runner.iter, time.monotonic()
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_Above(one, self.line) for one in self._streams)
        self._handlers = [one for one in runner.logger.handlers if type(one) is logging.StreamHandler]
        own = os.getpid()
        for handler in self._handlers:

            def above(record: logging.LogRecord, emit=handler.emit) -> None:
                if os.getpid() != own:
                    return emit(record)
                self.line.hide()
                emit(record)
                self.line.again()

            handler.emit = above
        self._draw(runner, runner.iter)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if time.monotonic() >= self._due:
            self._draw(runner, runner.iter + 1)

    def before_val_epoch(self, runner) -> None:
        self.evaluating = True
        self._draw(runner, runner.iter)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if time.monotonic() >= self._due:
            self._draw(runner, runner.iter)

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.evaluating = False
        if not self.metric:
            self.metric, self.better = _watched(runner, list(metrics or {}))
        value = (metrics or {}).get(self.metric)
        if isinstance(value, int | float):
            self.last = value
            if self.best is None or self.better(value, self.best):
                self.best = value
                by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
                self.best_at = f'epoch {runner.epoch}' if by_epoch else str(runner.iter)
        self._draw(runner, runner.iter)

    def close(self) -> None:
        """Take the line away, however the training ends."""
        if self.line is not None:
            self.line.hide()
            self.line.close()
            sys.stdout, sys.stderr = self._streams
            for handler in self._handlers:
                del handler.emit
            self.line = None

    def _recall(self, runner) -> None:
        """Of a resumed training, the best of its log; where that was, the log of MMEngine does not say."""
        found = [name.removeprefix('val/') for name in runner.message_hub.log_scalars if name.startswith('val/')]
        self.metric, self.better = _watched(runner, sorted(found))
        history = runner.message_hub.get_scalar(f'val/{self.metric}').data[0].tolist() if found else []
        for value in history:
            if self.best is None or self.better(value, self.best):
                self.best, self.best_at = value, ''
            self.last = value

    def _draw(self, runner, done: int) -> None:
        if self.line is None:
            return
        left, at, short = '-:--:-- left', '', ''
        if done > self._start:
            seconds = (time.monotonic() - self._began) / (done - self._start) * (runner.max_iters - done)
            left = f'{timedelta(seconds=round(seconds))} left'
        if self.last is not None:
            name, scale = _called(self.metric)
            short = f'{name} {scale * self.last:.1f}, best {scale * self.best:.1f}'
            at = f' at {self.best_at}' if self.best_at else ''
        more = ['evaluating'] if self.evaluating else []
        more.append(f'{done}/{runner.max_iters}')
        scalars = runner.message_hub.log_scalars
        if 'train/loss' in scalars:
            more.append(f'loss {scalars["train/loss"].mean(runner.log_processor.window_size):.3f}')
        if 'train/lr' in scalars:
            more.append(f'lr {scalars["train/lr"].current():.2g}')
        self.line.show(done, *([left, *filter(None, [one]), *more] for one in (short + at, short)))
        self._due = time.monotonic() + _PAUSE


def _watched(runner, metrics: list[str]) -> tuple[str, Callable[[float, float], bool]]:
    """The metric by which the best checkpoint is kept, and what is better; else AP, of boxes first; else the first.

    '' where there is none.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and hook.save_best]
    for hook in hooks:
        for key in hook.key_indicators:
            if key in metrics:
                return key, hook.is_better_than[key]
    for end in ('bbox_mAP', 'bbox_AP', 'mAP', 'AP', ''):
        for key in metrics:
            if key.endswith(end):
                return key, operator.gt
    return '', operator.gt


def _called(metric: str) -> tuple[str, float]:
    """Short name, and by what a value is multiplied: AP is logged as a fraction and shown in points of 100."""
    name = metric.rpartition('/')[2]
    return ('AP', 100.0) if name.endswith('AP') else (name, 1.0)
