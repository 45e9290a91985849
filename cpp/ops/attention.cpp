#include "kernels/attention/attention.h"

#include <type_traits>

#include "core/random.h"
#include "ops/common.h"

namespace dl {
namespace {

constexpr const char* kOp = "[scaled_dot_product_attention]";

struct Options {
  double scale;
  bool causal;
  int64_t causal_offset;
  double dropout;
  uint64_t seed, stream;
};

HeadStrides head_strides(const Tensor& x) { return {x.strides()[0], x.strides()[1], x.strides()[2]}; }

// Rows contiguous, as kernels want them; heads of a fused projection stay views.
Tensor with_contiguous_rows(const Tensor& x) { return x.size(3) <= 1 || x.strides()[3] == 1 ? x : contiguous(x); }

// (B, H, T, D) over memory in the order (B, T, H, D): merging heads afterwards costs nothing.
Tensor empty_heads(const Tensor& like, int64_t tokens, int64_t features) {
  return Tensor::empty({like.size(0), tokens, like.size(1), features}, like.dtype()).transpose(1, 2);
}

void check(const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& mask) {
  check_floating(q, "scaled_dot_product_attention");
  DL_CHECK_TYPE(k.dtype() == q.dtype() && v.dtype() == q.dtype(), kOp,
                " query, key and value must have one dtype, got ", q.dtype(), ", ", k.dtype(), " and ", v.dtype());
  DL_CHECK(q.ndim() == 4 && k.ndim() == 4 && v.ndim() == 4, kOp,
           " expected (batch, heads, tokens, features), got shapes ", q.shape(), ", ", k.shape(), " and ", v.shape());
  DL_CHECK(k.size(0) == v.size(0) && k.size(1) == v.size(1) && k.size(2) == v.size(2), kOp,
           " key and value must agree in batch, heads and tokens, got ", k.shape(), " and ", v.shape());
  DL_CHECK(q.size(0) == k.size(0) && q.size(3) == k.size(3), kOp,
           " query and key must agree in batch and features, got ", q.shape(), " and ", k.shape());
  DL_CHECK(k.size(1) > 0 ? q.size(1) % k.size(1) == 0 : q.size(1) == 0, kOp,
           " the query's heads must be a multiple of the key's, got ", q.size(1), " and ", k.size(1));
  DL_CHECK(q.size(3) <= kAttentionMaxHead && v.size(3) <= kAttentionMaxHead, kOp, " heads have at most ",
           kAttentionMaxHead, " features, got ", q.shape(), " and ", v.shape());
  DL_CHECK_TYPE(!mask || mask->dtype() == q.dtype() || mask->dtype() == DType::boolean, kOp,
                " expected a mask of bool or ", q.dtype(), ", got ", mask->dtype());
}

template <class T> AttentionArgs<T> arguments(const Tensor& q, const Tensor& k, const Tensor& v,
                                              const std::optional<Tensor>& mask, const Options& o) {
  AttentionArgs<T> a{};
  a.B = q.size(0), a.H = q.size(1), a.G = k.size(1), a.Tq = q.size(2), a.Tk = k.size(2), a.D = q.size(3),
  a.E = v.size(3);
  a.q = q.data<T>(), a.k = k.data<T>(), a.v = v.data<T>();
  a.q_strides = head_strides(q), a.k_strides = head_strides(k), a.v_strides = head_strides(v);
  if (mask) {
    const Tensor m = mask->expand({a.B, a.H, a.Tq, a.Tk});
    if (m.dtype() == DType::boolean) a.allowed = m.data<bool>();
    else a.bias = m.data<T>();
    a.mask_b = m.strides()[0], a.mask_h = m.strides()[1], a.mask_q = m.strides()[2], a.mask_k = m.strides()[3];
  }
  a.scale = o.scale, a.causal = o.causal, a.causal_offset = o.causal_offset;
  a.dropout = o.dropout > 0, a.seed = o.seed, a.stream = o.stream;
  a.threshold = dropout_threshold(o.dropout), a.keep_scale = 1 / (1 - o.dropout);
  return a;
}

// float32 and float64 run as they are; bfloat16 is computed in float32.
DType working_dtype(DType t) { return t == DType::bfloat16 ? DType::float32 : t; }
std::optional<Tensor> working_mask(const std::optional<Tensor>& mask) {
  return mask && mask->dtype() == DType::bfloat16 ? cast(*mask, DType::float32) : mask;
}
template <class F> void in_working_type(DType t, F&& body) {
  if (t == DType::float64) body(Type<double>{});
  else body(Type<float>{});
}

std::tuple<Tensor, Tensor> attention_forward(const Tensor& query, const Tensor& key, const Tensor& value,
                                             const std::optional<Tensor>& mask, const Options& o) {
  check(query, key, value, mask);
  if (const DType t = working_dtype(query.dtype()); t != query.dtype()) {
    auto [y, lse] = attention_forward(cast(query, t), cast(key, t), cast(value, t), working_mask(mask), o);
    return {cast(y, query.dtype()), lse};
  }
  const Tensor q = with_contiguous_rows(query), k = with_contiguous_rows(key), v = with_contiguous_rows(value);
  const Tensor y = empty_heads(q, q.size(2), v.size(3)),
               lse = Tensor::empty({q.size(0), q.size(1), q.size(2)}, q.dtype());
  if (lse.numel() == 0) return {y, lse};
  in_working_type(q.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<attention_forward_fn<T>> kernel{cat("attention_forward/", name(dtype_of<T>())).c_str()};
    const AttentionArgs<T> a = arguments<T>(q, k, v, mask, o);
    launch(lse.numel() * a.Tk * (a.D + a.E), [&] { kernel(&a, y.data<T>(), head_strides(y), lse.data<T>()); });
  });
  return {y, lse};
}

std::tuple<Tensor, Tensor, Tensor> attention_backward(const Tensor& query, const Tensor& key, const Tensor& value,
                                                      const std::optional<Tensor>& mask, const Tensor& output,
                                                      const Tensor& lse, const Tensor& gradient, const Options& o) {
  if (const DType t = working_dtype(query.dtype()); t != query.dtype()) {
    auto [dq, dk, dv] = attention_backward(cast(query, t), cast(key, t), cast(value, t), working_mask(mask),
                                           cast(output, t), lse, cast(gradient, t), o);
    return {cast(dq, query.dtype()), cast(dk, query.dtype()), cast(dv, query.dtype())};
  }
  const Tensor q = with_contiguous_rows(query), k = with_contiguous_rows(key), v = with_contiguous_rows(value);
  const Tensor y = with_contiguous_rows(output), dy = with_contiguous_rows(gradient);
  const Tensor dq = empty_heads(q, q.size(2), q.size(3)), dk = empty_heads(k, k.size(2), k.size(3)),
               dv = empty_heads(v, v.size(2), v.size(3));
  if (dq.numel() == 0 && dk.numel() == 0 && dv.numel() == 0) return {dq, dk, dv};
  in_working_type(q.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<attention_backward_fn<T>> kernel{cat("attention_backward/", name(dtype_of<T>())).c_str()};
    const AttentionArgs<T> a = arguments<T>(q, k, v, mask, o);
    const AttentionGradients<T> g{y.data<T>(),      dy.data<T>(),     lse.data<T>(),   dq.data<T>(),
                                  dk.data<T>(),     dv.data<T>(),     head_strides(y), head_strides(dy),
                                  head_strides(dq), head_strides(dk), head_strides(dv)};
    launch(lse.numel() * a.Tk * (3 * a.D + 2 * a.E) + dk.numel(), [&] { kernel(&a, &g); });
  });
  return {dq, dk, dv};
}

