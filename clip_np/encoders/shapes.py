"""Which parameters does an encoder have, before it is made?

A file may say that it holds a model of 30,000 layers. To make that model, only to see
that its weights are missing, would cost the memory that the file asks for. So each
encoder lists the names and shapes of its parameters from its configuration alone, in
its method `shapes`. The pieces that all of them share are here.

They are generators. So the comparison with a file stops at the first name that the file
lacks, and the other 30,000 layers are never listed.
"""

from collections.abc import Iterator
from typing import NamedTuple

from clip_np.encoders.config import TransformerConfig


class ParameterShape(NamedTuple):
    """The path of a parameter or buffer in its model, its shape, and its numbers.

    kind is "f" for floating-point numbers and "i" for whole ones, as in `dtype.kind`.
    """

    path: str
    shape: tuple[int, ...]
    kind: str = "f"


def norm_shapes(path: str, width: int) -> Iterator[ParameterShape]:
    """The parameters of a `LayerNorm(width)` at `path`.

    >>> [shape.path for shape in norm_shapes("ln_pre", 64)]
    ['ln_pre.weight', 'ln_pre.bias']
    """
    yield ParameterShape(f"{path}.weight", (width,))
    yield ParameterShape(f"{path}.bias", (width,))


def linear_shapes(path: str, n_in: int, n_out: int) -> Iterator[ParameterShape]:
    """The parameters of a `Linear(n_in, n_out)` at `path`.

    >>> [shape.shape for shape in linear_shapes("mlp.c_fc", 64, 256)]
    [(256, 64), (256,)]
    """
    yield ParameterShape(f"{path}.weight", (n_out, n_in))
    yield ParameterShape(f"{path}.bias", (n_out,))


def convolution_shape(path: str, n_in: int, n_out: int, kernel_size: int) -> ParameterShape:
    """The parameter of a `Conv2d` without bias at `path`.

    >>> convolution_shape("conv1", 3, 32, kernel_size=3).shape
    (32, 3, 3, 3)
    """
    return ParameterShape(f"{path}.weight", (n_out, n_in, kernel_size, kernel_size))


def batch_norm_shapes(path: str, channels: int) -> Iterator[ParameterShape]:
    """The parameters and buffers of a `BatchNorm2d(channels)` at `path`.

    >>> [shape.path for shape in batch_norm_shapes("bn1", 64)][2:]
    ['bn1.running_mean', 'bn1.running_var', 'bn1.num_batches_tracked']
    """
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield ParameterShape(f"{path}.{name}", (channels,))
    yield ParameterShape(f"{path}.num_batches_tracked", (), kind="i")


def block_shapes(config: TransformerConfig) -> Iterator[ParameterShape]:
    """The parameters of a `Transformer` called "transformer", block by block.

    >>> from clip_np.encoders import PRESETS
    >>> len(list(block_shapes(PRESETS["tiny"].vision)))  # 12 in each of 3 blocks
    36
    """
    width = config.width
    for number in range(config.layers):
        block = f"transformer.resblocks.{number}"
        yield from norm_shapes(f"{block}.ln_1", width)
        yield from linear_shapes(f"{block}.attn.in_proj", width, 3 * width)
        yield from linear_shapes(f"{block}.attn.out_proj", width, width)
        yield from norm_shapes(f"{block}.ln_2", width)
        yield from linear_shapes(f"{block}.mlp.c_fc", width, config.mlp_width)
        yield from linear_shapes(f"{block}.mlp.c_proj", config.mlp_width, width)
