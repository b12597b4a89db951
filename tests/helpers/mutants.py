"""Wrong derivatives, planted one at a time: the mistakes that people make by hand.

Each is a small change of one function's text. test_mutants.py plants it
(tests/mutation.py) and expects the gradient tests to fail. A mutant whose text is no
longer found says so; it then wants to be written anew for the source as it is, with the
same mistake in it.
"""

import ast
from typing import NamedTuple

from mutation import Change, path_of, tests_for


class Mutant(NamedTuple):
    """In `function` of `module`, the text `before` becomes `after`; `why` people do it.

    function is a top-level function, or "Class.method". before stands in it exactly
    once.
    """

    module: str
    name: str
    function: str
    before: str
    after: str
    why: str

    def __str__(self) -> str:
        return f"{self.module.rpartition('.')[2]}: {self.name}"


class MutantError(AssertionError):
    """The source has changed under a mutant."""


def _of(module: str, *rows: tuple[str, str, str, str, str]) -> list[Mutant]:
    return [Mutant(module, *row) for row in rows]


TAPE = _of(
    "minigrad.tape",
    ("gradients overwritten", "_add_up", "as_array(first + second)", "as_array(second)",
     "the last reader of a tensor wins (tinygrad's first versions)"),
    ("gradients overwritten in place", "_add_up", "first += second", "first[...] = second",
     "= where += was meant, from the third reader on"),
    ("aliased +=", "_add_up", "if first_owned:", "if first is not None:",
     "adds into an array that another tensor's gradient shares (dezero)"),
    ("aliased += into what comes in", "_add_up", "if second_owned:", "if True:",
     "the second gradient may be another tensor's first one"),
    ("a passed-on array counts as new", "Walk._step",
     "not passed_on and _is_owned(gradient, cotangents, gradients)", "True",
     "add hands the same g to both of its inputs"),
    ("a view counts as new", "_is_owned", "holders.count(id(memory)) == 1 and ", "",
     "reshape's gradient is a view of what another tensor may hold"),
    ("one new array for two inputs counts as new", "Walk._step",
     "_is_owned(gradient, cotangents, gradients)", "_is_owned(gradient, cotangents, [gradient])",
     "an operation may pass the same result to both of its inputs"),
    ("a repeated element counts as new", "_is_owned", " and 0 not in gradient.strides", "",
     "a sum's gradient is one number, seen many times"),
    ("the caller's cotangent counts as new", "Walk.run", "owned=False", "owned=True",
     "the array that a walk starts from belongs to its caller"),
    ("pre-order walk", "Walk.deliver", "(-place.order, place)", "(place.order, place)",
     "a node is left before all of its gradient has come in"),
    ("identity dispatch on x - x", "Walk._step",
     "zip(parents, gradients)", "dict(zip(parents, gradients)).items()",
     "an operation that gets one tensor twice keeps one of its two gradients"),
    ("several outputs, one slot", "Walk._collect",
     "gradients[output.index] = gradient", "gradients[0] = gradient",
     "an operation with one output needs no index"),
    ("a second backward is silent", "Walk._step", "node.vjp = node.parents = None", "pass",
     "the graph is walked again without a word"),
)  # fmt: skip

TENSOR = _of(
    "minigrad.tensor",
    ("backward overwrites .grad", "_add_to_grad",
     "place.grad = as_array(place.grad + gradient)", "place.grad = gradient",
     "accumulation over two backward calls is forgotten"),
    (".grad is the caller's array", "_add_to_grad", "gradient if owned else gradient.copy()",
     "gradient", "two leaves share one gradient, and the next += changes both"),
    ("no_grad is forgotten", "record", "if is_recording():", "if True:",
     "the switch is set and never read"),
    ("no_grad is forgotten by several outputs", "record_many", " and is_recording()", "",
     "the switch is read in one of two places"),
    ("detach keeps the graph", "Tensor.detach", "Tensor(self.data)", "self",
     "the same array, and the same place on the tape"),
)  # fmt: skip

DERIVATIVES = _of(
    "minigrad.derivatives",
    ("grad returns the caller's array", "grad", "gradient if owned else gradient.copy()",
     "gradient", "what is returned changes when the cotangent is used again"),
    ("grad returns one array twice", "grad", "if tensor._place in handed_over", "if False",
     "the second changes when the caller adds to the first"),
)  # fmt: skip

