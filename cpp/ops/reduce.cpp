#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "ops/common.h"

namespace dl {
namespace {

// Which axes go away: None or an empty tuple stand for all.
struct Axes {
  bool reduced[kMaxDims] = {};
  int64_t count = 1;  // elements behind each output
};

Axes chosen_axes(const Tensor& x, const std::optional<Dims>& dims, const char* op) {
  Axes axes;
  if (!dims || dims->empty()) {
    std::fill_n(axes.reduced, x.ndim(), true);
  } else {
    for (int64_t dim : *dims) {
      if (x.ndim() == 0 && (dim == 0 || dim == -1)) continue;
      const int axis = normalize_axis(dim, x.ndim(), x.shape(), op);
      DL_CHECK(!axes.reduced[axis], "[", op, "] axis ", dim, " appears more than once in ", *dims, " for shape ",
               x.shape());
      axes.reduced[axis] = true;
    }
  }
  for (int d = 0; d < x.ndim(); ++d)
    if (axes.reduced[d]) axes.count *= x.shape()[d];
  return axes;
}

Dims output_shape(const Tensor& x, const Axes& axes, bool keepdim) {
  Dims shape;
  for (int d = 0; d < x.ndim(); ++d) {
    if (!axes.reduced[d]) shape.push_back(x.shape()[d]);
    else if (keepdim) shape.push_back(1);
  }
  return shape;
}

// x as it lies in memory (a transposed tensor is not copied), its axes merged into alternating kept and reduced runs.
class Layout {
 public:
  Layout(const Tensor& x, const Axes& axes, bool keepdim) : shape_(output_shape(x, axes, keepdim)) {
    Dims order;
    for (int d = 0; d < x.ndim(); ++d) order.push_back(d);
    Dims by_stride = order;
    std::stable_sort(by_stride.begin(), by_stride.end(), [&](int64_t a, int64_t b) {
      return x.strides()[static_cast<int>(a)] > x.strides()[static_cast<int>(b)];
    });
    if (x.permute(by_stride).is_contiguous()) order = by_stride;
    data_ = contiguous(x.permute(order));
    for (int64_t axis : order) {
      const int d = static_cast<int>(axis);
      const int64_t size = x.shape()[d];
      if (!axes.reduced[d]) {
        kept_.push_back(size);
        kept_axes_.push_back(d);
      }
      if (size == 1) continue;
      if (sizes_.empty() || reduced_.back() != axes.reduced[d]) {
        sizes_.push_back(size);
        reduced_.push_back(axes.reduced[d]);
      } else {
        sizes_.back() *= size;
      }
    }
  }

  int reduced_runs() const { return static_cast<int>(std::count(reduced_.begin(), reduced_.end(), 1)); }

  // Applies step(data, outer, n, inner) to the reduced runs, from the last to the first.
  template <class Step> Tensor reduce(Step&& step) const {
    Tensor data = data_;
    int64_t outer = data.numel(), inner = 1;
    if (reduced_runs() == 0) return restore(step(data, outer, 1, 1));
    for (int run = sizes_.size() - 1; run >= 0; --run) {
      outer /= sizes_[run];
      if (reduced_[run]) data = step(data, outer, sizes_[run], inner);
      else inner *= sizes_[run];
    }
    return restore(data);
  }

  // From the order of memory back to the order of the axes.
  Tensor restore(const Tensor& flat) const {
    Dims back;
    for (int d = 0; d < kMaxDims; ++d)
      for (int i = 0; i < kept_axes_.size(); ++i)
        if (kept_axes_[i] == d) back.push_back(i);
    return contiguous(flat.view_as_shape(kept_).permute(back)).view_as_shape(shape_);
  }

