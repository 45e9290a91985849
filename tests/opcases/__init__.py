"""One table per family, `tests/opcases/<family>.py`, is THE source of an operation's tests and benchmarks.

Each table module has `CASES: list[OpCase]`. The walkers in tests/ops take every case through values, gradients,
layouts, dtypes, targets, determinism and errors; benchmarks/ times what `bench` names. A public function without a
case fails.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOATS = ("float32", "bfloat16", "float64")
# 2^-24, 2^-9, 2^-53: half a unit in the last place of 1.
EPS = {"float32": 2.0**-24, "bfloat16": 2.0**-9, "float64": 2.0**-53}


@dataclass(frozen=True)
class Rand:
    """An array to be drawn: normal by default, uniform in [low, high) where given; integers with an integer dtype."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None
    grad: bool = True  # whether gradients are checked for it (floating dtypes only)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        if self.dtype == "bool":
            return rng.random(self.shape) < 0.5
        if self.dtype.startswith(("int", "uint")):
            low, high = (0 if self.low is None else self.low), (10 if self.high is None else self.high)
            return rng.integers(int(low), int(high), self.shape, dtype=self.dtype)
        if self.low is None:
            return rng.standard_normal(self.shape).astype(self.dtype)
        assert self.high is not None
        return rng.uniform(self.low, self.high, self.shape).astype(self.dtype)


@dataclass(frozen=True)
class Const:
    """A positional argument that is passed as it is; a bare tuple of ints stands for Rand(shape)."""

    value: Any


@dataclass(frozen=True)
class _Place:
    """Where an input array stands among the arguments."""

    index: int


class Sample:
    """Arguments of one call. Positional tuples of ints are shapes of normal float32 arrays; Rand and arrays are inputs
    (also as keyword arguments or inside a list); everything else is passed as it is."""

    def __init__(self, *args: Any, seed: int = 0, **kwargs: Any) -> None:
        self.spec = tuple(Rand(a) if isinstance(a, tuple) and all(isinstance(i, int) for i in a) else a for a in args)
        self.kwargs = kwargs
        self.seed = seed

    def draw(self) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with every Rand drawn: reproducible from the seed."""
        arrays, _, rebuild = self.bind()
        return rebuild(arrays)

    def bind(self) -> tuple[list[np.ndarray], list[bool], Callable[[Sequence[Any]], tuple[list[Any], dict[str, Any]]]]:
        """The drawn input arrays in order, whether a gradient is checked for each, and a function that puts anything
        in their places (tensors, float64 arrays) and gives (args, kwargs)."""
        rng = np.random.default_rng(self.seed)
        arrays: list[np.ndarray] = []
        grads: list[bool] = []

        def collect(a: Any) -> Any:
            if isinstance(a, (Rand, np.ndarray)):
                arrays.append(a.draw(rng) if isinstance(a, Rand) else a)
                grads.append(arrays[-1].dtype.kind == "f" and getattr(a, "grad", True))
                return _Place(len(arrays) - 1)
            return [collect(b) for b in a] if isinstance(a, list) else a

        args = [collect(a) for a in self.spec]
        kwargs = {k: collect(v) for k, v in self.kwargs.items()}

        def rebuild(values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
            def fill(a: Any) -> Any:
                if isinstance(a, _Place):
                    return values[a.index]
                if isinstance(a, list):
                    return [fill(b) for b in a]
                return a.value if isinstance(a, Const) else a

            return [fill(a) for a in args], {k: fill(v) for k, v in kwargs.items()}

        return arrays, grads, rebuild

    def __repr__(self) -> str:
        def short(a: Any) -> str:
            return repr(a.shape) if isinstance(a, Rand) else f"array{a.shape}" if isinstance(a, np.ndarray) else repr(a)

        parts = [short(a) for a in self.spec]
        return ", ".join(parts + [f"{k}={v!r}" for k, v in self.kwargs.items()])[:120]


class Fails(Sample):
    """A call that must raise `error` with a message that contains `text`."""

    def __init__(self, *args: Any, error: type[Exception] = ValueError, text: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.error, self.text = error, text


@dataclass(frozen=True)
class Eps:
    """Allowed error in units of eps(dtype) times the magnitude (see OpCase.magnitude)."""

    forward: float = 4
    backward: float = 16


@dataclass
class OpCase:
    """One operation: how to call it, what it must give, and what to time.

    Args:
        name: unique; the public function's name, with a suffix after ":" for variants ("pow:scalar").
        op: the public dlcore function under test.
        reference: an independent implementation on NumPy arrays, in float64 for floating inputs.
        samples: ordinary inputs, sizes around SIMD widths, several shapes and options. Keep them small.
        edges: inputs such as empty, 0-d, inf, NaN, huge; values only, NaN matches NaN.
        errors: calls that must fail.
        eps: tolerance. The bound is eps.forward * EPS[dtype] * magnitude.
        magnitude: of the reduction behind each output, such as sum(|x|); same arguments as reference.
            Default |reference|.
        gradient: whether the operation is differentiable; twice: whether second derivatives are to be checked too.
        dtypes: floating dtypes of the inputs to run; integer inputs keep theirs.
        big: larger samples that span several blocks of work, for the determinism walk.
        bench: named real shapes; numpy: the same work in NumPy float32 for the comparison (default: reference).
        bytes, flops: of one call, from the drawn arguments; for the roofline.
        exact: outputs must be equal to the reference's (integers, copies).
        output_dtype: name of the outputs' dtype, or a function of the op's arguments that gives it (a tuple of names
            for several outputs). Default: integers and bools as the reference gives them, floating as the floating
            inputs, and as the reference gives it where there are none.
        same_in_any_layout: strided, misaligned and read-only inputs must give the same bits as contiguous ones; False
            allows the tolerance instead, for operations that document a different order of summation.

    Public names that no table can hold (classes, seeding) are listed in the table module's
    `ELSEWHERE: dict[str, str]`, name -> the test file that covers it.
    """

    name: str
    op: Callable[..., Any]
    reference: Callable[..., Any]
    samples: Sequence[Sample]
    edges: Sequence[Sample] = ()
    errors: Sequence[Fails] = ()
    eps: Eps = Eps()
    magnitude: Callable[..., Any] | None = None
    gradient: bool = True
    twice: bool = False
    dtypes: Sequence[str] = FLOATS
    big: Sequence[Sample] = ()
    bench: dict[str, Sample] = field(default_factory=dict)
    numpy: Callable[..., Any] | None = None
    bytes: Callable[..., float] | None = None
    flops: Callable[..., float] | None = None
    exact: bool = False
    output_dtype: str | Callable[..., Any] | None = None
    same_in_any_layout: bool = True

    def __repr__(self) -> str:
        return self.name


def around_simd_widths() -> list[tuple[int, ...]]:
    """Shapes whose last size is just under, at and over the vector widths and their multiples."""
    return [(3, n) for n in (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130)]


def all_cases() -> Iterator[OpCase]:
    """Every case of every family."""
    for module in pkgutil.iter_modules(__path__):
        yield from importlib.import_module(f"{__name__}.{module.name}").CASES
