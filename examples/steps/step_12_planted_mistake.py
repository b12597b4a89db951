"""How can a wrong gradient train, and who notices?

    python examples/steps/step_12_planted_mistake.py

Below is a loss of our own with its derivative, as minigrad's operations are written:
forward, then a nested `vjp(g)`. It is the half of CLIP's loss in which images choose
among captions. In the derivative one sign is easy to get wrong, and one term is easy to
forget: the push away from wrong captions. Without that term, the loss of three images
falls at first, nearly as far as with it. Then it rises again: each image ends on its
own caption, however near another one is. A curve that falls proves nothing.

`gradcheck` compares each element with a derivative that it measures itself. It does not
know the formula, so it cannot make the same mistake. It multiplies the loss by a random
number before (here 0.126), so the numbers that it reports are that much smaller.
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


captions = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])  # of length 1
start = np.array([[0.6, -0.8], [-0.8, 0.6], [-1.0, 0.0]])  # one row for each image
for forgets in (False, True):
    print("with a forgotten term" if forgets else "right")
    images = mg.tensor(start.copy(), requires_grad=True)
    losses = []
    for step in range(41):
        loss = choosing(4.0 * mg.normalize(images) @ captions.T, forgets)
        loss.backward()
        images.data -= 0.5 * images.grad
        images.zero_grad()
        if step % 5 == 0:
            losses.append(f"{loss.item():.3f}")
    print("    loss:", " ".join(losses))
    logits = np.random.default_rng(0).standard_normal((3, 3))
    try:
        report = mg.gradcheck(lambda t, forgets=forgets: choosing(t, forgets), [logits])
        print(f"    gradcheck: right, to 1e-15: {report.error < 1e-15}")
    except mg.GradientError as error:
        print("    gradcheck:", error)
