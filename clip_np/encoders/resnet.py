"""How do convolutions turn an image into a vector?

A convolution looks at 3 x 3 neighbours at a time. Fifty of them, one after the other,
see the whole image. That many layers learn only if there is a short way through them:
each *bottleneck* computes a change, and adds it to what came in ("residual").

    image               (3, S, S)
    stem                (W, S/4, S/4)      three convolutions and a mean
    stage 1             (4W, S/4, S/4)     a stack of bottlenecks
    stage k             (4W 2^(k-1), S/4 / 2^(k-1), ...)    half as long, twice as wide
    positions           (N, D)             those of the last stage, as rows
    features            (E,)               the answers to one question, mixed

Here S is the side of the image in pixels, W the width of the configuration, N the
number of positions that are left, D their width and E the width of the shared space.

*Bottleneck.* Narrow the channels, look at neighbours, widen again, so that the costly
convolution of 3 x 3 works on few channels. After each convolution comes a batch norm:

    h = relu(bn1(conv1(x)))            1 x 1, to w channels
    h = relu(bn2(conv2(h)))            3 x 3
    h = bn3(conv3(mean of 2 x 2 (h)))  1 x 1, to 4w channels
    y = relu(h + downsample(x))        downsample: the same mean, and a 1 x 1

The mean is in the first bottleneck of a stage only. A plain ResNet takes every second
pixel there. The mean keeps fine patterns from turning into coarse ones that are not in
the image ("anti-aliased"). bn3 starts with weights of zero. So at first each bottleneck
adds nothing, and gradients reach the first one undiminished.

*Attention pool.* The mean of all positions asks a question, and the positions answer:
it is attention as in transformer.py, with the mean token as the only query.

    tokens = [mean; positions] + positional_embedding        (1 + N, D)
    features = C (mixture of V tokens, weighted by softmax of (Q mean) . (K tokens))

with learned matrices Q, K, V and C.

*Training* and *use* differ. While training, the batch norms use the statistics of the
batch, so the features of an image depend on the images beside it. In use (`eval`) they
do not: then running means of the statistics are used (minigrad/ops/batch_norm.py).

He et al. 2016, arXiv:1512.03385; He et al. 2019, arXiv:1812.01187 (ResNet-D: the stem);
Zhang 2019, arXiv:1904.11486 (anti-aliasing); Radford et al. 2021, arXiv:2103.00020,
section 2.4 and table 20.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

import minigrad as mg
from clip_np.encoders.config import EXPANSION, STEM_REDUCTION, ResNetConfig
from clip_np.encoders.images import as_images
from clip_np.encoders.position_grids import resize_positions
from clip_np.encoders.shapes import (
    ParameterShape,
    batch_norm_shapes,
    convolution_shape,
    linear_shapes,
)
from minigrad.backend import Array, move
from minigrad.nn import BatchNorm2d, Conv2d, Linear, Module, Parameter, Sequential, normal


class Bottleneck(Module):
    """Adds a change to images: (B, n_in, G, G) -> (B, 4 * width, G/stride, G/stride).

    `downsample` brings what comes in to the shape of the change. It is None where
    the shapes are equal. Its mean has no parameters and stands in `forward`.

    >>> block = Bottleneck(8, width=4, stride=2, rng=np.random.default_rng(0))
    >>> block(mg.tensor(np.ones((2, 8, 6, 6), np.float32))).shape
    (2, 16, 3, 3)
    """

    def __init__(self, n_in: int, width: int, stride: int, rng: np.random.Generator | None) -> None:
        n_out = EXPANSION * width
        self.stride = stride
        self.conv1 = Conv2d(n_in, width, 1, rng, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, rng, padding=1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = Conv2d(width, n_out, 1, rng, bias=False)
        self.bn3 = BatchNorm2d(n_out)
        self.bn3.weight.data[...] = 0.0
        self.downsample: Sequential | None = None
        if has_downsample(n_in, width, stride):
            self.downsample = Sequential(
                Conv2d(n_in, n_out, 1, rng, bias=False), BatchNorm2d(n_out)
            )

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        h = mg.relu(self.bn1(self.conv1(x)))  # (B, width, G, G)
        h = mg.relu(self.bn2(self.conv2(h)))
        h = self.bn3(self.conv3(shrink(h, self.stride)))  # (B, 4 * width, G/stride, G/stride)
        if self.downsample is not None:
            x = self.downsample(shrink(x, self.stride))
        return mg.relu(h + x)


def shrink(x: mg.Tensor, stride: int) -> mg.Tensor:
    """The mean of each stride x stride pixels, in place of a convolution's stride."""
    return x if stride == 1 else mg.avg_pool2d(x, stride)


def has_downsample(n_in: int, width: int, stride: int) -> bool:
    """Whether a bottleneck changes the shape of what passes through it."""
    return stride > 1 or n_in != EXPANSION * width


