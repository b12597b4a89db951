"""When does a training use processes, and how many?"""

import pytest

from clip_np.training import TrainingOptions, choose_processes, cores

LONG = {"preset": "tiny", "backend": "numpy", "steps": 1000, "batch_size": 16}


@pytest.mark.parametrize(
    "cores_here, changes, expected",
    [
        (4, {}, 4),
        (64, {}, 16),  # no process without a sample
        (4, {"steps": 100}, 1),  # over before the start is won back
        (4, {"workers": 2}, 1),  # threads were asked for
        (4, {"batch_size": 4096}, 1),  # large arrays
    ],
)
def test_small_arrays_and_long_runs_use_processes(monkeypatch, cores_here, changes, expected):
    monkeypatch.setattr(cores, "available_cores", lambda: cores_here)
    assert choose_processes(TrainingOptions(**{**LONG, **changes})) == expected


@pytest.mark.parametrize("pairs, expected", [(3, 3), (16, 4)])
def test_no_more_processes_than_pairs(monkeypatch, pairs, expected):
    monkeypatch.setattr(cores, "available_cores", lambda: 4)
    assert choose_processes(TrainingOptions(**LONG), pairs) == expected
