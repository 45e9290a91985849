"""Native core of dlcore. Written by tools/make_stub.py: edit the bindings in cpp/, not this file."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a type checker reads this import last: the tensor's methods are written in terms of _C
    from dlcore.tensor import Tensor as _Tensor  # what every native function returns: see set_tensor_class

class dtype:
    """The type of a tensor's elements."""

    @property
    def name(self) -> str:
        """Such as 'float32'."""

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""

    @property
    def is_floating_point(self) -> bool:
        """True for float32, bfloat16 and float64."""

_DType = dtype  # Tensor has an attribute of that name

class Tensor:
    """A strided, typed array in memory: the base of dlcore.Tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions, as a tuple."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between neighbours along each dimension, in elements."""

    @property
    def dtype(self) -> _DType:
        """The element type, such as dlcore.float32."""

    @property
    def ndim(self) -> int:
        """The number of dimensions."""

    @property
    def device(self) -> str:
        """Where the data lies: 'cpu' or 'cuda'."""

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""

    @property
    def _version(self) -> int:
        """How often the storage was written in place."""

    @property
    def _writable(self) -> bool:
        """False for a view of read-only foreign memory."""

    grad: _Tensor | None
    """The gradient that backward() accumulated, or None."""

    _node: Any
    """The Function that made this tensor, or None for a leaf."""

    _hooks: list[Any] | None
    """Gradient hooks of a leaf."""

    _index: int
    """Which output of its node this is."""

    @property
    def _base(self) -> _Tensor | None:
        """The tensor that this one is a view of, or None."""

    _history: int
    """How often autograd recorded an in-place change of this tensor."""

    requires_grad: bool
    """Whether gradients flow to this tensor."""

    def numel(self) -> int:
        """The number of elements."""

    def is_contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps."""

    def data_ptr(self) -> int:
        """The address of the first element."""

    def _storage_ptr(self) -> int:
        """Identity of the storage: equal for views of the same memory."""

    def _set_base(self, x: Tensor) -> None:
        """Makes this tensor a view of another in autograd's eyes, if it shows the same memory."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

