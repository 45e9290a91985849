// Each step: a thread multiplies the whole state with the weights of its own units, all their gates, and applies the
// cell to them while they are in its first-level cache. One barrier a step: see parallel_steps.
#include "dispatch/kernel.h"
#include "kernels/rnn/cells.h"
#include "kernels/rnn/product.h"

namespace dl {
namespace {

struct Now { int64_t t, row, rows; };
DL_INLINE Now now_at(const RnnShape& s, int64_t step, bool backward) {
  const int64_t t = rnn_descends(s, backward) ? s.steps - 1 - step : step;
  return {t, s.first[t], s.first[t + 1] - s.first[t]};
}

void copy_row(const float* x, float* y, int64_t n) {
  for_each_vec(n, [&](int64_t j, auto lanes) DL_BODY { store(y + j, load(x + j, lanes), lanes); });
}

// The two states that steps hand on, in turns.
struct Handed {
  float* data;
  int64_t B, row;
  float* of(int64_t step) const { return data + (step & 1) * B * row; }
};

int64_t grain_of(int64_t work_a_group) { return 1 + kStepWork / (work_a_group + 1); }

template <RnnCell cell> void forward_group(const RnnShape& s, const RnnForward<float>& a, const Handed& h, int64_t step,
                                           const StateRows& state, int64_t u, const float* panels) {
  constexpr bool lstm = cell == RnnCell::lstm, gru = cell == RnnCell::gru;
  constexpr int64_t G = rnn_gates(cell);
  const int64_t H = s.H, units = min_of(kGroup, H - u);
  const Now now = now_at(s, step, false);
  const float* from = h.of(step);
  float* gates = a.gates + (now.row - rnn_first_row(s, a.range, false)) * G * H + u;
  Ahead ahead{};
  ahead.rows = now.rows, ahead.calls = G * tiles_of(now.rows, H);
  ahead.add(a.y + now.row * H + u, H);
  if (a.saved) ahead.add(a.saved + now.row * H + u, H);
  for (int64_t g = 0; g < G; ++g) {
    const bool apart = gru && g == 2;  // h w_n^T is not added to the input's part before r has scaled it
    float* c = apart ? a.saved + now.row * H + u : gates + g * H;
    multiply(state, panels + g * H * kGroup, c, apart ? H : G * H, units, !apart, ahead);
  }
  for (int64_t b = 0; b < now.rows; ++b) {
    const int64_t row = now.row + b;
    Row p{};
    p.gates = gates + b * G * H;
    p.y = a.y + row * H + u;
    p.h_next = h.of(step + 1) + b * h.row + u;
    p.h = from + b * h.row + u;
    if (lstm) p.c = a.c + b * H + u;
    if (a.saved) p.saved = a.saved + row * H + u;
    if (a.b_n) p.b_n = a.b_n + u;
    for_each_vec(units, [&](int64_t j, auto lanes) DL_BODY {
      if constexpr (lstm) lstm_forward(p, H, j, lanes);
      else if constexpr (gru) gru_forward(p, H, j, lanes);
      else plain_forward<cell == RnnCell::relu>(p, j, lanes);
    });
  }
}

template <RnnCell cell> void forward(const RnnShape& s, const RnnForward<float>& a) {
  const int64_t G = rnn_gates(cell), H = s.H, from = a.range.begin;
  float* panels = a.workspace;
  const Handed h{a.workspace + rnn_packed(cell, H), s.B, rnn_state_row(H)};
  if (from == 0) {
    pack_forward(a.w, G, H, panels);
    for (int64_t b = 0; b < s.B; ++b)
      for (int64_t turn = 0; turn < 2; ++turn) copy_row(a.h0 + b * H, h.of(turn) + b * h.row, H);
  }
  const int64_t steps = a.range.end - from, grain = grain_of(s.B * G * H * kGroup);
  parallel_steps(steps, groups_of(H), grain, [&](int64_t step, int64_t begin, int64_t end) {
    const StateRows state(h.of(from + step), h.row, now_at(s, from + step, false).rows, H);
    for (int64_t g = begin; g < end; ++g)
      forward_group<cell>(s, a, h, from + step, state, g * kGroup, panels + g * G * H * kGroup);
  });
  if (a.range.end < s.steps) return;
  // The last row of each sequence: in step 0, or in the last step that still has it.
  for (int64_t t = s.reverse ? 0 : s.steps - 1, b = 0; b < s.B; ++b) {
    while (!s.reverse && s.first[t + 1] - s.first[t] <= b) --t;
    copy_row(a.y + (s.first[t] + b) * H, a.h_n + b * H, H);
  }
}

// The c that sequence b had before step t.
DL_INLINE const float* c_before(const RnnShape& s, const RnnBackward<float>& a, int64_t t, int64_t b) {
  const int64_t p = s.reverse ? t + 1 : t - 1;
  const bool known = p >= 0 && p < s.steps && b < s.first[p + 1] - s.first[p];
  return known ? a.saved + (s.first[p] + b) * s.H : a.c0 + b * s.H;
}

// The gradients of the gates of some units in one step, from that of h: of y and of the step that came before.
template <RnnCell cell>
void backward_cells(const RnnShape& s, const RnnBackward<float>& a, const Handed& d, int64_t step, int64_t u) {
  constexpr bool lstm = cell == RnnCell::lstm, gru = cell == RnnCell::gru;
  constexpr int64_t G = rnn_gates(cell), D = rnn_dgates(cell);
  const int64_t H = s.H, first = rnn_first_row(s, a.range, true);
  const Now now = now_at(s, step, true);
  for_each_vec(min_of(kGroup, H - u), [&](int64_t j, auto lanes) DL_BODY {
    GateSums sums{};
    for (int k = 0; k < 4; ++k) sums.of[k] = zero();
    const int64_t at = u + j;
    for (int64_t b = 0; b < now.rows; ++b) {
      const int64_t row = now.row + b;
      RowGradients p{};
      p.dh = a.dh + b * H, p.dy = a.dy + row * H;
      p.dgates = a.dgates + (row - first) * D * H, p.d_next = d.of(step) + b * d.row;
      if constexpr (lstm || gru) p.gates = a.gates + (row - first) * G * H, p.saved = a.saved + row * H;
      if constexpr (lstm) p.dc = a.dc + b * H, p.c_prev = c_before(s, a, now.t, b);
      if constexpr (gru) p.prev = a.prev + row * H;
      if constexpr (lstm) {
        lstm_backward(p, H, at, lanes, sums);
      } else if constexpr (gru) {
        gru_backward(p, H, at, lanes, sums);
      } else {
        p.y = a.y + row * H;
        plain_backward<cell == RnnCell::relu>(p, at, lanes, sums);
      }
    }
    for (int64_t k = 0; k < D; ++k) {
      float* db = a.db + k * H + at;
      store(db, step == 0 ? sums.of[k] : load(db, lanes) + sums.of[k], lanes);
    }
  });
}

// The gradient that the step before sends to the h of some units.
template <RnnCell cell> void backward_product(const RnnShape& s, const RnnBackward<float>& a, int64_t step,
                                              const StateRows& state, int64_t u, const float* panel) {
  constexpr int64_t G = rnn_gates(cell), D = rnn_dgates(cell);
  constexpr bool lstm = cell == RnnCell::lstm, gru = cell == RnnCell::gru;
  const int64_t H = s.H, K = G * H;
  Ahead ahead{};
  if (step < a.range.end) {
    const Now now = now_at(s, step, true);
    const int64_t row = now.row - rnn_first_row(s, a.range, true);
    ahead.rows = now.rows;
    for (int64_t k = 0; (lstm || gru) && k < G; ++k) ahead.add(a.gates + (row * G + k) * H + u, G * H);
    for (int64_t k = 0; k < D; ++k) ahead.add(a.dgates + (row * D + k) * H + u, D * H);
    ahead.add(a.dy + now.row * H + u, H);
    if (lstm) ahead.add(c_before(s, a, now.t, 0) + u, H);
    if (gru) ahead.add(a.saved + now.row * H + u, H), ahead.add(a.prev + now.row * H + u, H);
  }
  ahead.calls = tiles_of(state.rows, K);
  multiply(state, panel, a.dh + u, H, min_of(kGroup, H - u), cell == RnnCell::gru, ahead);
}

template <RnnCell cell> void backward(const RnnShape& s, const RnnBackward<float>& a) {
  const int64_t G = rnn_gates(cell), H = s.H, K = G * H;
  float* panels = a.workspace;
  const Handed d{a.workspace + rnn_packed(cell, H), s.B, rnn_state_row(K)};
  const int64_t from = a.range.begin;
  if (from == 0) pack_backward(a.w, G, H, panels);
  // In the end one step more than there are: the gradient of h0.
  const int64_t steps = a.range.end - from + (a.range.end == s.steps), grain = grain_of(s.B * K * kGroup);
  parallel_steps(steps, groups_of(H), grain, [&](int64_t i, int64_t begin, int64_t end) {
    const int64_t step = from + i;
    const StateRows state(step > 0 ? d.of(step - 1) : nullptr, d.row, step > 0 ? now_at(s, step - 1, true).rows : 0, K);
    for (int64_t g = begin; g < end; ++g) {
      const int64_t u = g * kGroup;
      if (step > 0) backward_product<cell>(s, a, step, state, u, panels + g * K * kGroup);
      if (step < s.steps) backward_cells<cell>(s, a, d, step, u);
    }
  });
}

void rnn_forward(const RnnShape* shape, const RnnForward<float>* args) {
  switch (shape->cell) {
    case RnnCell::tanh: return forward<RnnCell::tanh>(*shape, *args);
    case RnnCell::relu: return forward<RnnCell::relu>(*shape, *args);
    case RnnCell::lstm: return forward<RnnCell::lstm>(*shape, *args);
    case RnnCell::gru: return forward<RnnCell::gru>(*shape, *args);
  }
}

void rnn_backward(const RnnShape* shape, const RnnBackward<float>* args) {
  switch (shape->cell) {
    case RnnCell::tanh: return backward<RnnCell::tanh>(*shape, *args);
    case RnnCell::relu: return backward<RnnCell::relu>(*shape, *args);
    case RnnCell::lstm: return backward<RnnCell::lstm>(*shape, *args);
    case RnnCell::gru: return backward<RnnCell::gru>(*shape, *args);
  }
}

DL_REGISTER("rnn_forward/float32", rnn_forward, rnn_forward_fn<float>)
DL_REGISTER("rnn_backward/float32", rnn_backward, rnn_backward_fn<float>)

}  // namespace
}  // namespace dl
