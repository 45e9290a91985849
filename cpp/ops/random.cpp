#include "kernels/random/random.h"

#include <cmath>
#include <limits>

#include "core/random.h"
#include "ops/common.h"

namespace dl {
namespace {

// Chooses the kernel of a floating dtype: with_float(t, [&](auto type) { using T = ...; }).
template <class Body> void with_float(DType t, Body&& body) {
  if (t == DType::float32) body(Type<float>{});
  else if (t == DType::bfloat16) body(Type<bfloat16>{});
  else body(Type<double>{});
}

// Lets `fill` write y's elements in row-major order, through a temporary where y is not contiguous.
template <class Fill> void fill_in_place(const Tensor& y, const char* op, Fill&& fill) {
  mark_written(y, op);
  if (y.numel() == 0) return;
  if (y.is_contiguous()) return fill(y);
  const Tensor t = Tensor::empty(y.shape(), y.dtype());
  fill(t);
  copy_into(t, y);
}

// The largest value of the dtype under `high`.
double last_before(double high, DType t) {
  if (t == DType::float64) return std::nextafter(high, -std::numeric_limits<double>::infinity());
  float f = static_cast<float>(high);
  if (t == DType::float32) return f < high ? f : std::nextafter(f, -std::numeric_limits<float>::infinity());
  bfloat16 h = to_bfloat16(f);
  while (to_float(h) >= high) {
    // One step down in bfloat16: towards zero for positive numbers, away from it for negative ones.
    if (h.bits == 0) h.bits = 0x8001;
    else h.bits += h.bits & 0x8000 ? 1 : -1;
  }
  return to_float(h);
}

void random_uniform(const Tensor& y, double low, double high, uint64_t seed, uint64_t stream) {
  check_floating(y, "uniform_");
  DL_CHECK(std::isfinite(low) && std::isfinite(high) && low <= high && std::isfinite(high - low),
           "[uniform_] expected finite low <= high, got low=", low, " and high=", high);
  fill_in_place(y, "uniform_", [&](const Tensor& t) {
    with_float(t.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      static const Kernel<random_uniform_fn<T>> kernel{cat("random_uniform/", name(dtype_of<T>())).c_str()};
      const double most = low == high ? low : last_before(high, t.dtype());
      launch(t.numel() * 2, [&] { kernel(t.data<T>(), t.numel(), seed, stream, low, high - low, most); });
    });
  });
}

void random_normal(const Tensor& y, double mean, double std, uint64_t seed, uint64_t stream) {
  check_floating(y, "normal_");
  DL_CHECK(std >= 0, "[normal_] expected std >= 0, got ", std);
  fill_in_place(y, "normal_", [&](const Tensor& t) {
    with_float(t.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      static const Kernel<random_normal_fn<T>> kernel{cat("random_normal/", name(dtype_of<T>())).c_str()};
      launch(t.numel() * 4, [&] { kernel(t.data<T>(), t.numel(), seed, stream, mean, std); });
    });
  });
}

Tensor random_integers(const Dims& shape, int64_t low, int64_t high, uint64_t seed, uint64_t stream, Device device) {
  const DeviceScope scope(device);
  DL_CHECK(low < high, "[randint] expected low < high, got low=", low, " and high=", high);
  const Tensor y = Tensor::empty(shape, DType::int64);
  static const Kernel<random_integers_fn> kernel{"random_integers"};
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  if (y.numel() > 0) launch(y.numel() * 2, [&] { kernel(y.data<int64_t>(), y.numel(), seed, stream, low, range); });
  return y;
}

Tensor random_permutation(int64_t n, uint64_t seed, uint64_t stream) {
  DL_CHECK(n >= 0, "[randperm] expected n >= 0, got ", n);
  const Tensor y = Tensor::empty({n}, DType::int64);
  static const Kernel<random_permutation_fn> kernel{"random_permutation"};
  launch(n * 4, [&] { kernel(y.data<int64_t>(), n, seed, stream); });
  return y;
}

template <class T> double widen(T v) { return v; }
double widen(bfloat16 v) { return to_float(v); }

template <class T> void check_probabilities(const Tensor& on_host) {
  const DeviceScope host(Device::cpu);
  const T* p = on_host.data<T>();
  for (int64_t i = 0; i < on_host.numel(); ++i) {
    const double v = widen(p[i]);
    DL_CHECK(v >= 0 && v <= 1, "[bernoulli] expected probabilities in [0, 1], got ", v, " at flat index ", i);
  }
}

Tensor random_bernoulli(const Tensor& p, uint64_t seed, uint64_t stream) {
  check_floating(p, "bernoulli");
  const Tensor x = contiguous(p), y = Tensor::empty(p.shape(), p.dtype());
  if (x.numel() == 0) return y;
  with_float(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<random_bernoulli_fn<T>> kernel{cat("random_bernoulli/", name(dtype_of<T>())).c_str()};
    const Tensor on_host = to_device(x, Device::cpu);
    launch(x.numel() * 4, [&] {
      check_probabilities<T>(on_host);
      kernel(x.data<T>(), y.data<T>(), x.numel(), seed, stream);
    });
  });
  return y;
}

