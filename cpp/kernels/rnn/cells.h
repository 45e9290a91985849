// What each cell does with its gates, for a vector of units; one function forward and one backward.
#pragma once
#include "kernels/rnn/rnn.h"
#include "simd/math.h"
#include "simd/rows.h"

namespace dl {
namespace {

// 1 / d for 1 <= d < 2^127; 1.2 ulp. The divider takes several times as long as the estimate and its correction.
DL_INLINE Vec reciprocal(Vec d) {
#if defined(__AVX512F__)
  const Vec y = {_mm512_rcp14_ps(d.v)};
  return fma(y, fnma(d, y, broadcast(1.0f)), y);
#else
  return broadcast(1.0f) / d;
#endif
}

// u = n + r, |r| <= 1/2, and 2^n, for |u| <= 126.
struct PowerParts { Vec r, scale; };
DL_INLINE PowerParts split_power(Vec u) {
  const Vec magic = broadcast(12582912.0f), t = u + magic;  // 1.5 * 2^23: the sum's low bits are the nearest integer
  return {u - (t - magic), bits_as_float(shl<23>(bits_as_int(t)) + broadcast(0x3f800000))};
}
DL_INLINE Vec within(Vec u, float bound) {  // NaN stays
  return fast_max(broadcast(-bound), fast_min(broadcast(bound), u));
}

// Gates are wanted to a unit in the last place of 1, not of themselves: what they are made of is not known any better.
// That allows shorter polynomials than simd/math.h has. Error below 2 * 2^-24.
DL_INLINE Vec gate_sigmoid(Vec x) {
  const PowerParts p = split_power(within(x * broadcast(-1.44269504f), 126.0f));
  const Vec power = poly(p.r, 1.0f, 0.693147004f, 0.240222424f, 0.0555073358f, 0.00967151299f, 0.00132647273f);
  return reciprocal(fma(power, p.scale, broadcast(1.0f)));
}

// (e^2x - 1) / (e^2x + 1). Error below 2.5 * 2^-24 of the result, tiny ones included.
DL_INLINE Vec gate_tanh(Vec x) {
  const PowerParts p = split_power(within(x * broadcast(2.88539008f), 26.0f));
  const Vec less_one =
      p.r * poly(p.r, 0.693147182f, 0.240226492f, 0.0555035733f, 0.00961823761f, 0.00133907353f, 0.000154035122f);
  const Vec e = fma(less_one, p.scale, p.scale - broadcast(1.0f));
  return e * reciprocal(e + broadcast(2.0f));
}

struct Row {  // what a row of each buffer offers, at the first unit of the group
  float *gates, *saved, *y, *h_next, *c;
  const float *h, *b_n;
};

template <class Lanes> DL_INLINE void lstm_forward(const Row& p, int64_t H, int64_t u, Lanes n) {
  float* gates = p.gates + u;
  const Vec i = gate_sigmoid(load(gates, n)), f = gate_sigmoid(load(gates + H, n));
  const Vec g = gate_tanh(load(gates + 2 * H, n)), o = gate_sigmoid(load(gates + 3 * H, n));
  const Vec c = fma(f, load(p.c + u, n), i * g), tanh_c = gate_tanh(c), h = o * tanh_c;
  store(gates, i, n);
  store(gates + H, f, n);
  store(gates + 2 * H, g, n);
  store(gates + 3 * H, o, n);
  store(p.c + u, c, n);
  store(p.y + u, h, n);
  store(p.h_next + u, h, n);
  if (p.saved) store(p.saved + u, c, n);
}

// saved: h w_n^T on entry.
template <class Lanes> DL_INLINE void gru_forward(const Row& p, int64_t H, int64_t u, Lanes n) {
  float* gates = p.gates + u;
  const Vec r = gate_sigmoid(load(gates, n)), z = gate_sigmoid(load(gates + H, n));
  Vec hn = load(p.saved + u, n);
  if (p.b_n) hn += load(p.b_n + u, n);
  const Vec new_h = gate_tanh(fma(r, hn, load(gates + 2 * H, n)));
  const Vec h = fma(z, load(p.h + u, n) - new_h, new_h);
  store(gates, r, n);
  store(gates + H, z, n);
  store(gates + 2 * H, new_h, n);
  store(p.saved + u, hn, n);
  store(p.y + u, h, n);
  store(p.h_next + u, h, n);
}

template <bool relu, class Lanes> DL_INLINE void plain_forward(const Row& p, int64_t u, Lanes n) {
  const Vec x = load(p.gates + u, n), h = relu ? select(lt(x, zero()), zero(), x) : gate_tanh(x);
  store(p.y + u, h, n);
  store(p.h_next + u, h, n);
}

struct RowGradients {
  const float *gates, *saved, *y, *prev, *c_prev, *dy;
  float *dh, *dc, *dgates, *d_next;  // d_next: for the product with w in the step that comes next
};

// The sums over the rows, one for each gradient.
struct GateSums { Vec of[4]; };

DL_INLINE Vec one_less_square(Vec x) { return fnma(x, x, broadcast(1.0f)); }
DL_INLINE Vec times_one_less(Vec x) { return fnma(x, x, x); }

template <class Lanes>
DL_INLINE void lstm_backward(const RowGradients& p, int64_t H, int64_t u, Lanes n, GateSums& sums) {
  const float* gates = p.gates + u;
  const Vec i = load(gates, n), f = load(gates + H, n), g = load(gates + 2 * H, n), o = load(gates + 3 * H, n);
  const Vec tanh_c = gate_tanh(load(p.saved + u, n)), dh = load(p.dh + u, n) + load(p.dy + u, n);
  const Vec dc = fma(dh * o, one_less_square(tanh_c), load(p.dc + u, n));
  store(p.dc + u, dc * f, n);
  const Vec d[] = {dc * g * times_one_less(i), dc * load(p.c_prev + u, n) * times_one_less(f),
                   dc * i * one_less_square(g), dh * tanh_c * times_one_less(o)};
  for (int k = 0; k < 4; ++k) {
    store(p.dgates + k * H + u, d[k], n);
    store(p.d_next + k * H + u, d[k], n);
    sums.of[k] += d[k];
  }
}

template <class Lanes>
DL_INLINE void gru_backward(const RowGradients& p, int64_t H, int64_t u, Lanes n, GateSums& sums) {
  const float* gates = p.gates + u;
  const Vec r = load(gates, n), z = load(gates + H, n), new_h = load(gates + 2 * H, n), hn = load(p.saved + u, n);
  const Vec dh = load(p.dh + u, n) + load(p.dy + u, n), carried = dh * z;
  store(p.dh + u, carried, n);
  const Vec dn = (dh - carried) * one_less_square(new_h), dr = dn * hn * times_one_less(r);
  const Vec d[] = {dr, dh * (load(p.prev + u, n) - new_h) * times_one_less(z), dn, dn * r};
  for (int k = 0; k < 4; ++k) {
    store(p.dgates + k * H + u, d[k], n);
    if (k != 2) store(p.d_next + (k == 3 ? 2 : k) * H + u, d[k], n);
    sums.of[k] += d[k];
  }
}

template <bool relu, class Lanes>
DL_INLINE void plain_backward(const RowGradients& p, int64_t u, Lanes n, GateSums& sums) {
  const Vec y = load(p.y + u, n), dh = load(p.dh + u, n) + load(p.dy + u, n);
  const Vec d = relu ? select(le(y, zero()), zero(), dh) : dh * one_less_square(y);
  store(p.dgates + u, d, n);
  store(p.d_next + u, d, n);
  sums.of[0] += d;
}

}  // namespace
}  // namespace dl
