"""Random programs: graphs in which tensors are used again and again.

A program is a list of (step, first, second, third): which step of STEPS to take, on
which of the tensors made so far. The numbers wrap around, so any integers make a
program, and a shorter list is a simpler one. Every tensor has a shape of 3s and 1s, so
that each fits every other.

`detach` and `no_grad` cut the tape, but not what the numbers depend on. So that a
numeric derivative sees the same cut, the values behind a cut are kept from a first run
(`Cuts`) and stand there as constants ever after.
"""

from collections.abc import Callable, Sequence

import numpy as np

import minigrad as mg

Program = Sequence[tuple[int, int, int, int]]

LEAVES = ((3, 3), (3,), (3, 1), ())
COMPLEX_STEP = 1e-30
CENTRAL_STEP = 6e-6


class Cuts:
    """The values at which the tape is cut, in the order of a program's cuts."""

    def __init__(self) -> None:
        self.values: list[np.ndarray] = []
        self.passed = 0

    def __call__(self, cut: mg.Tensor) -> mg.Tensor:
        """`cut` the first time. In every later run, the constant that it was then."""
        assert not cut.requires_grad
        self.passed += 1
        if self.passed <= len(self.values):
            return mg.Tensor(self.values[self.passed - 1])
        self.values.append(cut.data.copy())
        return cut


# --- the steps: (a, b, c, cuts) -> a tensor or a tuple of tensors ---------------------


