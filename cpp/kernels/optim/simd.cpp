// All of it is bound by memory: each element is read once, updated in registers and written once.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/optim/optim.h"
#include "simd/vec.h"

namespace dl {
namespace {

constexpr double kInfinity = __builtin_inf();

// Calls body(tensor, begin, end) for every block of every tensor.
template <class Tensor, class Body> void for_each_block(const Tensor* tensors, int64_t count, const Body& body) {
  if (count == 0) return;
  const int64_t blocks = tensors[count - 1].first_block + optim_blocks(tensors[count - 1].n);
  parallel_for(blocks, 1, [&](int64_t first, int64_t last) {
    int64_t low = 0, high = count;  // the last tensor that begins at or before block `first`
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (tensors[middle].first_block <= first ? low : high) = middle;
    }
    for (int64_t b = first; b < last; ++b) {
      while (b >= tensors[low].first_block + optim_blocks(tensors[low].n)) ++low;
      const Tensor& t = tensors[low];
      const int64_t begin = (b - t.first_block) * kOptimBlock;
      body(t, begin, t.n - begin < kOptimBlock ? t.n : begin + kOptimBlock);
    }
  });
}

template <class T> DL_INLINE Vec load_up_to(const T* p, int64_t n) { return n >= Vec::size ? load(p) : load(p, n); }
template <class T> DL_INLINE void store_up_to(T* p, Vec v, int64_t n) {
  if (n >= Vec::size) store(p, v);
  else store(p, v, n);
}
DL_INLINE Vec constant(double x) { return broadcast(static_cast<float>(x)); }

template <class T> void adam(const AdamTensor<T>* tensors, int64_t count, const AdamOptions* o) {
  const Vec decay = constant(o->decay), l2 = constant(o->l2), scale = constant(o->scale), eps = constant(o->eps);
  const Vec beta1 = constant(o->beta1), rate1 = constant(1 - o->beta1), beta2 = constant(o->beta2),
            rate2 = constant(1 - o->beta2);
  for_each_block(tensors, count, [=](const AdamTensor<T>& t, int64_t begin, int64_t end) {
    const Vec step_size = constant(t.step_size), root_bias2 = constant(t.root_bias2);
    for (int64_t i = begin; i < end; i += Vec::size) {
      const int64_t left = end - i;
      const Vec w = load_up_to(t.w + i, left) * decay;
      const Vec g = fma(l2, w, load_up_to(t.dw + i, left) * scale);
      const Vec m = fma(rate1, g, load_up_to(t.m + i, left) * beta1);
      Vec v = fma(rate2 * g, g, load_up_to(t.v + i, left) * beta2);
      store_up_to(t.m + i, m, left);
      store_up_to(t.v + i, v, left);
      if (t.v_max) {
        v = max(load_up_to(t.v_max + i, left), v);
        store_up_to(t.v_max + i, v, left);
      }
      store_up_to(t.w + i, fnma(step_size, m / (sqrt(v) / root_bias2 + eps), w), left);
    }
  });
}

template <class T> void sgd(const SgdTensor<T>* tensors, int64_t count, const SgdOptions* o) {
  const Vec lr = constant(o->lr), l2 = constant(o->l2), scale = constant(o->scale);
  const Vec momentum = constant(o->momentum), rate = constant(1 - o->dampening);
  const bool nesterov = o->nesterov;
  for_each_block(tensors, count, [=](const SgdTensor<T>& t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += Vec::size) {
      const int64_t left = end - i;
      const Vec w = load_up_to(t.w + i, left);
      Vec g = fma(l2, w, load_up_to(t.dw + i, left) * scale);
      if (t.m) {
        const Vec m = t.first ? g : fma(momentum, load_up_to(t.m + i, left), rate * g);
        store_up_to(t.m + i, m, left);
        g = nesterov ? fma(momentum, m, g) : m;
      }
      store_up_to(t.w + i, fnma(lr, g, w), left);
    }
  });
}

