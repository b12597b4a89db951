"""How does an image become a vector?

Cut it into square patches, and treat each patch as a word. A patch of P x P pixels in
three colours is a row of 3 P^2 numbers; one matrix turns it into a token. A class
token, the same for every image, is put in front. It says nothing about the image, but
in the blocks it gathers what the other tokens say. Learned positions tell the patches
apart. At the end, the row of the class token is projected into the space that images
and captions share:

    image           (3, S, S)
    patches         (N, 3 P^2)      N = (S / P)^2
    tokens          (1 + N, W)      before and after the blocks
    class token     (W,)
    features        (E,)

Here S is the side of the image and P the side of a patch, in pixels. N is the number of
patches, W the width of a token and E the width of the shared space.

`plain_forward` says this in two lines. `forward` computes the same features for less
work, because it leaves out the rows of the last block that nobody reads
(clip_np/encoders/pooled.py).

Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", arXiv:2010.11929.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

import minigrad as mg
from clip_np.encoders.config import VisionConfig
from clip_np.encoders.images import as_images
from clip_np.encoders.pooled import pooled_cost, pooled_transformer
from clip_np.encoders.position_grids import resize_positions
from clip_np.encoders.shapes import ParameterShape, block_shapes, norm_shapes
from clip_np.encoders.transformer import Transformer
from minigrad.backend import Array, move
from minigrad.nn import LayerNorm, Linear, Module, Parameter, normal


class VisionTransformer(Module):
    """Images (B, 3, image_size, image_size) -> features (B, embed_dim).

    The patch embedding is called conv1 because the published weights call it so. There
    it is a convolution with stride P; applied to patches that are laid out as rows, the
    same numbers are a matrix product.
    """

    def __init__(
        self, config: VisionConfig, embed_dim: int, rng: np.random.Generator | None
    ) -> None:
        self.config = config
        scale = config.width**-0.5
        patch_numbers = 3 * config.patch_size**2
        self.conv1 = Linear(patch_numbers, config.width, rng, bias=False, std=patch_numbers**-0.5)
        self.class_embedding = normal(rng, (config.width,), scale)
        self.positional_embedding = normal(rng, (config.n_tokens, config.width), scale)
        self.ln_pre = LayerNorm(config.width)
        self.transformer = Transformer(config, rng)
        self.ln_post = LayerNorm(config.width)
        self.proj = normal(rng, (config.width, embed_dim), scale)

    @staticmethod
    def shapes(config: VisionConfig, embed_dim: int) -> Iterator[ParameterShape]:
        """The names and shapes of the parameters, without making them."""
        width = config.width
        yield ParameterShape("class_embedding", (width,))
        yield ParameterShape("positional_embedding", (config.n_tokens, width))
        yield ParameterShape("conv1.weight", (width, 3 * config.patch_size**2))
        yield from norm_shapes("ln_pre", width)
        yield from norm_shapes("ln_post", width)
        yield ParameterShape("proj", (width, embed_dim))
        yield from block_shapes(config)

    def patches(self, images: mg.Tensor) -> mg.Tensor:
        """(B, 3, S, S) -> (B, N, 3*P*P): row by row; in a patch, colour by colour."""
        batch = len(images)
        patch = self.config.patch_size
        grid = self.config.image_size // patch  # patches along a side
        cut = images.reshape(batch, 3, grid, patch, grid, patch)  # (B, 3, Gy, P, Gx, P)
        cut = cut.transpose((0, 2, 4, 1, 3, 5))  # (B, Gy, Gx, 3, P, P)
        return cut.reshape(batch, grid * grid, 3 * patch * patch)  # (B, N, 3*P*P)

    def tokens(self, images: Array | mg.Tensor) -> mg.Tensor:
        """What enters the first block: (B, 3, S, S) -> (B, 1 + N, W)."""
        images = as_images(images, self.config.image_size, like=self.proj)
        batch = len(images)
        width = self.config.width
        patches = self.conv1(self.patches(images))  # (B, N, W)
        first = mg.broadcast_to(self.class_embedding, (batch, 1, width))  # (B, 1, W)
        x = mg.concatenate([first, patches], axis=1)  # (B, 1 + N, W)
        return self.ln_pre(x + self.positional_embedding)  # (1 + N, W) is added to each image

    def plain_forward(self, images: Array | mg.Tensor) -> mg.Tensor:
        """The features as the paper defines them. `forward` is faster and equal."""
        x = self.transformer(self.tokens(images))  # (B, 1 + N, W)
        return self.ln_post(x[:, 0]) @ self.proj  # (B, E)

    def forward(self, images: Array | mg.Tensor) -> mg.Tensor:
        """The fast form of `plain_forward`."""
        x = self.tokens(images)  # (B, 1 + N, W)
        class_positions = np.zeros(len(x), int)  # (B,)
        rows = pooled_transformer(self.transformer, x, class_positions)  # (B, W)
        return self.ln_post(rows) @ self.proj  # (B, E)

    def lengths(self, inputs: Array) -> Array:
        """The number of tokens, the same for every image: (B, 3, S, S) -> (B,)."""
        return np.full(len(inputs), self.config.n_tokens)  # (B,)

    def cost(self, length: int) -> float:
        """Multiplications in the blocks for one image; conv1 is left out."""
        return pooled_cost(self.config, length)

    def resize(self, image_size: int) -> None:
        """See images of another size from now on; the positions are resized.

        The positions become a new parameter, so this comes before an optimizer is made.
        ValueError if image_size is no multiple of the patches' size.
        """
        config = dataclasses.replace(self.config, image_size=image_size)
        positions = move(self.positional_embedding.data, "numpy")  # (1 + N, W)
        resized = resize_positions(positions, image_size // config.patch_size)
        self.positional_embedding = Parameter(move(resized, self.proj.backend))
        self.config = config

    def attention_maps(self, images: Array | mg.Tensor) -> mg.Tensor:
        """How the tokens look at each other: (layers, B, H, T, T) with T = 1 + N."""
        maps = []
        with mg.no_grad():
            x = self.tokens(images)  # (B, T, W)
            for block in self.transformer.resblocks:
                maps.append(block.attn.probabilities(block.ln_1(x)))  # (B, H, T, T)
                x = block(x)  # (B, T, W)
            return mg.stack(maps)  # (layers, B, H, T, T)
