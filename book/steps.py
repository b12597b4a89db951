"""What do the steps print and draw?

Each script of examples/steps is run in an empty folder. What it leaves there is copied
next to the staged script: `step_07_patches.txt` and `step_07_patches.png`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from book.order import ROOT

AT_ONCE = 2  # scripts; each computes with one thread


def run_step(script: Path, folder: Path) -> None:
    """Run one script, and write what it prints and draws into `folder`.

    RuntimeError if it fails; it has what the script wrote to stderr.
    """
    settings = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    with tempfile.TemporaryDirectory() as workplace:
        finished = subprocess.run(
            [sys.executable, str(script)],
            cwd=workplace,
            env=os.environ | settings,
            capture_output=True,
            encoding="utf-8",
        )
        if finished.returncode:
            raise RuntimeError(f"{script.name} failed:\n{finished.stderr}")
        (folder / f"{script.stem}.txt").write_text(finished.stdout, encoding="utf-8")
        for picture in Path(workplace).glob("*.png"):
            shutil.copy(picture, folder / f"{script.stem}.png")


def run_steps(folder: Path) -> None:
    """Run all steps, two at a time."""
    scripts = sorted((ROOT / "examples" / "steps").glob("step_*.py"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(run_step, scripts, [folder] * len(scripts)):
            pass  # raises what a script raised
