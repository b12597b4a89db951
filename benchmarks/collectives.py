"""How fast do ranks talk to each other, and what is a second one worth?

    python -m benchmarks.collectives                            two processes
    mpiexec -n 2 python -m mpi4py -m benchmarks.collectives     two ranks of MPI

Both measure the sum of arrays of several sizes over all ranks, and a message of one
number. A sum of S bytes over n ranks sends and receives, on each of them, at least
2 (n - 1) / n S bytes. The *latency* is the time of a sum of one number. The bandwidth
is that of the largest sum, latency left out.

With `--step base32`, training steps are taken instead, in several ways by turns:

    one rank     rank 0 computes the whole batch, and the others wait
    all ranks    each computes a part; gradients are summed at the end
    early        the same, but an encoder's are summed when it is complete (MPI only)

Each rank has one thread. Times are medians of rank 0. The last line is one JSON object.
"""

import argparse
import itertools
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.configs import SETTINGS, Setting
from benchmarks.sides import OPTIONS
from clip_np import CLIP
from clip_np.training import ProcessTeam, TrainingStep
from clip_np.training.communicator import (
    Block,
    Communicator,
    MpiRank,
    OneProcess,
    ProcessRank,
    Sizes,
    rank_of_launch,
)
from clip_np.training.communicator.shared_block import aligned
from minigrad.blas import blas_threads
from minigrad.optim import AdamW

SIZES = [4, 1_444_100, 16_000_000, 128_000_000]
"""Bytes: one number, the gradients of `tiny`, and two longer ones."""

PARAMETERS = 32
"""Arrays of equal length that make up a sum, as parameters do in a step."""

MOST_BYTES = 500_000_000
"""A size is summed until so many bytes were, but at least 7 and at most 500 times."""

STEPS = 4  # of a side in a turn


def repeats_of(size: int) -> int:
    """How often a sum of `size` bytes is measured."""
    return int(np.clip(MOST_BYTES // size, 7, 500))


def median_ms(comm: Communicator, function: Callable[[], Any], repeats: int) -> float:
    """The median time of a collective, which all ranks begin together."""
    times = []
    for _ in range(repeats):
        comm.barrier()
        started = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def measure(comm: Communicator) -> dict[str, float]:
    """Latencies in us, times of sums in ms and the bandwidth in GB/s."""
    share = 2 * (comm.size - 1) / comm.size
    number = np.zeros(1, np.float32)
    results = {"gather_us": 1e3 * median_ms(comm, lambda: comm.all_gather(number), 500)}
    for size in SIZES:
        pieces = np.array_split(np.ones(size // 4, np.float32), PARAMETERS)
        results[f"sum_{size}_ms"] = median_ms(
            comm, partial(comm.all_reduce, pieces, pieces), repeats_of(size)
        )
    results["sum_us"] = 1e3 * results.pop(f"sum_{SIZES[0]}_ms")
    seconds = (results[f"sum_{SIZES[-1]}_ms"] - 1e-3 * results["sum_us"]) / 1e3
    results["gb_per_s"] = share * SIZES[-1] / seconds / 1e9
    return results


def take_turns(
    comm: Communicator, sides: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, float]:
    """The median ms of a step, by side, and ratios to the side before."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side, step in sides.items():
            for _ in range(STEPS):
                milliseconds = median_ms(comm, step, repeats=1)
                if turn > 0:  # the first turn imports, allocates and fills caches
                    times[side].append(milliseconds)
    results = {side: statistics.median(measured) for side, measured in times.items()}
    for before, side in itertools.pairwise(sides):
        results[f"{side} / {before}"] = results[side] / results[before]
    return results


def new_step(setting: Setting) -> TrainingStep:
    """A step of one thread, of a new model."""
    model = CLIP(setting.config, np.random.default_rng(0))
    return TrainingStep(model, AdamW(model.parameters(), **OPTIONS), workers=1, max_norm=None)


def steps_over_mpi(comm: MpiRank, setting: Setting, rounds: int) -> dict[str, float]:
    """The times of steps that ranks of MPI take."""
    images, tokens = setting.data()
    first, last = (rank * len(images) // comm.size for rank in (comm.rank, comm.rank + 1))
    step = new_step(setting)

    def alone() -> None:
        step.comm = OneProcess()
        if comm.rank == 0:
            step(images, tokens)

    def together(early: bool) -> None:
        step.comm = comm
        comm.overlaps = early
        step(images[first:last], tokens[first:last])

    late, early = partial(together, early=False), partial(together, early=True)
    return take_turns(comm, {"one rank": alone, "all ranks": late, "early": early}, rounds)


def steps_over_processes(count: int, setting: Setting, rounds: int) -> dict[str, float]:
    """The times of steps that processes of one machine take."""
    images, tokens = setting.data()
    alone = new_step(setting)
    with ProcessTeam(new_step(setting), processes=count) as team:
        sides = {
            "one rank": lambda: alone(images, tokens),
            "all ranks": lambda: team(images, tokens),
        }
        return take_turns(OneProcess(), sides, rounds)


def over_processes(rank: int, sizes: Sizes, name: str, lock: Any, results: Any) -> None:
    """What a process does that measures: `measure`, as one of the ranks."""
    block = Block(sizes.total, name)
    comm = ProcessRank(rank, sizes, block, lock, deadline=120.0, look=lambda: None)
    with blas_threads(1):
        results.put((rank, measure(comm)))


def start_processes(count: int) -> dict[str, float]:
    """Measure with processes that share memory; what rank 0 has measured."""
    context = multiprocessing.get_context("spawn")
    room = PARAMETERS * aligned(SIZES[-1] // PARAMETERS)
    sizes = Sizes(count, gradient_bytes=room, parameters=PARAMETERS)
    block, lock, results = Block(sizes.total), context.Lock(), context.Queue()
    arguments = [(rank, sizes, block.name, lock, results) for rank in range(count)]
    processes = [context.Process(target=over_processes, args=these) for these in arguments]
    try:
        for process in processes:
            process.start()
        by_rank = dict(results.get() for _ in processes)
        for process in processes:
            process.join()
    finally:
        block.close()
    return by_rank[0]


def main() -> None:
    """Measure, and let rank 0 print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ranks", type=int, default=2, help="processes, where no launcher is")
    parser.add_argument("--step", choices=SETTINGS, help="take steps of this configuration")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side of --step")
    arguments = parser.parse_args()
    setting = SETTINGS[arguments.step] if arguments.step else None
    comm = rank_of_launch()
    if comm is not None:
        results = steps_over_mpi(comm, setting, arguments.rounds) if setting else measure(comm)
    elif setting:
        results = steps_over_processes(arguments.ranks, setting, arguments.rounds)
    else:
        results = start_processes(arguments.ranks)
    if comm is None or comm.rank == 0:
        for name, value in results.items():
            print(f"{name:<20}{value:>12.3f}")
        print(json.dumps(results))


if __name__ == "__main__":
    main()
