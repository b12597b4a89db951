"""Blocks, memory that is used again, and threads: fast ways that must change no number."""

import copy
import threading

import numpy as np
import pytest

import minigrad as mg
from clip_np import CLIP, training_step
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from minigrad import memory as rows
from minigrad.optim import AdamW
from minigrad.tensor import is_recording

FLOAT = np.dtype(np.float32)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 5), (1000, 512), (3, 4, 5), (5,), (4, 0)])
def test_blocks_cover_every_row_once(shape):
    array = np.zeros(shape)
    covered = [row for block in rows.blocks(array) for row in range(len(array))[block]]
    assert covered == list(range(len(array)))


def test_a_block_fits_the_cache():
    array = np.zeros((10_000, 512), np.float32)
    sizes = [array[block].size for block in rows.blocks(array)]
    assert len(sizes) > 35 and max(sizes) <= rows.BLOCK


def test_an_array_comes_back_when_nobody_holds_it_or_a_view():
    arena = rows.Arena()
    first = arena.empty((100, 100), FLOAT)
    view = first.T[3:]
    second = arena.empty((100, 100), FLOAT)
    assert not np.shares_memory(first, second)
    del first
    assert not np.shares_memory(view, arena.empty((100, 100), FLOAT))
    del view
    addresses = {arena.empty((100, 100), FLOAT).ctypes.data for _ in range(5)}
    assert len(addresses) == 1


def test_a_buffer_serves_shapes_that_are_nearly_as_large():
    arena = rows.Arena()
    address = arena.empty((100, 100), FLOAT).ctypes.data
    assert arena.empty((99, 101), FLOAT).ctypes.data == address
    assert arena.empty((50, 100), FLOAT).ctypes.data != address
    assert arena.empty((100, 100), np.dtype(np.float64)).ctypes.data != address


def test_what_a_buffer_wastes_is_at_most_an_eighth():
    arena = rows.Arena()
    for count in (5000, 70_001, 100_003, 131_073):
        arena.empty((count,), FLOAT)
    waste = [
        room / count for (room, _), count in zip(arena.buffers, (5000, 70_001, 100_003, 131_073))
    ]
    assert max(waste) <= 1.125


def test_sweep_lets_go_of_what_was_not_used_since_the_last():
    arena = rows.Arena()
    arena.empty((100, 100), FLOAT)
    arena.empty((200, 100), FLOAT)
    arena.sweep()
    arena.empty((100, 100), FLOAT)
    arena.sweep()
    assert [len(held) for held in arena.buffers.values()] == [1, 0]


def test_a_copied_model_has_memory_of_its_own():
    arena = rows.Arena()
    arena.empty((100, 100), FLOAT)
    assert copy.deepcopy(arena).buffers == {}


def test_operations_take_their_arrays_from_the_arena_in_use():
    x = np.ones((100, 100), np.float32)
    arena = rows.Arena()
    with rows.using(arena):
        first = mg.linear(x, x).data.ctypes.data
        assert mg.linear(x, x).data.ctypes.data == first
    assert len(arena.buffers) == 1


@pytest.mark.parametrize("block", [1 << 6, 1 << 10, 1 << 30])
def test_blocks_of_any_size_give_the_same_numbers(monkeypatch, block):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 14, 24))
    w, b = rng.standard_normal((2, 24))
    cases = [
        (mg.quick_gelu, [x]),
        (mg.gelu, [x]),
        (lambda x: mg.gelu(x, "tanh"), [x]),
        (mg.layer_norm, [x, w, b]),
        (lambda x: mg.self_attention(x, 2, "causal"), [x]),
    ]

    def results():
        for fn, arrays in cases:
            inputs = [mg.tensor(each, requires_grad=True) for each in arrays]
            output = fn(*inputs)
            yield [
                output.data,
                *mg.grad(output, inputs, np.cos(np.arange(output.size)).reshape(output.shape)),
            ]

    usual = list(results())
    monkeypatch.setattr(rows, "BLOCK", block)
    for found, expected in zip(results(), usual):
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_training_in_used_memory_is_training_in_new_memory(monkeypatch):
    """Batches and captions of changing sizes, two workers: the same weights to the last bit."""
    config = CLIPConfig(16, VisionConfig(16, 4, 64, 2, 4), TextConfig(40, 12, 64, 2, 4))

    def train():
        rng = np.random.default_rng(1)
        model = CLIP(config, np.random.default_rng(0))
        optimizer = AdamW(model.parameters(), lr=1e-2)
        for step in range(8):
            count = int(rng.integers(5, 40))
            images = rng.standard_normal((count, 3, 16, 16), dtype=np.float32)
            tokens = rng.integers(1, 38, (count, 12))
            ends = rng.integers(2, 12, count)
            tokens[np.arange(count), ends] = 39
            shards = 1 if step % 2 else 4
            training_step(model, optimizer, images, tokens, shards=shards, workers=2)
        return model.state_dict()

    again = train()
    monkeypatch.setattr(
        rows.Arena, "empty", lambda self, shape, dtype: np.full(shape, np.nan, dtype)
    )
    new = train()
    assert all(np.array_equal(again[name], new[name]) for name in new)


def test_parallel_map_keeps_the_order_and_the_context():
    seen = set()

    def work(item):
        seen.add(threading.current_thread().name)
        return item * 2, is_recording()

    with mg.no_grad():
        assert rows.parallel_map(work, range(5), 2) == [(2 * i, False) for i in range(5)]
    assert 1 <= len(seen) <= 2
    assert rows.parallel_map(work, [], 3) == []


def test_an_error_in_a_thread_reaches_the_caller():
    def broken(item):
        if item == 1:
            raise KeyError("in a thread")

    with pytest.raises(KeyError, match="in a thread"):
        rows.parallel_map(broken, range(4), 2)