class Node:
    """A recorded operation: the base of dlcore.autograd.Function."""

    @property
    def saved(self) -> tuple[Any, ...]:
        """What `save` kept, as a tuple; RuntimeError where it was freed or changed since."""

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For each argument, whether its gradient is asked for."""

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Calls `forward` and records the call where gradients are recorded and an argument requires one."""

    def save(self, *values: Any, **attributes: Any) -> None:
        """Keeps tensors (checked against later in-place changes) and plain values for backward, those given by keyword as attributes."""

    def add_hook(self, index: int, hook: Callable[[_Tensor], _Tensor | None]) -> list[Any]:
        """Adds a hook for the gradient of an output; returns the list that holds it."""

    def _attach(self, arguments: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
        """Makes tensors outputs of this node."""

bfloat16: dtype
bool_: dtype
float32: dtype
float64: dtype
int32: dtype
int64: dtype
uint8: dtype

compiler: str
version: str

def abs(x: Any, /) -> _Tensor: ...

def adagrad_step(params: Sequence[Tensor], grads: Sequence[Tensor], sums: Sequence[Tensor], rates: Sequence[float], eps: float, weight_decay: float, scale: float) -> None:
    """One step of Adagrad over many parameters, in place, with the gradients times `scale`."""

def adam_step(op: str, params: Sequence[Tensor], grads: Sequence[Tensor], exp_avgs: Sequence[Tensor], exp_avg_sqs: Sequence[Tensor], max_exp_avg_sqs: Sequence[Tensor], steps: Sequence[int], lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, scale: float) -> None:
    """One step of Adam or AdamW over many parameters, in place, with the gradients times `scale`."""

def adaptive_avg_pool2d_backward(dy: Tensor, shape: int | Sequence[int], size: int | Sequence[int]) -> _Tensor:
    """dy spread over the tiles."""

def adaptive_avg_pool2d_forward(x: Tensor, size: int | Sequence[int]) -> _Tensor:
    """Averages over a grid of tiles."""

def add(a: Any, b: Any, /) -> _Tensor: ...

def add_(self: Any, b: Any) -> Any: ...

def alias(x: Tensor) -> _Tensor:
    """Another tensor object over the same memory, without history."""

def all(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Whether all elements over axes are not zero."""

def amax(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Largest element over axes; NaN where there is one."""

def amin(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Smallest element over axes; NaN where there is one."""

def any(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Whether any element over axes is not zero."""

def any_may_record(items: list) -> bool:
    """False if certainly no tensor of a list requires a gradient."""

def argmax(x: Tensor, dim: int | None, keepdim: bool) -> _Tensor:
    """Index of the largest element; None: in the flattened tensor."""

def argmin(x: Tensor, dim: int | None, keepdim: bool) -> _Tensor:
    """Index of the smallest element; None: in the flattened tensor."""

def argsort(x: Tensor, dim: int, descending: bool) -> _Tensor:
    """The indices that sort along an axis; stable, NaN last."""

def as_strided(x: Tensor, shape: int | Sequence[int], strides: int | Sequence[int], offset: int) -> _Tensor:
    """Any view of the memory that x lies in; the offset counts elements from x's first one."""

def attention_backward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, y: Tensor, lse: Tensor, dy: Tensor, scale: float, causal: bool, causal_offset: int, dropout: float, seed: int, stream: int) -> tuple[_Tensor, _Tensor, _Tensor]:
    """(dq, dk, dv) of attention."""

def attention_forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool, causal_offset: int, dropout: float, seed: int, stream: int) -> tuple[_Tensor, _Tensor]:
    """(y, log-sum-exp of the scores) of attention over (B, H, T, D)."""

def autocast_dtype() -> dtype | None:
    """What products of this thread are computed in under autocast, else None."""

def available_cores() -> int:
    """Cores allowed by the affinity mask and the cgroup quota."""

def avg_pool2d_backward(dy: Tensor, shape: int | Sequence[int], kernel: int | Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int], ceil_mode: bool, count_include_pad: bool, divisor: int) -> _Tensor:
    """dy spread over the windows."""

def avg_pool2d_forward(x: Tensor, kernel: int | Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int], ceil_mode: bool, count_include_pad: bool, divisor: int) -> _Tensor:
    """The average of each window; divisor 0: its size."""

def batch_norm_apply(x: Tensor, w: Tensor | None, b: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None, eps: float) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Batch norm with given statistics: the result and copies of them."""

def batch_norm_backward(x: Tensor, w: Tensor | None, mean: Tensor, var: Tensor, dy: Tensor, eps: float, own: bool, need_dx: bool, need_dw: bool, need_db: bool) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Gradients of batch norm for x, w and b; None for one not asked for. own: the statistics are x's."""

def batch_norm_forward(x: Tensor, w: Tensor | None, b: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None, momentum: float, eps: float) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Batch norm with the batch's statistics: the result, the mean and the variance. Running statistics are updated in place."""

def begin_plan() -> None:
    """From here on what this thread does is a dry run: kernels are not called, tensors have no memory. It counts from what the process's heap holds now."""

def bitwise_and(a: Any, b: Any, /) -> _Tensor: ...

def bitwise_and_(self: Any, b: Any) -> Any: ...

def bitwise_not(x: Any, /) -> _Tensor: ...

def bitwise_or(a: Any, b: Any, /) -> _Tensor: ...

def bitwise_or_(self: Any, b: Any) -> Any: ...

def bitwise_xor(a: Any, b: Any, /) -> _Tensor: ...

def bitwise_xor_(self: Any, b: Any) -> Any: ...

def broadcast_shapes(a: int | Sequence[int], b: int | Sequence[int]) -> tuple[int, ...]:
    """The shape that two shapes broadcast to."""

def cast(x: Tensor, dtype: Any) -> _Tensor:
    """x converted to a dtype; x itself where nothing changes."""

def cat(xs: list, dim: int) -> _Tensor:
    """Tensors joined along a dimension they have."""

def ceil(x: Any, /) -> _Tensor: ...

