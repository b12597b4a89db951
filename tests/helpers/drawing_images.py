"""How inputs for the operations on images are drawn: like those of drawing.py."""

from collections.abc import Callable

from drawing import Sample, anywhere, distinct, filled, seeds, widths
from hypothesis import strategies as st

kernel_sizes = st.integers(1, 3)
strides = st.integers(1, 3)


@st.composite
def conv2d_inputs(draw: Callable) -> Sample:
    """Images that are at least as large as the filters, and at most four larger."""
    samples, channels, filters = draw(widths), draw(widths), draw(widths)
    height, width, padding = draw(kernel_sizes), draw(kernel_sizes), draw(st.integers(0, 2))
    if draw(st.booleans()):
        width = height  # as in nearly every network
    sizes = [max(size - 2 * padding, 0) + draw(st.integers(0, 4)) for size in (height, width)]
    shapes = [(samples, channels, *sizes), (filters, channels, height, width)]
    return Sample(filled(draw, anywhere, *shapes), {"stride": draw(strides), "padding": padding})


@st.composite
def pooled_inputs(draw: Callable, padded: bool) -> Sample:
    """Distinct values: at equal ones the largest number has no derivative."""
    kernel_size = draw(kernel_sizes)
    options = {"kernel_size": kernel_size, "stride": draw(st.none() | strides)}
    if padded:
        options["padding"] = draw(st.integers(0, kernel_size // 2))
    sizes = [kernel_size + draw(st.integers(0, 4)) for _ in range(2)]
    return Sample(filled(draw, distinct, (draw(widths), draw(widths), *sizes)), options)


@st.composite
def batch_norm_inputs(draw: Callable) -> Sample:
    """Distinct values, and more than one for each channel, or none."""
    samples, channels = draw(widths), draw(widths)
    inner = draw(st.lists(st.integers(0, 3), max_size=2))
    training = draw(st.booleans())
    count = samples
    for size in inner:
        count *= size
    if training and count == 1:
        inner = [*inner, 2]
    shapes = [(samples, channels, *inner), (channels,), (channels,)]
    options = {"training": training, "seed": draw(seeds)}
    options["eps"] = draw(st.sampled_from((1e-5, 1e-3, 0.5)))
    return Sample(filled(draw, distinct, *shapes), options)
