"""Runs an opcase on PyTorch: names and argument order are the same by design, so the case's own call is made with
`torch` in the place of `dlcore`. Where a name has no counterpart, COUNTERPARTS spells one out."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import dlcore as dl
from dlcore import _C

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
    "int64": torch.int64,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "bool": torch.bool,
}


def _linear(x: Any, w: Any, b: Any = None, activation: str | None = None) -> Any:
    y = F.linear(x, w, b)
    if activation is None:
        return y
    return F.gelu(y, approximate="tanh") if activation == "gelu_tanh" else getattr(F, activation)(y)


def _attention(
    query: Any, key: Any, value: Any, *args: Any, causal_offset: int = 0, attn_mask: Any = None, **kwargs: Any
) -> Any:
    if causal_offset:  # ours: keys that precede the first query, as with a cache
        assert kwargs.pop("is_causal") and not args
        causal = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril(causal_offset)
        attn_mask = causal if attn_mask is None else attn_mask + torch.where(causal, 0.0, -torch.inf)
    return F.scaled_dot_product_attention(query, key, value, *args, attn_mask=attn_mask, **kwargs)


def _from_front(index: Any, size: int) -> Any:
    """Ours count negative indices from the end."""
    return torch.where(index < 0, index + size, index)


def _indexed(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, dim: int, index: Any, *rest: Any, **kwargs: Any) -> Any:
        return function(x, dim, _from_front(index.long(), x.shape[dim]), *rest, **kwargs)

    return call


def _sizes(function: Callable[..., Any]) -> Callable[..., Any]:
    """f(x, 2, 3) as f(x, (2, 3))."""
    return lambda x, *sizes: function(x, sizes if isinstance(sizes[0], int) else tuple(sizes[0]))


def _sort(x: Any, dim: int = -1, descending: bool = False) -> Any:
    return torch.sort(x, dim=dim, descending=descending, stable=True)


def _topk(x: Any, k: int, dim: int = -1, largest: bool = True) -> Any:
    """By a stable sort: PyTorch's own promises no order of equal elements."""
    return [a if x.ndim == 0 else a.narrow(dim, 0, k) for a in _sort(x, dim, largest)]


def _softmax(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, dim: int, dtype: Any = None, mask: Any = None, temperature: float = 1.0) -> Any:
        x = x if temperature == 1 else x / temperature
        return function(x if mask is None else x.masked_fill(~mask, -torch.inf), dim, dtype=dtype)

    return call


