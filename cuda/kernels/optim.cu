// Optimisers: all tensors in as few launches as their table fits into kernel parameters; a block takes one block of
// kOptimBlock elements.
#include "kernels/optim/optim.h"

#include "cuda/core/rows.h"

namespace dl {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

// A part of the list, as a parameter of the kernel (4 KiB at most).
template <class Entry> struct Table {
  static constexpr int most = static_cast<int>(3072 / sizeof(Entry));
  Entry entries[most];
  int count;
  int64_t first_block;  // of the first entry
};

// visit(entry, index) for the elements of the calling thread, in double for double and float otherwise.
template <class Entry, class Visit> DL_DEVICE void over_block(const Table<Entry>& table, Visit visit) {
  const int64_t block = table.first_block + blockIdx.x;
  int e = 0;
  while (e + 1 < table.count && table.entries[e + 1].first_block <= block) ++e;
  const Entry& entry = table.entries[e];
  const int64_t begin = (block - entry.first_block) * kOptimBlock;
  const int64_t end = begin + kOptimBlock < entry.n ? begin + kOptimBlock : entry.n;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) visit(entry, i);
}

// run(table, blocks) for the list, part by part. Tensors without elements have no blocks.
template <class Entry, class Run> void in_tables(const Entry* entries, int64_t count, const Run& run) {
  Table<Entry> table{};
  int64_t blocks = 0;
  const auto flush = [&] {
    if (blocks > 0) run(table, static_cast<unsigned>(blocks));
    table.count = 0;
    blocks = 0;
  };
  for (int64_t i = 0; i < count; ++i) {
    if (entries[i].n == 0) continue;
    if (table.count == 0) table.first_block = entries[i].first_block;
    table.entries[table.count++] = entries[i];
    blocks += optim_blocks(entries[i].n);
    if (table.count == Table<Entry>::most) flush();
  }
  flush();
}

template <class T> __global__ void __launch_bounds__(kThreads) adam_kernel(Table<AdamTensor<T>> table, AdamOptions o) {
  using C = Moment<T>;
  const C decay = static_cast<C>(o.decay), l2 = static_cast<C>(o.l2), scale = static_cast<C>(o.scale);
  const C beta1 = static_cast<C>(o.beta1), beta2 = static_cast<C>(o.beta2), eps = static_cast<C>(o.eps);
  const C rest1 = static_cast<C>(1 - o.beta1), rest2 = static_cast<C>(1 - o.beta2);
  over_block(table, [&](const AdamTensor<T>& t, int64_t i) {
    const C w = static_cast<C>(widen(t.w[i])) * decay, g = scale * static_cast<C>(widen(t.dw[i])) + l2 * w;
    const C m = beta1 * t.m[i] + rest1 * g, v = beta2 * t.v[i] + rest2 * g * g;
    t.m[i] = m;
    t.v[i] = v;
    C largest = v;
    if (t.v_max) t.v_max[i] = largest = larger_or_nan(t.v_max[i], v);
    const C step = static_cast<C>(t.step_size), root = static_cast<C>(t.root_bias2);
    t.w[i] = narrow<T>(w - step * m / (sqrt(largest) / root + eps));
  });
}
template <class T> void adam(const AdamTensor<T>* tensors, int64_t count, const AdamOptions* o) {
  in_tables(tensors, count, [&](const auto& table, unsigned blocks) {
    Launch(blocks, kThreads, 0, "adam")(adam_kernel<T>, table, *o);
  });
}

template <class T> __global__ void __launch_bounds__(kThreads) sgd_kernel(Table<SgdTensor<T>> table, SgdOptions o) {
  using C = Moment<T>;
  const C lr = static_cast<C>(o.lr), momentum = static_cast<C>(o.momentum), rest = static_cast<C>(1 - o.dampening);
  const C l2 = static_cast<C>(o.l2), scale = static_cast<C>(o.scale);
  over_block(table, [&](const SgdTensor<T>& t, int64_t i) {
    const C w = static_cast<C>(widen(t.w[i]));
    C g = scale * static_cast<C>(widen(t.dw[i])) + l2 * w;
    if (t.m) {
      const C m = t.first ? g : momentum * t.m[i] + rest * g;
      t.m[i] = m;
      g = o.nesterov ? g + momentum * m : m;
    }
    t.w[i] = narrow<T>(w - lr * g);
  });
}
template <class T> void sgd(const SgdTensor<T>* tensors, int64_t count, const SgdOptions* o) {
  in_tables(tensors, count,
            [&](const auto& table, unsigned blocks) { Launch(blocks, kThreads, 0, "sgd")(sgd_kernel<T>, table, *o); });
}

