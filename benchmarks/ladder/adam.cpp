// The way to the shipped Adam step: adam ROUNDS [PARAMETERS]
#include "benchmarks/ladder/ladder.h"
#include "kernels/optim/simd.cpp"  // the shipped kernel itself, not a copy

namespace {

constexpr float kBeta1 = 0.9f, kBeta2 = 0.999f, kEps = 1e-8f, kDecay = 1 - 1e-5f;
constexpr float kStep = 1e-3f / (1 - kBeta1), kRoot = 0.0316227766f;  // of the first step: sqrt(1 - beta2)

// 1. One loop for each expression, as array libraries do it, each result in an array of its own.
void arrays(int64_t n, float* w, const float* dw, float* m, float* v) {
  static std::vector<float> a, b;
  a.resize(static_cast<size_t>(n)), b.resize(static_cast<size_t>(n));
  const auto each = [n](float* to, auto value) {
    for (int64_t i = 0; i < n; ++i) to[i] = value(i);
  };
  each(w, [&](int64_t i) { return w[i] * kDecay; });
  each(m, [&](int64_t i) { return m[i] * kBeta1; });
  each(a.data(), [&](int64_t i) { return dw[i] * (1 - kBeta1); });
  each(m, [&](int64_t i) { return m[i] + a[i]; });
  each(v, [&](int64_t i) { return v[i] * kBeta2; });
  each(a.data(), [&](int64_t i) { return dw[i] * dw[i]; });
  each(a.data(), [&](int64_t i) { return a[i] * (1 - kBeta2); });
  each(v, [&](int64_t i) { return v[i] + a[i]; });
  each(a.data(), [&](int64_t i) { return std::sqrt(v[i]); });
  each(a.data(), [&](int64_t i) { return a[i] / kRoot; });
  each(a.data(), [&](int64_t i) { return a[i] + kEps; });
  each(b.data(), [&](int64_t i) { return m[i] / a[i]; });
  each(b.data(), [&](int64_t i) { return b[i] * kStep; });
  each(w, [&](int64_t i) { return w[i] - b[i]; });
}

// 2. One loop for all of them: four arrays are read and three written, once. The compiler makes vectors of it.
// Predicted: 4.7, the 33 arrays that passed through memory before to the 7 that must.
void fused(int64_t n, float* w, const float* dw, float* m, float* v) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = dw[i];
    m[i] = kBeta1 * m[i] + (1 - kBeta1) * g;
    v[i] = kBeta2 * v[i] + (1 - kBeta2) * g * g;
    w[i] = w[i] * kDecay - kStep * (m[i] / (std::sqrt(v[i]) / kRoot + kEps));
  }
}

// 3. Written past the caches. Predicted: 1, nothing: a store past the caches saves the reading of the line that it
// writes, but these lines have been read in any case.
void streamed(int64_t n, float* w, const float* dw, float* m, float* v) {
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    const Vec g = dl::load(dw + i);
    const Vec m1 = dl::fma(dl::broadcast(1 - kBeta1), g, dl::load(m + i) * dl::broadcast(kBeta1));
    const Vec v1 = dl::fma(dl::broadcast(1 - kBeta2) * g, g, dl::load(v + i) * dl::broadcast(kBeta2));
    const Vec step = m1 / (dl::sqrt(v1) / dl::broadcast(kRoot) + dl::broadcast(kEps));
    dl::stream(m + i, m1);
    dl::stream(v + i, v1);
    dl::stream(w + i, dl::fnma(dl::broadcast(kStep), step, dl::load(w + i) * dl::broadcast(kDecay)));
  }
  dl::stream_fence();
  fused(n - whole, w + whole, dw + whole, m + whole, v + whole);
}

// 4. Shipped: one loop of vectors in place, in blocks that any number of tensors are cut into and threads share.
// Predicted: 1, as memory is what rungs 2 and 3 wait for; one thread gains nothing by the blocks.
void shipped(int64_t n, float* w, const float* dw, float* m, float* v) {
  const dl::AdamTensor<float> tensor = {w, dw, m, v, nullptr, n, 0, kStep, kRoot};
  const dl::AdamOptions options = {kDecay, 0, kBeta1, kBeta2, kEps, 1};
  dl::adam(&tensor, 1, &options);
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments given(argc, argv, {{"parameters", 8 << 20}});
  const int64_t n = given[0];
  Floats w(n), dw(n), m(n), v(n);
  w.fill_random(-1, 1), dw.fill_random(-1, 1), m.fill_random(-1, 1), v.fill_random(0.01f, 1);
  // Numbers of at most 1 whose sums round two or three times; the quotient is at most kRoot / 0.1, and kStep 0.01.
  constexpr double kUnit = std::numeric_limits<float>::epsilon();
  const auto rung = [&](auto run) { return [&, run] { run(n, w.data(), dw.data(), m.data(), v.data()); }; };
  return climb({"Adam",
                0,
                7 * 4 * static_cast<double>(n),
                4 * 4 * n,
                {{w, 3 * kUnit}, {m, 2 * kUnit}, {v, 2 * kUnit}},
                {{"a loop for each expression", 0, rung(arrays)},
                 {"one loop", 4.7, rung(fused)},
                 {"written past the caches", 1, rung(streamed)},
                 {"shipped: vectors in blocks", 1, rung(shipped)},
                 {"shipped, all cores", kAsTheLimits, rung(shipped), dl::available_cores()}}},
               given);
}
