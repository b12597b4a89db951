"""The other side of the comparison: CLIP as a careful PyTorch user writes it.

nn modules, F.scaled_dot_product_attention, fused AdamW with no weight decay on gains,
biases and the temperature. It does the work of every token in every layer, as such code
does.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_resnet import ResNet
from clip_np.encoders import CLIPConfig


class QuickGELU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, config, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = config.heads, causal
        self.ln_1, self.ln_2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.in_proj = nn.Linear(config.width, 3 * config.width)
        self.out_proj = nn.Linear(config.width, config.width)
        activation = QuickGELU() if config.activation == "quick_gelu" else nn.GELU()
        self.mlp = nn.Sequential(
            nn.Linear(config.width, config.mlp_width),
            activation,
            nn.Linear(config.mlp_width, config.width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        qkv = self.in_proj(self.ln_1(x)).reshape(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.ln_2(x))


class Vision(nn.Module):
    def __init__(self, config, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(3, width, config.patch_size, config.patch_size, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positions = nn.Parameter(width**-0.5 * torch.randn(config.n_tokens, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.Sequential(*[Block(config, causal=False) for _ in range(config.layers)])
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.conv1(images).flatten(2).transpose(1, 2)  # (B, N, width)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positions
        x = self.blocks(self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.proj


class Text(nn.Module):
    def __init__(self, config, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        self.embedding = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Parameter(0.01 * torch.randn(config.context_length, width))
        self.blocks = nn.Sequential(*[Block(config, causal=True) for _ in range(config.layers)])
        self.ln_final = nn.LayerNorm(width)
        self.projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.ln_final(self.blocks(self.embedding(tokens) + self.positions))
        return x[torch.arange(len(x)), tokens.argmax(dim=1)] @ self.projection


VISION = {"vit": Vision, "resnet": ResNet}  # by kind


class TorchCLIP(nn.Module):
    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.visual = VISION[config.vision.kind](config.vision, config.embed_dim)
        self.text = Text(config.text, config.embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        f = F.normalize(self.visual(images), dim=1)
        g = F.normalize(self.text(tokens), dim=1)
        logits = self.logit_scale.exp() * f @ g.T
        labels = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def make_optimizer(
    model: nn.Module, weight_decay: float, **options: object
) -> torch.optim.Optimizer:
    """Fused AdamW; weight decay for arrays with two or more dimensions."""
    wide = [p for p in model.parameters() if p.ndim >= 2]
    narrow = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": wide, "weight_decay": weight_decay},
        {"params": narrow, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, fused=True, **options)
