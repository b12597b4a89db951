"""What is the gradient of a number that was used many times?

    python examples/steps/step_03_broadcasting.py

NumPy stretches small arrays to fit large ones: a column (3, 1) plus a row (1, 4) makes
a table (3, 4). Each number of the column is used in four places. Move it, and all four
places move. So its derivative is the *sum* of the derivatives at those places:

    table = column + row            (3, 4)
    g     = d loss / d table        (3, 4)
    d loss / d column = g summed over axis 1, on which the column was stretched   (3, 1)
    d loss / d row    = g summed over axis 0, on which the row was stretched      (1, 4)

The rule for every operation that broadcasts: sum the gradient over the axes that were
stretched. Forgetting it is the most common mistake in a hand-written derivative, and
often it goes unseen, because NumPy stretches the wrong result back into shape.
"""

import numpy as np

import minigrad as mg

column = mg.tensor(np.array([[1.0], [2.0], [3.0]]), requires_grad=True)  # (3, 1)
row = mg.tensor(np.array([[10.0, 20.0, 30.0, 40.0]]), requires_grad=True)  # (1, 4)
table = column + row  # (3, 4)
print("table\n", table.numpy())

# Any weights will do for the loss; different ones show where each number goes.
g = np.arange(12.0).reshape(3, 4)  # d loss / d table
loss = mg.sum(table * mg.tensor(g))
loss.backward()

print("g = d loss / d table\n", g)
print("d loss / d column, by hand  ", g.sum(axis=1, keepdims=True).ravel())
print("d loss / d column, minigrad ", column.grad.ravel())
print("d loss / d row, by hand     ", g.sum(axis=0, keepdims=True).ravel())
print("d loss / d row, minigrad    ", row.grad.ravel())
