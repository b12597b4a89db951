"""How does a word look at the words before it?

    python examples/steps/step_06_attention.py

Each word is a row of numbers. Three matrices make three rows of it: a *query* (what am
I looking for?), a *key* (what can I be found by?) and a *value* (what do I tell?).

    scores        = Q K^T / sqrt(D)             (T, T): how well query i fits key j
    probabilities = softmax of each row         after later words are hidden
    result        = probabilities V             (T, D): a mixture of values

The root of D, the width of a query, keeps the scores from growing with it. In a causal
model a word may not see later words: their scores become -infinity, so their
probabilities are 0. The last row is all that CLIP reads of a caption: the end token has
seen everything.

Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762.
"""

import numpy as np

import minigrad as mg

np.set_printoptions(precision=2, suppress=True)
words = ["a", "red", "circle", "<end>"]
T, D = 4, 3
rng = np.random.default_rng(1)
x = rng.standard_normal((T, D))  # one row for each word
to_query, to_key, to_value = rng.standard_normal((3, D, D))
q, k, v = x @ to_query, x @ to_key, x @ to_value  # (T, D) each

scores = q @ k.T / np.sqrt(D)  # (T, T)
print("scores: row i asks, column j answers\n", scores)
causal_mask = np.triu(np.full((T, T), -np.inf), k=1)
print("with later words hidden\n", scores + causal_mask)
exponentials = np.exp(scores + causal_mask)
probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
print("probabilities: each row sums to 1\n", probabilities)
result = probabilities @ v
print("result: a mixture of values for each word\n", result)
for word, row in zip(words, probabilities):
    seen = ", ".join(f"{other} {share:.0%}" for other, share in zip(words, row) if share > 0)
    print(f"{word:>7} looks at {seen}")

batched = [mg.tensor(rows[None, None]) for rows in (q, k, v)]  # (B, H, T, D) with B = H = 1
in_one_call = mg.attention(batched[0], batched[1], batched[2], mask="causal").numpy()[0, 0]
print("mg.attention agrees:", np.allclose(in_one_call, result))
