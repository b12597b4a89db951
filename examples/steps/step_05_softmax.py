"""How does a model turn scores into a choice, and how sure is it?

    python examples/steps/step_05_softmax.py

Three captions score 2, 1 and 0 for one image. Softmax makes probabilities of scores s:

    p_i = exp(s_i / t) / sum_j exp(s_j / t)

t is the temperature. At a low one the largest score takes everything, at a high one all
are nearly equal. The order never changes. CLIP learns its temperature: it multiplies
scores by the factor 1 / t = `exp(logit_scale)`, which starts at 1 / 0.07, about 14, and
may not exceed 100.

The literature calls both t and 1 / t the temperature. Here, as in physics, it is t.
After this step, and everywhere in clip_np, it is the factor 1 / t.

The gradient pushes a score by "how probable the model thought it, minus whether it was
right": for the loss -ln p_0 it is (p - [1, 0, 0]) / t. A sure and right model hardly
moves. A sure and wrong one moves most.

Radford et al. 2021, "Learning transferable visual models from natural language
supervision", arXiv:2103.00020.
"""

import numpy as np

import minigrad as mg

scores = np.array([[2.0, 1.0, 0.0]])
right_answer = np.array([0])

for temperature in (0.1, 0.5, 1.0, 2.0, 10.0):
    s = mg.tensor(scores, requires_grad=True)
    logits = s / temperature
    p = mg.softmax(logits, axis=-1).numpy()[0]
    loss = mg.cross_entropy(logits, right_answer)
    loss.backward()
    print(f"temperature {temperature:4}   loss {loss.item():.3f}")
    for probability, gradient in zip(p, s.grad[0]):
        bar = "#" * round(40 * probability)
        print(f"    p = {probability:.3f}  gradient {gradient:+.3f}  {bar}")