template <class T> void rmsprop(const RmspropTensor<T>* tensors, int64_t count, const RmspropOptions* o) {
  const Vec lr = constant(o->lr), l2 = constant(o->l2), scale = constant(o->scale), eps = constant(o->eps);
  const Vec alpha = constant(o->alpha), rest = constant(1 - o->alpha), momentum = constant(o->momentum);
  for_each_block(tensors, count, [=](const RmspropTensor<T>& t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += Vec::size) {
      const int64_t left = end - i;
      const Vec w = load_up_to(t.w + i, left);
      const Vec g = fma(l2, w, load_up_to(t.dw + i, left) * scale);
      const Vec v = fma(rest * g, g, load_up_to(t.v + i, left) * alpha);
      store_up_to(t.v + i, v, left);
      Vec spread = v;
      if (t.mean) {
        const Vec mean = fma(rest, g, load_up_to(t.mean + i, left) * alpha);
        store_up_to(t.mean + i, mean, left);
        spread = max(fnma(mean, mean, v), zero());
      }
      Vec step = g / (sqrt(spread) + eps);
      if (t.m) {
        step = fma(momentum, load_up_to(t.m + i, left), step);
        store_up_to(t.m + i, step, left);
      }
      store_up_to(t.w + i, fnma(lr, step, w), left);
    }
  });
}

template <class T> void adagrad(const AdagradTensor<T>* tensors, int64_t count, const AdagradOptions* o) {
  const Vec l2 = constant(o->l2), scale = constant(o->scale), eps = constant(o->eps);
  for_each_block(tensors, count, [=](const AdagradTensor<T>& t, int64_t begin, int64_t end) {
    const Vec rate = constant(t.rate);
    for (int64_t i = begin; i < end; i += Vec::size) {
      const int64_t left = end - i;
      const Vec w = load_up_to(t.w + i, left);
      const Vec g = fma(l2, w, load_up_to(t.dw + i, left) * scale);
      const Vec v = fma(g, g, load_up_to(t.v + i, left));
      store_up_to(t.v + i, v, left);
      store_up_to(t.w + i, fnma(rate, g / (sqrt(v) + eps), w), left);
    }
  });
}

DL_INLINE double sum_lanes(f64xh a) {
  double sum = 0;
  for (int l = 0; l < Vec::size / 2; ++l) sum += a[l];
  return sum;
}

template <class T> double block_norm(const T* x, int64_t n, double p) {
  if (p == 2) {
    f64xh lower{}, upper{};
    for (int64_t i = 0; i < n; i += Vec::size) {
      const Vec v = load_up_to(x + i, n - i);
      const f64xh a = lower_half(v), b = upper_half(v);
      lower += a * a;
      upper += b * b;
    }
    return sum_lanes(lower + upper);
  }
  if (p == kInfinity) {
    Vec largest = zero();
    for (int64_t i = 0; i < n; i += Vec::size) largest = max(largest, abs(load_up_to(x + i, n - i)));
    return static_cast<double>(reduce_max(largest));
  }
  double sum = 0;
  for (int64_t i = 0; i < n; i += Vec::size) {
    float lanes[Vec::size];
    store(lanes, abs(load_up_to(x + i, n - i)));
    for (int64_t l = 0; l < Vec::size && i + l < n; ++l) sum += p == 1 ? lanes[l] : __builtin_pow(lanes[l], p);
  }
  return sum;
}

template <class T> void norm_partials(const OptimTensor<T>* tensors, int64_t count, double p, double* partial) {
  for_each_block(tensors, count, [=](const OptimTensor<T>& t, int64_t begin, int64_t end) {
    partial[t.first_block + begin / kOptimBlock] = block_norm(t.x + begin, end - begin, p);
  });
}

template <class T> void scale_tensors(const OptimTensor<T>* tensors, int64_t count, double factor) {
  const Vec f = constant(factor);
  for_each_block(tensors, count, [=](const OptimTensor<T>& t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += Vec::size) store_up_to(t.x + i, load_up_to(t.x + i, end - i) * f, end - i);
  });
}

#define DL_OPTIM(T, t)                                                \
  DL_REGISTER("adam/" t, adam, adam_fn<T>)                            \
  DL_REGISTER("sgd/" t, sgd, sgd_fn<T>)                               \
  DL_REGISTER("rmsprop/" t, rmsprop, rmsprop_fn<T>)                   \
  DL_REGISTER("adagrad/" t, adagrad, adagrad_fn<T>)                   \
  DL_REGISTER("norm_partials/" t, norm_partials, norm_partials_fn<T>) \
  DL_REGISTER("scale_tensors/" t, scale_tensors, scale_tensors_fn<T>)

DL_OPTIM(float, "float32")
DL_OPTIM(bfloat16, "bfloat16")

}  // namespace
}  // namespace dl
