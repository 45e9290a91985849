// Forward and backward against the reference: tiles and tails of queries, keys and features, causal, masked, grouped, with dropout.
#include "kernels/attention/attention.h"

#include <algorithm>

#include "kernel_test.h"

namespace dl::test {
namespace {

struct Shape {
  int64_t B, H, G, Tq, Tk, D;
};

HeadStrides strides_of(int64_t heads, int64_t t, int64_t d) { return {heads * t * d, t * d, d}; }

struct Problem {
  AttentionArgs<float> a{};
  GuardedBuffer<float> q, k, v, kt, vt, mask;

  explicit Problem(Shape s, bool few_queries = false)
      : q(s.B * s.H * s.Tq * s.D, 1),
        k(s.B * s.G * s.Tk * s.D, 1),
        v(k.size(), 1),
        kt(k.size(), 1),
        vt(k.size(), 1),
        mask(s.Tq * s.Tk, 1) {
    q.randomise(-1, 1, 1);
    k.randomise(-1, 1, 2);
    v.randomise(-1, 1, 3);
    mask.randomise(-2, 2, 4);
    for (int64_t head = 0; head < s.B * s.G; ++head)
      for (int64_t t = 0; t < s.Tk; ++t)
        for (int64_t d = 0; d < s.D; ++d) {
          kt[(head * s.D + d) * s.Tk + t] = k[(head * s.Tk + t) * s.D + d];
          vt[(head * s.D + d) * s.Tk + t] = v[(head * s.Tk + t) * s.D + d];
        }
    a.B = s.B, a.H = s.H, a.G = s.G, a.Tq = s.Tq, a.Tk = s.Tk, a.D = s.D;
    a.q = q.data(), a.k = k.data(), a.v = v.data();
    a.q_strides = strides_of(s.H, s.Tq, s.D);
    a.k_strides = a.v_strides = strides_of(s.G, s.Tk, s.D);
    a.kt = few_queries ? nullptr : kt.data();
    a.vt = vt.data();
    a.scale = 0.25;
  }
  void use_mask() { a.mask = mask.data(), a.mask_q = a.Tk, a.mask_k = 1; }
};

const std::vector<Shape> kShapes = {{1, 1, 1, 1, 1, 1},   {2, 2, 2, 5, 7, 3},     {1, 4, 2, 49, 65, 17}, {1, 2, 1, 48, 64, 32},
                                    {1, 1, 1, 97, 130, 64}, {1, 1, 1, 130, 33, 80}};

// Results are averages of values below 1 in size; weights err by eps times their scores, below 0.25 D + 2.
double units(const AttentionArgs<float>& a) { return 8 * (4 + 0.25 * static_cast<double>(a.D)); }

using Forward = attention_forward_fn<float>;
using Backward = attention_backward_fn<float>;

void check_forward(Forward kernel, Forward reference, const Problem& p) {
  const AttentionArgs<float>& a = p.a;
  GuardedBuffer<float> y(p.q.size(), 1), expected(p.q.size()), lse(a.B * a.H * a.Tq, 1), expected_lse(lse.size());
  const HeadStrides s = strides_of(a.H, a.Tq, a.D);
  kernel(&a, y.data(), s, lse.data());
  reference(&a, expected.data(), s, expected_lse.data());
  auto one = [](int64_t) { return 1.0; };
  expect_close(y, expected, units(a), one);
  expect_close(lse, expected_lse, units(a), [](int64_t) { return 8.0; });
}

void check_backward(Backward kernel, Backward reference, const Problem& p) {
  const AttentionArgs<float>& a = p.a;
  const HeadStrides s = strides_of(a.H, a.Tq, a.D), t = strides_of(a.G, a.Tk, a.D);
  GuardedBuffer<float> y(p.q.size(), 1), dy(p.q.size(), 1), lse(a.B * a.H * a.Tq, 1);
  find_version<Forward>("attention_forward/float32", Target::reference)(&a, y.data(), s, lse.data());
  dy.randomise(-1, 1, 5);
  GuardedBuffer<float> dq(p.q.size(), 1), dk(p.k.size(), 1), dv(p.k.size(), 1), eq(p.q.size()), ek(p.k.size()), ev(p.k.size());
  AttentionGradients<float> g{y.data(), dy.data(), lse.data(), dq.data(), dk.data(), dv.data(), s, s, s, t, t};
  kernel(&a, &g);
  g.dq = eq.data(), g.dk = ek.data(), g.dv = ev.data();
  reference(&a, &g);
  // Sums over at most Tq H / G queries (dk, dv) or D terms and Tk keys of total weight one (dq), of products below D.
  const double reach = static_cast<double>(a.D) * static_cast<double>(std::max<int64_t>(a.Tq, 8) * (a.H / a.G)) / 8;
  auto size = [&](int64_t) { return reach; };
  expect_close(dq, eq, units(a), size);
  expect_close(dk, ek, units(a), size);
  expect_close(dv, ev, units(a), size);
}

template <class Check> void check_variants(Check&& check) {
  for (const Shape& s : kShapes) {
    check(Problem(s));
    Problem causal(s);
    causal.a.causal = true;
    causal.a.causal_offset = 2;
    check(causal);
    Problem masked(s);
    masked.use_mask();
    check(masked);
    Problem dropped(s);
    dropped.a.dropout = 0.25, dropped.a.seed = 7, dropped.a.stream = 3;
    check(dropped);
  }
}

TEST(Attention, Forward) {
  for_each_version<Forward>("attention_forward/float32", [](Forward kernel, Forward reference) {
    check_variants([&](const Problem& p) { check_forward(kernel, reference, p); });
    check_forward(kernel, reference, Problem({1, 2, 2, 3, 70, 33}, true));
  });
}

TEST(Attention, Backward) {
  for_each_version<Backward>("attention_backward/float32", [](Backward kernel, Backward reference) {
    check_variants([&](const Problem& p) { check_backward(kernel, reference, p); });
  });
}

// float64 has the reference alone, which float32 is compared with above; here the two must tell the same story.
TEST(Attention, DoubleAgreesWithFloat) {
  Problem p({1, 2, 1, 5, 9, 8});
  GuardedBuffer<double> q(p.q.size()), k(p.k.size()), v(p.k.size()), y(p.q.size()), lse(10), dy(p.q.size()), dq(p.q.size()), dk(p.k.size()),
      dv(p.k.size());
  std::copy(p.q.begin(), p.q.end(), q.begin());
  std::copy(p.k.begin(), p.k.end(), k.begin());
  std::copy(p.v.begin(), p.v.end(), v.begin());
  AttentionArgs<double> a{};
  a.B = 1, a.H = 2, a.G = 1, a.Tq = 5, a.Tk = 9, a.D = 8;
  a.q = q.data(), a.k = k.data(), a.v = v.data();
  a.q_strides = p.a.q_strides, a.k_strides = a.v_strides = p.a.k_strides;
  a.scale = p.a.scale;
  using ForwardD = attention_forward_fn<double>;
  using BackwardD = attention_backward_fn<double>;
  const HeadStrides s = a.q_strides, t = a.k_strides;
  for_each_version<ForwardD>("attention_forward/float64", [&](ForwardD kernel, ForwardD) { kernel(&a, y.data(), s, lse.data()); });
  GuardedBuffer<float> yf(p.q.size()), lsef(10), dyf(p.q.size()), dqf(p.q.size()), dkf(p.k.size()), dvf(p.k.size());
  find_version<Forward>("attention_forward/float32", Target::reference)(&p.a, yf.data(), s, lsef.data());
  expect_close(yf, y, units(p.a), [](int64_t) { return 1.0; });
  dyf.randomise(-1, 1, 5);
  std::copy(dyf.begin(), dyf.end(), dy.begin());
  const AttentionGradients<double> g{y.data(), dy.data(), lse.data(), dq.data(), dk.data(), dv.data(), s, s, s, t, t};
  for_each_version<BackwardD>("attention_backward/float64", [&](BackwardD kernel, BackwardD) { kernel(&a, &g); });
  const AttentionGradients<float> gf{yf.data(), dyf.data(), lsef.data(), dqf.data(), dkf.data(), dvf.data(), s, s, s, t, t};
  find_version<Backward>("attention_backward/float32", Target::reference)(&p.a, &gf);
  auto size = [](int64_t) { return 8.0 * 5; };
  expect_close(dqf, dq, units(p.a), size);
  expect_close(dkf, dk, units(p.a), size);
  expect_close(dvf, dv, units(p.a), size);
}

}  // namespace
}  // namespace dl::test