INPUTS = _of(
    "minigrad.inputs",
    ("a list of tensors is a constant", "_stacked",
     "not (isinstance(value, CONTAINERS) and holds_tensor(value))", "True",
     "NumPy makes an array of it"),
    ("all tensors of a list get the first one's gradient", "_stacked", "g[position, ...]",
     "g[0, ...]", "right for a list of one"),
)  # fmt: skip

BASIC = _of(
    "minigrad.ops.basic",
    ("unbroadcast averages", "unbroadcast", "gradient.sum(", "gradient.mean(",
     "what is used n times collects a sum, not a mean"),
    ("unbroadcast forgets an axis", "unbroadcast", "if n == 1]", "if n == 1][1:]",
     "two axes of size 1 and only one of them summed"),
    ("unbroadcast forgets the new axes", "unbroadcast", "[new + i for", "[i for",
     "axes counted from the left, as if no axis had been added"),
    ("add without unbroadcast", "add", "unbroadcast(g, y_shape)", "g",
     "right as long as both shapes are equal"),
    ("sub without the sign", "sub", "unbroadcast(-g, y_shape)", "unbroadcast(g, y_shape)",
     "copied from add"),
    ("mul by its own factor", "mul", "unbroadcast(g * saved_y, x_shape)",
     "unbroadcast(g * x, x_shape)", "d(xy)/dx is y, not x"),
    ("div without the sign", "div", "-g_over_y * saved_quotient", "g_over_y * saved_quotient",
     "d(1/y) = -1/y^2"),
    ("div without the quotient", "div", "-g_over_y * saved_quotient", "-g_over_y",
     "a factor x/y lost"),
    ("power's exponent stays", "power", "y - 1", "y", "d x^y/dx = y x^(y-1)"),
    ("power forgets x^y beside ln x", "power", "g * result * _log_of_base(x, y)",
     "g * _log_of_base(x, y)",
     "d x^y/dy = x^y ln x"),
    ("constant power without its factor", "_constant_power", "exponent * x **", "x **",
     "d x^n/dx = n x^(n-1)"),
    ("neg passes g on", "neg", "return -g", "return g", "a sign"),
    ("sqrt without the half", "sqrt", "g * 0.5 / y", "g / y", "d sqrt(x) = 1 / (2 sqrt(x))"),
    ("log multiplies", "log", "g / value", "g * value", "d log(x) = 1/x"),
    ("power's exponent learns at negative bases", "_log_of_base",
     "xp.where(x.real < 0, xp.nan, log_x)", "log_x",
     "0 stands in for a logarithm that is not real"),
    ("0 to a negative power is flat", "_log_of_base", "-xp.inf, log_x)", "0.0, log_x)",
     "right for positive exponents"),
)  # fmt: skip

CHOICE = _of(
    "minigrad.ops.choice",
    ("equal elements both win", "_choose", "0.5 *", "1.0 *", "at a tie the gradient is doubled"),
    ("the loser gets the winner's share", "_choose", "g * to_y", "g * to_x",
     "one mask for both inputs"),
    ("where with swapped branches", "where",
     "to_a = xp.where(mask, g, zero)\n        to_b = xp.where(mask, zero, g)",
     "to_b = xp.where(mask, g, zero)\n        to_a = xp.where(mask, zero, g)",
     "condition read the wrong way round"),
    ("clip lets everything pass", "clip", "g * inside", "g",
     "a straight-through gradient"),
    ("clip stops on its bounds", "clip",
     "(value.real >= low) & (value.real <= high)", "(value.real > low) & (value.real < high)",
     "the convention at the kink turned round"),
    ("NaN's gradient to one of two", "_choose", "loses(y.real, x.real) - half_for_ties",
     "(1.0 - loses(x.real, y.real))", "what one input does not get, the other gets"),
    ("clip passes NaN's gradient", "clip", "g * inside", "g * ~(below | above)",
     "NaN is neither below nor above"),
)  # fmt: skip

ELEMENTARY = _of(
    "minigrad.ops.elementary",
    ("cos with sin's sign", "cos", "-g * xp.sin", "g * xp.sin", "cos' = -sin"),
    ("sin's own value", "sin", "g * xp.cos(value)", "g * xp.sin(value)", "sin' = cos"),
    ("log1p divides by x", "log1p", "g / (1.0 + value)", "g / value", "copied from log"),
    ("square without the 2", "square", "(2.0 * value)", "value", "d x^2 = 2x"),
    ("remainder keeps its divisor", "remainder", "unbroadcast(-g * quotient, y_shape)",
     "unbroadcast(0.0 * g, y_shape)", "d(a - b q)/db = -q"),
    ("floor_divide passes on", "floor_divide", "xp.zeros(x_shape, g.dtype)",
     "unbroadcast(g / y, x_shape)", "a straight-through gradient"),
)  # fmt: skip

