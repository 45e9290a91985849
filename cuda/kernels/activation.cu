// Activations and their gradients.
#include "kernels/activation/activation.h"

#include "cuda/core/elementwise.h"

namespace dl {
namespace {

constexpr double kSqrtHalf = 0.70710678118654752440, kTwoOverSqrtPi = 1.12837916709551257390;

template <class T> DL_DEVICE T logistic(T x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }

// erfc magnifies its argument's rounding error x^2 times: it is put back in by the derivative.
template <class T> DL_DEVICE T normal_cdf(T x) {
  constexpr T high = static_cast<T>(kSqrtHalf);
  constexpr T low = sizeof(T) == 4 ? static_cast<T>(kSqrtHalf - static_cast<double>(static_cast<float>(kSqrtHalf)))
                                   : static_cast<T>(-4.8336466567264567e-17);  // sqrt(1/2) less `high`
  if (fabs(x) > T(40)) return x > 0 ? T(1) : T(0);
  const T a = -x * high, error = fma(-x, high, -a) - x * low;
  return T(0.5) * (erfc(a) - error * static_cast<T>(kTwoOverSqrtPi) * exp(-a * a));
}
template <class T> DL_DEVICE T normal_pdf(T x) {
  return exp(T(-0.5) * x * x) * static_cast<T>(0.5 * kTwoOverSqrtPi * kSqrtHalf);
}
template <class T> DL_DEVICE T gelu_inner(T x) {  // 2 sqrt(2/pi) (x + 0.044715 x^3)
  return static_cast<T>(2 * kTwoOverSqrtPi * kSqrtHalf) * (x + T(0.044715) * x * x * x);
}
template <class T> DL_DEVICE T times(T x, T factor) { return factor == 0 ? copysign(T(0), x) : x * factor; }

struct Relu {
  static constexpr auto name = "relu";
  template <class T> static DL_DEVICE T f(T x) { return x < 0 ? T(0) : x; }
};
struct ReluBackward {
  static constexpr auto name = "relu_backward";
  template <class T> static DL_DEVICE T f(T y, T dy) { return y <= 0 ? T(0) : dy; }
};
struct Tanh {
  static constexpr auto name = "tanh";
  template <class T> static DL_DEVICE T f(T x) { return tanh(x); }
};
struct TanhBackward {
  static constexpr auto name = "tanh_backward";
  template <class T> static DL_DEVICE T f(T y, T dy) { return dy * (1 - y * y); }
};
struct Sigmoid {
  static constexpr auto name = "sigmoid";
  template <class T> static DL_DEVICE T f(T x) { return logistic(x); }
};
struct SigmoidBackward {
  static constexpr auto name = "sigmoid_backward";
  template <class T> static DL_DEVICE T f(T y, T dy) { return dy * y * (1 - y); }
};
struct Gelu {
  static constexpr auto name = "gelu";
  template <class T> static DL_DEVICE T f(T x) { return times(x, normal_cdf(x)); }
};
struct GeluBackward {
  static constexpr auto name = "gelu_backward";
  template <class T> static DL_DEVICE T f(T x, T dy) { return dy * (normal_cdf(x) + times(x, normal_pdf(x))); }
};
struct GeluTanh {
  static constexpr auto name = "gelu_tanh";
  template <class T> static DL_DEVICE T f(T x) { return times(x, logistic(gelu_inner(x))); }
};
struct GeluTanhBackward {
  static constexpr auto name = "gelu_tanh_backward";
  template <class T> static DL_DEVICE T f(T x, T dy) {
    const T u = gelu_inner(x);
    const T slope = static_cast<T>(2 * kTwoOverSqrtPi * kSqrtHalf) * (1 + T(3 * 0.044715) * x * x);
    return dy * (logistic(u) + times(x * slope, logistic(u) * logistic(-u)));
  }
};
struct Silu {
  static constexpr auto name = "silu";
  template <class T> static DL_DEVICE T f(T x) { return times(x, logistic(x)); }
};
struct SiluBackward {
  static constexpr auto name = "silu_backward";
  template <class T> static DL_DEVICE T f(T x, T dy) {
    return dy * (logistic(x) + times(x, logistic(x) * logistic(-x)));
  }
};
struct Softplus {
  static constexpr auto name = "softplus";
  template <class T> static DL_DEVICE T f(T x) { return (x > 0 ? x : x != x ? x : T(0)) + log1p(exp(-fabs(x))); }
};
struct LeakyRelu {
  static constexpr auto name = "leaky_relu";
  template <class T> static DL_DEVICE T f(T x, T slope, T) { return x > 0 ? x : slope * x; }
};
struct Elu {
  static constexpr auto name = "elu";
  template <class T> static DL_DEVICE T f(T x, T alpha, T) { return x > 0 ? x : alpha * expm1(x); }
};

using Floats = For<float, bfloat16, double>;

[[maybe_unused]] const bool registered = Floats::register_unary<Relu, Tanh, Sigmoid, Gelu, GeluTanh, Silu, Softplus>() &
                                         Floats::register_unary_param<LeakyRelu, Elu>() &
                                         Floats::register_binary<ReluBackward, TanhBackward, SigmoidBackward,
                                                                 GeluBackward, GeluTanhBackward, SiluBackward>();

}  // namespace
}  // namespace dl
