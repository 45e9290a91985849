#include "kernels/matmul/matmul.h"

#include "core/prepack.h"
#include "ops/common.h"

namespace dl {
namespace {

// Sums of bfloat16 products are float32 until the end.
DType sum_dtype(DType t) { return t == DType::bfloat16 ? DType::float32 : t; }

// What a product does besides the sum of products; undefined tensors stand for nothing.
struct Extras {
  Tensor bias, pre;
  MatmulActivation activation = MatmulActivation::none;
  bool accumulate = false;  // on top of what c holds
  bool constant_b = false;  // its storage may keep it packed
};

struct BatchDim { int64_t size, a, b, c; };

// The batch dimensions from the last to the first, without those of size one and with neighbours merged that step
// evenly in all three tensors.
std::vector<BatchDim> batch_dims(const Tensor& a, const Tensor& b, const Tensor& c) {
  std::vector<BatchDim> dims;
  const int n = c.ndim() - 2;
  for (int d = n - 1; d >= 0; --d) {
    const auto stride = [&](const Tensor& t) {
      const int own = d - (n - (t.ndim() - 2));
      return own < 0 || t.shape()[own] == 1 ? 0 : t.strides()[own];
    };
    const BatchDim dim{c.shape()[d], stride(a), stride(b), c.strides()[d]};
    if (dim.size == 1) continue;
    if (!dims.empty()) {
      BatchDim& inner = dims.back();
      if (dim.a == inner.size * inner.a && dim.b == inner.size * inner.b && dim.c == inner.size * inner.c) {
        inner.size *= dim.size;
        continue;
      }
    }
    dims.push_back(dim);
  }
  return dims;
}

// c = activation(a @ b + bias); a (..., M, K), b (..., K, N), c (..., M, N) contiguous, shapes checked.
template <class In, class Out> void run(const Tensor& a, const Tensor& b, const Tensor& c, const Extras& extras) {
  MatmulArgs<In, Out> p{};
  p.a = static_cast<const In*>(a.raw());
  p.b = static_cast<const In*>(b.raw());
  p.c = static_cast<Out*>(c.raw());
  p.M = a.size(-2), p.K = a.size(-1), p.N = b.size(-1);
  const auto stride = [](const Tensor& t, int axis) { return t.strides()[t.ndim() + axis]; };
  p.a_row = stride(a, -2), p.a_col = stride(a, -1);
  p.b_row = stride(b, -2), p.b_col = stride(b, -1);
  p.c_row = stride(c, -2);
  std::vector<BatchDim> dims = batch_dims(a, b, c);
  // One matrix for the whole batch, and rows of a that go on evenly from one item to the next: more rows, no batch.
  if (!dims.empty() && dims[0].b == 0 && dims[0].c == p.M * p.c_row && (p.M == 1 || dims[0].a == p.M * p.a_row)) {
    if (p.M == 1) p.a_row = dims[0].a;
    p.M *= dims[0].size;
    dims.erase(dims.begin());
  }
  int64_t batch = 1;
  for (auto dim = dims.rbegin(); dim != dims.rend(); ++dim) {
    const int d = p.batch_dims++;
    p.batch[d] = dim->size, p.a_batch[d] = dim->a, p.b_batch[d] = dim->b, p.c_batch[d] = dim->c;
    batch *= dim->size;
  }
  if (extras.bias) p.bias = static_cast<const matmul_sum_t<Out>*>(extras.bias.raw());
  if (extras.pre) p.pre = static_cast<Out*>(extras.pre.raw());
  p.activation = extras.activation;
  p.accumulate = extras.accumulate;
  const Tensor workspace = Tensor::empty({matmul_workspace<Out>(p.M, p.N, p.K, batch)}, sum_dtype(c.dtype()));
  p.workspace = static_cast<matmul_sum_t<Out>*>(workspace.raw());
  static const Kernel<matmul_fn<In, Out>> kernel{cat("matmul/", name(dtype_of<Out>())).c_str()};
  const double work = static_cast<double>(batch) * p.M * p.N * p.K;
  launch(work < 1e18 ? static_cast<int64_t>(work) : INT64_MAX, [&] {
    Tensor packed;
    if constexpr (!std::is_integral<In>::value)
      if (extras.constant_b && p.batch_dims == 0 && matmul_shares_b(p.M, p.N, p.K, 1)) {
        static const Kernel<matmul_pack_fn<In, Out>> pack{cat("matmul_pack/", name(dtype_of<Out>())).c_str()};
        packed = prepacked(b, matmul_packed(p.N, p.K), sum_dtype(c.dtype()), 0, reinterpret_cast<AnyFn>(pack.get()),
                           [&](const Tensor& to) { pack(p, static_cast<matmul_sum_t<Out>*>(to.raw())); });
        if (packed) p.packed = static_cast<const matmul_sum_t<Out>*>(packed.raw());
      }
    kernel(p);
  });
}

void run(const Tensor& a, const Tensor& b, const Tensor& c, const Extras& extras) {
  if (c.numel() == 0) return;
  switch (a.dtype()) {
    case DType::float32: return run<float, float>(a, b, c, extras);
    case DType::bfloat16: return run<bfloat16, bfloat16>(a, b, c, extras);
    case DType::float64: return run<double, double>(a, b, c, extras);
    case DType::int64: return run<int64_t, int64_t>(a, b, c, extras);
    case DType::int32: return run<int32_t, int32_t>(a, b, c, extras);
    default: return run<uint8_t, uint8_t>(a, b, c, extras);
  }
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  DL_CHECK(a.ndim() > 0 && b.ndim() > 0, "[matmul] expected operands of at least one dimension, got shapes ", a.shape(),
           " and ", b.shape(), "; use * to scale");
  const DType dtype = promote(a.dtype(), b.dtype());
  DL_CHECK_TYPE(dtype != DType::boolean, "[matmul] expected numbers, got bool for shapes ", a.shape(), " and ",
                b.shape(), "; cast one operand");
  const auto promoted = [&](const Tensor& x) { return x.dtype() == dtype ? x : cast(x, dtype); };
  Tensor left = promoted(a), right = promoted(b);
  if (a.ndim() == 1) left = left.unsqueeze(0);
  if (b.ndim() == 1) right = right.unsqueeze(1);
  DL_CHECK(left.size(-1) == right.size(-2), "[matmul] expected the last size of the first operand to equal the ",
           b.ndim() == 1 ? "size" : "last size but one", " of the second, got ", left.size(-1), " and ", right.size(-2),
           " (shapes ", a.shape(), " and ", b.shape(), ")");
  const auto batch_of = [](const Tensor& t) {
    Dims batch;
    for (int d = 0; d < t.ndim() - 2; ++d) batch.push_back(t.shape()[d]);
    return batch;
  };
  Dims shape;
  try {
    shape = broadcast_shapes(batch_of(left), batch_of(right), "matmul");
  } catch (const ValueError&) {
    throw ValueError(cat("[matmul] the batch dimensions ", batch_of(left), " and ", batch_of(right),
                         " do not broadcast (shapes ", a.shape(), " and ", b.shape(), ")"));
  }
  shape.push_back(left.size(-2));
  shape.push_back(right.size(-1));
  Tensor c = Tensor::empty(shape, dtype);
  run(left, right, c, {});
  if (b.ndim() == 1) c = c.squeeze(-1);
  if (a.ndim() == 1) c = c.squeeze(b.ndim() == 1 ? -1 : -2);
  return c;
}

// c = a @ b, or c += a @ b, for matrices; rows of c are contiguous.
void matmul_into(const Tensor& a, const Tensor& b, const Tensor& c, bool accumulate) {
  DL_CHECK(a.ndim() == 2 && b.ndim() == 2 && c.ndim() == 2 && a.size(1) == b.size(0) && c.size(0) == a.size(0) &&
               c.size(1) == b.size(1) && (c.size(1) <= 1 || c.strides()[1] == 1),
           "[matmul_into] expected (M, K), (K, N) and contiguous rows of (M, N), got ", a.shape(), ", ", b.shape(),
           " and ", c.shape());
  DL_CHECK_TYPE(a.dtype() == b.dtype() && c.dtype() == a.dtype() && is_floating(c.dtype()),
                "[matmul_into] expected one floating dtype, got ", a.dtype(), ", ", b.dtype(), " and ", c.dtype());
  mark_written(c, "matmul_into");
  Extras extras;
  extras.accumulate = accumulate;
  run(a, b, c, extras);
}

MatmulActivation activation_named(const std::string& name) {
  if (name == "none") return MatmulActivation::none;
  if (name == "relu") return MatmulActivation::relu;
  if (name == "gelu") return MatmulActivation::gelu;
  if (name == "gelu_tanh") return MatmulActivation::gelu_tanh;
  throw ValueError(cat("[linear] expected activation 'relu', 'gelu' or 'gelu_tanh', got '", name, "'"));
}

// activation(x @ w^T + b) and, where asked for, its argument.
std::pair<Tensor, Tensor> linear(const Tensor& x, const Tensor& w, const std::optional<Tensor>& b,
                                 const std::string& activation, bool keep_pre) {
  const MatmulActivation act = activation_named(activation);
  DL_CHECK(w.ndim() == 2, "[linear] expected a weight of shape (out, in), got ", w.shape());
  DL_CHECK(x.ndim() >= 1 && x.size(-1) == w.size(1), "[linear] expected last dimension ", w.size(1), ", got ",
           x.ndim() ? cat(x.size(-1)) : "none", " (input ", x.shape(), ", weight ", w.shape(), ")");
  DL_CHECK(!b || (b->ndim() == 1 && b->size(0) == w.size(0)), "[linear] expected a bias of shape (", w.size(0),
           ",), got ", b ? b->shape() : Dims{}, " (weight ", w.shape(), ")");
  check_floating(x, "linear");
  DL_CHECK_TYPE(w.dtype() == x.dtype() && (!b || b->dtype() == x.dtype()), "[linear] expected one dtype, got input ",
                x.dtype(), ", weight ", w.dtype(), b ? cat(", bias ", b->dtype()) : "");
  Dims shape = x.shape();
  shape.back() = w.size(0);
  const Tensor rows = x.ndim() == 1 ? x.unsqueeze(0) : x;
  Dims row_shape = rows.shape();
  row_shape.back() = w.size(0);
  const Tensor y = Tensor::empty(row_shape, x.dtype());
  Extras extras;
  extras.activation = act;
  extras.constant_b = x.device() == Device::cpu;  // a device's kernel reads weights as they lie
  if (b) extras.bias = cast(*b, sum_dtype(x.dtype()));
  if (keep_pre) extras.pre = Tensor::empty(row_shape, x.dtype());
  run(rows, w.transpose(0, 1), y, extras);
  return {y.view_as_shape(shape), keep_pre ? extras.pre.view_as_shape(shape) : Tensor()};
}

}  // namespace
}  // namespace dl

