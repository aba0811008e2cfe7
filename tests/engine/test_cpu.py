"""Memory that a training on a CPU keeps."""

import subprocess
import sys

from rethink.engine import cpu


def test_freed_memory_is_kept_for_the_next_step():
    code = f"""
import importlib.util, resource, torch
spec = importlib.util.spec_from_file_location('cpu', {cpu.__file__!r})
cpu = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cpu)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(2**25).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = [faults() for _ in range(3)]
cpu.keep_memory()
after = [faults() for _ in range(16)]  # until a block is free that is aligned
print(min(before), min(after))
"""
    before, after = map(int, subprocess.check_output([sys.executable, '-c', code], text=True).split()[-2:])
    assert before > 2**15 // 2  # pages of 4 KB, where they are
    assert after < 100
