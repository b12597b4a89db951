"""A team ends when it should, and at no other time."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from small_models import batch, small_model

from clip_np.training import TrainingStep
from clip_np.training.communicator import ProcessRank, RankError, StalledError, shared_block
from clip_np.training.interrupts import ENDINGS
from clip_np.training.process_team import ProcessTeam
from minigrad.optim import AdamW

HELPERS = pathlib.Path(__file__).parents[2] / "helpers"
REQUESTS = [name for name in ("SIGINT", *ENDINGS) if hasattr(signal, name)]


@pytest.fixture(autouse=True)
def on_the_host(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("processes share the memory of the host")


def small_team(deadline=60.0):
    model = small_model(np.float32)
    step = TrainingStep(model, AdamW(model.parameters()), workers=1)
    return ProcessTeam(step, 2, deadline=deadline)


def send_all_requests(process):
    """What reaches a follower when a whole group of processes is asked to end."""
    for name in REQUESTS:
        os.kill(process.pid, getattr(signal, name))


@pytest.mark.skipif(os.name == "nt", reason="no signals to one process")
def test_followers_leave_requests_to_end_to_rank_0():
    with small_team() as team:
        send_all_requests(team.processes[0])  # its Python has not started yet
        team(*batch(4, np.float32))
        send_all_requests(team.processes[0])
        time.sleep(0.2)
        team(*batch(4, np.float32))
        assert team.step.optimizer.step_count == 2


def test_followers_wait_for_longer_than_the_deadline_between_steps():
    with small_team(deadline=0.5) as team:
        team(*batch(4, np.float32))
        time.sleep(1.0)  # a validation, a checkpoint
        team(*batch(4, np.float32))
        assert team.step.optimizer.step_count == 2


def test_a_closed_team_takes_no_step():
    team = small_team()
    team.close()
    with pytest.raises(RuntimeError, match="the team is closed"):
        team(*batch(4, np.float32))


@pytest.mark.parametrize("processes", [0, -2])
def test_a_team_has_at_least_one_process(processes):
    model = small_model(np.float32)
    with pytest.raises(ValueError, match=f"`processes` must be at least 1, got {processes}"):
        ProcessTeam(TrainingStep(model, AdamW(model.parameters())), processes)


def test_a_step_has_one_team_at_a_time():
    with small_team() as team:
        with pytest.raises(ValueError, match="taken by 2 ranks already; close their team first"):
            ProcessTeam(team.step, 2)
        team(*batch(4, np.float32))  # the first team is as it was
        assert team.step.optimizer.step_count == 1
    team.step(*batch(4, np.float32))


def test_processes_that_do_not_start_are_not_called_stalled_in_a_step(monkeypatch):
    def nobody_is_here(self, patient=False):
        raise StalledError(0, [1], 120.0)

    monkeypatch.setattr(ProcessRank, "barrier", nobody_is_here)
    with small_team() as team:
        with pytest.raises(RankError, match="1 of 1 more processes have not started in time"):
            team(*batch(4, np.float32))
        assert not team.is_open


def test_a_system_without_shared_memory_is_named(monkeypatch):
    def read_only(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(shared_block, "SharedMemory", read_only)
    with pytest.raises(OSError, match=r"no shared memory.*Read-only.*train with `processes` 1"):
        small_team()


def test_an_interrupt_while_the_team_closes_leaves_no_process(monkeypatch):
    team = small_team()
    followers = list(team.processes)
    pids = [process.pid for process in followers]
    team(*batch(4, np.float32))

    def interrupted(value):
        raise KeyboardInterrupt

    monkeypatch.setattr(team._comm, "broadcast", interrupted)
    with pytest.raises(KeyboardInterrupt):
        team.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):  # not even a zombie
            os.kill(pid, 0)


def run_script(path, text, timeout=60):
    """Run a script of somebody who has this package and the helpers."""
    path.write_text(textwrap.dedent(text))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path])}
    return subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=timeout,
    )


SCRIPT = """
    import numpy as np
    from small_models import batch, small_model
    from clip_np.training import TrainingStep
    from clip_np.training.process_team import ProcessTeam
    from minigrad.optim import AdamW

    def take_a_step():
        model = small_model(np.float32)
        team = ProcessTeam(TrainingStep(model, AdamW(model.parameters()), workers=1), 2)
        team(*batch(4, np.float32))
        return team
"""


def test_a_program_ends_although_its_team_was_not_closed(tmp_path):
    guarded = """
    if __name__ == "__main__":
        team = take_a_step()
        print("the end")
    """
    done = run_script(tmp_path / "script.py", SCRIPT + guarded)
    assert (done.returncode, done.stdout) == (0, "the end\n"), done.stderr
    assert not done.stderr


def test_a_script_without_a_guard_is_named_as_the_cause(tmp_path):
    done = run_script(tmp_path / "script.py", SCRIPT + "\n    take_a_step()\n")
    assert done.returncode == 1
    assert RankError.__name__ in done.stderr
    assert "before the first step. Its own message stands above" in done.stderr
    assert 'needs `if __name__ == "__main__":`' in done.stderr
