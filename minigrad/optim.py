"""Given a gradient, how far should each parameter move?

*SGD* moves each parameter p against its gradient g. With momentum it moves along a
running sum of gradients, which steadies the direction:

    u = momentum u + g + weight_decay p
    p = p - lr u

*AdamW* divides the gradient of each number by its usual size, so that all numbers move
at a similar pace. In step t = 1, 2, ...:

    m = b1 m + (1 - b1) g            running mean of the gradient
    v = b2 v + (1 - b2) g^2          running mean of its square
    p = p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) - lr weight_decay p

m and v start at zero and are therefore too small at first: after t steps with the same
gradient, m = (1 - b1) (1 + b1 + ... + b1^(t-1)) g = (1 - b1^t) g. The two divisions
undo that. Weight decay pulls on the parameter itself and not through g, which is the W
in AdamW. Parameters with fewer than two dimensions get no weight decay
(`_make_groups`). These are gains, biases, the class token and the temperature: pulling
a gain of 1 towards 0 would not make a model simpler.

An optimizer here works on one long array for each group of parameters. minigrad/flat.py
says why. In use:

    optimizer = AdamW(model.parameters(), lr=1e-3)
    for images, tokens in batches:
        loss = ...
        loss.backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101 (AdamW)
and 2017, arXiv:1608.03983 (cosine schedule).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array, array_module, backend_of, move, on_host, use_device
from minigrad.clipping import clip_grad_norm as clip_grad_norm  # belongs to this interface
from minigrad.flat import Flat
from minigrad.kernels import adamw_update
from minigrad.kernels.adamw_update import AdamWNumbers, SGDNumbers
from minigrad.kernels.launching import choose
from minigrad.nn import Parameter
from minigrad.threads import parallel_map

GROUP_KEYS = {"params", "lr", "lr_factor", "weight_decay"}


class Stretch(NamedTuple):
    """A block of a group's numbers, and their gradient if it is gathered already."""

    group: int
    block: slice
    gradient: Array | None


