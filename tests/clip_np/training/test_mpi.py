"""Ranks over MPI, where mpi4py and a launcher are installed: `pip install ".[mpi]"`."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from image_folders import untrained_run
from paths import ROOT
from small_runs import numbers_of, write_pairs

from clip_np.evaluation import read_index

# It is looked for and not imported: the commands would take this process for a rank,
# and would need an MPI library, which not every mpi4py has.
if importlib.util.find_spec("mpi4py") is None:
    pytest.skip("mpi4py is not installed", allow_module_level=True)
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


needs_cores = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="one process cannot have the cores of one rank"
)


@pytest.fixture
def model_and_photos(tmp_path):
    """A model that has learned nothing, and photos with captions, one unreadable."""
    untrained_run(tmp_path / "run")
    photos = write_pairs(tmp_path / "photos", ["test"] * 150)
    (photos / "7.png").write_bytes(b"no picture")
    return tmp_path / "run", photos


@needs_cores
def test_an_index_is_built_over_ranks(model_and_photos, tmp_path):
    run, photos = map(str, model_and_photos)
    whole = cli_result("embed", run, photos, "-o", str(tmp_path / "whole.npz"))
    embed = ["-m", "clip_np", "embed", run, photos, "-o", str(tmp_path / "shared.npz"), "--json"]
    done = launch(2, *embed)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == whole
    indexes = [read_index(tmp_path / name) for name in ("whole.npz", "shared.npz")]
    assert indexes[0].files == indexes[1].files
    assert np.array_equal(indexes[0].features, indexes[1].features)
    again = json.loads(launch(2, *embed).stdout)
    assert (again["new"], again["images"]) == (0, 149)


@needs_cores
@pytest.mark.parametrize("asked", ["pairs", "classes"])
def test_a_model_is_measured_over_ranks(asked, model_and_photos):
    run, photos = map(str, model_and_photos)
    evaluate = ["evaluate", run, "--data", photos, "--skip-bad"]
    if asked == "classes":
        table = model_and_photos[1] / "captions.csv"
        kinds = [f"{row}.png,{('cat', 'dog')[row % 2]}" for row in range(150)]
        table.write_text("\n".join(["file_name,kind", *kinds]), encoding="utf-8")
        evaluate += ["--label-column", "kind", "--probe"]
    whole = cli_result(*evaluate)
    done = launch(2, "-m", "clip_np", *evaluate, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == whole


def test_other_commands_over_ranks_are_refused(model_and_photos):
    run, photos = map(str, model_and_photos)
    done = launch(2, "-m", "clip_np", "classify", run, f"{photos}/1.png", "--labels", "cat,dog")
    assert done.returncode != 0
    assert "only `train`, `embed` and `evaluate` run on several ranks" in done.stderr


def use_half_of_the_cores():
    """As one of two ranks does, so that the same numbers have the same bits."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[: max(1, len(cores) // 2)])


def cli_result(*arguments):
    """What a command prints with --json in one process, with the cores of one rank."""
    done = subprocess.run(
        [sys.executable, "-m", "clip_np", *arguments, "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        preexec_fn=use_half_of_the_cores,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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
