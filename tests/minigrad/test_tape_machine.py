"""The tape as a state machine: `.grad` is right after any calls in any order.

Beside every tensor the machine carries a dual number, made by plain NumPy: the tensor's
value and its derivative with respect to every element of every leaf (forward mode, no
tape). A backward pass must add <c, derivative> to the leaves' gradients. The machine
also knows which operations an earlier walk has freed, and so when a walk must be
refused.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import minigrad as mg

pytestmark = [
    pytest.mark.gradient,
    pytest.mark.filterwarnings("error::RuntimeWarning", "error::numpy.exceptions.ComplexWarning"),
]

LEAVES = ((3,), (3, 1), ())
SIZES = [int(np.prod(shape)) for shape in LEAVES]
STARTS = np.cumsum([0, *SIZES])
picks = st.integers(0, 40)
seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Dual:
    """A tensor, what it should be, and where it comes from."""

    tensor: mg.Tensor
    value: np.ndarray
    slopes: np.ndarray  # (elements of all leaves, *shape)
    reached: frozenset[int] = frozenset()  # the leaves that it depends on
    nodes: frozenset[int] = frozenset()  # the operations behind it, numbered as they are made
    needs: bool = False

    def spread(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Value and slopes, broadcast."""
        narrow = (1,) * (len(shape) - self.value.ndim) + self.value.shape
        slopes = self.slopes.reshape(-1, *narrow)  # (elements, *shape with 1s)
        return np.broadcast_to(self.value, shape), np.broadcast_to(slopes, (len(slopes), *shape))


