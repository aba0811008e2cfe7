"""Training steps of several detectors that take turns in one process: what the benchmarks of steps share."""

import argparse
import copy
import statistics
import time

import torch


def add_arguments(parser: argparse.ArgumentParser, size: tuple[int, int], repeats: int) -> None:
    """``--size --images --repeats --device --amp``, with these defaults."""
    parser.add_argument('--size', type=int, nargs=2, default=size, metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--images', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=repeats)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--amp', action='store_true', help='mixed precision (GPU)')


class Turns:
    """Seconds and memory of the steps.

    Args:
        cases: name -> model and optim_wrapper.
        inputs: a batch as of the data loader, the same for all.
        args: those of :func:`add_arguments`.

    Attributes:
        seconds: name -> of each turn but the first, which warms up: on a GPU by the clock, on a CPU of all threads of
            the process, which other work on the machine disturbs less.
        memory: name -> peak of the memory allocated on a GPU, GiB.
    """

    def __init__(self, cases: dict[str, tuple], inputs: dict, args: argparse.Namespace) -> None:
        self.args, self.cuda = args, args.device != 'cpu'
        clock = time.perf_counter if self.cuda else time.process_time
        self.seconds, self.memory = {name: [] for name in cases}, {}
        for _ in range(args.repeats + 1):
            for name, (model, optim_wrapper) in cases.items():
                data = copy.deepcopy(inputs)
                if self.cuda:
                    torch.cuda.reset_peak_memory_stats()
                    torch.cuda.synchronize()
                start = clock()
                loss = model.train_step(data, optim_wrapper)['loss'].item()  # waits for the GPU
                self.seconds[name].append(clock() - start)
                if self.cuda:
                    self.memory[name] = torch.cuda.max_memory_allocated() / 2**30
                assert loss == loss, f'the loss of {name} is not a number'
        for times in self.seconds.values():
            del times[0]

    def setting(self) -> str:
        """What was measured on what, in a line."""
        device = torch.cuda.get_device_name() if self.cuda else f'CPU, {torch.get_num_threads()} threads'
        precision = 'AMP' if self.args.amp else 'float32'
        height, width = self.args.size
        return f'torch {torch.__version__}, {device}, {precision}, {self.args.images} x {height} x {width}'

    def median(self, name: str) -> float:
        """Seconds of a step."""
        return statistics.median(self.seconds[name])

    def ratios(self, name: str, other: str) -> list[float]:
        """Of each turn the seconds of one to those of the other."""
        return [one / two for one, two in zip(self.seconds[name], self.seconds[other], strict=True)]
