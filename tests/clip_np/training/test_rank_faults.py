"""A process that fails ends the training, says why, and leaves nothing behind."""

import os
import time

import pytest
from rank_faults import FAULTS, is_alive, start_and_stop, trainer_in, watch_fault
from small_runs import numbers_of

SECONDS = 10.0
"""The most that an end may take where other tests run; alone it is 5."""


@pytest.fixture(autouse=True)
def on_the_host(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("processes share the memory of the host")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The numbers of a training over two processes that nothing disturbs."""
    directory = tmp_path_factory.mktemp("whole")
    trainer_in(directory).run()
    return numbers_of(directory)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_process_ends_the_training_and_it_resumes(fault, tmp_path, whole_run):
    status, text, seconds, left = watch_fault(fault, tmp_path)
    assert status == 1
    assert FAULTS[fault] in text, text
    assert "in fail" in text or fault not in ("error", "stalled"), text  # where that was
    assert seconds < SECONDS
    assert not left
    trainer = trainer_in(tmp_path, resume=True)
    assert trainer.step == 12  # the step before the fault was saved
    trainer.run()
    assert numbers_of(tmp_path) == whole_run


@pytest.mark.skipif(not hasattr(os, "getppid"), reason="no parents here")
def test_followers_end_with_a_leader_that_is_killed(tmp_path):
    status, _, seconds, left = watch_fault("parent killed", tmp_path)
    assert status != 0
    assert seconds < SECONDS
    assert not left


def test_nothing_is_left_of_many_teams():
    assert start_and_stop(5) == []


def test_a_team_that_never_took_a_step_ends(tmp_path):
    from small_models import small_model

    from clip_np.training import TrainingStep
    from clip_np.training.process_team import ProcessTeam
    from minigrad.optim import AdamW

    model = small_model()
    before = model.vision.proj.data.copy()
    team = ProcessTeam(TrainingStep(model, AdamW(model.parameters())), 2)
    pids = [process.pid for process in team.processes]
    team.close()
    team.close()
    started = time.monotonic()
    while any(map(is_alive, pids)) and time.monotonic() < started + SECONDS:
        time.sleep(0.01)
    assert not any(map(is_alive, pids))
    assert (model.vision.proj.data == before).all()