class TapeMachine(RuleBasedStateMachine):
    @initialize(seed=seeds)
    def start(self, seed):
        rng = np.random.default_rng(seed)
        self.data = [np.asarray(rng.uniform(-0.9, 0.9, shape)) for shape in LEAVES]
        self.leaves = [mg.tensor(a.copy(), requires_grad=True) for a in self.data]
        self.grads = [None] * len(LEAVES)
        self.made, self.freed = 0, set()
        self.forget_graphs()

    def forget_graphs(self):
        """The pool of tensors to compute with: the leaves, and a constant."""
        self.pool = []
        for i, (leaf, data) in enumerate(zip(self.leaves, self.data)):
            slopes = np.eye(STARTS[-1])[:, STARTS[i] : STARTS[i + 1]].reshape(-1, *data.shape)
            self.pool.append(Dual(leaf, data.copy(), slopes, frozenset({i}), needs=True))
        constant = np.array([[0.5], [-0.2], [0.3]])
        self.pool.append(Dual(mg.tensor(constant), constant, np.zeros((STARTS[-1], 3, 1))))

    def two(self, i, j):
        a, b = self.pool[i % len(self.pool)], self.pool[j % len(self.pool)]
        shape = np.broadcast_shapes(a.value.shape, b.value.shape)
        return a, b, a.spread(shape), b.spread(shape)

    def add(self, tensor, value, slopes, *parents, always=False):
        """Put a result into the pool; always: on the tape even if no parent is."""
        needs = always or any(parent.needs for parent in parents)
        assert tensor.requires_grad == needs
        assert np.allclose(tensor.data, value, rtol=1e-13, atol=1e-15)
        reached, nodes = frozenset(), frozenset()
        if needs:
            self.made += 1
            reached = reached.union(*(parent.reached for parent in parents))
            nodes = frozenset({self.made}).union(*(parent.nodes for parent in parents))
        self.pool.append(Dual(tensor, value, slopes, reached, nodes, needs))

    # --- operations ---

    @rule(i=picks, j=picks)
    def average(self, i, j):
        a, b, (x, dx), (y, dy) = self.two(i, j)
        self.add((a.tensor + b.tensor) * 0.5, (x + y) * 0.5, (dx + dy) * 0.5, a, b)

    @rule(i=picks, j=picks)
    def bent_difference(self, i, j):
        a, b, (x, dx), (y, dy) = self.two(i, j)
        t = np.tanh(x - y)
        self.add(mg.tanh(a.tensor - b.tensor), t, (1 - t * t) * (dx - dy), a, b)

    @rule(i=picks, j=picks)
    def product(self, i, j):
        a, b, (x, dx), (y, dy) = self.two(i, j)
        self.add(a.tensor * b.tensor, x * y, dx * y + x * dy, a, b)

    @rule(i=picks)
    def view(self, i):
        a = self.pool[i % len(self.pool)]
        x, dx = a.spread((3, 3))
        turned = mg.broadcast_to(a.tensor, (3, 3))[::-1].T
        self.add(turned, x[::-1].T, dx[:, ::-1].swapaxes(1, 2), a)

    @rule(i=picks, j=picks, k=picks)
    def checkpointed(self, i, j, k):
        """Two inputs, and a tensor that the function reaches by itself."""
        a, b, (x, _), _ = self.two(i, j)
        c = self.pool[k % len(self.pool)]
        shape = np.broadcast_shapes(x.shape, c.value.shape)
        z, dz = c.spread(shape)
        (x, dx), (y, dy) = a.spread(shape), b.spread(shape)
        t = np.tanh(x * y)
        tensor = mg.checkpoint(lambda p, q: mg.tanh(p * q) + c.tensor, a.tensor, b.tensor)
        self.add(tensor, t + z, (1 - t * t) * (dx * y + x * dy) + dz, a, b, c, always=True)

    @rule(i=picks)
    def detach(self, i):
        a = self.pool[i % len(self.pool)]
        cut = replace(a, tensor=a.tensor.detach(), slopes=a.slopes * 0, reached=frozenset())
        self.pool.append(replace(cut, nodes=frozenset(), needs=False))

    @rule(i=picks, j=picks)
    def unrecorded(self, i, j):
        a, b, (x, dx), (y, _) = self.two(i, j)
        with mg.no_grad():
            tensor = a.tensor * b.tensor
        self.add(tensor, x * y, dx * 0)

    # --- walks ---

    def walk(self, entry, retain, walk):
        """Run a walk. It must be refused if a part of the graph is gone. Did it run?"""
        gone = entry.nodes & self.freed
        if gone:
            with pytest.raises(RuntimeError, match="retain_graph"):
                walk()
            if not retain:  # what is younger than the gap was walked, and freed, before it
                self.freed |= {node for node in entry.nodes if node > max(gone)}
            return False
        walk()
        if not retain:
            self.freed |= entry.nodes
        return True

    def expected(self, entry, cotangent):
        """<cotangent, slopes>, leaf by leaf."""
        flat = entry.slopes.reshape(len(entry.slopes), cotangent.size) @ cotangent.reshape(-1)
        return [part.reshape(shape) for part, shape in zip(np.split(flat, STARTS[1:-1]), LEAVES)]

    @rule(i=picks, seed=seeds, retain=st.booleans())
    def backward(self, i, seed, retain):
        entry = self.pool[i % len(self.pool)]
        cotangent = np.asarray(np.random.default_rng(seed).standard_normal(entry.value.shape))
        if not entry.needs:
            with pytest.raises(RuntimeError, match="nothing that requires a gradient"):
                entry.tensor.backward(cotangent)
        elif self.walk(entry, retain, lambda: entry.tensor.backward(cotangent, retain)):
            parts = self.expected(entry, cotangent)
            for leaf in entry.reached:
                before = self.grads[leaf]
                self.grads[leaf] = parts[leaf] if before is None else before + parts[leaf]

    @rule(i=picks, seed=seeds, retain=st.booleans())
    def grad(self, i, seed, retain):
        entry = self.pool[i % len(self.pool)]
        cotangent = np.asarray(np.random.default_rng(seed).standard_normal(entry.value.shape))
        found = []
        if self.walk(
            entry,
            retain,
            lambda: found.extend(mg.grad(entry.tensor, self.leaves, cotangent, retain)),
        ):
            for gradient, wanted in zip(found, self.expected(entry, cotangent), strict=True):
                assert np.allclose(gradient, wanted, rtol=1e-11, atol=1e-13)
                gradient += 1.0  # it is the caller's own: nothing else may move

    # --- what a training loop does to leaves ---

    @rule(i=picks)
    def zero_grad(self, i):
        self.leaves[i % len(LEAVES)].zero_grad()
        self.grads[i % len(LEAVES)] = None

    @rule(i=picks, factor=st.floats(0.1, 2.0))
    def scale_gradient_in_place(self, i, factor):
        i %= len(LEAVES)
        if self.grads[i] is not None:
            self.leaves[i].grad *= factor
            self.grads[i] = self.grads[i] * factor

    @rule(i=picks, seed=seeds)
    def set_gradient(self, i, seed):
        i %= len(LEAVES)
        value = np.asarray(np.random.default_rng(seed).standard_normal(LEAVES[i]))
        self.leaves[i].grad = value
        self.grads[i] = value.copy()

    @rule(i=picks, seed=seeds)
    def update_leaf_in_place(self, i, seed):
        """A step of training. Graphs made before hold the old leaf, and are dropped."""
        i %= len(LEAVES)
        new = np.asarray(np.random.default_rng(seed).uniform(-0.9, 0.9, LEAVES[i]))
        self.leaves[i].data[...] = new
        self.data[i] = new.copy()
        self.forget_graphs()

    @invariant()
    def gradients_are_right(self):
        for leaf, data, wanted in zip(self.leaves, self.data, self.grads):
            assert np.array_equal(leaf.data, data)
            assert (leaf.grad is None) == (wanted is None)
            if wanted is not None:
                assert leaf.grad.shape == leaf.shape and leaf.grad.dtype == leaf.dtype
                assert np.allclose(leaf.grad, wanted, rtol=1e-11, atol=1e-12)

    @invariant()
    def gradients_share_no_memory(self):
        held = [leaf.grad for leaf in self.leaves if leaf.grad is not None]
        held += [leaf.data for leaf in self.leaves]
        for i, one in enumerate(held):
            assert not any(np.shares_memory(one, other) for other in held[:i])


def test_any_order_of_calls_gives_the_right_gradients(count_example):
    machines = []

    def machine():
        count_example()
        machines.append(TapeMachine())
        return machines[-1]

    run_state_machine_as_test(machine, settings=settings(stateful_step_count=25))
    assert sum(len(machine.leaves) for machine in machines) > 0  # something was checked