ACCUMULATIONS = _of(
    "minigrad.ops.accumulations",
    ("cumsum back from the front", "cumsum", "xp.flip(g.reshape(values_shape), along)",
     "g.reshape(values_shape)", "the sum of what came before, not of what comes after"),
    ("prod over all elements", "prod", "before * after[..., ::-1]", "before",
     "the product of what stands in front only"),
)  # fmt: skip

REDUCTIONS = _of(
    "minigrad.ops.reductions",
    ("sum repeats along the wrong axis", "sum", "g.reshape(kept_shape)", "g",
     "right for axis=0 of a square, wrong for axis=1"),
    ("mean without 1/n", "mean", "1.0 / count", "1.0", "copied from sum"),
    ("var without the 2", "var", "(2.0 / count)", "(1.0 / count)", "d x^2 = 2x"),
    ("norm without the length", "norm", "(data / divisor)", "data", "d |x| = x / |x|"),
    ("equal maxima each get everything", "_extreme", "(g.reshape(kept_shape) / ties)",
     "g.reshape(kept_shape)", "the gradient is counted once for each of them"),
    ("logsumexp without normalisation", "logsumexp",
     "exponentials /= total", "pass", "exp(x - max) is not yet softmax"),
    ("std without its root", "std", "(centred / denominator)", "centred",
     "copied from var without the chain rule"),
    ("std divides by zero", "std", "+ (deviation == 0)", "+ 0.0 * (deviation == 0)",
     "equal elements have no deviation"),
)  # fmt: skip

SHAPE = _of(
    "minigrad.ops.shape",
    ("transpose by its own order", "transpose", "g.transpose(inverse)", "g.transpose(order)",
     "right for every permutation that is its own inverse"),
    ("reshape in Fortran's order", "reshape", "g.reshape(old)", 'g.reshape(old, order="F")',
     "the elements are all there, in other places"),
    ("flipped concat", "concatenate", "tuple(xp.split(g, cuts, axis=axis))",
     "tuple(xp.split(g, cuts, axis=axis))[::-1]", "right for parts of one shape but for the order"),
    ("concat splits along axis 0", "concatenate", "xp.split(g, cuts, axis=axis)",
     "xp.split(g, cuts)", "the default axis"),
    ("split's unused output", "split", "xp.zeros(shape, dtype) if g is None",
     "xp.ones(shape, dtype) if g is None", "an output that nobody used has gradient zero"),
    ("pad removes the wrong side", "pad", "(before, _), n", "(_, before), n",
     "right as long as both sides are equal"),
    ("gradient in the output's dtype", "astype", "g.astype(old)", "g",
     "float32 gradients on float64 parameters"),
    ("flip not undone", "flip", "return xp.flip(g, axes)", "return g",
     "the elements are all there, in other places"),
    ("tril without its triangle", "tril", "return xp.tril(g, diagonal)", "return g",
     "what was cut away gets a gradient"),
    ("tril forgets the diagonal", "tril", "xp.tril(g, diagonal)", "xp.tril(g)",
     "right for the main diagonal"),
)  # fmt: skip

INDEXING = _of(
    "minigrad.ops.indexing",
    ("last write wins in x[index]", "getitem", "scatter_add(gradient, parts, g)",
     "gradient[parts] = g", "an index that occurs twice must receive both gradients"),
    ("take puts back along axis 0", "_pick", "gradient, axis, 0)", "gradient, 0, 0)",
     "right for the default axis"),
    ("last write wins in embedding", "_pick",
     "add_rows(rows, indices.reshape(-1), slices)", "rows[indices.reshape(-1)] = slices",
     "a word that occurs three times learns once"),
)  # fmt: skip

