"""A U-Net that says what is noise in an image: residual blocks with time, self-attention where the image is small.

Names and structure are those of diffusers' `UNet2DModel`, whose checkpoints load.
Source: O. Ronneberger et al., "U-Net", 2015; J. Ho et al., "Denoising diffusion probabilistic models", 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcore import _C, nn, ops
from dlcore.nn import functional as F
from dlcore.tensor import Tensor

__all__ = ["UNet2D", "UNet2DConfig"]


@dataclass
class UNet2DConfig:
    """Channels of each level, from the full image to the smallest, and where there is attention.

    Raises:
        ValueError: channels that are no multiple of the norm's groups or of the attention's heads, or sizes below 1.
    """

    in_channels: int = 3
    out_channels: int = 3
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    attention: tuple[bool, ...] = (False, True, True, True)  # of each level; always in the middle
    attention_head_dim: int | None = 8  # None: one head
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    dropout: float = 0.0
    num_class_embeds: int | None = None  # classes to be told by; None: nothing is told

    def __post_init__(self) -> None:
        sizes = (self.in_channels, self.out_channels, self.layers_per_block, self.norm_num_groups)
        if not self.block_out_channels or min(*sizes, *self.block_out_channels) < 1:
            raise ValueError(f"[UNet2D] expected sizes of at least 1, got {self}")
        if len(self.attention) != len(self.block_out_channels):
            raise ValueError(
                f"[UNet2D] expected attention for each of {len(self.block_out_channels)} levels, got {self.attention}"
            )
        for i, c in enumerate(self.block_out_channels):
            if c % self.norm_num_groups:
                raise ValueError(f"[UNet2D] {c} channels are no multiple of norm_num_groups {self.norm_num_groups}")
            attends = self.attention[i] or i + 1 == len(self.block_out_channels)
            if attends and self.attention_head_dim and c % self.attention_head_dim:
                raise ValueError(
                    f"[UNet2D] {c} channels are no multiple of attention_head_dim {self.attention_head_dim}"
                )

    @property
    def time_channels(self) -> int:
        return 4 * self.block_out_channels[0]


def time_embedding(t: Tensor, channels: int) -> Tensor:
    """(N,) to (N, channels): cosines, then sines, of t times frequencies from 1 down to 1 / 10000."""
    half = channels // 2
    frequencies = np.exp(-math.log(10000) / half * np.arange(half))
    angle = t.numpy().astype(np.float64)[:, None] * frequencies
    waves = np.concatenate([np.cos(angle), np.sin(angle), np.zeros((len(angle), channels % 2))], 1)
    return ops.tensor(waves, dtype=_C.float32)


class _TimeEmbedding(nn.Module):
    def __init__(self, channels: int, made: int) -> None:
        self.linear_1, self.linear_2 = nn.Linear(channels, made), nn.Linear(made, made)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class _Residual(nn.Module):
    """x + F(x, time) with F = conv2(silu(norm2(conv1(silu(norm1(x))) + W silu(time))))."""

    def __init__(self, config: UNet2DConfig, channels: int, made: int) -> None:
        groups, eps = config.norm_num_groups, config.norm_eps
        self.norm1 = nn.GroupNorm(groups, channels, eps)
        self.conv1 = nn.Conv2d(channels, made, 3, padding=1)
        self.time_emb_proj = nn.Linear(config.time_channels, made)
        self.norm2 = nn.GroupNorm(groups, made, eps)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = nn.Conv2d(made, made, 3, padding=1)
        self.conv_shortcut = None if channels == made else nn.Conv2d(channels, made, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + ops.reshape(self.time_emb_proj(F.silu(time)), (*h.shape[:2], 1, 1))
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


class _Attention(nn.Module):
    """x + attention over all pixels of the normalised image."""

    def __init__(self, config: UNet2DConfig, channels: int) -> None:
        self.heads = channels // config.attention_head_dim if config.attention_head_dim else 1
        self.group_norm = nn.GroupNorm(config.norm_num_groups, channels, config.norm_eps)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        N, C, H, W = x.shape
        rows = ops.transpose(ops.reshape(self.group_norm(x), (N, C, H * W)), 1, 2)  # (N, H W, C)
        q, k, v = (
            ops.transpose(ops.reshape(to(rows), (N, H * W, self.heads, -1)), 1, 2)  # (N, heads, H W, d)
            for to in (self.to_q, self.to_k, self.to_v)
        )
        y = ops.transpose(F.scaled_dot_product_attention(q, k, v), 1, 2)  # (N, H W, heads, d)
        y = self.to_out[0](ops.reshape(y, (N, H * W, C)))
        return x + ops.reshape(ops.transpose(y, 1, 2), (N, C, H, W))


class _Resample(nn.Module):
    """Half the size by a convolution of stride 2, or twice the size by copies and a convolution."""

    def __init__(self, channels: int, up: bool) -> None:
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, 1 if up else 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2) if self.up else x)


class _Level(nn.Module):
    """Residual blocks, each with attention if there is any, and a change of size."""

    def __init__(self, config: UNet2DConfig, sizes: list[tuple[int, int]], attention: bool, resample: str) -> None:
        made = sizes[-1][1]
        self.attentions = nn.ModuleList([_Attention(config, made) for _ in sizes]) if attention else None
        self.resnets = nn.ModuleList([_Residual(config, c, made) for c, made in sizes])
        self.downsamplers = nn.ModuleList([_Resample(made, up=False)]) if resample == "down" else None
        self.upsamplers = nn.ModuleList([_Resample(made, up=True)]) if resample == "up" else None

    def layer(self, i: int, x: Tensor, time: Tensor) -> Tensor:
        x = self.resnets[i](x, time)
        return x if self.attentions is None else self.attentions[i](x)


class _Middle(nn.Module):
    def __init__(self, config: UNet2DConfig, channels: int) -> None:
        self.attentions = nn.ModuleList([_Attention(config, channels)])
        self.resnets = nn.ModuleList([_Residual(config, channels, channels) for _ in range(2)])

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, time)), time)


class UNet2D(nn.Module):
    """Images (N, in_channels, H, W) at times t (N,) to (N, out_channels, H, W).

    H and W must be multiples of 2^(levels - 1), so that halves fit together again on the way up.
    """

    def __init__(self, config: UNet2DConfig | None = None) -> None:
        self.config = config = config or UNet2DConfig()
        channels, depth = config.block_out_channels, config.layers_per_block
        last = len(channels) - 1
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.time_embedding = _TimeEmbedding(channels[0], config.time_channels)
        self.class_embedding = (
            None if config.num_class_embeds is None else nn.Embedding(config.num_class_embeds, config.time_channels)
        )
        down, c = [], channels[0]
        for i, made in enumerate(channels):
            sizes = [(c if j == 0 else made, made) for j in range(depth)]
            down.append(_Level(config, sizes, config.attention[i], "down" if i < last else ""))
            c = made
        up = []
        for i in range(last, -1, -1):  # a skip of each block of the level, and of what came from the level above
            made, above = channels[i], channels[max(i - 1, 0)]
            skips = [made] * depth + [above]
            sizes = [((c if j == 0 else made) + skip, made) for j, skip in enumerate(skips)]
            up.append(_Level(config, sizes, config.attention[i], "up" if i > 0 else ""))
            c = made
        self.down_blocks, self.up_blocks = nn.ModuleList(down), nn.ModuleList(up)
        self.mid_block = _Middle(config, channels[-1])
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[0], config.norm_eps)
        self.conv_out = nn.Conv2d(channels[0], config.out_channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the network gives for x at times t.

        Args:
            x: (N, in_channels, H, W).
            t: integers (N,).
            labels: classes (N,), where the configuration has `num_class_embeds`.
        """
        shrink = 1 << (len(self.config.block_out_channels) - 1)
        if x.ndim != 4 or x.shape[2] % shrink or x.shape[3] % shrink:
            raise ValueError(
                f"[UNet2D] expected (N, C, H, W) with H and W multiples of {shrink}, which is halved as often as there "
                f"are levels, got {x.shape}"
            )
        if t.shape != x.shape[:1]:
            raise ValueError(f"[UNet2D] expected one t for each of {x.shape[0]} images, got shape {t.shape}")
        if (labels is None) != (self.class_embedding is None):
            told = "labels" if self.class_embedding is not None else "no labels: num_class_embeds is None"
            raise ValueError(f"[UNet2D] expected {told}, got {'none' if labels is None else labels.shape}")
        time = self.time_embedding(time_embedding(t, self.config.block_out_channels[0]))  # (N, 4 C)
        if self.class_embedding is not None:
            time = time + self.class_embedding(labels)
        x = self.conv_in(x)
        skips = [x]
        down: Any = self.down_blocks
        up: Any = self.up_blocks
        for level in down:
            for i in range(len(level.resnets)):
                x = level.layer(i, x, time)
                skips.append(x)
            if level.downsamplers is not None:
                x = level.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, time)
        for level in up:
            for i in range(len(level.resnets)):
                x = level.layer(i, ops.cat([x, skips.pop()], 1), time)
            if level.upsamplers is not None:
                x = level.upsamplers[0](x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))
