"""The command lines of the tools: what each argument is called and means, wherever it is taken, and how they end.

An argument that several tools take is in :data:`SHARED`, once, with its help; docs/tools.md lists them. A tool's
docstring is its ``--help``: the first paragraph says what it does, indented lines are examples, which
tests/test_arguments.py parses. Importing this imports neither PyTorch nor MMEngine.
"""

import argparse
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from . import trust
from .configs.overrides import Overrides
from .datasets.cores import cores
from .reuse import INSTALLED, PREFIX, tool

# What a shell gives for SIGPIPE, by which a program without Python ends there.
CLOSED_PIPE = 141

_TOOL = re.compile(r'\b(?:python|bash) tools/(\S+\.(?:py|sh))')

FORMATS = ('table', 'markdown', 'json', 'html')


# --- types -----------------------------------------------------------------------------------------------------------


def number(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'is {text}, and is to be 1 or more')
    return int(text)


def out_file(text: str) -> Path:
    """A file that can be written; its folder is made when it is."""
    if os.path.isdir(text) or text.endswith(os.sep):
        raise argparse.ArgumentTypeError(f'{text} is a folder; name a file')
    return _below_a_folder(Path(text))


# What --help says of it.
PICTURE = ', a picture: .png, .svg or .pdf, and of a name without one of these a PNG and an SVG'


def picture(text: str) -> Path:
    """A picture that can be written, as :func:`rethink.analysis.pictures.save` takes it."""
    path = out_file(text)
    if path.suffix.lower() in ('.jpg', '.jpeg', '.gif', '.tif', '.tiff', '.bmp', '.webp'):
        raise argparse.ArgumentTypeError(f'{text} is no .png, .svg or .pdf; name one of these')
    return path


def out_dir(text: str) -> Path:
    """A folder that is there or can be made."""
    if os.path.exists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f'{text} is no folder; name one, or a name that is not taken')
    return _below_a_folder(Path(text))


def _below_a_folder(path: Path) -> Path:
    there = next(one for one in [*path.absolute().parents] if one.exists())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f'{path} cannot be written, since {there} is no folder; name another')
    return path


# --- what several tools take -----------------------------------------------------------------------------------------

# Name -> arguments of add_argument.
SHARED: dict[str, dict] = {
    '--amp': dict(action='store_true', help='mixed precision (on a CPU: bfloat16)'),
    '--cfg-options': dict(
        nargs='+',
        action=Overrides,
        metavar='KEY=VALUE',
        help='override entries of the config, as in train_dataloader.batch_size=4 or '
        'model.backbone.out_indices="[2,3]"',
    ),
    '--data-root': dict(type=Path, metavar='DIR', help='folder of the data set (default: that of the config)'),
    '--dry-run': dict(action='store_true', help='print the commands and start nothing'),
    '--format': dict(choices=FORMATS, default='table', help='form of what is printed'),
    '--gpus': dict(type=number, metavar='N', help='GPUs of a training, or processes where there are none'),
    '--launcher': dict(
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what starts the processes; set by the scripts',
    ),
    '--out': dict(type=out_file, metavar='FILE', help='file to write'),
    '--out-dir': dict(type=out_dir, metavar='DIR', help='folder to write to'),
    '--seed': dict(type=int, default=0, metavar='N', help='seed of all that is drawn at random'),
    '--seeds': dict(nargs='+', type=int, default=[0], metavar='N', help='seeds, each a training of its own'),
    '--side-by-side': dict(type=number, metavar='N', help='trainings at a time'),
    '--work-dir': dict(metavar='DIR', help='folder of logs and checkpoints (default: work_dirs/<name of the config>)'),
    '--work-dirs': dict(
        type=Path, default=Path('work_dirs'), metavar='DIR', help='folder that holds the work directories of trainings'
    ),
    '--workers': dict(type=number, default=cores(), metavar='N', help='processes that read and decode'),
}


def add(parser: argparse.ArgumentParser, *flags: str, note: str = '', **more) -> None:
    """Give a tool shared arguments, in this order; ``--trust`` is one of them.

    Args:
        note: what is particular to the tool, behind the help that all have.
        more: in place of the entries of :data:`SHARED`.
    """
    for flag in flags:
        if flag == '--trust':
            trust.add_argument(parser)
            continue
        known = {**SHARED[flag], **more}
        parser.add_argument(flag, **{**known, 'help': SHARED[flag]['help'] + note})


