"""Which random numbers belong to which purpose?

A run has one seed and several uses for random numbers. Each use has a generator of its
own. Its seed is a list: the seed of the run, then the number of the use, its *stream*:

    np.random.default_rng([seed, ORDER_STREAM, epoch])

Streams do not depend on each other. So another augmentation does not change the order
of the pairs, and a run that resumes draws what the uninterrupted run would have drawn.
The numbers must not change: with other numbers the same seed would mean another run.
"""

SPLIT_STREAM = 0
"""Which images are held out for validation."""

ORDER_STREAM = 1
"""The order of the pairs in each epoch."""

AUGMENTATION_STREAM = 2
"""How the pairs of each step are varied."""

SHAPES_STREAM = 3
"""The training pairs of the shapes task."""

SHARD_STREAM = 4
"""The order of a stream's shards and rows, in each epoch."""