template <class T> void check_weights(const T* p, int64_t rows, int64_t cols, int64_t needed) {
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    int64_t positive = 0;
    for (int64_t c = 0; c < cols; ++c) {
      const double v = widen(p[r * cols + c]);
      DL_CHECK(v >= 0 && std::isfinite(v), "[multinomial] expected finite weights >= 0, got ", v, " in row ", r,
               ", column ", c);
      sum += v;
      positive += v > 0;
    }
    DL_CHECK(positive >= needed && std::isfinite(sum), "[multinomial] row ", r, " has ", positive,
             " positive weights, too few for ", needed, needed == 1 ? " sample" : " samples without replacement");
  }
}

Tensor random_multinomial(const Tensor& p, int64_t samples, bool replacement, uint64_t seed, uint64_t stream) {
  check_floating(p, "multinomial");
  DL_CHECK(p.ndim() == 1 || p.ndim() == 2, "[multinomial] expected weights (n,) or (rows, n), got shape ", p.shape());
  DL_CHECK(samples > 0, "[multinomial] expected num_samples > 0, got ", samples);
  const int64_t cols = p.size(-1), rows = p.ndim() == 2 ? p.size(0) : 1;
  DL_CHECK(cols > 0, "[multinomial] expected at least one category, got shape ", p.shape());
  DL_CHECK(replacement || samples <= cols, "[multinomial] cannot draw ", samples, " of ", cols,
           " categories without replacement; pass replacement=True");
  const Tensor x = contiguous(p), work = Tensor::empty({cols}, DType::float64),
               order = Tensor::empty({cols}, DType::int64);
  const Tensor y = Tensor::empty(p.ndim() == 2 ? Dims{rows, samples} : Dims{samples}, DType::int64);
  // One sample is the same draw either way, and cheaper with replacement.
  const bool replace = replacement || samples == 1;
  with_float(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<random_multinomial_fn<T>> kernel{cat("random_multinomial/", name(dtype_of<T>())).c_str()};
    launch(x.numel() * 2, [&] {
      check_weights(x.data<T>(), rows, cols, replace ? 1 : samples);
      kernel(x.data<T>(), y.data<int64_t>(), rows, cols, samples, replace, seed, stream, work.data<double>(),
             order.data<int64_t>());
    });
  });
  return y;
}

Tensor dropout(const Tensor& x, double p, uint64_t seed, uint64_t stream) {
  check_floating(x, "dropout");
  DL_CHECK(p >= 0 && p <= 1, "[dropout] expected a probability p in [0, 1], got ", p);
  if (p == 1) return Tensor::zeros(x.shape(), x.dtype());
  const Tensor c = contiguous(x), y = Tensor::empty(x.shape(), x.dtype());
  if (x.numel() == 0) return y;
  const uint32_t threshold = dropout_threshold(p);
  with_float(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<dropout_fn<T>> kernel{cat("dropout/", name(dtype_of<T>())).c_str()};
    launch(x.numel() * 2, [&] { kernel(c.data<T>(), y.data<T>(), c.numel(), seed, stream, threshold, 1 / (1 - p)); });
  });
  return y;
}

Tensor random_bits(int64_t n, uint64_t seed, uint64_t stream) {
  DL_CHECK(n >= 0, "[random_bits] expected n >= 0, got ", n);
  const Tensor y = Tensor::empty({n}, DType::int32);
  static const Kernel<random_bits_fn> kernel{"random_bits"};
  if (n > 0) launch(n * 2, [&] { kernel(static_cast<uint32_t*>(y.raw()), n, seed, stream); });
  return y;
}

}  // namespace
}  // namespace dl

DL_BIND(random) {
  using namespace dl;
  m.def(any_device, "random_uniform", &random_uniform, py::arg("y"), py::arg("low"), py::arg("high"), py::arg("seed"),
        py::arg("stream"), "Fills y with uniform numbers in [low, high).");
  m.def(any_device, "random_normal", &random_normal, py::arg("y"), py::arg("mean"), py::arg("std"), py::arg("seed"),
        py::arg("stream"), "Fills y with normal numbers.");
  m.def("random_integers", &random_integers, py::arg("shape"), py::arg("low"), py::arg("high"), py::arg("seed"),
        py::arg("stream"), py::arg("device") = Device::cpu, "int64 numbers in [low, high).");
  m.def("random_permutation", &random_permutation, py::arg("n"), py::arg("seed"), py::arg("stream"),
        "0 … n-1 in random order.");
  m.def(any_device, "random_bernoulli", &random_bernoulli, py::arg("p"), py::arg("seed"), py::arg("stream"),
        "1 with probability p, else 0.");
  m.def("random_multinomial", &random_multinomial, py::arg("p"), py::arg("samples"), py::arg("replacement"),
        py::arg("seed"), py::arg("stream"), "Column indices drawn by the weights of each row.");
  m.def(any_device, "dropout", &dl::dropout, py::arg("x"), py::arg("p"), py::arg("seed"), py::arg("stream"),
        "x with elements set to zero with probability p, the rest scaled by 1 / (1 - p).");
  m.def("random_bits", &random_bits, py::arg("n"), py::arg("seed"), py::arg("stream"), "The stream's words, as int32.");
}
