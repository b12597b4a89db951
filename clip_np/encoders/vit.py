"""Chapter 17: how does an image become a vector?

Cut it into square patches, and treat each patch as a word. A patch of P x P pixels in three
colours is a row of 3 P^2 numbers; one matrix turns it into a token. A class token, the same
for every image, is put in front; learned positions tell the patches apart; after the blocks,
what the class token has gathered is projected into the shared space.

    image (3, H, W)  ->  patches (N, 3 P^2)  ->  tokens (1 + N, width)  ->  (embed_dim,)

Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", arXiv:2010.11929.
"""

import numpy as np

import minigrad as mg
from clip_np.encoders.config import VisionConfig
from clip_np.encoders.transformer import Transformer
from minigrad.backend import Array
from minigrad.nn import LayerNorm, Linear, Module, normal


class VisionTransformer(Module):
    """Images (B, 3, image_size, image_size) -> (B, embed_dim).
    conv1 is called so in the published weights, where the patch embedding is written as a
    convolution with stride P; on patches laid out as rows it is a matrix product."""

    def __init__(self, config: VisionConfig, embed_dim: int, rng: np.random.Generator) -> None:
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

    def patches(self, images: mg.Tensor) -> mg.Tensor:
        """(B, 3, H, W) -> (B, N, 3*P*P): patches row by row, each colour by colour."""
        batch, size, patch = len(images), self.config.image_size, self.config.patch_size
        grid = size // patch
        cut = images.reshape(batch, 3, grid, patch, grid, patch)  # (B, 3, Gy, P, Gx, P)
        cut = cut.transpose((0, 2, 4, 1, 3, 5))  # (B, Gy, Gx, 3, P, P)
        return cut.reshape(batch, grid * grid, 3 * patch * patch)  # (B, N, 3*P*P)

    def tokens(self, images: Array | mg.Tensor) -> mg.Tensor:
        """What enters the first block: (B, 3, H, W) -> (B, 1 + N, width)."""
        if not isinstance(images, mg.Tensor):
            images = mg.tensor(images, backend=self.proj.backend)
        size, width = self.config.image_size, self.config.width
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            needs = f"expected images of shape (B, 3, {size}, {size})"
            raise ValueError(f"encode_image: {needs}, got {images.shape}")
        patches = self.conv1(self.patches(images))  # (B, N, width)
        first = mg.broadcast_to(self.class_embedding, (len(images), 1, width))  # (B, 1, width)
        x = mg.concatenate([first, patches], axis=1) + self.positional_embedding  # (B, 1+N, width)
        return self.ln_pre(x)

    def forward(self, images: Array | mg.Tensor) -> mg.Tensor:
        x = self.tokens(images)
        return self.ln_post(self.transformer.pooled(x, np.zeros(len(x), int))) @ self.proj

    def lengths(self, inputs: Array) -> Array:
        """Every image has the same number of tokens: (B, 3, H, W) -> (B,)."""
        return np.full(len(inputs), self.config.n_tokens)

    def cost(self, length: int) -> float:
        """Multiplications for one image, as `Encoder` asks for them."""
        return self.transformer.cost(length)

    def attention_maps(self, images: Array | mg.Tensor) -> mg.Tensor:
        """How every token looks at every other: -> (layers, B, heads, T, T), T = 1 + N."""
        with mg.no_grad():
            x, maps = self.tokens(images), []
            for block in self.transformer.resblocks:
                maps.append(block.attn.weights(block.ln_1(x)))
                x = block(x)
            return mg.stack(maps)  # (layers, B, heads, T, T)
