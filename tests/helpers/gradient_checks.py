"""What an operation promises about its value and gradient: a function for each promise.

Every check takes a row of the table of operations and a sample of inputs, fixed or
drawn, and raises AssertionError where the promise is broken. Cotangents are always
random: with ones, a wrong transpose or a flipped axis can go unseen, and the gradient
of a softmax is 0.
"""

import zlib
from collections.abc import Callable, Sequence
from unittest import mock

import numpy as np
import pytest
from drawing import LAYOUTS, Sample
from op_table import Kink, Row

import minigrad as mg
from minigrad import memory
from minigrad.tape import Leaf, Node, Output

COMPLEX_STEP = 1e-30
CENTRAL_STEP = 6e-6

Arrays = Sequence[np.ndarray]


# --- the machinery ---


def outputs_of(function: Callable, inputs: Sequence, options: dict) -> tuple:
    result = function(*inputs, **options)
    return result if isinstance(result, tuple) else (result,)


def evaluate(row: Row, arrays: Arrays, options: dict) -> list[np.ndarray]:
    """The outputs' arrays for constant inputs."""
    return [each.data for each in outputs_of(row.function, map(mg.Tensor, arrays), options)]


def random_cotangents(outputs: Sequence[mg.Tensor], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = [np.asarray(rng.standard_normal(each.shape), each.dtype) for each in outputs]
    for each in found:
        each.flags.writeable = False  # a vjp that wrote into its g would raise
    return found


def pull_back(outputs: Sequence[mg.Tensor], wanted: Sequence[mg.Tensor], cotangents: Arrays):
    """The gradients of <cotangents, outputs> with respect to the tensors `wanted`."""
    if len(outputs) == 1:
        return mg.grad(outputs[0], wanted, cotangents[0])
    weighted = [mg.sum(each * c) for each, c in zip(outputs, cotangents)]
    return mg.grad(mg.sum(mg.stack(weighted)), wanted)


def gradients_of(
    function: Callable, sample: Sample, cotangents: Arrays = (), needs: Sequence[bool] = ()
) -> tuple:
    """(gradients, outputs, cotangents) of a function of the sample's inputs."""
    needs = needs or [True] * len(sample.inputs)
    leaves = [mg.Tensor(a, requires_grad=need) for a, need in zip(sample.inputs, needs)]
    outputs = outputs_of(function, leaves, sample.options)
    seed = zlib.crc32(str([a.shape for a in sample.inputs]).encode())
    cotangents = cotangents or random_cotangents(outputs, seed)
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    return pull_back(outputs, wanted, cotangents), outputs, cotangents


def inner(firsts: Arrays, seconds: Arrays) -> float:
    return float(sum((a * b).sum() for a, b in zip(firsts, seconds)))


def numeric_slope(
    row: Row, arrays: Arrays, directions: Arrays, options: dict, cotangents: Arrays
) -> float:
    """d/dt <cotangents, f(arrays + t directions)> at t = 0, without any calculus."""
    if row.analytic:
        moved = [a + 1j * COMPLEX_STEP * d for a, d in zip(arrays, directions)]
        values = evaluate(row, moved, options)
        assert all(each.dtype == np.complex128 for each in values)
        return inner([each.imag / COMPLEX_STEP for each in values], cotangents)
    ahead = evaluate(row, [a + CENTRAL_STEP * d for a, d in zip(arrays, directions)], options)
    behind = evaluate(row, [a - CENTRAL_STEP * d for a, d in zip(arrays, directions)], options)
    return inner([(p - m) / (2 * CENTRAL_STEP) for p, m in zip(ahead, behind)], cotangents)


def assert_agree(actual: np.ndarray, expected: np.ndarray, tolerance: float, size: float = 0.0):
    """Equal to `tolerance`, relative to the largest element or a hundredth of `size`.

    If large terms cancel, what is left carries the rounding of the terms.
    """
    assert actual.shape == expected.shape
    if expected.size:
        floor = 1e-7 if actual.dtype == np.float32 else 1e-15
        scale = max(np.abs(expected).max(), 0.01 * size)
        assert np.abs(actual - expected).max() <= tolerance * scale + floor


def largest(arrays: Arrays) -> float:
    return max((float(np.abs(a).max(initial=0.0)) for a in arrays), default=0.0)


# --- values ---


def check_value(row: Row, sample: Sample) -> None:
    """The value is that of plain NumPy, in float64 and in float32."""
    reference = row.reference(*sample.inputs, **sample.options)
    reference = reference if isinstance(reference, (tuple, list)) else [reference]
    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 1e-5)):
        inputs = [mg.Tensor(a.astype(dtype)) for a in sample.inputs]
        outputs = outputs_of(row.function, inputs, sample.options)
        assert len(outputs) == len(reference)
        for output, expected in zip(outputs, reference):
            assert isinstance(output.data, np.ndarray)  # 0-d results are arrays too
            assert output.dtype == dtype
            assert_agree(output.data, np.asarray(expected), tolerance, largest(sample.inputs))