LINEAR = _of(
    "minigrad.ops.linear",
    ("matmul without the transpose", "matmul", "g @ right.swapaxes(-1, -2)", "g @ right",
     "has the right shape for square matrices"),
    ("matmul with the wrong operand", "matmul", "left.swapaxes(-1, -2) @ g",
     "right.swapaxes(-1, -2) @ g", "a B where an A belongs"),
    ("linear's bias sees one row", "linear", "column_sum(g)", "g[0]",
     "the bias was added to every row"),
    ("linear's weight averaged", "linear", "product(g.T, rows)", "product(g.T, rows) / len(rows)",
     "a mean over the batch belongs into the loss"),
)  # fmt: skip

CONTRACTIONS = _of(
    "minigrad.ops.contractions",
    ("einsum's letters in reverse", "_gradient", "return unbroadcast(full, shape)",
     "return unbroadcast(full.T, shape)", "right for the first factor of a matrix product only"),
    ("einsum spreads a diagonal", "_gradient", "diagonal[...] =", "gradient[...] =",
     "the gradient of a trace is the identity, not ones"),
)  # fmt: skip

COMPLEX_STEP = _of(
    "minigrad.checking.complex_step",
    ("the gradient in place of its change", "_complex_step", "np.asarray(g.imag / COMPLEX_STEP)",
     "np.asarray(g.real)", "the real part is the gradient itself"),
    ("any function counts as analytic", "_complex_step", "<= allowed", "<= np.inf",
     "complex numbers computed are not complex numbers right"),
)  # fmt: skip

BACKEND = _of(
    "minigrad.backend",
    ("buffered += with repeated indices", "scatter_add", "np.add.at(target, index, values)",
     "target[index] += values", "NumPy writes each position once"),
    ("only the first of equal rows", "_sum_runs", "np.add.reduceat(values, starts, axis=0)",
     "values[starts]", "a sum over a run taken for its first element"),
    ("only the first of equal wide rows", "_sum_runs", ".sum(axis=0)", "[0]",
     "a sum over a run taken for its first element"),
    ("wide rows without the last run", "_sum_runs", "len(values))", "starts[-1])",
     "the last run ends where all values do"),
    ("rows in their old order", "add_rows", "values[order]", "values",
     "rows sorted, values not"),
)  # fmt: skip

ERROR_FUNCTION = _of(
    "minigrad.ops.error_function",
    ("erf's constant", "erf", "(2.0 / math.sqrt(math.pi))", "(1.0 / math.sqrt(math.pi))",
     "erf is twice the integral"),
)  # fmt: skip

ACTIVATION = _of(
    "minigrad.ops.activation",
    ("tanh without the square", "tanh", "1.0 - y * y", "1.0 - y", "1 - tanh^2"),
    ("sigmoid squared", "sigmoid", "y * (1.0 - y)", "y * y", "s (1 - s)"),
    ("relu passes at 0", "relu", "y.real != 0", "x.data.real >= 0",
     "the convention at the kink turned round"),
    ("silu without the product rule", "silu", "s + value * (s * (1.0 - s))", "s",
     "the gate taken for a constant"),
    ("softplus passes on", "softplus", "return g * slope", "return g",
     "right for large x only"),
    ("relu stops NaN", "relu", "y.real != 0", "y.real > 0",
     "comparisons with NaN are false"),
)  # fmt: skip

GELUS = _of(
    "minigrad.ops.gelus",
    ("quick_gelu without the inner derivative", "quick_gelu", "slope *= SIGMOID_FACTOR", "pass",
     "the chain rule's factor"),
    ("gelu without Phi", "_x_times", "slope += phi", "pass", "the derivative of x left out"),
    ("gelu without x", "_x_times", "slope *= v", "pass", "d(x Phi) = Phi + x Phi'"),
    ("gelu's wrong normal density", "_fill_by_erf", "(decay, 0.5 * ROOT,", "(decay, ROOT,",
     "erf's constant in place of the normal distribution's"),
    ("tanh-gelu's cubic", "_fill_by_tanh", "slope *= 3.0 * CUBIC", "slope *= CUBIC",
     "d x^3 = 3 x^2"),
)  # fmt: skip

PROBABILITIES = _of(
    "minigrad.ops.probabilities",
    ("softmax without its sum", "softmax", "g - (g * p).sum(axis=axis, keepdims=True)", "g",
     "only the diagonal of the Jacobian"),
    ("softmax sums along the last axis", "softmax", "(g * p).sum(axis=axis, keepdims=True)",
     "(g * p).sum(axis=-1, keepdims=True)", "the default axis"),
    ("log_softmax without the probabilities", "log_softmax", "xp.exp(y) * g.sum", "g.sum",
     "y is the logarithm of what belongs here"),
)  # fmt: skip

