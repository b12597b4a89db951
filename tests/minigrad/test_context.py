"""A setting ends with its block, whatever ends the block."""

import asyncio
import sys
from contextvars import ContextVar

import pytest

import minigrad as mg
from minigrad.context import setting
from minigrad.debug import explain_memory
from minigrad.memory import using
from minigrad.recording import is_recording
from minigrad.tape import monitor

colour = ContextVar("colour", default="blue")
BLOCKS = (mg.no_grad, mg.detect_anomaly, mg.profile)


def test_blocks_of_one_setting_nest():
    red = setting(colour, "red")
    with red, setting(colour, "green"):
        with red:
            assert colour.get() == "red"
        assert colour.get() == "green"
    assert colour.get() == "blue"


class CtrlC:
    """Interrupts the program when its n-th call in context.py has returned."""

    def __init__(self, countdown):
        self.countdown = countdown

    def __call__(self, frame, event, argument):
        if event == "c_return" and frame.f_code.co_filename.endswith("minigrad/context.py"):
            self.countdown -= 1
            if self.countdown == 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("block", BLOCKS, ids=["no_grad", "detect_anomaly", "profile"])
def test_an_interrupt_leaves_nothing_switched(block):
    """Python delivers a Ctrl-C after a call of a function that is written in C."""
    interrupted = 0
    for moment in range(1, 20):
        previous = sys.getprofile()
        try:
            sys.setprofile(CtrlC(moment))
            with block():
                pass
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.setprofile(previous)
        assert is_recording() and monitor.get() is None, moment
    assert 4 <= interrupted < 19


@pytest.mark.parametrize("block", BLOCKS, ids=["no_grad", "detect_anomaly", "profile"])
def test_functions_that_run_after_their_call_are_refused(block):
    def generator():
        yield is_recording()

    async def coroutine():
        return is_recording()

    async def both():
        yield is_recording()

    for function in (generator, coroutine, both):
        with pytest.raises(TypeError, match=rf"{function.__name__} is a generator or a coroutine"):
            block()(function)
    assert list(generator()) == [True] and asyncio.run(coroutine())


def test_a_decorated_function_keeps_its_name_and_may_call_itself():
    @mg.no_grad()
    def countdown(n):
        """Down to 0."""
        assert not is_recording()
        return n if n == 0 else countdown(n - 1)

    assert countdown(3) == 0 and is_recording()
    assert (countdown.__name__, countdown.__doc__) == ("countdown", "Down to 0.")


def test_other_blocks_are_blocks():
    with using(None), explain_memory("Wait."):
        assert is_recording()
