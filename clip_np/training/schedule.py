"""How large is a step, and when is the last one?

The learning rate rises in a straight line while the optimizer's averages fill up. Then
it falls along half a cosine, so that the last steps settle:

    highest   |     /`-.
              |    /    `-.
              |   /        `-.
    the last  |  /            `-..__
              +--+------+----------+-> steps
                warmup             total

A run that ends after a number of steps knows `total`. A run that ends by the clock does
not. It estimates: after `step` steps in `elapsed` seconds, a limit of `seconds` makes

    total = step * seconds / elapsed

steps. The estimate moves with every step, and so the rate follows the share of time
that has passed.

Loshchilov & Hutter 2017, arXiv:1608.03983 (cosine).
"""

import math

from clip_np.training.checks import LARGEST_NUMBER
from clip_np.training.options import TrainingOptions
from minigrad.optim import warmup_cosine

ASSUMED_STEPS = 1000
"""The length, in steps, of a run with a time limit before its first step was timed."""

WARMUP_DIVISOR = 10
"""At most total // 10 steps are warm-up, so that the rate of a short run comes down."""


def learning_rate(options: TrainingOptions, step: int, elapsed: float) -> float:
    """The learning rate of the step after `step` steps, which took `elapsed` seconds.

    >>> options = TrainingOptions(steps=1000, learning_rate=1.0, warmup=100)
    >>> [round(learning_rate(options, step, 0.0), 2) for step in (0, 49, 99, 550, 999)]
    [0.01, 0.5, 1.0, 0.51, 0.02]
    >>> options = TrainingOptions(steps=None, seconds=60.0, learning_rate=1.0)
    >>> round(learning_rate(options, step=300, elapsed=33.0), 2)  # halfway down
    0.51
    """
    total = expected_steps(options, step, elapsed)
    return warmup_cosine(
        step=step,
        total=total,
        warmup=warmup_steps(options, total),
        base_lr=options.highest_rate,
        min_lr=options.highest_rate * options.final_ratio,
    )


def expected_steps(options: TrainingOptions, step: int, elapsed: float) -> int:
    """How many steps the run will have, as far as is known after `step` steps.

    >>> options = TrainingOptions(steps=1000, seconds=60.0)
    >>> expected_steps(options, step=10, elapsed=2.0)  # 5 a second: the clock ends it
    300
    """
    total = options.steps or ASSUMED_STEPS
    if options.seconds is not None and elapsed > 0:
        by_clock = round(min(step * options.seconds / elapsed, LARGEST_NUMBER))
        total = by_clock if options.steps is None else min(options.steps, by_clock)
    return max(total, step + 1)  # at least the step that is about to be taken


def warmup_steps(options: TrainingOptions, total: int) -> int:
    """How many of `total` steps are warm-up; a value below 1 is a share of them.

    >>> warmup_steps(TrainingOptions(warmup=100), total=2000)
    100
    >>> warmup_steps(TrainingOptions(warmup=100), total=500)  # at most a tenth
    50
    >>> warmup_steps(TrainingOptions(warmup=0.05), total=500)
    25
    """
    is_share = options.warmup < 1
    wanted = options.warmup * total if is_share else options.warmup
    return max(1, min(round(wanted), total // WARMUP_DIVISOR))


def is_finished(options: TrainingOptions, step: int, elapsed: float) -> bool:
    """Whether the steps or the seconds are used up.

    >>> options = TrainingOptions(steps=1000, seconds=60.0)
    >>> is_finished(options, step=1000, elapsed=2.0)
    True
    >>> is_finished(options, step=10, elapsed=2.0)
    False
    """
    steps = math.inf if options.steps is None else options.steps
    seconds = math.inf if options.seconds is None else options.seconds
    return step >= steps or elapsed >= seconds
