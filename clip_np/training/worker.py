"""What does one thread do in a training step?

It runs its units twice: forward, to encode their rows, and backward, to push the
gradients of the embeddings back through the encoder. In between all threads meet in the
loss (step.py).

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
share on the way back is where gradients are added up (`GradientSums`).
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

        feature_gradients belong to whole batches, (B, E), by encoder. The gradients
        from all units of an encoder are added up here. In the last of these units, each
        parameter's gradient is handed over to `sums` as soon as it is complete.
        """
        so_far: dict[tuple[str, int], Array] = {}  # (encoder, position of the parameter) -> sum
        last_units = {unit.encoder: unit for unit in self.units}
        with using(self.arena):
            for unit, output in zip(self.units, self.outputs):
                if is_frozen(self.encoders[unit.encoder]):
                    continue
                embeddings = self._encode(unit) if self.recompute else output
                if embeddings.requires_grad:
                    is_last = unit is last_units[unit.encoder]
                    receive = self._receiver(unit.encoder, so_far, sums if is_last else None)
                    root = (embeddings, feature_gradients[unit.encoder][unit.rows])
                    mg.backward_into([root], parameters, receive)
        for (encoder, position), gradient in so_far.items():  # what the last unit did not reach
            sums.add(encoder, position, self.number, gradient)

    def _receiver(
        self, encoder: str, so_far: dict[tuple[str, int], Array], sums: GradientSums | None
    ) -> Callable[[int, Array], None]:
        """A function that adds the gradients of one unit to `so_far`.

        With `sums`, the unit is the last one of its encoder, and complete gradients go
        to `sums`.
        """

        def receive(position: int, gradient: Array) -> None:
            key = encoder, position
            if key in so_far:
                so_far[key] += gradient
            else:
                so_far[key] = gradient
            if sums is not None:
                sums.add(encoder, position, self.number, so_far.pop(key))

        return receive

    def _encode(self, unit: Unit) -> mg.Tensor:
        """The embeddings of a unit's rows: (rows, E)."""
        if self.recompute:
            # The next unit may have other shapes. Only one unit's memory is to be kept.
            self.arena.sweep()
        return self.encoders[unit.encoder](self.inputs[unit.encoder][unit.rows])
