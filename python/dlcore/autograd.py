"""Reverse-mode differentiation: one Function class per operation, one engine.

A Function instance is both the node of the graph and the context its forward saves into. A node's `edges` lead to
where its gradients go: for each input None, a leaf Tensor, or (node, output index).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from dlcore import _C
from dlcore.state import enable_grad, no_grad, state

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["Function", "View", "grad", "gradcheck", "gradgradcheck"]

F = TypeVar("F", bound=Callable[..., Any])
_sequence = itertools.count(1)
_Tensor = _C.Tensor
_FLOATING = frozenset((_C.float32, _C.bfloat16, _C.float64))


def next_sequence() -> int:
    """A number above that of every node made so far, and below all to come."""
    return next(_sequence)


def shortcut(native: Callable[..., Any], arity: int | None = None) -> Callable[[F], F]:
    """Decorator: calls with `arity` arguments (None: those without a default) and no gradient to record go to `native`.

    `native` gives what the function would give; where it raises TypeError the function is asked after all.
    """

    def decorate(function: F) -> F:
        required = function.__code__.co_argcount - len(function.__defaults__ or ())
        return _C.shortcut(native, function, required if arity is None else arity)

    return decorate


class Function:
    """An operation with a gradient. Subclasses give `forward(ctx, *args)` and `backward(ctx, *dys)`, both static.

    `forward` works on plain values (it calls `_C` and must not call differentiable functions); `ctx.save` keeps what
    `backward` needs. `backward` returns one gradient, or None, per argument of `forward`. Where it is written in
    differentiable functions, set `twice_differentiable`; elsewhere a second derivative is refused by name.
    """

    twice_differentiable: ClassVar[bool] = False

    # Class-level defaults: a call that records nothing pays for no attributes.
    _saved: Sequence[tuple[Tensor, int, int]] | None = ()  # tensor, version, output index or -1; None once freed
    edges: Sequence[Any] = ()
    outputs: Sequence[tuple[tuple[int, ...], Any]] = ()  # shape and dtype of each
    hooks: Mapping[int, list[Callable[[Tensor], Tensor | None]]] = MappingProxyType({})
    sequence = 0

    @property
    def name(self) -> str:
        return type(self).__name__.lstrip("_").lower()

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Any, *dys: Any) -> Any:
        raise NotImplementedError

    def save(self, *tensors: Tensor, **attributes: Any) -> None:
        """Keeps tensors (checked against later in-place changes) and plain values for backward."""
        self._saved = [(t, t._version, -1) for t in tensors]
        if attributes:
            self.__dict__.update(attributes)

    @property
    def saved(self) -> list[Tensor]:
        if self._saved is None:
            raise RuntimeError(
                f"[backward] the values saved by {self.name} were freed by an earlier backward; "
                "pass retain_graph=True to that call to go through the graph again"
            )
        out = []
        for t, version, index in self._saved:
            if t._version != version:
                raise RuntimeError(
                    f"[backward] {self.name} saved a tensor of shape {t.shape} for its gradient, and it was changed in "
                    f"place afterwards (version {t._version}, expected {version}); use an operation that returns a new "
                    "tensor"
                )
            if index >= 0 and state.grad_enabled and t.dtype in _FLOATING:  # an output of this very node, as such
                t = _C.alias(t)
                t._node, t._index, t.requires_grad = self, index, True
            out.append(t)
        return out

    @classmethod
    def apply(cls, *args: Any) -> Any:
        ctx = cls()
        out = cls.forward(ctx, *args)
        if state.grad_enabled:
            for a in args:
                if isinstance(a, _Tensor) and a.requires_grad:
                    ctx._attach(args, out if isinstance(out, tuple) else (out,))
                    break
        return out

    def _attach(self, args: Sequence[Any], outs: tuple[Tensor, ...]) -> None:
        self.sequence = next(_sequence)
        self.edges = [edge_of(a) for a in args]
        self.outputs = [(y.shape, y.dtype) for y in outs]
        for i, y in enumerate(outs):
            if self._saved:
                # A saved output must not keep its own node alive in a cycle: save another view of it.
                self._saved = [(_C.alias(t), v, i) if t is y else (t, v, k) for t, v, k in self._saved]
            if y.dtype in _FLOATING:
                y._node, y._index, y.requires_grad = self, i, True

    def add_hook(self, index: int, hook: Callable[[Tensor], Tensor | None]) -> list[Callable[[Tensor], Tensor | None]]:
        """Adds a hook for the gradient of output `index`; returns the list that holds it."""
        if not self.hooks:
            self.hooks = {}
        hooks = self.hooks.setdefault(index, [])  # type: ignore[attr-defined]
        hooks.append(hook)
        return hooks

    def release(self) -> None:
        self._saved = None

    def __repr__(self) -> str:
        return f"<{self.name} backward>"


class View(Function):
    """A Function whose outputs show the memory of its first argument (where it did not have to copy).

    A view knows its base, so that an in-place change of either reaches the history of the other; see `ops.inplace`.
    """

    @classmethod
    def apply(cls, *args: Any) -> Any:
        out = super().apply(*args)
        if state.grad_enabled:
            for y in out if isinstance(out, tuple) else (out,):
                y._set_base(args[0])
        return out


def edge_of(value: Any) -> Any:
    """Where a gradient for this value goes: None, (node, output index), or the leaf itself."""
    if not (isinstance(value, _Tensor) and value.requires_grad):
        return None
    return value if value._node is None else (value._node, value._index)


class _NoSecondDerivative(Function):
    """Stands behind first-order gradients whose operation has no differentiable backward."""

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> Any:
        raise NotImplementedError(
            f"[{ctx.operation}] second derivatives of this operation are not available; they are for the elementwise, "
            "reduction, matmul, convolution and shape families"
        )


def _block_second_derivative(node: Function, dys: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
    sources = [t for t in (*dys, *(t for t, _, _ in node._saved or ())) if t is not None]
    if not any(t.requires_grad for t in sources):
        return
    blocker = _NoSecondDerivative()
    blocker.operation = node.name  # type: ignore[attr-defined]
    blocker._attach(sources, tuple(g for g in grads if g is not None))


class _Engine:
    """One traversal, from the latest operation to the earliest: every consumer of a value runs before its producer."""

    def __init__(self, retain_graph: bool, create_graph: bool, wanted: dict[Any, int] | None) -> None:
        self.retain_graph = retain_graph
        self.create_graph = create_graph
        self.wanted = wanted  # edge key -> position of an input of grad(); None: accumulate into leaves
        self.found: dict[int, Tensor] = {}
        self.pending: dict[Function, list[Tensor | None]] = {}
        self.leaves: dict[int, tuple[Tensor, Tensor, bool]] = {}
        self.heap: list[tuple[int, Function]] = []

    def send(self, edge: Any, dy: Tensor, owned: bool) -> None:
        if not isinstance(edge, tuple):
            if id(edge) in self.leaves:
                _, before, _ = self.leaves[id(edge)]
                dy, owned = before + dy, True
            self.leaves[id(edge)] = (edge, dy, owned)
            return
        node, index = edge
        if node not in self.pending:
            self.pending[node] = [None] * len(node.outputs)
            heapq.heappush(self.heap, (-node.sequence, node))
        slots = self.pending[node]
        earlier = slots[index]
        slots[index] = dy if earlier is None else earlier + dy

    def run(self) -> None:
        while self.heap:
            _, node = heapq.heappop(self.heap)
            self.step(node, self.pending.pop(node))
        for leaf, dy, owned in self.leaves.values():
            dy = _call_hooks(leaf._hooks or (), dy)
            if self.wanted is None:
                _accumulate(leaf, dy, owned, self.create_graph)
            elif id(leaf) in self.wanted:
                self.found[self.wanted[id(leaf)]] = dy

    def step(self, node: Function, slots: list[Tensor | None]) -> None:
        for i, (shape, dtype) in enumerate(node.outputs):
            dy = slots[i]
            if dy is not None:
                slots[i] = _call_hooks(node.hooks.get(i, ()), dy)
            elif dtype.is_floating_point:
                slots[i] = _C.zeros(shape, dtype)
            if self.wanted is not None and (node, i) in self.wanted and dy is not None:
                self.found[self.wanted[node, i]] = slots[i]  # type: ignore[assignment]
        dys: list[Any] = slots
        if self.create_graph and not node.twice_differentiable:
            with no_grad():
                grads = _as_tuple(node.backward(node, *dys))
            _block_second_derivative(node, dys, grads)
        else:
            grads = _as_tuple(node.backward(node, *dys))
        if not self.retain_graph:
            node.release()
        for edge, g in zip(node.edges, grads, strict=True):
            if edge is not None and g is not None:
                fresh = all(g is not dy for dy in dys) and sum(g is other for other in grads) == 1
                self.send(edge, g, fresh)


def _as_tuple(grads: Any) -> tuple[Tensor | None, ...]:
    return grads if isinstance(grads, tuple) else (grads,)


def _call_hooks(hooks: Any, dy: Tensor) -> Tensor:
    for hook in list(hooks):
        changed = hook(dy)
        dy = dy if changed is None else changed
    return dy


def _accumulate(leaf: Tensor, dy: Tensor, owned: bool, create_graph: bool) -> None:
    if leaf.grad is not None:
        leaf.grad = leaf.grad + dy
    elif create_graph:
        leaf.grad = dy
    else:
        # The gradient must be the leaf's own memory: optimisers and clipping write into it.
        alone = owned and dy._storage_users() == 1 and dy.is_contiguous()
        leaf.grad = _C.alias(dy) if alone else _C.clone(dy)


def _seeds(outputs: Sequence[Tensor], gradients: Sequence[Tensor | None], op: str) -> list[tuple[Any, Tensor]]:
    seeds = []
    for y, dy in zip(outputs, gradients, strict=True):
        if not y.requires_grad:
            raise RuntimeError(
                f"[{op}] the output of shape {y.shape} does not depend on a tensor that requires a gradient"
            )
        if dy is None:
            if y.numel() != 1:
                raise RuntimeError(
                    f"[{op}] a gradient is needed for an output that is not a single number, got shape {y.shape}; "
                    "reduce it (loss.mean()) or pass one"
                )
            dy = _C.full(_C.cast(_C.from_buffer(_ONE), y.dtype), y.shape)
        elif dy.shape != y.shape:
            raise ValueError(f"[{op}] expected a gradient of shape {y.shape}, got {dy.shape}")
        seeds.append((edge_of(y), dy))
    return seeds


_ONE = np.ones((), np.float32)


def run_backward(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Sequence[Tensor] | None = None,
    op: str = "backward",
) -> list[Tensor | None]:
    """Propagates from `outputs`; accumulates into leaves, or returns the gradients of `inputs` where they are given."""
    retain = create_graph if retain_graph is None else retain_graph
    wanted: dict[Any, int] | None = None
    places: list[int] = []  # the same input may be asked for twice
    if inputs is not None:
        wanted = {}
        for i, x in enumerate(inputs):
            edge = edge_of(x)
            if edge is None:
                raise RuntimeError(f"[{op}] input {i} of shape {x.shape} does not require a gradient")
            places.append(wanted.setdefault(edge if isinstance(edge, tuple) else id(edge), i))
    engine = _Engine(retain, create_graph, wanted)
    with enable_grad() if create_graph else no_grad():
        for edge, dy in _seeds(outputs, gradients, op):
            engine.send(edge, dy, owned=False)
        engine.run()
    return [engine.found.get(i) for i in places]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of `outputs` with respect to `inputs`, returned instead of accumulated.

    Args:
        outputs: scalars, or tensors with matching `grad_outputs`.
        inputs: tensors that require gradients, leaves or not.
        grad_outputs: the vector of the vector-Jacobian product, one per output; None stands for 1 on a scalar.
        retain_graph: keep saved values for another pass; by default what `create_graph` is.
        create_graph: record the gradients themselves, for higher derivatives.
        allow_unused: give None for an input that the outputs do not depend on, instead of raising RuntimeError.
    """
    outs = [outputs] if isinstance(outputs, _C.Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, _C.Tensor) else list(inputs)
    given: Sequence[Any]
    if grad_outputs is None:
        given = [None] * len(outs)
    else:
        given = [grad_outputs] if isinstance(grad_outputs, _C.Tensor) else list(grad_outputs)
    if len(given) != len(outs):
        raise ValueError(f"[grad] expected {len(outs)} grad_outputs, one for each output, got {len(given)}")
    grads = run_backward(outs, given, retain_graph, create_graph, ins, op="grad")
    if not allow_unused:
        for i, g in enumerate(grads):
            if g is None:
                raise RuntimeError(
                    f"[grad] the outputs do not depend on input {i}; pass allow_unused=True to get None for it"
                )
    return tuple(grads)


class HookHandle:
    """Removes a hook: ``handle.remove()``; also a context manager."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


# Last, because gradcheck is written in terms of grad().
from dlcore.gradcheck import gradcheck, gradgradcheck  # noqa: E402
