"""What a difference of two configs can be about."""

GROUPS = ('init', 'freeze', 'norm', 'model', 'data', 'schedule', 'runtime')
# Work directories and names, which do not count as differences.
NAMES = 'names'
