"""Linear regression, with a penalty on the weights or without."""

from __future__ import annotations

import math
import warnings
from typing import Any

from dlcore import _C, nn, ops
from dlcore.optim import SGD
from dlcore.state import enable_grad, no_grad
from dlcore.tensor import Tensor

__all__ = ["LinearRegression"]


class LinearRegression(nn.Linear):
    """ŷ = x wᵀ + b with the w and b that minimise Σ (y - ŷ)² + l2 Σ w².

    ::

        model = LinearRegression(10)
        model.fit(x, y)
        model.predict(x), model.score(x, y)

    Args:
        in_features, out_features: sizes of x and y.
        bias: whether there is a b; it is not penalised.
        l2: λ >= 0 of ridge regression: the same as a Gaussian prior of the weights, see `bayes.fit_map`.

    Raises:
        ValueError: l2 < 0.

    Source: A. Hoerl and R. Kennard, "Ridge regression", 1970.
    """

    def __init__(self, in_features: int, out_features: int = 1, bias: bool = True, l2: float = 0.0) -> None:
        if not l2 >= 0:
            raise ValueError(f"[LinearRegression] expected l2 >= 0, got {l2}")
        super().__init__(in_features, out_features, bias)
        self.l2 = l2

    def fit(
        self,
        x: Any,
        y: Any,
        method: str = "normal",
        *,
        lr: float | None = None,
        momentum: float = 0.9,
        max_steps: int = 10_000,
        tolerance: float = 1e-12,
    ) -> LinearRegression:
        """Sets `weight` and `bias`, in the dtype of x; computed in float64.

        Args:
            x: (N, in_features).
            y: (N,) for one output, or (N, out_features).
            method: "normal" solves the normal equations (XᵀX + λI) w = Xᵀy, by a Cholesky factor and a step of
                refinement; "gd" goes down the gradient, which autograd computes, with Nesterov's momentum.
            lr: of "gd"; None for the inverse of the largest curvature.
            momentum: of "gd", in [0, 1).
            max_steps: of "gd"; a RuntimeWarning says when they did not do.
            tolerance: "gd" is done when the gradient is this small beside the one at the start.

        Raises:
            ValueError: shapes that do not fit, numbers that are not finite, another method, or columns of x of which
                one follows from the others (then there is no one best w; give an l2 > 0).
        """
        if method not in ("normal", "gd"):
            raise ValueError(f"[LinearRegression.fit] expected method 'normal' or 'gd', got {method!r}")
        x, y, dtype = self._data(x, y)
        with no_grad():
            centre, level = ops.mean(x, 0, keepdim=True), ops.mean(y, 0, keepdim=True)
            if self.bias is not None:  # the best b makes ŷ pass through the means: w is that of centred data
                x, y = x - centre, y - level
            if method == "normal":
                w = self._solve(x, y)
            else:
                w = self._descend(x, y, lr, momentum, max_steps, tolerance)
            weight = ops.transpose(w, 0, 1)  # (out, in)
            self.weight = nn.Parameter(ops.cast(weight, dtype).contiguous())
            if self.bias is not None:
                self.bias = nn.Parameter(ops.cast((level - centre @ w).reshape(-1), dtype))
        return self

    def predict(self, x: Any) -> Tensor:
        """ŷ (N,) for one output, else (N, out_features), without a gradient."""
        with no_grad():
            y = self(ops.asarray(x, None if hasattr(x, "dtype") else self.weight.dtype))
        return ops.squeeze(y, -1) if y.shape[-1] == 1 else y

    def score(self, x: Any, y: Any) -> float:
        """R² = 1 - Σ (y - ŷ)² / Σ (y - ȳ)²: 1 is perfect, 0 no better than the mean; over several outputs its mean."""
        given, target, _ = self._data(x, y)
        with no_grad():
            guess = given @ _wide(self.weight).T + (0.0 if self.bias is None else _wide(self.bias))
            missed = ops.sum(ops.square(target - guess), 0)
            spread = ops.sum(ops.square(target - ops.mean(target, 0)), 0)
            return ops.mean(1 - missed / spread).item()

    def _data(self, x: Any, y: Any) -> tuple[Tensor, Tensor, Any]:
        """x (N, in) and y (N, out) in float64, and the dtype for the parameters."""
        given, target = ops.asarray(x), ops.asarray(y)
        dtype = given.dtype if given.dtype.is_floating_point else _C.float32
        outputs = self.weight.shape[0]
        fits = given.ndim == 2 and given.shape[0] > 0 and given.shape[1] == self.weight.shape[1]
        wanted = [(given.shape[0], outputs)] + [given.shape[:1]] * (outputs == 1)
        if not fits or target.shape not in wanted:
            raise ValueError(
                f"[LinearRegression] expected x (N, {self.weight.shape[1]}) and y (N, {outputs})"
                f"{' or (N,)' if outputs == 1 else ''}, got shapes {given.shape} and {target.shape}"
            )
        for name, t in (("x", given), ("y", target)):
            if t.dtype.is_floating_point and not ops.isfinite(t).all().item():
                raise ValueError(f"[LinearRegression] expected finite numbers in {name}, got NaN or infinity")
        return _wide(given), ops.reshape(_wide(target), (given.shape[0], outputs)), dtype

    def _solve(self, x: Tensor, y: Tensor) -> Tensor:
        rows, cols = x.shape
        lengths = ops.sqrt(ops.sum(ops.square(x), 0) + self.l2)
        self._require_regular(lengths, lengths.amax().item() * 1e-14)
        scaled = x / lengths  # columns of one length: the condition is then that of their angles
        penalty = self.l2 / ops.square(lengths)
        gram = scaled.T @ scaled + ops.diag(penalty)
        rounding = 2.0**-52 * max(rows, cols)
        try:
            factor = ops.cholesky(gram)
        except ValueError:  # a pivot is negative by rounding: this finds it
            touched = ops.cholesky(gram + 64 * rounding * ops.eye(cols, dtype=_C.float64))
            self._require_regular(ops.diagonal(touched), math.inf)
            raise
        # A squared pivot is the share of a column that the ones before it do not explain.
        self._require_regular(ops.diagonal(factor), math.sqrt(16 * rounding))
        w = ops.cholesky_solve(scaled.T @ y, factor)
        w = w + ops.cholesky_solve(scaled.T @ (y - scaled @ w) - ops.unsqueeze(penalty, 1) * w, factor)
        return w / ops.unsqueeze(lengths, 1)

    def _require_regular(self, pivots: Tensor, least: float) -> None:
        if pivots.amin().item() <= least:
            raise ValueError(
                f"[LinearRegression.fit] expected linearly independent columns of x, got a singular system: column "
                f"{int(pivots.argmin())} follows from the others{' and the bias' if self.bias is not None else ''}; "
                "leave it out or give an l2 > 0"
            )

    def _descend(
        self, x: Tensor, y: Tensor, lr: float | None, momentum: float, max_steps: int, tolerance: float
    ) -> Tensor:
        rows = x.shape[0]
        if lr is None:
            lr = rows / (2 * (_largest_eigenvalue(x) + self.l2))
        w = ops.zeros((x.shape[1], y.shape[1]), _C.float64, requires_grad=True)
        optimizer = SGD([w], lr=lr, momentum=momentum, nesterov=momentum > 0)
        start = None
        for _ in range(max_steps):
            optimizer.zero_grad()
            with enable_grad():
                loss = (ops.sum(ops.square(x @ w - y)) + ops.l2_penalty(w, self.l2)) / rows
                loss.backward()
            assert w.grad is not None
            size = ops.norm(w.grad).item()
            start = size if start is None else start
            if not math.isfinite(size):
                raise ValueError(f"[LinearRegression.fit] gradient descent diverged with lr={lr}; give a smaller one")
            if size <= tolerance * start:
                return w.detach()
            optimizer.step()
        warnings.warn(
            f"[LinearRegression.fit] no minimum after {max_steps} steps: the gradient is {size / start:.3g} times that "
            "at the start",
            RuntimeWarning,
            stacklevel=3,
        )
        return w.detach()


def _wide(x: Tensor) -> Tensor:
    return ops.cast(x.detach(), _C.float64)


def _largest_eigenvalue(x: Tensor) -> float:
    """Of xᵀx, by power iteration, with a tenth on top for what it may miss."""
    v = ops.ones((x.shape[1],), _C.float64) + ops.arange(x.shape[1]) * 1e-3
    size = 1.0
    for _ in range(30):
        v = x.T @ (x @ v)
        size = ops.norm(v).item()
        if size == 0:
            return 1.0
        v = v / size
    return 1.1 * size
