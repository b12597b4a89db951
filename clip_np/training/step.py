"""Chapter 20: how is one training step shared among cores, and made to fit into memory?

The samples of a batch meet in the loss and nowhere else. So a step can be cut there:

    1. encode the batch in pieces, each piece by itself
    2. gather the embeddings, (N, E) for each side: small, however large the batch
    3. take the loss over the whole batch, and its gradient with respect to the embeddings
    4. push each piece's rows of that gradient back through the piece that made them

The chain rule says that this is the gradient of the whole, not an approximation of it. (Taking
the loss of each piece alone would not be: every image must be compared with every caption.) The
temperature enters at step 3 only, so its gradient comes out once.

The same lines do two jobs. Pieces can be given to worker threads, each with its own tape (NumPy
leaves Python's lock during its work, so they do run at once). And pieces need not keep their
tapes: encoded once without, and once more when their gradient is there, they make the memory of
a step that of one piece. Which worker does what is fixed by the sizes alone, and sums are taken
in a fixed order: the same seed and number of workers give the same bits.

Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size", arXiv:2101.06983.
"""

import contextlib
import itertools
import threading
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from clip_np.losses import contrastive_loss, loss_for
from clip_np.model import CLIP
from minigrad.backend import Array, array_module, move, use_device
from minigrad.debug import explain_memory
from minigrad.memory import Arena, using
from minigrad.optim import Optimizer, clip_grad_norm
from minigrad.threads import available_cores, blas_threads, run_workers


class Unit(NamedTuple):
    """A piece of work: one encoder, "image" or "text", on the samples `rows`, and its cost."""

    tower: str
    rows: slice
    cost: float


def plan(model: CLIP, tokens: Array, shards: int, workers: int) -> list[list[Unit]]:
    """Cut a batch with the captions `tokens` (B, T), short ones first, into units for workers."""
    vision, text = model.vision, model.text
    lengths = text.lengths(tokens)  # (B,)
    bounds = np.linspace(0, len(tokens), shards + 1).astype(int).tolist()
    pieces = [slice(low, high) for low, high in itertools.pairwise(bounds)]
    short = [part for rows in pieces for part in _by_length(lengths, rows)]
    image_costs = [(rows, vision.cost(vision.config.n_tokens)) for rows in pieces]
    text_costs = [(rows, text.cost(int(lengths[rows].max()))) for rows in short]
    units = [Unit("image", rows, cost * (rows.stop - rows.start)) for rows, cost in image_costs]
    units += [Unit("text", rows, cost * (rows.stop - rows.start)) for rows, cost in text_costs]
    if shards == 1:
        # Both workers that share an encoder make gradients for all its weights, to be added up.
        return _cut_evenly(units, workers, 50.0 * sum(each.size for each in model.parameters()))
    loads: list[list[Unit]] = [[] for _ in range(workers)]
    for unit in sorted(units, key=lambda each: -each.cost):
        min(loads, key=lambda load: sum(each.cost for each in load)).append(unit)
    return loads


def _by_length(lengths: Array, rows: slice) -> list[slice]:
    """Cut rows of rising length where that spares a fifth of their tokens: each part is only as
    long as its own longest caption."""
    own = lengths[rows]
    count, before = len(own), np.arange(1, len(own))
    tokens = before * own[:-1] + (count - before) * own[-1]  # in all, if cut there
    if count < 2 or tokens.min() > 0.8 * count * own[-1]:
        return [rows]
    middle = rows.start + 1 + int(tokens.argmin())
    halves = slice(rows.start, middle), slice(middle, rows.stop)
    return [part for half in halves for part in _by_length(lengths, half)]


def _cut_evenly(units: list[Unit], workers: int, price: float) -> list[list[Unit]]:
    """Lay the units end to end and cut the line into equal parts.

    A cut that falls close to a seam between units is moved onto it: few large units are worth a
    little imbalance, of a tenth or of what a cut costs, its `price`.
    """
    seams = np.cumsum([0.0] + [unit.cost for unit in units])
    share = seams[-1] / workers
    cuts = np.arange(workers + 1) * share
    nearest = seams[np.abs(seams - cuts[:, None]).argmin(axis=1)]  # (workers + 1,)
    cuts = np.where(np.abs(nearest - cuts) < max(0.1 * share, price), nearest, cuts)
    loads = []
    for ends in itertools.pairwise(cuts):
        load = []
        for unit, start in zip(units, seams):
            count = unit.rows.stop - unit.rows.start
            low, high = (
                unit.rows.start + round(count * min(max((end - start) / unit.cost, 0.0), 1.0))
                for end in ends
            )
            if low < high:
                load.append(Unit(unit.tower, slice(low, high), unit.cost * (high - low) / count))
        loads.append(load)
    return loads


