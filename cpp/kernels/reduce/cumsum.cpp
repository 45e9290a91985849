// Running sums in double (floats) or int64. A long run is cut into chunks: their sums first, then each from its offset.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/reduce/reduce.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 32768;
constexpr int64_t kStrip = 512;  // columns whose running sums stay in L1

template <class T> struct Running { using type = uint64_t; };  // wraps without being undefined
template <> struct Running<float> { using type = double; };
template <> struct Running<bfloat16> { using type = double; };
template <> struct Running<double> { using type = double; };

template <class A, class T> A wide(T x) { return static_cast<A>(x); }
template <class A> A wide(bfloat16 x) { return to_float(x); }
template <class Y, class A> Y narrow(A a) {
  if constexpr (sizeof(Y) == 2) return to_bfloat16(static_cast<float>(a));
  else return static_cast<Y>(a);
}

template <class T, class Y, class A> void run(const T* x, Y* y, int64_t n, int64_t step, A a) {
  for (int64_t k = 0; k < n; ++k) {
    a += wide<A>(x[k * step]);
    y[k * step] = narrow<Y>(a);
  }
}

template <class T, class Y, class A> void columns(const T* x, Y* y, int64_t n, int64_t step, int64_t width) {
  A a[kStrip] = {};
  for (int64_t k = 0; k < n; ++k, x += step, y += step)
    for (int64_t c = 0; c < width; ++c) {
      a[c] += wide<A>(x[c]);
      y[c] = narrow<Y>(a[c]);
    }
}

template <class T, class Y>
void cumsum(const T* x, Y* y, int64_t outer, int64_t n, int64_t inner, bool reverse, double* workspace) {
  using A = typename Running<T>::type;
  static_assert(sizeof(A) == sizeof(double), "the workspace holds either");
  const int64_t step = reverse ? -inner : inner, first = reverse ? (n - 1) * inner : 0;
  if (inner > 1) {
    const int64_t strips = (inner + kStrip - 1) / kStrip;
    parallel_for(outer * strips, larger(1, kElementsPerBlock / (n * smaller(inner, kStrip))),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t u = begin; u < end; ++u) {
                     const int64_t at = u / strips * n * inner + first + u % strips * kStrip;
                     columns<T, Y, A>(x + at, y + at, n, step, smaller(kStrip, inner - u % strips * kStrip));
                   }
                 });
    return;
  }
  const int64_t chunks = plan_reduce(n, 1).chunks;
  auto* offset = reinterpret_cast<A*>(workspace);
  if (chunks > 1) {
    parallel_for(outer * chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) {
        const int64_t start = u % chunks * kReduceRun, count = smaller(kReduceRun, n - start);
        const T* from = x + u / chunks * n + first;
        A a[8] = {};
        int64_t k = 0;
        for (; k + 8 <= count; k += 8)
          for (int64_t j = 0; j < 8; ++j) a[j] += wide<A>(from[(start + k + j) * step]);
        for (; k < count; ++k) a[0] += wide<A>(from[(start + k) * step]);
        offset[u] = ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
      }
    });
    for (int64_t o = 0; o < outer; ++o) {
      A before = 0;
      for (int64_t c = 0; c < chunks; ++c) {
        const A sum = offset[o * chunks + c];
        offset[o * chunks + c] = before;
        before += sum;
      }
    }
  }
  parallel_for(outer * chunks, larger(1, kElementsPerBlock / n), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t start = u % chunks * kReduceRun, at = u / chunks * n + first + start * step;
      run<T, Y, A>(x + at, y + at, smaller(kReduceRun, n - start), step, chunks > 1 ? offset[u] : A{0});
    }
  });
}

#define DL_CUMSUM(T, Y, name) DL_REGISTER("cumsum/" name, cumsum, cumsum_fn<T, Y>)
DL_CUMSUM(float, float, "float32")
DL_CUMSUM(bfloat16, bfloat16, "bfloat16")
DL_CUMSUM(double, double, "float64")
DL_CUMSUM(int64_t, int64_t, "int64")
DL_CUMSUM(int32_t, int64_t, "int32")
DL_CUMSUM(uint8_t, int64_t, "uint8")
DL_CUMSUM(bool, int64_t, "bool")

}  // namespace
}  // namespace dl
