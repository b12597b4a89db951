"""Answer key of the exercise on the way back through a graph."""

from collections.abc import Callable

from examples.exercises.comparing import require
from examples.exercises.judging import Mistake, Run, judge


class Number:
    """A number of the graph in exercise `backward`: value, inputs and factors."""

    def __init__(self, value: float, inputs: tuple = (), factors: tuple = ()) -> None:
        self.value, self.inputs, self.factors = value, inputs, factors
        self.grad = 0.0


Walk = Callable[[list[Number]], None]
Graph = dict[str, Number]  # in the order in which they are made, each under its name

LAST = "the last number"


def _cubic() -> Graph:
    """2 x^3 + x at x = 3: x is used four times."""
    x = Number(3.0)
    twice = Number(6.0, (x,), (2.0,))
    square = Number(9.0, (x, x), (3.0, 3.0))
    both = Number(54.0, (twice, square), (9.0, 6.0))
    last = Number(57.0, (both, x), (1.0, 1.0))
    return {"x": x, "2 x": twice, "x x": square, "2 x^3": both, LAST: last}


def _short_and_long(long_first: bool) -> Graph:
    """h + 3 h for h = x x at x = 2: from h, one way to the end is longer."""
    x = Number(2.0)
    h = Number(4.0, (x, x), (2.0, 2.0))
    a = Number(12.0, (h,), (3.0,))
    return {
        "x": x,
        "h": h,
        "a": a,
        LAST: Number(16.0, (a, h) if long_first else (h, a), (1.0, 1.0)),
    }


def _right(numbers: list[Number]) -> None:
    numbers[-1].grad = 1.0
    for number in reversed(numbers):
        for origin, factor in zip(number.inputs, number.factors):
            origin.grad += number.grad * factor


def _overwrite(numbers: list[Number]) -> None:
    numbers[-1].grad = 1.0
    for number in reversed(numbers):
        for origin, factor in zip(number.inputs, number.factors):
            origin.grad = number.grad * factor


def _each_input_once(numbers: list[Number]) -> None:
    numbers[-1].grad = 1.0
    for number in reversed(numbers):
        for origin, factor in dict(zip(number.inputs, number.factors)).items():
            origin.grad += number.grad * factor


def _wrong_end(numbers: list[Number]) -> None:
    numbers[-1].grad = 1.0
    for number in numbers:
        for origin, factor in zip(number.inputs, number.factors):
            origin.grad += number.grad * factor


def _at_once(next_place: int, again: bool) -> Walk:
    """From the end along the inputs, without waiting for the other users of a number.

    next_place: 0 visits what has waited longest, -1 what came last. again: whether a
    number is visited more than once.
    """

    def walk(numbers: list[Number]) -> None:
        numbers[-1].grad = 1.0
        waiting, seen = [numbers[-1]], set()
        while waiting:
            number = waiting.pop(next_place)
            if number in seen and not again:
                continue
            seen.add(number)
            for origin, factor in zip(number.inputs, number.factors):
                origin.grad += number.grad * factor
                waiting.append(origin)

    return walk


def _depth_first(again: bool) -> Walk:
    """The same by a function that calls itself for each input."""

    def walk(numbers: list[Number]) -> None:
        seen = set()

        def visit(number: Number) -> None:
            if number in seen and not again:
                return
            seen.add(number)
            for origin, factor in zip(number.inputs, number.factors):
                origin.grad += number.grad * factor
                visit(origin)

        numbers[-1].grad = 1.0
        visit(numbers[-1])

    return walk


def _run(walk: Walk) -> Run:
    """The gradients after a walk, from the last number to the first."""

    def run(make: Callable[[], Graph]) -> dict[str, float]:
        graph = make()
        numbers = list(graph.values())
        handed_over = list(numbers)
        fixed = [(number.value, number.inputs, number.factors) for number in numbers]
        walk(handed_over)
        now = [(number.value, number.inputs, number.factors) for number in numbers]
        require(
            handed_over == numbers and fixed == now,
            "the input numbers was changed in place, and only each .grad should be",
        )
        return {f"the gradient of {name}": graph[name].grad for name in reversed(graph)}

    return run


def check_backward(backward: Walk) -> None:
    cases = {
        "2 x^3 + x at x = 3": {"make": _cubic},
        "a + h with h = x x and a = 3 h, at x = 2": {
            "make": lambda: _short_and_long(long_first=True)
        },
        "h + a with h = x x and a = 3 h, at x = 2": {
            "make": lambda: _short_and_long(long_first=False)
        },
    }
    early = (
        "a number was handed on before its last user had added its part, so some ways to the "
        "end are missing or count twice: visit all users of a number first"
    )
    walks = [
        ("a number that is used several times receives a gradient from each use: add them, do "
         "not overwrite", _overwrite),
        ("x * x uses x twice, and both uses count", _each_input_once),
        ("the graph was walked from the wrong end", _wrong_end),
        *[(early, _at_once(place, again)) for place in (0, -1) for again in (True, False)],
        *[(early, _depth_first(again)) for again in (True, False)],
    ]  # fmt: skip
    mistakes = [Mistake(hint, _run(walk)) for hint, walk in walks]
    mistakes.append(
        Mistake("for itself it is 1: set it first", lambda make: {f"the gradient of {LAST}": 0.0})
    )
    judge(_run(backward), _run(_right), cases, mistakes)
