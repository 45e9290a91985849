"""A small U-Net for diffusion, in PyTorch: widths ch, 2 ch, 2 ch, a residual block a level, attention at the lowest."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    def __init__(self, n_in: int, n_out: int, n_time: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, n_in), nn.GroupNorm(8, n_out)
        self.conv1, self.conv2 = nn.Conv2d(n_in, n_out, 3, padding=1), nn.Conv2d(n_out, n_out, 3, padding=1)
        self.time = nn.Linear(n_time, n_out)
        self.skip = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x, t):
        y = self.conv1(F.silu(self.norm1(x))) + self.time(t)[:, :, None, None]
        return self.conv2(F.silu(self.norm2(y))) + self.skip(x)


class Attention(nn.Module):
    def __init__(self, C: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.GroupNorm(8, C), nn.Conv2d(C, 3 * C, 1), nn.Conv2d(C, C, 1)

    def forward(self, x):
        B, C, height, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(B, 3, C // 32, 32, height * width).transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2)
        return x + self.out(y.reshape(B, C, height, width))


class UNet(nn.Module):
    def __init__(self, ch: int) -> None:
        super().__init__()
        n_time = 4 * ch
        self.ch = ch
        self.time = nn.Sequential(nn.Linear(ch, n_time), nn.SiLU(), nn.Linear(n_time, n_time))
        self.enter = nn.Conv2d(3, ch, 3, padding=1)
        self.shrink1, self.shrink2 = nn.Conv2d(ch, ch, 3, 2, 1), nn.Conv2d(2 * ch, 2 * ch, 3, 2, 1)
        self.down1, self.down2, self.down3 = (
            Residual(n_in * ch, n_out * ch, n_time) for n_in, n_out in ((1, 1), (1, 2), (2, 2))
        )
        self.middle1, self.middle2 = (Residual(2 * ch, 2 * ch, n_time) for _ in range(2))
        self.attention = Attention(2 * ch)
        self.up3, self.up2, self.up1 = (
            Residual(n_in * ch, n_out * ch, n_time) for n_in, n_out in ((4, 2), (4, 2), (3, 1))
        )
        self.norm, self.leave = nn.GroupNorm(8, ch), nn.Conv2d(ch, 3, 3, padding=1)

    def forward(self, x, t):
        frequencies = torch.exp(-math.log(1e4) * torch.arange(self.ch // 2) / (self.ch // 2))
        angles = t[:, None] * frequencies
        t = F.silu(self.time(torch.cat([angles.sin(), angles.cos()], 1)))
        x1 = self.down1(self.enter(x), t)
        x2 = self.down2(self.shrink1(x1), t)
        x3 = self.down3(self.shrink2(x2), t)
        y = self.middle2(self.attention(self.middle1(x3, t)), t)
        y = self.up3(torch.cat([y, x3], 1), t)
        y = self.up2(torch.cat([F.interpolate(y, scale_factor=2.0), x2], 1), t)
        y = self.up1(torch.cat([F.interpolate(y, scale_factor=2.0), x1], 1), t)
        return self.leave(F.silu(self.norm(y)))
