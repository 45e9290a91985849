// Whole sequences against the reference: every cell, both directions, units and sequences around SIMD widths, and
// sequences of different lengths.
#include "kernels/rnn/rnn.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "kernel_test.h"

namespace dl::test {
namespace {

constexpr RnnCell kCells[] = {RnnCell::tanh, RnnCell::relu, RnnCell::lstm, RnnCell::gru};

// Sequences of equal lengths, or each two steps shorter than the one before it.
struct Sequences {
  std::vector<int64_t> first{0};
  RnnShape shape{};
  Sequences(RnnCell cell, bool reverse, int64_t steps, int64_t B, int64_t H, bool ragged) {
    for (int64_t t = 0; t < steps; ++t) first.push_back(first.back() + (ragged ? std::max<int64_t>(1, B - t / 2) : B));
    shape = {cell, reverse, steps, B, H, first.data()};
  }
  Sequences(const Sequences&) = delete;
  int64_t rows() const { return first.back(); }
  int64_t workspace() const { return rnn_workspace(shape.cell, shape.B, shape.H); }
};

// Three calls, where there are so many steps.
std::vector<RnnRange> pieces(const RnnShape& s) {
  const int64_t piece = (s.steps + 2) / 3;
  std::vector<RnnRange> all;
  for (int64_t begin = 0; begin < s.steps; begin += piece) all.push_back({begin, std::min(begin + piece, s.steps)});
  return all;
}

template <class T> struct Problem {
  const Sequences& q;
  bool biased;
  GuardedBuffer<T> gates, w, b_n, h0, c0;
  Problem(const Sequences& sequences, bool with_bias)
      : q(sequences),
        biased(with_bias),
        gates(q.rows() * rnn_gates(q.shape.cell) * q.shape.H, 1),
        w(rnn_gates(q.shape.cell) * q.shape.H * q.shape.H, 1),
        b_n(q.shape.H, 1),
        h0(q.shape.B * q.shape.H, 1),
        c0(q.shape.B * q.shape.H, 1) {
    gates.randomise(-2, 2, 1);
    const double range = 2 / std::sqrt(static_cast<double>(q.shape.H));
    w.randomise(-range, range, 2);
    b_n.randomise(-1, 1, 3);
    h0.randomise(-1, 1, 4);
    c0.randomise(-1, 1, 5);
  }
};

template <class T> struct Forward {
  GuardedBuffer<T> gates, c, y, h_n, saved, workspace;
  explicit Forward(const Problem<T>& p)
      : gates(p.gates.size(), 1),
        c(p.c0.size(), 1),
        y(p.q.rows() * p.q.shape.H, 1),
        h_n(p.h0.size(), 1),
        saved(p.q.rows() * rnn_saved(p.q.shape.cell) * p.q.shape.H, 1),
        workspace(p.q.workspace()) {
    gates.copy_from(p.gates);
    c.copy_from(p.c0);
  }
  void run(rnn_forward_fn<T> kernel, const Problem<T>& p, bool keep) {
    const RnnCell cell = p.q.shape.cell;
    const bool no_saved = cell == RnnCell::lstm ? !keep : rnn_saved(cell) == 0;
    const RnnShape& s = p.q.shape;
    for (RnnRange range : pieces(s)) {
      const int64_t first = rnn_first_row(s, range, false) * rnn_gates(cell) * s.H;
      const RnnForward<T> a{range,
                            gates.data() + first,
                            p.w.data(),
                            p.biased && cell == RnnCell::gru ? p.b_n.data() : nullptr,
                            p.h0.data(),
                            cell == RnnCell::lstm ? c.data() : nullptr,
                            y.data(),
                            h_n.data(),
                            no_saved ? nullptr : saved.data(),
                            workspace.data()};
      kernel(&s, &a);
    }
  }
};

// A pre-activation's rounding is that of H terms and of what the steps before handed on.
double units_of(const RnnShape& s) { return 8 + static_cast<double>(s.H) / 4 + 4 * static_cast<double>(s.steps); }

template <class T> double largest(const GuardedBuffer<T>& x) {
  double most = 1;
  for (int64_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(as_double(x[i])));
  return most;
}

template <class T> struct Backward {
  GuardedBuffer<T> prev, dy, dh, dc, dgates, db, workspace;
  explicit Backward(const Problem<T>& p)
      : prev(p.q.rows() * p.q.shape.H, 1),
        dy(prev.size(), 1),
        dh(p.h0.size(), 1),
        dc(p.c0.size(), 1),
        dgates(p.q.rows() * rnn_dgates(p.q.shape.cell) * p.q.shape.H, 1),
        db(rnn_dgates(p.q.shape.cell) * p.q.shape.H, 1),
        workspace(p.q.workspace()) {
    prev.randomise(-1, 1, 6);
    dy.randomise(-1, 1, 7);
    dh.randomise(-1, 1, 8);
    dc.randomise(-1, 1, 9);
  }
  void run(rnn_backward_fn<T> kernel, const Problem<T>& p, const Forward<T>& f) {
    const RnnShape& s = p.q.shape;
    for (RnnRange range : pieces(s)) {
      const int64_t first = rnn_first_row(s, range, true) * s.H;
      const RnnBackward<T> a{range,
                             f.gates.data() + first * rnn_gates(s.cell),
                             f.saved.data(),
                             f.y.data(),
                             prev.data(),
                             p.c0.data(),
                             p.w.data(),
                             dy.data(),
                             dh.data(),
                             dc.data(),
                             dgates.data() + first * rnn_dgates(s.cell),
                             db.data(),
                             workspace.data()};
      kernel(&s, &a);
    }
  }
};

template <class T> using ForwardFn = rnn_forward_fn<T>;
template <class T> using BackwardFn = rnn_backward_fn<T>;

// A problem and what the reference makes of it.
template <class T> struct Case {
  Sequences q;
  Problem<T> p;
  bool keep;
  Forward<T> forward;
  Backward<T> backward;
  Case(RnnCell cell, bool reverse, int64_t B, int64_t H, bool ragged, bool with_bias, const std::string& dtype)
      : q(cell, reverse, 1 + B % 7, B, H, ragged), p(q, with_bias), keep(!ragged), forward(p), backward(p) {
    forward.run(find_version<ForwardFn<T>>("rnn_forward/" + dtype, Target::reference), p, true);
    backward.run(find_version<BackwardFn<T>>("rnn_backward/" + dtype, Target::reference), p, forward);
  }
};

template <class T> std::vector<std::unique_ptr<Case<T>>> cases(const std::string& dtype) {
  std::vector<std::unique_ptr<Case<T>>> all;
  for (RnnCell cell : kCells)
    for (int64_t H : {1, 3, 8, 15, 16, 17, 31, 32, 33, 65, 130})
      for (int64_t B : {1, 2, 5, 14, 15, 33})
        for (bool reverse : {false, true})
          for (bool ragged : {false, true}) {
            if (B > 2 && H > 20 && (B == 14 || reverse != ragged)) continue;
            all.push_back(std::make_unique<Case<T>>(cell, reverse, B, H, ragged, B % 2 == 1, dtype));
          }
  return all;
}

template <class T> void check_forward(const Case<T>& c, ForwardFn<T> kernel) {
  const RnnCell cell = c.q.shape.cell;
  Forward<T> got(c.p);
  got.run(kernel, c.p, c.keep);
  const double magnitude = 2 * largest(c.forward.y);
  const auto close = [&](const GuardedBuffer<T>& a, const GuardedBuffer<T>& e) {
    expect_close(a, e, units_of(c.q.shape), [&](int64_t) { return magnitude; });
  };
  close(got.y, c.forward.y);
  close(got.h_n, c.forward.h_n);
  if (cell == RnnCell::lstm) close(got.c, c.forward.c);
  if (rnn_gates(cell) > 1) close(got.gates, c.forward.gates);
  if (cell == RnnCell::gru || (c.keep && cell == RnnCell::lstm)) close(got.saved, c.forward.saved);
}

template <class T> void check_backward(const Case<T>& c, BackwardFn<T> kernel) {
  const Backward<T>& expected = c.backward;
  Backward<T> got(c.p);
  got.run(kernel, c.p, c.forward);
  const double magnitude = largest(expected.dh) + largest(expected.dgates) + largest(expected.dc);
  const auto close = [&](const GuardedBuffer<T>& a, const GuardedBuffer<T>& e, double terms) {
    expect_close(a, e, units_of(c.q.shape), [&](int64_t) { return magnitude * terms; });
  };
  close(got.dgates, expected.dgates, 1);
  close(got.dh, expected.dh, 1);
  if (c.q.shape.cell == RnnCell::lstm) close(got.dc, expected.dc, 1);
  close(got.db, expected.db, std::sqrt(static_cast<double>(c.q.rows())));
}

template <class T> void check(const std::string& dtype) {
  const auto all = cases<T>(dtype);
  for_each_fast_version<ForwardFn<T>>("rnn_forward/" + dtype, [&](ForwardFn<T> kernel) {
    for (const auto& c : all) check_forward(*c, kernel);
  });
  for_each_fast_version<BackwardFn<T>>("rnn_backward/" + dtype, [&](BackwardFn<T> kernel) {
    for (const auto& c : all) check_backward(*c, kernel);
  });
}

TEST(Rnn, ForwardAndBackward) {
  check<float>("float32");
  check<double>("float64");
}

// The short polynomials of the gates, through a cell whose h it shows: what they do far out, near zero and with NaN.
TEST(Rnn, GatesOverTheirRange) {
  constexpr int64_t n = 4096;
  for_each_version<rnn_forward_fn<float>>("rnn_forward/float32", [](auto kernel, auto) {
    const Sequences q(RnnCell::tanh, false, n, 1, 1, false);
    Problem<float> p(q, false);
    p.w.fill(0);
    p.h0.fill(0);
    for (int64_t i = 0; i < n; ++i) p.gates[i] = static_cast<float>(static_cast<double>(i - n / 2) * 0x1p-7);
    p.gates[0] = -INFINITY, p.gates[1] = INFINITY, p.gates[2] = 1e-30f, p.gates[3] = -1e30f;
    p.gates[n - 1] = NAN;  // the last: what comes after it is NaN as well
    Forward<float> f(p);
    f.run(kernel, p, false);
    GuardedBuffer<double> expected(n);
    for (int64_t i = 0; i < n; ++i) expected[i] = std::tanh(static_cast<double>(p.gates[i]));
    expect_close(f.y, expected, 4);
  });
}

}  // namespace
}  // namespace dl::test