def check_writable(y: Tensor, op: str) -> None:
    """Raises ValueError for read-only memory and for expanded views."""

def checked_classes(indices: Tensor, num_classes: int) -> _Tensor:
    """Class indices as int64; IndexError for one out of range."""

def checked_targets(target: Tensor, classes: int, ignore_index: int, op: str) -> _Tensor:
    """Class indices as int64; IndexError for one out of range."""

def cholesky(a: Tensor) -> _Tensor:
    """The lower triangular l with l @ l.T = a."""

def clamp(x: Any, p: float, q: float = 0.0) -> _Tensor: ...

def clone(x: Tensor) -> _Tensor:
    """A contiguous copy."""

def contiguous(x: Tensor) -> _Tensor:
    """x in row-major order: x itself where it already is, else a copy."""

def conv2d_forward(x: Tensor, w: Tensor, b: Tensor | None, stride: int | Sequence[int], padding: int | Sequence[int], dilation: int | Sequence[int], groups: int, relu: bool, residual: Tensor | None) -> _Tensor:
    """relu(convolution + residual), or without the one or the other; padding is (top, bottom, left, right)."""

def conv2d_input_gradient(dy: Tensor, w: Tensor, b: Tensor | None, size: int | Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int], dilation: int | Sequence[int], groups: int, op: str) -> _Tensor:
    """dx of planes of `size`, or the transposed convolution; padding is (top, left); `op` names the caller in errors."""

def conv2d_weight_gradient(dy: Tensor, x: Tensor, size: int | Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int], dilation: int | Sequence[int], groups: int) -> _Tensor:
    """dw of kernels of `size`; padding is (top, left)."""

def copy_into(x: Tensor, y: Tensor, op: str = 'copy_') -> None:
    """Writes x into y, broadcasting and converting; errors speak of `op`."""

def cos(x: Any, /) -> _Tensor: ...

def cross_entropy_backward(x: Tensor, target: Tensor, w: Tensor | None, statistics: Tensor, dloss: Tensor, ignore_index: int, smoothing: float, in_place: bool = False) -> _Tensor:
    """Gradient of the rows' cross-entropy for the logits."""

def cross_entropy_forward(x: Tensor, target: Tensor, w: Tensor | None, ignore_index: int, smoothing: float) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Per row: cross-entropy, class weight, and what the backward needs."""

def cumsum(x: Tensor, dim: int, reverse: bool) -> _Tensor:
    """Running sums along an axis, from its end in reverse; integers and bool add up in int64."""

def device_count(device: str) -> int:
    """How many devices of a kind there are."""

def device_description(device: str) -> str:
    """The device's name and memory."""

def device_memory_stats(device: str) -> dict[str, int]:
    """Figures of the device's allocator, in bytes and counts."""

def diagonal(x: Tensor, offset: int, dim1: int, dim2: int) -> _Tensor:
    """A diagonal of the last dimension of the result; a view."""

def div(a: Any, b: Any, /) -> _Tensor: ...

def div_(self: Any, b: Any) -> Any: ...

def dropout(x: Tensor, p: float, seed: int, stream: int) -> _Tensor:
    """x with elements set to zero with probability p, the rest scaled by 1 / (1 - p)."""

def elu(x: Any, p: float, q: float = 0.0) -> _Tensor: ...

def embedding_backward(indices: Tensor, dy: Tensor, vocabulary: int, padding: int, into: Tensor | None = None) -> _Tensor:
    """Gradient of embedding for the table; added to `into` where that is given."""

def embedding_forward(indices: Tensor, w: Tensor) -> _Tensor:
    """Rows of w by index."""

def empty(shape: int | Sequence[int], dtype: Any, device: str = 'cpu') -> _Tensor:
    """A new tensor with unset elements."""

def empty_cache() -> None:
    """Gives free blocks back to the system."""

def empty_device_cache(device: str) -> None:
    """Gives free memory back to the system."""

def end_plan() -> None:
    """Ends this thread's dry run."""

def eq(a: Any, b: Any, /) -> _Tensor: ...

