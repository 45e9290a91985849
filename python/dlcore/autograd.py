"""Reverse-mode differentiation: one Function class per operation.

A Function instance is both the node of the graph and the context its forward saves into. The graph and its traversal
are native (`_C.Node`, `_C.run_backward`), formulas are Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from dlcore import _C

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["Function", "View", "grad", "gradcheck", "gradgradcheck"]

F = TypeVar("F", bound=Callable[..., Any])


class Function(_C.Node):
    """An operation with a gradient. Subclasses give `forward(ctx, *args)` and `backward(ctx, *dys)`, both static.

    `forward` works on plain values (it calls `_C` and must not call differentiable functions); `ctx.save` keeps tensors
    (checked against later in-place changes) and, by keyword, plain values for `backward`, which finds them as
    `ctx.saved` and as attributes. `backward` returns one gradient, or None, per argument of `forward`;
    `ctx.needs_input_grad` says which are asked for. Gradients of arguments that were broadcast or promoted may have the
    shape and dtype of the result: they are summed and cast afterwards. Where `backward` is written in differentiable
    functions, set `twice_differentiable`; elsewhere a second derivative is refused by name. Where the gradient of the
    argument `adds_to` can be added in place, backward finds a sum to add it to as `ctx.into` (or None), and gives that.

    A call is `Subclass.apply(*args)`.
    """

    twice_differentiable: ClassVar[bool] = False
    gives_views: ClassVar[bool] = False
    adds_to: ClassVar[int] = -1
    into: Tensor | None = None

    @property
    def name(self) -> str:
        return type(self).__name__.lstrip("_").lower()

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Any, *dys: Any) -> Any:
        raise NotImplementedError

    def _block_second_derivative(self, dys: Sequence[Tensor], grads: Any) -> None:
        sources = [t for t in (*dys, *self.saved) if isinstance(t, _C.Tensor)]
        if any(t.requires_grad for t in sources):
            blocker = _NoSecondDerivative()
            blocker.operation = self.name  # type: ignore[attr-defined]
            given = grads if isinstance(grads, tuple) else (grads,)
            blocker._attach(tuple(sources), tuple(g for g in given if g is not None))

    def __repr__(self) -> str:
        return f"<{self.name} backward>"


def shortcut(
    native: Callable[..., Any], node: Any = None, arity: int | None = None, casts: bool = False
) -> Callable[[F], F]:
    """Decorator: calls with `arity` plain arguments (tensors, numbers, tuples) do not go through the Python function.

    Without a gradient to record they go to `native`, with one to `node.apply`, which give what the function would
    give. Where they raise TypeError, or there is no `node`, the function is asked after all. An arity of None counts
    the function's arguments without a default; `*sizes` is one of them, and reaches the others as a tuple. A function
    that `casts` its arguments under autocast is asked there.
    """

    def decorate(function: F) -> F:
        if arity is not None:
            return _C.shortcut(native, node, function, arity, False, casts)
        code = function.__code__
        gathers = bool(code.co_flags & inspect.CO_VARARGS)
        required = code.co_argcount - len(function.__defaults__ or ()) + gathers
        return _C.shortcut(native, node, function, required, gathers, casts)

    return decorate


class View(Function):
    """A Function whose outputs show the memory of its first argument (where it did not have to copy).

    A view knows its base, so that an in-place change of either reaches the history of the other; see `ops.inplace`.
    """

    gives_views = True


class _NoSecondDerivative(Function):
    """Stands behind first-order gradients whose operation has no differentiable backward."""

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> Any:
        raise NotImplementedError(
            f"[{ctx.operation}] second derivatives of this operation are not available; they are for the elementwise, "
            "reduction, matmul, convolution and shape families"
        )


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

    Raises:
        ValueError: no inputs; another number of `grad_outputs` than outputs, or one of another shape.
        RuntimeError: an input that requires no gradient, or that the outputs do not depend on.
    """
    outs = [outputs] if isinstance(outputs, _C.Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, _C.Tensor) else list(inputs)
    if not ins:
        raise ValueError("[grad] expected at least one input; backward() accumulates into all leaves")
    given: Sequence[Any]
    if grad_outputs is None:
        given = [None] * len(outs)
    else:
        given = [grad_outputs] if isinstance(grad_outputs, _C.Tensor) else list(grad_outputs)
    if len(given) != len(outs):
        raise ValueError(f"[grad] expected {len(outs)} grad_outputs, one for each output, got {len(given)}")
    grads = _C.run_backward(outs, given, retain_graph, create_graph, ins, "grad")
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
