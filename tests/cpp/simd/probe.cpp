// Vec, lane by lane against plain C, and the functions of simd/math.h that no kernel shows. Compiled once per
// instruction set with that set's flags, like a kernel, and found through the kernel table.
#include "simd/probe.h"

#include "kernels/elementwise/vec_loops.h"
#include "simd/wide.h"

namespace dl {
namespace {

constexpr int kLanes = Vec::size;

struct Report {
  char* message;
  int capacity, failures = 0;

  void check(bool good, const char* what, int lane) {
    if (good) return;
    if (failures++ == 0) std::snprintf(message, static_cast<size_t>(capacity), "%s, lane %d", what, lane);
  }
  // The same bits, or NaN both.
  void same(float got, float expected, const char* what, int lane) {
    uint32_t a, b;
    std::memcpy(&a, &got, 4);
    std::memcpy(&b, &expected, 4);
    check(a == b || (got != got && expected != expected), what, lane);
  }
  template <class F> void lanes(Vec v, const char* what, F expected) {
    float out[kLanes];
    store(out, v);
    for (int i = 0; i < kLanes; ++i) same(out[i], expected(i), what, i);
  }
};

constexpr float kSpecial[] = {0.0f,
                              -0.0f,
                              0.5f,
                              -0.5f,
                              1.5f,
                              2.5f,
                              -2.5f,
                              0.49999997f,
                              8388607.5f,
                              -8388608.0f,
                              -1e10f,
                              __builtin_inff(),
                              -__builtin_inff(),
                              __builtin_nanf(""),
                              1e-40f,
                              -0.3f,
                              0.7f,
                              -0.7f,
                              3.4e38f};
constexpr int kSpecials = sizeof kSpecial / sizeof *kSpecial;

void check_arithmetic(Report& r, const float* x, const float* y) {
  const Vec a = load(x), b = load(y);
  r.lanes(a + b, "+", [&](int i) { return x[i] + y[i]; });
  r.lanes(a - b, "-", [&](int i) { return x[i] - y[i]; });
  r.lanes(a * b, "*", [&](int i) { return x[i] * y[i]; });
  r.lanes(a / b, "/", [&](int i) { return x[i] / y[i]; });
  r.lanes(-a, "unary -", [&](int i) { return -x[i]; });
  r.lanes(abs(a), "abs", [&](int i) { return __builtin_fabsf(x[i]); });
  r.lanes(sqrt(a), "sqrt", [&](int i) { return __builtin_sqrtf(x[i]); });
  r.lanes(floor(a), "floor", [&](int i) { return __builtin_floorf(x[i]); });
  r.lanes(ceil(a), "ceil", [&](int i) { return __builtin_ceilf(x[i]); });
  r.lanes(trunc(a), "trunc", [&](int i) { return __builtin_truncf(x[i]); });
  r.lanes(round_nearest(a), "round_nearest", [&](int i) { return __builtin_nearbyintf(x[i]); });
  r.lanes(copysign(a, b), "copysign", [&](int i) { return __builtin_copysignf(x[i], y[i]); });
  r.lanes(fast_max(a, b), "fast_max", [&](int i) { return x[i] > y[i] ? x[i] : y[i]; });
  r.lanes(fast_min(a, b), "fast_min", [&](int i) { return x[i] < y[i] ? x[i] : y[i]; });
  r.lanes(max(a, b), "max", [&](int i) { return x[i] != x[i] || x[i] > y[i] ? x[i] : y[i]; });
  r.lanes(min(a, b), "min", [&](int i) { return x[i] != x[i] || x[i] < y[i] ? x[i] : y[i]; });
  r.lanes(select(lt(a, b), a, b), "lt", [&](int i) { return x[i] < y[i] ? x[i] : y[i]; });
  r.lanes(select(le(a, b), a, b), "le", [&](int i) { return x[i] <= y[i] ? x[i] : y[i]; });
  r.lanes(select(gt(a, b), a, b), "gt", [&](int i) { return x[i] > y[i] ? x[i] : y[i]; });
  r.lanes(select(ge(a, b), a, b), "ge", [&](int i) { return x[i] >= y[i] ? x[i] : y[i]; });
  r.lanes(select(eq(a, b), a, b), "eq", [&](int i) { return x[i] == y[i] ? x[i] : y[i]; });
  r.lanes(select(ne(a, b), a, b), "ne", [&](int i) { return x[i] != y[i] ? x[i] : y[i]; });
  r.lanes(select(isnan(a), b, a), "isnan", [&](int i) { return x[i] != x[i] ? y[i] : x[i]; });
  const Mask less = lt(a, b), positive = gt(a, zero());
  r.lanes(select(less & positive, a, b), "&", [&](int i) { return x[i] < y[i] && x[i] > 0 ? x[i] : y[i]; });
  r.lanes(select(less | positive, a, b), "|", [&](int i) { return x[i] < y[i] || x[i] > 0 ? x[i] : y[i]; });
  r.lanes(select(less ^ positive, a, b), "^", [&](int i) { return (x[i] < y[i]) != (x[i] > 0) ? x[i] : y[i]; });
  r.lanes(select(!less, a, b), "!", [&](int i) { return !(x[i] < y[i]) ? x[i] : y[i]; });
  float most = x[0], least = x[0];
  for (int i = 1; i < kLanes; ++i) {
    most = most != most || most > x[i] ? most : x[i];
    least = least != least || least < x[i] ? least : x[i];
  }
  r.check(reduce_max(a) == most || (most != most && reduce_max(a) != reduce_max(a)), "reduce_max", 0);
  r.check(reduce_min(a) == least || (least != least && reduce_min(a) != reduce_min(a)), "reduce_min", 0);
}

// Partial loads and stores: the first n lanes, and nothing beyond.
void check_memory(Report& r, const float* x, int n) {
  const Vec a = load(x);
  float out[kLanes + 2];
  bfloat16 half[kLanes + 2];
  bool flags[kLanes + 2];
  for (int i = 0; i < kLanes + 2; ++i) {
    out[i] = 42;
    half[i] = {777};
    flags[i] = true;
  }
  store(out + 1, a, n);
  store(half + 1, a, n);
  store_mask(flags + 1, gt(a, a), n);
  for (int i = -1; i <= kLanes; ++i) {
    const bool inside = i >= 0 && i < n;
    r.same(out[i + 1], inside ? x[i] : 42, "store(float, n)", i);
    r.check(half[i + 1].bits == (inside ? to_bfloat16(x[i]).bits : 777), "store(bfloat16, n)", i);
    r.check(flags[i + 1] == !inside, "store_mask(n)", i);
  }
  r.lanes(load(x, n), "load(float, n)", [&](int i) { return i < n ? x[i] : 0; });
  r.lanes(load(half + 1, n), "load(bfloat16, n)", [&](int i) { return i < n ? to_float(half[i + 1]) : 0; });
  r.lanes(select(load_mask(flags + 1, n), a, zero()), "load_mask(n)", [&](int) { return 0.0f; });
  const Mask first = first_n(n);
  r.check(any(first) == (n > 0), "any", n);
  r.check(all(first) == (n == kLanes), "all", n);
  r.lanes(select(first, a, zero()), "first_n", [&](int i) { return i < n ? x[i] : 0; });
}

void check_integers(Report& r) {
  int32_t u[kLanes], v[kLanes], lo[kLanes], hi[kLanes];
  uint8_t bytes[kLanes];
  uint16_t words[kLanes];
  uint32_t state = 1;
  for (int i = 0; i < kLanes; ++i) {
    u[i] = static_cast<int32_t>(state = state * 1664525u + 1013904223u);
    v[i] = static_cast<int32_t>(state = state * 1664525u + 1013904223u);
  }
  const VecI a = load(u), b = load(v);
  const WideProduct p = mul_wide_u32(a, b);
  store(lo, p.lo);
  store(hi, p.hi);
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t wide = uint64_t{static_cast<uint32_t>(u[i])} * static_cast<uint32_t>(v[i]);
    r.check(static_cast<uint32_t>(lo[i]) == static_cast<uint32_t>(wide), "mul_wide_u32 lo", i);
    r.check(static_cast<uint32_t>(hi[i]) == static_cast<uint32_t>(wide >> 32), "mul_wide_u32 hi", i);
  }
  const auto each = [&](VecI w, const char* what, auto expected) {
    store(lo, w);
    for (int i = 0; i < kLanes; ++i)
      r.check(lo[i] == static_cast<int32_t>(expected(static_cast<uint32_t>(u[i]), static_cast<uint32_t>(v[i]))), what,
              i);
  };
  each(a + b, "int +", [](uint32_t x, uint32_t y) { return x + y; });
  each(a - b, "int -", [](uint32_t x, uint32_t y) { return x - y; });
  each(a * b, "int *", [](uint32_t x, uint32_t y) { return x * y; });
  each(a & b, "int &", [](uint32_t x, uint32_t y) { return x & y; });
  each(a | b, "int |", [](uint32_t x, uint32_t y) { return x | y; });
  each(a ^ b, "int ^", [](uint32_t x, uint32_t y) { return x ^ y; });
  each(shl<5>(a), "shl", [](uint32_t x, uint32_t) { return x << 5; });
  each(shr<5>(a), "shr", [](uint32_t x, uint32_t) { return x >> 5; });
  each(sar<5>(a), "sar", [](uint32_t x, uint32_t) { return static_cast<int32_t>(x) >> 5; });
  each(select(gt(a, b), a, b), "int gt",
       [](uint32_t x, uint32_t y) { return static_cast<int32_t>(x) > static_cast<int32_t>(y) ? x : y; });
  each(select(eq(a, a), a, b), "int eq", [](uint32_t x, uint32_t) { return x; });
  store_u8(bytes, a);
  store_u16(words, a);
  for (int i = 0; i < kLanes; ++i) {
    r.check(bytes[i] == static_cast<uint8_t>(u[i]), "store_u8", i);
    r.check(words[i] == static_cast<uint16_t>(u[i]), "store_u16", i);
  }
  each(load_u8(bytes), "load_u8", [](uint32_t x, uint32_t) { return x & 0xff; });
  each(load_u16(words), "load_u16", [](uint32_t x, uint32_t) { return x & 0xffff; });
  store(lo, iota());
  for (int i = 0; i < kLanes; ++i) r.check(lo[i] == i, "iota", i);
}

void check_conversions(Report& r) {
  float x[kLanes];
  int32_t whole[kLanes], nearest[kLanes];
  for (int i = 0; i < kLanes; ++i) x[i] = static_cast<float>(i) * 1.25f - 3;
  store(whole, to_int(load(x)));
  store(nearest, to_int_nearest(load(x)));
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) {
    r.check(whole[i] == static_cast<int32_t>(x[i]), "to_int", i);
    r.check(nearest[i] == static_cast<int32_t>(__builtin_nearbyintf(x[i])), "to_int_nearest", i);
    sum += x[i];  // quarters: exact in any order
  }
  r.lanes(to_float(load(whole)), "to_float", [&](int i) { return static_cast<float>(whole[i]); });
  r.check(reduce_add(load(x)) == sum, "reduce_add", 0);
  r.lanes(join_halves(lower_half(load(x)), upper_half(load(x))), "join_halves", [&](int i) { return x[i]; });
}

