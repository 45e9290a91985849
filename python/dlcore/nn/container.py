"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeVar

from dlcore.nn.module import Module, _indent, _tree

__all__ = ["ModuleDict", "ModuleList", "Sequential"]

T = TypeVar("T")


def _check(value: Any, where: str) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"[{where}] expected a Module, got {type(value).__name__}")
    return value


def _at(items: list[T], index: int, where: str) -> T:
    if not -len(items) <= index < len(items):
        raise IndexError(f"[{where}] index {index} is out of range for {len(items)} modules")
    return items[index]


class Sequential(Module):
    """Calls its modules one after the other, each with the output of the one before.

    Args:
        modules: the modules, or one dict of modules by name.
    """

    def __init__(self, *modules: Any) -> None:
        self._items: dict[str, Module] = {}
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, m in modules[0].items():
                self._items[str(name)] = _check(m, "Sequential")
        else:
            self.extend(modules)

    def _held(self) -> Iterator[tuple[str, Any]]:
        yield from (held for held in super()._held() if not held[0].startswith("_items."))
        yield from self._items.items()

    def forward(self, x: Any) -> Any:
        for m in self._items.values():
            x = m(x)
        return x

    def append(self, module: Module) -> Sequential:
        """Adds a module at the end, named by its place. Returns the container."""
        self._items[str(len(self._items))] = _check(module, "Sequential")
        return self

    def extend(self, modules: Iterable[Module]) -> Sequential:
        """Adds modules at the end. Returns the container."""
        for m in modules:
            self.append(m)
        return self

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._items.values())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self._items.items())[index]))
        return _at(list(self._items.values()), index, "Sequential")

    def __setitem__(self, index: int, module: Module) -> None:
        self._items[_at(list(self._items), index, "Sequential")] = _check(module, "Sequential")


class ModuleList(Module):
    """A list of modules that belong to the module that holds the list. Not callable itself."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._items: list[Module] = []
        self.extend(modules)

    def _held(self) -> Iterator[tuple[str, Any]]:
        yield from (held for held in super()._held() if not held[0].startswith("_items."))
        yield from ((str(i), child) for i, child in enumerate(self._items))

    def append(self, module: Module) -> ModuleList:
        """Adds a module at the end. Returns the container."""
        self._items.append(_check(module, "ModuleList"))
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Adds modules at the end. Returns the container."""
        for m in modules:
            self.append(m)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Adds a module before place `index`."""
        self._items.insert(index, _check(module, "ModuleList"))

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._items)

    def __getitem__(self, index: int | slice) -> Any:
        return ModuleList(self._items[index]) if isinstance(index, slice) else _at(self._items, index, "ModuleList")

    def __setitem__(self, index: int, module: Module) -> None:
        self._items[index] = _check(module, "ModuleList")

    def __delitem__(self, index: int | slice) -> None:
        del self._items[index]

    def __repr__(self) -> str:
        """Equal neighbours are shown once: ``(0-3): 4 x Block(…)``."""
        lines, at = [], 0
        for text, group in groupby(map(repr, self._items)):
            n = len(list(group))
            lines.append(f"({at}): {_indent(text)}" if n == 1 else f"({at}-{at + n - 1}): {n} x {_indent(text)}")
            at += n
        return _tree(type(self).__name__, [], lines)


class ModuleDict(Module):
    """Modules by name. Not callable itself."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self._items: dict[str, Module] = {}
        self.update(modules or {})

    def _held(self) -> Iterator[tuple[str, Any]]:
        yield from (held for held in super()._held() if not held[0].startswith("_items."))
        yield from self._items.items()

    def update(self, modules: Mapping[str, Module]) -> None:
        """Adds or replaces modules."""
        for name, m in modules.items():
            self[name] = m

    def pop(self, name: str) -> Module:
        """Removes a module and returns it."""
        return self._items.pop(name)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._items.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._items.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names and modules."""
        return self._items.items()

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"[ModuleDict] expected a name that is a string without dots, got {name!r}")
        self._items[name] = _check(module, "ModuleDict")

    def __getitem__(self, name: str) -> Module:
        return self._items[name]

    def __delitem__(self, name: str) -> None:
        del self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
