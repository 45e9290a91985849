"""Random numbers: Philox 4x32-10, counter-based. The same numbers on every instruction set* and for any thread count.

A call takes the next stream of its generator and nothing else, so the numbers depend on (seed, which call it is) alone.
*) to the last bits: normals go through logarithms that the instruction sets round differently.
"""

from __future__ import annotations

import operator
import os
import threading
from typing import TYPE_CHECKING, Any

from dlcore import _C
from dlcore.autograd import Function
from dlcore.ops.creation import _leaf, check_device, full
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "dropout",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]

_WORD = 2**64


def _integer(value: Any, op: str, what: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"[{op}] expected {what}, got {type(value).__name__}") from None


class Generator:
    """A source of random numbers: a seed, and a count of the calls made, each of which takes one stream.

    Args:
        seed: any integer in [-2^63, 2^64); drawn from the operating system by default.

    Safe to share between threads; what each thread then gets depends on who calls first.
    """

    __slots__ = ("_lock", "_seed", "_stream")

    def __init__(self, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._seed = self._stream = 0
        if seed is None:
            self.seed()
        else:
            self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Starts over from a seed. Returns the generator."""
        value = _integer(seed, "manual_seed", "an integer seed")
        if not -_WORD // 2 <= value < _WORD:
            raise ValueError(f"[manual_seed] expected a seed in [-2^63, 2^64), got {value}")
        with self._lock:
            self._seed, self._stream = value % _WORD, 0
        return self

    def seed(self) -> int:
        """Starts over from a seed of the operating system, and returns it."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed it started from, in [0, 2^64)."""
        return self._seed

    def get_state(self) -> dict[str, int]:
        """``{"seed": …, "stream": …}``: all there is to know, for a checkpoint."""
        with self._lock:
            return {"seed": self._seed, "stream": self._stream}

    def set_state(self, state: dict[str, int]) -> None:
        """Continues from what `get_state` gave.

        Raises:
            ValueError: other keys, or numbers outside [0, 2^64).
        """
        if not isinstance(state, dict) or set(state) != {"seed", "stream"}:
            keys = sorted(state) if isinstance(state, dict) else type(state).__name__
            raise ValueError(f"[set_state] expected a dict with keys 'seed' and 'stream', got {keys}")
        values = [_integer(state[k], "set_state", "integers") for k in ("seed", "stream")]
        if not all(0 <= v < _WORD for v in values):
            raise ValueError(f"[set_state] expected numbers in [0, 2^64), got {state}")
        with self._lock:
            self._seed, self._stream = values

    def _next(self) -> tuple[int, int]:
        """(seed, stream) for one call; a dry run takes none."""
        with self._lock:
            stream = self._stream
            if not _C.planning():
                self._stream = (stream + 1) % _WORD
            return self._seed, stream

    def __repr__(self) -> str:
        return f"Generator(seed={self._seed}, stream={self._stream})"


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator, and returns it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seeds the default generator from the operating system, and returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed the default generator started from."""
    return default_generator.initial_seed()


def get_rng_state() -> dict[str, int]:
    """The default generator's state, as a dict of integers."""
    return default_generator.get_state()


def set_rng_state(state: dict[str, int]) -> None:
    """Lets the default generator continue from what `get_rng_state` gave."""
    default_generator.set_state(state)


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = _C.float32,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1): multiples of 2^-24 in float32, of 2^-53 in float64.

    Sizes are given one by one or as a tuple.

    Raises:
        ValueError: a negative size, or a device that does not exist.
        TypeError: not a floating dtype.
    """
    y = _new(size, dtype, device, "rand")
    _C.random_uniform(y, 0.0, 1.0, *_stream(generator, "rand"))
    return _leaf(y, requires_grad, "rand")


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = _C.float32,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal numbers, by the method of Box and Muller (1958). Sizes as in `rand`.

    Raises:
        ValueError: a negative size, or a device that does not exist.
        TypeError: not a floating dtype.
    """
    y = _new(size, dtype, device, "randn")
    _C.random_normal(y, 0.0, 1.0, *_stream(generator, "randn"))
    return _leaf(y, requires_grad, "randn")


def normal(
    mean: float, std: float, size: Any, generator: Generator | None = None, dtype: Any = _C.float32, device: Any = None
) -> Tensor:
    """Normal numbers of mean `mean` and standard deviation `std` >= 0."""
    y = _new((size,), dtype, device, "normal")
    _C.random_normal(y, mean, std, *_stream(generator, "normal"))
    return y