int probe(char* message, int capacity) {
  Report r{message, capacity};
  float x[kLanes], y[kLanes];
  for (int base = 0; base < kSpecials; ++base)
    for (int step = 0; step < kSpecials; ++step) {
      for (int i = 0; i < kLanes; ++i) {
        x[i] = kSpecial[(base + i) % kSpecials];
        y[i] = kSpecial[(base + i + step) % kSpecials];
      }
      check_arithmetic(r, x, y);
    }
  for (int n = 0; n <= kLanes; ++n) check_memory(r, kSpecial, n);
  check_integers(r);
  check_conversions(r);
  return r.failures;
}

DL_REGISTER("simd_probe", probe, simd_probe_fn)

struct Exp2 {
  static constexpr auto name = "simd_exp2";
  static DL_INLINE Vec f(Vec x) { return exp2(x); }
};
struct NormalCdf {
  static constexpr auto name = "simd_normal_cdf";
  static DL_INLINE Vec f(Vec x) { return normal(x).cdf; }
};
struct NormalPdf {
  static constexpr auto name = "simd_normal_pdf";
  static DL_INLINE Vec f(Vec x) { return normal(x).pdf; }
};
[[maybe_unused]] const bool registered = register_unary<Exp2, NormalCdf, NormalPdf>();

}  // namespace
}  // namespace dl
