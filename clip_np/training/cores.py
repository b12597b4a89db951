"""Threads or processes: which of them use the cores of one machine better?

Python's lock lets one thread run at a time. NumPy releases it while it computes, so
threads run at once as long as they are inside NumPy. Between two calls they wait for
each other. That is some microseconds, and handing over the lock costs more. With large
arrays this does not count. With small ones it is a good part of a step: two processes
take one of the configuration `micro` (benchmarks/configs.py) in 0.66 of the time of two
threads. See docs/figures.md, "How fast: processes".

An encoder that mixes samples, such as a ResNet, is one piece for one thread, and the
others only help inside of its operations. Processes cut it, because they exchange the
statistics of its batch norms.

Processes have a price, too: a start of half a second, and memory for one more copy of
Python and this package. So the rule for `clip-np train` is

    processes    if the arrays of a step are small and the run is long
    threads      otherwise

A call of `Trainer` from Python uses threads unless `processes` is set, because a script
that starts processes has to be written for it.
"""

from clip_np.encoders import CLIPConfig, VisionConfig, choose_encoders
from clip_np.training.options import TrainingOptions
from minigrad.threads import available_cores

SMALL_ARRAY = 2_000_000
"""Numbers in an activation of the vision encoder that is still small.

Of the models in docs/figures.md, "How fast: processes", `micro` has 70 thousand, `tiny`
174 thousand and `base32` 1.1 million. With `tutorial`, of 3.2 million, two threads keep
both cores as busy as two processes.
"""

LONG_STEPS = 300
LONG_SECONDS = 20.0
"""In a shorter run, processes save less time than it takes to start them."""


def choose_processes(options: TrainingOptions, pairs: int | None = None) -> int:
    """How many processes a training on this machine should use.

    pairs is how many there are to train on. A batch has no more, and None means enough
    for a whole one.

    >>> choose_processes(TrainingOptions(preset="ViT-B/32", batch_size=64))
    1
    >>> choose_processes(TrainingOptions(workers=2))  # threads were asked for
    1
    """
    # Published models are large.
    is_published = options.text_weights is not None or options.init is not None
    if is_published or options.workers is not None or options.backend != "numpy":
        return 1
    is_long = (options.steps or 0) >= LONG_STEPS or (options.seconds or 0.0) >= LONG_SECONDS
    config = choose_encoders(options.preset, vision=options.vision, text=options.text)
    batch_size = options.batch_size if pairs is None else min(options.batch_size, pairs)
    if not is_long or batch_size * activation_size(config) > SMALL_ARRAY:
        return 1
    # A process without a sample is idle, and with batch norms it is refused.
    return min(available_cores(), batch_size)


def activation_size(config: CLIPConfig) -> int:
    """Numbers in a large activation of the vision encoder, for one image.

    Of a transformer they are (T, width), of a ResNet the (width, S/2, S/2) of its stem.

    >>> [activation_size(choose_encoders(preset)) for preset in ("small", "RN50")]
    [2176, 802816]
    """
    vision = config.vision
    if isinstance(vision, VisionConfig):
        return ((vision.image_size // vision.patch_size) ** 2 + 1) * vision.width
    return vision.width * (vision.image_size // 2) ** 2
