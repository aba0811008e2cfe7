"""What the errors of the ops advise."""

HOW_TO_COMPILE = (
    'install compiled mmcv for it with `pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps '
    'onedl-mmcv`, beside torch and with a compiler (docs/ops.md)'
)
