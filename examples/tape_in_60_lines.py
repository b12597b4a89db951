"""How can a program know its own derivative? The idea of minigrad, on one page.

    python examples/tape_in_60_lines.py

Each operation makes a function `vjp` that turns the gradient of its result into the
gradients of its inputs. It keeps arrays only, never a Value. `backward` visits the
youngest value first, so a result hands its gradient on before its inputs are visited.
"""

import itertools

import numpy as np

clock = itertools.count()


class Value:
    """An array that knows which values it was computed from, and how."""

    def __init__(self, data, inputs=(), vjp=None):
        self.data = np.asarray(data, dtype=np.float64)
        self.inputs, self.vjp = inputs, vjp
        self.number = next(clock)
        self.grad = np.zeros_like(self.data)

    def __add__(self, other):
        return Value(self.data + other.data, (self, other), lambda g: (g, g))

    def __mul__(self, other):
        a, b = self.data, other.data
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
        waiting = {self: np.ones_like(self.data)}
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
