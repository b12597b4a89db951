"""How long does a training step take, beside another library on the same machine?

    python -m benchmarks.step --config base32 --against torch
    python -m benchmarks.step --config base32 --against torch jax mygrad autograd
    python -m benchmarks.step --config base32 --sweep batch 32 64 128 --picture sweep.png

Every side is a process of its own, and they take turns, a few steps each, so that a busy moment
of the machine hits all of them. Printed are medians, their ratio to the first of --against, the
spread (quartiles) and the largest resident memory; the last line is one JSON object. "ours" is
the default of this project, which skips the work of tokens that nobody reads; "same_work" is it
without that.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.configs import SETTINGS
from benchmarks.sides import SIDES

WARM_UP = 2  # steps of each side that are not counted


class Side:
    """A process that does one step for each line it is sent."""

    def __init__(self, name: str, config: str, changes: list[str]) -> None:
        # Set on some machines for older BLAS libraries, they slow down a current one.
        unset = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        environment = {key: value for key, value in os.environ.items() if key not in unset}
        command = [sys.executable, "-m", "benchmarks.sides", name, config, *changes]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        )
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"{name} could not start; its error stands above")
        self.answers: list[dict[str, float]] = []

    def step(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.answers.append(json.loads(self.process.stdout.readline()))

    def close(self) -> dict[str, float]:
        """End the process; its figures."""
        self.process.stdin.close()
        self.process.wait()
        times = [answer["ms"] for answer in self.answers[WARM_UP:]]
        low, median, high = statistics.quantiles(times, n=4)
        figures = {"median_ms": median, "low_ms": low, "high_ms": high}
        return figures | {"peak_mb": self.answers[-1]["peak_mb"], "steps": len(times)}


def compare(
    config: str, names: list[str], changes: list[str], rounds: int, burst: int
) -> dict[str, dict[str, float]]:
    """Let the sides take turns; their figures by name."""
    sides = {name: Side(name, config, changes) for name in names}
    for side in sides.values():
        for _ in range(WARM_UP):
            side.step()
    for _ in range(rounds):
        for side in sides.values():
            for _ in range(burst):
                side.step()
    return {name: side.close() for name, side in sides.items()}


def show(results: dict[str, dict[str, float]], base: str) -> None:
    """Print a table, with ratios to the side `base`."""
    print(f"{'side':<14}{'median ms':>11}{'quartiles':>19}{'ratio':>8}{'peak MB':>9}{'ratio':>8}")
    for name, each in results.items():
        for key in ("median_ms", "peak_mb"):
            each[f"{key}_ratio"] = each[key] / results[base][key]
        spread = f"{each['low_ms']:.1f} - {each['high_ms']:.1f}"
        print(
            f"{name:<14}{each['median_ms']:>11.1f}{spread:>19}{each['median_ms_ratio']:>8.3f}"
            f"{each['peak_mb']:>9.0f}{each['peak_mb_ratio']:>8.2f}"
        )


def draw(sweep: dict[int, Any], quantity: str, path: str) -> None:
    """Time and memory of every side against the size."""
    from matplotlib.figure import Figure

    figure = Figure((9, 3.6), layout="constrained")
    for axes, key, label in zip(
        figure.subplots(1, 2), ("median_ms", "peak_mb"), ("ms a step", "peak MB")
    ):
        for name in next(iter(sweep.values())):
            axes.plot(list(sweep), [each[name][key] for each in sweep.values()], "o-", label=name)
        axes.set(xlabel=quantity, ylabel=label, xscale="log", yscale="log")
        axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="micro", choices=SETTINGS, help="the model and batch")
    parser.add_argument(
        "--against", nargs="+", default=["torch"], choices=[*SIDES], help="the other sides"
    )
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side")
    parser.add_argument("--burst", type=int, default=4, help="steps in a turn")
    parser.add_argument("--set", nargs="*", default=[], help="batch=N image=N context=N shards=N")
    parser.add_argument("--sweep", nargs="+", help="batch, image or context, and its values")
    parser.add_argument("--picture", help="draw the sweep into this PNG file")
    arguments = parser.parse_args()
    library = {"torch_compile": "torch"}
    missing = [
        name for name in arguments.against if not importlib.util.find_spec(library.get(name, name))
    ]
    if missing:
        parser.error(f"not installed: {', '.join(missing)}")
    names = ["ours", "same_work", *arguments.against]
    turns = arguments.rounds, arguments.burst
    if arguments.sweep is None:
        results = compare(arguments.config, names, arguments.set, *turns)
        show(results, arguments.against[0])
        print(json.dumps({"config": arguments.config, "set": arguments.set, **results}))
        return
    quantity, *values = arguments.sweep
    sweep = {}
    for value in values:
        changes = [*arguments.set, f"{quantity}={value}"]
        sweep[int(value)] = compare(arguments.config, names, changes, *turns)
        print(f"{quantity} {value}")
        show(sweep[int(value)], arguments.against[0])
    if arguments.picture:
        draw(sweep, quantity, arguments.picture)
    print(json.dumps({"config": arguments.config, "sweep": quantity, "results": sweep}))


if __name__ == "__main__":
    main()
