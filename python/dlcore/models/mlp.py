"""MLP: layers of neurons, each connected to all of the layer before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dlcore import nn
from dlcore.tensor import Tensor

__all__ = ["MLP", "MLPConfig"]

_ACTIVATIONS: dict[str, Any] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
}


@dataclass
class MLPConfig:
    """Sizes of the input, the hidden layers and the output, and what stands between the layers.

    Raises:
        ValueError: a size below 1, an unknown activation, or a dropout outside [0, 1].
    """

    in_features: int
    hidden: tuple[int, ...]
    out_features: int
    activation: str = "relu"
    dropout: float = 0.0
    bias: bool = True

    def __post_init__(self) -> None:
        self.hidden = tuple(self.hidden)
        sizes = (self.in_features, *self.hidden, self.out_features)
        if not all(isinstance(n, int) and n >= 1 for n in sizes):
            raise ValueError(f"[MLP] expected sizes of at least 1, got {sizes}")
        if self.activation not in _ACTIVATIONS:
            names = ", ".join(_ACTIVATIONS)
            raise ValueError(f"[MLP] expected activation to be one of {names}, got {self.activation!r}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"[MLP] expected a probability dropout in [0, 1], got {self.dropout}")


def linear_chain(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers from each size to the next, with an activation between any two."""
    layers: list[nn.Module] = []
    for a, b in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


class MLP(nn.Module):
    """x to W_n φ(… φ(W_1 x + b_1) …) + b_n, with dropout after each activation.

    Shapes: (…, in_features) to (…, out_features). Layers are named `layers.0`, `layers.1` …
    """

    def __init__(self, config: MLPConfig) -> None:
        self.config = config
        sizes = (config.in_features, *config.hidden, config.out_features)
        pairs = zip(sizes, sizes[1:], strict=False)
        self.layers = nn.ModuleList(nn.Linear(m, n, config.bias) for m, n in pairs)
        self.activation = _ACTIVATIONS[config.activation]()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.dropout(self.activation(layer(x)))  # (…, hidden)
        return self.layers[-1](x)  # (…, out_features)
