"""How can a program know its own derivative? The idea of minigrad, on one page.

    python examples/tape_in_60_lines.py

Let L be the number at the end of a computation, for instance a loss. The gradient of a
value v is dL/dv: how far L moves when v moves. The chain rule leads from the gradient
of a result to the gradients of its inputs:

    y = a b         dL/da = dL/dy b,      dL/db = dL/dy a

So each operation makes a function that does just this, with g for dL/dy. Its usual name
is `vjp`, for vector-Jacobian product. It keeps arrays only, never a Value.

`backward` begins at L, where the gradient is 1, and hands gradients from results to
inputs. A value that was used twice gets two parts, which are added. They must be
complete before the value hands on its own. All results that use a value are younger
than it is, so the youngest value of those that wait is always complete.

Both inputs of `+` and `*` must have one shape here. NumPy would stretch the smaller
one; steps/step_03_broadcasting.py shows what its gradient needs then. The example
prints the gradient of sum(x x * x), where x x is a product of matrices:

    [[22. 35.]
     [40. 67.]]
"""

import itertools

import numpy as np

clock = itertools.count()


class Value:
    """An array that knows which values it was computed from, and how.

    vjp(g) gives a tuple with one gradient for each of `inputs`.
    """

    def __init__(self, data, inputs=(), vjp=None):
        self.data = np.asarray(data, dtype=np.float64)
        self.inputs, self.vjp = inputs, vjp
        self.number = next(clock)  # the larger, the younger
        self.grad = np.zeros_like(self.data)

    def __add__(self, other):
        assert self.data.shape == other.data.shape
        return Value(self.data + other.data, (self, other), lambda g: (g, g))

    def __mul__(self, other):
        a, b = self.data, other.data
        assert a.shape == b.shape
        return Value(a * b, (self, other), lambda g: (g * b, g * a))

    def __matmul__(self, other):
        a, b = self.data, other.data
        return Value(a @ b, (self, other), lambda g: (g @ b.T, a.T @ g))

    def tanh(self):
        y = np.tanh(self.data)
        return Value(y, (self,), lambda g: (g * (1.0 - y * y),))

    def sum(self):
        x = self.data
        return Value(x.sum(), (self,), lambda g: (np.full_like(x, g),))

    def backward(self):
        """Add d(self)/d(value) to `.grad` of each value that self depends on."""
        waiting = {self: np.ones_like(self.data)}  # d(self)/d(value), as far as known
        while waiting:
            youngest = max(waiting, key=lambda value: value.number)
            gradient = waiting.pop(youngest)
            youngest.grad = youngest.grad + gradient
            gradients = youngest.vjp(gradient) if youngest.vjp else ()
            for value, part in zip(youngest.inputs, gradients):
                waiting[value] = waiting.get(value, 0.0) + part


if __name__ == "__main__":
    x = Value([[1.0, 2.0], [3.0, 4.0]])
    (x @ x * x).sum().backward()
    print(x.grad)
