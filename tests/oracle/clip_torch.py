"""CLIP written plainly in PyTorch, to hold clip_np against.

Nothing here is clever: PyTorch's own layers, convolution and attention, every token
computed to the last block, captions at their full padded length, one tape for the whole
batch. The names of the parameters are clip_np's, so weights go over by name; the patch
embedding alone changes shape, because it is a real convolution here.

Radford et al. 2021, arXiv:2103.00020.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_np import CLIPConfig, TextConfig, VisionConfig

MAX_LOGIT_SCALE = math.log(100.0)


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), the activation of OpenAI's weights."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention: (B, T, W) -> (B, T, W)."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.in_proj(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)  # (B, H, T, D)
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))


class MLP(nn.Module):
    """Two layers with an activation between: (B, T, W) -> (B, T, W)."""

    def __init__(self, width: int, mlp_width: int, activation: str) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, mlp_width)
        self.c_proj = nn.Linear(mlp_width, width)
        self.activation = {"quick_gelu": QuickGELU, "gelu": nn.GELU}[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    """Attention and a perceptron on normalised rows, each added to what comes in."""

    def __init__(self, config: VisionConfig | TextConfig, causal: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width)
        self.attn = Attention(config.width, config.heads, causal)
        self.ln_2 = nn.LayerNorm(config.width)
        self.mlp = MLP(config.width, config.mlp_width, config.activation)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of blocks: (B, T, W) -> (B, T, W)."""

    def __init__(self, config: VisionConfig | TextConfig, causal: bool) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(config, causal) for _ in range(config.layers))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class VisionTransformer(nn.Module):
    """Images (B, 3, S, S) -> features (B, embed_dim), not normalised."""

    def __init__(self, config: VisionConfig, embed_dim: int) -> None:
        super().__init__()
        width, patch = config.width, config.patch_size
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(config.n_tokens, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(config, causal=False)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, embed_dim))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv1(images).flatten(2).transpose(1, 2)  # (B, N, W)
        first = self.class_embedding.expand(len(images), 1, -1)  # (B, 1, W)
        x = torch.cat([first, patches], dim=1) + self.positional_embedding  # (B, 1 + N, W)
        x = self.transformer(self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.proj


class TextTransformer(nn.Module):
    """Token ids (B, T) -> features (B, embed_dim), not normalised."""

    def __init__(self, config: TextConfig, embed_dim: int) -> None:
        super().__init__()
        self.eos_token_id = config.eos_token_id
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.context_length, config.width))
        self.transformer = Transformer(config, causal=True)
        self.ln_final = nn.LayerNorm(config.width)
        self.text_projection = nn.Parameter(torch.zeros(config.width, embed_dim))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        if self.eos_token_id is None:
            ends = tokens.argmax(dim=1)  # (B,)
        else:
            ends = (tokens == self.eos_token_id).int().argmax(dim=1)  # (B,), the first one
        return x[torch.arange(len(x)), ends] @ self.text_projection


class TorchCLIP(nn.Module):
    """Both encoders and the logarithm of the temperature factor."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.vision = VisionTransformer(config.vision, config.embed_dim)
        self.text = TextTransformer(config.text, config.embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(0.0))

    def loss(self, images: Tensor, tokens: Tensor, positives: Tensor | None = None) -> Tensor:
        """Symmetric cross-entropy: (B, 3, S, S), (B, T), (B, B) bool -> ()."""
        image_features = F.normalize(self.vision(images), dim=-1)  # (B, E)
        text_features = F.normalize(self.text(tokens), dim=-1)  # (B, E)
        logits = self.logit_scale.exp() * image_features @ text_features.T  # (B, B)
        labels = torch.arange(len(logits))
        if positives is not None:
            logits = logits.masked_fill(positives & (labels != labels[:, None]), -math.inf)
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def load_arrays(model: TorchCLIP, arrays: dict[str, np.ndarray]) -> TorchCLIP:
    """Take over the weights and the precision of a clip_np model's state_dict()."""
    own = model.state_dict()
    if own.keys() != arrays.keys():
        raise KeyError(f"parameters of one side only: {sorted(own.keys() ^ arrays.keys())}")
    model.to(torch.from_numpy(arrays["vision.proj"]).dtype)
    model.load_state_dict(
        {name: torch.tensor(array).reshape(own[name].shape) for name, array in arrays.items()}
    )
    return model


def adamw(model: TorchCLIP, lr: float) -> torch.optim.AdamW:
    """AdamW as CLIP uses it: no decay of what has fewer than two dimensions."""
    wide = [each for each in model.parameters() if each.ndim >= 2]
    narrow = [each for each in model.parameters() if each.ndim < 2]
    groups = [{"params": wide, "weight_decay": 0.1}, {"params": narrow, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6)


def torch_step(
    model: TorchCLIP, optimizer: torch.optim.AdamW, images: Tensor, tokens: Tensor
) -> dict[str, float]:
    """One step of training, in the order of the published recipe."""
    optimizer.zero_grad()
    loss = model.loss(images, tokens)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0.0, MAX_LOGIT_SCALE)
    scale = model.logit_scale.item()
    return {"loss": loss.item(), "logit_scale": scale, "grad_norm": norm.item()}