class AttentionPool(Module):
    """One vector for all positions of images: (B, D, G, G) -> (B, embed_dim)."""

    def __init__(
        self, config: ResNetConfig, embed_dim: int, rng: np.random.Generator | None
    ) -> None:
        width = config.features_width
        std = width**-0.5
        self.heads = config.heads
        self.positional_embedding = normal(rng, (config.n_tokens, width), std)
        self.k_proj = Linear(width, width, rng, std=std)
        self.q_proj = Linear(width, width, rng, std=std)
        self.v_proj = Linear(width, width, rng, std=std)
        self.c_proj = Linear(width, embed_dim, rng, std=std)

    def tokens(self, x: mg.Tensor) -> mg.Tensor:
        """The positions as rows, their mean first: (B, D, G, G) -> (B, T, D)."""
        batch, width, side, _ = x.shape  # (B, D, G, G)
        rows = x.reshape(batch, width, side * side).swapaxes(1, 2)  # (B, N, D)
        mean = rows.mean(axis=1, keepdims=True)  # (B, 1, D)
        return mg.concatenate([mean, rows], axis=1) + self.positional_embedding  # (B, 1 + N, D)

    def by_heads(self, x: mg.Tensor) -> mg.Tensor:
        """Cut rows into heads: (B, T, D) -> (B, H, T, D/H)."""
        batch, length, width = x.shape
        x = x.reshape(batch, length, self.heads, width // self.heads)  # (B, T, H, D/H)
        return x.swapaxes(1, 2)

    def queries_and_keys(self, tokens: mg.Tensor) -> tuple[mg.Tensor, mg.Tensor]:
        """One query, and all keys: (B, T, D) -> (B, H, 1, D/H), (B, H, T, D/H)."""
        return self.by_heads(self.q_proj(tokens[:, :1])), self.by_heads(self.k_proj(tokens))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        tokens = self.tokens(x)  # (B, T, D)
        queries, keys = self.queries_and_keys(tokens)  # (B, H, 1, D/H), (B, H, T, D/H)
        values = self.by_heads(self.v_proj(tokens))  # (B, H, T, D/H)
        mixture = mg.attention(queries, keys, values)  # (B, H, 1, D/H)
        return self.c_proj(mixture.reshape(len(x), tokens.shape[2]))  # (B, D) -> (B, E)

    def probabilities(self, x: mg.Tensor) -> mg.Tensor:
        """How much the mean token looks at each token: (B, D, G, G) -> (B, H, 1, T)."""
        queries, keys = self.queries_and_keys(self.tokens(x))  # (B, H, 1, D/H), (B, H, T, D/H)
        depth = keys.shape[3]
        return mg.softmax(queries @ keys.swapaxes(-1, -2) * depth**-0.5)  # (B, H, 1, T)


class ResNet(Module):
    """Images (B, 3, image_size, image_size) -> features (B, embed_dim).

    The stages are called layer1, layer2, ..., as in the published weights.
    """

    def __init__(
        self, config: ResNetConfig, embed_dim: int, rng: np.random.Generator | None
    ) -> None:
        self.config = config
        width = config.width
        self.conv1 = Conv2d(3, width // 2, 3, rng, stride=2, padding=1, bias=False)
        self.bn1 = BatchNorm2d(width // 2)
        self.conv2 = Conv2d(width // 2, width // 2, 3, rng, padding=1, bias=False)
        self.bn2 = BatchNorm2d(width // 2)
        self.conv3 = Conv2d(width // 2, width, 3, rng, padding=1, bias=False)
        self.bn3 = BatchNorm2d(width)
        stages: dict[str, list[Bottleneck]] = {}
        for size in bottlenecks(config):
            block = Bottleneck(size.n_in, size.width, size.stride, rng)
            stages.setdefault(size.stage, []).append(block)
        for name, blocks in stages.items():
            setattr(self, name, Sequential(*blocks))
        self.attnpool = AttentionPool(config, embed_dim, rng)

    @staticmethod
    def shapes(config: ResNetConfig, embed_dim: int) -> Iterator[ParameterShape]:
        """The names and shapes of parameters and buffers, without making them."""
        width, features = config.width, config.features_width
        yield ParameterShape("attnpool.positional_embedding", (config.n_tokens, features))
        for name, n_out in (("k", features), ("q", features), ("v", features), ("c", embed_dim)):
            yield from linear_shapes(f"attnpool.{name}_proj", features, n_out)
        stem = ((3, width // 2), (width // 2, width // 2), (width // 2, width))
        for number, (n_in, n_out) in enumerate(stem, start=1):
            yield convolution_shape(f"conv{number}", n_in, n_out, kernel_size=3)
            yield from batch_norm_shapes(f"bn{number}", n_out)
        for size in bottlenecks(config):
            yield from bottleneck_shapes(size)

    def stages(self) -> list[Module]:
        """layer1, layer2, and so on."""
        return [getattr(self, f"layer{k}") for k in range(1, len(self.config.layers) + 1)]

    def positions(self, images: Array | mg.Tensor) -> mg.Tensor:
        """What the last stage makes of images: (B, 3, S, S) -> (B, D, G, G)."""
        x = as_images(images, self.config.image_size, like=self.conv1.weight)
        x = mg.relu(self.bn1(self.conv1(x)))  # (B, W/2, S/2, S/2)
        x = mg.relu(self.bn2(self.conv2(x)))
        x = mg.relu(self.bn3(self.conv3(x)))  # (B, W, S/2, S/2)
        x = mg.avg_pool2d(x, 2)  # (B, W, S/4, S/4)
        for stage in self.stages():
            x = stage(x)
        return x

    def forward(self, images: Array | mg.Tensor) -> mg.Tensor:
        return self.attnpool(self.positions(images))

    def lengths(self, inputs: Array) -> Array:
        """The tokens of the attention pool, as many for every image: -> (B,)."""
        return np.full(len(inputs), self.config.n_tokens)  # (B,)

    def cost(self, length: int) -> float:
        """Multiplications for one image: in all convolutions and the attention pool.

        >>> config = ResNetConfig(224, width=64)
        >>> round(ResNet(config, 1024, None).cost(50) / 1e9, 2)
        5.79
        """
        config = self.config
        side = config.image_size // 2
        half = config.width // 2
        # Three convolutions of 3 x 3: from 3 channels to W/2, to W/2, and to W.
        stem = side**2 * 9 * (3 * half + half * half + half * config.width)
        stages = sum(bottleneck_cost(size) for size in bottlenecks(config))
        width = config.features_width
        pool = (2 * length + 1) * width**2  # keys and values of all tokens, one query
        return stem + stages + pool

    def resize(self, image_size: int) -> None:
        """See images of another size from now on.

        The positions of the attention pool are resized. They become a new parameter, so
        this comes before an optimizer is made. ValueError if image_size is no multiple
        of what a position covers.
        """
        config = dataclasses.replace(self.config, image_size=image_size)
        positions = move(self.attnpool.positional_embedding.data, "numpy")  # (1 + N, D)
        resized = resize_positions(positions, image_size // config.reduction)
        backend = self.conv1.weight.backend
        self.attnpool.positional_embedding = Parameter(move(resized, backend))
        self.config = config

    def attention_maps(self, images: Array | mg.Tensor) -> mg.Tensor:
        """How the mean token looks at all tokens, the mean first: (1, B, H, 1, T).

        It is the attention pool's map, the only one here. T = 1 + N; the positions
        follow row by row.
        """
        with mg.no_grad():
            return mg.stack([self.attnpool.probabilities(self.positions(images))])


class BottleneckSize(NamedTuple):
    """A bottleneck: its stage and number there, its widths, stride and size of images.

    side is that of the images that come in, in positions.
    """

    stage: str
    number: int
    n_in: int
    width: int
    stride: int
    side: int


def bottlenecks(config: ResNetConfig) -> Iterator[BottleneckSize]:
    """The bottlenecks of a ResNet, from the first to the last.

    >>> for size in bottlenecks(ResNetConfig(32, width=16, layers=(2, 1))):
    ...     print(size)
    BottleneckSize(stage='layer1', number=0, n_in=16, width=16, stride=1, side=8)
    BottleneckSize(stage='layer1', number=1, n_in=64, width=16, stride=1, side=8)
    BottleneckSize(stage='layer2', number=0, n_in=64, width=32, stride=2, side=8)
    """
    n_in = width = config.width
    side = config.image_size // STEM_REDUCTION
    for stage, depth in enumerate(config.layers, start=1):
        for number in range(depth):
            stride = 2 if stage > 1 and number == 0 else 1
            yield BottleneckSize(f"layer{stage}", number, n_in, width, stride, side)
            n_in = EXPANSION * width
            side //= stride
        width *= 2


def bottleneck_shapes(size: BottleneckSize) -> Iterator[ParameterShape]:
    """The parameters and buffers of a `Bottleneck`, with the path of its stage."""
    block = f"{size.stage}.{size.number}"
    n_out = EXPANSION * size.width
    yield convolution_shape(f"{block}.conv1", size.n_in, size.width, kernel_size=1)
    yield from batch_norm_shapes(f"{block}.bn1", size.width)
    yield convolution_shape(f"{block}.conv2", size.width, size.width, kernel_size=3)
    yield from batch_norm_shapes(f"{block}.bn2", size.width)
    yield convolution_shape(f"{block}.conv3", size.width, n_out, kernel_size=1)
    yield from batch_norm_shapes(f"{block}.bn3", n_out)
    if has_downsample(size.n_in, size.width, size.stride):
        yield convolution_shape(f"{block}.downsample.0", size.n_in, n_out, kernel_size=1)
        yield from batch_norm_shapes(f"{block}.downsample.1", n_out)


def bottleneck_cost(size: BottleneckSize) -> int:
    """The multiplications of a `Bottleneck` for one image."""
    n_out = EXPANSION * size.width
    positions = size.side**2
    positions_left = (size.side // size.stride) ** 2  # after the mean of 2 x 2
    cost = positions * (size.n_in * size.width + 9 * size.width**2)  # conv1 and conv2
    cost += positions_left * size.width * n_out  # conv3
    if has_downsample(size.n_in, size.width, size.stride):
        cost += positions_left * size.n_in * n_out
    return cost
