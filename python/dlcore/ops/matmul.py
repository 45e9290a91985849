"""Matrix products."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.amp import lowered
from dlcore.autograd import Function, shortcut
from dlcore.ops.activation import gelu_backward, gelu_tanh_backward, relu_backward
from dlcore.ops.copy import cast
from dlcore.ops.shape import expand, permute, reshape, sum_to, transpose, unsqueeze
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["addmm", "bmm", "dot", "einsum", "linear", "matmul", "mm", "mv", "outer"]


class _Matmul(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save(a, b)
        return _C.matmul(a, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b = ctx.saved
        a2 = unsqueeze(a, 0) if a.ndim == 1 else a
        b2 = unsqueeze(b, 1) if b.ndim == 1 else b
        if b.ndim == 1:
            dy = unsqueeze(dy, dy.ndim)
        if a.ndim == 1:
            dy = unsqueeze(dy, dy.ndim - 1)
        da = db = None
        if ctx.needs_input_grad[0]:
            da = reshape(sum_to(matmul(dy, transpose(b2, -2, -1)), a2.shape), a.shape)
        if ctx.needs_input_grad[1]:
            if b2.ndim == 2:  # one matrix for every item of a's batch: one product over all their rows
                a2, dy = _rows(a2), _rows(dy)
            db = reshape(sum_to(matmul(transpose(a2, -2, -1), dy), b2.shape), b.shape)
        return da, db


class _Linear(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        ctx.save(x, w)
        return _C.linear(x, w, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w = ctx.saved
        return _linear_gradients(ctx, x, w, dy)


_GRADIENTS = {"relu": relu_backward, "gelu": gelu_backward, "gelu_tanh": gelu_tanh_backward}


class _LinearActivation(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, activation: str) -> Tensor:
        # relu's gradient is known from its value; the others need what they were applied to.
        if activation == "relu":
            y = kept = _C.linear(x, w, b, activation)
        else:
            y, kept = _C.linear(x, w, b, activation, True)
        ctx.save(x, w, kept, *(() if b is None else (b,)), activation=activation)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, kept, *b = ctx.saved
        if is_grad_enabled() and ctx.activation != "relu":  # a second derivative: the value kept has no history
            kept = linear(x, w, *b)
        return *_linear_gradients(ctx, x, w, _GRADIENTS[ctx.activation](kept, dy)), None


def _linear_gradients(ctx: Any, x: Tensor, w: Tensor, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    dx, dw, db = ctx.needs_input_grad[:3]
    return (
        matmul(dy, w) if dx else None,
        _weight_gradient(w, _rows(x), _rows(dy)) if dw else None,
        sum_to(dy, w.shape[:1]) if db else None,
    )


def _weight_gradient(w: Tensor, x: Tensor, dy: Tensor) -> Tensor:
    """dyᵀ x, lying as w lies: where w is a parameter transposed, the parameter's gradient is then contiguous."""
    if w.strides[0] == 1 and w.strides[1] != 1:
        return transpose(matmul(transpose(x, 0, 1), dy), 0, 1)
    return matmul(transpose(dy, 0, 1), x)


def _rows(x: Tensor) -> Tensor:
    """All leading dimensions in one."""
    return x if x.ndim == 2 else reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


def _as_one_dtype(a: Tensor, b: Tensor, op: str) -> tuple[Tensor, Tensor]:
    if not (isinstance(a, _C.Tensor) and isinstance(b, _C.Tensor)):
        raise TypeError(f"[{op}] expected two tensors, got {type(a).__name__} and {type(b).__name__}")
    if a.dtype is b.dtype:
        return a, b
    dtype = _C.promote_types(a.dtype, b.dtype)
    return cast(a, dtype), cast(b, dtype)


def _check_dims(op: str, x: Tensor, ndim: int, what: str) -> None:
    if x.ndim != ndim:
        raise ValueError(f"[{op}] expected {what} of {ndim} dimension{'s' if ndim > 1 else ''}, got shape {x.shape}")


