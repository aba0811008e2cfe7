"""Which entries of a config are looked up, and which are variables of its files alone."""

import re
from importlib.util import find_spec
from pathlib import Path


def _of_runner() -> set[str]:
    """What MMEngine's Runner is built from, by its text: it is not imported, and PyTorch with it."""
    text = (Path(find_spec('mmengine').origin).parent / 'runner' / 'runner.py').read_text(encoding='utf-8')
    start = text.index('    def from_cfg(')
    return set(re.findall(r"cfg(?:\.get\(|\[)'(\w+)'", text[start : text.index('\n    def ', start)]))


# What a training or a test takes from a config: what the Runner is built from, and what it, MMDetection's tools and
# ours look up beside that.
READ = frozenset(_of_runner()) | {
    *('runner_type', 'strategy', 'model_wrapper_cfg', 'find_unused_parameters', 'sync_bn', 'compile'),
    *('custom_imports', 'activation_checkpointing', 'efficient_conv_bn_eval', 'tta_model', 'tta_pipeline'),
    *('auto_scaled', 'switch_from', 'allow_class_subset', 'protocol', 'learning_rates', 'unlabelled_set'),
}  # fmt: skip


def is_read(name: str) -> bool:
    """Whether a training or a test looks a top-level name of a config up, and does not leave it to the files."""
    return name in READ
