// Scaled dot-product attention, tiled with an online softmax: the Tq x Tk scores are never stored.
// Letters: B batches, H query heads, G key heads (H a multiple of G), Tq queries, Tk keys, D the head size.
#pragma once
#include <cstdint>

namespace dl {

// Strides in elements over (B, H or G, T); rows of D elements are contiguous.
struct HeadStrides {
  int64_t b, h, t;
};

template <class T> struct AttentionArgs {
  int64_t B, H, G, Tq, Tk, D;
  const T *q, *k, *v;  // (B, H, Tq, D), (B, G, Tk, D), (B, G, Tk, D)
  HeadStrides q_strides, k_strides, v_strides;
  const T *kt, *vt;  // (B, G, D, Tk) contiguous: k and v transposed; kt when Tq > kAttentionFewQueries, vt for the backward
  const T* mask;     // added to the scaled scores, or nullptr; strides over (B, H, Tq, Tk), 0 where broadcast
  int64_t mask_b, mask_h, mask_q, mask_k;
  double scale;
  bool causal;            // query i sees keys j <= i + causal_offset
  int64_t causal_offset;  // 0 is PyTorch's alignment
  double dropout;         // drops probabilities by Philox at index ((b H + h) Tq + i) Tk + j of (seed, stream)
  uint64_t seed, stream;
};

// Up to this many queries are served by dot products along D, straight from k: a cache is streamed once, not transposed.
constexpr int64_t kAttentionFewQueries = 4;

// y (B, H, Tq, D) by y_strides = softmax(scale q k^T + mask) v; lse (B, H, Tq) contiguous = log of the row's sum of
// exponentials. A row whose keys are all masked gives zeros, and lse = -inf.
template <class T> using attention_forward_fn = void (*)(const AttentionArgs<T>* a, T* y, HeadStrides y_strides, T* lse);

// From y, lse and dy: dq, dk, dv, all overwritten. Probabilities are recomputed tile by tile from lse.
// With p = exp(scale q k^T + mask - lse), delta = sum_d dy y:  dv = p^T dy,  ds = p (dy v^T - delta) scale,
// dq = ds k,  dk = ds^T q. (Dao et al., "FlashAttention", 2022, algorithm 4.)
template <class T> struct AttentionGradients {
  const T *y, *dy, *lse;
  T *dq, *dk, *dv;
  HeadStrides y_strides, dy_strides, dq_strides, dk_strides, dv_strides;
};
template <class T> using attention_backward_fn = void (*)(const AttentionArgs<T>* a, const AttentionGradients<T>* g);

}  // namespace dl