def check_complex_value(row: Row, sample: Sample) -> None:
    """An analytic operation computes the same with complex numbers; others refuse."""
    complex_inputs = [a.astype(np.complex128) for a in sample.inputs]
    if not row.analytic:
        with pytest.raises(TypeError, match="complex128"):
            evaluate(row, complex_inputs, sample.options)
        return
    real = evaluate(row, sample.inputs, sample.options)
    for value, expected in zip(evaluate(row, complex_inputs, sample.options), real):
        assert value.dtype == np.complex128
        assert not value.imag.any()
        assert_agree(value.real, expected, 1e-13, largest(sample.inputs))


# --- gradients ---


def check_gradient(row: Row, sample: Sample, seed: int = 0) -> None:
    """One random direction and one random cotangent: every wrong element shows."""
    gradients, _, cotangents = gradients_of(row.function, sample)
    rng = np.random.default_rng(seed)
    directions = [np.asarray(rng.standard_normal(a.shape)) for a in sample.inputs]
    numeric = numeric_slope(row, sample.inputs, directions, sample.options, cotangents)
    size = sum(np.abs(g * d).sum() for g, d in zip(gradients, directions))
    size += 0.01 * largest(cotangents) * largest(directions)
    tolerance = 1e-11 if row.analytic else 1e-7
    assert abs(inner(gradients, directions) - numeric) <= tolerance * size + 1e-15


def check_shape_and_dtype(row: Row, sample: Sample) -> None:
    """A gradient has the shape, the dtype and the module of its input.

    In float32 it agrees with that of float64.
    """
    double, outputs, cotangents = gradients_of(row.function, sample)
    single = Sample(tuple(a.astype(np.float32) for a in sample.inputs), sample.options)
    narrow = [c.astype(np.float32) for c in cotangents]
    singles, single_outputs, _ = gradients_of(row.function, single, narrow)
    for inputs, gradients, results in (
        (sample.inputs, double, outputs),
        (single.inputs, singles, single_outputs),
    ):
        assert all(each.dtype == inputs[0].dtype for each in results)
        for array, gradient in zip(inputs, gradients, strict=True):
            assert isinstance(gradient, np.ndarray)
            assert gradient.shape == array.shape
            assert gradient.dtype == array.dtype
    for wide, thin in zip(double, singles):
        assert_agree(thin, wide, 2e-4, largest(cotangents))


def check_repetition(row: Row, sample: Sample) -> None:
    """Inputs and cotangents stay as they are, and a second run gives the same bits.

    Inputs may be read-only.
    """
    arrays = tuple(a.copy() for a in sample.inputs)
    first, outputs, cotangents = gradients_of(row.function, Sample(arrays, sample.options))
    for array, before in zip(arrays, sample.inputs):
        assert np.array_equal(array, before)
        array.flags.writeable = False
    kept = [c.copy() for c in cotangents]
    second, again, _ = gradients_of(row.function, Sample(arrays, sample.options), cotangents)
    for before, after in zip(outputs, again):
        assert np.array_equal(before.numpy(), after.numpy())
    for before, after in zip([*first, *kept], [*second, *cotangents]):
        assert np.array_equal(before, after)


