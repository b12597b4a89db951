"""Ranks over MPI, where mpi4py and a launcher are installed: `pip install ".[mpi]"`."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from paths import ROOT
from small_runs import numbers_of, write_pairs

pytest.importorskip("mpi4py")
LAUNCHER = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
if LAUNCHER is None:
    pytest.skip("no mpiexec is installed", allow_module_level=True)

PROGRAM = str(ROOT / "tests" / "helpers" / "mpi_program.py")
SUCCESS = "all ranks are done"


def launch(ranks, *arguments):
    """What a program says that mpiexec starts on `ranks` ranks."""
    paths = [str(ROOT), str(ROOT / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMPI_MCA_rmaps_base_oversubscribe": "1",  # more ranks than cores, with Open MPI
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    return subprocess.run(
        [LAUNCHER, "-n", str(ranks), sys.executable, "-m", "mpi4py", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_gradients_and_steps_over_mpi(ranks):
    done = launch(ranks, PROGRAM)
    assert done.returncode == 0, done.stderr
    assert SUCCESS in done.stdout


@pytest.mark.parametrize("fault", ["error", "killed", "exit", "stalled"])
def test_a_fault_of_one_rank_ends_all(fault):
    started = time.monotonic()
    done = launch(2, PROGRAM, fault)
    assert time.monotonic() - started < 30.0  # with the start of the ranks
    assert SUCCESS not in done.stdout
    if fault != "exit":  # MPICH takes an exit without a word for a success
        assert done.returncode != 0
    if fault == "error":
        assert "planted in the last rank" in done.stderr
    if fault == "stalled":
        assert "in fault" in done.stderr and "has waited 1 s" in done.stderr


def test_training_over_ranks_goes_on_bit_by_bit(tmp_path):
    data = write_pairs(tmp_path / "data", ["train"] * 30 + ["val"] * 4)
    train = ["-m", "clip_np", "train", "--batch-size", "11"]
    new = ["--data", str(data), "--preset", "tiny", "--out"]
    whole = launch(2, *train, *new, str(tmp_path / "whole"), "--steps", "6")
    assert whole.returncode == 0, whole.stderr
    again = launch(2, *train, *new, str(tmp_path / "again"), "--steps", "6")
    assert again.returncode == 0, again.stderr
    assert numbers_of(tmp_path / "whole") == numbers_of(tmp_path / "again")
    resume = ["-m", "clip_np", "train", "--resume", str(tmp_path / "again"), "--steps", "8"]
    assert launch(2, *resume).returncode == 0


def test_a_launch_without_mpi4py_is_refused():
    done = subprocess.run(
        [LAUNCHER, "-n", "2", sys.executable, "-m", "clip_np", "train", "--steps", "3"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert done.returncode != 0
    assert "-m mpi4py" in done.stderr
