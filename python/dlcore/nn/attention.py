"""Multi-head attention with PyTorch's interface and parameter names."""

from __future__ import annotations

import math
from typing import Any

from dlcore import _C, ops
from dlcore.nn import init
from dlcore.nn.linear import Linear, check_last, check_size
from dlcore.nn.module import Module
from dlcore.nn.parameter import Parameter
from dlcore.tensor import Tensor

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """softmax(q kᵀ / √D + mask) v in H heads of size D = E / H, between an input and an output projection.

    Args:
        embed_dim: E, a multiple of `num_heads`.
        num_heads: H.
        dropout: probability that a weight is dropped in training.
        bias: whether the projections have one.
        kdim, vdim: sizes of keys and values where they are not E.
        batch_first: whether inputs are (B, L, E) instead of (L, B, E).
        dtype: of the parameters.

    Attributes:
        in_proj_weight: (3E, E), or q_proj_weight (E, E), k_proj_weight (E, kdim) and v_proj_weight (E, vdim).
        in_proj_bias: (3E,).
        out_proj: Linear(E, E).

    Source: A. Vaswani et al., "Attention is all you need", 2017.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = _C.float32,
    ) -> None:
        check_size(self, embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(
                f"[MultiheadAttention] embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads} heads"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(f"[MultiheadAttention] expected a probability dropout in [0, 1], got {dropout}")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.dropout, self.batch_first = dropout, batch_first

        def weight(rows: int, cols: int) -> Parameter:
            return Parameter(init.xavier_uniform_(_C.empty((rows, cols), dtype)))

        self.in_proj_weight = self.q_proj_weight = self.k_proj_weight = self.v_proj_weight = None
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = weight(3 * embed_dim, embed_dim)
        else:
            self.q_proj_weight = weight(embed_dim, embed_dim)
            self.k_proj_weight = weight(embed_dim, self.kdim)
            self.v_proj_weight = weight(embed_dim, self.vdim)
        self.in_proj_bias = Parameter(_C.zeros((3 * embed_dim,), dtype)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends from `query` to `key` and `value`.

        Args:
            query, key, value: (L, B, E), (S, B, kdim), (S, B, vdim); batch first if so built; or without a batch.
            key_padding_mask: (B, S), or (S,): True where a key is to be ignored; or floats to be added.
            need_weights: whether to give out the weights; without them a fused kernel does the work.
            attn_mask: (L, S) or (B·H, L, S): True where attention is not allowed; or floats to be added.
            average_attn_weights: whether to average the weights over the heads.
            is_causal: position i sees keys up to i only.

        Returns:
            The output, shaped like `query`, and the weights: (B, L, S), (B, H, L, S), or None.
        """
        if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
            raise ValueError(
                "[MultiheadAttention] query, key and value must all be 2- or all 3-dimensional, got "
                f"{query.shape}, {key.shape} and {value.shape}"
            )
        for x, size in ((query, self.embed_dim), (key, self.kdim), (value, self.vdim)):
            check_last(self, x, size)
        batched = query.ndim == 3
        q, k, v = self._project(query, key, value)  # (B, L, E), (B, S, E), (B, S, E)
        if k.shape[:2] != v.shape[:2] or k.shape[0] != q.shape[0]:
            raise ValueError(
                "[MultiheadAttention] batch sizes and the lengths of key and value must agree, got "
                f"query {query.shape}, key {key.shape}, value {value.shape}"
            )
        mask = self._mask(q, k, key_padding_mask, attn_mask, is_causal and need_weights)
        heads = (self.num_heads, self.head_dim)
        q, k, v = (x.reshape(*x.shape[:2], *heads).transpose(1, 2) for x in (q, k, v))  # (B, H, L or S, D)
        p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = ops.matmul(q * (1 / math.sqrt(self.head_dim)), k.transpose(2, 3))  # (B, H, L, S)
            weights = ops.dropout(ops.softmax(scores if mask is None else scores + mask, -1), p)
            y = ops.matmul(weights, v)
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            y = ops.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p, is_causal=is_causal)
        y = self.out_proj(y.transpose(1, 2).reshape(y.shape[0], -1, self.embed_dim))  # (B, L, E)
        if not batched:
            return y.squeeze(0), None if weights is None else weights.squeeze(0)
        return y if self.batch_first else y.transpose(0, 1), weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        same = query is key and key is value
        inputs = [query] if same else [query, key, value]
        if query.ndim == 2:
            inputs = [x.unsqueeze(0) for x in inputs]
        elif not self.batch_first:
            inputs = [x.transpose(0, 1) for x in inputs]
        if self.in_proj_weight is not None and same:
            return list(ops.split(ops.linear(inputs[0], self.in_proj_weight, self.in_proj_bias), self.embed_dim, -1))
        if same:
            inputs = inputs * 3
        weights: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        if self.in_proj_weight is not None:
            weights = ops.split(self.in_proj_weight, self.embed_dim, 0)
        biases: Any = (None,) * 3
        if self.in_proj_bias is not None:
            biases = ops.split(self.in_proj_bias, self.embed_dim, 0)
        return [ops.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]

    def _mask(self, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None, causal: bool) -> Tensor | None:
        """Everything that is added to the scores, broadcasting to (B, H, L, S); None for nothing."""
        B, L, S = q.shape[0], q.shape[1], k.shape[1]
        total = None
        if mask is not None:
            if mask.shape not in ((L, S), (B * self.num_heads, L, S)):
                heads = f"({L}, {S}) or ({B * self.num_heads}, {L}, {S})"
                raise ValueError(f"[MultiheadAttention] expected an attn_mask of shape {heads}, got {mask.shape}")
            total = _additive(mask, q.dtype)
            total = total if mask.ndim == 2 else total.reshape(B, self.num_heads, L, S)
        if padding is not None:
            if padding.shape not in ((B, S), (S,)) or (padding.ndim == 1 and B != 1):
                raise ValueError(
                    f"[MultiheadAttention] expected a key_padding_mask of shape ({B}, {S}), got {padding.shape}"
                )
            ignored = _additive(padding, q.dtype).reshape(B, 1, 1, S)
            total = ignored if total is None else total + ignored
        if causal:
            ahead = ops.arange(S).unsqueeze(0) > ops.arange(L).unsqueeze(1)
            future = _additive(ahead, q.dtype)
            total = future if total is None else total + future
        return total

    def multiply_adds(self, args: tuple[Any, ...], output: Any) -> int:
        query, key, value = args[:3]
        E, batched = self.embed_dim, query.ndim == 3
        B = 1 if not batched else query.shape[0 if self.batch_first else 1]
        L, S = query.numel() // (B * E), key.numel() // (B * self.kdim)
        return B * E * (L * E + S * (self.kdim + self.vdim) + 2 * L * S)

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}, dropout={self.dropout}, batch_first={self.batch_first}"


def _additive(mask: Tensor, dtype: Any) -> Tensor:
    """-inf where a boolean mask is True and 0 elsewhere; a floating mask as it is."""
    if mask.dtype is not _C.bool_:
        return mask
    return ops.where(mask, ops.full((), -math.inf, dtype), ops.full((), 0.0, dtype))