def rand_like(x: Tensor, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """Uniform numbers in [0, 1) in the shape and dtype and on the device of `x`."""
    return rand(x.shape, generator=generator, dtype=x.dtype if dtype is None else dtype, device=x.device)


def randn_like(x: Tensor, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """Standard normal numbers in the shape and dtype and on the device of `x`."""
    return randn(x.shape, generator=generator, dtype=x.dtype if dtype is None else dtype, device=x.device)


def randint(
    low: int,
    high: int | None = None,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = _C.int64,
    device: Any = None,
) -> Tensor:
    """Integers in [low, high), each as likely (to 2^-64 of the range). ``randint(10, size=(3,))`` counts from 0.

    Args:
        low, high: 64-bit integers, low < high.
        size: the shape; ``randint(high, size)`` is accepted as well.
        dtype: of the result, which holds every number of the range.

    Raises:
        ValueError: low >= high, a range that the dtype does not hold, or no size.
    """
    place = check_device(device, "randint")
    if isinstance(high, (tuple, list)) and size is None:
        high, size = None, high
    if size is None:
        raise ValueError("[randint] expected a size, such as randint(0, 10, (3,))")
    first, end = (0, low) if high is None else (low, high)
    first, end = _integer(first, "randint", "an integer low"), _integer(end, "randint", "an integer high")
    limits = {"uint8": (0, 2**8), "int32": (-(2**31), 2**31), "bool": (0, 2)}
    least, most = limits.get(getattr(dtype, "name", dtype), (-(2**63), 2**63 - 1))
    if first < least or end > most:
        raise ValueError(f"[randint] {dtype} does not hold every integer in [{first}, {end})")
    y = _C.random_integers(size, first, end, *_stream(generator, "randint"), place)
    return _C.cast(y, dtype)


def randperm(n: int, generator: Generator | None = None, dtype: Any = _C.int64, device: Any = None) -> Tensor:
    """The integers 0 … n-1 in random order, every order as likely (Fisher and Yates)."""
    place = check_device(device, "randperm")
    y = _C.random_permutation(_integer(n, "randperm", "an integer n"), *_stream(generator, "randperm"))
    return _C.to_device(_C.cast(y, dtype), place)


def bernoulli(p: Tensor, generator: Generator | None = None) -> Tensor:
    """1 with probability p[i], else 0, in the shape and dtype of `p`.

    Raises:
        ValueError: a probability outside [0, 1], or NaN.
        TypeError: not a floating dtype.
    """
    return _C.random_bernoulli(p, *_stream(generator, "bernoulli"))


def multinomial(
    probs: Tensor, num_samples: int, replacement: bool = False, generator: Generator | None = None
) -> Tensor:
    """Category indices, drawn by weight.

    Args:
        probs: weights (n,) or (rows, n): finite, not negative, at least one positive in each row. Any sum will do.
        num_samples: draws for each row.
        replacement: whether a category can come up again. Without, draws are in the order of successive sampling.

    Returns:
        int64 of shape (num_samples,) or (rows, num_samples).

    Raises:
        ValueError: bad weights, num_samples < 1, or more draws than (positive) categories without replacement.

    Source: P. Efraimidis and P. Spirakis, "Weighted random sampling with a reservoir", 2006 (without replacement).
    """
    return _C.random_multinomial(probs, num_samples, bool(replacement), *_stream(generator, "multinomial"))


class _Dropout(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, seed: int, stream: int) -> Tensor:
        ctx.draw = p, seed, stream
        return _C.dropout(x, p, seed, stream)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _Dropout.apply(dy, *ctx.draw), None, None, None


def dropout(x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """Sets elements to zero with probability `p` and scales the others by 1 / (1 - p); `x` itself when not training.

    The mask is never stored: the gradient draws it again from the generator's seed and the call's stream.
    Dropped infinities and NaN become 0. With p = 1 everything is dropped.

    Raises:
        ValueError: p outside [0, 1].
        TypeError: not a floating dtype.

    Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"[dropout] expected a probability p in [0, 1], got {p}")
    if not training or p == 0:
        return x
    return _Dropout.apply(x, float(p), *_stream(generator, "dropout"))


def _stream(generator: Generator | None, op: str) -> tuple[int, int]:
    if generator is None:
        return default_generator._next()
    if not isinstance(generator, Generator):
        raise TypeError(f"[{op}] expected a dlcore.Generator, got {type(generator).__name__}")
    return generator._next()


def _new(size: tuple[Any, ...], dtype: Any, device: Any, op: str) -> Tensor:
    place = check_device(device, op)
    shape = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    y = _C.empty(shape, dtype, place)
    if not y.dtype.is_floating_point:
        raise TypeError(f"[{op}] expected a floating dtype, got {y.dtype!r}")
    return y


def _check_in_place(x: Tensor, op: str) -> None:
    if x.requires_grad and is_grad_enabled():
        raise RuntimeError(f"[{op}] a tensor that requires a gradient cannot be overwritten; use `with no_grad():`")


def uniform_(x: Tensor, low: float = 0.0, high: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Overwrites `x` with uniform numbers in [low, high) and returns it.

    Raises:
        ValueError: low > high, or not finite.
        TypeError: not a floating dtype.
        RuntimeError: `x` requires a gradient and recording is on.
    """
    _check_in_place(x, "uniform_")
    _C.random_uniform(x, low, high, *_stream(generator, "uniform_"))
    return x


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Overwrites `x` with normal numbers and returns it.

    Raises:
        ValueError: std < 0.
        TypeError: not a floating dtype.
        RuntimeError: `x` requires a gradient and recording is on.
    """
    _check_in_place(x, "normal_")
    _C.random_normal(x, mean, std, *_stream(generator, "normal_"))
    return x


def bernoulli_(x: Tensor, p: float = 0.5, generator: Generator | None = None) -> Tensor:
    """Overwrites `x` with ones (with probability p) and zeros, and returns it. Any dtype.

    Raises:
        ValueError: p outside [0, 1].
        RuntimeError: `x` requires a gradient and recording is on.
    """
    _check_in_place(x, "bernoulli_")
    if not 0 <= p <= 1:
        raise ValueError(f"[bernoulli_] expected a probability p in [0, 1], got {p}")
    _C.copy_into(bernoulli(full(x.shape, p, _C.float64, x.device), generator), x)
    return x


class RandomMethods:
    __slots__ = ()

    uniform_ = uniform_
    normal_ = normal_
    bernoulli_ = bernoulli_
    bernoulli = bernoulli
    multinomial = multinomial
