"""How long does a training step take, compared with other libraries?

    python -m benchmarks.step --config base32 --against torch
    python -m benchmarks.step --config base32 --against torch jax mygrad autograd
    python -m benchmarks.step --against torch --sweep batch 32 64 --picture sweep.png
    python -m benchmarks.step --config tiny --checkout ../before

Each side is a process of its own. The sides take turns, a few steps each, so that a
busy moment of the machine hits all of them. Printed are medians, their ratio to the
first of --against, the quartiles, and the largest resident memory. The last line is one
JSON object.

"ours" is this project with its defaults, which skip the work for tokens that nobody
reads. "same_work" does not skip it. "processes" is "ours" on two processes in place of
two threads: ask for it with --against torch processes. "checkout" is "ours" from
another checkout of the project, such as the commit before a change.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.configs import SETTINGS
from benchmarks.sides import SIDES

WARM_UP = 2
"""Steps of each side that are not counted: they import, allocate and fill caches."""

SLOWING_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Set on some machines for older BLAS libraries, they slow down a current one."""

LIBRARIES = {
    "torch_compile": "torch",
    "ours": "clip_np",
    "processes": "clip_np",
    "same_work": "clip_np",
}
"""The library that a side needs, if it has another name than the side."""

Figures = dict[str, float]


class Task(NamedTuple):
    """What all sides do: a configuration, with changes such as "batch=32"."""

    config: str
    changes: Sequence[str]
    rounds: int  # turns of each side
    burst: int  # steps in a turn


class Side:
    """A process that takes one step for each line that it is sent."""

    def __init__(self, name: str, task: Task, checkout: str | None = None) -> None:
        environment = {
            key: value for key, value in os.environ.items() if key not in SLOWING_VARIABLES
        }
        if checkout is not None:
            environment["PYTHONPATH"] = os.path.abspath(checkout)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sides", name, task.config, *task.changes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=checkout,
        )
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"{name} could not start; its error stands above")
        self.answers: list[Figures] = []

    def step(self) -> None:
        """Take one step and keep its time and memory."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.answers.append(json.loads(self.process.stdout.readline()))

    def close(self) -> Figures:
        """End the process and return its figures."""
        self.process.stdin.close()
        self.process.wait()
        times = [answer["ms"] for answer in self.answers[WARM_UP:]]
        low, median, high = statistics.quantiles(times, n=4)
        return {
            "median_ms": median,
            "low_ms": low,
            "high_ms": high,
            "peak_mb": self.answers[-1]["peak_mb"],
            "steps": len(times),
        }


def compare(names: Sequence[str], task: Task, checkout: str | None) -> dict[str, Figures]:
    """Let the sides take turns, and return their figures by name."""
    sides = {name: Side(name, task) for name in names}
    if checkout is not None:
        sides["checkout"] = Side("ours", task, checkout)
    for side in sides.values():
        for _ in range(WARM_UP):
            side.step()
    for _ in range(task.rounds):
        for side in sides.values():
            for _ in range(task.burst):
                side.step()
    return {name: side.close() for name, side in sides.items()}


def show(results: dict[str, Figures], base: str) -> None:
    """Print a table, and add ratios to the side `base` to the figures."""
    print(f"{'side':<14}{'median ms':>11}{'quartiles':>19}{'ratio':>8}{'peak MB':>9}{'ratio':>8}")
    for name, figures in results.items():
        for key in ("median_ms", "peak_mb"):
            figures[f"{key}_ratio"] = figures[key] / results[base][key]
        quartiles = f"{figures['low_ms']:.1f} - {figures['high_ms']:.1f}"
        print(
            f"{name:<14}{figures['median_ms']:>11.1f}{quartiles:>19}"
            f"{figures['median_ms_ratio']:>8.3f}"
            f"{figures['peak_mb']:>9.0f}{figures['peak_mb_ratio']:>8.2f}"
        )


def draw(sweep: dict[int, dict[str, Figures]], quantity: str, path: str) -> None:
    """Draw time and memory of every side against the size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = (("median_ms", "ms a step"), ("peak_mb", "peak MB"))
    for axes, (key, label) in zip(figure.subplots(1, len(panels)), panels):
        for name in next(iter(sweep.values())):
            values = [results[name][key] for results in sweep.values()]
            axes.plot(list(sweep), values, "o-", label=name)
        axes.set(xlabel=quantity, ylabel=label, xscale="log", yscale="log")
        axes.legend()
    figure.savefig(path, dpi=120)


def parse_arguments() -> argparse.Namespace:
    """The command line, with the libraries of --against installed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="micro", choices=SETTINGS, help="the model and batch")
    parser.add_argument("--against", nargs="+", choices=[*SIDES], help="the other sides (torch)")
    parser.add_argument("--checkout", metavar="DIR", help="compare with this checkout too")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side")
    parser.add_argument("--burst", type=int, default=4, help="steps in a turn")
    parser.add_argument("--set", nargs="*", default=[], help="batch=N image=N context=N shards=N")
    parser.add_argument("--sweep", nargs="+", help="batch, image or context, and its values")
    parser.add_argument("--picture", help="draw the sweep into this PNG file")
    arguments = parser.parse_args()
    if arguments.against is None:
        arguments.against = [] if arguments.checkout else ["torch"]
    missing = [
        name
        for name in arguments.against
        if not importlib.util.find_spec(LIBRARIES.get(name, name))
    ]
    if missing:
        parser.error(f"not installed: {', '.join(missing)}")
    if arguments.sweep is not None and len(arguments.sweep) < 2:
        parser.error("--sweep needs a quantity and its values, such as batch 32 64")
    if arguments.picture and arguments.sweep is None:
        parser.error("--picture draws a sweep: pass --sweep too, such as --sweep batch 32 64")
    if arguments.picture and not importlib.util.find_spec("matplotlib"):
        parser.error('--picture needs matplotlib: pip install "minigrad-clip[examples]"')
    return arguments


def main() -> None:
    """Compare once, or for each value of a sweep."""
    arguments = parse_arguments()
    if arguments.against:
        names = ["ours", "same_work", *arguments.against]
        base = arguments.against[0]
    else:
        names = ["ours"]
        base = "checkout"

    def run(changes: Sequence[str]) -> dict[str, Figures]:
        task = Task(arguments.config, changes, rounds=arguments.rounds, burst=arguments.burst)
        results = compare(names, task, arguments.checkout)
        show(results, base)
        return results

    if arguments.sweep is None:
        results = run(arguments.set)
        print(json.dumps({"config": arguments.config, "set": arguments.set, **results}))
        return
    quantity, *values = arguments.sweep
    sweep: dict[int, Any] = {}
    for value in values:
        print(f"{quantity} {value}")
        sweep[int(value)] = run([*arguments.set, f"{quantity}={value}"])
    if arguments.picture:
        draw(sweep, quantity, arguments.picture)
    print(json.dumps({"config": arguments.config, "sweep": quantity, "results": sweep}))


if __name__ == "__main__":
    main()
