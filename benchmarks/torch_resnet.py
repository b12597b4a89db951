"""The ResNet of the other side, as a careful PyTorch user writes it."""

import torch
import torch.nn.functional as F
from torch import nn


def convolution(n_in: int, n_out: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride) and a batch norm."""
    layer = nn.Conv2d(n_in, n_out, kernel_size, stride, padding=kernel_size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(n_out))


class Bottleneck(nn.Module):
    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.narrow = convolution(n_in, width, 1)
        self.look = convolution(width, width, 3)
        self.widen = convolution(width, 4 * width, 1)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        changes = stride > 1 or n_in != 4 * width
        self.shortcut = convolution(n_in, 4 * width, 1) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.narrow(x), inplace=True)
        h = F.relu(self.look(h), inplace=True)
        h = self.widen(self.pool(h))
        return F.relu(h + self.shortcut(self.pool(x)), inplace=True)


class AttentionPool(nn.Module):
    def __init__(self, config, embed_dim: int) -> None:
        super().__init__()
        width = config.features_width
        self.heads = config.heads
        self.positions = nn.Parameter(width**-0.5 * torch.randn(config.n_tokens, width))
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, embed_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(2).transpose(1, 2)  # (B, N, D)
        tokens = torch.cat([rows.mean(dim=1, keepdim=True), rows], dim=1) + self.positions
        batch, width = len(x), tokens.shape[2]

        def by_heads(x: torch.Tensor) -> torch.Tensor:
            return x.view(batch, -1, self.heads, width // self.heads).transpose(1, 2)

        q, k, v = self.query(tokens[:, :1]), self.key(tokens), self.value(tokens)
        mixed = F.scaled_dot_product_attention(by_heads(q), by_heads(k), by_heads(v))
        return self.out(mixed.reshape(batch, width))


class ResNet(nn.Module):
    def __init__(self, config, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        parts: list[nn.Module] = []
        for n_in, n_out, stride in ((3, width // 2, 2), (width // 2, width // 2, 1)):
            parts += [convolution(n_in, n_out, 3, stride), nn.ReLU(inplace=True)]
        parts += [convolution(width // 2, width, 3), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
        n_in = width
        for stage, depth in enumerate(config.layers):
            for number in range(depth):
                stride = 2 if stage > 0 and number == 0 else 1
                parts.append(Bottleneck(n_in, width * 2**stage, stride))
                n_in = 4 * width * 2**stage
        self.body = nn.Sequential(*parts)
        self.pool = AttentionPool(config, embed_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.pool(self.body(images))
