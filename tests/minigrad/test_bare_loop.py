"""The loop of ten lines at the head of tape.py computes what `Walk` computes."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import minigrad as mg
from minigrad import tape
from minigrad.tape import Leaf

pytestmark = pytest.mark.gradient


def loop_of_the_head():
    """The indented block of the docstring that begins with `waiting = `, as code."""
    head = tape.__doc__
    start = head.index("    waiting = ")
    end = head.index("\n\n", start)
    return textwrap.dedent(head[start:end])


@dataclass(eq=False)
class PlainNode:
    """A node as the loop reads it: all parents need a gradient, vjp gives a list."""

    order: int
    parents: list
    vjp: Callable


def as_plain(place, made):
    """The graph behind a place, in plain nodes. `made` holds those made already."""
    if isinstance(place, Leaf):
        return place
    if place not in made:
        recorded_vjp, parents = place.vjp, place.parents
        kept = [i for i, parent in enumerate(parents) if parent is not None]

        def vjp(g):
            gradients = recorded_vjp(g)
            gradients = gradients if isinstance(gradients, tuple) else (gradients,)
            return [gradients[i] for i in kept]

        plain_parents = [as_plain(parents[i], made) for i in kept]
        made[place] = PlainNode(place.order, plain_parents, vjp)
    return made[place]


def run_loop(output):
    """Run the loop from a tensor with one element: the leaves get their gradients."""
    names = {"np": np, "Leaf": Leaf, "output_node": as_plain(output._place, {})}
    exec(loop_of_the_head(), names)


def diamond(x, w):
    y = mg.tanh(x * 2.0)
    return (y * mg.exp(y) + y @ w).sum()


FUNCTIONS = {
    "one product": lambda x, w: (x * w).sum(),
    "a tensor twice": lambda x, w: (x - x * x).sum() + w.sum(),
    "a diamond": diamond,
    "a constant": lambda x, w: (x * np.eye(3) + 1.0).mean() * w[0, 0],
    "layers": lambda x, w: mg.layer_norm(mg.linear(x, w, w[0]), w[1], w[2]).max(),
    "a loss": lambda x, w: mg.cross_entropy(x @ w, [0, 2, 1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_loop_gives_the_gradients_of_the_engine(name):
    arrays = np.random.default_rng(0).standard_normal((2, 3, 3))
    first = [mg.tensor(array.copy(), requires_grad=True) for array in arrays]
    second = [mg.tensor(array.copy(), requires_grad=True) for array in arrays]
    FUNCTIONS[name](*first).backward()
    run_loop(FUNCTIONS[name](*second))
    for engine, loop in zip(first, second):
        assert np.allclose(loop.grad, engine.grad, rtol=1e-14, atol=1e-15)


def test_it_is_a_loop_of_about_ten_lines():
    assert 8 <= len(loop_of_the_head().splitlines()) <= 12
