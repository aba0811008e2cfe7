"""The version of the package, as MMDetection keeps its own."""

__version__ = '0.1.0'
