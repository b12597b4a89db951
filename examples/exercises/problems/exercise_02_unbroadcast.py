"""NumPy stretched an array of a small shape to the shape of g. What is its gradient?

A number that was used in several places has the sum of their gradients. So sum g over
the axes that were stretched, and return an array of exactly the small shape:

- axes that the small shape does not have at all: (4,) was used as (1, 1, 4);
- axes on which the small shape has size 1 and g has more.

examples/steps/step_03_broadcasting.py shows the case (3, 1).
"""

import numpy as np


def unbroadcast(g, shape):
    """Sum g down to `shape`, from which it can be broadcast."""
    ...  # your lines