class Optimizer:
    """What SGD and AdamW share: groups of parameters, and memory between steps.

    params is a list of parameters, or of groups. A group is a dict with "params" and,
    if it is to differ from the rest, "lr", "lr_factor" and "weight_decay". A group
    moves at the rate lr * lr_factor. A schedule sets lr; the factor stays, so that a
    group can be slower than the others all the time. A plain list becomes two groups:
    parameters with two or more dimensions, with weight decay, and the others without.
    ValueError for groups with other keys, for no parameters, and for a parameter that
    occurs twice.

    moments are arrays of the parameters' size that a subclass keeps from step to step:
    n_moments of them for each group.
    """

    n_moments = 0

    def __init__(self, params: Sequence[Any], lr: float, weight_decay: float) -> None:
        self.groups = _make_groups(params, lr, weight_decay)
        self.step_count = 0
        self.flats = [Flat(group["params"]) for group in self.groups]
        self.moments = [self._new_moments(flat) for flat in self.flats]

    def _new_moments(self, flat: Flat) -> list[Array]:
        """Zeros where the numbers of a group live."""
        use_device(flat.data)
        return [array_module(flat.data).zeros_like(flat.data) for _ in range(self.n_moments)]

    def update(
        self, p: Array, g: Array, factor: Array | None, moments: list[Array], group: dict[str, Any]
    ) -> None:
        """Move the numbers p in place, against the gradient g. A subclass defines this.

        p, g and the moments are arrays of one length: a block of the group's long ones.
        The moments are changed in place, too, and g may be overwritten. g is multiplied
        by `factor`, (), before anything else, unless that is None.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def step(self, workers: int = 1) -> None:
        """Update every parameter that has a gradient, on `workers` threads."""
        self.repack()
        self.move(self.stretches(), None, workers)

    def stretches(self) -> list[Stretch]:
        """What a step moves, block by block.

        On a GPU a block is as long as it can be, and its gradient is gathered here. On
        a CPU the thread that moves a block gathers it, and has it in its cache.
        """
        found = []
        for number, flat in enumerate(self.flats):
            use_device(flat.data)
            for block in flat.blocks():
                gradient = None if on_host(flat.data) else flat.gradient(block)
                found.append(Stretch(number, block, gradient))
        return found

    def move(self, stretches: Sequence[Stretch], factor: Array | None, workers: int) -> None:
        """Take the step: update these blocks, with their gradients times `factor`."""
        self.step_count += 1

        def move_one(stretch: Stretch) -> None:
            flat, block = self.flats[stretch.group], stretch.block
            use_device(flat.data)
            gradient = flat.gradient(block) if stretch.gradient is None else stretch.gradient
            self.update(
                p=flat.data[block],
                g=gradient,
                factor=factor,
                moments=[moment[block] for moment in self.moments[stretch.group]],
                group=self.groups[stretch.group],
            )

        parallel_map(move_one, stretches, workers)

    def repack(self) -> None:
        """Follow parameters that were moved or converted since the last step.

        >>> gain = Parameter(np.ones(3, np.float32))
        >>> optimizer = SGD([gain], lr=0.1)
        >>> gain.data = gain.data.astype(np.float64)  # no view of the buffer any more
        >>> optimizer.repack()
        >>> optimizer.flats[0].data.dtype, optimizer.flats[0].intact()
        (dtype('float64'), True)
        """
        for index, flat in enumerate(self.flats):
            if not flat.intact():
                self._pack_again(index)

    def _pack_again(self, index: int) -> None:
        """A new buffer for a group of parameters that were moved or converted."""
        flat = Flat(self.groups[index]["params"])
        backend = backend_of(flat.data)
        self.flats[index] = flat
        self.moments[index] = [
            move(moment, backend).astype(flat.data.dtype) for moment in self.moments[index]
        ]

    @property
    def params(self) -> list[Parameter]:
        """All parameters, group by group."""
        return [parameter for group in self.groups for parameter in group["params"]]

    @property
    def lr(self) -> float:
        """The learning rate of the first group. Setting it sets it for every group."""
        return self.groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        for group in self.groups:
            group["lr"] = value

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.params:
            parameter.zero_grad()

    def state_dict(self) -> dict[str, Array]:
        """Copies of what the optimizer remembers between steps, as arrays."""
        state = {"step_count": np.asarray(self.step_count)}
        for index, moments in enumerate(self.moments):
            for number, moment in enumerate(moments):
                use_device(moment)
                state[f"group{index}.moment{number}"] = moment.copy()
        return state

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Restore `state_dict`; ValueError, and nothing changed, if it does not fit."""
        shapes = {key: array.shape for key, array in state.items()}
        expected = {key: array.shape for key, array in self.state_dict().items()}
        if shapes != expected:
            raise ValueError(
                "optimizer: the saved state belongs to another model or optimizer: it has "
                f"{shapes}, but this one needs {expected}; make the same optimizer for the same "
                "model before you load"
            )
        self.step_count = int(state["step_count"])
        for index, moments in enumerate(self.moments):
            for number, moment in enumerate(moments):
                use_device(moment)
                moment[...] = move(state[f"group{index}.moment{number}"], backend_of(moment))


