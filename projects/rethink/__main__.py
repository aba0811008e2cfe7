"""``python -m rethink COMMAND ARGUMENTS``, as the console script ``rethink``."""

from .commands import main

if __name__ == '__main__':
    main()
