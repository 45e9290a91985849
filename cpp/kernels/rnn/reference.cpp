// Row by row, unit by unit, in double.
#include <cmath>
#include <vector>

#include "dispatch/kernel.h"
#include "kernels/rnn/rnn.h"

namespace dl {
namespace {

double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

// The step that comes after `step` of them, and its rows.
struct Now { int64_t t, row, rows; };
Now now(const RnnShape& s, int64_t step, bool backward) {
  const int64_t t = rnn_descends(s, backward) ? s.steps - 1 - step : step;
  return {t, s.first[t], s.first[t + 1] - s.first[t]};
}

// The state of sequence b before step t: in `states` where a step came before it, else in `initial`.
template <class T> const T* before(const RnnShape& s, int64_t t, int64_t b, const T* states, const T* initial) {
  const int64_t p = s.reverse ? t + 1 : t - 1;
  const bool known = p >= 0 && p < s.steps && b < s.first[p + 1] - s.first[p];
  return known ? states + (s.first[p] + b) * s.H : initial + b * s.H;
}

template <class T>
void forward_row(const RnnShape& s, const RnnForward<T>& a, const T* h, T* gates, int64_t row, int64_t b) {
  const int64_t H = s.H, G = rnn_gates(s.cell);
  T* y = a.y + row * H;
  for (int64_t u = 0; u < H; ++u) {
    double pre[4] = {0, 0, 0, 0};
    for (int64_t g = 0; g < G; ++g)
      for (int64_t k = 0; k < H; ++k)
        pre[g] += static_cast<double>(h[k]) * static_cast<double>(a.w[(g * H + u) * H + k]);
    const double hn = pre[2] + (a.b_n ? static_cast<double>(a.b_n[u]) : 0);
    for (int64_t g = 0; g < G; ++g) pre[g] += static_cast<double>(gates[g * H + u]);
    switch (s.cell) {
      case RnnCell::tanh: y[u] = static_cast<T>(std::tanh(pre[0])); break;
      case RnnCell::relu: y[u] = static_cast<T>(pre[0] < 0 ? 0 : pre[0]); break;
      case RnnCell::lstm: {
        const double gate[] = {sigmoid(pre[0]), sigmoid(pre[1]), std::tanh(pre[2]), sigmoid(pre[3])};
        for (int g = 0; g < 4; ++g) gates[g * H + u] = static_cast<T>(gate[g]);
        const double c = gate[1] * static_cast<double>(a.c[b * H + u]) + gate[0] * gate[2];
        a.c[b * H + u] = static_cast<T>(c);
        y[u] = static_cast<T>(gate[3] * std::tanh(c));
        if (a.saved) a.saved[row * H + u] = static_cast<T>(c);
        break;
      }
      case RnnCell::gru: {
        const double r = sigmoid(pre[0]), z = sigmoid(pre[1]);
        const double n = std::tanh(static_cast<double>(gates[2 * H + u]) + r * hn);
        gates[u] = static_cast<T>(r), gates[H + u] = static_cast<T>(z), gates[2 * H + u] = static_cast<T>(n);
        a.saved[row * H + u] = static_cast<T>(hn);
        y[u] = static_cast<T>((1 - z) * n + z * static_cast<double>(h[u]));
        break;
      }
    }
  }
}

template <class T> void forward(const RnnShape* shape, const RnnForward<T>* args) {
  const RnnShape& s = *shape;
  const RnnForward<T>& a = *args;
  const int64_t first = rnn_first_row(s, a.range, false), cols = rnn_gates(s.cell) * s.H;
  for (int64_t step = a.range.begin; step < a.range.end; ++step) {
    const Now at = now(s, step, false);
    for (int64_t b = 0; b < at.rows; ++b) {
      const int64_t row = at.row + b;
      forward_row(s, a, before(s, at.t, b, a.y, a.h0), a.gates + (row - first) * cols, row, b);
      for (int64_t u = 0; u < s.H; ++u) a.h_n[b * s.H + u] = a.y[row * s.H + u];
    }
  }
}

// Gradients of the pre-activations of one unit into d, in the order of dgates; dh and dc become those of the step
// before, but for the product with w.
template <class T> void backward_unit(const RnnShape& s, const RnnBackward<T>& a, const T* gates, int64_t row,
                                      int64_t b, const Now& at, int64_t u, double* dh, double* dc, double* d) {
  const int64_t H = s.H;
  const auto gate = [&](int64_t g) { return static_cast<double>(gates[g * H + u]); };
  switch (s.cell) {
    case RnnCell::tanh:
    case RnnCell::relu: {
      const double y = static_cast<double>(a.y[row * H + u]);
      d[0] = s.cell == RnnCell::tanh ? *dh * (1 - y * y) : y <= 0 ? 0 : *dh;
      *dh = 0;
      break;
    }
    case RnnCell::lstm: {
      const double i = gate(0), f = gate(1), g = gate(2), o = gate(3);
      const double tanh_c = std::tanh(static_cast<double>(a.saved[row * H + u]));
      const double c_prev = static_cast<double>(before(s, at.t, b, a.saved, a.c0)[u]);
      const double dc_row = *dc + *dh * o * (1 - tanh_c * tanh_c);
      d[0] = dc_row * g * i * (1 - i);
      d[1] = dc_row * c_prev * f * (1 - f);
      d[2] = dc_row * i * (1 - g * g);
      d[3] = *dh * tanh_c * o * (1 - o);
      *dc = dc_row * f;
      *dh = 0;
      break;
    }
    case RnnCell::gru: {
      const double r = gate(0), z = gate(1), n = gate(2), hn = static_cast<double>(a.saved[row * H + u]);
      d[2] = *dh * (1 - z) * (1 - n * n);
      d[0] = d[2] * hn * r * (1 - r);
      d[1] = *dh * (static_cast<double>(a.prev[row * H + u]) - n) * z * (1 - z);
      d[3] = d[2] * r;
      *dh *= z;
      break;
    }
  }
}

template <class T> void backward(const RnnShape* shape, const RnnBackward<T>* args) {
  const RnnShape& s = *shape;
  const RnnBackward<T>& a = *args;
  const int64_t H = s.H, G = rnn_gates(s.cell), D = rnn_dgates(s.cell), first = rnn_first_row(s, a.range, true);
  const int64_t n = s.B * H;
  std::vector<double> db(static_cast<size_t>(D * H)), dh(a.dh, a.dh + n), dc(static_cast<size_t>(n));
  if (s.cell == RnnCell::lstm) dc.assign(a.dc, a.dc + n);
  for (int64_t step = a.range.begin; step < a.range.end; ++step) {
    const Now at = now(s, step, true);
    for (int64_t b = 0; b < at.rows; ++b) {
      const int64_t row = at.row + b;
      const T* gates = a.gates + (row - first) * G * H;
      T* to = a.dgates + (row - first) * D * H;
      for (int64_t u = 0; u < H; ++u) {
        double d[4];
        dh[b * H + u] += static_cast<double>(a.dy[row * H + u]);
        backward_unit(s, a, gates, row, b, at, u, &dh[b * H + u], &dc[b * H + u], d);
        for (int64_t g = 0; g < D; ++g) {
          to[g * H + u] = static_cast<T>(d[g]);
          db[g * H + u] += d[g];
        }
      }
      for (int64_t g = 0; g < G; ++g) {
        const int64_t of_h = g == 2 && s.cell == RnnCell::gru ? 3 : g;  // what belongs to h w^T
        for (int64_t k = 0; k < H; ++k)
          for (int64_t u = 0; u < H; ++u)
            dh[b * H + u] += static_cast<double>(to[of_h * H + k]) * static_cast<double>(a.w[(g * H + k) * H + u]);
      }
    }
  }
  for (int64_t i = 0; i < D * H; ++i)
    a.db[i] = static_cast<T>(db[i] + (a.range.begin > 0 ? static_cast<double>(a.db[i]) : 0));
  for (int64_t i = 0; i < n; ++i) a.dh[i] = static_cast<T>(dh[i]);
  for (int64_t i = 0; i < n && s.cell == RnnCell::lstm; ++i) a.dc[i] = static_cast<T>(dc[i]);
}

DL_REGISTER("rnn_forward/float32", forward, rnn_forward_fn<float>)
DL_REGISTER("rnn_forward/float64", forward, rnn_forward_fn<double>)
DL_REGISTER("rnn_backward/float32", backward, rnn_backward_fn<float>)
DL_REGISTER("rnn_backward/float64", backward, rnn_backward_fn<double>)

}  // namespace
}  // namespace dl
