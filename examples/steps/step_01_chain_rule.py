"""How does a change travel through a chain of functions?

    python examples/steps/step_01_chain_rule.py

Take y = tanh(u) with u = 3 v and v = x^2. Move x by a little, and v moves 2 x times as
far, u moves 3 times as far as v, and y moves 1 - tanh(u)^2 times as far as u. The
factors multiply. That is the chain rule:

    dy/dx = dy/du  du/dv  dv/dx = (1 - tanh(u)^2)  3  2x

The product can be worked out from either end. From the right, each step asks "how far
does this number move when x moves?". From the left, each step asks "how far does y move
when this number moves?". With one input, both cost the same. With a million inputs and
one result, which is what training has, only the left end gives all derivatives in one
pass. This is reverse mode, and the next step is a machine for it.

Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating
errors", Nature 323.
"""

import math

x = 0.4

# Forward: every number is kept, because the way back needs it.
v = x**2
u = 3 * v
y = math.tanh(u)
print(f"forward   x = {x}   v = {v:.4f}   u = {u:.4f}   y = {y:.4f}")

# Backward: from y to x, one factor at a time.
y_for_u = 1 - y**2  # how far y moves when u moves
y_for_v = y_for_u * 3
y_for_x = y_for_v * 2 * x
print(f"backward  dy/du = {y_for_u:.4f}   dy/dv = {y_for_v:.4f}   dy/dx = {y_for_x:.4f}")

# Is it true? Move x a little, and look.
step = 1e-6
moved = math.tanh(3 * (x + step) ** 2)
print(f"measured  dy/dx = {(moved - y) / step:.4f}")
