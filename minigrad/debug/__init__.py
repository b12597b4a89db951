"""What did the program really do?

Four tools look on while operations are recorded and walked. `draw` returns text. The
other three are `with` blocks:

- `detect_anomaly` stops at the first NaN or infinity and names its operation.
- `draw` shows the graph of operations that made a tensor.
- `profile` measures the time and the memory of each operation.
- `explain_memory` says which operation ran out of memory, and on what shapes.

>>> import minigrad as mg
>>> x = mg.tensor([1.0, 2.0], requires_grad=True)
>>> with mg.profile() as measured:
...     y = (x * x).sum()
>>> sorted(measured.table)
['mul', 'sum']
"""

from minigrad.debug.anomaly import detect_anomaly
from minigrad.debug.drawing import draw
from minigrad.debug.out_of_memory import explain_memory
from minigrad.debug.profiling import Cost, Profile, profile

__all__ = [  # noqa: RUF022 - in reading order
    "detect_anomaly",
    "draw",
    "profile",
    "Profile",
    "Cost",
    "explain_memory",
]
