"""The table of operations: every public operation, with inputs to try it on.

test_gradients.py runs every row through the same checks, and compares the table with
the package's public names: an operation without a row fails the suite. A row says

- what the operation computes in NumPy (`reference`) and, if it is fused, in small
  operations (`composed`, mostly a function of minigrad.plain);
- fixed `samples` to try, the awkward ones among them, and a strategy that draws more
  (`drawn`);
- whether the operation is smooth (`analytic`): the forward pass then also computes with
  complex numbers, which gives its derivative to the last digits;
- its kinks, and the convention there;
- whether it is linear: "jointly" in all of its inputs, or in "each" of them while the
  others stay.
"""

from op_table.arrays import PRODUCTS, REDUCTIONS, SHAPES
from op_table.elementwise import ACTIVATIONS, ARITHMETIC
from op_table.networks import ATTENTION, IMAGES, NEURAL
from op_table.rows import (
    BINARY,
    NOT_OPERATIONS,
    REDUCED,
    Kink,
    Row,
    Sample,
    seeded_attention,
    seeded_batch_norm,
    seeded_dropout,
    seeded_plain_batch_norm,
)

TABLE = [
    *(*ARITHMETIC, *ACTIVATIONS, *REDUCTIONS, *SHAPES, *PRODUCTS, *NEURAL, *ATTENTION, *IMAGES)
]

__all__ = [
    "BINARY",
    "NOT_OPERATIONS",
    "REDUCED",
    "TABLE",
    "Kink",
    "Row",
    "Sample",
    "seeded_attention",
    "seeded_batch_norm",
    "seeded_dropout",
    "seeded_plain_batch_norm",
]
