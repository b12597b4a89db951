"""How are gradients added over ranks while others are still being made?

The way back of a step ends in a sum over the ranks (communicator/). For a large model
that is much to send: 605 MB for a ViT-B/32. But the network need not be idle until the
last gradient is there. All ranks walk back through one encoder after the other, so the
gradients of the first are complete while those of the second are being made:

    computing    | vision: way back | text: way back          |        | update
    sending                         | vision: sum     |       | text: sum

*Groups.* The gradients of an encoder are one group, which travels when all workers of
this rank have left that encoder. A parameter of two encoders belongs to the later one's
group. Those of the loss, such as the temperature, belong to the last.

*One order.* Every rank sums the groups in the same order, also those to which it adds
nothing. Else a rank would wait for the vision encoder's sum while another one waits for
the text encoder's, for ever.

*One voice.* A single thread talks to the other ranks at a time. The sums of all groups
but the last are taken in a thread of their own. That thread is done before the last sum
begins. Encoders that mix samples talk too, in the middle of their way back
(minigrad/gathering.py). So they come first, in one group: until they are complete,
nothing is summed.

Which numbers are added, and in which order, does not depend on when that is done.

Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel
Training", arXiv:2006.15704, section 3.2.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from clip_np.encoders import Encoder
from clip_np.training.communicator import Communicator
from clip_np.training.division import mixing_encoders
from clip_np.training.sums import GradientSums
from minigrad.backend import Array, move, use_device
from minigrad.nn import Parameter


class Group(NamedTuple):
    """Gradients that are summed together, when all of `encoders` are complete.

    positions are those of the parameters in the list that all workers share.
    """

    encoders: list[str]
    positions: list[int]


def groups_of(encoders: Mapping[str, Encoder], parameters: Sequence[Parameter]) -> list[Group]:
    """The groups of a step's gradients, in the order in which they are summed.

    >>> import numpy as np
    >>> from clip_np import CLIP, PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> for group in groups_of(model.encoders, model.parameters()):
    ...     print(group.encoders, len(group.positions))
    ['vision'] 44
    ['text'] 42
    """
    mixing = mixing_encoders(encoders)
    others = [[name] for name in encoders if name not in mixing]
    groups = [Group(names, []) for names in ([mixing, *others] if mixing else others)]
    last_group: dict[int, Group] = {}  # that has a parameter, by the parameter's identity
    for group in groups:
        for name in group.encoders:
            last_group |= {id(parameter): group for parameter in encoders[name].parameters()}
    for position, parameter in enumerate(parameters):
        last_group.get(id(parameter), groups[-1]).positions.append(position)
    return [group for group in groups if group.positions or group is groups[-1]]


class Summation:
    """The sums of a step's gradients over the workers of this rank and over all ranks.

    of_loss has gradients that no worker makes, by position. It is the same on every
    rank, so only one of them may pass it.
    """

    def __init__(
        self,
        sums: GradientSums,
        encoders: Mapping[str, Encoder],
        parameters: Sequence[Parameter],
        of_loss: Mapping[int, Array],
        comm: Communicator,
    ) -> None:
        self.sums = sums
        self.parameters = parameters
        self.of_loss = of_loss
        self.comm = comm
        everything = Group(list(encoders), list(range(len(parameters))))
        self.groups = groups_of(encoders, parameters) if comm.overlaps else [everything]
        self.totals: list[Array | None] = [None] * len(parameters)
        self.error: Exception | None = None

    def run(self, way_back: Callable[[], None]) -> list[Array | None]:
        """Let `way_back` make the gradients, and add them up meanwhile and afterwards.

        Returns the sum for each parameter, or None where no rank had anything.
        """
        if len(self.groups) > 1:
            self._run_beside(way_back)
        else:
            way_back()
        self._add_up(self.groups[-1])
        return self.totals

    def _run_beside(self, way_back: Callable[[], None]) -> None:
        """Run `way_back` while a thread takes the sums of all groups but the last."""
        # A daemon: if a worker fails, the thread may wait for other ranks for ever.
        voice = threading.Thread(target=self._add_up_early, name="sums over ranks", daemon=True)
        voice.start()
        try:
            way_back()
        except BaseException:
            self.sums.give_up()
            raise
        voice.join()
        if self.error is not None:
            raise self.error

    def _add_up_early(self) -> None:
        """Sum all groups but the last, each as soon as this rank's part is complete."""
        try:
            use_device(self.parameters[0].data)  # a new thread begins on the first one
            for group in self.groups[:-1]:
                if self.sums.wait_for(group.encoders):
                    self._add_up(group, early=True)
        except Exception as error:
            self.error = error  # for the thread that computes

    def _add_up(self, group: Group, early: bool = False) -> None:
        """Sum the gradients of a group that is complete."""
        of_workers = self.sums.finish(group.positions)
        gradients = [
            added(of_workers.get(position), self.of_loss.get(position))
            for position in group.positions
        ]
        members = [self.parameters[position] for position in group.positions]
        totals = sum_over_ranks(gradients, members, self.comm, early)
        for position, total in zip(group.positions, totals):
            self.totals[position] = total


def added(first: Array | None, second: Array | None) -> Array | None:
    """The sum of the two, or the one that is not None.

    >>> added(1.5, 2.0), added(None, 2.0), added(None, None)
    (3.5, 2.0, None)
    """
    if first is None or second is None:
        return second if first is None else first
    return first + second


def sum_over_ranks(
    gradients: Sequence[Array | None],
    parameters: Sequence[Parameter],
    comm: Communicator,
    early: bool,
) -> list[Array | None]:
    """The gradients of these parameters, added over the ranks, by way of the host."""
    if comm.size == 1:
        return list(gradients)
    sent = [None if gradient is None else move(gradient, "numpy") for gradient in gradients]
    like = [parameter.data for parameter in parameters]
    totals = comm.all_reduce(sent, like, early=early)
    return [
        None if total is None else move(total, parameter.backend)
        for parameter, total in zip(parameters, totals)
    ]
