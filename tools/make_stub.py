"""Writes python/dlcore/_C.pyi from the built extension; with --check, fails where the committed stub differs.

Signatures come from pybind11's docstrings, so a binding is described once, in C++. Attributes of Tensor have no
signature to read; their types stand here.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dlcore import _C

STUB = Path(__file__).resolve().parents[1] / "python" / "dlcore" / "_C.pyi"

HEADER = '''"""Native core of dlcore. Written by tools/make_stub.py: edit the bindings in cpp/, not this file."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a type checker reads this import last: the tensor's methods are written in terms of _C
    from dlcore.tensor import Tensor as _Tensor  # what every native function returns: see set_tensor_class

'''

TENSOR = {
    "shape": "tuple[int, ...]",
    "strides": "tuple[int, ...]",
    "dtype": "_DType",
    "ndim": "int",
    "device": "str",
    "itemsize": "int",
    "nbytes": "int",
    "_version": "int",
    "_writable": "bool",
    "grad": "_Tensor | None",
    "_node": "Any",
    "_hooks": "list[Any] | None",
    "_index": "int",
    "_base": "_Tensor | None",
    "_history": "int",
    "requires_grad": "bool",
    "numel": "() -> int",
    "is_contiguous": "() -> bool",
    "data_ptr": "() -> int",
    "_storage_ptr": "() -> int",
    "_set_base": "(x: Tensor) -> None",
}

NODE = {
    "saved": "tuple[Any, ...]",
    "needs_input_grad": "tuple[bool, ...]",
    "apply": "classmethod (*args: Any) -> Any",
    "save": "(*values: Any, **attributes: Any) -> None",
    "add_hook": "(index: int, hook: Callable[[_Tensor], _Tensor | None]) -> list[Any]",
    "_attach": "(arguments: tuple[Any, ...], outputs: tuple[Any, ...]) -> None",
}

# What pybind11 writes, differently from version to version, and what a reader needs.
SPELLINGS = [
    (r"typing\.SupportsInt( \| typing\.SupportsIndex)?", "int"),
    (r"typing\.SupportsFloat( \| typing\.SupportsIndex)?", "float"),
    (r"typing_extensions\.CapsuleType|types\.CapsuleType", "Any"),
    (r"collections\.abc\.(Sequence|Callable)", r"\1"),
    (r"(?:typing\.)?Optional\[(.*)\]", r"\1 | None"),
    (r"\bobject\b", "Any"),
    (r"dlcore\._C\.", ""),
]


def parameter(text: str) -> str:
    """One parameter: sizes are accepted as an int or any sequence, dtypes under many names."""
    name, _, annotation = text.partition(": ")
    annotation, equals, default = annotation.partition(" = ")
    annotation = annotation.replace("tuple[int, ...]", "int | Sequence[int]")
    annotation = re.sub(r"^dtype\b", "Any", annotation)
    return f"{name}: {annotation}{equals}{default}" if annotation else name


def split_parameters(text: str) -> list[str]:
    """Splits at commas outside of brackets."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "[(") - (c in "])")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return [p.strip() for p in parts if p.strip()]


def function(name: str, doc: str) -> str:
    signature, _, text = doc.strip().partition("\n\n")
    for pattern, replacement in SPELLINGS:
        signature = re.sub(pattern, replacement, signature)
    match = re.fullmatch(rf"{name}\((.*)\) -> (.*)", signature)
    if not match:
        raise SystemExit(f"no signature to read for {name}: {signature!r}; bind it with py::arg names")
    parameters = ", ".join(parameter(p) for p in split_parameters(match[1]))
    returns = re.sub(r"\bTensor\b", "_Tensor", match[2])
    body = f'\n    """{text.strip()}"""' if text.strip() else " ..."
    return f"def {name}({parameters}) -> {returns}:{body}\n"


def writable(instance: object, name: str) -> bool:
    """Whether an attribute can be set: it is tried, with the value that is there."""
    try:
        setattr(instance, name, getattr(instance, name))
    except AttributeError:
        return False
    return True


def native_class(cls: type, table: dict[str, str], instance: object) -> list[str]:
    lines = [f'class {cls.__name__}:\n    """{cls.__doc__}"""\n']
    own = {k: v for k, v in vars(cls).items() if not k.startswith("__")}
    unknown = set(own) ^ set(table)
    if unknown:
        raise SystemExit(f"{cls.__name__} and its table in {Path(__file__).name} differ in {sorted(unknown)}")
    for name, kind in table.items():
        doc = own[name].__doc__
        first, _, rest = kind.partition("(")
        if first in ("", "classmethod "):
            decorator, receiver = ("    @classmethod\n", "cls") if first else ("", "self")
            signature = f"({receiver}" + (", " if rest[0] != ")" else "") + rest
            lines.append(f'{decorator}    def {name}{signature}:\n        """{doc}"""\n')
        elif writable(instance, name):
            lines.append(f'    {name}: {kind}\n    """{doc}"""\n')
        else:
            lines.append(f'    @property\n    def {name}(self) -> {kind}:\n        """{doc}"""\n')
    return lines


def tensor_class() -> str:
    lines = native_class(_C.Tensor, TENSOR, _C.zeros((1,), _C.float32))
    lines.append("    def __buffer__(self, flags: int, /) -> memoryview: ...\n")
    return "\n".join(lines)


def node_class() -> str:
    return "\n".join(native_class(_C.Node, NODE, _C.Node()))


def dtype_class() -> str:
    lines = [f'class dtype:\n    """{_C.dtype.__doc__}"""\n']
    for name, kind in {"name": "str", "itemsize": "int", "is_floating_point": "bool"}.items():
        doc = getattr(_C.dtype, name).__doc__
        lines.append(f'    @property\n    def {name}(self) -> {kind}:\n        """{doc}"""\n')
    return "\n".join(lines) + "\n_DType = dtype  # Tensor has an attribute of that name\n"


def stub() -> str:
    parts = [HEADER + dtype_class(), tensor_class(), node_class()]
    names = sorted(n for n in vars(_C) if not n.startswith("_"))
    parts.append("\n".join(f"{n}: dtype" for n in names if type(getattr(_C, n)) is _C.dtype) + "\n")
    parts.append("\n".join(f"{n}: str" for n in names if isinstance(getattr(_C, n), str)) + "\n")
    for name in names:
        value = getattr(_C, name)
        if name in ("Tensor", "Node", "dtype") or type(value) is _C.dtype or isinstance(value, str):
            continue
        if not callable(value) or isinstance(value, type):
            raise SystemExit(f"_C.{name} is of {type(value).__name__}, which {Path(__file__).name} does not know")
        parts.append(function(name, value.__doc__ or ""))
    return "\n".join(parts)


def main() -> int:
    text = stub()
    if "--check" in sys.argv[1:]:
        if not STUB.exists() or STUB.read_text() != text:
            print(f"{STUB} differs from the bindings; run: python tools/make_stub.py", file=sys.stderr)
            return 1
        return 0
    STUB.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
