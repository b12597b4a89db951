"""How far could a figure be off, because only so many images were measured?

A model has a recall of 0.30 on 200 images. On 200 other images it could have 0.25 or
0.36. The *bootstrap* estimates this without other images. It draws N of the N measured
images again and again, with replacement, so that some come twice and others not at all.
Each draw r gives the figure once more:

    m_r = sum_i c_ri w_i x_i / sum_i c_ri w_i

Here x_i is what image i scored, w_i its weight (usually 1), and c_ri says how often it
was drawn. The middle 95 % of all m_r is the *interval*: from the quantile 0.025 to the
quantile 0.975.

If no image scored at all, every draw gives 0, and both quantiles are 0. But a model
that is right now and then may also miss N times in a row. The interval ends at the
share p of right answers for which this has a probability of 2.5 %:

    (1 - p)^N = 0.025

The same holds for 1, from the other side. If all images scored the same m between 0
and 1, as 0.5 when one of both ways was right, every draw gives m. Then the share p of
images that may be unlike them scores 0 or 1:

    from (1 - p) m  to  (1 - p) m + p

The seed is fixed, so the same scores always have the same interval.

Efron 1979, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7;
Clopper and Pearson 1934, Biometrika 26 (the interval at 0 and 1).
"""

from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # the share of draws that an interval holds
RESAMPLES = 1000  # draws; the ends of an interval then vary by a fiftieth of its width
SAME = 1e-12  # draws of equal scores differ by rounding alone
DRAWN_TOGETHER = 2**22  # numbers of images that are in memory at a time: 32 MiB


class Interval(NamedTuple):
    """The ends between which the true figure most likely lies."""

    low: float
    high: float


def bootstrap_interval(
    values: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The interval of the mean of N shares, such as hits (1) and misses (0).

    values: (N,), between 0 and 1, boolean or not. ValueError for anything else.

    >>> hits = np.array([True] * 30 + [False] * 70)
    >>> interval = bootstrap_interval(hits)
    >>> round(interval.low, 2), round(interval.high, 2)
    (0.22, 0.39)
    >>> round(bootstrap_interval(np.zeros(20)).high, 3)  # 0 of 20 may be 17 % after all
    0.168
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"bootstrap_interval: expected `values` (N > 0,), got {values.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            "bootstrap_interval: expected `values` between 0 and 1, got "
            f"{values.min():g} to {values.max():g}"
        )
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(
            f"bootstrap_interval: expected 0 < `level` < 1 and `resamples` > 0, got {level} "
            f"and {resamples}"
        )
    ones = np.ones((len(values), 1))  # every image has the weight 1
    sums = values[:, np.newaxis]  # (N, 1): one figure
    means = resampled_means(sums, weights=ones, resamples=resamples, seed=seed)[:, 0]  # (R,)
    return interval_of(means, len(values), level)


def resampled_means(
    sums: np.ndarray, weights: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """The weighted means of F figures in R draws of N units: (R, F).

    sums (N, F): w_i x_i, what a unit adds to the numerator of each figure. weights
    (N, F): w_i, what it adds to the denominator. All figures see the same draws, so
    that a figure that is the mean of two others is so in every draw.

    >>> sums = np.array([[1.0], [0.0], [1.0]])
    >>> resampled_means(sums, np.ones((3, 1)), resamples=4).shape
    (4, 1)
    """
    count = len(sums)
    rng = np.random.default_rng(seed)
    together = max(1, DRAWN_TOGETHER // count)
    means = np.zeros((resamples, sums.shape[1]))  # (R, F)
    for start in range(0, resamples, together):
        draws = min(together, resamples - start)  # D
        drawn = rng.integers(count, size=(draws, count))  # (D, N)
        # One count serves all draws, because unit i has the number r * N + i in draw r.
        numbers = drawn + count * np.arange(draws)[:, np.newaxis]  # (D, N)
        counts = np.bincount(numbers.ravel(), minlength=draws * count).reshape(draws, count)
        # A draw without any weight has no figure; 0 / tiny is 0.
        denominators = np.maximum(counts @ weights, np.finfo(np.float64).tiny)  # (D, F)
        means[start : start + draws] = (counts @ sums) / denominators
    return means


def interval_of(means: np.ndarray, units: int, level: float = LEVEL) -> Interval:
    """The middle `level` of the means (R,) of `units` units, all between 0 and 1.

    >>> interval_of(np.linspace(0.0, 1.0, 101), units=9, level=0.5)
    Interval(low=0.25, high=0.75)
    >>> interval_of(np.full(1000, 0.5), units=2, level=0.5)  # two images, both 0.5
    Interval(low=0.25, high=0.75)
    """
    tail = (1 - level) / 2
    low, high = (float(end) for end in np.quantile(means, [tail, 1 - tail]))
    unseen_share = 1 - tail ** (1 / units)  # the p of (1 - p)^N = tail
    if np.ptp(means) <= SAME:  # 0 and 1 are among these
        mean = float(means.mean())
        seen = (1 - unseen_share) * mean
        return Interval(low=seen, high=min(1.0, seen + unseen_share))
    return Interval(low, high)