@shortcut(_C.matmul, _Matmul, casts=True)
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product ``a @ b``, NumPy's rules.

    Args:
        a: (..., M, K), or (K,), which is taken as a row and loses that dimension again.
        b: (..., K, N), or (K,), which is taken as a column and loses that dimension again. Leading dimensions
            broadcast.

    Different dtypes are promoted; bfloat16 is summed in float32 and rounded once. Any strides are read in place. The
    order of summation is fixed by sizes and strides: contiguous and strided operands may differ in the last bits.

    Raises:
        ValueError: a 0-dimensional operand, inner sizes that differ, or batch dimensions that do not broadcast.
        TypeError: two bool tensors.
    """
    return _product(*lowered(a, b))


def _product(a: Tensor, b: Tensor) -> Tensor:
    return _Matmul.apply(*_as_one_dtype(a, b, "matmul"))


def mm(a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices, (M, K) and (K, N), without broadcasting."""
    _check_dims("mm", a, 2, "a matrix")
    _check_dims("mm", b, 2, "a matrix")
    return matmul(a, b)


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """Products of two stacks of matrices, (B, M, K) and (B, K, N), without broadcasting."""
    _check_dims("bmm", a, 3, "a stack of matrices")
    _check_dims("bmm", b, 3, "a stack of matrices")
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"[bmm] expected two stacks of one length, got shapes {a.shape} and {b.shape}")
    return matmul(a, b)


def mv(a: Tensor, x: Tensor) -> Tensor:
    """A matrix times a vector: (M, K) and (K,) give (M,)."""
    _check_dims("mv", a, 2, "a matrix")
    _check_dims("mv", x, 1, "a vector")
    return _product(a, x)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """sum(a * b) of two vectors of one length."""
    _check_dims("dot", a, 1, "a vector")
    _check_dims("dot", b, 1, "a vector")
    return _product(a, b)


def outer(a: Tensor, b: Tensor) -> Tensor:
    """y[i, j] = a[i] * b[j] of two vectors."""
    _check_dims("outer", a, 1, "a vector")
    _check_dims("outer", b, 1, "a vector")
    return _product(unsqueeze(a, 1), unsqueeze(b, 0))


def addmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (a @ b) for matrices a (M, K) and b (K, N); x broadcasts to (M, N).

    With beta = 0, x does not count at all: its NaN and infinities do not spread.
    """
    (x,) = lowered(x)
    y = mm(a, b)
    if alpha != 1:
        y = y * alpha
    if beta == 0:
        return y
    return y + (x if beta == 1 else x * beta)


@shortcut(_C.linear, _Linear, arity=3, casts=True)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """activation(x @ weight.T + bias), in one pass.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,), or None.
        activation: None, "relu", "gelu" or "gelu_tanh".

    Returns:
        (..., out), of the arguments' common dtype.

    Raises:
        ValueError: sizes that do not fit, an unknown activation.
        TypeError: dtypes that differ or are not floating.
    """
    x, weight, bias = lowered(x, weight, bias)
    if activation is None:
        return _Linear.apply(x, weight, bias)
    return _LinearActivation.apply(x, weight, bias, activation)


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Einstein's summation: ``einsum("bij,bjk->bik", a, b)``.

    Operands are multiplied from left to right, two at a time, each pair as one batched matrix product. Without "->" the
    result has the indices that occur once, in alphabetical order. "..." stands for leading dimensions that broadcast.

    Raises:
        ValueError: an equation that does not fit the operands, sizes that differ, an index repeated within one operand.
    """
    inputs, output = _parse(equation, operands)
    _check_sizes(equation, inputs, operands)
    terms = list(zip(inputs, operands, strict=True))
    while len(terms) > 1:
        (ia, a), (ib, b) = terms[:2]
        needed = set(output).union(*(indices for indices, _ in terms[2:]))
        terms[:2] = [_contract(ia, a, ib, b, needed)]
    indices, y = terms[0]
    y, indices = _sum_out(y, indices, set(output))
    return permute(y, [indices.index(i) for i in output]) if indices != output else y


