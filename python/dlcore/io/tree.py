"""Nested Python values with tensors inside, as JSON plus a flat table of tensors: what optimiser states are made of."""

from __future__ import annotations

from typing import Any

from dlcore import _C

__all__: list[str] = []


def pack(value: Any, path: str, tensors: dict[str, Any]) -> Any:
    """`value` as JSON; its tensors go to `tensors` under names made of their path.

    Dictionaries keep keys that are not strings, and tuples stay tuples.

    Raises:
        TypeError: something that is neither a number, a string, None, a tensor, nor a dict, list or tuple of such.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, _C.Tensor):
        while path in tensors:  # {"a.b": …, "a": {"b": …}} spell the same path
            path += "'"
        tensors[path] = value
        return {"$tensor": path}
    if isinstance(value, (list, tuple)):
        items = [pack(v, f"{path}.{i}", tensors) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, dict):
        packed = [(k, pack(v, f"{path}.{k}", tensors)) for k, v in value.items()]
        if all(isinstance(k, str) and not k.startswith("$") for k in value):
            return dict(packed)
        return {"$items": [[pack(k, path, tensors), v] for k, v in packed]}
    raise TypeError(
        f"[save_checkpoint] {path} is a {type(value).__name__}; a checkpoint holds numbers, strings, None, tensors, "
        "dicts, lists and tuples (array.tolist() and scalar.item() turn NumPy's values into these)"
    )


def unpack(value: Any, tensors: dict[str, Any]) -> Any:
    """What `pack` was given."""
    if isinstance(value, list):
        return [unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$tuple" in value:
        return tuple(unpack(value["$tuple"], tensors))
    if "$items" in value:
        return {unpack(k, tensors): unpack(v, tensors) for k, v in value["$items"]}
    return {k: unpack(v, tensors) for k, v in value.items()}
