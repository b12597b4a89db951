"""Does the stand-in notice mistakes that cost a program on a GPU its speed?

The promises hold for every operation and for a training step, and each planted mistake
breaks one.
"""

import importlib
import operator

import device_checks as checks
import pytest
from device_mistakes import LEFT_OUT, MISTAKES, plant
from op_table import TABLE
from strict_cupy.modules import installed

by_name = operator.attrgetter("name")


@pytest.fixture(autouse=True)
def stand_in(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("installs the stand-in by itself")
    with installed():
        yield


@pytest.mark.parametrize("row", [row for row in TABLE if row.name != "to"], ids=by_name)
def test_an_operation_keeps_its_type_and_device_and_reads_nothing(row):
    for sample in row.samples:
        checks.check_row(row, sample)


@pytest.mark.parametrize(
    "check",
    [
        *(checks.check_step, checks.check_copies, checks.check_launches),
        *(checks.check_walk, checks.check_optimizers, checks.check_training_elsewhere),
    ],
    ids=operator.attrgetter("__name__"),
)
def test_training_keeps_a_promise(check):
    check()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_caught(mistake, monkeypatch):
    path, old, new, check, complaint = MISTAKES[mistake]
    check()
    plant(monkeypatch, path, old, new)
    with pytest.raises((Exception, pytest.fail.Exception), match=complaint):
        check()


@pytest.mark.parametrize("module", LEFT_OUT)
def test_a_device_that_is_not_chosen_is_noticed(module, monkeypatch):
    check = LEFT_OUT[module]
    check()
    monkeypatch.setattr(importlib.import_module(module), "use_device", lambda *arrays: None)
    with pytest.raises((ValueError, AssertionError), match=r"must be same as|made on device"):
        check()
