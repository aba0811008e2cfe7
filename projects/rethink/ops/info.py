"""What mmcv reports about its compilation."""

import torch

__all__ = ['get_compiler_version', 'get_compiling_cuda_version']


def get_compiler_version() -> str:
    """What stands in for the compiler's version in environment reports."""
    import torchvision

    return f'not compiled: torchvision {torchvision.__version__} through rethink.ops'


def get_compiling_cuda_version() -> str:
    """What stands in for the CUDA version in environment reports."""
    return f'not compiled: CUDA {torch.version.cuda} of torch' if torch.version.cuda else 'not compiled: no CUDA'
