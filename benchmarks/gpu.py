"""Is training on this machine's GPU right, and how fast is it?

    python -m benchmarks.gpu                        # needs an NVIDIA GPU and CuPy
    python -m benchmarks.gpu --configs tiny ViT-B/32:256 --sections losses steps
    python -m benchmarks.gpu --backend numpy --configs micro --sections losses steps

The last one tries the command itself, without a GPU. No network is needed. Sections, in
their order, each in a process of its own with a limit of time, so that one that hangs
or crashes costs only itself:

    machine     GPU, driver and versions
    losses      50 steps beside NumPy: float64 to 1e-10, float32; what makes a step wait
    launches    of a step, counted on the stand-in for CuPy, without a profiler
    peak        a large product, a copy, the price of a launch
    steps       milliseconds of a step, launches, memory: this project and, if it is
                installed, PyTorch, eager and compiled; the sides take turns
    gradients   the proof of the derivatives, on CuPy itself
    suite       all other tests, on CuPy itself

What was found is written into --out after each section: gpu.json, and gpu.md, a table
for docs/on_a_gpu.md. The last line of the output is one JSON object.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.gpu_sections import ROOT, SECTIONS, add_options
from benchmarks.gpu_table import table_of

LIMITS = {
    **{"machine": 60, "losses": 120, "launches": 60, "peak": 60},
    **{"steps": 90, "gradients": 600, "suite": 900},
}
"""Seconds that a section may take; of `steps`, one turn of one side."""

CONFIGS = ("tiny", "base32", "ViT-B/32:64", "ViT-B/32:256")
TURNS = 2
"""Of each side, one after the other: a change of the GPU's clock shows."""

Findings = dict[str, Any]


class Run:
    """The sections of one call, one after the other, and what was found."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.out: pathlib.Path = arguments.out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.end = time.monotonic() + arguments.seconds
        self.found: Findings = {}

    def all(self) -> Findings:
        """Run what was asked for."""
        for section in LIMITS:
            if section not in self.arguments.sections:
                continue
            self.found[section] = self.steps() if section == "steps" else self.section(section)
            print(f"{section}: {json.dumps(self.found[section])[:800]}", flush=True)
            self.write()
        return self.found

    def write(self) -> None:
        """Keep what was found so far."""
        text = json.dumps(self.found, indent=1)
        (self.out / "gpu.json").write_text(text + "\n", encoding="utf-8")
        (self.out / "gpu.md").write_text(table_of(self.found), encoding="utf-8")

    def section(self, name: str) -> Findings:
        arguments = self.arguments
        options = {
            "backend": arguments.backend,
            "agree-steps": arguments.agree_steps,
            "jobs": arguments.jobs,
            "tests": arguments.tests,
        }
        flags = [f"--{key}={value}" for key, value in options.items()]
        return self.child(["benchmarks.gpu_sections", name, *flags], LIMITS[name])

    def steps(self) -> dict[str, dict[str, Findings]]:
        """The figures of each configuration, by side."""
        sides = ["ours"]
        if importlib.util.find_spec("torch"):
            sides += ["torch", "torch_compile"]
        return {config: self.compare(config, sides) for config in self.arguments.configs}

    def compare(self, config: str, sides: Sequence[str]) -> dict[str, Findings]:
        """The sides' figures for one configuration."""
        flags = [f"--backend={self.arguments.backend}", f"--steps={self.arguments.steps}"]
        turns: dict[str, list[Findings]] = {side: [] for side in sides}
        for _ in range(TURNS):
            for side in sides:
                command = ["benchmarks.gpu_steps", side, config, *flags]
                turns[side].append(self.child(command, LIMITS["steps"]))
        return {side: joined(findings) for side, findings in turns.items()}

    def child(self, command: Sequence[str], limit: float) -> Findings:
        """What a module finds that runs as a program, and how it ended unless well."""
        limit = min(limit, self.end - time.monotonic())
        if limit <= 0:
            return {"skipped": "no time was left (--seconds)"}
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            try:
                output, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # and the processes that it started
                output, _ = process.communicate()
        found = findings_in(output)
        if process.returncode:
            found["ended"] = f"with code {process.returncode}; see {self.out / 'log.txt'}"
        return found


def environment() -> dict[str, str]:
    """The variables of a child, which finds the project and its tests' helpers."""
    before = os.environ.get("PYTHONPATH")
    paths = [str(ROOT), str(ROOT / "tests" / "helpers"), *([before] if before else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def findings_in(output: str) -> Findings:
    """What the lines of JSON in a child's output say together.

    A child that is killed may leave half a line, the last one. It is left out.
    """
    found: Findings = {}
    for line in output.splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            found |= json.loads(line)
    return found


def joined(turns: Sequence[Findings]) -> Findings:
    """The figures of a side's turns together: `ms` is the median of all steps."""
    found: Findings = {}
    for turn in turns:
        found |= turn
    times = [ms for turn in turns for ms in turn.get("times", [])]
    if times:
        found["ms"] = statistics.median(times)
        found["turns_ms"] = [statistics.median(turn["times"]) for turn in turns if "times" in turn]
    found.pop("times", None)
    return found


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--sections", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS), metavar="NAME[:BATCH]")
    parser.add_argument("--steps", type=int, default=20, help="timed steps in a turn (20)")
    parser.add_argument("--seconds", type=float, default=1800.0, help="limit of it all (1800)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/gpu"))
    return parser.parse_args(arguments)


def faults_in(found: Findings) -> list[str]:
    """Float64 losses that differ, tests that fail, and parts that crashed or hung.

    A side of PyTorch's is no part of this project: it may be missing something.
    """
    wrong = [key for key, value in found.get("losses", {}).items() if value is False]
    wrong += [name for name in ("gradients", "suite") if found.get(name, {}).get("code")]
    wrong += [name for name in SECTIONS if "ended" in found.get(name, {})]
    steps = found.get("steps", {})
    wrong += [f"steps of {config}" for config, sides in steps.items() if "ended" in sides["ours"]]
    return wrong


def main() -> None:
    """Run the sections; exit code 1 if something is not as it should be."""
    found = Run(parse_arguments()).all()
    print(json.dumps(found))
    wrong = faults_in(found)
    if wrong:
        raise SystemExit(f"not as it should be: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
