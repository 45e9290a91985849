// Activations and their gradients in float32 and bfloat16, side by side. Where x runs to -inf and its factor to 0, x is
// first held where the factor is 0 already: the product is then 0, not NaN.
#include "kernels/activation/activation.h"
#include "kernels/elementwise/vec_loops.h"
#include "simd/math.h"

namespace dl {
namespace {

// The first operand bounds, the second passes NaN on.
DL_INLINE Vec at_least(Vec x, float low) { return fast_max(broadcast(low), x); }
DL_INLINE Vec within(Vec x, float bound) { return fast_min(broadcast(bound), fast_max(broadcast(-bound), x)); }

struct Relu {
  static constexpr auto name = "relu";
  static DL_INLINE Vec f(Vec x) { return fast_max(zero(), x); }
};
struct ReluBackward {
  static constexpr auto name = "relu_backward";
  static DL_INLINE Vec f(Vec y, Vec dy) { return select(le(y, zero()), zero(), dy); }
};

struct Tanh {
  static constexpr auto name = "tanh";
  static DL_INLINE Vec f(Vec x) { return tanh(x); }
};
struct TanhBackward {
  static constexpr auto name = "tanh_backward";
  static DL_INLINE Vec f(Vec y, Vec dy) { return dy * fnma(y, y, broadcast(1.0f)); }
};

struct Sigmoid {
  static constexpr auto name = "sigmoid";
  static DL_INLINE Vec f(Vec x) { return sigmoid(x); }
};
struct SigmoidBackward {
  static constexpr auto name = "sigmoid_backward";
  static DL_INLINE Vec f(Vec y, Vec dy) { return dy * y * (broadcast(1.0f) - y); }
};

// gelu(x) = x P(Z <= x) for a normal Z (Hendrycks & Gimpel 2016).
struct Gelu {
  static constexpr auto name = "gelu";
  static DL_INLINE Vec f(Vec x) { return at_least(x, -20.0f) * normal(x).cdf; }
};
struct GeluBackward {
  static constexpr auto name = "gelu_backward";
  static DL_INLINE Vec f(Vec x, Vec dy) {
    const Normal z = normal(x);
    return dy * fma(within(x, 20.0f), z.pdf, z.cdf);
  }
};

// sigmoid(v) and 1 - sigmoid(v), both without cancellation.
struct SigmoidPair { Vec s, rest; };
DL_INLINE SigmoidPair sigmoid_pair(Vec v) {
  const Vec one = broadcast(1.0f), e = exp(-abs(v)), large = one / (one + e), small = e * large;
  const Mask negative = lt(v, zero());
  return {select(negative, small, large), select(negative, large, small)};
}

// gelu_tanh(x) = x (1 + tanh u) / 2 = x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x^3).
struct GeluTanh {
  static constexpr auto name = "gelu_tanh";
  static DL_INLINE Vec f(Vec x) {
    x = at_least(x, -20.0f);
    return x * sigmoid(x * fma(x * x, broadcast(0.0713548163f), broadcast(1.59576912f)));
  }
};
struct GeluTanhBackward {
  static constexpr auto name = "gelu_tanh_backward";
  static DL_INLINE Vec f(Vec x, Vec dy) {
    x = within(x, 20.0f);
    const Vec x2 = x * x;
    const SigmoidPair p = sigmoid_pair(x * fma(x2, broadcast(0.0713548163f), broadcast(1.59576912f)));
    const Vec slope = fma(x2, broadcast(0.214064449f), broadcast(1.59576912f));  // d 2u / dx
    return dy * (p.s * fma(x * slope, p.rest, broadcast(1.0f)));
  }
};

// silu(x) = x sigmoid(x)
struct Silu {
  static constexpr auto name = "silu";
  static DL_INLINE Vec f(Vec x) { return at_least(x, -120.0f) * sigmoid(x); }
};
struct SiluBackward {
  static constexpr auto name = "silu_backward";
  static DL_INLINE Vec f(Vec x, Vec dy) {
    const SigmoidPair p = sigmoid_pair(x);
    return dy * (p.s * fma(within(x, 120.0f), p.rest, broadcast(1.0f)));
  }
};

struct Softplus {
  static constexpr auto name = "softplus";
  static DL_INLINE Vec f(Vec x) { return softplus(x); }
};

struct LeakyRelu {
  static constexpr auto name = "leaky_relu";
  static DL_INLINE Vec f(Vec x, Vec slope, Vec) { return select(gt(x, zero()), x, slope * x); }
};
struct Elu {
  static constexpr auto name = "elu";
  static DL_INLINE Vec f(Vec x, Vec alpha, Vec) { return select(gt(x, zero()), x, alpha * expm1(x)); }
};

[[maybe_unused]] const bool registered =
    register_unary<Relu, Tanh, Sigmoid, Gelu, GeluTanh, Silu, Softplus>() & register_unary_param<LeakyRelu, Elu>() &
    register_binary<ReluBackward, TanhBackward, SigmoidBackward, GeluBackward, GeluTanhBackward, SiluBackward>();

}  // namespace
}  // namespace dl