DL_BIND(matmul) {
  using namespace dl;
  m.def(
      "keep_packed",
      [](const Tensor& w, bool keep) {
        std::shared_ptr<Prepacked>& kept = w.storage()->prepacked;
        if (!keep) kept = nullptr;
        else if (!kept) kept = std::make_shared<Prepacked>();
      },
      py::arg("w"), py::arg("keep"),
      "Whether kernels keep a copy of these weights in the order that they read them; see nn.utils.prepack.");
  m.def(any_device, "matmul", &dl::matmul, py::arg("a"), py::arg("b"),
        "Matrix product with NumPy's rules for one and many dimensions.");
  m.def("matmul_into", &dl::matmul_into, py::arg("a"), py::arg("b"), py::arg("c"), py::arg("accumulate"),
        "Writes the product of two matrices into a third, or adds it there.");
  m.def(
      any_device, "linear",
      [](const Tensor& x, const Tensor& w, const std::optional<Tensor>& b, const std::string& activation,
         bool keep_pre) -> py::object {
        const auto [y, pre] = linear(x, w, b, activation, keep_pre);
        if (!keep_pre) return py::cast(y);
        return py::make_tuple(y, pre);
      },
      py::arg("x"), py::arg("w"), py::arg("b"), py::arg("activation") = "none", py::arg("keep_pre") = false,
      "activation(x @ w.T + b); with keep_pre a pair of that and the activation's argument.");
}