def product(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    """a @ b where both have axes that fit, else a * b; kept small."""
    if a.ndim and b.ndim and a.shape[-1] == b.shape[-2 if b.ndim > 1 else -1]:
        return mg.tanh(a @ b)
    return mg.tanh(a * b)


def five_uses(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    return mg.tanh(a + a * a - mg.sigmoid(a) * a)


def diamond(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    top = a * 0.7
    return mg.tanh(top) * mg.sigmoid(top) + top


def views_of_views(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    """Transposed, reversed, reshaped and repeated: (.., ..) -> (3, 3)."""
    wide = mg.broadcast_to(a, (3, 3))
    return wide.T[::-1].reshape(9)[::-1].reshape(3, 3).swapaxes(0, 1)


def overlapping_views(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    wide = mg.broadcast_to(a, (3, 3))
    return mg.concatenate([wide[:2] * 0.5, wide[1:2]]) - wide[[0, 0, 2]] * wide[1]


def unused_parts(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> tuple:
    """A split with a part that may never be used; a stack of one tensor with itself."""
    first, _, third = mg.split(mg.broadcast_to(a, (3, 3)) * b, 3)
    return mg.tanh(mg.sum(first, axis=0) - third), mg.sum(mg.stack([c, c, c]), axis=0) * 0.3


def two_results(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> tuple:
    return tuple(mg.tanh(each) for each in mg.split(mg.broadcast_to(a - b, (3, 3)), 3, axis=1))


def cut_branch(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    """b counts, what is detached does not, not even where it is b."""
    return cuts(mg.tanh(a).detach()) * b + cuts(b.detach()) * 0.5


def unrecorded_branch(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    with mg.no_grad():
        constant = mg.sigmoid(a * b)
    return cuts(constant) - c


def constant_branch(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    """Operations among tensors that need no gradient, beside one that does."""
    constant = mg.exp(mg.tensor(np.linspace(-1.0, 0.0, 3)) * 2.0)
    return mg.tanh(constant * a + constant)


def checkpointed(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    """Two inputs, and a third tensor that the function reaches by itself."""
    return mg.checkpoint(lambda x, y: mg.tanh(x * y + c) - mg.sigmoid(c) * x, a, b)


def nested_checkpoint(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> tuple:
    """A checkpoint inside a checkpoint. One of its two results may never be used."""

    def outer(x: mg.Tensor, y: mg.Tensor) -> tuple:
        inner = mg.checkpoint(lambda z: mg.tanh(z * x) + c, y)
        return inner * x, mg.sigmoid(inner)

    return mg.checkpoint(outer, a, b)


def reductions(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    wide = mg.broadcast_to(a, (3, 3)) + b
    return mg.softmax(wide) - mg.mean(wide, axis=0) * mg.logsumexp(wide, -1, keepdims=True) * 0.1


def fused(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    """One tensor as several inputs of one operation."""
    wide = mg.broadcast_to(a, (3, 3)) * 1.0
    row = mg.broadcast_to(b, (3, 3))[0]
    return mg.tanh(mg.layer_norm(wide, row, row, 0.5) + mg.attention(wide, wide, wide))


def kinked(a: mg.Tensor, b: mg.Tensor, c: mg.Tensor, cuts: Cuts) -> mg.Tensor:
    """Piecewise, and (almost surely) nowhere near a kink."""
    return mg.maximum(a, b * 0.9 + 0.01) - mg.relu(c) + mg.max(a * a - 0.3) * 0.1


STEPS: tuple[Callable, ...] = (
    lambda a, b, c, cuts: a + b,
    lambda a, b, c, cuts: a - b,
    lambda a, b, c, cuts: mg.tanh(a * b),
    lambda a, b, c, cuts: a - a,
    lambda a, b, c, cuts: mg.tanh(a * a),
    lambda a, b, c, cuts: a / (1.5 + b * b),
    lambda a, b, c, cuts: mg.where(np.eye(3, dtype=bool), a, b),
    lambda a, b, c, cuts: mg.sigmoid(a),
    *(product, five_uses, diamond, views_of_views, overlapping_views, unused_parts, two_results),
    *(cut_branch, unrecorded_branch, constant_branch, checkpointed, nested_checkpoint),
    *(reductions, fused, kinked),
)
# gelu by erf computes with real numbers only, and a central difference may straddle a
# kink.
REAL_STEPS = (*STEPS[:-1], lambda a, b, c, cuts: mg.gelu(a) - mg.erf(b) * c)


def run(program: Program, leaves: Sequence[mg.Tensor], cuts: Cuts, steps: Sequence[Callable]):
    """The program's result, (3, 3): its last tensor and one from its middle."""
    cuts.passed = 0
    made = [*leaves, mg.Tensor(np.linspace(0.2, 0.9, 3))]
    for which, *operands in program:
        result = steps[which % len(steps)](*(made[i % len(made)] for i in operands), cuts)
        made.extend(result if isinstance(result, tuple) else (result,))
    return mg.broadcast_to(made[-1], (3, 3)) + made[len(made) // 2]


def check_program(program: Program, seed: int, steps: Sequence[Callable] = STEPS) -> None:
    """Check the gradients of <c, program> for a random c.

    They are numerically right along a random direction, the same from `grad` and from
    `backward`, and share no memory. The inputs are left alone.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.uniform(-0.9, 0.9, shape)) for shape in LEAVES]
    directions = [np.asarray(rng.standard_normal(shape)) for shape in LEAVES]
    needs = [True, *(rng.random(len(LEAVES) - 1) < 0.8).tolist()]
    cotangent = rng.standard_normal((3, 3))
    cuts = Cuts()

    def leaves() -> list[mg.Tensor]:
        return [mg.Tensor(a.copy(), requires_grad=need) for a, need in zip(arrays, needs)]

    first, given = leaves(), cotangent.copy()
    output = run(program, first, cuts, steps)
    wanted = [leaf for leaf in first if leaf.requires_grad]
    gradients = mg.grad(output, wanted, given)
    numeric = _slope(program, arrays, directions, needs, cuts, steps, cotangent)
    moves = [d for d, need in zip(directions, needs) if need]
    size = 1.0 + sum(np.abs(g * d).sum() for g, d in zip(gradients, moves))
    slope = sum((g * d).sum() for g, d in zip(gradients, moves))
    assert abs(slope - numeric) <= (1e-11 if steps is STEPS else 1e-7) * size

    second = leaves()
    output = run(program, second, cuts, steps)
    if output.requires_grad:
        output.backward(given)
    found = [leaf for leaf in second if leaf.requires_grad]
    for gradient, leaf in zip(gradients, found):
        assert np.array_equal(gradient, np.zeros(leaf.shape) if leaf.grad is None else leaf.grad)
        assert gradient.shape == leaf.shape and gradient.dtype == np.float64
    memory = [given, *(leaf.data for leaf in second), *(leaf.grad for leaf in found)]
    memory = [each for each in memory if each is not None]
    for i, one in enumerate(memory):
        assert not any(np.shares_memory(one, other) for other in memory[:i])
    assert np.array_equal(given, cotangent)
    for array, *copies in zip(arrays, first, second):
        assert all(np.array_equal(array, each.data) for each in copies)


def _slope(
    program: Program,
    arrays: list,
    directions: list,
    needs: list,
    cuts: Cuts,
    steps: Sequence[Callable],
    cotangent: np.ndarray,
) -> float:
    """d/dt <cotangent, program(arrays + t directions)> without any calculus.

    Leaves that need no gradient stay.
    """

    def value(t: complex) -> np.ndarray:
        moved = [a + t * d * need for a, d, need in zip(arrays, directions, needs)]
        with mg.no_grad():
            return run(program, [mg.Tensor(np.asarray(a)) for a in moved], cuts, steps).data

    if steps is STEPS:
        return float((cotangent * value(1j * COMPLEX_STEP).imag).sum() / COMPLEX_STEP)
    change = value(CENTRAL_STEP) - value(-CENTRAL_STEP)
    return float((cotangent * change).sum() / (2 * CENTRAL_STEP))