def _parse(equation: str, operands: tuple[Tensor, ...]) -> tuple[list[str], str]:
    """The indices of every operand and of the result. The dimensions of an ellipsis become digits, counted from the
    right, so that they line up the way broadcasting does."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise ValueError(f"[einsum] '{equation}' names {len(parts)} operands, got {len(operands)}")
    widest = 0
    inputs = []
    for part, x in zip(parts, operands, strict=True):
        named = part.replace("...", "", 1)
        if not all(c.isascii() and c.isalpha() for c in named) or len(set(named)) != len(named):
            raise ValueError(f"[einsum] expected distinct letters and at most one '...' in '{part}' of '{equation}'")
        free = x.ndim - len(named)
        if free < 0 or (free > 0 and "..." not in part) or free > 8:
            raise ValueError(f"[einsum] '{part}' of '{equation}' does not fit an operand of shape {x.shape}")
        widest = max(widest, free)
        inputs.append(part.replace("...", "".join(map(str, reversed(range(free))))))
    ellipsis = "".join(map(str, reversed(range(widest))))
    every = "".join(inputs)
    if arrow:
        output = right.replace("...", ellipsis)
    else:
        output = ellipsis + "".join(sorted(c for c in set(every) if c.isalpha() and every.count(c) == 1))
    if len(set(output)) != len(output) or not set(output) <= set(every):
        raise ValueError(f"[einsum] the result '{right}' of '{equation}' must have distinct indices of the operands")
    return inputs, output


def _check_sizes(equation: str, inputs: list[str], operands: tuple[Tensor, ...]) -> None:
    sizes: dict[str, int] = {}
    for indices, x in zip(inputs, operands, strict=True):
        for i, n in zip(indices, x.shape, strict=True):
            if sizes.setdefault(i, n) != n and not (i.isdigit() and 1 in (n, sizes[i])):
                shapes = ", ".join(str(x.shape) for x in operands)
                raise ValueError(f"[einsum] index '{i}' of '{equation}' has sizes {sizes[i]} and {n} (shapes {shapes})")
            sizes[i] = _broadcast(sizes[i], n)


def _broadcast(n: int, m: int) -> int:
    return m if n == 1 else n


def _sum_out(x: Tensor, indices: str, keep: set[str]) -> tuple[Tensor, str]:
    """Sums over the indices that nothing further needs."""
    gone = tuple(k for k, i in enumerate(indices) if i not in keep)
    return (ops.sum(x, gone) if gone else x), "".join(i for i in indices if i in keep)


def _contract(ia: str, a: Tensor, ib: str, b: Tensor, needed: set[str]) -> tuple[str, Tensor]:
    """One batched product: (batch, rows, inner) @ (batch, inner, columns)."""
    a, ia = _sum_out(a, ia, needed | set(ib))
    b, ib = _sum_out(b, ib, needed | set(ia))
    batch = [i for i in ia if i in ib and i in needed]
    inner = [i for i in ia if i in ib and i not in needed]
    rows = [i for i in ia if i not in ib]
    columns = [i for i in ib if i not in ia]
    size = dict(zip(ib, b.shape, strict=True))
    size |= {i: _broadcast(n, size.get(i, n)) for i, n in zip(ia, a.shape, strict=True)}

    def arranged(x: Tensor, indices: str, order: list[str], groups: tuple[list[str], ...]) -> Tensor:
        x = permute(x, [indices.index(i) for i in order])
        x = expand(x, tuple(size[i] for i in order))  # a size of 1 under an ellipsis broadcasts
        return reshape(x, tuple(prod(size[i] for i in group) for group in groups))

    left = arranged(a, ia, batch + rows + inner, (batch, rows, inner))
    right = arranged(b, ib, batch + inner + columns, (batch, inner, columns))
    out = batch + rows + columns
    return "".join(out), reshape(matmul(left, right), tuple(size[i] for i in out))


class MatmulMethods:
    __slots__ = ()

    matmul = matmul
    mm = mm
    bmm = bmm
    mv = mv
    dot = dot
    outer = outer

    @shortcut(_C.matmul, _Matmul, casts=True)
    def __matmul__(self: Any, other: Any) -> Any:
        is_tensor = isinstance(other, _C.Tensor)
        return matmul(self, other) if is_tensor else NotImplemented
