// Vec on every instruction set, and the stated errors of simd/math.h and simd/wide.h over a sweep of all float32
// numbers.
#include "kernel_test.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/unary/unary.h"
#include "simd/probe.h"

namespace dl::test {
namespace {

constexpr Target kTargets[] = {Target::baseline, Target::avx2, Target::avx512};

template <class Fn> std::vector<std::pair<Target, Fn>> versions(const std::string& name) {
  compared_kernels().insert(name);
  std::vector<std::pair<Target, Fn>> found;
  for (Target target : kTargets)
    if (const Fn fn = find_version<Fn>(name, target); fn && cpu_supports(target)) found.emplace_back(target, fn);
  return found;
}

TEST(Simd, Vec) {
  const auto probes = versions<simd_probe_fn>("simd_probe");
  ASSERT_FALSE(probes.empty());
  for (const auto& [target, probe] : probes) {
    char message[128] = "";
    EXPECT_EQ(probe(message, sizeof message), 0) << message << " on " << target_name(target);
  }
}

// The distance of y from r in units of the last place of r; of the least denormal below the normal numbers.
double ulps(float y, double r) {
  if (std::isnan(r) && std::isnan(y)) return 0;
  const double largest = std::numeric_limits<float>::max();
  if (std::isinf(y)) return std::abs(r) > largest * (1 - 0x1p-24) && (r > 0) == (y > 0) ? 0 : INFINITY;
  if (r == 0) return std::signbit(y) == std::signbit(r) || y != 0 ? std::abs(y) / 0x1p-149 : INFINITY;
  int exponent;
  std::frexp(r, &exponent);
  const int least = std::min(std::max(exponent - 1, -126), 127) - 23;
  const double distance =
      std::abs(static_cast<double>(y) - std::min(std::max(r, -largest), largest)) / std::ldexp(1.0, least);
  return std::isnan(distance) ? INFINITY : distance;
}

// A stride that is prime to every power of two visits all exponents, both signs and every pattern of low bits.
constexpr uint32_t kStep = 9973;

std::vector<float> sweep() {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += kStep) {
    const uint32_t b = static_cast<uint32_t>(bits);
    float f;
    std::memcpy(&f, &b, 4);
    x.push_back(f);
  }
  for (float f : {0.0f,      -0.0f,           1.0f,           -1.0f,           INFINITY,    -INFINITY,   float{NAN},
                  88.72283f, 88.72284f,       -87.33655f,     -103.97f,        -103.98f,    0.625f,      1e-45f,
                  -1e-45f,   1.17549435e-38f, 3.40282347e38f, -3.40282347e38f, 0.99999994f, 1.00000012f, -0.99999994f})
    x.push_back(f);
  return x;
}

template <class Reference> void expect_ulps(const char* op, double most, Reference reference) {
  static const std::vector<float> x = sweep();
  std::vector<float> y(x.size());
  std::vector<double> r(x.size());
  for (size_t i = 0; i < x.size(); ++i) r[i] = reference(static_cast<double>(x[i]));
  const auto found = versions<unary_fn<float, float>>(std::string(op) + "/float32");
  ASSERT_FALSE(found.empty()) << op;
  for (const auto& [target, kernel] : found) {
    kernel(x.data(), y.data(), static_cast<int64_t>(x.size()));
    size_t worst = 0;
    for (size_t i = 0; i < x.size(); ++i)
      if (ulps(y[i], r[i]) > ulps(y[worst], r[worst])) worst = i;
    EXPECT_LE(ulps(y[worst], r[worst]), most)
        << op << "(" << x[worst] << ") = " << y[worst] << " on " << target_name(target);
  }
}

double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

TEST(Simd, MathErrors) {
  expect_ulps("exp", 1, [](double x) { return std::exp(x); });
  expect_ulps("expm1", 1.6, [](double x) { return std::expm1(x); });
  expect_ulps("simd_exp2", 1.1, [](double x) { return std::exp2(x); });
  expect_ulps("sigmoid", 2.2, sigmoid);
  expect_ulps("tanh", 1.3, [](double x) { return std::tanh(x); });
  expect_ulps("log", 1, [](double x) { return std::log(x); });
  expect_ulps("log2", 2.2, [](double x) { return std::log2(x); });
  expect_ulps("log1p", 1.5, [](double x) { return std::log1p(x); });
  expect_ulps("softplus", 2,
              [](double x) { return std::isnan(x) ? x : std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); });
  expect_ulps("erf", 1.2, [](double x) { return std::erf(x); });
  expect_ulps("simd_normal_cdf", 6.5, [](double x) { return 0.5 * std::erfc(-x * M_SQRT1_2); });
  expect_ulps("simd_normal_pdf", 3.1, [](double x) { return std::exp(-0.5 * x * x) * (0.5 * M_2_SQRTPI * M_SQRT1_2); });
  expect_ulps("sin", 1.6, [](double x) { return std::sin(x); });
  expect_ulps("cos", 1.6, [](double x) { return std::cos(x); });
  for (const char* op : {"simd_exp2", "simd_normal_cdf", "simd_normal_pdf"})
    compared_kernels().insert(std::string(op) + "/bfloat16");
}

TEST(Simd, PowErrors) {
  const std::vector<float> all = sweep();
  std::vector<float> x;
  for (size_t i = 0; i < all.size(); i += 11) x.push_back(all[i]);
  const int64_t n = static_cast<int64_t>(x.size());
  std::vector<float> y(x.size());
  for (float other : {2.0f, 3.0f, -1.0f, 0.5f, -0.5f, 1.0f / 3, 7.5f, 100.3f, 0.0f, -0.0f, INFINITY, -INFINITY,
                      float{NAN}, -3.0f, 2147483648.0f})
    for (bool as_base : {false, true}) {
      const ElementwiseShape s{1, {n}, {{as_base ? 0 : 1}, {as_base ? 1 : 0}}};
      for (const auto& [target, kernel] : versions<binary_fn<float, float>>("pow/float32")) {
        kernel(as_base ? &other : x.data(), as_base ? x.data() : &other, y.data(), &s);
        double worst = 0;
        size_t at = 0;
        for (size_t i = 0; i < x.size(); ++i) {
          const double r = as_base ? std::pow(double{other}, double{x[i]}) : std::pow(double{x[i]}, double{other});
          const double error = ulps(y[i], r);
          if (error > worst) worst = error, at = i;
        }
        EXPECT_LE(worst, 0.6) << (as_base ? "base " : "exponent ") << other << ", other " << x[at] << ": " << y[at]
                              << " on " << target_name(target);
      }
    }
}

}  // namespace
}  // namespace dl::test
