// Copies between layouts, and casts.
#include "kernels/copy/copy.h"

#include "cuda/core/map.h"
#include "kernels/copy/convert.h"
#include "kernels/elementwise/register.h"

namespace dl {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

template <class T> struct Same {
  DL_DEVICE T operator()(T v, int64_t) const { return v; }
};

// 32-bit division is several times as fast: nearly all tensors have fewer than 2^32 elements.
template <class Index, class T> __global__ void __launch_bounds__(kThreads)
    copy_strided_kernel(const T* x, T* y, CopyShape s, int64_t n) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kThreads) {
    Index left = static_cast<Index>(i);
    int64_t from = 0, to = 0;
    for (int d = s.ndim - 1; d >= 0; --d) {
      const Index size = static_cast<Index>(s.sizes[d]), at = left % size;
      left /= size;
      from += static_cast<int64_t>(at) * s.x_strides[d];
      to += static_cast<int64_t>(at) * s.y_strides[d];
    }
    y[to] = x[from];
  }
}

template <class T> void copy_strided(const T* x, T* y, const CopyShape* shape) {
  int64_t n = 1;
  for (int d = 0; d < shape->ndim; ++d) n *= shape->sizes[d];
  if (n == 0) return;
  if (shape->ndim == 1 && shape->x_strides[0] == 1 && shape->y_strides[0] == 1) return map(x, y, n, Same<T>{});
  const Launch launch(blocks_for(n, kThreads), kThreads);
  if (n <= int64_t{UINT32_MAX}) launch(copy_strided_kernel<uint32_t, T>, x, y, *shape, n);
  else launch(copy_strided_kernel<uint64_t, T>, x, y, *shape, n);
}

// By the rules of kernels/copy/convert.h, whose own code is for the host.
template <class S, class D> struct Convert {
  DL_DEVICE D operator()(S stored, int64_t) const {
    const auto v = widen(stored);
    using V = decltype(widen(stored));
    if constexpr (std::is_same_v<D, bool>) {
      return v != V(0);
    } else if constexpr (std::is_same_v<D, bfloat16>) {
      return narrow<bfloat16>(static_cast<float>(v));
    } else if constexpr (std::is_floating_point_v<V> && std::is_same_v<D, uint8_t>) {
      const V above = v > V(0) ? v : V(0);
      return static_cast<uint8_t>(static_cast<int32_t>(above < V(255) ? above : V(255)));
    } else if constexpr (std::is_floating_point_v<V> && std::is_integral_v<D>) {
      constexpr double low = IntegerRange<D>::low, high = IntegerRange<D>::high;
      constexpr D least = IntegerRange<D>::least, most = IntegerRange<D>::most;
      if (v != v) return 0;
      if (static_cast<double>(v) <= low) return least;
      if (static_cast<double>(v) >= high) return most;
      return static_cast<D>(v);
    } else {
      return static_cast<D>(v);
    }
  }
};

template <class S, class D> void cast(const S* x, D* y, int64_t n) { map(x, y, n, Convert<S, D>{}); }

template <class T> constexpr const char* kName = kDTypeName<T>;
template <> constexpr const char* kName<bool> = "bool";

template <class... T> struct Casts {
  template <class S, class D> static bool register_one() {
    char name[64];
    std::snprintf(name, sizeof name, "cast/%s/%s", kName<S>, kName<D>);
    const cast_fn<S, D> fn = cast<S, D>;
    return register_kernel(name, Target::cuda, reinterpret_cast<AnyFn>(fn));
  }
  template <class S> static bool register_from() { return (... & register_one<S, T>()); }
  static bool register_all() { return (... & register_from<T>()); }
};
[[maybe_unused]] const bool casts = Casts<float, bfloat16, double, int64_t, int32_t, uint8_t, bool>::register_all();

DL_REGISTER("copy_strided/1", copy_strided, copy_strided_fn<uint8_t>)
DL_REGISTER("copy_strided/2", copy_strided, copy_strided_fn<uint16_t>)
DL_REGISTER("copy_strided/4", copy_strided, copy_strided_fn<uint32_t>)
DL_REGISTER("copy_strided/8", copy_strided, copy_strided_fn<uint64_t>)

}  // namespace
}  // namespace dl