def node_of(place: Leaf | Node | Output) -> Leaf | Node:
    return place.node if isinstance(place, Output) else place


def check_vjp_writes_nothing(row: Row, sample: Sample) -> None:
    """The vjp changes neither the gradient that it gets, nor inputs, nor results."""
    leaves = [mg.Tensor(a.copy(), requires_grad=True) for a in sample.inputs]
    outputs = outputs_of(row.function, leaves, sample.options)
    node = node_of(outputs[0]._place)
    if isinstance(node, Leaf):
        return  # dropout with p=0 is no operation
    arrays = [*(c.copy() for c in random_cotangents(outputs, 5)),
              *(each.data for each in (*outputs, *leaves))]  # fmt: skip
    before = [a.copy() for a in arrays]
    node.vjp(*arrays[: len(outputs)])
    for was, now in zip(before, arrays):
        assert np.array_equal(was, now)


def check_gradients_own_their_memory(row: Row, sample: Sample) -> None:
    """No gradient shares memory with anything else, and a second walk makes new ones.

    Anything else: an input, a result, a cotangent, another gradient.
    """
    leaves = [mg.Tensor(a.copy(), requires_grad=True) for a in sample.inputs]
    outputs = outputs_of(row.function, leaves, sample.options)
    if len(outputs) > 1:
        outputs = (mg.concatenate([each.reshape(-1) for each in outputs]),)
    cotangents = random_cotangents(outputs, 6)
    first, second = (mg.grad(outputs[0], leaves, cotangents[0], True) for _ in range(2))
    others = [*cotangents, *(each.data for each in (*leaves, *outputs)), *second]
    for i, gradient in enumerate(first):
        for other in (*others, *first[:i]):
            assert not np.shares_memory(gradient, other)


def check_each_input_alone(row: Row, sample: Sample) -> None:
    """No gradient depends on whether the other inputs need one."""
    together, _, cotangents = gradients_of(row.function, sample)
    for i, gradient in enumerate(together):
        needs = [j == i for j in range(len(sample.inputs))]
        (alone,), _, _ = gradients_of(row.function, sample, cotangents, needs)
        assert np.array_equal(alone, gradient)


def check_memory_layout(row: Row, sample: Sample) -> None:
    """Transposed, reversed, strided or read-only inputs and cotangents are all one."""
    plain, outputs, cotangents = gradients_of(row.function, sample)
    for layout in LAYOUTS:
        moved = Sample(tuple(layout(a) for a in sample.inputs), sample.options)
        odd = [layout(c) for c in cotangents]
        gradients, results, _ = gradients_of(row.function, moved, odd)
        for actual, expected in zip(gradients, plain):
            assert_agree(actual, expected, 1e-13, largest(cotangents))
        for actual, expected in zip(results, outputs):
            assert_agree(actual.data, expected.data, 1e-13, largest(sample.inputs))


def check_small_blocks(row: Row, sample: Sample) -> None:
    """Values and gradients do not depend on where arrays are cut into blocks."""
    gradients, outputs, cotangents = gradients_of(row.function, sample)
    with mock.patch.object(memory, "BLOCK", 3):
        others, results, _ = gradients_of(row.function, sample, cotangents)
    for actual, expected in zip(others, gradients):
        assert_agree(actual, expected, 1e-13, largest(cotangents))
    for actual, expected in zip(results, outputs):
        assert_agree(actual.data, expected.data, 1e-13, largest(sample.inputs))


def check_memory_used_again(row: Row, sample: Sample) -> None:
    """Memory from an arena changes nothing; what is held is not handed out again."""
    gradients, outputs, cotangents = gradients_of(row.function, sample)
    signs = (1.0, -1.0, 1.0)
    with memory.using(memory.Arena()), mock.patch.object(memory, "SMALL", 0):
        runs = [gradients_of(row.function, sample, [s * c for c in cotangents]) for s in signs]
    for sign, (others, results, _) in zip(signs, runs):
        for actual, expected in zip(others, gradients):
            assert_agree(actual, sign * expected, 1e-13, largest(cotangents))
        for actual, expected in zip(results, outputs):
            assert np.array_equal(actual.data, expected.data)


