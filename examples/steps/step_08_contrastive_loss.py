"""What does CLIP's loss ask for?

    python examples/steps/step_08_contrastive_loss.py

Two images and two captions, each a vector of two numbers and of length 1. Image i
belongs to caption i. Their dot products, times a scale s, are the logits:

    logits[i, j] = s (f_i . g_j)        f: images, g: captions

Each image chooses among the captions: softmax of the rows gives P, and the loss is
-ln P[i, i]. Each caption chooses among the images: softmax of the columns gives Q, with
-ln Q[i, i]. The loss is the mean of all of these. Its gradient is short:

    d loss / d logits = (P + Q - 2 I) / 2N
    d loss / d f      = s (d loss / d logits) g

In the code, f comes from scaling a vector to length 1. Such a vector can only turn, so
the part of the gradient along f itself is taken away (minigrad/ops/normalisation.py).

So an image is pulled toward its caption by 1 - P[i, i], the doubt that is left, and
pushed from another caption j by P[i, j], the belief in it (and likewise with Q).

Radford et al. 2021, arXiv:2103.00020, figure 3.
"""

import numpy as np

import minigrad as mg
from clip_np.losses import contrastive_loss

np.set_printoptions(precision=4, suppress=True)
f = np.array([[1.0, 0.0], [0.6, 0.8]])  # images
g = np.array([[0.8, 0.6], [0.0, 1.0]])  # captions
s, n = 2.0, 2

logits = s * f @ g.T  # (N, N)
exponentials = np.exp(logits)
p = exponentials / exponentials.sum(axis=1, keepdims=True)
q = exponentials / exponentials.sum(axis=0, keepdims=True)
loss = -(np.log(np.diag(p)) + np.log(np.diag(q))).mean() / 2
print("logits\n", logits)
print("P: which caption does an image choose?\n", p)
print("Q: which image does a caption choose?\n", q)
print(f"loss by hand   {loss:.6f}      guessing would be ln 2 = {np.log(2):.6f}")

to_logits = (p + q - 2 * np.eye(n)) / (2 * n)
to_f = s * to_logits @ g
to_f -= (to_f * f).sum(axis=1, keepdims=True) * f  # what remains when the length stays 1
image_features = mg.tensor(f, requires_grad=True)
value = contrastive_loss(image_features, mg.tensor(g), mg.tensor(np.log(s)))
value.backward()
print(f"loss, clip_np  {value.item():.6f}")
print("d loss / d f by hand\n", to_f)
print("d loss / d f, clip_np\n", image_features.grad)