def erf(x: Any, /) -> _Tensor: ...

def exp(x: Any, /) -> _Tensor: ...

def expand(x: Tensor, shape: int | Sequence[int]) -> _Tensor:
    """Dimensions of size one repeated by a stride of zero; a view."""

def expm1(x: Any, /) -> _Tensor: ...

def floor(x: Any, /) -> _Tensor: ...

def floor_divide(a: Any, b: Any, /) -> _Tensor: ...

def floor_divide_(self: Any, b: Any) -> Any: ...

def fma_peak(seconds: float = 0.1) -> float:
    """The machine's peak in float32 operations per second, measured with fused multiply-adds in registers."""

def from_buffer(Any: Any) -> _Tensor:
    """A tensor over the memory of an object with the buffer protocol; no copy."""

def from_dlpack(capsule: Any) -> _Tensor:
    """A tensor over the memory of a DLPack capsule; no copy."""

def full(scalar: Tensor, shape: int | Sequence[int]) -> _Tensor:
    """A new tensor of one value, given as a 0-d tensor."""

def gather(x: Tensor, dim: int, index: Tensor, op: str = 'gather') -> _Tensor:
    """x[..., index[..., k, ...], ...] along dim, for every element of index."""

def ge(a: Any, b: Any, /) -> _Tensor: ...

def gelu(x: Any, /) -> _Tensor: ...

def gelu_backward(a: Any, b: Any, /) -> _Tensor: ...

def gelu_tanh(x: Any, /) -> _Tensor: ...

def gelu_tanh_backward(a: Any, b: Any, /) -> _Tensor: ...

def global_norm(tensors: Sequence[Tensor], p: float) -> float:
    """The p-norm of all elements of all tensors."""

def group_norm_backward(x: Tensor, groups: int, w: Tensor | None, mean: Tensor, rstd: Tensor, dy: Tensor, need_dx: bool, need_dw: bool, need_db: bool) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Gradients of group norm for x, w and b; None for one not asked for."""

def group_norm_forward(x: Tensor, groups: int, w: Tensor | None, b: Tensor | None, eps: float) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Group norm: the result, and the mean and 1 / deviation of each group of each sample."""

def gt(a: Any, b: Any, /) -> _Tensor: ...

def index_add(x: Tensor, dims: int | Sequence[int], indices: Sequence[Tensor], at: int, values: Tensor) -> None:
    """Adds values, broadcast, to what index_read reads, in the order of the indices."""

def index_read(x: Tensor, dims: int | Sequence[int], indices: Sequence[Tensor], at: int) -> _Tensor:
    """x with integer indices along dims; their common shape is inserted before the at-th of the other dimensions."""

def index_view(x: Tensor, key: Any) -> _Tensor:
    """x[key] as a view for integers, slices, None and Ellipsis; None where the key needs a copy."""

def index_write(x: Tensor, dims: int | Sequence[int], indices: Sequence[Tensor], at: int, values: Tensor) -> None:
    """Writes values, broadcast, to what index_read reads; the last of several writes to one element stays."""

def interpolate_backward(dy: Tensor, size: int | Sequence[int], rows: tuple[Tensor, Tensor, Tensor | None], cols: tuple[Tensor, Tensor, Tensor | None]) -> _Tensor:
    """The adjoint, for planes of `size`."""

def interpolate_forward(x: Tensor, rows: tuple[Tensor, Tensor, Tensor | None], cols: tuple[Tensor, Tensor, Tensor | None]) -> _Tensor:
    """Planes resampled: of each direction the first and the second place of every element, and the second's share, or None."""

def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded for backward()."""

def isfinite(x: Any, /) -> _Tensor: ...

def isinf(x: Any, /) -> _Tensor: ...

def isnan(x: Any, /) -> _Tensor: ...

def keep_packed(w: Tensor, keep: bool) -> None:
    """Whether kernels keep a copy of these weights in the order that they read them; see nn.utils.prepack."""

def keep_saved_values(x: Tensor, y: Any, since: int) -> None:
    """What nodes behind y, made after `since`, saved of x's memory is about to be overwritten: they get copies."""