Options options(double scale, bool causal, int64_t causal_offset, double dropout, uint64_t seed, uint64_t stream) {
  return {scale, causal, causal_offset, dropout, seed, stream};
}

}  // namespace
}  // namespace dl

DL_BIND(attention) {
  using namespace dl;
  m.def(
      "attention_forward",
      [](const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& mask, double scale,
         bool causal, int64_t causal_offset, double dropout, uint64_t seed, uint64_t stream) {
        return attention_forward(q, k, v, mask, options(scale, causal, causal_offset, dropout, seed, stream));
      },
      py::arg("q"), py::arg("k"), py::arg("v"), py::arg("mask"), py::arg("scale"), py::arg("causal"),
      py::arg("causal_offset"), py::arg("dropout"), py::arg("seed"), py::arg("stream"),
      "(y, log-sum-exp of the scores) of attention over (B, H, T, D).");
  m.def(
      "attention_backward",
      [](const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& mask, const Tensor& y,
         const Tensor& lse, const Tensor& dy, double scale, bool causal, int64_t causal_offset, double dropout,
         uint64_t seed, uint64_t stream) {
        return attention_backward(q, k, v, mask, y, lse, dy,
                                  options(scale, causal, causal_offset, dropout, seed, stream));
      },
      py::arg("q"), py::arg("k"), py::arg("v"), py::arg("mask"), py::arg("y"), py::arg("lse"), py::arg("dy"),
      py::arg("scale"), py::arg("causal"), py::arg("causal_offset"), py::arg("dropout"), py::arg("seed"),
      py::arg("stream"), "(dq, dk, dv) of attention.");
}