def _make_groups(params: Sequence[Any], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Complete groups from what an optimizer was called with, without empty ones."""
    groups = list(params)
    if not groups or not isinstance(groups[0], Mapping):
        matrices = [parameter for parameter in groups if parameter.ndim >= 2]
        others = [parameter for parameter in groups if parameter.ndim < 2]
        groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    usual = {"lr": lr, "lr_factor": 1.0, "weight_decay": weight_decay}
    groups = [{**usual, **group} for group in groups]
    for group in groups:
        if set(group) != GROUP_KEYS:
            raise ValueError(
                'optimizer: a group has "params", "lr", "lr_factor" and "weight_decay", not '
                f"{list(group)}; "
                "settings such as `betas` hold for all groups and are passed to the optimizer"
            )
        group["params"] = list(group["params"])
    groups = [group for group in groups if group["params"]]
    identities = [id(parameter) for group in groups for parameter in group["params"]]
    if not identities:
        raise ValueError("optimizer: no parameters given; pass model.parameters()")
    if len(set(identities)) < len(identities):
        raise ValueError("optimizer: a parameter occurs twice; put it into one group only")
    return groups


class SGD(Optimizer):
    """Gradient descent with momentum.

    >>> p = Parameter(np.array([1.0, 1.0]))
    >>> optimizer = SGD([p], lr=0.1)
    >>> p.grad = np.array([2.0, -3.0])
    >>> optimizer.step()
    >>> p.data
    array([0.8, 1.3])
    """

    n_moments = 1

    def __init__(
        self, params: Sequence[Any], lr: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.momentum = momentum

    def update(
        self, p: Array, g: Array, factor: Array | None, moments: list[Array], group: dict[str, Any]
    ) -> None:
        """Move the numbers p in place by the formula at the head of this file."""
        (velocity,) = moments
        numbers = SGDNumbers(
            momentum=self.momentum,
            lr=group["lr"] * group["lr_factor"],
            weight_decay=group["weight_decay"],
        )
        form = choose(p, portable=_sgd_in_place, on_gpu=adamw_update.sgd)
        form(p=p, g=g, velocity=velocity, factor=factor, numbers=numbers)


def _sgd_in_place(
    p: Array, g: Array, velocity: Array, factor: Array | None, numbers: SGDNumbers
) -> None:
    """Move p and its running sum of gradients in place; g is used up."""
    if factor is not None:
        g *= factor
    # u = momentum u + g + weight_decay p
    g += numbers.weight_decay * p
    velocity *= numbers.momentum
    velocity += g
    # p = p - lr u
    p -= numbers.lr * velocity


class AdamW(Optimizer):
    """Adam with decoupled weight decay: the fast form of `plain_adamw.adamw_update`.

    In the first step m / (1 - b1) = g and v / (1 - b2) = g^2. So every number moves by
    lr, whatever the size of its gradient:

    >>> p = Parameter(np.array([1.0, 1.0]))
    >>> optimizer = AdamW([p], lr=0.1)
    >>> p.grad = np.array([2.0, -300.0])
    >>> optimizer.step()
    >>> p.data.round(6)
    array([0.9, 1.1])
    """

    n_moments = 2

    def __init__(
        self,
        params: Sequence[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.betas = betas
        self.eps = eps

    def update(
        self, p: Array, g: Array, factor: Array | None, moments: list[Array], group: dict[str, Any]
    ) -> None:
        """Move the numbers p in place by the formula at the head of this file.

        The two corrections c1 = 1 - b1^t and c2 = 1 - b2^t are single numbers. Joined
        with the other single numbers, they save two divisions of whole arrays:

              lr (m / c1) / (sqrt(v / c2) + eps)
            = (lr / c1) m / (sqrt(v) / sqrt(c2) + eps)
            = a m / (b sqrt(v) + eps)     with a = lr / c1 and b = 1 / sqrt(c2)
        """
        mean, square = moments
        beta1, beta2 = self.betas
        lr = group["lr"] * group["lr_factor"]
        numbers = AdamWNumbers(
            beta1=beta1,
            beta2=beta2,
            a=lr / (1.0 - beta1**self.step_count),
            b=1.0 / math.sqrt(1.0 - beta2**self.step_count),
            eps=self.eps,
            kept=1.0 - lr * group["weight_decay"],
        )
        form = choose(p, portable=_adamw_in_place, on_gpu=adamw_update.adamw)
        form(p=p, g=g, mean=mean, square=square, factor=factor, numbers=numbers)


def _adamw_in_place(
    p: Array, g: Array, mean: Array, square: Array, factor: Array | None, numbers: AdamWNumbers
) -> None:
    """Move p and its running means in place; g is used up."""
    if factor is not None:
        g *= factor
    # m = b1 m + (1 - b1) g
    mean *= numbers.beta1
    mean += (1.0 - numbers.beta1) * g
    # v = b2 v + (1 - b2) g^2
    g *= g
    g *= 1.0 - numbers.beta2
    square *= numbers.beta2
    square += g
    # step = a m / (b sqrt(v) + eps)
    step = array_module(p).sqrt(square, out=g)
    step *= numbers.b
    step += numbers.eps
    array_module(p).divide(mean, step, out=step)
    step *= numbers.a
    # p = (1 - lr weight_decay) p - step
    p *= numbers.kept
    p -= step


def warmup_cosine(step: int, total: int, warmup: int, base_lr: float, min_lr: float = 0.0) -> float:
    """The learning rate of step 0, 1, ..., total - 1.

    It rises in equal steps to base_lr during the first `warmup` steps, and then falls
    along half a cosine to min_lr.

    >>> rates = [warmup_cosine(step, 8, warmup=4, base_lr=1.0) for step in range(8)]
    >>> [round(rate, 3) for rate in rates]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warmup:
        return base_lr * (step + 1) / warmup
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)  # 0 after the warmup, 1 at last
    return min_lr + 0.5 * (base_lr - min_lr) * (1.0 + math.cos(math.pi * progress))
