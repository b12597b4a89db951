"""How are the gradients of several threads added up so that the sum is always the same?

Each worker makes gradients for the parameters of the encoders that it runs. The
gradient of a parameter is the sum over the workers. In floating point the order of a
sum matters:

    (1 + 1e8) - 1e8 = 0        but        1 + (1e8 - 1e8) = 1        in float32

Which worker is ready first is a matter of chance, so its turn must not depend on that.
The rule is that worker 0 comes first, then worker 1, and so on. A gradient that comes
before its turn waits.

Gradients are added as they come in. So at no time does each worker hold a whole set of
them, which for a large model would be most of the memory.

The encoders are complete one after the other. Where several ranks take a step together,
a thread waits for each encoder and sends its gradients at once (overlap.py).

Goldberg 1991, "What Every Computer Scientist Should Know About Floating-Point
Arithmetic".
"""

import threading
from collections.abc import Collection, Sequence

from clip_np.training.plan import Unit
from minigrad.backend import Array


class GradientSums:
    """The gradient of each parameter, summed over the workers in their order.

    A parameter is known by its position in a list that all workers share. Encoders are
    kept apart until the end, because two of them may share a parameter.

    >>> import numpy as np
    >>> unit = Unit("text", slice(0, 4), cost=1.0)
    >>> sums = GradientSums([[unit], [unit]])  # two workers run the text encoder
    >>> sums.add("text", position=7, worker=1, gradient=np.array([30.0]))  # waits
    >>> sums.add("text", position=7, worker=0, gradient=np.array([4.0]))
    >>> sums.finish([7])
    {7: array([34.])}
    """

    def __init__(self, loads: Sequence[Sequence[Unit]]) -> None:
        self.workers_of: dict[str, list[int]] = {}  # the encoder's name -> who runs it, in order
        for worker, load in enumerate(loads):
            for encoder in dict.fromkeys(unit.encoder for unit in load):
                self.workers_of.setdefault(encoder, []).append(worker)
        # By encoder and position: the sum so far and the workers still to be added. By
        # encoder, position and worker: the gradients that came before their turn.
        self.totals: dict[tuple[str, int], Array] = {}
        self.turns: dict[tuple[str, int], list[int]] = {}
        self.waiting: dict[tuple[str, int, int], Array] = {}
        # By encoder: the workers that may still have gradients for it.
        self.at_work = {encoder: set(workers) for encoder, workers in self.workers_of.items()}
        self.is_given_up = False
        self.lock = threading.Condition()

    def add(self, encoder: str, position: int, worker: int, gradient: Array) -> None:
        """Take the gradient of one worker. Nobody else may hold the array.

        Other gradients are added to it in place.
        """
        with self.lock:
            self.waiting[encoder, position, worker] = gradient
            turns = self.turns.setdefault((encoder, position), self.workers_of[encoder].copy())
            while turns and (encoder, position, turns[0]) in self.waiting:
                key = (encoder, position, turns.pop(0))
                self._add_up(encoder, position, self.waiting.pop(key))

    def leave(self, encoder: str, worker: int) -> None:
        """The worker has no more gradients for this encoder's parameters."""
        with self.lock:
            self.at_work[encoder].discard(worker)
            self.lock.notify_all()

    def wait_for(self, encoders: Collection[str]) -> bool:
        """Return True when all workers have left these encoders.

        False if that will never be, because the step has been given up.
        """
        with self.lock:
            self.lock.wait_for(lambda: self.is_given_up or not any(map(self.at_work.get, encoders)))
            return not self.is_given_up

    def give_up(self) -> None:
        """Let nobody wait any longer: a worker has failed."""
        with self.lock:
            self.is_given_up = True
            self.lock.notify_all()

    def finish(self, positions: Collection[int]) -> dict[int, Array]:
        """Hand over the sums at these positions, once their encoders have been left.

        If a worker's samples do not use a parameter, its turn never comes, and the
        gradients of the workers after it would wait for ever. They are added now, again
        in the order of the workers. Then the sums of encoders that share a parameter
        are added, in the order of the encoders' names.
        """
        asked = set(positions)
        sums: dict[int, Array] = {}
        with self.lock:
            for encoder, position, worker in sorted(self.waiting):
                if position in asked:
                    gradient = self.waiting.pop((encoder, position, worker))
                    self._add_up(encoder, position, gradient)
            for encoder, position in sorted(self.totals):
                if position in asked:
                    total = self.totals.pop((encoder, position))
                    sums[position] = sums[position] + total if position in sums else total
        return sums

    def _add_up(self, encoder: str, position: int, gradient: Array) -> None:
        key = (encoder, position)
        if key in self.totals:
            self.totals[key] += gradient
        else:
            self.totals[key] = gradient
