"""How does a program ask for derivatives?

`loss.backward()` (minigrad/tensor.py) leaves the gradients in the leaves, where an
optimizer looks for them. The functions of this file hand them over instead, and touch
no `.grad`:

    grad(output, inputs)               the gradients of a result
    value_and_grad(fn, inputs)         fn's result and its gradients
    backward_into(roots, leaves, ...)  one gradient after the other, for threads

All of them are one walk back along the tape (minigrad/tape.py). They differ in what
they do with a gradient when it is complete.
"""

from collections.abc import Callable, Sequence
from typing import Any

from minigrad.backend import Array, array_module
from minigrad.recording import recording
from minigrad.tape import Place, Walk
from minigrad.tensor import Tensor, as_cotangent


def grad(
    output: Tensor,
    inputs: Tensor | Sequence[Tensor],
    cotangent: Any = None,
    retain_graph: bool = False,
) -> tuple[Array, ...]:
    """d(output)/d(input) for each input, contracted with `cotangent`, as arrays.

    No .grad is touched. The inputs may be leaves or results in between. An input that
    the output does not depend on gets zeros. `cotangent` has the shape of the output,
    and may be left out if the output has one element. Raises ValueError if an input
    does not require a gradient.

    >>> import numpy as np
    >>> x = Tensor(np.array([1.0, 3.0]), requires_grad=True)
    >>> y = x * x
    >>> grad(y.sum(), [x, y])
    (array([2., 6.]), array([1., 1.]))
    """
    tensors = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    places: set[Place] = set()
    for position, tensor in enumerate(tensors):
        if tensor._place is None:
            raise ValueError(
                f"grad: input {position} does not require a gradient; make it with "
                "mg.tensor(..., requires_grad=True), before the output is computed"
            )
        places.add(tensor._place)
    gradients: dict[Place | None, Array] = {}

    def receive(place: Place, gradient: Array, owned: bool) -> None:
        if place in places:
            gradients[place] = gradient if owned else gradient.copy()

    if output._place is not None:
        root = (output._place, as_cotangent("grad", cotangent, output.data))
        Walk(retain_graph).run([root], receive, wanted=places)
    results: list[Array] = []
    handed_over: set[Place | None] = set()
    for tensor in tensors:
        gradient = _gradient_or_zeros(gradients.get(tensor._place), tensor)
        # A tensor that was asked for twice gets two arrays: nobody expects the second
        # to change when the first does.
        results.append(gradient.copy() if tensor._place in handed_over else gradient)
        handed_over.add(tensor._place)
    return tuple(results)


def _gradient_or_zeros(gradient: Array | None, tensor: Tensor) -> Array:
    """`gradient`, or zeros like `tensor` if no gradient has arrived."""
    return array_module(tensor.data).zeros_like(tensor.data) if gradient is None else gradient


def value_and_grad(fn: Callable[..., Tensor], inputs: Any) -> tuple[Array, tuple[Array, ...]]:
    """fn(*inputs) as an array, and its gradient with respect to each input.

    The inputs are float arrays or tensors: a sequence of them, or a single one. fn is
    called with new leaves that share their arrays, and returns a tensor with one
    element. Gradients do not flow on to whatever made the inputs. Raises ValueError if
    fn returns several elements, TypeError if an input is not a float array or fn
    returns no tensor.

    >>> import numpy as np
    >>> x, w = np.array([1.0, 3.0]), np.array([2.0, 4.0])
    >>> value_and_grad(lambda x, w: (x * w).sum(), [x, w])
    (array(14.), (array([2., 4.]), array([1., 3.])))
    """
    several = inputs if isinstance(inputs, (list, tuple)) else (inputs,)
    arrays = [value.data if isinstance(value, Tensor) else value for value in several]
    for position, array in enumerate(arrays):
        if getattr(array, "dtype", None) is None or array.dtype.kind not in "fc":
            raise TypeError(
                f"value_and_grad: input {position} is no array of floats, got "
                f"{getattr(array, 'dtype', type(array).__name__)}; pass np.array(..., float)"
            )
    leaves = [Tensor(array, requires_grad=True) for array in arrays]
    with recording(True):
        output = fn(*leaves)
    if not isinstance(output, Tensor):
        raise TypeError(f"value_and_grad: fn must return a tensor, got {type(output).__name__}")
    if output.size != 1:
        raise ValueError(
            f"value_and_grad: fn must return one element, got shape {output.shape}; "
            "return a sum or a mean"
        )
    return output.data, grad(output, leaves)


def backward_into(
    roots: Sequence[tuple[Tensor, Array]],
    leaves: Sequence[Tensor],
    receive: Callable[[int, Array], None],
) -> None:
    """Walk back from `roots` and hand over the gradient of each leaf as it is complete.

    `roots` are pairs of a tensor and the gradient of the loss with respect to it. The
    call receive(position, gradient) names the leaf by its position in `leaves`. Nobody
    else holds the array. A leaf that no root depends on is left out. No .grad is
    touched, so several threads may walk back to the same parameters at once, with a
    `receive` for each thread.

    >>> import numpy as np
    >>> x = Tensor(np.array([1.0, 3.0]), requires_grad=True)
    >>> y, z = x * x, x * 10.0
    >>> backward_into([(y, np.ones(2)), (z, np.ones(2))], [x], receive=print)
    0 [12. 16.]
    """
    positions = {leaf._place: position for position, leaf in enumerate(leaves)}

    def hand_over(place: Place, gradient: Array, owned: bool) -> None:
        if place in positions:
            receive(positions[place], gradient if owned else gradient.copy())

    starts = []
    for tensor, cotangent in roots:
        if tensor._place is not None:
            starts.append((tensor._place, as_cotangent("backward_into", cotangent, tensor.data)))
    Walk().run(starts, hand_over)