class _Sums:
    """The parameters' gradients from all workers, added up as they come in, so that no two workers
    hold a whole set of them. Sums are taken in the order of the workers, not in that of time."""

    def __init__(self, loads: list[list[Unit]]) -> None:
        self.workers: dict[str, list[int]] = {"image": [], "text": []}  # of each encoder
        for number, load in enumerate(loads):
            for tower in {unit.tower for unit in load}:
                self.workers[tower].append(number)
        self.totals: dict[Any, Array] = {}  # by leaf
        self.left: dict[Any, list[int]] = {}  # whose gradient of a leaf is still to be added
        self.early: dict[tuple[Any, int], Array] = {}  # gradients that came before their turn
        self.lock = threading.Lock()

    def add(self, tower: str, leaf: Any, number: int, gradient: Array) -> None:
        """Take the gradient of worker `number`; nobody else may hold it."""
        with self.lock:
            self.early[leaf, number] = gradient
            left = self.left.setdefault(leaf, self.workers[tower].copy())
            while left and (leaf, left[0]) in self.early:
                self._add(leaf, self.early.pop((leaf, left.pop(0))))

    def _add(self, leaf: Any, part: Array) -> None:
        if leaf in self.totals:
            self.totals[leaf] += part
        else:
            self.totals[leaf] = part

    def finish(self) -> dict[Any, Array]:
        """The sums, with what still waits for workers that never reached the leaf."""
        for leaf, number in sorted(self.early, key=lambda pair: pair[1]):
            self._add(leaf, self.early[leaf, number])
        return self.totals


class _Worker:
    """One thread's share of a step: units of work, and the parameters' gradients from them."""

    def __init__(
        self, model: CLIP, inputs: dict[str, Any], units: list[Unit], arena: Arena, recompute: bool
    ) -> None:
        self.model, self.inputs, self.units = model, inputs, units
        self.arena, self.recompute = arena, recompute
        self.outputs: list[mg.Tensor] = []

    def encode(self, unit: Unit) -> mg.Tensor:
        if self.recompute:
            self.arena.sweep()  # the next unit may have other shapes: only one's memory is kept
        encoder = self.model.vision if unit.tower == "image" else self.model.text
        return encoder(self.inputs[unit.tower][unit.rows])

    def forward(self) -> None:
        if not self.recompute:
            self.arena.sweep()
        with using(self.arena), mg.no_grad() if self.recompute else contextlib.nullcontext():
            self.outputs = [self.encode(unit) for unit in self.units]

    def backward(self, cotangents: dict[str, Array], number: int, sums: _Sums) -> None:
        """Push the gradients of the embeddings back. An encoder's leaves are handed over to `sums`
        one by one in the last of its units; what those before gave is added here."""
        own: dict[tuple[str, Any], Array] = {}
        last = {unit.tower: unit for unit in self.units}

        def receive(leaf: int, gradient: Array) -> None:
            place = unit.tower, leaf
            if place in own:
                own[place] += gradient
            else:
                own[place] = gradient
            if last[unit.tower] is unit:
                sums.add(*place, number, own.pop(place))

        with using(self.arena):
            for unit, output in zip(self.units, self.outputs):
                output = self.encode(unit) if self.recompute else output
                if output.requires_grad:
                    roots = [(output, cotangents[unit.tower][unit.rows])]
                    mg.backward_into(roots, self.model.parameters(), receive)
        for place, gradient in own.items():  # of leaves that the last unit did not reach
            sums.add(*place, number, gradient)


