"""Measure a gradient without calculus.

f takes an array x and returns a number. For each element of x, move it by h up and by h
down, and divide the difference of the two results by the distance. The answer has to be
right to seven digits, so choose h with care: examples/steps/step_04_three_checks.py
shows what happens if it is too small. x must not be changed afterwards.
"""

import numpy as np


def numeric_gradient(f, x):
    """The gradient of f at x, an array of x's shape."""
    ...  # your lines
