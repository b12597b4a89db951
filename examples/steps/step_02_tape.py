"""How can a program take the derivative, while we write only the function?

    python examples/steps/step_02_tape.py

Step 1 went forward, kept every number, and went back one factor at a time. A program
can do that by itself if each operation writes a line on a *tape*: where its result
lies, where its input lies, and the factor between them. To go back, read the tape from
its end. The derivative of y for each number waits in `moves` until its line is read.

The factors here are numbers, because everything is a number. In minigrad the values are
arrays, and in place of a factor stands a function `vjp(g)`, "vector-Jacobian product",
which turns the derivative for the result into the derivative for the input. The reading
of the tape is the same: see minigrad/tape.py.

Wengert 1964, "A simple automatic derivative evaluation program", CACM 7(8).
"""

import math

import minigrad as mg

tape = []  # lines of (place of the result, place of the input, factor)
values = []


def put(value, place_of_input=None, factor=None):
    """Keep a value, and write on the tape where it came from. Returns its place."""
    values.append(value)
    if place_of_input is not None:
        tape.append((len(values) - 1, place_of_input, factor))
    return len(values) - 1


def square(place):
    return put(values[place] ** 2, place, 2 * values[place])


def triple(place):
    return put(3 * values[place], place, 3)


def tanh(place):
    y = math.tanh(values[place])
    return put(y, place, 1 - y**2)


x = put(0.4)
y = tanh(triple(square(x)))
moves = {y: 1.0}  # y moves exactly as far as y
for result, origin, factor in reversed(tape):
    print(f"read: value {result} came from value {origin}, factor {factor:.4f}")
    moves[origin] = moves.get(origin, 0.0) + moves[result] * factor
print(f"our tape  dy/dx = {moves[x]:.4f}")

t = mg.tensor(0.4, requires_grad=True)
mg.tanh(3 * t**2).backward()
print(f"minigrad  dy/dx = {t.grad:.4f}")