def _gather(workers: list[_Worker], tower: str, order: Array | slice = slice(None)) -> mg.Tensor:
    """All rows of one encoder's output as a leaf, those of `order` one by one: (B, E)."""
    pairs = [pair for each in workers for pair in zip(each.units, each.outputs)]
    mine = [(unit.rows.start, output.data) for unit, output in pairs if unit.tower == tower]
    parts = [data for _, data in sorted(mine, key=lambda pair: pair[0])]
    return mg.tensor(array_module(parts[0]).concatenate(parts)[order], requires_grad=True)  # (B, E)


@explain_memory("Cut the batch into more pieces: shards=N, or --shards N on the command line")
def loss_and_gradients(
    model: CLIP,
    images: Array | mg.Tensor,
    tokens: Array | mg.Tensor,
    shards: int = 1,
    workers: int | None = None,
    positives: Array | None = None,
) -> Array:
    """The contrastive loss of a batch, a 0-d array; it sets every .grad, adding to none.
    images (B, 3, S, S), tokens (B, T). shards: into how many pieces each encoder's batch is cut;
    workers: how many threads (None: the cores). More shards than workers are encoded twice."""
    images = images.data if isinstance(images, mg.Tensor) else images
    tokens = move(mg.tensor(tokens).data, "numpy")
    count = len(tokens)
    if len(images) != count or count == 0:
        raise ValueError(f"training_step: {len(images)} images but {count} captions")
    if not 1 <= shards <= count:
        raise ValueError(f"training_step: shards must lie in 1..{count} (the batch), got {shards}")
    use_device(model.logit_scale.data)
    n_workers, xp = count_workers(model, workers), array_module(model.logit_scale.data)
    order = np.argsort(model.text.end_positions(tokens), kind="stable")  # captions by length
    inputs = {"image": images, "text": tokens[order]}
    loads = [load for load in plan(model, inputs["text"], shards, n_workers) if load]
    arenas = [Arena() for _ in loads]
    team = [_Worker(model, inputs, *pair, shards > n_workers) for pair in zip(loads, arenas)]
    with blas_threads(1):
        run_workers([worker.forward for worker in team])
        features = [_gather(team, "image"), _gather(team, "text", xp.asarray(np.argsort(order)))]
        loss = contrastive_loss(*features, model.logit_scale, positives)
        *cotangents, d_scale = mg.grad(loss, [*features, model.logit_scale])
        by_tower = {"image": cotangents[0], "text": cotangents[1][xp.asarray(order)]}
        sums = _Sums(loads)
        run_workers([partial(each.backward, by_tower, i, sums) for i, each in enumerate(team)])
    totals = sums.finish()
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = totals.get(number)
    model.logit_scale.grad = d_scale
    return loss.data


def count_workers(model: CLIP, workers: int | None) -> int:
    """`workers`, or where it is None as many as there are cores. A GPU has one: threads of this
    program would only wait for each other there."""
    if workers is not None and workers < 1:
        raise ValueError(f"training_step: workers must be at least 1, got {workers}")
    on_gpu = array_module(model.logit_scale.data) is not np
    return 1 if on_gpu else workers or available_cores()


def training_step(
    model: CLIP,
    optimizer: Optimizer,
    images: Array | mg.Tensor,
    tokens: Array | mg.Tensor,
    shards: int = 1,
    workers: int | None = None,
    comm: None = None,
    loss: str = "clip",
    max_norm: float | None = 1.0,
    positives: Array | None = None,
) -> dict[str, Array]:
    """One whole step: gradients, norm clipping, update, temperature clamp, gradients cleared.

    Arguments as in `loss_and_gradients`; max_norm=None clips nothing. Returns "loss",
    "logit_scale" (the logarithm, after the step) and "grad_norm" (before clipping), 0-d arrays.
    """
    if loss != "clip" or comm is not None:
        raise ValueError('training_step: only loss="clip" on one machine (comm=None) is known')
    parameters = model.parameters()
    # A small model is updated in less time than it takes to start a thread.
    threads = min(1 + sum(p.size for p in parameters) // 2**20, count_workers(model, workers))
    with blas_threads(1):
        value = loss_and_gradients(model, images, tokens, shards, workers, positives)
        norm = clip_grad_norm(parameters, max_norm, threads)
        optimizer.step(threads)
    loss_for(model, loss).clamp()
    for parameter in parameters:
        parameter.zero_grad()
    return {"loss": value, "logit_scale": model.logit_scale.data.copy(), "grad_norm": norm}