LOSSES = _of(
    "minigrad.ops.losses",
    ("cross-entropy not averaged", "_of_usual_labels", "(scale * g)", "(g + 0.0 * scale)",
     "the mean in the value but not in the gradient"),
    ("cross-entropy without the label", "_of_usual_labels", "gradient[at_label] -=",
     "gradient[at_label] -= 0.0 *", "softmax instead of softmax minus one-hot"),
    ("smoothing taken from nobody", "_smoothing", "1.0 - label_smoothing,", "1.0,",
     "the right class keeps all, and the others get something"),
    ("ignored labels in the mean", "_of_labels", "weights[labels] * counts",
     "weights[labels] * 1.0", "the sum leaves them out, the count does not"),
    ("class weights in the sum only", "_of_labels", "total = importance.sum()",
     "total = Tensor(counts.sum().astype(logits.dtype))",
     "the mean over samples in place of the weighted one"),
)  # fmt: skip

NORMALISATION = _of(
    "minigrad.ops.normalisation",
    ("dropped variance term in layer norm", "layer_norm",
     "xp.multiply(h_block, mean_gwh[:, None], out=product)", "xp.zeros_like(h_block)",
     "the standard deviation taken for a constant"),
    ("dropped mean term in layer norm", "layer_norm", "removed += mean_gw[:, None]", "pass",
     "the mean taken for a constant"),
    ("layer norm's gradient not scaled", "layer_norm",
     "block -= removed\n            block *= inverse_std[rows, None]", "block -= removed",
     "the division by the standard deviation"),
    ("layer norm scales by the first rows", "layer_norm",
     "block -= removed\n            block *= inverse_std[rows, None]",
     "block -= removed\n            block *= inverse_std[: len(block), None]",
     "right for all that fits into one block"),
    ("layer norm's weight sees the last block", "layer_norm",
     "to_weight += column_sum(product)", "to_weight[...] = column_sum(product)",
     "right for all that fits into one block"),
    ("layer norm forgets the weight in the projection", "layer_norm",
     "product @ weighted_average", "product @ average",
     "right as long as the weight is one, as it is at the start"),
    ("layer norm's weight from g alone", "layer_norm", "to_weight += column_sum(product)",
     "to_weight += column_sum(g_block)", "copied from the bias"),
    ("normalize without the projection", "normalize", "(g - slope * along)", "g",
     "the length taken for a constant"),
    ("normalize without the length", "normalize", "(g - slope * along) / length",
     "g - slope * along",
     "right for vectors of length 1"),
    ("the p-norm's slope to the power p", "_slope_of_length", "(p - 1.0)", "p",
     "the derivative lowers the exponent"),
    ("the largest elements all get everything", "_slope_of_length",
     "is_largest / is_largest.sum(axis=axes, keepdims=True)", "1.0 * is_largest",
     "the gradient is counted once for each of them"),
    ("the p-norm without its sign", "_slope_of_length", "sign * size ** (p - 1.0)",
     "size ** (p - 1.0)", "right for positive numbers"),
)  # fmt: skip

NOISE = _of(
    "minigrad.ops.noise",
    ("dropout's mask draws a gradient of its own scale", "dropout", "mul(x, mask)",
     "mul(x, mask * mask)", "1/(1-p) twice"),
)  # fmt: skip

