#include "kernels/linalg/linalg.h"

#include "ops/common.h"

namespace dl {
namespace {

void check_square(const Tensor& a, const char* op) {
  DL_CHECK(a.ndim() >= 2 && a.size(-1) == a.size(-2), "[", op, "] expected square matrices, got shape ", a.shape());
  DL_CHECK_TYPE(a.dtype() == DType::float32 || a.dtype() == DType::float64, "[", op,
                "] expected float32 or float64, got ", a.dtype(), " of shape ", a.shape());
}

template <class T> Tensor cholesky_of(const Tensor& a) {
  const Tensor l = Tensor::empty(a.shape(), a.dtype());
  const int64_t n = a.size(-1), batch = n ? a.numel() / (n * n) : 0;
  std::vector<int64_t> minors(static_cast<size_t>(batch));
  static const Kernel<cholesky_fn<T>> kernel{cat("cholesky/", name(dtype_of<T>())).c_str()};
  launch(batch * n * n * n / 6, [&] { kernel(a.data<T>(), l.data<T>(), batch, n, minors.data()); });
  for (int64_t b = 0; b < batch; ++b)
    DL_CHECK(minors[b] == 0, "[cholesky] expected a positive definite matrix, got one whose leading minor of order ",
             minors[b], " is not positive (", batch > 1 ? cat("matrix ", b, " of ", batch, ", ") : "", "shape ",
             a.shape(), ")");
  return l;
}

Tensor cholesky(const Tensor& a) {
  check_square(a, "cholesky");
  const Tensor source = contiguous(a);
  return a.dtype() == DType::float32 ? cholesky_of<float>(source) : cholesky_of<double>(source);
}

template <class T> Tensor solve(const Tensor& a, const Tensor& b, bool upper) {
  const Tensor x = Tensor::empty(b.shape(), b.dtype());
  const int64_t n = a.size(-1), m = b.size(-1), batch = n && m ? b.numel() / (n * m) : 0;
  if (batch == 0) return x;
  for (int64_t i = 0; i < batch * n && !planning(); ++i)
    DL_CHECK(a.data<T>()[i / n * n * n + i % n * (n + 1)] != 0,
             "[solve_triangular] expected a regular matrix, got a zero on the diagonal at (", i % n, ", ", i % n,
             ") of shape ", a.shape());
  static const Kernel<solve_triangular_fn<T>> kernel{cat("solve_triangular/", name(dtype_of<T>())).c_str()};
  launch(batch * n * n / 2 * m, [&] { kernel(a.data<T>(), b.data<T>(), x.data<T>(), batch, n, m, upper); });
  return x;
}

// Batch dimensions are equal here; Python broadcasts them.
Tensor solve_triangular(const Tensor& a, const Tensor& b, bool upper) {
  check_square(a, "solve_triangular");
  DL_CHECK_TYPE(a.dtype() == b.dtype(), "[solve_triangular] expected one dtype, got ", a.dtype(), " and ", b.dtype());
  DL_CHECK(b.ndim() == a.ndim() && b.size(-2) == a.size(-1), "[solve_triangular] expected right-hand sides of ",
           a.size(-1), " rows for a matrix of shape ", a.shape(), ", got shape ", b.shape());
  const Tensor matrix = contiguous(a), sides = contiguous(b);
  return a.dtype() == DType::float32 ? solve<float>(matrix, sides, upper) : solve<double>(matrix, sides, upper);
}

}  // namespace
}  // namespace dl

DL_BIND(linalg) {
  using namespace dl;
  m.def("cholesky", &dl::cholesky, py::arg("a"), "The lower triangular l with l @ l.T = a.");
  m.def("solve_triangular", &dl::solve_triangular, py::arg("a"), py::arg("b"), py::arg("upper"),
        "The x with a @ x = b, for triangular a.");
}