def _prod(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    if not isinstance(dim, (tuple, list)):
        return torch.prod(x) if dim is None else torch.prod(x, dim, keepdim)
    for axis in sorted((d % x.ndim for d in dim), reverse=True):
        x = torch.prod(x, axis, keepdim)
    return x if dim else torch.prod(x)


def _recurrent(function: Callable[..., Any]) -> Callable[..., Any]:
    """One direction of one layer, as half of PyTorch's bidirectional layer with the same weights for both."""

    def call(
        x: Any,
        *weights: Any,
        b_ih: Any = None,
        b_hh: Any = None,
        h0: Any = None,
        c0: Any = None,
        batch_sizes: Any = None,
        reverse: bool = False,
    ) -> Any:
        H, B = weights[1].shape[1], x.shape[1] if batch_sizes is None else batch_sizes[0]
        params = [w for w in (*weights, b_ih, b_hh) if w is not None] * 2
        states = [torch.zeros(B, H, dtype=x.dtype) if s is None else s for s in (h0, c0)]
        states = [torch.stack([s, s]) for s in states]
        options = (params, b_ih is not None, 1, 0.0, False, True)
        state = states if function is torch.lstm else states[0]
        if batch_sizes is None:
            y, *last = function(x, state, *options, False)
        else:
            y, *last = function(x, torch.tensor(batch_sizes), state, *options)
        return y.split(H, -1)[reverse], *(s[int(reverse)] for s in last)

    return call


def _rnn(*args: Any, nonlinearity: str = "tanh", **kwargs: Any) -> Any:
    return _recurrent(torch.rnn_relu if nonlinearity == "relu" else torch.rnn_tanh)(*args, **kwargs)


def _linear_cross_entropy(x: Any, w: Any, target: Any, reduction: str = "mean", **kwargs: Any) -> Any:
    """PyTorch's takes one or two dimensions."""
    rows, n = x.shape[:-1], x.shape[:-1].numel()
    flat = target.reshape(n, w.shape[0]) if target.is_floating_point() else target.reshape(n).long()
    loss = F.linear_cross_entropy(x.reshape(n, x.shape[-1]), w, flat, reduction=reduction, **kwargs)
    return loss.reshape(rows) if reduction == "none" else loss


# What PyTorch calls otherwise, offers only as a method, or lacks a fused form of.
COUNTERPARTS: dict[str, Callable[..., Any]] = {
    "cast": lambda x, dtype: x.to(dtype),
    "contiguous": torch.Tensor.contiguous,
    "view": torch.Tensor.view,
    "expand": torch.Tensor.expand,
    "reshape": _sizes(torch.reshape),
    "permute": _sizes(torch.permute),
    "flip": lambda x, *dims: _sizes(torch.flip)(x, *dims or range(x.ndim)) if x.ndim else x,
    "tile": _sizes(torch.tile),
    "sum_to": lambda x, shape: x.sum_to_size(shape),
    "tensor": lambda data, dtype=None: torch.tensor(data, dtype=dtype),
    "dropout": F.dropout,
    "gelu": lambda x, approximate="none": F.gelu(x, approximate=approximate),
    "layer_norm": lambda x, normalized_shape, *args, **kwargs: F.layer_norm(
        x, (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape, *args, **kwargs
    ),
    "add_layer_norm": lambda x, residual, *args, **kwargs: (
        COUNTERPARTS["layer_norm"](x + residual, *args, **kwargs),
        x + residual,
    ),
    "linear": _linear,
    "linear_cross_entropy": _linear_cross_entropy,
    "rms_norm": lambda x, normalized_shape, *args, **kwargs: F.rms_norm(x, normalized_shape, *args, **kwargs),
    "lstm_layer": _recurrent(torch.lstm),
    "gru_layer": _recurrent(torch.gru),
    "rnn_layer": _rnn,
    "prod": _prod,
    "softmax": _softmax(F.softmax),
    "log_softmax": _softmax(F.log_softmax),
    "cholesky": torch.linalg.cholesky,
    "entropy": lambda p, base=None, dim=-1: torch.special.entr(p).sum(dim) / np.log(base or np.e),
    "l2_penalty": lambda p, weight=1.0: weight * sum(x.square().sum() for x in (p if isinstance(p, list) else [p])),
    "solve_triangular": torch.linalg.solve_triangular,
    "scaled_dot_product_attention": _attention,
    "gather": _indexed(torch.gather),
    "scatter": _indexed(
        lambda x, dim, i, src: torch.scatter(
            x, dim, i, torch.as_tensor(src, dtype=x.dtype).expand(i.shape) if np.ndim(src) == 0 else src
        )
    ),
    "scatter_add": _indexed(torch.scatter_add),
    "index_select": _indexed(torch.index_select),
    "index_add": _indexed(torch.index_add),
    "take_along_dim": lambda x, index, dim: torch.take_along_dim(x, _from_front(index.long(), x.shape[dim]), dim),
    "sort": _sort,
    "argsort": lambda *args, **kwargs: _sort(*args, **kwargs).indices,
    "topk": _topk,
    "unique": lambda x, return_inverse=False, return_counts=False: torch.unique(
        x, return_inverse=return_inverse, return_counts=return_counts
    ),
}

_SHORTCUT = type(dl.add)


class NoCounterpart(Exception):
    """PyTorch has no function of that name."""


class _Torch:
    """Stands for the module `dlcore` inside a case's own code."""

    def __getattr__(self, name: str) -> Any:
        if name in DTYPES or name == "bool_":
            return DTYPES[name.rstrip("_")]
        return counterpart(name)


def counterpart(name: str) -> Callable[..., Any]:
    places = (place for place in (F, torch, torch.Tensor, torch.special) if hasattr(place, name))
    found = COUNTERPARTS.get(name) or getattr(next(places, None), name, None)
    if found is None:
        raise NoCounterpart(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tuple(map(_argument, args)), {k: _argument(v) for k, v in kwargs.items()}
        try:
            return found(*args, **kwargs)
        except TypeError:  # many functions take no plain number where they take a tensor
            if not any(isinstance(a, (bool, int, float)) for a in args):
                raise
            return found(*[torch.tensor(a) if isinstance(a, (bool, int, float)) else a for a in args], **kwargs)

    return call


def translated(value: Any, within: frozenset[Any] = frozenset()) -> Any:
    """The case's function with dlcore replaced by torch, also where it was captured by a closure."""
    if value is dl:
        return _Torch()
    if isinstance(value, _C.dtype):
        return DTYPES[value.name]
    if isinstance(value, _SHORTCUT):
        value = value.__wrapped__
    if not isinstance(value, types.FunctionType) or value in within:
        return value
    within |= {value}
    if (value.__module__ or "").startswith("dlcore"):
        return counterpart(value.__name__)
    names = {k: translated(v, within) for k, v in value.__globals__.items() if k in value.__code__.co_names}
    cells = tuple(types.CellType(translated(c.cell_contents, within)) for c in value.__closure__ or ())
    made = types.FunctionType(
        value.__code__, {**value.__globals__, **names}, value.__name__, value.__defaults__, cells or None
    )
    made.__kwdefaults__ = value.__kwdefaults__
    return made


def to_torch(array: np.ndarray, dtype: str) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array, order="C"))
    return tensor.to(DTYPES[dtype]) if array.dtype.kind == "f" else tensor


def _argument(value: Any) -> Any:
    """A dtype of ours, or its name, as torch's."""
    if isinstance(value, _C.dtype):
        return DTYPES[value.name]
    return DTYPES.get(value, value) if isinstance(value, str) else value


def to_numpy(value: Any) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    value = value.detach()
    return (value.double() if value.is_floating_point() else value).numpy()