ATTENTION = _of(
    "minigrad.ops.attention",
    ("mask after softmax", "_forward",
     "            scores += _mask_of(mask, samples, q)\n"
     "        # P = exp(S) / rowsum(exp(S)): all three stages use the same memory\n"
     "        exponentials, sums = exponentiate(scores, shift)",
     "            pass\n"
     "        exponentials, sums = exponentiate(scores, shift)\n"
     "        exponentials *= 1.0 if mask is None else xp.exp(_mask_of(mask, samples, q))",
     "hidden tokens get nothing, but the others do not share what they had"),
    ("every block has the first samples' mask", "_mask_of", "mask[samples] if",
     "mask[: samples.stop - samples.start] if", "right for all that fits into one block"),
    ("scale applied twice", "_backward", "d_s *= scale", "d_s *= scale * scale",
     "once for the queries and once more for the scores"),
    ("scale forgotten for the keys", "_backward", "q[samples], out=gradients.k[samples])",
     "q[samples] / scale, out=gradients.k[samples])",
     "as if the queries carried it in the forward pass"),
    ("softmax's denominator forgotten", "_forward",
     "xp.multiply(exponentials, 1.0 / sums, out=exponentials)", "exponentials",
     "the exponentials are not yet probabilities"),
    ("attention without softmax's sum", "_backward",
     "d_s -= row_dot(g_block, output[samples])[..., None]", "pass",
     "only the diagonal of the Jacobian"),
    ("keys without the transpose", "_backward", "xp.matmul(d_s.swapaxes(-1, -2), q[samples],",
     "xp.matmul(d_s, q[samples],", "has the right shape for as many queries as keys"),
    ("dropout missing in dV", "_backward",
     "times(p_block, dropout_factors[samples])", "p_block",
     "the values were mixed by what dropout left"),
    ("dropout missing in dP", "_backward", "d_p *= dropout_factors[samples]", "pass",
     "dropped probabilities have no gradient"),
    ("queries and values exchanged", "self_attention", "_split_heads(to_qkv, 3, heads))",
     "_split_heads(to_qkv, 3, heads)[::-1])", "the parts of the projection in reverse"),
    ("shared keys keep the last gradient", "attention", "unbroadcast(gradients.k[0], shapes.k)",
     "gradients.k[0].reshape((-1, *shapes.k))[-1]", "what is used n times collects a sum"),
)  # fmt: skip

MEMORY = _of(
    "minigrad.memory",
    ("the last block is left out", "blocks_of", "range(0, rows, step)",
     "range(0, rows - rows % step, step)", "right for a multiple of the block"),
    ("memory in use is handed out", "Buffer.is_free", "self.loan() is None", "True",
     "what a vjp keeps is overwritten by the next result of its size"),
)  # fmt: skip

CONV = _of(
    "minigrad.ops.conv",
    ("filters flipped back and forth by one axis", "_gradient_of_images", "[:, :, ::-1, ::-1]",
     "[:, :, ::-1]", "right for filters that are symmetric from left to right"),
    ("filters not flipped", "_gradient_of_images", "[:, :, ::-1, ::-1]", "[:, :, :, :]",
     "right for symmetric filters"),
    ("filters with their channels in the old order", "_gradient_of_images",
     "weight[:, :, ::-1, ::-1].swapaxes(0, 1)",
     "weight[:, :, ::-1, ::-1].reshape(weight.swapaxes(0, 1).shape)",
     "has the right shape"),
    ("the gradient is padded like the image", "_gradient_of_images",
     "padding=size - 1 - windows.padding", "padding=windows.padding",
     "right for 3 x 3 filters with padding 1"),
    ("the flipped form for any step", "_gradient_of_images", "windows.stride == 1 and ", "",
     "right for steps of 1"),
    ("last write wins in col2im", "_add_patches", "to_padded[index] +=", "to_padded[index] =",
     "windows overlap"),
    ("col2im adds to what was there", "_gradient_of_images", "to_padded[...] = 0.0", "pass",
     "the memory from `empty` holds whatever was there before"),
    ("the filters see the last block", "_gradient_of_filters", "to_filters +=",
     "to_filters[...] =", "right for all that fits into one block"),
    ("the filters see the first samples in every block", "_gradient_of_filters",
     "images[samples]", "images[: samples.stop - samples.start]",
     "right for all that fits into one block"),
    ("every block has the first rows", "_patches", "windows.positions(rows)",
     "windows.positions(slice(0, count))", "right for all that fits into one block"),
    ("rows and columns of the filter swapped", "_patches", "p[:, i, j] =",
     "p[:, j % height, i % width] =", "right for symmetric filters"),
    ("samples and filters swapped", "_convolve_block",
     "target[...] = values.reshape(target.shape)",
     "target.swapaxes(0, 1)[...] = values.reshape(target.swapaxes(0, 1).shape)",
     "the product has the filters first, the result the samples"),
    ("the bias sees one sample", "conv2d", "g.sum(axis=(0, 2, 3))", "g[:1].sum(axis=(0, 2, 3))",
     "the bias was added to every sample"),
)  # fmt: skip

