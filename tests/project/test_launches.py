"""A training step on a GPU stays within its budget of launches and copies.

The budgets are what a step needs today, and a little more. Whoever needs fewer lowers
them.
"""

import pytest
from device_launches import CONFIGS, events_of
from strict_cupy.modules import installed

BUDGETS = {"tiny": 480, "base32": 580, "ViT-B/32": 1400}
COPIES = 18


@pytest.fixture(autouse=True)
def stand_in(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("installs the stand-in by itself")
    with installed():
        yield


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_stays_within_its_budget(name):
    events = events_of(name)
    assert len(events.launches) <= BUDGETS[name]
    assert len(events.copies) <= COPIES, events.copies
    assert events.reads == [] and events.wide == []
