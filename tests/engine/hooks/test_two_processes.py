"""Two processes (gloo) against one: statistics of BN, BN alone under DDP, MoCo against BN by halves."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from tiny_moco import moco, write_images


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    """What each process found: under (processes, rank)."""
    folder = tmp_path_factory.mktemp('processes')
    write_images(folder / 'images')
    init_default_scope('mmpretrain')
    torch.manual_seed(5)
    base = MODELS.build(moco())
    base.init_weights()
    torch.save(dict(state_dict=base.state_dict()), folder / 'base.pth')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    processes = []
    for world in (1, 2):
        for rank in range(world):
            env = os.environ | dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1')
            if world == 2:
                env |= dict(RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE='2')
                env |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
            command = [sys.executable, str(Path(__file__).with_name('processes.py')), str(folder)]
            processes.append(
                subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            )
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-4000:]
    results = {(world, rank): torch.load(folder / f'{world}-{rank}.pth') for world in (1, 2) for rank in range(world)}
    return results | dict(base=base.state_dict(), folder=folder)


def test_statistics_do_not_depend_on_the_number_of_processes(found):
    one = found[1, 0]['estimate']['after']
    moved = 0
    for rank in range(2):
        two = found[2, rank]['estimate']['after']
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-5, atol=1e-6, msg=key)
            moved += 'running' in key and not torch.equal(value, found[1, 0]['estimate']['before'][key])
    assert moved == 80


def test_both_begin_with_the_base_and_the_same_queue(found):
    one = found[1, 0]['bn only']['before']
    for rank in range(2):
        two = found[2, rank]['bn only']['before']
        for key, value in found['base'].items():
            if key.startswith(('backbone.', 'neck.')):
                of_key = key.replace('backbone.', 'encoder_k.module.0.').replace('neck.', 'encoder_k.module.1.')
                assert torch.equal(two[key], value) and torch.equal(two[of_key], value)
        torch.testing.assert_close(two['queue'], one['queue'], rtol=1e-5, atol=1e-6)
    assert not torch.equal(one['queue'], found['base']['queue'])


def test_bn_alone_in_two_processes(found):
    """Four iterations: a reducer that waited for frozen weights would have failed in the second."""
    first, second = (found[2, rank]['bn only'] for rank in range(2))
    assert set(sum(first['images'][:2], [])).isdisjoint(sum(second['images'][:2], []))
    for key, value in first['after'].items():
        if key.startswith('backbone.'):
            convolution = value.ndim == 4
            moves = not convolution
            assert torch.equal(value, found['base'][key]) != moves, key
            if 'running' not in key:
                # Gradients were averaged: the processes have one model.
                assert torch.equal(value, second['after'][key]), key
        if key.startswith('neck.'):
            assert torch.equal(value, second['after'][key]) and not torch.equal(value, found['base'][key])
    # Each process measures BN of its own images, and takes over the first one's with the checkpoint.
    running = 'backbone.bn1.running_mean'
    assert torch.equal(first['after'][running], second['after'][running])


def test_one_process_exports(found):
    content = torch.load(found['folder'] / 'run2/backbone.pth', weights_only=True)
    assert content['meta']['iterations'] == 4
    for key, value in content['state_dict'].items():
        assert torch.equal(value, found[2, 0]['bn only']['after'][key])


def test_bn_by_halves_in_one_process_is_two_processes(found):
    """Losses, weights, keys and queue after three steps; running statistics are those of the two, averaged."""
    one, two = found[1, 0]['moco'], [found[2, rank]['moco'] for rank in range(2)]
    means = [sum(both) / 2 for both in zip(*(each['losses'] for each in two), strict=True)]
    assert one['losses'] == pytest.approx(means, rel=1e-9)
    for key, value in one['state'].items():
        wanted = [each['state'][key] for each in two]
        if 'running' in key:
            wanted = [(wanted[0] + wanted[1]) / 2]
        for other in wanted:
            torch.testing.assert_close(value, other, rtol=1e-8, atol=1e-9, msg=key)