POOLING = _of(
    "minigrad.ops.pooling",
    ("the mean without 1/K^2", "avg_pool2d", "g[samples] * share", "g[samples]",
     "copied from a sum"),
    ("the last window wins", "avg_pool2d", "block[index] +=", "block[index] =",
     "right for windows that lie side by side"),
    ("every number gets the largest one's gradient", "max_pool2d",
     "g[samples] * (winners[samples] == i * kernel_size + j)", "g[samples]",
     "copied from the mean"),
    ("the last window's winner", "max_pool2d", "block[index] +=", "block[index] =",
     "a number may be the largest of several windows"),
    ("the last of equal numbers wins", "max_pool2d", "candidate.real > largest.real",
     "candidate.real >= largest.real", "the convention turned round"),
    ("the padding is 0", "max_pool2d", "value=-math.inf", "value=0.0",
     "right for numbers that are not negative, as after relu"),
    ("winners of the first block", "max_pool2d", "(winners[samples] ==",
     "(winners[: samples.stop - samples.start] ==", "right for all that fits into one block"),
)  # fmt: skip

BATCH_NORM = _of(
    "minigrad.ops.batch_norm",
    ("the variance taken for a constant", "batch_norm", "scale * inverse_std * mean_gh",
     "0.0 * scale", "right when the model is used, not while it is trained"),
    ("the mean taken for a constant", "batch_norm", "scale * mean_g)", "0.0 * scale)",
     "right when the model is used, not while it is trained"),
    ("constants differentiated", "batch_norm", "        if training:\n", "        if True:\n",
     "running statistics do not depend on the batch"),
    ("the gradient not scaled", "batch_norm", "to_x = g * scale", "to_x = g * 1.0",
     "the weight and the division by the standard deviation"),
    ("the weight's gradient not divided", "batch_norm", "to_weight *= inverse_std[:, 0]", "pass",
     "h is x - mean over the standard deviation"),
    ("the weight sees the last block", "_sums", "of_products += row_dot",
     "of_products[...] = row_dot",
     "right for all that fits into one block"),
    ("statistics of the last block", "_statistics", "total += row_sum", "total[...] = row_sum",
     "right for all that fits into one block"),
    ("the running variance is the batch's own", "_live_statistics", "(count / (count - 1))", "1.0",
     "the sum of squares is divided by n - 1 for it"),
    ("unrecorded passes move the running means", "_move", "if not is_recording():", "if False:",
     "a checkpointed stretch runs twice"),
    ("momentum turned round", "_move", "array *= 1.0 - momentum\n    array += momentum",
     "array *= momentum\n    array += (1.0 - momentum)",
     "in other libraries momentum is the share of what was"),
    ("the running means of a later pass", "batch_norm",
     "inputs[3].data.copy(), inputs[4].data.copy()", "inputs[3].data, inputs[4].data",
     "they move between a pass and its walk back"),
)  # fmt: skip

RECOMPUTE = _of(
    "minigrad.recompute",
    ("the closure's parameters are lost", "checkpoint", "StretchWalk(start)", "Walk()",
     "gradients for tensors that fn reaches by itself"),
    ("only the first output", "checkpoint", "zip(again, cotangents)", "zip(again[:1], cotangents)",
     "fn may return a tuple"),
    ("recomputed without a tape", "checkpoint", "with recording(True):", "with recording(False):",
     "backward runs inside no_grad more often than one thinks"),
    ("one gradient for all inputs", "checkpoint", "gradients.get(copy._place)",
     "next(iter(gradients.values()))", "right for a function of one input"),
)  # fmt: skip

MODEL = _of(
    "clip_np.losses.similarity",
    ("captions get no gradient", "similarity_logits", "texts.T", "texts.detach().T",
     "embeddings gathered from elsewhere come without their graph"),
    ("the temperature gets no gradient", "similarity_logits", "mg.exp(logit_scale)",
     "mg.exp(logit_scale.detach())", "a number taken out of the graph"),
)  # fmt: skip

SIGMOID_LOSS = _of(
    "clip_np.losses.sigmoid",
    ("the bias gets no gradient", "sigmoid_loss", "+ logit_bias", "+ logit_bias.detach()",
     "a number taken out of the graph"),
    ("a mean over all pairs", "sigmoid_loss", "losses.sum() / count", "losses.mean()",
     "N^2 in place of N"),
    ("pairs that are left out are wrong answers", "sigmoid_loss",
     "mg.where(ignored, 0.0, losses)", "losses * 1.0", "positives are not looked at"),
)  # fmt: skip

