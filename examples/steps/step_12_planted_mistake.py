"""How can a wrong gradient train, and who notices?

    python examples/steps/step_12_planted_mistake.py

Below is a loss of our own with its derivative, as minigrad's operations are written:
forward, then a nested `vjp(g)`. It is the half of CLIP's loss in which images choose
among captions. In the derivative one sign is easy to get wrong, and one term is easy to
forget: the push away from wrong captions. Without that term, everything is pulled
together, and yet the loss falls at first. A curve that falls proves nothing.

`gradcheck` compares each element with a derivative that it measures itself. It does not
know the formula, so it cannot make the same mistake.
"""

import numpy as np

import minigrad as mg
from minigrad.tensor import record


def choosing(logits, forgets):
    """-mean ln softmax(logits)[i, i], with a derivative that may forget a term."""
    x = logits.data  # (N, N)
    n = len(x)
    exponentials = np.exp(x - x.real.max(axis=1, keepdims=True))
    p = exponentials / exponentials.sum(axis=1, keepdims=True)  # (N, N)
    value = -np.log(np.diagonal(p)).mean()

    def vjp(g):
        push = np.diag(np.diagonal(p)) if forgets else p  # P: each wrong caption too
        return g * (push - np.eye(n)) / n

    return record("choosing", np.asarray(value), (logits,), vjp)


start = np.random.default_rng(0).standard_normal((3, 3))
for forgets in (False, True):
    print("with a forgotten term" if forgets else "right")
    x = mg.tensor(start.copy(), requires_grad=True)
    losses = []
    for _ in range(5):
        loss = choosing(x, forgets)
        loss.backward()
        x.data -= 1.0 * x.grad
        x.zero_grad()
        losses.append(f"{loss.item():.3f}")
    print("    loss:", " ".join(losses))
    try:
        report = mg.gradcheck(lambda t, forgets=forgets: choosing(t, forgets), [start])
        print(f"    gradcheck: right, to 1e-15: {report.error < 1e-15}")
    except mg.GradientError as error:
        print("    gradcheck:", error)
