"""Module: a network, or a part of one. What it holds is what its attributes are; nothing is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from dlcore import _C
from dlcore.autograd import HookHandle
from dlcore.nn.parameter import Parameter
from dlcore.nn.plan import MemoryPlan, plan_memory
from dlcore.nn.summary import Summary, summarize
from dlcore.ops.creation import check_device, named_device
from dlcore.tensor import Tensor

__all__ = ["Module"]


class Incompatible(NamedTuple):
    """What `load_state_dict(strict=False)` did not find a partner for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of all layers and models: set attributes in `__init__`, compute in `forward`, call the module.

    A `Parameter` attribute is a parameter, any other tensor attribute a buffer, a `Module` attribute a child;
    parameters and children are also found inside lists, tuples and dicts. Buffers are saved in `state_dict` unless
    their name begins with an underscore or `register_buffer(…, persistent=False)` made them.

    ::

        class Net(nn.Module):
            def __init__(self):
                self.hidden = nn.Linear(784, 64)
                self.out = nn.Linear(64, 10)

            def forward(self, x):
                return self.out(self.hidden(x).relu())

    An error raised inside a network is prefixed with the path of the layer that raised it.
    """

    training: bool = True
    # Tuples on the class until a module gets its first hook: a subclass need not call super().__init__().
    _forward_hooks: Any = ()
    _forward_pre_hooks: Any = ()
    _transient: frozenset[str] = frozenset()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; written by subclasses."""
        raise NotImplementedError(f"[{type(self).__name__}] forward is not defined")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            for hook in self._forward_pre_hooks:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
            out = self.forward(*args, **kwargs)
            for hook in self._forward_hooks:
                changed = hook(self, args, out)
                out = out if changed is None else changed
            return out
        except Exception as error:
            _name_layer(error, self)
            raise

    # What it holds

    def _held(self) -> Iterator[tuple[str, Any]]:
        """Direct parameters, buffers and children with their names."""
        for name, value in vars(self).items():
            if name not in ("_forward_hooks", "_forward_pre_hooks"):
                yield from _find(name, value)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct children with their names, each once."""
        seen: set[int] = set()
        for name, value in self._held():
            if isinstance(value, Module) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Module]:
        """Direct children, each once."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their paths, parents first."""
        return self._walk(prefix, set() if remove_duplicate else None, ())

    def _walk(self, prefix: str, seen: set[int] | None, above: tuple[Module, ...]) -> Iterator[tuple[str, Module]]:
        if self in above or (seen is not None and id(self) in seen):
            return
        if seen is not None:
            seen.add(id(self))
        yield prefix, self
        for name, value in self._held():
            if isinstance(value, Module):
                yield from value._walk(_join(prefix, name), seen, (*above, self))

    def modules(self) -> Iterator[Module]:
        """This module and all below it, parents first, each once."""
        return (m for _, m in self.named_modules())

    def _named(
        self, wanted: Callable[[Any], bool], prefix: str, recurse: bool, once: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, once) if recurse else [(prefix, self)]:
            for name, value in module._held():
                if wanted(value) and not (once and id(value) in seen):
                    seen.add(id(value))
                    yield _join(path, name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their paths; a shared one once, under its first."""
        return self._named(lambda v: isinstance(v, Parameter), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Tensors that are part of the state and do not learn, with their paths."""
        return self._named(_is_buffer, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Sets an attribute that is a buffer; one that is not persistent is left out of `state_dict`."""
        if not (tensor is None or isinstance(tensor, _C.Tensor)):
            raise TypeError(f"[register_buffer] expected a Tensor or None for {name!r}, got {type(tensor).__name__}")
        setattr(self, name, tensor)
        self._transient = self._transient - {name} if persistent else self._transient | {name}

    def get_submodule(self, path: str) -> Module:
        """The module at a path such as ``"transformer.h.3.attn"``; itself for ``""``.

        Raises:
            AttributeError: there is none.
        """
        for name, module in self.named_modules(remove_duplicate=False):
            if name == path:
                return module
        raise AttributeError(f"[get_submodule] {type(self).__name__} has no module {path!r}")

    # Changing all of it

    def train(self, mode: bool = True) -> Any:
        """Switches this module and all below it to training (dropout is active) or evaluation. Returns the module."""
        for m in self.modules():
            m.training = bool(mode)
        return self

    def eval(self) -> Any:
        """Switches to evaluation: ``train(False)``. Returns the module."""
        return self.train(False)

    def apply(self, function: Callable[[Module], Any]) -> Any:
        """Calls `function` with every module, children first. Returns the module."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Freezes (False) or unfreezes every parameter. Returns the module."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of every parameter (or, with `set_to_none=False`, fills them with zeros)."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad = _C.zeros(p.shape, p.dtype, p.device)

    def to(self, *targets: Any, dtype: Any = None, device: Any = None) -> Any:
        """Moves parameters and buffers to a device and converts floating ones to a dtype, in place. Returns the module.

        Parameters stay the same objects: optimisers and tied layers go on seeing them. An optimiser's state stays
        where it is: move the model first.

        Raises:
            TypeError: not a floating dtype.
            ValueError: the device is not available; the message says why.
        """
        dtype, device = named_device(targets, dtype, device)
        place = None if device is None else check_device(device, "to")
        if dtype is not None and not _C.empty((), dtype).dtype.is_floating_point:
            raise TypeError(f"[to] a module is converted to a floating dtype, got {dtype}")
        if place is None and dtype is None:
            return self

        def moved(x: Any) -> Any:
            there = x if place is None else _C.to_device(x, place)
            return _C.cast(there, dtype) if dtype is not None and x.dtype.is_floating_point else there

        for p in self.parameters():
            grad = p.grad
            _C.rebind(p, moved(p))
            p.grad = None if grad is None else moved(grad)
        for module in self.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                if place is not None or buffer.dtype.is_floating_point:
                    setattr(module, name, moved(buffer.detach()))
        return self

    def cuda(self) -> Any:
        """Moves parameters and buffers to the GPU."""
        return self.to("cuda")

    def cpu(self) -> Any:
        """Moves parameters and buffers to the CPU."""
        return self.to("cpu")

    def float(self) -> Any:
        """Converts to float32."""
        return self.to(_C.float32)

    def double(self) -> Any:
        """Converts to float64."""
        return self.to(_C.float64)

    def bfloat16(self) -> Any:
        """Converts to bfloat16."""
        return self.to(_C.bfloat16)

    # Saving and loading

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers by path, over the same memory. Shared ones appear under every path."""
        return {name: _C.alias(value) for name, value in self._state()}

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules(remove_duplicate=False):
            held = list(module._held())
            for name, value in held:
                if isinstance(value, Parameter):
                    yield _join(path, name), value
            for name, value in held:
                if _is_buffer(value) and not (name.startswith("_") or name in module._transient):
                    yield _join(path, name), value

    def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Incompatible:
        """Fills parameters and buffers from a state such as `dlcore.io.load_file` gives.

        Args:
            state: tensors by path. Of a shared parameter one path is enough.
            strict: whether missing and unexpected keys are an error; wrong shapes and integers for floats always are.
            assign: take over the given tensors' memory and dtype (no copy: with a mapped file, pages are read on first
                use) instead of copying values into the present ones.

        Raises:
            ValueError: keys or shapes do not fit; all of them are listed, and nothing has been changed.
            TypeError: a value that is not a tensor.
        """
        own = dict(self._state())
        for name, value in state.items():
            if not isinstance(value, _C.Tensor):
                raise TypeError(f"[load_state_dict] expected a Tensor for {name!r}, got {type(value).__name__}")
        given = {id(t) for name, t in own.items() if name in state}
        missing = [name for name, t in own.items() if id(t) not in given]
        unexpected = [name for name in state if name not in own]
        both = [(name, t, state[name]) for name, t in own.items() if name in state]
        misshaped = [f"{name} (expected {t.shape}, got {s.shape})" for name, t, s in both if s.shape != t.shape]
        mistyped = [
            f"{name} (expected {t.dtype.name}, got {s.dtype.name})"
            for name, t, s in both
            if s.dtype.is_floating_point != t.dtype.is_floating_point
        ]
        faults = [("wrong shape", misshaped), ("wrong dtype", mistyped)]
        if strict:
            faults = [("missing", missing), ("unexpected", unexpected), *faults]
        if any(names for _, names in faults):
            lines = [f"  {fault}: {', '.join(names)}" for fault, names in faults if names]
            raise ValueError("\n".join([f"[load_state_dict] the state does not fit {type(self).__name__}:", *lines]))
        for _, t, s in both:
            if assign:
                _C.rebind(t, s)
            else:
                _C.copy_into(s, t)
        return Incompatible(missing, unexpected)

    # Looking at it

    def register_forward_hook(self, hook: Callable[[Module, tuple[Any, ...], Any], Any]) -> HookHandle:
        """Calls `hook(module, args, output)` after `forward`; what it returns, unless None, replaces the output."""
        self._forward_hooks = [*self._forward_hooks, hook]
        return _ModuleHook(self, "_forward_hooks", hook)

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple[Any, ...]], Any]) -> HookHandle:
        """Calls `hook(module, args)` before `forward`; what it returns, unless None, replaces the arguments."""
        self._forward_pre_hooks = [*self._forward_pre_hooks, hook]
        return _ModuleHook(self, "_forward_pre_hooks", hook)

    def summary(self, *inputs: Any, **kwargs: Any) -> Summary:
        """A printable table of what a call with `inputs` does, layer by layer: output shape, parameters, multiply-adds
        and bytes of activations. The call runs in evaluation mode and records nothing."""
        return summarize(self, inputs, kwargs)

    def plan(
        self, *inputs: Any, call: Any = None, loss: Any = None, optimizer: Any = None, **kwargs: Any
    ) -> MemoryPlan:
        """How much memory a step with `inputs` takes, before it is run: ``print(model.plan(x, y, optimizer=adam))``.

        The step is run dry: the same Python code, but kernels are not called and tensors have no memory. It leaves no
        trace: parameters, buffers, gradients, the optimiser and random generators are as before, also after an error.
        Under ``no_grad()`` the step is the forward pass; else backward follows, and with an optimiser a few more steps.
        What exists already (gradients, the optimiser's state, free blocks of the allocator) is taken into account.

        Every number that the model computes reads as zero meanwhile. Sizes that follow from numbers, such as of
        `nonzero` or `masked_select`, are planned for none found. Not seen are what other threads do that the model
        starts, arrays of NumPy, and hooks and attributes of objects of extension types.

        Args:
            inputs, kwargs: of the model.
            call: what a step calls with them: a method of the model, such as `GPT2.loss`. The model itself where None.
            loss: of the output, gives the number that backward starts from: ``lambda logits: …``. None where
                that number is the output, or the only single number in it.
            optimizer: whose step is planned as well; its state is there from the second step on.

        Raises:
            ValueError: backward has no number to start from, or loss or optimizer without gradients.
            TypeError: call, loss or optimizer of a wrong type.
            RuntimeError: within another plan.
        """
        return plan_memory(self, inputs, kwargs, self if call is None else call, loss, optimizer)

    def multiply_adds(self, args: tuple[Any, ...], output: Any) -> int:
        """Multiply-adds that this module itself does in a call, its children's not counted; for `summary`."""
        return 0

    def extra_repr(self) -> str:
        """What `print` shows between the parentheses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indent(repr(child))}" for name, child in self._held() if isinstance(child, Module)]
        return _tree(type(self).__name__, lines, children)


class _ModuleHook(HookHandle):
    """Replaces the list, so that a hook may be removed while the hooks run."""

    def __init__(self, module: Module, where: str, hook: Any) -> None:
        super().__init__([], hook)
        self._module, self._where = module, where

    def remove(self) -> None:
        hooks = list(getattr(self._module, self._where))
        if self._hook in hooks:
            hooks.remove(self._hook)
            setattr(self._module, self._where, hooks)


def _is_buffer(value: Any) -> bool:
    # What requires a gradient is a result that somebody keeps, not state.
    return isinstance(value, _C.Tensor) and not isinstance(value, Parameter) and not value.requires_grad


def _find(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (Module, _C.Tensor)):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, (Module, Parameter, list, tuple, dict)):
                yield from _find(f"{name}.{key}", item)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _tree(name: str, extra: list[str], children: list[str]) -> str:
    if len(extra) <= 1 and not children:
        return f"{name}({''.join(extra)})"
    return f"{name}(\n  " + "\n  ".join([*extra, *children]) + "\n)"


def _name_layer(error: Exception, module: Module) -> None:
    """Puts the path of the layer that raised in front of the message, seen from `module`. Each module on the way out
    calls this and the outermost has the last word; the exception, its type and its traceback stay what they are."""
    if not hasattr(error, "_layer"):
        if len(error.args) == 1 and str(error) == error.args[0]:  # messages only: not KeyError, not OSError with errno
            error._layer = (module, error.args[0])  # type: ignore[attr-defined]
        return
    layer, text = error._layer
    path = next((path for path, m in module.named_modules() if m is layer), "")
    if path:
        error.args = (f"{path}: {text.removeprefix(f'[{type(layer).__name__}] ')}",)
