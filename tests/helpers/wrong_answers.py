"""Wrong answers to the exercises, and what the check has to say about each.

Exercise, a text of its solution, what it is changed to, and words of the message.
"""

BOTH_NORMS = """\
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
"""
TWO_HALVES = "(softmax(logits, axis=1) + softmax(logits, axis=0) - 2 * np.eye(count)) / (2 * count)"

CHANGES = [
    ("softplus", "return g * np", "return np", "not multiplied by g"),
    ("softplus", "np.logaddexp(0.0, -x))", "np.logaddexp(0.0, x))", "sign of the exponent"),
    ("softplus", "np.exp(-np.logaddexp(0.0, -x))", "(np.exp(x) / (1 + np.exp(x)))",
     "infinity / infinity is NaN"),
    ("softplus", "np.exp(-np.logaddexp(0.0, -x))", "(1 - np.exp(-value))", "4.2e-18"),
    ("softplus", "g * np.exp(-np.logaddexp(0.0, -x))", "g * value", "value times g"),
    ("softplus", "np.exp(-np.logaddexp(0.0, -x))",
     "np.exp(-np.logaddexp(0.0, -x)) * np.exp(-np.logaddexp(0.0, x))", "one derivative too far"),
    ("softplus", "return value, vjp", "return value, vjp(x)", "do not call it"),
    ("softplus", "return value, vjp", "return value", "must return two things"),
    ("unbroadcast", "keepdims=True", "keepdims=False", "keepdims"),
    ("unbroadcast", "return np.sum(g, axis=tuple(stretched), keepdims=True)", "return g",
     "only the axes in front are summed"),
    ("unbroadcast", "    g = g.sum(axis=tuple(range(missing)))\n", "", "sum them away"),
    ("unbroadcast", "missing = g.ndim",
     "g = g / (g.size / np.prod(shape))\n    missing = g.ndim", "that is the mean"),
    ("unbroadcast", "missing = g.ndim", "return g.reshape(-1, *shape).sum(axis=0)\n    m = g.ndim",
     "sum over whole axes"),
    ("matmul", "g @ b.T  #", "(g @ b.T).T  #", "for a, .* transposed"),
    ("matmul", "a.T @ g", "g.T @ a", "for b, .* transposed"),
    ("matmul", "return to_a, to_b", "return to_b, to_a", "the two are swapped"),
    ("matmul", "a.T @ g", "a @ g.T", r"ValueError in line 7 .*(?s:.*)Let the shapes tell"),
    ("logsumexp", "x.max(axis=1, keepdims=True)", "0 * x[:, :1]", "exp.1000. is infinity"),
    ("logsumexp", "x.max(axis=1, keepdims=True)", "x.mean(axis=1, keepdims=True)",
     "not the m that helps"),
    ("logsumexp", "x.max(axis=1, keepdims=True)", "x.min(axis=1, keepdims=True)",
     "not the m that helps"),
    ("logsumexp", "x.max(axis=1, keepdims=True)", "np.full((len(x), 1), x.max())",
     "each row needs its m"),
    ("logsumexp", "(largest + np.log(sums))", "np.log(sums)", "not added back"),
    ("logsumexp", "g[:, None] * (powers / sums)", "powers / sums", "multiplied by g.i."),
    ("logsumexp", "g[:, None] * (powers / sums)", "g[:, None] * powers", "not divided by"),
    ("logsumexp", "g[:, None] * (powers / sums)", "g * (powers / sums)", "ValueError in line 14"),
    ("backward", "origin.grad += ", "origin.grad = ", "add them, do not overwrite"),
    ("backward", "reversed(numbers)", "numbers", "walked from the wrong end"),
    ("backward", "    numbers[-1].grad = 1.0\n", "", "for itself it is 1"),
    ("backward", "zip(number.inputs, number.factors)",
     "dict(zip(number.inputs, number.factors)).items()", "both uses count"),
    ("layer_norm", "- h * mean_gh_h", "- mean_gh_h", "expected .* got"),
    ("layer_norm", "- h * mean_gh_h", "- centred * mean_gh_h", "not divided by std yet"),
    ("layer_norm", "- h * mean_gh_h", "+ h * mean_gh_h", "std has the wrong sign"),
    ("layer_norm", " - h * mean_gh_h", "", "the way through std is missing"),
    ("layer_norm", "gh - mean_gh - h", "gh - h", "the way through the mean is missing"),
    ("layer_norm", "gh - mean_gh - h", "gh + mean_gh - h", "the mean has the wrong sign"),
    ("layer_norm", "(gh - mean_gh - h * mean_gh_h)", "gh", "the mean and through std are missing"),
    ("layer_norm", "(gh - mean_gh - h", "(-mean_gh - h", "the input by itself is missing"),
    ("layer_norm", "+ eps)", "+ 1e-5)", "eps 0.1"),
    ("adamw", " / (1 - b1**step)", "", "expected"),
    ("adamw", "(mean / (1 - b1**step)) / ((square / (1 - b2**step)) ** 0.5 + eps)",
     "mean / (square**0.5 + eps)", "too small at first"),
    ("adamw", "** 0.5 + eps)", "+ eps) ** 0.5", "inside of the root"),
    ("adamw", "p - lr *", "p + lr *", "the wrong way"),
    ("adamw", " + weight_decay * p", "", "the weight decay is missing"),
    ("adamw", "lr * (direction + weight_decay * p)", "lr * direction - weight_decay * p",
     "not multiplied by lr"),
    ("adamw", "mean = b1 * mean", "b1, b2 = 0.9, 0.999\n    mean = b1 * mean", "are arguments"),
    ("adamw", "mean = b1 * mean", "eps = 1e-8\n    mean = b1 * mean", "other options: expected"),
    ("adamw", "mean = b1 * mean", "lr = 1e-3\n    mean = b1 * mean", "other options: expected"),
    ("adamw", ", mean, square\n", ", mean / (1 - b1**step), square / (1 - b2**step)\n",
     "the division by 1 - beta.n is for the step only"),
    ("adamw", "mean = b1 * mean", "g, weight_decay = g + weight_decay * p, 0\n    mean = b1 * mean",
     "the W of AdamW"),
    ("adamw", ", mean, square\n", ", square, mean\n", "the order is parameter, mean, square"),
    ("clip_norm", "min(1.0, max_norm / length)", "max_norm / length", "stays as it is"),
    ("clip_norm", "min(1.0, max_norm / length)", "1.0", "as long as before"),
    ("clip_norm", "max_norm / length)", "max_norm / length**2)", "root of the sum"),
    ("clip_norm", "min(1.0, max_norm / length) if length > 0",
     "max_norm / length if length < max_norm", "turn the condition around"),
    ("clip_norm", "np.sqrt(sum((array**2).sum() for array in gradients))",
     "sum(np.linalg.norm(array) for array in gradients)", "one root of all squares"),
    ("clip_norm", "[array * factor for", "[array * min(1.0, max_norm / np.linalg.norm(array)) for",
     "one long gradient together"),
    ("clip_norm", "[array * factor for", "[np.clip(array, -max_norm, max_norm) for",
     "cuts single numbers"),
    ("central", "(2 * h)", "h", "2 h apart"),
    ("central", "(2 * h)", "(2 * h) / 2", "divide by 2 h once"),
    ("central", "(2 * h)", "(-2 * h)", "up minus down"),
    ("central", "h = 6e-6", "h = 1e-12", "h is too small"),
    ("central", "h = 6e-6", "h = 0.01", "h is too large"),
    ("central", "f(behind)) / (2 * h)", "f(x)) / h", "on one side"),
    ("central", "f(ahead) - f(behind)) / (2 * h)", "f(x) - f(behind)) / h", "on one side"),
    ("complex_step", " * direction", "", "use the direction"),
    ("complex_step", " * direction", " * direction / (direction**2).sum() ** 0.5", "scaled"),
    ("complex_step", "return f(x + 1j * h * direction).imag", "return abs(f(x + 1j * h * direction)"
     ".imag)", "no absolute value"),
    ("complex_step", ".imag / h", ".imag", "divide the imaginary part"),
    ("complex_step", ".imag / h", ".real", "the value of f"),
    ("complex_step", ".imag / h", ".real / h", "the real part"),
    ("complex_step", ".imag / h", " / h", "the result is complex"),
    ("complex_step", "h = 1e-30", "h = 1e-3", "h is too large"),
    ("complex_step", "f(x + 1j * h * direction).imag / h",
     "((f(x + 1j * h * direction) - f(x)) / h).real", "the real part"),
    ("complex_step", "return f(x + 1j * h * direction).imag / h",
     "h = 1e-6\n    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)",
     "costs digits"),
    ("complex_step", "return f(x + 1j * h * direction).imag / h",
     "h = 1e-8\n    return (f(x + h * direction) - f(x)) / h", "costs digits"),
    ("merge", "+= count", "+= 1", "as often as it occurs"),
    ("merge", "        for pair in pairwise(word):\n            counts[pair] += count\n",
     "        last = None\n        for pair in pairwise(word):\n"
     "            last = None if pair == last else pair\n"
     "            counts[pair] += count if last else 0\n", "may overlap when you count"),
    ("merge", "if word[place : place + 2] == best:", "if word[place : place + 2] == best and "
     "word[place + 1 : place + 3] != best:", "merge from the left"),
    ("merge", "pairwise(word):", "set(pairwise(word)):", "once for each place"),
    ("merge", "                place += 2", "                place += 1", "used again"),
    ("merge", "if word[place : place + 2] == best:", "if word[place : place + 2] == best and "
     "word[place] + word[place + 1] not in pieces:", "two places to merge"),
    ("merge", "merged[tuple(pieces)] =",
     "pieces = ' '.join(word).replace(' '.join(best), ''.join(best)).split()\n"
     "        merged[tuple(pieces)] =", "compare whole pieces"),
    ("merge", "return best, merged", "return list(best), merged", "got .'l', 'o'."),
    ("merge", "return best, merged", "return best, list(merged.items())", "must be a dictionary"),
    ("merge", "merged.get(tuple(pieces), 0) + count", "1", "of .'lo', 'w'.: expected 5, got 1"),
    ("longest_first", "range(len(word), start, -1)", "range(start + 1, len(word) + 1)", "shortest"),
    ("longest_first", 'return ["[UNK]"]', 'return [*pieces, "[UNK]"]', "the whole word"),
    ("longest_first", 'return ["[UNK]"]', 'return "[UNK]"', "a list of pieces, got '.UNK.'"),
    ("longest_first", '("##" if start else "") + word', "word", "## in front of it"),
    ("longest_first", 'piece = ("##" if start else "") + word[start:stop]\n            if piece in',
     'piece = ("##" if start else "") + word[start:stop]\n            if word[start:stop] in',
     "## in front of it"),
    ("longest_first", '("##" if start else "") + word', '"##" + word', "without ##"),
    ("longest_first", "pieces.append(piece)", 'pieces.append(piece.replace("##", ""))',
     "keep their ##"),
    ("patches", "transpose(0, 2, 4, 1, 3, 5)", "transpose(0, 1, 2, 3, 4, 5)", "lines of pixels"),
    ("patches", "transpose(0, 2, 4, 1, 3, 5)", "transpose(0, 2, 4, 3, 5, 1)", "colours stand tog"),
    ("patches", "transpose(0, 2, 4, 1, 3, 5)", "transpose(0, 4, 2, 1, 3, 5)", "patches stand in"),
    ("patches", "transpose(0, 2, 4, 1, 3, 5)", "transpose(0, 2, 4, 1, 5, 3)", "pixels of a patch"),
    ("patches", "batch, colours, height, width =", "size = 2\n    batch, colours, height, width =",
     "ValueError in line 9"),
    ("window", "distance < window", "distance <= window", "one before it"),
    ("window", "distance < window", "distance < 2", "window of 1"),
    ("window", " & (distance < window)", "", "no window yet"),
    ("window", "(distance >= 0) & ", "", "i - j is negative"),
    ("window", "(distance >= 0) & (distance < window)", "abs(distance) < window", "later tokens"),
    ("window", "places[:, None] - places", "places - places[:, None]", "transposed"),
    ("window", "0.0, -np.inf", "1.0, -np.inf", "0 where a token may look"),
    ("window", "0.0, -np.inf", "0.0, -1e9", "use -np.inf"),
    ("window", "0.0, -np.inf", "-np.inf, 0.0", "swapped"),
    ("window", "0.0, -np.inf", "True, False", "marks with 1 where a token may look"),
    ("window", "0.0, -np.inf", "0, 1", "marks with 1 what is hidden"),
    ("window", "0.0, -np.inf", "0.0, np.nan", "0 times infinity"),
    ("end_token", "hidden[np.arange(len(tokens)), places]", "hidden[:, -1]", "padding"),
    ("end_token", "hidden[np.arange(len(tokens)), places]", "hidden[:, places]", "its own place"),
    ("end_token", "tokens.argmax(axis=1)", "(tokens != 0).sum(axis=1) - 1", "inside of a caption"),
    ("end_token", "tokens.argmax(axis=1)", "tokens.argmax(axis=1) - 1", "before the end token"),
    ("contrastive", "np.exp(logit_scale) * images", "logit_scale * images", "is a logarithm"),
    ("contrastive", "np.exp(logit_scale) * images", "images", "not multiplied by exp"),
    ("contrastive", "np.exp(logit_scale) *", "np.exp(-logit_scale) *", "divided by exp"),
    ("contrastive", " + cross_entropy_of_diagonal(logits.T)) / 2", ")", "mean of both"),
    ("contrastive", "(logits.T)) / 2", "(logits.T))", "their mean"),
    ("contrastive", "log_p).mean()", "log_p).sum()", "sum over the N pairs"),
    ("contrastive", "return -np.diagonal", "return np.diagonal", "never negative"),
    ("contrastive", "images = images / np.linalg.norm(images, axis=1, keepdims=True)",
     "images = images / np.linalg.norm(images)", "expected"),
    ("contrastive", BOTH_NORMS, "", "features have any length"),
    ("contrastive", BOTH_NORMS, BOTH_NORMS.replace(", axis=1, keepdims=True", ""),
     "by the length of this row"),
    ("contrastive", BOTH_NORMS, BOTH_NORMS.replace("axis=1", "axis=0"), "not each column"),
    ("contrastive", "    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)\n", "",
     "only the images' features"),
    ("contrastive", "(cross_entropy_of_diagonal(logits) + cross_entropy_of_diagonal(logits.T)) / 2",
     "cross_entropy_of_diagonal(logits.T)", "the other half is missing"),
    ("contrastive", "    images = images / np.linalg.norm(images, axis=1, keepdims=True)\n", "",
     "only the captions' features"),
    ("contrastive", " - logits.max(axis=1, keepdims=True)", "", "logits of 100 in float32"),
    ("to_logits", "(2 * count)", "count", "divide by 2 N, not by N"),
    ("to_logits", " / (2 * count)", "", "a mean over 2 N choices: divide"),
    ("to_logits", TWO_HALVES, "(softmax(logits, axis=1) - np.eye(count)) / count", "only the rows"),
    ("to_logits", TWO_HALVES, "(softmax(logits, axis=1) - np.eye(count)) / (2 * count)",
     "and divided by 2 N"),
    ("to_logits", TWO_HALVES, "(softmax(logits, axis=0) - np.eye(count)) / count", "only the col"),
    ("to_logits", " / (2 * count)", " / 2", "divide by 2 N, not by 2"),
    ("to_logits", " / (2 * count)", " / 8", "of 2 pairs: expected"),
    ("to_logits", "2 * np.eye(count)", "0", "pulled up"),
    ("to_logits", "- 2 * np.eye(count)", "- np.eye(count)", "diagonal twice"),
    ("to_logits", "return (softmax", "return -(softmax", "the sign is wrong"),
    ("to_logits", " - x.max(axis=axis, keepdims=True)", "", "logits of 100 in float32"),
    ("shards", "to_scale = scale_leaf.grad ", "to_scale = to_scale + scale_leaf.grad ", "twice"),
    ("shards", "scale_leaf.grad ", "scale_leaf.grad / 2 + to_scale ", "halved in every case"),
    ("shards", "image_leaf.grad[rows]", "image_leaf.grad[rows] / shards", "right before"),
    ("recall", "scores >= right).sum(axis=1) - 1", "scores > right).sum(axis=1)", "a tie counts"),
    ("recall", "before < k", "before <= k", "at most k - 1 others"),
    ("recall", ".sum(axis=1) - 1", ".sum(axis=1)", "the right caption itself"),
    ("recall", "scores >= right).sum(axis=1)", "scores >= right.T).sum(axis=0)", "columns are"),
    ("recall", "(scores >= right).sum(axis=1) - 1", "(scores < right).sum(axis=1)", "lowest score"),
    ("recall", ".mean()", ".sum()", "not their share"),
    ("zero_shot", "features = features / np.linalg.norm(features, axis=1, keepdims=True)", "",
     "before the mean"),
    ("zero_shot", "np.linalg.norm(features, axis=1, keepdims=True)\n    means",
     "np.linalg.norm(features)\n    means", "before the mean"),
    ("zero_shot", ", keepdims=True)).T", ", keepdims=True))", "transpose"),
    ("zero_shot", "return (means / np.linalg.norm(means, axis=1, keepdims=True)).T",
     "return means.T", "shorter than 1"),
    ("zero_shot", "for name in class_names for template in templates",
     "for template in templates for name in class_names", "must stand together"),
    ("zero_shot", "reshape(len(class_names), len(templates), -1).mean(axis=1)",
     "reshape(len(templates), len(class_names), -1).mean(axis=0)", "axes of the reshape must"),
    ("zero_shot", "sentences = [", "class_names = sorted(class_names)\n    sentences = [",
     "expected"),
    ("zero_shot", 'template.replace("{}", name)', "template + name", "a class goes where .. is"),
]  # fmt: skip

