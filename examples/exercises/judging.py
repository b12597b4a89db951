"""How does a check tell what is wrong, and not only that something is?

Most wrong answers are one of a few that everybody gives once: a sum that forgets an
axis, a factor that is missing. So a key writes down the right function, a few inputs,
and the common mistakes as functions, too, each with a hint.

If an answer differs from the right function anywhere, and equals a mistake everywhere,
the hint is printed. An answer that equals a mistake on one input only has done
something else wrong, and a hint would mislead.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from examples.exercises.comparing import NEAR, Near, Wrong, difference, is_same, require

SHORT = 250  # characters of inputs that are printed in a message; more would hide it

Inputs = Mapping[str, Any]
Run = Callable[..., Mapping[str, Any]]  # from inputs to results, each under its name


class Mistake(NamedTuple):
    """A common mistake. run may return some of the results only: those it concerns.

    near: how near an answer must be to it, if not as near as to the right result.
    """

    hint: str
    run: Run
    near: Near | None = None


def judge(
    answer: Run,
    right: Run,
    cases: Mapping[str, Inputs],
    mistakes: Sequence[Mistake] = (),
    near: Near = NEAR,
) -> None:
    """Wrong, unless an answer does on all inputs what the right function does.

    cases: the inputs, under words that name them in a message (may be empty).
    """
    got = {case: run_on_copies(answer, inputs) for case, inputs in cases.items()}
    for case, inputs in cases.items():
        with np.errstate(all="ignore"):
            expected = right(**inputs)
        for what, value in expected.items():
            label = ", ".join(part for part in (what, case) if part)
            answered = got[case][what]
            require(
                answered is not None, f"{label}: nothing was returned. Is the function written?"
            )
            if not is_same(answered, value, near):
                hint = _hint((case, what), got, cases, mistakes, near)
                raise Wrong(
                    f"{label}: {hint or difference(answered, value, near) + described(inputs)}"
                )


def run_on_copies(answer: Run, inputs: Inputs) -> Mapping[str, Any]:
    """What an answer makes of inputs. Wrong if it changes one of them in place."""
    copies = copy.deepcopy(dict(inputs))
    try:
        with np.errstate(all="ignore"):
            results = answer(**copies)
    except Exception as error:
        error.add_note(described(inputs).lstrip())
        raise
    for name, before in inputs.items():
        require(
            _is_unchanged(copies[name], before),
            f"the input {name} was changed in place. Make a new one or use a copy, or put back "
            "exactly what was there",
        )
    return results


def described(inputs: Inputs) -> str:
    """A line with the inputs, if they are few and short."""
    texts = [f"{name} = {_plain(value)!r}" for name, value in inputs.items() if not callable(value)]
    line = "\nHere " + ", ".join(texts)
    return line if texts and len(line) <= SHORT else ""


def _plain(value: Any) -> Any:
    """A value as it is printed: an array as a list, a set in order."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return sorted(value) if isinstance(value, set) else value


def _is_unchanged(after: Any, before: Any) -> bool:
    """Whether an input is exactly what it was."""
    if isinstance(before, np.ndarray):
        return after.shape == before.shape and np.array_equal(after, before)
    if isinstance(before, (list, tuple)):
        return len(after) == len(before) and all(map(_is_unchanged, after, before))
    return bool(after == before)


def _hint(
    first: tuple[str, str],
    got: Mapping[str, Mapping[str, Any]],
    cases: Mapping[str, Inputs],
    mistakes: Sequence[Mistake],
    near: Near,
) -> str:
    """The hint of the mistake that equals an answer in everything, or an empty text.

    first: the case and the result that differ first from what is right.
    """
    first_case, what = first
    for mistake in mistakes:
        with np.errstate(all="ignore"):
            wrong = {case: mistake.run(**inputs) for case, inputs in cases.items()}
        if what in wrong[first_case] and all(
            is_same(got[case][name], value, mistake.near or near)
            for case, results in wrong.items()
            for name, value in results.items()
        ):
            return mistake.hint
    return ""
