"""Blocks, and memory that is used again: fast ways that must change no number."""

import contextvars
import sys
import threading

import numpy as np
import pytest

import minigrad as mg
from clip_np import CLIP, training_step
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from minigrad import memory, tape
from minigrad.optim import AdamW

FLOAT = np.dtype(np.float32)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 5), (1000, 512), (3, 4, 5), (5,), (4, 0)])
def test_blocks_cover_every_row_once(shape):
    array = np.zeros(shape)
    covered = [row for block in memory.blocks(array) for row in range(len(array))[block]]
    assert covered == list(range(len(array)))


def test_a_block_fits_the_cache():
    array = np.zeros((10_000, 512), np.float32)
    sizes = [array[block].size for block in memory.blocks(array)]
    assert len(sizes) > 35 and max(sizes) <= memory.BLOCK


def test_an_array_comes_back_when_nobody_holds_it_or_a_view():
    arena = memory.Arena()
    first = arena.empty((100, 100), FLOAT)
    view = first.T[3:]
    second = arena.empty((100, 100), FLOAT)
    assert not np.shares_memory(first, second)
    del first
    assert not np.shares_memory(view, arena.empty((100, 100), FLOAT))
    del view
    addresses = {arena.empty((100, 100), FLOAT).ctypes.data for _ in range(5)}
    assert len(addresses) == 1


@pytest.mark.parametrize("dtype", ["f", "d", "F", "?"])
def test_arrays_begin_on_a_cache_line(dtype):
    arena = memory.Arena()
    arrays = [arena.empty((size,), np.dtype(dtype)) for size in range(5000, 5050)]
    assert {array.ctypes.data % memory.CACHE_LINE for array in arrays} == {0}
    for number, array in enumerate(arrays):
        array[...] = number % 2
    assert [array[-1] for array in arrays] == [number % 2 for number in range(50)]


def test_a_held_array_is_not_handed_out_whatever_python_counts(monkeypatch):
    """Without the lock, the number of references is not exact."""
    arena = memory.Arena()
    held = arena.empty((100, 100), FLOAT)
    monkeypatch.setattr(sys, "getrefcount", lambda thing: 1)
    assert not np.shares_memory(held, arena.empty((100, 100), FLOAT))
    monkeypatch.setattr(sys, "getrefcount", lambda thing: 99)
    address = held.ctypes.data
    del held
    assert arena.empty((100, 100), FLOAT).ctypes.data == address


def test_views_of_views_hold_the_memory():
    arena = memory.Arena()
    view = arena.empty((100, 100), FLOAT)[2:].T.reshape(4, -1)[:, None].astype(FLOAT, copy=False)
    assert type(view) is np.ndarray
    for _ in range(3):
        assert not np.shares_memory(view, arena.empty((100, 100), FLOAT))


def test_a_view_outlives_the_arena_of_its_memory():
    arena = memory.Arena()
    view = arena.empty((100, 100), FLOAT)[2:].T[5:]
    view[...] = 7.0
    del arena
    others = [np.zeros((100, 100), np.float32) for _ in range(20)]  # they would get it
    assert (view == 7.0).all() and not any(other.any() for other in others)


def test_a_thread_that_inherits_the_setting_does_not_get_the_arena():
    """So threads begin on Python 3.14 without the lock, and in asyncio.to_thread."""
    arena, outcome = memory.Arena(), []

    def work():
        outcome.append(memory.empty((100, 100), np.zeros(1)))
        with memory.using(memory.Arena()) as inner:
            outcome.append(memory.empty((100, 100), np.zeros(1)))
        outcome.append(inner)

    with memory.using(arena):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        thread.join()
        assert arena.buffers == {}
        assert memory.empty((100, 100), np.zeros(1)).base is not None
    without, with_inner, inner = outcome
    assert without.base is None
    assert np.shares_memory(with_inner, inner.buffers[10240, "d"][0].memory)


def test_a_walk_knows_arrays_of_an_arena_that_share_memory():
    """Two halves of one array, which a vjp may return: no walk may write into them."""
    arena = memory.Arena()
    array = arena.empty((100, 100), FLOAT)
    first, second = array[:50], array[50:]
    assert not tape._is_owned(first, [], (first, second))
    assert not tape._is_owned(array, [first[1:]], (array,))
    assert tape._is_owned(first, [], (first, arena.empty((100, 100), FLOAT)))


def test_a_buffer_serves_shapes_that_are_nearly_as_large():
    arena = memory.Arena()
    address = arena.empty((100, 100), FLOAT).ctypes.data
    assert arena.empty((99, 101), FLOAT).ctypes.data == address
    assert arena.empty((50, 100), FLOAT).ctypes.data != address
    assert arena.empty((100, 100), np.dtype(np.float64)).ctypes.data != address


def test_what_a_buffer_wastes_is_at_most_an_eighth():
    arena = memory.Arena()
    for count in (5000, 70_001, 100_003, 131_073):
        arena.empty((count,), FLOAT)
    waste = [
        room / count for (room, _), count in zip(arena.buffers, (5000, 70_001, 100_003, 131_073))
    ]
    assert max(waste) <= 1.125


def test_sizes_rise_in_eight_steps_for_each_doubling():
    for low in (8, 1024, 1 << 20):
        sizes = {memory.round_up(count) for count in range(low, 2 * low, max(low // 64, 1))}
        assert len(sizes - {low, 2 * low}) == 7
    assert [memory.round_up(count) for count in (0, 1, 7)] == [0, 1, 7]


def test_sweep_lets_go_of_what_was_not_used_since_the_last():
    arena = memory.Arena()
    arena.empty((100, 100), FLOAT)
    arena.empty((200, 100), FLOAT)
    arena.sweep()
    arena.empty((100, 100), FLOAT)
    arena.sweep()
    assert [len(held) for held in arena.buffers.values()] == [1, 0]


def test_operations_take_their_arrays_from_the_arena_in_use():
    x = np.ones((100, 100), np.float32)
    arena = memory.Arena()
    with memory.using(arena):
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
    monkeypatch.setattr(memory, "BLOCK", block)
    for found, expected in zip(results(), usual):
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_training_in_used_memory_is_training_in_new_memory(monkeypatch):
    """Batches of changing sizes, two workers: the same weights to the last bit."""
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
        memory.Arena, "empty", lambda self, shape, dtype: np.full(shape, np.nan, dtype)
    )
    new = train()
    assert all(np.array_equal(again[name], new[name]) for name in new)
