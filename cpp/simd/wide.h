// Functions over Vec that need more than float32 inside: their lanes are taken in double precision, half by half.
// Errors are stated as in math.h.
#pragma once
#include "simd/math.h"

namespace dl {
namespace {

typedef uint64_t u64xh __attribute__((vector_size(sizeof(f64xh))));

constexpr double kRoundMagic = 6755399441055744.0;  // 1.5 * 2^52: the sum's low bits are the nearest integer

DL_INLINE f64xh pick(u64xh mask, f64xh a, f64xh b) {
  return reinterpret_cast<f64xh>((mask & reinterpret_cast<u64xh>(a)) | (~mask & reinterpret_cast<u64xh>(b)));
}

// x - n pi/2 for the nearest n, which goes to `n_bits` as the low bits of a double. |x| < 2^28: then n has at most 28
// bits, and its product with the first part of pi/2 (25 bits) is exact.
DL_INLINE f64xh reduce_half_pi(f64xh x, f64xh& n_bits) {
  n_bits = x * 0.63661977236758134308 + kRoundMagic;
  const f64xh n = n_bits - kRoundMagic;
  const f64xh r = x - n * 1.57079631090164184570;
  return r - n * 1.58932547735281966916e-08;
}

// sin(x + quarter_turns pi/2). Past 2^28 the C library's own reduction takes over, lane by lane: such arguments are
// rare.
DL_INLINE Vec sin_shifted(Vec x, int quarter_turns) {
  const Mask huge = ge(abs(x), broadcast(268435456.0f)) & lt(abs(x), broadcast(kInf));
  f64xh n_lo, n_hi;
  const f64xh r_lo = reduce_half_pi(lower_half(x), n_lo), r_hi = reduce_half_pi(upper_half(x), n_hi);
  const Vec r = join_halves(r_lo, r_hi), z = r * r;
  const VecI q = join_low_bits(n_lo, n_hi) + broadcast(quarter_turns);
  const Vec s = fma(r * z, poly(z, -0.166666672f, 0.00833332911f, -0.000198393085f, 2.71808403e-06f), r);
  const Vec c =
      fma(z * z, poly(z, 0.0416666456f, -0.0013887313f, 2.44327857e-05f), fma(z, broadcast(-0.5f), broadcast(1.0f)));
  const Vec y = select(eq(q & broadcast(1), broadcast(0)), select(eq(x, zero()), x, s), c);
  Vec result = bits_as_float(bits_as_int(y) ^ shl<30>(q & broadcast(2)));
  if (__builtin_expect(any(huge), 0)) {
    float in[Vec::size], out[Vec::size];
    store(in, x);
    for (int i = 0; i < Vec::size; ++i) out[i] = quarter_turns == 0 ? __builtin_sinf(in[i]) : __builtin_cosf(in[i]);
    result = select(huge, load(out), result);
  }
  return result;
}

// 1.6 ulp; NaN for infinities.
DL_INLINE Vec sin(Vec x) { return sin_shifted(x, 0); }
DL_INLINE Vec cos(Vec x) { return sin_shifted(x, 1); }

// log2(x), relative error 5e-12, for finite x > 0 that came from a float (so never a denormal double).
DL_INLINE f64xh log2_wide(f64xh x) {
  const u64xh bits = reinterpret_cast<u64xh>(x);
  const u64xh e = (bits - 0x3fe6a09e667f3bcdull + (1024ull << 52)) >> 52;  // exponent + 1024 of x over sqrt(1/2)
  const f64xh m = reinterpret_cast<f64xh>(bits - (e << 52) + (1024ull << 52));
  const f64xh n = reinterpret_cast<f64xh>(e | 0x4330000000000000ull) - (4503599627370496.0 + 1024.0);
  const f64xh s = (m - 1.0) / (m + 1.0), z = s * s;
  return n +
         s * (2.88539008179008 +
              z * (0.9617966733500538 + z * (0.5770835832707194 + z * (0.4116728268417175 + z * 0.3407280089749805))));
}

// 2^t, relative error 4e-9, as a double: out of float's range it is large or small enough to round to infinity or zero.
DL_INLINE f64xh exp2_wide(f64xh t) {
  const f64xh limit = f64xh{} + 200.0;
  t = pick(reinterpret_cast<u64xh>(t > limit), limit, t);
  t = pick(reinterpret_cast<u64xh>(t < -limit), -limit, t);
  const f64xh shifted = t + kRoundMagic, r = t - (shifted - kRoundMagic);
  const f64xh y =
      1.0 + r * (0.6931472253950111 +
                 r * (0.24022651084117294 +
                      r * (0.05550297314199325 +
                           r * (0.009618030782505154 + r * (0.0013410000966100157 + r * 0.00015469731977475548)))));
  return y * reinterpret_cast<f64xh>((reinterpret_cast<u64xh>(shifted) + 1023) << 52);
}

// a^b; 0.6 ulp. The C standard's edges: a^0 = 1^b = 1 even for NaN; a negative base with a whole exponent takes its
// sign from the exponent's parity, with another finite exponent it is NaN; zero to a negative power is infinite.
DL_INLINE Vec pow(Vec a, Vec b) {
  const Vec one = broadcast(1.0f), inf = broadcast(kInf), base = abs(a);
  const Vec safe = select(gt(base, zero()) & lt(base, inf), base, one);
  const f64xh y_lo = exp2_wide(lower_half(b) * log2_wide(lower_half(safe)));
  const f64xh y_hi = exp2_wide(upper_half(b) * log2_wide(upper_half(safe)));
  Vec y = join_halves(y_lo, y_hi);
  const Mask grows = eq(base, inf);  // base is 0 or infinity: the result is 0 or infinity, by the exponent's sign
  y = select(eq(base, zero()) | grows, select(gt(b, zero()) ^ grows, zero(), inf), y);
  y = select(eq(base, one), one, y);  // also for an infinite exponent
  const Vec half = b * broadcast(0.5f);
  const Mask whole = eq(floor(b), b), odd = whole & ne(floor(half), half);
  y = select(odd, copysign(y, a), y);
  y = select(lt(a, zero()) & lt(base, inf) & !whole, broadcast(__builtin_nanf("")), y);
  y = select(isnan(a) | isnan(b), a + b, y);
  return select(eq(b, zero()) | eq(a, one), one, y);
}

// a = quotient b + remainder with a whole quotient rounded down: the remainder has b's sign, as in Python. Dividing by
// zero gives a / b and NaN.
struct Division { Vec quotient, remainder; };
DL_INLINE void divide_down_half(f64xh a, f64xh b, f64xh& quotient, f64xh& remainder) {
  // The quotient has at most 28 bits and b 24: the product is exact, and so is the difference.
  const f64xh q = (a / b + kRoundMagic) - kRoundMagic, r = a - q * b;
  const u64xh other_side = reinterpret_cast<u64xh>(r != 0.0) & reinterpret_cast<u64xh>((r < 0.0) != (b < 0.0));
  quotient = pick(other_side, q - 1.0, q);
  remainder = pick(other_side, r + b, r);
}
inline void divide_down_lane(float a, float b, float& quotient, float& remainder) {
  remainder = __builtin_fmodf(a, b);
  quotient = b == 0.0f ? a / b : (a - remainder) / b;
  if (remainder != 0.0f && (remainder < 0.0f) != (b < 0.0f)) {
    remainder += b;
    quotient -= 1.0f;
  }
  const float down = __builtin_floorf(quotient);  // (a - remainder) / b was rounded: down may be one too few
  quotient = quotient - down > 0.5f ? down + 1.0f : down;
}
DL_INLINE Division divide_down(Vec a, Vec b) {
  const Vec ratio = a / b;
  const Mask usual = lt(abs(ratio), broadcast(268435456.0f)) & lt(abs(b), broadcast(kInf));
  f64xh q_lo, q_hi, r_lo, r_hi;
  divide_down_half(lower_half(a), lower_half(b), q_lo, r_lo);
  divide_down_half(upper_half(a), upper_half(b), q_hi, r_hi);
  Division d = {join_halves(q_lo, q_hi), join_halves(r_lo, r_hi)};
  if (__builtin_expect(!all(usual), 0)) {  // huge quotients, zero and infinite divisors, NaN: rare, so lane by lane
    float in_a[Vec::size], in_b[Vec::size], q[Vec::size], r[Vec::size];
    store(in_a, a);
    store(in_b, b);
    for (int i = 0; i < Vec::size; ++i) divide_down_lane(in_a[i], in_b[i], q[i], r[i]);
    d = {select(usual, d.quotient, load(q)), select(usual, d.remainder, load(r))};
  }
  return {select(eq(d.quotient, zero()), copysign(zero(), ratio), d.quotient),
          select(eq(d.remainder, zero()), copysign(zero(), b), d.remainder)};
}

}  // namespace
}  // namespace dl
