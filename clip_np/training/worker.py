"""What does one thread do in a training step?

It runs its units twice: forward, to encode their rows, and backward, to push the
gradients of the embeddings back through the encoder. In between all threads meet in the
loss (batch_gradient.py).

    forward            units -> embeddings
    (all threads)      embeddings -> loss -> gradients of the embeddings
    backward           units <- their rows of these gradients

There are two ways to keep a unit's intermediate results until the way back:

- *Keep the tape.* The forward pass is recorded, and `backward` walks along this tape.
- *Recompute.* The forward pass records nothing. `backward` encodes one unit again, this
  time with a tape, walks back, and lets go of the tape before it turns to the next
  unit. That is one forward pass more, but only one unit at a time is in memory.

An encoder that is frozen has no way back: it is encoded once and never recorded.

A thread has its own tapes and its own memory (`Arena`). The only thing that threads
share on the way back is where gradients are added up (`GradientSums`). All threads walk
back through one encoder after the other, in the same order. So the first encoder is
complete early, and its gradients can be sent to other ranks (overlap.py).
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import minigrad as mg
from clip_np.encoders import Encoder, is_frozen
from clip_np.training.plan import Unit
from clip_np.training.sums import GradientSums
from minigrad.backend import Array
from minigrad.memory import Arena, using
from minigrad.nn import Parameter


class Worker:
    """One thread's part of a step: its units, and where their inputs are.

    inputs are whole batches, by encoder. number is the thread's turn when gradients are
    added up. outputs are the units' embeddings.
    """

    def __init__(
        self,
        number: int,
        encoders: Mapping[str, Encoder],
        inputs: Mapping[str, Array],
        units: Sequence[Unit],
        arena: Arena,
        recompute: bool,
    ) -> None:
        self.number = number
        self.encoders = encoders
        self.inputs = inputs
        self.units = units
        self.arena = arena
        self.recompute = recompute
        self.outputs: list[mg.Tensor] = []

    def forward(self) -> None:
        """Encode all units."""
        if not self.recompute:
            self.arena.sweep()
        recording = mg.no_grad() if self.recompute else contextlib.nullcontext()
        with using(self.arena), recording:
            self.outputs = [self._encode(unit) for unit in self.units]

    def backward(
        self,
        feature_gradients: Mapping[str, Array],
        parameters: Sequence[Parameter],
        sums: GradientSums,
    ) -> None:
        """Push the gradients of the embeddings back to `parameters`.

        feature_gradients belong to whole batches, (B, E), by encoder. What is complete
        is handed over to `sums`.
        """
        with using(self.arena):
            for name in self.encoders:
                passed = [pair for pair in zip(self.units, self.outputs) if pair[0].encoder == name]
                if not passed:
                    continue
                if not is_frozen(self.encoders[name]):
                    self._walk_back(passed, feature_gradients[name], parameters, sums)
                sums.leave(name, self.number)

    def _walk_back(
        self,
        passed: Sequence[tuple[Unit, mg.Tensor]],
        feature_gradients: Array,
        parameters: Sequence[Parameter],
        sums: GradientSums,
    ) -> None:
        """Push gradients back through the units of one encoder, with their outputs.

        The gradients from all of them are added up here. In the last one, each
        parameter's gradient is handed over as soon as it is complete.
        """
        so_far: dict[int, Array] = {}  # position of the parameter -> sum
        last_unit = passed[-1][0]
        for unit, output in passed:
            embeddings = self._encode(unit) if self.recompute else output
            if embeddings.requires_grad:
                is_last = unit is last_unit
                receive = self._receiver(unit.encoder, so_far, sums if is_last else None)
                root = (embeddings, feature_gradients[unit.rows])
                mg.backward_into([root], parameters, receive)
        for position, gradient in so_far.items():  # what the last unit did not reach
            sums.add(last_unit.encoder, position, self.number, gradient)

    def _receiver(
        self, encoder: str, so_far: dict[int, Array], sums: GradientSums | None
    ) -> Callable[[int, Array], None]:
        """A function that adds the gradients of one unit to `so_far`.

        With `sums`, the unit is the last one of its encoder, and complete gradients go
        to `sums`.
        """

        def receive(position: int, gradient: Array) -> None:
            if position in so_far:
                so_far[position] += gradient
            else:
                so_far[position] = gradient
            if sums is not None:
                sums.add(encoder, position, self.number, so_far.pop(position))

        return receive

    def _encode(self, unit: Unit) -> mg.Tensor:
        """The embeddings of a unit's rows: (rows, E)."""
        if self.recompute:
            # The next unit may have other shapes. Only one unit's memory is to be kept.
            self.arena.sweep()
        return self.encoders[unit.encoder](self.inputs[unit.encoder][unit.rows])
