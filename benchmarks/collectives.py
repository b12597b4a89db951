"""How fast do ranks talk to each other, and what is a second one worth?

    python -m benchmarks.collectives                                two processes
    mpiexec -n 2 python -m mpi4py -m benchmarks.collectives         ranks of MPI
    mpiexec -n 2 python -m mpi4py -m benchmarks.collectives --step base32

The first two measure the sum of arrays of several sizes over all ranks, and a message
of one number. A sum of S bytes over n ranks sends and receives, on each of them, at
least 2 (n - 1) / n S bytes: that is how many are counted. The time of a small sum is
its *latency*. The bandwidth is that of the largest one, latency left out.

The third lets a training step be taken in three ways, in turns:

    one rank     rank 0 computes the whole batch, and the others wait
    late         all ranks compute, and sum the gradients at the end
    early        the same, but gradients are summed as encoders are complete

Each rank has one thread. Times are medians of rank 0. The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.configs import SETTINGS
from benchmarks.sides import OPTIONS
from clip_np import CLIP
from clip_np.training import TrainingStep
from clip_np.training.communicator import (
    Block,
    Communicator,
    OneProcess,
    ProcessRank,
    Sizes,
    rank_of_launch,
)
from minigrad.blas import blas_threads
from minigrad.optim import AdamW

SIZES = [4, 1_444_100, 16_000_000, 128_000_000]
"""Bytes: one number, the gradients of `tiny`, and two longer ones."""

MOST_BYTES = 500_000_000
"""A size is summed until so many bytes were, but at least 7 and at most 500 times."""

STEPS = 4  # of a side in its turn


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
        array = np.ones(size // 4, np.float32)
        results[f"sum_{size}_ms"] = median_ms(
            comm, lambda array=array: comm.all_reduce([array], [array]), repeats_of(size)
        )
    results["sum_us"] = 1e3 * results.pop(f"sum_{SIZES[0]}_ms")
    seconds = (results[f"sum_{SIZES[-1]}_ms"] - 1e-3 * results["sum_us"]) / 1e3
    results["gb_per_s"] = share * SIZES[-1] / seconds / 1e9
    return results


def take_steps(comm: Communicator, name: str, rounds: int) -> dict[str, float]:
    """The median ms of a step, by side."""
    setting = SETTINGS[name]
    images, tokens = setting.data()
    first, last = (rank * len(images) // comm.size for rank in (comm.rank, comm.rank + 1))
    model = CLIP(setting.config, np.random.default_rng(0))
    step = TrainingStep(model, AdamW(model.parameters(), **OPTIONS), workers=1, max_norm=None)

    def run(side: str) -> None:
        if side != "one rank":
            step.comm = comm
            comm.overlaps = side == "early"
            step(images[first:last], tokens[first:last])
        elif comm.rank == 0:
            step.comm = OneProcess()
            step(images, tokens)

    times: dict[str, list[float]] = {"one rank": [], "late": [], "early": []}
    for turn in range(rounds + 1):
        for side, measured in times.items():
            for _ in range(STEPS):
                milliseconds = median_ms(comm, lambda side=side: run(side), 1)
                if turn > 0:  # the first turn imports, allocates and fills caches
                    measured.append(milliseconds)
    return {side: statistics.median(measured) for side, measured in times.items()}


def over_processes(rank: int, sizes: Sizes, name: str, lock: Any, results: Any) -> None:
    """What a process does that measures: `measure`, as one of the ranks."""
    block = Block(sizes.total, name)
    comm = ProcessRank(rank, sizes, block, lock, deadline=120.0, look=lambda: None)
    with blas_threads(1):
        results.put((rank, measure(comm)))


def start_processes(count: int) -> dict[str, float]:
    """Measure with processes that share memory; what rank 0 has measured."""
    context = multiprocessing.get_context("spawn")
    sizes = Sizes(count, gradient_bytes=SIZES[-1], parameters=1)
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
    comm = rank_of_launch()
    if comm is None:
        if arguments.step:
            parser.error("--step needs ranks of MPI; for processes see benchmarks.step")
        results = {"ranks": arguments.ranks, **start_processes(arguments.ranks)}
    elif arguments.step:
        results = {"ranks": comm.size, **take_steps(comm, arguments.step, arguments.rounds)}
        results["early/late"] = results["early"] / results["late"]
        results["late/one rank"] = results["late"] / results["one rank"]
    else:
        results = {"ranks": comm.size, **measure(comm)}
    if comm is None or comm.rank == 0:
        for name, value in results.items():
            print(f"{name:<20}{value:>12.3f}")
        print(json.dumps(results))


if __name__ == "__main__":
    main()