def add_raw_options(parser: argparse.ArgumentParser) -> None:
    """``--cfg-options`` of a tool that hands them on to its trainings: a list of ``KEY=VALUE``."""
    add(parser, '--cfg-options', action='extend', default=[])


class _Former(argparse.Action):
    """An argument under the name that it had."""

    def __init__(self, *names, now: str, **more) -> None:
        super().__init__(*names, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **more)
        self.now = now

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        print(f'note: {option_string} is called {self.now} now.', file=sys.stderr)
        setattr(namespace, self.dest, values if self.nargs != 0 else self.const)


def formerly(parser: argparse.ArgumentParser, old: str, now: str, dest: str, **more) -> None:
    """Take what was documented under another name as well, without listing it, and say what it is called now."""
    parser.add_argument(old, action=_Former, now=now, dest=dest, **more)


# --- help and errors -------------------------------------------------------------------------------------------------


class _Help(argparse.HelpFormatter):
    """Examples as they are written, and defaults where there are any."""

    def _fill_text(self, text, width, indent):
        if text.startswith('example'):
            return text
        return super()._fill_text(text, width, indent)

    def _get_help_string(self, action):
        text, value = action.help or '', action.default
        if '(default' in text or action.nargs == 0 or value in (None, argparse.SUPPRESS, '') or value == []:
            return text
        several = isinstance(value, list | tuple)
        shown = ' '.join(
            f'{one:.3g}' if isinstance(one, float) else str(one) for one in (value if several else [value])
        )
        return f'{text} (default: {shown})'.strip().replace('%', '%%')


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that is told by a docstring, and whose errors are a sentence as all others of the tools.

    Args:
        doc: the docstring of the tool.
    """

    def __init__(self, doc: str = '', **options) -> None:
        self.examples = examples(doc)
        if INSTALLED:  # as it can be typed where neither tools/ nor configs/ is in the folder that one is in
            here = [_TOOL.sub(lambda found: tool(found[1]), one) for one in self.examples]
            self.examples = [one.replace(' configs/', f' {PREFIX}') for one in here]
        if self.examples:
            title = 'example:' if len(self.examples) == 1 else 'examples:'
            options['epilog'] = '\n'.join([title, *(textwrap.indent(one, '  ') for one in self.examples)])
        options = dict(description=doc.split('\n\n')[0], formatter_class=_Help) | options
        if INSTALLED and sys.argv[0].endswith('.py'):
            options.setdefault('prog', tool(os.path.basename(sys.argv[0])))
        super().__init__(**options)

    def error(self, message: str) -> None:
        message = re.sub(r'^argument (\S+): ', r'\1 ' if ': is ' in message else r'\1: ', message).rstrip('.')
        self.exit(2, f'error: {message}. {self.prog} --help has the arguments and an example.\n')


def examples(doc: str) -> list[str]:
    """The indented lines of a docstring: commands, with their continued lines."""
    found: list[str] = []
    going_on = False
    for line in doc.splitlines():
        if line.startswith('    ') and line.strip():
            if going_on:
                found[-1] += f'\n{line[4:]}'
            else:
                found.append(line[4:])
        going_on = line.endswith('\\') and line.startswith('    ')
    return found


# --- the end ---------------------------------------------------------------------------------------------------------


def written(*paths: str | os.PathLike) -> None:
    """The last line of a tool that has written something; on stderr, so that what it prints can be piped."""
    print('Written: ' + ', '.join(map(str, paths)), file=sys.stderr)


class _Output(io.TextIOWrapper):
    """stdout, whose reader may be gone (``| head``): then the program ends, and nothing is said."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._end()

    def writelines(self, lines) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._end()

    def _end(self) -> None:
        # What is still to be written goes nowhere; otherwise Python would try again when it ends, and complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        raise SystemExit(CLOSED_PIPE)


def run(main: Callable[[], object]) -> None:
    """Call what a tool does; a reader of its output that stops reading ends it quietly, with exit code 141."""
    if sys.stdout is not None and sys.stdout is sys.__stdout__:
        old = sys.stdout
        sys.stdout = _Output(
            old.buffer, old.encoding, old.errors, line_buffering=old.line_buffering, write_through=old.write_through
        )
    try:
        main()
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()
