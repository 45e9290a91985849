"""What a network does in one call, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlcore import _C
from dlcore.state import no_grad

if TYPE_CHECKING:
    from dlcore.nn.module import Module

__all__ = ["LayerSummary", "Summary"]


@dataclass(frozen=True)
class LayerSummary:
    """One call of one layer. Counts are the layer's own: its children have rows of their own."""

    path: str
    type: str
    output_shape: tuple[int, ...] | None
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True)
class Summary:
    """The rows in the order of the layers, and their sums. Printed, it is a table."""

    model: str
    layers: list[LayerSummary]

    @property
    def parameters(self) -> int:
        """Parameters of the model, shared ones counted once."""
        return sum(row.parameters for row in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of linear layers, convolutions and attention in this call."""
        return sum(row.multiply_adds for row in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Bytes of what the layers gave out, views of one memory counted once."""
        return sum(row.activation_bytes for row in self.layers)

    def __str__(self) -> str:
        heads = ("layer", "type", "output shape", "parameters", "multiply-adds", "activations")
        rows = [
            (
                row.path or "(model)",
                row.type,
                "-" if row.output_shape is None else str(row.output_shape),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                _bytes(row.activation_bytes),
            )
            for row in self.layers
        ]
        total = ("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", _bytes(self.activation_bytes))
        widths = [max(len(row[i]) for row in (heads, *rows, total)) for i in range(len(heads))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

        def line(cells: tuple[str, ...]) -> str:
            sides = [str.ljust] * 3 + [str.rjust] * 3
            return "  ".join(side(c, w) for side, c, w in zip(sides, cells, widths, strict=True))

        return "\n".join([line(heads), rule, *map(line, rows), rule, line(total)])

    __repr__ = __str__


def _bytes(n: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if n < 1024 or unit == "MiB":
            return f"{n:,} B" if unit == "B" else f"{n:,.1f} {unit}"
        n /= 1024  # type: ignore[assignment]
    raise AssertionError


def tensors_in(value: Any) -> list[Any]:
    """The tensors in nested lists, tuples and dicts."""
    if isinstance(value, _C.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in tensors_in(v)] if isinstance(value, (list, tuple)) else []


def summarize(model: Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Summary:
    """Runs the model with a hook in every module; see `Module.summary`."""
    calls: dict[int, list[tuple[Any, int]]] = {}  # outputs are kept until the end, so that no memory is used twice
    counted = {t._storage_ptr() for t in tensors_in([inputs, kwargs])} | {p._storage_ptr() for p in model.parameters()}
    fresh: dict[int, int] = {}

    def record(module: Module, args: tuple[Any, ...], output: Any) -> None:
        calls.setdefault(id(module), []).append((output, module.multiply_adds(args, output)))
        for t in tensors_in(output):
            if t._storage_ptr() not in counted:
                counted.add(t._storage_ptr())
                fresh[id(module)] = fresh.get(id(module), 0) + t.nbytes

    modes = [(m, m.training) for m in model.modules()]
    handles = [m.register_forward_hook(record) for m, _ in modes]
    try:
        with no_grad():
            model.eval()(*inputs, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
        for m, mode in modes:
            m.training = mode
    rows: list[LayerSummary] = []
    seen: set[int] = set()
    for path, module in model.named_modules():
        own = [p for _, p in module.named_parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        done = calls.get(id(module), [])
        shapes = [t.shape for output, _ in done[-1:] for t in tensors_in(output)[:1]]
        rows.append(
            LayerSummary(
                path,
                type(module).__name__,
                shapes[0] if shapes else None,
                sum(p.numel() for p in own),
                sum(count for _, count in done),
                fresh.get(id(module), 0),
            )
        )
    return Summary(type(model).__name__, rows)