def check_adjoint(row: Row, sample: Sample) -> None:
    """The vjp of a linear operation is its transpose: <g, A x> = <A^T g, x>."""
    if row.linear == "no":
        return
    gradients, _, cotangents = gradients_of(row.function, sample)
    rng = np.random.default_rng(11)
    tried = [np.asarray(rng.standard_normal(a.shape)) for a in sample.inputs]
    if row.linear == "jointly":
        sides = [(tried, inner(gradients, tried))]
    else:
        sides = []
        for i, x in enumerate(tried):
            arrays = [x if j == i else a for j, a in enumerate(sample.inputs)]
            sides.append((arrays, inner([gradients[i]], [x])))
    for arrays, pulled_back in sides:
        outputs = evaluate(row, arrays, sample.options)
        size = sum(np.abs(o * c).sum() for o, c in zip(outputs, cotangents))
        assert abs(inner(outputs, cotangents) - pulled_back) <= 1e-13 * size + 1e-15


def check_composed(row: Row, sample: Sample) -> None:
    """A fused operation equals its composed form, values and gradients.

    The tape finds the gradients of the composed form without the vjp under test.
    """
    if row.composed is None or any(a.size == 0 for a in sample.inputs):
        return
    gradients, outputs, cotangents = gradients_of(row.function, sample)
    expected, results, _ = gradients_of(row.composed, sample, cotangents)
    for actual, wanted in zip(outputs, results, strict=True):
        assert_agree(actual.data, wanted.data, 1e-12, largest(sample.inputs))
    for actual, wanted in zip(gradients, expected, strict=True):
        assert_agree(actual, wanted, 1e-11, largest(cotangents))


def held_by(function: Callable):
    """All that a closure reaches through nested functions, lists, tuples and dicts."""
    waiting, seen = [function], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, (list, tuple, set)):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
        for cell in getattr(value, "__closure__", None) or ():
            try:
                waiting.append(cell.cell_contents)
            except ValueError:  # a variable that was never assigned
                continue


def check_tape_holds_no_tensor(row: Row, sample: Sample) -> None:
    """A vjp holds arrays only, so that a graph goes with its last tensor."""
    leaves = [mg.Tensor(a, requires_grad=True) for a in sample.inputs]
    outputs = outputs_of(row.function, leaves, sample.options)
    waiting = [node_of(output._place) for output in outputs]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Leaf):
            continue
        for value in held_by(node.vjp):
            assert not isinstance(value, (mg.Tensor, Node, Leaf)), f"{node.name} holds {value!r}"
        waiting += [node_of(place) for place in node.parents if place is not None]


CHECKS = (
    *(check_gradient, check_value, check_complex_value, check_shape_and_dtype, check_adjoint),
    *(check_composed, check_repetition, check_vjp_writes_nothing, check_each_input_alone),
    *(check_memory_layout, check_gradients_own_their_memory, check_tape_holds_no_tensor),
    *(check_small_blocks, check_memory_used_again),
)


def check_kink(row: Row, kink: Kink) -> tuple[np.ndarray, np.ndarray]:
    """At a kink the gradient is what the convention makes of the slopes on both sides.

    Returns these slopes, to the left and to the right.
    """
    sample = kink.sample
    gradients, _, cotangents = gradients_of(row.function, sample)
    first, *others = sample.inputs
    here = evaluate(row, sample.inputs, sample.options)
    left, right = np.zeros(first.shape), np.zeros(first.shape)
    for index in np.ndindex(first.shape):
        for side, step in ((left, -1e-7), (right, 1e-7)):
            moved = first.copy()
            moved[index] += step
            there = evaluate(row, [moved, *others], sample.options)
            change = [(after - before) / step for after, before in zip(there, here)]
            side[index] = inner(change, cotangents)
    assert_agree(gradients[0], kink.rule(left, right), 1e-6)
    if len(sample.inputs) == 2:  # two inputs that tie share what arrives
        assert np.array_equal(gradients[0] + gradients[1], cotangents[0])
    return left, right
