"""``python -m torch.distributed.run``, whose own tracebacks would bury what the processes had to say.

For launcher.sh. Exit codes: those of rethink.engine.endings; of a process that failed otherwise, its own.
"""

import logging
import os
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

# Wrong input and faults (rethink.engine.endings), which a process told in one sentence, and a reader of its output
# that has gone (rethink.arguments), of which there is nothing to tell.
TOLD = (2, 3, 141)


def end(message: str, code: int) -> None:
    print(message, file=sys.stderr, flush=True)
    # Not sys.exit: a second Ctrl-C while Python shuts down would show a traceback.
    os._exit(code)


if __name__ == '__main__':
    logging.disable(logging.ERROR)
    if os.environ.get('NNODES', '1') != '1':
        from rethink.engine.processes import check_master
        from rethink.errors import ConfigError

        try:
            check_master(os.environ.get('MASTER_ADDR', '127.0.0.1'))
        except ConfigError as error:
            end(f'error: {error}', 2)
    try:
        main()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        if code in TOLD:
            os._exit(code)
        how = f'was killed by signal {-code}' if code < 0 else f'failed with exit code {code}'
        likely = ', most likely by the system because memory ran out' if code == -9 else ''
        end(
            f'error: process {rank} {how}{likely}; the others were stopped.',
            code if code > 0 else 128 - code,
        )
    except (SignalException, KeyboardInterrupt) as stop:
        number = getattr(stop, 'sigval', 2)
        go_on = (
            '; a training goes on from its last checkpoint with --resume' if 'train.py' in ' '.join(sys.argv) else ''
        )
        end(f'\nstopped{go_on}.', 128 + int(number))
    except Exception as error:
        if os.environ.get('RETHINK_TRACEBACK') or not any(
            words in str(error) for words in ('EADDRINUSE', 'in use', 'timed out', 'timeout', 'Timeout')
        ):
            raise
        port = os.environ.get('PORT', '29500')
        if 'EADDRINUSE' in str(error) or 'in use' in str(error):
            end(
                f'error: the port {port}, on which the processes were to meet, is taken by another process; set PORT '
                'to a free one, or leave it away on one machine, where a free one is found.',
                2,
            )
        first = ' '.join(str(error).split())[:200]
        end(f'error: the machines did not meet at {os.environ.get("MASTER_ADDR")}:{port} ({first}).', 3)
