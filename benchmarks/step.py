"""How long does a training step take, beside another library on the same machine?

    python -m benchmarks.step --config base32 --against torch

Both sides run in one process tree and take turns, a round each, so that a busy moment of the
machine hits both. The last line is one JSON object with the medians and their ratio.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

from benchmarks.configs import SETTINGS


class Side:
    """A process that does one step for each line it is sent."""

    def __init__(self, name: str, config: str) -> None:
        command = [sys.executable, "-m", "benchmarks.sides", name, config]
        unset = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        environment = {key: value for key, value in os.environ.items() if key not in unset}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        )
        assert self.process.stdout.readline() == "ready\n"
        self.answers: list[dict] = []

    def step(self, keep: bool = True) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if keep:
            self.answers.append(answer)

    def summary(self) -> dict:
        self.process.stdin.close()
        self.process.wait()
        times = [each["ms"] for each in self.answers]
        return {
            "median_ms": statistics.median(times),
            "min_ms": min(times),
            "cpu_ms": statistics.median(each["cpu_ms"] for each in self.answers),
            "peak_mb": self.answers[-1]["peak_mb"],
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default="micro", choices=SETTINGS)
    parser.add_argument("--against", default="torch")
    parser.add_argument("--sides", default="ours,same_work")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--burst", type=int, default=3)
    arguments = parser.parse_args()
    names = [*arguments.sides.split(","), arguments.against]
    sides = {name: Side(name, arguments.config) for name in names if name}
    for side in sides.values():
        for _ in range(2):
            side.step(keep=False)
    for _ in range(arguments.rounds):
        for side in sides.values():
            for _ in range(arguments.burst):
                side.step()
    results = {name: side.summary() for name, side in sides.items()}
    other = results[arguments.against]
    for name, result in results.items():
        result["ratio"] = result["median_ms"] / other["median_ms"]
        print(
            f"{name:10} {result['median_ms']:9.1f} ms (min {result['min_ms']:.1f}, cpu {result['cpu_ms']:.0f})"
            f" {result['peak_mb']:8.0f} MB  ratio {result['ratio']:.3f}"
        )
    print(json.dumps({"config": arguments.config, **results}))


if __name__ == "__main__":
    main()