STEP = _of(
    "clip_np.training.step",
    ("temperature's gradient k times too large", "loss_and_gradients",
     "parameter.grad = gradient if", "parameter.grad = gradient * len(loads) if",
     "every shard replays the loss (open_clip's accumulation)"),
    ("the loss's gradient replaces the encoder's", "loss_and_gradients",
     "parameter.grad + gradient", "gradient", "no parameter is expected to belong to both"),
    ("captions' gradients in the batch's order", "differentiate_loss",
     "text_gradient[caption_order]", "text_gradient", "the captions were sorted by length"),
    ("captions' embeddings in their sorted order", "differentiate_loss",
     ", order=batch.caption_positions", "", "captions and images no longer belong together"),
    ("an order for its inverse", "differentiate_loss", "order=batch.caption_positions",
     "order=batch.caption_order", "the two are equal for a batch of two"),
)  # fmt: skip

WORKER = _of(
    "clip_np.training.worker",
    ("a missing shard", "Worker.backward", "zip(self.units, self.outputs)",
     "zip(self.units[:1], self.outputs)", "the rows of the other shards get no gradient"),
    ("the first rows' gradients for every unit", "Worker.backward", "[unit.rows])",
     "[: unit.size])", "right for the first unit"),
    ("a shard overwrites the last one", "Worker._receiver", "so_far[key] += gradient",
     "so_far[key] = gradient", "= where += was meant"),
    ("every unit hands over", "Worker.backward", "sums if is_last else None", "sums",
     "only the first of a worker's units waits for its turn"),
)  # fmt: skip

SUMS = _of(
    "clip_np.training.sums",
    ("only the first worker's gradients", "GradientSums._add_up",
     "self.totals[key] += gradient", "pass", "the workers' gradients are not added up"),
    ("those that wait are forgotten", "GradientSums.finish",
     "self._add_up(encoder, position, self.waiting[encoder, position, worker])", "pass",
     "a worker that never comes holds up the others"),
    ("one encoder's gradients of a shared parameter", "GradientSums.finish",
     "sums[position] + total if", "total if", "a parameter is taken to belong to one encoder"),
)  # fmt: skip

PLAN = _of(
    "clip_np.training.plan",
    ("a row is lost at each cut", "cut_by_length", "slice(middle, rows.stop)",
     "slice(middle + 1, rows.stop)", "an end that belongs to neither part"),
)  # fmt: skip

MUTANTS = [
    *(*TAPE, *TENSOR, *DERIVATIVES, *INPUTS, *BACKEND, *MEMORY, *RECOMPUTE, *COMPLEX_STEP),
    *(
        *BASIC,
        *CHOICE,
        *ELEMENTARY,
        *REDUCTIONS,
        *ACCUMULATIONS,
        *SHAPE,
        *INDEXING,
        *LINEAR,
        *CONTRACTIONS,
        *ERROR_FUNCTION,
    ),
    *(*ACTIVATION, *GELUS, *PROBABILITIES, *LOSSES, *NORMALISATION, *NOISE, *ATTENTION),
    *(*CONV, *POOLING, *BATCH_NORM),
    *(*MODEL, *SIGMOID_LOSS, *STEP, *WORKER, *SUMS, *PLAN),
]


def plant(mutant: Mutant) -> Change:
    """The module with the mistake in it; MutantError unless its text is there once."""
    path = path_of(mutant.module)
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    body: list[ast.stmt] = tree.body
    found: ast.AST | None = None
    for name in mutant.function.split("."):
        found = next((node for node in body if getattr(node, "name", None) == name), None)
        body = getattr(found, "body", [])
    place = f"{mutant.function} in {path.name}"
    if found is None:
        raise MutantError(f"mutant {mutant.name!r}: no {place} any more; plant it elsewhere")
    lines = text.splitlines(keepends=True)
    start, end = found.lineno - 1, found.end_lineno
    segment = "".join(lines[start:end])
    count = segment.count(mutant.before)
    if count != 1:
        raise MutantError(
            f"mutant {mutant.name!r}: {mutant.before!r} stands {count} times in {place}, expected "
            f"once; the source has changed, so write the mutant anew with the same mistake"
        )
    offset = len("".join(lines[:start])) + segment.index(mutant.before)
    line = text.count("\n", 0, offset) + 1
    source = text[:offset] + mutant.after + text[offset + len(mutant.before) :]
    return Change(mutant.module, source, tests_for(mutant.module, tree, line))