def kernel_names() -> list[str]:
    """Names of all registered kernels."""

def layer_norm_backward(x: Tensor, w: Tensor | None, mean: Tensor, rstd: Tensor, dy: Tensor, dsum: Tensor | None, shape: int | Sequence[int], need_dw: bool, need_db: bool) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Gradients of layer norm for x, with dsum on top, w and b; None for one not asked for."""

def layer_norm_forward(x: Tensor, residual: Tensor | None, shape: int | Sequence[int], w: Tensor | None, b: Tensor | None, eps: float) -> tuple[_Tensor, _Tensor, _Tensor, _Tensor]:
    """Layer norm of x + residual over the last dimensions: the result, the mean and 1 / deviation of each row, and the sum, or None without a residual."""

def le(a: Any, b: Any, /) -> _Tensor: ...

def leaky_relu(x: Any, p: float, q: float = 0.0) -> _Tensor: ...

def linear(x: Tensor, w: Tensor, b: Tensor | None, activation: str = 'none', keep_pre: bool = False) -> Any:
    """activation(x @ w.T + b); with keep_pre a pair of that and the activation's argument."""

def log(x: Any, /) -> _Tensor: ...

def log1p(x: Any, /) -> _Tensor: ...

def log2(x: Any, /) -> _Tensor: ...

def log_softmax_backward(y: Tensor, dy: Tensor, dim: int) -> _Tensor:
    """Gradient of log_softmax from its result."""

def log_softmax_forward(x: Tensor, dim: int) -> _Tensor:
    """x - log(sum(exp(x))) along an axis."""

def logical_and(a: Any, b: Any, /) -> _Tensor: ...

def logical_and_(self: Any, b: Any) -> Any: ...

def logical_or(a: Any, b: Any, /) -> _Tensor: ...

def logical_or_(self: Any, b: Any) -> Any: ...

def logical_xor(a: Any, b: Any, /) -> _Tensor: ...

def logical_xor_(self: Any, b: Any) -> Any: ...

def logsumexp(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Logarithm of the sum of exponentials over axes."""

def lt(a: Any, b: Any, /) -> _Tensor: ...

def mask_read(x: Tensor, mask: Tensor) -> _Tensor:
    """x[mask] for a mask over the first dimensions of x."""

def mask_write(x: Tensor, mask: Tensor, values: Tensor) -> None:
    """x[mask] = values, broadcast to x[mask]."""

def matmul(a: Tensor, b: Tensor) -> _Tensor:
    """Matrix product with NumPy's rules for one and many dimensions."""

def matmul_into(a: Tensor, b: Tensor, c: Tensor, accumulate: bool) -> None:
    """Writes the product of two matrices into a third, or adds it there."""

def max_along(x: Tensor, dim: int, keepdim: bool) -> tuple[_Tensor, _Tensor]:
    """Largest elements along an axis and their indices."""

def max_pool2d(x: Tensor, kernel: int | Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int], dilation: int | Sequence[int], ceil_mode: bool) -> _Tensor:
    """The largest of each window alone."""

def max_pool2d_backward(dy: Tensor, index: Tensor, shape: int | Sequence[int], kernel: int | Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int], dilation: int | Sequence[int], ceil_mode: bool) -> _Tensor:
    """dy sent to those places."""

def max_pool2d_forward(x: Tensor, kernel: int | Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int], dilation: int | Sequence[int], ceil_mode: bool) -> tuple:
    """The largest of each window, and its place in the plane."""

def maximum(a: Any, b: Any, /) -> _Tensor: ...

def maximum_(self: Any, b: Any) -> Any: ...

