"""Attacks on a training run: signals and errors in the middle."""

import signal

import pytest
from small_runs import everything_in, numbers_of, trainer_of

from clip_np.training import saving
from clip_np.training.interrupts import stop_on_signals
from clip_np.weights import read_checkpoint

pytestmark = pytest.mark.usefixtures("small_runs")

# --- signals ------------------------------------------------------------------------


def test_what_somebody_else_has_settled_about_signals_stays():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert not stop.is_set()
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_handler_that_python_did_not_set_is_left_alone(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda number: None)
        with stop_on_signals():
            patch.undo()
            assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_the_first_step_leaves_an_earlier_run_alone(task, tmp_path, capsys):
    trainer_of(task, tmp_path / "run", steps=3).run()
    before = everything_in(tmp_path / "run")
    trainer = trainer_of(task, tmp_path / "run", steps=3, seed=1)
    trainer.finished = lambda: signal.raise_signal(signal.SIGINT) is not None
    trainer.run()
    assert trainer.interrupted
    assert everything_in(tmp_path / "run") == before


# --- errors in the loop ---------------------------------------------------------------


@pytest.mark.parametrize("steps_before", [3, 12])
def test_any_error_saves_the_steps_that_were_taken(task, tmp_path, steps_before):
    trainer_of(task, tmp_path / "whole").run()
    trainer = trainer_of(task, tmp_path / "run")
    step = trainer.take_step

    def fail_later(images, tokens, positives):
        if trainer.step == steps_before:
            raise ZeroDivisionError("something unforeseen")
        return step(images, tokens, positives)

    trainer.take_step = fail_later
    with pytest.raises(ZeroDivisionError):
        trainer.run()
    resumed = trainer_of(task, tmp_path / "run", resume=True)
    assert resumed.step == steps_before
    resumed.run()
    assert numbers_of(tmp_path / "run") == numbers_of(tmp_path / "whole")


def test_a_step_that_was_cut_short_is_not_saved(task, tmp_path):
    trainer = trainer_of(task, tmp_path / "run")
    update = trainer.optimizer.update

    def half_an_update(p, g, factor, moments, group):
        update(p, g, factor, moments, group)
        if trainer.optimizer.step_count == 6:
            raise SystemExit("in the middle of an update")

    trainer.optimizer.update = half_an_update
    with pytest.raises(SystemExit):
        trainer.run()
    assert read_checkpoint(tmp_path / "run").training["step"] == 1


def test_a_save_that_fails_loses_neither_checkpoint(task, tmp_path, monkeypatch, capsys):
    trainer_of(task, tmp_path / "run", steps=3).run()
    before = everything_in(tmp_path / "run")
    full = OSError(28, "No space left on device")

    def no_space(path, **entries):
        path.with_suffix(".tmp").write_bytes(b"half")
        path.with_suffix(".tmp").unlink()
        raise full

    monkeypatch.setattr(saving, "save_checkpoint", no_space)
    with pytest.raises(OSError, match="No space"):
        trainer_of(task, tmp_path / "run", seed=1).run()
    assert everything_in(tmp_path / "run") == before
    with pytest.raises(OSError, match="No space"):
        trainer_of(task, tmp_path / "new" / "run").run()
    assert not (tmp_path / "new").exists()