template <class T> __global__ void __launch_bounds__(kThreads)
    adagrad_kernel(Table<AdagradTensor<T>> table, AdagradOptions o) {
  using C = Moment<T>;
  const C l2 = static_cast<C>(o.l2), scale = static_cast<C>(o.scale), eps = static_cast<C>(o.eps);
  over_block(table, [&](const AdagradTensor<T>& t, int64_t i) {
    const C w = static_cast<C>(widen(t.w[i])), g = scale * static_cast<C>(widen(t.dw[i])) + l2 * w, v = t.v[i] + g * g;
    t.v[i] = v;
    t.w[i] = narrow<T>(w - static_cast<C>(t.rate) * g / (sqrt(v) + eps));
  });
}
template <class T> void adagrad(const AdagradTensor<T>* tensors, int64_t count, const AdagradOptions* o) {
  in_tables(tensors, count, [&](const auto& table, unsigned blocks) {
    Launch(blocks, kThreads, 0, "adagrad")(adagrad_kernel<T>, table, *o);
  });
}

template <class T> __global__ void __launch_bounds__(kThreads)
    norm_kernel(Table<OptimTensor<T>> table, double p, bool is_max, double* partial) {
  DL_SHARED(double, room, kThreads / kWarp);
  double own = 0;
  over_block(table, [&](const OptimTensor<T>& t, int64_t i) {
    const double v = fabs(static_cast<double>(widen(t.x[i])));
    if (is_max) own = larger_or_nan(own, v);
    else own += p == 2 ? v * v : p == 1 ? v : pow(v, p);
  });
  const double all = is_max ? block_max<kThreads>(own, room) : block_sum<kThreads>(own, room);
  if (threadIdx.x == 0) partial[table.first_block + blockIdx.x] = all;
}
template <class T> void norm_partials(const OptimTensor<T>* tensors, int64_t count, double p, double* partial) {
  const bool is_max = p == std::numeric_limits<double>::infinity();
  in_tables(tensors, count, [&](const auto& table, unsigned blocks) {
    Launch(blocks, kThreads, 0, "norm_partials")(norm_kernel<T>, table, p, is_max, partial);
  });
}

template <class T> __global__ void __launch_bounds__(kThreads)
    scale_kernel(Table<OptimTensor<T>> table, double factor) {
  using C = Moment<T>;
  over_block(table, [&](const OptimTensor<T>& t, int64_t i) {
    t.x[i] = narrow<T>(static_cast<C>(widen(t.x[i])) * static_cast<C>(factor));
  });
}
template <class T> void scale_tensors(const OptimTensor<T>* tensors, int64_t count, double factor) {
  in_tables(tensors, count, [&](const auto& table, unsigned blocks) {
    Launch(blocks, kThreads, 0, "scale_tensors")(scale_kernel<T>, table, factor);
  });
}

#define DL_OPTIM(T, t)                                                \
  DL_REGISTER("adam/" t, adam, adam_fn<T>)                            \
  DL_REGISTER("sgd/" t, sgd, sgd_fn<T>)                               \
  DL_REGISTER("adagrad/" t, adagrad, adagrad_fn<T>)                   \
  DL_REGISTER("norm_partials/" t, norm_partials, norm_partials_fn<T>) \
  DL_REGISTER("scale_tensors/" t, scale_tensors, scale_tensors_fn<T>)

DL_OPTIM(float, "float32")
DL_OPTIM(bfloat16, "bfloat16")
DL_OPTIM(double, "float64")

}  // namespace
}  // namespace dl