def mean(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Mean over axes."""

def memory_stats() -> dict[str, int]:
    """Figures of the caching allocator, in bytes and counts."""

def min_along(x: Tensor, dim: int, keepdim: bool) -> tuple[_Tensor, _Tensor]:
    """Smallest elements along an axis and their indices."""

def minimum(a: Any, b: Any, /) -> _Tensor: ...

def minimum_(self: Any, b: Any) -> Any: ...

def mul(a: Any, b: Any, /) -> _Tensor: ...

def mul_(self: Any, b: Any) -> Any: ...

def ne(a: Any, b: Any, /) -> _Tensor: ...

def neg(x: Any, /) -> _Tensor: ...

def next_sequence() -> int:
    """A number above that of every node made so far."""

def nonzero(x: Tensor) -> _Tensor:
    """The indices of the elements that are not zero, one row each, in row-major order."""

def norm1(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Sum of magnitudes over axes."""

def norm2(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Root of the sum of squares over axes."""

def num_threads() -> int:
    """How many threads kernels use."""

def pad(x: Tensor, before: int | Sequence[int], after: int | Sequence[int], value: Tensor) -> _Tensor:
    """x with elements added (negative: cut) at both ends of each dimension; value is a 0-d tensor."""

def permute(x: Tensor, axes: int | Sequence[int]) -> _Tensor:
    """Axes reordered; a view."""

def plan_figures() -> dict[str, int]:
    """Bytes: `live` and its `peak`, those of real tensors included, `peak_moment` in allocations so far; `growth` and `peak_growth` of what is resident."""

def plan_stand_in(x: Tensor) -> _Tensor | None:
    """For a tensor that the run may drop, before it begins: one whose memory is free to the run when it does. None where the memory is foreign or others share it."""

def planned_bytes(x: Tensor) -> int:
    """Bytes that a tensor's storage has in the plan's `peak`; 0 for foreign memory and for what came after the peak."""

def planning() -> bool:
    """Whether this thread is in a dry run."""

def pow(a: Any, b: Any, /) -> _Tensor: ...

def pow_(self: Any, b: Any) -> Any: ...

def prod(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Product over axes; integers and bool multiply in int64."""

def promote_types(a: Any, b: Any) -> dtype:
    """The dtype of an operation on two tensors."""

def random_bernoulli(p: Tensor, seed: int, stream: int) -> _Tensor:
    """1 with probability p, else 0."""

def random_bits(n: int, seed: int, stream: int) -> _Tensor:
    """The stream's words, as int32."""

def random_integers(shape: int | Sequence[int], low: int, high: int, seed: int, stream: int, device: str = 'cpu') -> _Tensor:
    """int64 numbers in [low, high)."""

def random_multinomial(p: Tensor, samples: int, replacement: bool, seed: int, stream: int) -> _Tensor:
    """Column indices drawn by the weights of each row."""

def random_normal(y: Tensor, mean: float, std: float, seed: int, stream: int) -> None:
    """Fills y with normal numbers."""

def random_permutation(n: int, seed: int, stream: int) -> _Tensor:
    """0 … n-1 in random order."""

def random_uniform(y: Tensor, low: float, high: float, seed: int, stream: int) -> None:
    """Fills y with uniform numbers in [low, high)."""

def rebind(x: Any, y: Tensor) -> None:
    """Lets the object x show the memory of y, whatever its dtype: a parameter stays the same object to all who hold it."""

def reciprocal(x: Any, /) -> _Tensor: ...

def reinterpret(x: Tensor, dtype: Any, shape: int | Sequence[int]) -> _Tensor:
    """The memory of a contiguous tensor seen as another dtype and shape of as many bytes; no copy."""

def relu(x: Any, /) -> _Tensor: ...

def relu_backward(a: Any, b: Any, /) -> _Tensor: ...

def remainder(a: Any, b: Any, /) -> _Tensor: ...

def remainder_(self: Any, b: Any) -> Any: ...

def reset_device_peak(device: str) -> None:
    """Sets the peak to what is live now."""

def reset_peak_memory() -> None:
    """Sets the peak to what is live now."""

def reshape(x: Tensor, shape: int | Sequence[int]) -> _Tensor:
    """The same elements in another shape; a copy only where no view can show it."""

def rms_norm_backward(x: Tensor, w: Tensor | None, rrms: Tensor, dy: Tensor, shape: int | Sequence[int], need_dw: bool) -> tuple[_Tensor, _Tensor]:
    """Gradients of RMS norm for x and w; None for one not asked for."""

def rms_norm_forward(x: Tensor, shape: int | Sequence[int], w: Tensor | None, eps: float) -> tuple[_Tensor, _Tensor]:
    """RMS norm over the last dimensions: the result, and 1 / root mean square of each row."""

def rmsprop_step(params: Sequence[Tensor], grads: Sequence[Tensor], square_avgs: Sequence[Tensor], grad_avgs: Sequence[Tensor], buffers: Sequence[Tensor], lr: float, alpha: float, eps: float, weight_decay: float, momentum: float, scale: float) -> None:
    """One step of RMSprop over many parameters, in place, with the gradients times `scale`."""

def rnn_backward(cell: str, x: Tensor, w_ih: Tensor, w_hh: Tensor, gates: Tensor, saved: Tensor | None, y: Tensor, prev: Tensor, c0: Tensor | None, dy: Tensor, dh_n: Tensor, dc_n: Tensor | None, sizes: Sequence[int], reverse: bool, need_dx: bool, need_dw_ih: bool, need_dw_hh: bool) -> tuple[_Tensor, _Tensor, _Tensor, _Tensor, _Tensor, _Tensor]:
    """dx, dw_ih, dw_hh, the gates' gradients added up over the rows, dh0 and dc0; None for what is not asked for."""

def rnn_forward(cell: str, x: Tensor, w_ih: Tensor, w_hh: Tensor, b: Tensor | None, b_n: Tensor | None, h0: Tensor, c0: Tensor | None, sizes: Sequence[int], reverse: bool, keep: bool) -> tuple[_Tensor, _Tensor, _Tensor, _Tensor, _Tensor, _Tensor]:
    """A recurrent layer over rows of `sizes` sequences a step: y, the h that each row began with, h_n, c_n, and with `keep` the gates and what else backward needs."""

def round(x: Any, /) -> _Tensor: ...

def rsqrt(x: Any, /) -> _Tensor: ...

def run_backward(outputs: Sequence[Any], gradients: Sequence[Any], retain_graph: bool | None, create_graph: bool, inputs: Sequence[Any] | None, op: str) -> list[Any]:
    """Propagates from `outputs`; accumulates into leaves, or returns the gradients of `inputs` where they are given."""

def scale_tensors(tensors: Sequence[Tensor], factor: float) -> None:
    """Multiplies every tensor in place."""

def scatter(x: Tensor, dim: int, index: Tensor, values: Tensor) -> _Tensor:
    """A copy of x with values at the indices."""

def scatter_add(x: Tensor, dim: int, index: Tensor, values: Tensor) -> _Tensor:
    """A copy of x with values added at the indices."""

def searchsorted(sorted: Tensor, values: Tensor, right: bool) -> _Tensor:
    """How many sorted elements come before each value."""

def select(x: Tensor, axis: int, index: int) -> _Tensor:
    """One index along an axis, which goes away; a view."""

def set_autocast_dtype(dtype: Any | None) -> dtype | None:
    """Lets this thread's products be computed in a dtype, or (None) in that of their arguments; returns what it was."""

def set_device_limit(device: str, bytes: int) -> None:
    """Limits the device's allocator; 0 lifts the limit."""

def set_grad_enabled(mode: bool) -> bool:
    """Switches recording on or off for this thread; returns what it was."""

def set_gradient_fitter(fitter: Any) -> None:
    """Sets what sums and casts a gradient to the shape and dtype of an argument that was broadcast or promoted."""

def set_memory_limit(bytes: int) -> None:
    """Limits the allocator; 0 lifts the limit."""

def set_num_threads(n: int) -> None:
    """Sets how many threads kernels use."""

def set_target(name: str) -> None:
    """Chooses among reference, baseline, avx2, avx512, avx512_bf16 and amx."""

def set_tensor_class(cls: type) -> None:
    """Sets the class that every native function returns."""

def set_view_refresher(refresher: Any) -> None:
    """Sets what is called with a view whose base has got a new history."""

def sgd_step(params: Sequence[Tensor], grads: Sequence[Tensor], buffers: Sequence[Tensor], first: Sequence[bool], lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool, scale: float) -> None:
    """One step of SGD over many parameters, in place, with the gradients times `scale`."""

def shortcut(native: Callable, node: Any, function: Callable, arity: int, gathers: bool, casts: bool) -> Any:
    """`function`, but for calls with `arity` positional arguments that are tensors, numbers and tuples: those go to `native` or, with a gradient to record, to `node.apply`, and to `function` only if that raises TypeError. Where it `gathers`, the last may be given as several numbers. One that `casts` stays in Python under autocast."""

def sigmoid(x: Any, /) -> _Tensor: ...

def sigmoid_backward(a: Any, b: Any, /) -> _Tensor: ...

def sign(x: Any, /) -> _Tensor: ...

def silu(x: Any, /) -> _Tensor: ...

def silu_backward(a: Any, b: Any, /) -> _Tensor: ...

def sin(x: Any, /) -> _Tensor: ...

def slice(x: Tensor, axis: int, start: int, stop: int, step: int) -> _Tensor:
    """A range along one axis; a view."""

def softmax_backward(y: Tensor, dy: Tensor, dim: int) -> _Tensor:
    """Gradient of softmax from its result."""

def softmax_forward(x: Tensor, dim: int) -> _Tensor:
    """exp(x) / sum(exp(x)) along an axis."""

def softplus(x: Any, /) -> _Tensor: ...

def solve_triangular(a: Tensor, b: Tensor, upper: bool) -> _Tensor:
    """The x with a @ x = b, for triangular a."""

def sort(x: Tensor, dim: int, descending: bool) -> tuple:
    """Sorted values and where they came from; stable, NaN last."""

def sqrt(x: Any, /) -> _Tensor: ...

def square(x: Any, /) -> _Tensor:
    """x * x."""

def squeeze(x: Tensor, axis: int) -> _Tensor:
    """An axis of size one removed; a view."""

def stack(xs: list, dim: int) -> _Tensor:
    """Tensors of one shape joined along a new dimension."""

def sub(a: Any, b: Any, /) -> _Tensor: ...

def sub_(self: Any, b: Any) -> Any: ...

def sum(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> _Tensor:
    """Sum over axes (None: all); integers and bool add up in int64."""

def supported_targets() -> list[str]:
    """The targets that this CPU runs."""

def synchronize(device: str) -> None:
    """Waits for all that was launched; raises what went wrong."""

def tanh(x: Any, /) -> _Tensor: ...

def tanh_backward(a: Any, b: Any, /) -> _Tensor: ...

def target() -> str:
    """The instruction set in use."""

def to_device(x: Tensor, device: str) -> _Tensor:
    """x on a device: x itself where it lies there, else a contiguous copy."""

def to_dlpack(x: Tensor, versioned: bool) -> Any:
    """A DLPack capsule that shares the tensor's memory."""

def topk(x: Tensor, k: int, dim: int, largest: bool) -> tuple:
    """The k largest or smallest elements along an axis, in order, and where they are."""

def transpose(x: Tensor, a: int, b: int) -> _Tensor:
    """Two axes swapped; a view."""

def triangle(x: Tensor, diagonal: int, upper: bool) -> _Tensor:
    """Matrices with zeros above (upper: below) a diagonal."""

def trunc(x: Any, /) -> _Tensor: ...

def unsqueeze(x: Tensor, axis: int) -> _Tensor:
    """An axis of size one added; a view."""

def var(x: Tensor, dim: int | Sequence[int] | None, correction: float, keepdim: bool) -> _Tensor:
    """Variance over axes."""

def view(x: Tensor, shape: int | Sequence[int]) -> _Tensor:
    """The same memory in another shape."""

def where(condition: Tensor, a: Any, b: Any) -> _Tensor:
    """a where the condition holds, else b."""

def why_no_device(device: str) -> str:
    """Why a device cannot be used; empty where it can."""

def zeros(shape: int | Sequence[int], dtype: Any, device: str = 'cpu') -> _Tensor:
    """A new tensor of zeros."""
