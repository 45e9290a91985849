// Forward and backward against the reference: tiles and tails of queries, keys and features, causal, masked, grouped,
// with dropout, and with rows that lie apart from each other.
#include "kernels/attention/attention.h"

#include <algorithm>

#include "core/random.h"
#include "kernel_test.h"

namespace dl::test {
namespace {

struct Shape { int64_t B, H, G, Tq, Tk, D, E; };

// Heads side by side in rows of `heads` x `d` elements and a few more, as in a fused projection.
HeadStrides strides_of(int64_t heads, int64_t t, int64_t d) {
  const int64_t row = heads * d + 3;
  return {t * row, d, row};
}
int64_t reach(int64_t batches, int64_t heads, int64_t t, int64_t d) { return batches * t * (heads * d + 3); }

template <class T> struct Problem {
  AttentionArgs<T> a{};
  GuardedBuffer<T> q, k, v, bias;
  GuardedBuffer<bool> allowed;

  explicit Problem(Shape s)
      : q(reach(s.B, s.H, s.Tq, s.D), 1),
        k(reach(s.B, s.G, s.Tk, s.D), 1),
        v(reach(s.B, s.G, s.Tk, s.E), 1),
        bias(s.Tq * s.Tk * 2, 1),
        allowed(s.Tq * s.Tk * 2, 1) {
    q.randomise(-1, 1, 1);
    k.randomise(-1, 1, 2);
    v.randomise(-1, 1, 3);
    bias.randomise(-2, 2, 4);
    for (int64_t i = 0; i < allowed.size(); ++i) allowed[i] = i % 5 != 2;
    a.B = s.B, a.H = s.H, a.G = s.G, a.Tq = s.Tq, a.Tk = s.Tk, a.D = s.D, a.E = s.E;
    a.q = q.data(), a.k = k.data(), a.v = v.data();
    a.q_strides = strides_of(s.H, s.Tq, s.D);
    a.k_strides = strides_of(s.G, s.Tk, s.D);
    a.v_strides = strides_of(s.G, s.Tk, s.E);
    a.scale = 0.25;
  }
  int64_t rows() const { return a.B * a.H * a.Tq; }
  HeadStrides y_strides() const { return strides_of(a.H, a.Tq, a.E); }
  int64_t y_size() const { return reach(a.B, a.H, a.Tq, a.E); }
};

template <class T> struct Results {
  GuardedBuffer<T> y, lse, dq, dk, dv;
  explicit Results(const Problem<T>& p)
      : y(p.y_size(), 1), lse(p.rows(), 1), dq(p.q.size(), 1), dk(p.k.size(), 1), dv(p.v.size(), 1) {
    for (GuardedBuffer<T>* b : {&y, &lse, &dq, &dk, &dv}) b->fill(7);  // what lies between the rows stays as it is
  }
};

template <class T> using Forward = attention_forward_fn<T>;
template <class T> using Backward = attention_backward_fn<T>;

template <class T> std::string name_of(const char* op) {
  return std::string(op) + (std::is_same_v<T, float> ? "/float32" : "/float64");
}
template <class T> Forward<T> forward_reference() {
  return find_version<Forward<T>>(name_of<T>("attention_forward"), Target::reference);
}
template <class T> Backward<T> backward_reference() {
  return find_version<Backward<T>>(name_of<T>("attention_backward"), Target::reference);
}

// A weight errs by eps times its score, which is below 0.25 D + 2; results are averages of values below 1 in size.
template <class T> double units(const AttentionArgs<T>& a) { return 8 * (4 + 0.25 * static_cast<double>(a.D)); }

template <class T> void check_forward(const Problem<T>& p) {
  Results<T> expected(p);
  forward_reference<T>()(&p.a, expected.y.data(), p.y_strides(), expected.lse.data());
  for_each_fast_version<Forward<T>>(name_of<T>("attention_forward"), [&](Forward<T> kernel) {
    Results<T> actual(p);
    kernel(&p.a, actual.y.data(), p.y_strides(), actual.lse.data());
    expect_close(actual.y, expected.y, units(p.a), [](int64_t) { return 1.0; });
    expect_close(actual.lse, expected.lse, units(p.a), [](int64_t) { return 8.0; });
  });
}

template <class T> void run_backward(Backward<T> kernel, const Problem<T>& p, const GuardedBuffer<T>& dy,
                                     const Results<T>& forward, Results<T>& r) {
  const HeadStrides ys = p.y_strides();
  const AttentionGradients<T> g{
      forward.y.data(), dy.data(),     forward.lse.data(), r.dq.data(), r.dk.data(), r.dv.data(), ys, ys,
      p.a.q_strides,    p.a.k_strides, p.a.v_strides};
  kernel(&p.a, &g);
}

template <class T> void check_backward(const Problem<T>& p) {
  Results<T> expected(p);
  GuardedBuffer<T> dy(p.y_size(), 1);
  dy.randomise(-1, 1, 5);
  forward_reference<T>()(&p.a, expected.y.data(), p.y_strides(), expected.lse.data());
  run_backward(backward_reference<T>(), p, dy, expected, expected);
  // Sums over at most Tq H / G queries (dk, dv), or over keys of total weight one (dq), of products below E.
  const int64_t queries = std::max<int64_t>(p.a.Tq, 8) * (p.a.H / p.a.G);
  const auto size = [&](int64_t) { return static_cast<double>(p.a.E * queries) / 8; };
  for_each_fast_version<Backward<T>>(name_of<T>("attention_backward"), [&](Backward<T> kernel) {
    Results<T> actual(p);
    run_backward(kernel, p, dy, expected, actual);
    expect_close(actual.dq, expected.dq, units(p.a), size);
    expect_close(actual.dk, expected.dk, units(p.a), size);
    expect_close(actual.dv, expected.dv, units(p.a), size);
  });
}

template <class T> void use_dropout(Problem<T>& p) {
  p.a.dropout = true, p.a.threshold = dropout_threshold(0.25), p.a.keep_scale = 1 / 0.75, p.a.seed = 7, p.a.stream = 3;
}

template <class T> void check_variants(const std::vector<Shape>& shapes, void (*check)(const Problem<T>&)) {
  for (const Shape& s : shapes) {
    SCOPED_TRACE(::testing::Message() << "B " << s.B << " H " << s.H << " G " << s.G << " Tq " << s.Tq << " Tk " << s.Tk
                                      << " D " << s.D << " E " << s.E);
    check(Problem<T>(s));
    for (int64_t offset : {int64_t{0}, int64_t{2}, -s.Tq / 2, s.Tk - s.Tq}) {
      Problem<T> causal(s);
      causal.a.causal = true, causal.a.causal_offset = offset;
      check(causal);
    }
    // Rows of their own, columns apart, one row for all queries, one column for all keys.
    const int64_t strides[][2] = {{s.Tk, 1}, {2 * s.Tk, 2}, {0, 1}, {1, 0}};
    for (const auto& [row, col] : strides) {
      Problem<T> added(s), masked(s);
      added.a.bias = added.bias.data(), masked.a.allowed = masked.allowed.data();
      added.a.mask_q = masked.a.mask_q = row, added.a.mask_k = masked.a.mask_k = col;
      check(added);
      masked.a.causal = true;
      check(masked);
    }
    Problem<T> nothing(s);
    std::fill(nothing.allowed.begin(), nothing.allowed.end(), false);
    nothing.a.allowed = nothing.allowed.data();
    check(nothing);
    Problem<T> dropped(s);
    use_dropout(dropped);
    check(dropped);
  }
}

// Options at once; there is a bias or a mask, not both.
template <class T> void check_all_options(const Shape& s, void (*check)(const Problem<T>&)) {
  Problem<T> p(s);
  p.a.causal = true, p.a.causal_offset = 1;
  p.a.allowed = p.allowed.data(), p.a.mask_q = s.Tk, p.a.mask_k = 1;
  use_dropout(p);
  check(p);
}

const std::vector<Shape> kSmall = {
    {1, 1, 1, 1, 1, 1, 1}, {2, 2, 2, 5, 7, 3, 2}, {2, 4, 2, 3, 70, 33, 17}, {1, 2, 2, 4, 5, 0, 3}};
// One to three tiles of queries and keys, of 64 each; heads narrower and wider than one.
const std::vector<Shape> kTiles = {
    {1, 4, 2, 65, 66, 17, 9}, {1, 2, 1, 64, 64, 32, 32}, {1, 1, 1, 33, 130, 64, 64}, {1, 1, 1, 97, 33, 80, 48}};

template <class T> void check_shapes(void (*check)(const Problem<T>&)) {
  check_variants(kSmall, check);
  if (std::is_same_v<T, double>) return;  // the reference alone
  check_variants(kTiles, check);
  for (const Shape& s : kTiles) check_all_options(s, check);
}

TEST(Attention, Forward) {
  check_shapes(check_forward<float>);
  check_shapes(check_forward<double>);
  check_forward(Problem<float>({1, 1, 1, 2, 5000, 9, 9}));  // more keys than a query's scratch holds
}

TEST(Attention, Backward) {
  check_shapes(check_backward<float>);
  check_shapes(check_backward<double>);
}

// float64 has the reference alone; here it and float32's reference must tell the same story.
TEST(Attention, DoubleAgreesWithFloat) {
  const Shape s{1, 2, 1, 5, 9, 8, 6};
  Problem<float> p(s);
  Problem<double> d(s);
  use_dropout(p);
  use_dropout(d);
  std::copy(p.q.begin(), p.q.end(), d.q.begin());
  std::copy(p.k.begin(), p.k.end(), d.k.begin());
  std::copy(p.v.begin(), p.v.end(), d.v.begin());
  Results<float> rf(p);
  Results<double> rd(d);
  GuardedBuffer<float> dyf(p.y_size());
  GuardedBuffer<double> dyd(p.y_size());
  dyf.randomise(-1, 1, 5);
  std::copy(dyf.begin(), dyf.end(), dyd.begin());
  forward_reference<float>()(&p.a, rf.y.data(), p.y_strides(), rf.lse.data());
  forward_reference<double>()(&d.a, rd.y.data(), p.y_strides(), rd.lse.data());
  run_backward(backward_reference<float>(), p, dyf, rf, rf);
  run_backward(backward_reference<double>(), d, dyd, rd, rd);
  expect_close(rf.y, rd.y, units(p.a), [](int64_t) { return 1.0; });
  expect_close(rf.dq, rd.dq, units(p.a), [](int64_t) { return 8.0 * 5; });
  expect_close(rf.dk, rd.dk, units(p.a), [](int64_t) { return 8.0 * 5; });
  expect_close(rf.dv, rd.dv, units(p.a), [](int64_t) { return 8.0 * 5; });
}

}  // namespace
}  // namespace dl::test