 private:
  Tensor data_;
  Dims shape_, kept_, kept_axes_, sizes_, reduced_;
};

// What differs between the reductions; `kernel` is the name in the kernel table.
struct Sum {
  static constexpr const char *name = "sum", *kernel = "sum";
  static constexpr bool floating_only = false, widens = true, has_empty = true;
  static constexpr double empty = 0;
};
struct Prod : Sum {
  static constexpr const char *name = "prod", *kernel = "prod";
  static constexpr double empty = 1;
};
struct Mean : Sum {
  static constexpr const char *name = "mean", *kernel = "mean";
  static constexpr bool floating_only = true;
  static constexpr double empty = std::numeric_limits<double>::quiet_NaN();
};
struct Norm1 : Sum {
  static constexpr const char *name = "norm", *kernel = "norm1";
  static constexpr bool floating_only = true;
};
struct Norm2 : Norm1 { static constexpr const char *name = "norm", *kernel = "norm2"; };
struct Max : Sum {
  static constexpr const char *name = "amax", *kernel = "max";
  static constexpr bool widens = false, has_empty = false;
};
struct Min : Max { static constexpr const char *name = "amin", *kernel = "min"; };

struct Any : Sum {
  static constexpr const char *name = "any", *kernel = "max";
  static constexpr bool widens = false;
};
struct All : Any {
  static constexpr const char *name = "all", *kernel = "min";
  static constexpr double empty = 1;
};

Tensor filled(const Dims& shape, DType dtype, double value) {
  Tensor number;
  {
    const DeviceScope host(Device::cpu);
    const Tensor scalar = Tensor::empty({}, DType::float64);
    *scalar.data<double>() = value;
    number = cast(scalar, dtype);
  }
  return full(to_device(number, running_on), shape);
}

template <class Op, class T, class Y> Tensor step(const Tensor& x, int64_t outer, int64_t n, int64_t inner) {
  static const Kernel<reduce_fn<T, Y>> kernel{cat(Op::kernel, "/", name(dtype_of<T>())).c_str()};
  using W = typename PartialOf<Y>::type;
  const Tensor y = Tensor::empty({outer, inner}, dtype_of<Y>());
  const Tensor workspace = Tensor::empty({reduce_workspace(outer, n, inner)}, dtype_of<W>());
  launch(x.numel(), [&] { kernel(x.data<T>(), y.data<Y>(), outer, n, inner, workspace.data<W>()); });
  return y;
}

template <class Op, class T> Tensor typed_step(Type<T>, const Tensor& x, int64_t outer, int64_t n, int64_t inner) {
  if constexpr (!std::is_integral_v<T>) return step<Op, T, T>(x, outer, n, inner);
  else if constexpr (Op::floating_only) return {};
  else return step<Op, T, std::conditional_t<Op::widens, int64_t, T>>(x, outer, n, inner);
}

template <class Op> Tensor reduce(const Tensor& x, const std::optional<Dims>& dims, bool keepdim) {
  if (Op::floating_only) check_floating(x, Op::name);
  const Axes axes = chosen_axes(x, dims, Op::name);
  const DType dtype = Op::widens && !is_floating(x.dtype()) ? DType::int64 : x.dtype();
  if (x.numel() == 0) {
    const Dims shape = output_shape(x, axes, keepdim);
    DL_CHECK(Op::has_empty || axes.count > 0, "[", Op::name,
             "] expected at least one element to choose from, got shape ", x.shape(),
             dims ? cat(" with dim ", *dims) : "");
    return filled(shape, dtype, Op::empty);
  }
  if (axes.count == x.numel() && x.is_contiguous()) {  // everything, whatever the axes
    const auto all = [&](auto type) -> Tensor { return typed_step<Op>(type, x, 1, x.numel(), 1); };
    return visit(x.dtype(), all).view_as_shape(output_shape(x, axes, keepdim));
  }
  const Layout layout(x, axes, keepdim);
  if (x.dtype() == DType::bfloat16 && layout.reduced_runs() > 1)  // partial results must not be rounded to bfloat16
    return cast(reduce<Op>(cast(x, DType::float32), dims, keepdim), DType::bfloat16);
  return layout.reduce([&](const Tensor& data, int64_t outer, int64_t n, int64_t inner) -> Tensor {
    return visit(data.dtype(), [&](auto type) -> Tensor { return typed_step<Op>(type, data, outer, n, inner); });
  });
}

// The reduced axes moved to the end: (rows, n).
struct ReducedRows {
  Tensor data;
  int64_t rows, n;
};
ReducedRows reduced_rows(const Tensor& x, const Axes& axes) {
  Dims order;
  for (int wanted = 0; wanted < 2; ++wanted)
    for (int d = 0; d < x.ndim(); ++d)
      if (axes.reduced[d] == (wanted == 1)) order.push_back(d);
  return {contiguous(x.permute(order)), x.numel() / std::max<int64_t>(axes.count, 1), axes.count};
}

Tensor var(const Tensor& x, const std::optional<Dims>& dims, double correction, bool keepdim) {
  check_floating(x, "var");
  const Axes axes = chosen_axes(x, dims, "var");
  const Dims shape = output_shape(x, axes, keepdim);
  if (x.numel() == 0) return filled(shape, x.dtype(), std::numeric_limits<double>::quiet_NaN());
  const ReducedRows in = reduced_rows(x, axes);
  const double divisor = std::max(0.0, static_cast<double>(in.n) - correction);
  const Tensor mean = Tensor::empty(shape, x.dtype()), y = Tensor::empty(shape, x.dtype());
  const Tensor workspace = Tensor::empty({2 * reduce_workspace(in.rows, in.n, 1)}, DType::float64);
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<moments_fn<T>> kernel{cat("moments/", name(dtype_of<T>())).c_str()};
    launch(x.numel(), [&] {
      kernel(in.data.data<T>(), mean.data<T>(), y.data<T>(), in.rows, in.n, divisor, workspace.data<double>());
    });
  });
  return y;
}

