// Elementary functions over Vec. Each states its largest error, in units of the last place of the true result
// (tests/cpp/simd_test.cpp holds them to it, on every instruction set). NaN gives NaN; denormals count as numbers,
// on the way in and out; signed zeros are kept where the function passes through zero.
// Polynomials are weighted minimax fits (Remez) on the stated interval, rounded to float32.
#pragma once
#include "simd/vec.h"

namespace dl {
namespace {

constexpr float kLog2e = 1.44269504f, kInf = __builtin_inff();
constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;  // the high part times any exponent is exact

// c0 + c1 x + c2 x^2 + ...
template <class... C> DL_INLINE Vec poly(Vec x, float c0, C... rest) {
  if constexpr (sizeof...(rest) == 0) return broadcast(c0);
  else return fma(x, poly(x, rest...), broadcast(c0));
}

// a*b = p + mul_error(a, b, p) exactly, for p = a*b rounded. Without fma by Dekker's splitting (|a|, |b| < 1e34).
DL_INLINE Vec mul_error(Vec a, Vec b, Vec p) {
#if defined(__FMA__) || defined(__aarch64__)
  return fma(a, b, -p);
#else
  const Vec splitter = broadcast(4097.0f), ca = splitter * a, cb = splitter * b;
  const Vec ah = ca - (ca - a), al = a - ah, bh = cb - (cb - b), bl = b - bh;
  return ((ah * bh - p) + ah * bl + al * bh) + al * bl;
#endif
}

// x = n ln2 + r with |r| <= ln2 / 2, for |x| < 2^20.
struct ExpParts {
  Vec n, r;
  VecI n_int;
};
DL_INLINE ExpParts split_exp(Vec x) {
  const Vec magic = broadcast(12582912.0f);  // 1.5 * 2^23: the sum's low bits are the nearest integer
  const Vec t = fma(x, broadcast(kLog2e), magic), n = t - magic;
  const Vec r = fnma(n, broadcast(kLn2Low), fnma(n, broadcast(kLn2High), x));
  return {n, r, bits_as_int(t) - bits_as_int(magic)};
}

// y * 2^n, rounded once even to a denormal, for -252 <= n <= 254.
DL_INLINE Vec scale_by_power_of_two(Vec y, Vec n, VecI n_int) {
#if defined(__AVX512F__)
  (void)n_int;
  return {_mm512_scalef_ps(y.v, n.v)};
#else
  (void)n;
  const VecI half = sar<1>(n_int), bias = broadcast(127);
  return y * bits_as_float(shl<23>(half + bias)) * bits_as_float(shl<23>(n_int - half + bias));
#endif
}

// (e^r - 1 - r) / r^2 for |r| <= ln2 / 2
DL_INLINE Vec expm1_tail(Vec r) {
  return poly(r, 0.49999994f, 0.166665167f, 0.0416681059f, 0.00836914033f, 0.00138367142f);
}

// e^x; 1 ulp. Above 88.73 infinity, below -103.98 zero.
DL_INLINE Vec exp(Vec x) {
  // The second operand of fast_min and fast_max passes NaN on.
  const ExpParts p = split_exp(fast_max(broadcast(-104.0f), fast_min(broadcast(89.0f), x)));
  const Vec y = fma(p.r * p.r, expm1_tail(p.r), p.r) + broadcast(1.0f);
  return scale_by_power_of_two(y, p.n, p.n_int);
}

// e^x - 1; 1.6 ulp.
DL_INLINE Vec expm1(Vec x) {
  const ExpParts p = split_exp(fast_max(broadcast(-18.0f), fast_min(broadcast(89.0f), x)));
  const Vec em1 = fma(p.r * p.r, expm1_tail(p.r), p.r);
  // 2 (em1 2^(n-1) + 2^(n-1) - 1/2): 2^n itself would overflow for the last finite results.
  const Vec half_scale = bits_as_float(shl<23>(p.n_int + broadcast(126)));
  const Vec half = fma(em1, half_scale, half_scale - broadcast(0.5f));
  return select(eq(x, zero()), x, half + half);
}

// 2^x; 1.1 ulp.
DL_INLINE Vec exp2(Vec x) {
  x = fast_max(broadcast(-150.0f), fast_min(broadcast(128.5f), x));
  const Vec magic = broadcast(12582912.0f), t = x + magic, n = t - magic;
  const Vec y =
      poly(x - n, 1.0f, 0.693147242f, 0.240226552f, 0.0555027276f, 0.00961702596f, 0.00134185038f, 0.000158371171f);
  return scale_by_power_of_two(y, n, bits_as_int(t) - bits_as_int(magic));
}

// 1 / (1 + e^-x); 2.2 ulp, also where it is tiny.
DL_INLINE Vec sigmoid(Vec x) {
  const Vec one = broadcast(1.0f), e = exp(-abs(x));
  return select(lt(x, zero()), e, one) / (one + e);
}

// 1.3 ulp.
DL_INLINE Vec tanh(Vec x) {
  const Vec z = x * x, a = abs(x);
  const Vec small = fma(x * z, poly(z, -0.333332777f, 0.133313313f, -0.0537300073f, 0.0206061769f, -0.00566697679f), x);
  const Vec large = broadcast(1.0f) - broadcast(2.0f) / (exp(a + a) + broadcast(1.0f));
  return select(lt(a, broadcast(0.625f)), select(eq(x, zero()), x, small), copysign(large, x));
}

// log(1 + f) for -1/3 <= f <= 1/3
DL_INLINE Vec log1p_reduced(Vec f) {
  const Vec tail = poly(f, -0.5f, 0.333332241f, -0.249998987f, 0.200108632f, -0.166766554f, 0.139901266f, -0.122282825f,
                        0.140873283f, -0.127341524f);
  return fma(f * f, tail, f);
}

// x = 2^e (1 + f) with -1/3 <= f < 1/3, for finite x > 0.
struct LogParts { Vec e, f; };
DL_INLINE LogParts split_log(Vec x) {
  const Mask tiny = lt(x, broadcast(1.17549435e-38f));
  const VecI bits = bits_as_int(select(tiny, x * broadcast(8388608.0f), x));
  const VecI e = sar<23>(bits - broadcast_bits(0x3f2aaaab));  // bits of 2/3
  const Vec m = bits_as_float(bits - shl<23>(e));
  return {to_float(e) - select(tiny, broadcast(23.0f), zero()), m - broadcast(1.0f)};
}
// What every logarithm does outside (0, inf): 0 -> -inf, negative -> NaN, inf -> inf, NaN -> NaN.
DL_INLINE Vec log_edges(Vec x, Vec y) {
  const Vec edge = select(eq(x, zero()), broadcast(-kInf), select(lt(x, zero()), broadcast(__builtin_nanf("")), x));
  return select(gt(x, zero()) & lt(x, broadcast(kInf)), y, edge);
}

// 1 ulp.
DL_INLINE Vec log(Vec x) {
  const LogParts p = split_log(x);
  return log_edges(x, fma(p.e, broadcast(kLn2High), fma(p.e, broadcast(kLn2Low), log1p_reduced(p.f))));
}

// 2.2 ulp; exact for powers of two.
DL_INLINE Vec log2(Vec x) {
  const LogParts p = split_log(x);
  const Vec l = log1p_reduced(p.f);
  return log_edges(x, p.e + fma(l, broadcast(kLog2e), l * broadcast(1.92596299e-8f)));
}

// log(1 + x); 1.5 ulp.
DL_INLINE Vec log1p(Vec x) {
  const Vec one = broadcast(1.0f), u = one + x;
  const VecI e = sar<23>(bits_as_int(u) - broadcast_bits(0x3f2aaaab));
  // (1 + x) 2^-e - 1 without the rounding in 1 + x. 2^-e = 2^(2-e) / 4, as 2^-127 has no normal number.
  const Vec scale = bits_as_float(broadcast_bits(0x40800000) - shl<23>(e)) * broadcast(0.25f);
  const Vec f = fma(x, scale, scale - one), n = to_float(e);
  const Vec y = fma(n, broadcast(kLn2High), fma(n, broadcast(kLn2Low), log1p_reduced(f)));
  // log_edges asks about 1 + x, whose sign is exact; a huge x stays finite in it.
  return select(eq(x, zero()), x, log_edges(u, y));
}

// log(1 + e^x) without overflow; 2 ulp.
DL_INLINE Vec softplus(Vec x) { return max(x, zero()) + log1p(exp(-abs(x))); }

// e^(a^2) erfc(a) for 0 <= a <= 10.5
DL_INLINE Vec erfc_scaled(Vec a) {
  const Vec t = broadcast(1.0f) / fma(a, broadcast(0.4f), broadcast(1.0f));
  return t * poly(t, 0.225703672f, 0.225015268f, 0.214390799f, 0.132156178f, 0.264874518f, -0.27092427f, 0.531227767f,
                  -0.48662907f, 0.19282198f, -0.0286368169f);
}
// e^(-s a^2): the square's rounding error is put back in, else the result would lose a^2 ulps.
DL_INLINE Vec exp_minus_square(Vec a, float s) {
  const Vec p = a * a, scale = broadcast(s);
  return exp(-(p * scale)) * fnma(mul_error(a, a, p), scale, broadcast(1.0f));
}

// 1.2 ulp.
DL_INLINE Vec erf(Vec x) {
  const Vec z = x * x, a = fast_min(broadcast(10.0f), abs(x));
  const Vec small = fma(x,
                        poly(z, 0.128379166f, -0.37612626f, 0.112835854f, -0.0268538129f, 0.00518832775f,
                             -0.000801019371f, 7.85386146e-05f),
                        x);
  const Vec large = fnma(exp_minus_square(a, 1.0f), erfc_scaled(a), broadcast(1.0f));
  return select(lt(a, broadcast(1.0f)), select(eq(x, zero()), x, small), copysign(large, x));
}

// The normal distribution at x: cdf = erfc(-x / sqrt 2) / 2 and pdf = e^(-x^2/2) / sqrt(2 pi).
// cdf: 6.5 ulp down to where it passes under 1e-38, so that x * cdf, the GELU, keeps its digits on the left tail.
// pdf: 3.1 ulp.
struct Normal { Vec cdf, pdf; };
DL_INLINE Normal normal(Vec x) {
  const Vec a = fast_min(broadcast(14.8f), abs(x)), e = exp_minus_square(a, 0.5f);
  const Vec tail = e * erfc_scaled(a * broadcast(0.707106781f)) * broadcast(0.5f);
  return {select(lt(x, zero()), tail, broadcast(1.0f) - tail), e * broadcast(0.398942280f)};
}

}  // namespace
}  // namespace dl
