"""Bounds of variational inference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dlcore import ops

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["elbo"]


def elbo(
    output: Tensor, x: Tensor, mean: Tensor, log_variance: Tensor, beta: float = 1.0, likelihood: str = "bernoulli"
) -> Tensor:
    """log p(x | z) - beta · KL(N(mean, exp(log_variance)) ‖ N(0, I)), the mean over the samples: at most log p(x).

    KL = -½ Σ (1 + log_variance - mean² - exp(log_variance)).

    Args:
        output: like x: what the decoder says of one z for each sample, drawn from N(mean, exp(log_variance)).
        x: (N, ...), in [0, 1] for "bernoulli".
        mean, log_variance: (N, Z).
        beta: weight of KL; another than 1 is a β-VAE's, and no bound.
        likelihood: of x: "bernoulli" with the logits `output`, or "gaussian" with the mean `output` and variance 1.

    Returns:
        A scalar, to be maximised. Twice differentiable.

    Raises:
        ValueError: shapes that do not match, no samples, or an unknown likelihood.
        TypeError: not floating.

    Source: D. Kingma, M. Welling, "Auto-encoding variational Bayes", 2013; I. Higgins et al., "β-VAE", 2017.
    """
    if output.shape != x.shape or not x.ndim or not x.shape[0]:
        raise ValueError(f"[elbo] expected output and x of one shape (N, ...), got {output.shape} and {x.shape}")
    if mean.shape != log_variance.shape or mean.ndim != 2 or mean.shape[0] != x.shape[0]:
        raise ValueError(
            f"[elbo] expected mean and log_variance of one shape ({x.shape[0]}, Z), got {mean.shape} and "
            f"{log_variance.shape}"
        )
    if likelihood == "bernoulli":
        log_p = -ops.binary_cross_entropy_with_logits(output, x, reduction="sum")
    elif likelihood == "gaussian":
        error = x - output
        log_p = -0.5 * (ops.sum(error * error) + x.numel() * math.log(2 * math.pi))
    else:
        raise ValueError(f"[elbo] likelihood must be 'bernoulli' or 'gaussian', got {likelihood!r}")
    kl = -0.5 * ops.sum(1 + log_variance - mean * mean - ops.exp(log_variance))
    return (log_p - beta * kl) / x.shape[0]
