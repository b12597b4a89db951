"""Wrong derivatives, planted one at a time: the mistakes that people make by hand.

Each is a small change of one function's text. test_mutants.py plants it
(tests/mutation.py) and expects the gradient tests to fail. A mutant whose text is no
longer found says so; it then wants to be written anew for the source as it is, with the
same mistake in it.
"""

from mutants_of_clip import MEETING, MODEL, OVERLAP, PLAN, RANKS, SIGMOID_LOSS, STEP, SUMS, WORKER
from mutants_of_networks import (
    ACTIVATION,
    ATTENTION,
    BATCH_NORM,
    CONV,
    ERROR_FUNCTION,
    GELUS,
    LOSSES,
    MASKS,
    MEMORY,
    NOISE,
    NORMALISATION,
    PACKED,
    POOLING,
    PROBABILITIES,
)
from planting import of

TAPE = of(
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

TENSOR = of(
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

DERIVATIVES = of(
    "minigrad.derivatives",
    ("grad returns the caller's array", "grad", "gradient if owned else gradient.copy()",
     "gradient", "what is returned changes when the cotangent is used again"),
    ("grad returns one array twice", "grad", "if tensor._place in handed_over", "if False",
     "the second changes when the caller adds to the first"),
)  # fmt: skip

INPUTS = of(
    "minigrad.inputs",
    ("a list of tensors is a constant", "_stacked",
     "not (isinstance(value, CONTAINERS) and holds_tensor(value))", "True",
     "NumPy makes an array of it"),
    ("all tensors of a list get the first one's gradient", "_stacked", "g[position, ...]",
     "g[0, ...]", "right for a list of one"),
)  # fmt: skip

BASIC = of(
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

CHOICE = of(
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
    ("NaN's gradient to one of two", "_choose",
     "loses(y.real, x.real).astype(g.dtype) - half_for_ties",
     "(1.0 - loses(x.real, y.real)).astype(g.dtype)",
     "what one input does not get, the other gets"),
    ("clip passes NaN's gradient", "clip", "g * inside", "g * ~(below | above)",
     "NaN is neither below nor above"),
)  # fmt: skip

ELEMENTARY = of(
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

ACCUMULATIONS = of(
    "minigrad.ops.accumulations",
    ("cumsum back from the front", "cumsum", "xp.flip(g.reshape(values_shape), along)",
     "g.reshape(values_shape)", "the sum of what came before, not of what comes after"),
    ("prod over all elements", "prod", "before * after[..., ::-1]", "before",
     "the product of what stands in front only"),
)  # fmt: skip

REDUCTIONS = of(
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

SHAPE = of(
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

INDEXING = of(
    "minigrad.ops.indexing",
    ("last write wins in x[index]", "getitem", "scatter_add(gradient, parts, g)",
     "gradient[parts] = g", "an index that occurs twice must receive both gradients"),
    ("take puts back along axis 0", "_pick", "gradient, axis, 0)", "gradient, 0, 0)",
     "right for the default axis"),
    ("last write wins in embedding", "_pick",
     "add(rows, picks, slices)", "rows[picks] = slices",
     "a word that occurs three times learns once"),
)  # fmt: skip

LINEAR = of(
    "minigrad.ops.linear",
    ("matmul without the transpose", "matmul", "g @ right.swapaxes(-1, -2)", "g @ right",
     "has the right shape for square matrices"),
    ("matmul with the wrong operand", "matmul", "left.swapaxes(-1, -2) @ g",
     "right.swapaxes(-1, -2) @ g", "a B where an A belongs"),
    ("linear's bias sees one row", "linear", "sum_rows(g)", "g[0]",
     "the bias was added to every row"),
    ("linear's residual learns nothing", "linear", "[gradient] * has_residual",
     "[0.0 * gradient] * has_residual", "taken for a constant"),
    ("linear's weight averaged", "linear", "product(g.T, restored(seen, g.dtype))",
     "product(g.T, restored(seen, g.dtype)) / len(g)",
     "a mean over the batch belongs into the loss"),
)  # fmt: skip

CONTRACTIONS = of(
    "minigrad.ops.contractions",
    ("einsum's letters in reverse", "_gradient", "return unbroadcast(full, shape)",
     "return unbroadcast(full.T, shape)", "right for the first factor of a matrix product only"),
    ("einsum spreads a diagonal", "_gradient", "diagonal[...] =", "gradient[...] =",
     "the gradient of a trace is the identity, not ones"),
)  # fmt: skip

COMPLEX_STEP = of(
    "minigrad.checking.complex_step",
    ("the gradient in place of its change", "_complex_step", "np.asarray(g.imag / COMPLEX_STEP)",
     "np.asarray(g.real)", "the real part is the gradient itself"),
    ("any function counts as analytic", "_complex_step", "<= allowed", "<= np.inf",
     "complex numbers computed are not complex numbers right"),
)  # fmt: skip

BACKEND = of(
    "minigrad.backend",
    ("buffered += with repeated indices", "scatter_add",
     "array_module(target).add.at(target, index, values)", "target[index] += values",
     "NumPy writes each position once"),
    ("only the first of equal rows", "_sum_runs", "np.add.reduceat(values, starts, axis=0)",
     "values[starts]", "a sum over a run taken for its first element"),
    ("only the first of equal wide rows", "_sum_runs", ".sum(axis=0)", "[0]",
     "a sum over a run taken for its first element"),
    ("wide rows without the last run", "_sum_runs", "len(values))", "starts[-1])",
     "the last run ends where all values do"),
    ("rows in their old order", "add_rows", "values[order]", "values",
     "rows sorted, values not"),
)  # fmt: skip

RECOMPUTE = of(
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
    *(*ACTIVATION, *GELUS, *PROBABILITIES, *LOSSES, *NORMALISATION, *NOISE),
    *(*MASKS, *PACKED, *ATTENTION),
    *(*CONV, *POOLING, *BATCH_NORM),
    *(*MODEL, *SIGMOID_LOSS, *STEP, *OVERLAP, *MEETING, *RANKS, *WORKER, *SUMS, *PLAN),
]
