"""Run a program of its own, and measure what it took.

A test that lets a bomb go off must not go down with it. `run_bounded` starts a new
Python process, limits the memory that it may reserve and the time that it may take, and
reports its peak memory. The seconds are those of the processor, so that they are the
same on a busy machine; a program that hangs is ended by the timeout.
"""

import os
import resource
import subprocess
import sys
from dataclasses import dataclass

from paths import ROOT

MEGABYTE = 2**20
HARD_LIMIT = 3000  # MB of address space: the process fails before the machine does

# Prints the peak of the resident memory as the last line of standard error. It is that
# of this program. `getrusage` would count what the process that started it has taken.
REPORT = """
import atexit, sys
def report():
    lines = open("/proc/self/status").read().splitlines()
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    print("peak_kb", *peaks, file=sys.stderr, flush=True)
atexit.register(report)
"""


@dataclass(frozen=True)
class Outcome:
    """What a program printed, its exit status, and what it took."""

    status: int
    output: str
    errors: str
    seconds: float
    peak_mb: float


def processor_seconds() -> float:
    """What the ended child processes of this one have taken from the processor."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_bounded(program: str, *arguments: str, timeout: float = 60.0) -> Outcome:
    """Run Python source in a fresh interpreter that can import both packages.

    `arguments` are its sys.argv[1:]. The memory includes that of Python, NumPy and
    Pillow themselves, about 60 MB once clip_np is imported.
    """

    def limit_memory() -> None:
        size = HARD_LIMIT * MEGABYTE
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    started = processor_seconds()
    finished = subprocess.run(
        [sys.executable, "-c", REPORT + program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        preexec_fn=limit_memory,
    )
    seconds = processor_seconds() - started
    lines = finished.stderr.splitlines()
    peaks = [line.split()[1] for line in lines if line.startswith("peak_kb ")]
    errors = "\n".join(line for line in lines if not line.startswith("peak_kb "))
    peak_mb = float(peaks[-1]) / 1024 if peaks else float("inf")
    return Outcome(finished.returncode, finished.stdout, errors, seconds, peak_mb)
