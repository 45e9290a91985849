#include "kernels/optim/optim.h"

#include <deque>

#include "kernel_test.h"

namespace dl::test {
namespace {

// Several tensors a call: empty ones, some under a vector, some over several blocks.
const std::vector<int64_t> kSizes = {7, 0, kOptimBlock, 1, 0, 2 * kOptimBlock + 33, 130};

template <class T> using Buffers = std::deque<GuardedBuffer<T>>;

template <class T> void allocate(Buffers<T>& buffers, double low, double high, uint64_t seed) {
  for (int64_t n : kSizes) buffers.emplace_back(n, 1).randomise(low, high, seed++);
}

// Gives each entry its first block.
template <class Entry> void number_blocks(std::vector<Entry>& entries) {
  int64_t blocks = 0;
  for (Entry& e : entries) {
    e.first_block = blocks;
    blocks += optim_blocks(e.n);
  }
}

template <class T>
void expect_close_each(const Buffers<T>& actual, const Buffers<T>& expected, double units, double least) {
  for (size_t i = 0; i < actual.size(); ++i)
    expect_close(actual[i], expected[i], units, [&](int64_t k) { return std::abs(as_double(expected[i][k])) + least; });
}

template <class T> struct AdamState {
  Buffers<T> w, dw;
  Buffers<Moment<T>> m, v, v_max;

  explicit AdamState(bool amsgrad) {
    allocate(w, -1, 1, 1);
    allocate(dw, -1, 1, 20);
    allocate(m, -1, 1, 40);
    allocate(v, 0.01, 1, 60);  // so that no update is larger than 0.5
    allocate(v_max, 0, 1, 80);
    for (size_t i = 0; i < kSizes.size(); ++i)
      entries.push_back({w[i].data(), dw[i].data(), m[i].data(), v[i].data(), amsgrad ? v_max[i].data() : nullptr,
                         kSizes[i], 0, 0.01 * static_cast<double>(i + 1), 0.5});
    number_blocks(entries);
  }
  std::vector<AdamTensor<T>> entries;
};

template <class T> void check_adam(const char* name) {
  using Fn = adam_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (const AdamOptions& o : {AdamOptions{1, 0.1, 0.9, 0.99, 1e-8, 1}, AdamOptions{0.99, 0, 0.8, 0.9, 1e-3, -0.37}})
      for (bool amsgrad : {false, true}) {
        AdamState<T> actual(amsgrad), expected(amsgrad);
        kernel(actual.entries.data(), static_cast<int64_t>(kSizes.size()), &o);
        reference(expected.entries.data(), static_cast<int64_t>(kSizes.size()), &o);
        expect_close_each(actual.w, expected.w, 4, 0.5);
        expect_close_each(actual.m, expected.m, 4, 1);
        expect_close_each(actual.v, expected.v, 4, 0);
        expect_close_each(actual.v_max, expected.v_max, 4, 0);
      }
  });
}

TEST(Optim, Adam) {
  check_adam<float>("adam/float32");
  check_adam<bfloat16>("adam/bfloat16");
  check_adam<double>("adam/float64");
}

template <class T> struct SgdState {
  Buffers<T> w, dw;
  Buffers<Moment<T>> m;

  explicit SgdState(bool momentum) {
    allocate(w, -1, 1, 1);
    allocate(dw, -1, 1, 20);
    allocate(m, -1, 1, 40);
    for (size_t i = 0; i < kSizes.size(); ++i)
      entries.push_back({w[i].data(), dw[i].data(), momentum ? m[i].data() : nullptr, kSizes[i], 0, i % 2 == 0});
    number_blocks(entries);
  }
  std::vector<SgdTensor<T>> entries;
};

template <class T> void check_sgd(const char* name) {
  using Fn = sgd_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (const SgdOptions& o : {SgdOptions{0.1, 0.9, 0.2, 0.1, false, 0.37}, SgdOptions{0.1, 0.9, 0, 0, true, -1}})
      for (bool momentum : {false, true}) {
        SgdState<T> actual(momentum), expected(momentum);
        kernel(actual.entries.data(), static_cast<int64_t>(kSizes.size()), &o);
        reference(expected.entries.data(), static_cast<int64_t>(kSizes.size()), &o);
        expect_close_each(actual.w, expected.w, 4, 0.2);
        expect_close_each(actual.m, expected.m, 4, 1);
      }
  });
}

TEST(Optim, Sgd) {
  check_sgd<float>("sgd/float32");
  check_sgd<bfloat16>("sgd/bfloat16");
  check_sgd<double>("sgd/float64");
}

template <class T> struct AdaptiveState {
  Buffers<T> w, dw;
  Buffers<Moment<T>> v, mean, m;

  AdaptiveState() {
    allocate(w, -1, 1, 1);
    allocate(dw, -1, 1, 20);
    allocate(v, 0.3, 1, 40);  // well over the square of a mean
    allocate(mean, -0.4, 0.4, 60);
    allocate(m, -1, 1, 80);
  }
};

