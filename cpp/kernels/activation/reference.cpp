// Activations and their gradients, scalar and in double precision.
#include <cmath>

#include "kernels/activation/activation.h"
#include "kernels/elementwise/scalar_loops.h"

namespace dl {
namespace {

constexpr double kSqrtHalfLow = -4.8336466567264567e-17;  // sqrt(1/2) less the double nearest to it

double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
double normal_cdf(double x) {
  if (std::isinf(x)) return x > 0 ? 1 : 0;
  // erfc magnifies its argument's rounding error x^2 times: it is put back in by the derivative.
  const double a = -x * M_SQRT1_2, error = std::fma(-x, M_SQRT1_2, -a) - x * kSqrtHalfLow;
  return 0.5 * (std::erfc(a) - error * M_2_SQRTPI * std::exp(-a * a));
}
double normal_pdf(double x) { return std::exp(-0.5 * x * x) * (0.5 * M_2_SQRTPI * M_SQRT1_2); }
double gelu_inner(double x) {  // 2 sqrt(2/pi) (x + 0.044715 x^3)
  return M_2_SQRTPI * M_SQRT2 * (x + 0.044715 * x * x * x);
}
double times(double x, double factor) { return factor == 0 ? std::copysign(0.0, x) : x * factor; }  // also for x = inf

struct Relu {
  static constexpr auto name = "relu";
  static double f(double x) { return x < 0 ? 0 : x; }
};
struct ReluBackward {
  static constexpr auto name = "relu_backward";
  static double f(double y, double dy) { return y <= 0 ? 0 : dy; }
};

struct Tanh {
  static constexpr auto name = "tanh";
  static double f(double x) { return std::tanh(x); }
};
struct TanhBackward {
  static constexpr auto name = "tanh_backward";
  static double f(double y, double dy) { return dy * (1 - y * y); }
};

struct Sigmoid {
  static constexpr auto name = "sigmoid";
  static double f(double x) { return sigmoid(x); }
};
struct SigmoidBackward {
  static constexpr auto name = "sigmoid_backward";
  static double f(double y, double dy) { return dy * y * (1 - y); }
};

struct Gelu {
  static constexpr auto name = "gelu";
  static double f(double x) { return times(x, normal_cdf(x)); }
};
struct GeluBackward {
  static constexpr auto name = "gelu_backward";
  static double f(double x, double dy) { return dy * (normal_cdf(x) + times(x, normal_pdf(x))); }
};

struct GeluTanh {
  static constexpr auto name = "gelu_tanh";
  static double f(double x) { return times(x, sigmoid(gelu_inner(x))); }
};
struct GeluTanhBackward {
  static constexpr auto name = "gelu_tanh_backward";
  static double f(double x, double dy) {
    const double u = gelu_inner(x), slope = M_2_SQRTPI * M_SQRT2 * (1 + 3 * 0.044715 * x * x);
    return dy * (sigmoid(u) + times(x * slope, sigmoid(u) * sigmoid(-u)));
  }
};

struct Silu {
  static constexpr auto name = "silu";
  static double f(double x) { return times(x, sigmoid(x)); }
};
struct SiluBackward {
  static constexpr auto name = "silu_backward";
  static double f(double x, double dy) { return dy * (sigmoid(x) + times(x, sigmoid(x) * sigmoid(-x))); }
};

struct Softplus {
  static constexpr auto name = "softplus";
  static double f(double x) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }
};
struct LeakyRelu {
  static constexpr auto name = "leaky_relu";
  static double f(double x, double slope, double) { return x > 0 ? x : slope * x; }
};
struct Elu {
  static constexpr auto name = "elu";
  static double f(double x, double alpha, double) { return x > 0 ? x : alpha * std::expm1(x); }
};

using Floats = Widened<float, bfloat16, double>;

[[maybe_unused]] const bool registered = Floats::register_unary<Relu, Tanh, Sigmoid, Gelu, GeluTanh, Silu, Softplus>() &
                                         Floats::register_unary_param<LeakyRelu, Elu>() &
                                         Floats::register_binary<ReluBackward, TanhBackward, SigmoidBackward,
                                                                 GeluBackward, GeluTanhBackward, SiluBackward>();

}  // namespace
}  // namespace dl
