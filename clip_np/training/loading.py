"""Which pairs of a batch does a rank read?

All of them if it is alone, or if it hands the batch to other processes of its machine.
Ranks on several machines divide the rows of each batch, so that each reads and decodes
its part only. If the rows cannot be divided evenly, some ranks have one more:

    10 rows, 3 ranks     0 1 2 | 3 4 5 6 | 7 8 9

What is drawn to vary the pairs depends on the seed, the step and, with several ranks,
on the rank.
"""

from clip_np.data import BatchLoader, Pairs, Preprocess
from clip_np.training.options import TrainingOptions


def make_loader(
    pairs: Pairs,
    options: TrainingOptions,
    size: int,
    skip_bad: bool,
    preprocess: Preprocess | None,
    rank: int = 0,
    ranks: int = 1,
) -> BatchLoader:
    """Batches of the training pairs, varied as the options say.

    size is the width of the images in pixels. ValueError if images would be moved by
    all of it.
    """
    shift = options.augmentation.shift
    if shift >= size:
        raise ValueError(
            f"`shift` is {shift:,} pixels, and the images have {size}: nothing of them is left"
        )
    return BatchLoader(
        pairs=pairs,
        size=size,
        batch_size=options.batch_size,
        seed=options.seed,
        augmentation=options.augmentation,
        tag_probability=options.tag_probability,
        skip_bad=skip_bad,
        data_workers=options.data_workers,
        preprocess=preprocess,
        part=(rank, ranks),
        backend=options.backend,
    )
