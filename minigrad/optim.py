"""Chapter 12: given a gradient, how far should each parameter move?

SGD moves each parameter against its gradient. AdamW divides by how large the gradients of that
parameter usually are, so that all parameters move at a similar pace:

    m = b1 m + (1 - b1) g            running mean of the gradient
    v = b2 v + (1 - b2) g^2          running mean of its square
    p = p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) - lr weight_decay p

The two divisions by 1 - b^t undo that m and v start at zero. Weight decay pulls on the
parameter itself and not through g (that is the W in AdamW); gains, biases and the temperature,
everything with fewer than two dimensions, are left out of it.

A model has hundreds of small arrays, and a pass over each of them costs more in calls than in
arithmetic. So the optimizer moves all parameters of a group into one long buffer (`Flat`), of
which they become views, and updates it in blocks that stay in the cache.

Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101 (AdamW) and
2017, arXiv:1608.03983 (cosine schedule).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module, as_array, backend_of, move, use_device
from minigrad.flat import Flat
from minigrad.nn import Parameter
from minigrad.threads import parallel_map


class Optimizer:
    """Parameter groups, each a dict with "params", "lr" and "weight_decay", on flat buffers.
    A plain list of parameters becomes two groups: those with two or more dimensions, with weight
    decay, and the rest without. Groups given as dicts are taken as they are. A subclass says in
    update(p, g, moments, group) how the numbers p move, in place; it may overwrite g."""

    n_moments = 0

    def __init__(self, params: Sequence[Any], lr: float, weight_decay: float) -> None:
        groups = list(params)
        if not groups or not isinstance(groups[0], Mapping):
            wide = [each for each in groups if each.ndim >= 2]
            narrow = [each for each in groups if each.ndim < 2]
            groups = [{"params": wide}, {"params": narrow, "weight_decay": 0.0}]
        groups = [{"lr": lr, "weight_decay": weight_decay, **group} for group in groups]
        for group in groups:
            if set(group) != {"params", "lr", "weight_decay"}:
                expected = '"params", "lr" and "weight_decay"'
                raise ValueError(f"optimizer: a group has {expected}, not {list(group)}")
            group["params"] = list(group["params"])
        self.groups = [group for group in groups if group["params"]]
        every = [id(each) for each in self.params]
        if not every:
            raise ValueError("optimizer: no parameters given")
        if len(set(every)) < len(every):
            raise ValueError("optimizer: a parameter occurs twice")
        self.step_count = 0
        self.flats = [Flat(group["params"]) for group in self.groups]
        self.moments = [
            [array_module(flat.data).zeros_like(flat.data) for _ in range(self.n_moments)]
            for flat in self.flats
        ]

    @property
    def params(self) -> list[Parameter]:
        """All parameters, group by group."""
        return [each for group in self.groups for each in group["params"]]

    @property
    def lr(self) -> float:
        """The learning rate of the first group; setting it sets that of every group."""
        return self.groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        for group in self.groups:
            group["lr"] = value

    def step(self, workers: int = 1) -> None:
        """Update every parameter that has a gradient, on `workers` threads."""
        self.step_count += 1
        for position, group in enumerate(self.groups):
            flat = self.flats[position]
            if not flat.intact():
                flat = self.flats[position] = Flat(group["params"])
                backend, dtype = backend_of(flat.data), flat.data.dtype
                moved = [move(each, backend).astype(dtype) for each in self.moments[position]]
                self.moments[position] = moved
        work = [(i, block) for i, flat in enumerate(self.flats) for block in flat.blocks()]

        def update(item: tuple[int, slice]) -> None:
            i, block = item
            moments = [moment[block] for moment in self.moments[i]]
            flat = self.flats[i]
            use_device(flat.data)
            self.update(flat.data[block], flat.gradient(block), moments, self.groups[i])

        parallel_map(update, work, workers)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for each in self.params:
            each.zero_grad()

    def state_dict(self) -> dict[str, Array]:
        """Copies of what the optimizer remembers between steps, as arrays."""
        state = {"step_count": np.asarray(self.step_count)}
        for i, moments in enumerate(self.moments):
            state |= {f"group{i}.moment{j}": each.copy() for j, each in enumerate(moments)}
        return state

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Restore `state_dict`; ValueError, before anything is changed, where it does not fit."""
        own = self.state_dict()
        if set(own) != set(state) or any(own[key].shape != state[key].shape for key in own):
            raise ValueError("optimizer: the saved state belongs to another model or optimizer")
        self.step_count = int(state["step_count"])
        for i, moments in enumerate(self.moments):
            for j, moment in enumerate(moments):
                moment[...] = move(state[f"group{i}.moment{j}"], backend_of(moment))


class SGD(Optimizer):
    """p = p - lr u,  u = momentum u + g + weight_decay p."""

    n_moments = 1

    def __init__(
        self, params: Sequence[Any], lr: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        self.momentum = momentum
        super().__init__(params, lr, weight_decay)

    def update(self, p: Array, g: Array, moments: list[Array], group: dict) -> None:
        (velocity,) = moments
        g += group["weight_decay"] * p
        velocity *= self.momentum
        velocity += g
        p -= group["lr"] * velocity


class AdamW(Optimizer):
    """Adam with decoupled weight decay; the formulas stand at the head of the chapter."""

    n_moments = 2

    def __init__(
        self,
        params: Sequence[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        self.betas, self.eps = betas, eps
        super().__init__(params, lr, weight_decay)

    def update(self, p: Array, g: Array, moments: list[Array], group: dict) -> None:
        mean, square = moments
        (beta1, beta2), lr = self.betas, group["lr"]
        mean *= beta1
        mean += (1.0 - beta1) * g
        g *= g
        g *= 1.0 - beta2
        square *= beta2
        square += g
        # lr (m / c1) / (sqrt(v / c2) + eps) with the corrections c1 and c2 drawn into numbers
        step = array_module(p).sqrt(square, out=g)
        step *= 1.0 / math.sqrt(1.0 - beta2**self.step_count)
        step += self.eps
        array_module(p).divide(mean, step, out=step)
        step *= lr / (1.0 - beta1**self.step_count)
        p *= 1.0 - lr * group["weight_decay"]
        p -= step


def clip_grad_norm(params: Sequence[Parameter], max_norm: float | None, workers: int = 1) -> Array:
    """Scale all gradients, in place, so that their common length is at most max_norm. Returns the
    length before, a 0-d array; None measures only. Pascanu et al. 2013, arXiv:1211.5063."""
    gradients = [each.grad for each in params if each.grad is not None]
    if not gradients:
        raise ValueError("clip_grad_norm: no parameter has a gradient")
    xp = array_module(gradients[0])
    flat = [g.reshape(-1) for g in gradients]  # (n,) each
    squares = parallel_map(lambda g: xp.vdot(g, g), flat, workers)
    norm = as_array(xp.sqrt(sum(squares[1:], squares[0])))
    if max_norm is None or (xp is np and norm <= max_norm):
        return norm
    scale = xp.minimum(1.0, max_norm / (norm + 1e-6)).astype(norm.dtype)
    parallel_map(lambda g: xp.multiply(g, scale, out=g), gradients, workers)
    return norm


def warmup_cosine(step: int, total: int, warmup: int, base_lr: float, min_lr: float = 0.0) -> float:
    """The learning rate of step 0, 1, ..., total-1: a linear rise to base_lr over `warmup`
    steps, then half a cosine down to min_lr."""
    if step < warmup:
        return base_lr * (step + 1) / warmup
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)
    return min_lr + 0.5 * (base_lr - min_lr) * (1.0 + math.cos(math.pi * progress))