# Each changes an input in place: the exercise, the text, the change, the input.
IN_PLACE = [
    ("softplus", "return g * np", "g *= 2\n        return g / 2 * np", "g"),
    ("softplus", "return value, vjp", "x += 1\n    return value, vjp", "x"),
    ("unbroadcast", "missing =", "g += 1\n    missing =", "g"),
    ("matmul", "to_a = g", "b *= 2\n    to_a = g", "b"),
    ("logsumexp", "return value, vjp", "x -= largest\n    return value, vjp", "x"),
    ("backward", "numbers[-1].grad = 1.0", "numbers.append(numbers[-1])", "numbers"),
    ("backward", "numbers[-1].grad = 1.0", "numbers[-1].grad = numbers[0].value = 1.0", "numbers"),
    ("layer_norm", "gh = g * weight", "g *= weight\n        gh = g", "g"),
    ("adamw", "mean = b1 * mean", "mean *= b1\n    mean = mean", "mean"),
    ("clip_norm", "return [array", "for each in gradients:\n        each *= factor\n"
     "    factor = 1.0\n    return [array", "gradients"),
    ("central", "ahead, behind = x.copy(), x.copy()", "ahead, behind = x, x.copy()", "x"),
    ("complex_step", "h = 1e-30", "h = 1e-30\n    direction *= 1.5", "direction"),
    ("merge", "return best, merged", "words.clear()\n    return best, merged", "words"),
    ("longest_first", "return pieces", "vocabulary -= {word}\n    return pieces", "vocabulary"),
    ("patches", "rows, columns =", "images += 1\n    rows, columns =", "images"),
    ("end_token", "places =", "tokens[0, 0] = 1\n    places =", "tokens"),
    ("contrastive", "images = images /", "images /= 2\n    images = images /", "images"),
    ("to_logits", "count = len", "logits -= 100\n    count = len", "logits"),
    ("shards", "to_scale = 0.0", "to_scale = 0.0\n    texts *= 1.5", "texts"),
    ("recall", "before =", "np.fill_diagonal(scores, 9.0)\n    before =", "scores"),
    ("zero_shot", "sentences = [", "class_names.sort()\n    sentences = [", "class_names"),
]  # fmt: skip
EARLY = "handed on before its last user"