Tensor logsumexp(const Tensor& x, const std::optional<Dims>& dims, bool keepdim) {
  check_floating(x, "logsumexp");
  const Axes axes = chosen_axes(x, dims, "logsumexp");
  const Tensor y = Tensor::empty(output_shape(x, axes, keepdim), x.dtype());
  if (x.numel() == 0) return filled(y.shape(), x.dtype(), -std::numeric_limits<double>::infinity());
  const ReducedRows in = reduced_rows(x, axes);
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<logsumexp_fn<T>> kernel{cat("logsumexp/", name(dtype_of<T>())).c_str()};
    launch(8 * x.numel(), [&] { kernel(in.data.data<T>(), y.data<T>(), in.rows, in.n); });
  });
  return y;
}

// Of all elements, what the first few decide is not read to the end.
template <class Op, bool kDecisive> Tensor truth(const Tensor& x, const std::optional<Dims>& dim, bool keepdim) {
  if (!dim && x.is_contiguous() && running_on == Device::cpu) {  // to look from the CPU takes longer than to reduce
    const Tensor flat = x.view_as_shape({x.numel()});
    for (int64_t look = 4096; look <= 1 << 18 && 4 * look < x.numel(); look *= 64) {
      const Tensor found = reduce<Op>(cast(flat.slice(0, 0, look, 1), DType::boolean), std::nullopt, false);
      if (*found.data<bool>() == kDecisive) return keepdim ? found.view_as_shape(Dims(x.ndim(), 1)) : found;
    }
  }
  return reduce<Op>(cast(x, DType::boolean), dim, keepdim);
}

// (values, indices) of the largest or smallest element along one axis.
template <bool kMax>
std::pair<Tensor, Tensor> extreme_along(const Tensor& x, int64_t dim, bool keepdim, const char* op) {
  const Axes axes = chosen_axes(x, Dims{dim}, op);
  DL_CHECK(axes.count > 0, "[", op, "] expected at least one element to choose from, got shape ", x.shape(),
           " with dim ", dim);
  if (x.numel() == 0) {
    const Dims shape = output_shape(x, axes, keepdim);
    return {Tensor::empty(shape, x.dtype()), Tensor::empty(shape, DType::int64)};
  }
  DL_CHECK(axes.count < (int64_t{1} << 31), "[", op, "] expected fewer than 2^31 elements along an axis, got shape ",
           x.shape());
  const Layout layout(x, axes, keepdim);
  Tensor values;
  const Tensor indices = layout.reduce([&](const Tensor& data, int64_t outer, int64_t n, int64_t inner) {
    values = Tensor::empty({outer, inner}, x.dtype());
    const Tensor index = Tensor::empty({outer, inner}, DType::int64);
    const Tensor workspace = Tensor::empty({reduce_workspace(outer, n, inner)}, DType::int64);
    visit(x.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      static const Kernel<arg_reduce_fn<T>> kernel{cat(kMax ? "argmax/" : "argmin/", name(dtype_of<T>())).c_str()};
      launch(x.numel(), [&] {
        kernel(data.data<T>(), values.data<T>(), index.data<int64_t>(), outer, n, inner, workspace.data<int64_t>());
      });
    });
    return index;
  });
  return {layout.restore(values), indices};
}