template <class T> void check_rmsprop(const char* name) {
  using Fn = rmsprop_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    const RmspropOptions o{0.1, 0.9, 1e-8, 0.1, 0.8, -0.37};
    for (bool centered : {false, true})
      for (bool momentum : {false, true}) {
        AdaptiveState<T> actual, expected;
        for (auto [run, s] : {std::pair{kernel, &actual}, {reference, &expected}}) {
          std::vector<RmspropTensor<T>> entries;
          for (size_t i = 0; i < kSizes.size(); ++i)
            entries.push_back({s->w[i].data(), s->dw[i].data(), s->v[i].data(), centered ? s->mean[i].data() : nullptr,
                               momentum ? s->m[i].data() : nullptr, kSizes[i], 0});
          number_blocks(entries);
          run(entries.data(), static_cast<int64_t>(kSizes.size()), &o);
        }
        expect_close_each(actual.w, expected.w, 4, 0.5);
        expect_close_each(actual.v, expected.v, 4, 0);
        expect_close_each(actual.mean, expected.mean, 4, 0.5);
        expect_close_each(actual.m, expected.m, 8, 2);
      }
  });
}

template <class T> void check_adagrad(const char* name) {
  using Fn = adagrad_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    const AdagradOptions o{1e-10, 0.1, -0.37};
    AdaptiveState<T> actual, expected;
    for (auto [run, s] : {std::pair{kernel, &actual}, {reference, &expected}}) {
      std::vector<AdagradTensor<T>> entries;
      for (size_t i = 0; i < kSizes.size(); ++i)
        entries.push_back(
            {s->w[i].data(), s->dw[i].data(), s->v[i].data(), kSizes[i], 0, 0.01 * static_cast<double>(i + 1)});
      number_blocks(entries);
      run(entries.data(), static_cast<int64_t>(kSizes.size()), &o);
    }
    expect_close_each(actual.w, expected.w, 4, 0.1);
    expect_close_each(actual.v, expected.v, 4, 0);
  });
}

TEST(Optim, Rmsprop) {
  check_rmsprop<float>("rmsprop/float32");
  check_rmsprop<bfloat16>("rmsprop/bfloat16");
  check_rmsprop<double>("rmsprop/float64");
}

TEST(Optim, Adagrad) {
  check_adagrad<float>("adagrad/float32");
  check_adagrad<bfloat16>("adagrad/bfloat16");
  check_adagrad<double>("adagrad/float64");
}

template <class T> std::vector<OptimTensor<T>> entries_of(Buffers<T>& x) {
  std::vector<OptimTensor<T>> entries;
  for (GuardedBuffer<T>& b : x) entries.push_back({b.data(), b.size(), 0});
  number_blocks(entries);
  return entries;
}

template <class T> void check_norm(const char* name) {
  using Fn = norm_partials_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    Buffers<T> x;
    allocate(x, -2, 2, 1);
    const std::vector<OptimTensor<T>> entries = entries_of(x);
    const int64_t count = static_cast<int64_t>(kSizes.size());
    const int64_t blocks = entries.back().first_block + optim_blocks(entries.back().n);
    for (double p : {1.0, 2.0, 2.5, static_cast<double>(INFINITY)}) {
      GuardedBuffer<double> partial(blocks), expected(blocks);
      kernel(entries.data(), count, p, partial.data());
      reference(entries.data(), count, p, expected.data());
      // Both sum at most kOptimBlock doubles, each in its own order.
      expect_close(partial, expected, 2.0 * kOptimBlock);
    }
    x[5][kOptimBlock + 5] = from_double<T>(NAN);  // in the second block of the sixth tensor
    GuardedBuffer<double> partial(blocks);
    kernel(entries.data(), count, INFINITY, partial.data());
    for (int64_t b = 0; b < blocks; ++b) EXPECT_EQ(std::isnan(partial[b]), b == entries[5].first_block + 1) << b;
  });
}

TEST(Optim, NormPartials) {
  check_norm<float>("norm_partials/float32");
  check_norm<bfloat16>("norm_partials/bfloat16");
  check_norm<double>("norm_partials/float64");
}

template <class T> void check_scale(const char* name) {
  using Fn = scale_tensors_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    Buffers<T> x, expected;
    allocate(x, -2, 2, 1);
    allocate(expected, -2, 2, 1);
    kernel(entries_of(x).data(), static_cast<int64_t>(kSizes.size()), 0.3);
    reference(entries_of(expected).data(), static_cast<int64_t>(kSizes.size()), 0.3);
    expect_close_each(x, expected, 2, 0);
  });
}

TEST(Optim, ScaleTensors) {
  check_scale<float>("scale_tensors/float32");
  check_scale<bfloat16>("scale_tensors/bfloat16");
  check_scale<double>("scale_tensors/float64");
}

}  // namespace
}  // namespace dl::test