# Whole answers: the exercise, the source, and words of the message.
WHOLE = [
    ("backward", """
def backward(numbers):
    def visit(number, seen):
        if id(number) in seen:
            return
        seen.add(id(number))
        for origin, factor in zip(number.inputs, number.factors):
            origin.grad += number.grad * factor
            visit(origin, seen)
    numbers[-1].grad = 1.0
    visit(numbers[-1], set())
""", EARLY),
    ("backward", """
def backward(numbers):
    def visit(number):
        for origin, factor in zip(number.inputs, number.factors):
            origin.grad += number.grad * factor
            visit(origin)
    numbers[-1].grad = 1.0
    visit(numbers[-1])
""", EARLY),
    *[("backward", f"""
def backward(numbers):
    numbers[-1].grad = 1.0
    waiting, seen = [numbers[-1]], set()
    while waiting:
        number = waiting.pop({place})
        if id(number) in seen:
            continue
        {seen}
        for origin, factor in zip(number.inputs, number.factors):
            origin.grad += number.grad * factor
            waiting.append(origin)
""", EARLY) for place in (0, -1) for seen in ("seen.add(id(number))", "")],
    ("longest_first", """
def cut(word, vocabulary, mark=""):
    if not word:
        return []
    for stop in range(len(word), 0, -1):
        if mark + word[:stop] in vocabulary:
            rest = cut(word[stop:], vocabulary, "##")
            if rest != ["[UNK]"]:
                return [mark + word[:stop], *rest]
    return ["[UNK]"]
""", "the cut is greedy"),
    ("longest_first", """
def cut(word, vocabulary):
    def part(start, stop):
        if start == stop:
            return []
        for size in range(stop - start, 0, -1):
            for begin in range(start, stop - size + 1):
                piece = ("##" if begin else "") + word[begin : begin + size]
                if piece in vocabulary:
                    return [*part(start, begin), piece, *part(begin + size, stop)]
        return ["[UNK]"]
    pieces = part(0, len(word))
    return ["[UNK]"] if "[UNK]" in pieces else pieces
""", "not the longest anywhere"),
    ("recall", """
import numpy as np
def recall_at(scores, k):
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (ranked == np.arange(len(scores))[:, None]).any(axis=1).mean()
""", "a tie counts"),
    *[("zero_shot", f"""
import numpy as np
def classifier(embed, class_names, templates):
    sentences = [template.format(name) for name in class_names for template in templates]
    features = embed(sentences)
    features = features / {before}
    means = features.reshape(len(class_names), len(templates), -1).mean(axis=1)
    return (means / {after}).T
""", hint) for before, after, hint in [
        ("1", "1", "neither the sentences' vectors nor their mean"),
        ("np.linalg.norm(features)", "np.linalg.norm(means)", "not all by that of the array"),
    ]],
    ("zero_shot", """
def classifier(embed, class_names, templates):
    return [[1.0]]
""", "embed was never called"),
]  # fmt: skip