template <bool kMax> Tensor arg_extreme(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  const char* op = kMax ? "argmax" : "argmin";
  if (dim) return extreme_along<kMax>(x, *dim, keepdim, op).second;
  DL_CHECK(x.numel() > 0, "[", op, "] expected at least one element to choose from, got shape ", x.shape());
  const Tensor index = extreme_along<kMax>(contiguous(x).view_as_shape({x.numel()}), 0, false, op).second;
  return keepdim ? index.view_as_shape(Dims(x.ndim(), 1)) : index;
}

Tensor cumsum(const Tensor& x, int64_t dim, bool reverse) {
  if (x.ndim() == 0) return cumsum(x.view_as_shape({1}), dim, reverse).view_as_shape({});
  const int axis = normalize_axis(dim, x.ndim(), x.shape(), "cumsum");
  const Tensor data = contiguous(x);
  const Tensor y = Tensor::empty(x.shape(), is_floating(x.dtype()) ? x.dtype() : DType::int64);
  if (x.numel() == 0) return y;
  int64_t outer = 1, inner = 1;
  for (int d = 0; d < axis; ++d) outer *= x.shape()[d];
  for (int d = axis + 1; d < x.ndim(); ++d) inner *= x.shape()[d];
  const Tensor workspace = Tensor::empty({reduce_workspace(outer, x.shape()[axis], 1)}, DType::float64);
  visit(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using Y = std::conditional_t<std::is_integral_v<T>, int64_t, T>;
    static const Kernel<cumsum_fn<T, Y>> kernel{cat("cumsum/", name(dtype_of<T>())).c_str()};
    launch(x.numel(), [&] {
      kernel(data.data<T>(), y.data<Y>(), outer, x.shape()[axis], inner, reverse, workspace.data<double>());
    });
  });
  return y;
}

}  // namespace
}  // namespace dl

DL_BIND(reduce) {
  using namespace dl;
  auto bind = [&](const char* name, Tensor (*f)(const Tensor&, const std::optional<Dims>&, bool), const char* doc) {
    m.def(any_device, name, f, py::arg("x"), py::arg("dim") = py::none(), py::arg("keepdim") = false, doc);
  };
  bind("sum", &reduce<Sum>, "Sum over axes (None: all); integers and bool add up in int64.");
  bind("prod", &reduce<Prod>, "Product over axes; integers and bool multiply in int64.");
  bind("mean", &reduce<Mean>, "Mean over axes.");
  bind("amax", &reduce<Max>, "Largest element over axes; NaN where there is one.");
  bind("amin", &reduce<Min>, "Smallest element over axes; NaN where there is one.");
  bind("norm1", &reduce<Norm1>, "Sum of magnitudes over axes.");
  bind("norm2", &reduce<Norm2>, "Root of the sum of squares over axes.");
  bind("logsumexp", &logsumexp, "Logarithm of the sum of exponentials over axes.");
  bind("any", &truth<Any, true>, "Whether any element over axes is not zero.");
  bind("all", &truth<All, false>, "Whether all elements over axes are not zero.");
  m.def(any_device, "var", &var, py::arg("x"), py::arg("dim"), py::arg("correction"), py::arg("keepdim"),
        "Variance over axes.");
  m.def(
      any_device, "max_along",
      [](const Tensor& x, int64_t dim, bool keepdim) { return extreme_along<true>(x, dim, keepdim, "max"); },
      py::arg("x"), py::arg("dim"), py::arg("keepdim"), "Largest elements along an axis and their indices.");
  m.def(
      any_device, "min_along",
      [](const Tensor& x, int64_t dim, bool keepdim) { return extreme_along<false>(x, dim, keepdim, "min"); },
      py::arg("x"), py::arg("dim"), py::arg("keepdim"), "Smallest elements along an axis and their indices.");
  m.def(any_device, "argmax", &arg_extreme<true>, py::arg("x"), py::arg("dim"), py::arg("keepdim"),
        "Index of the largest element; None: in the flattened tensor.");
  m.def(any_device, "argmin", &arg_extreme<false>, py::arg("x"), py::arg("dim"), py::arg("keepdim"),
        "Index of the smallest element; None: in the flattened tensor.");
  m.def(any_device, "cumsum", &cumsum, py::arg("x"), py::arg("dim"), py::arg("reverse"),
        "Running sums along an axis, from its end in reverse; integers and bool add up in int64.");
}
