// Scaled dot-product attention, tiled with an online softmax: the Tq x Tk scores are never stored.
// Letters: B batches, H query heads, G key heads (H a multiple of G), Tq queries, Tk keys, D the head size, E that of
// v.
#pragma once
#include <cstdint>

namespace dl {

// Strides in elements over (B, H or G, T); the D or E elements of a row are contiguous.
struct HeadStrides { int64_t b, h, t; };

template <class T> struct AttentionArgs {
  int64_t B, H, G, Tq, Tk, D, E;
  const T *q, *k, *v;  // (B, H, Tq, D), (B, G, Tk, D), (B, G, Tk, E)
  HeadStrides q_strides, k_strides, v_strides;
  const T* bias;                           // added to the scaled scores, or nullptr
  const bool* allowed;                     // false stands for a bias of -inf; or nullptr
  int64_t mask_b, mask_h, mask_q, mask_k;  // strides of either, over (B, H, Tq, Tk); 0 where it is broadcast
  double scale;
  bool causal;            // query i sees keys j <= i + causal_offset
  int64_t causal_offset;  // 0 is PyTorch's alignment; Tk - Tq where the keys before the first query come from a cache
  bool dropout;           // drops probabilities whose word (attention_word) is below the threshold, scales the rest by
  uint32_t threshold;     // keep_scale
  double keep_scale;
  uint64_t seed, stream;
};

// Word j % 4 of this Philox block decides on query i and key j of head `bh` = b H + h: the same four keys of queries
// side by side are blocks side by side, which is how vectors of queries want them.
static inline uint64_t attention_block(int64_t bh, int64_t Tq, int64_t Tk, int64_t i, int64_t j) {
  return static_cast<uint64_t>((bh * ((Tk + 3) / 4) + j / 4) * ((Tq + 15) / 16 * 16) + i);
}

// y (B, H, Tq, E) by y_strides = softmax(scale q k^T + bias) v; lse (B, H, Tq) contiguous = log of the row's sum of
// exponentials. A row whose keys are all masked gives zeros, and lse = -inf. D and E are at most kAttentionMaxHead.
template <class T>
using attention_forward_fn = void (*)(const AttentionArgs<T>* a, T* y, HeadStrides y_strides, T* lse);
constexpr int64_t kAttentionMaxHead = 4096;

// From y, lse and dy: dq, dk, dv, all overwritten. Probabilities are recomputed tile by tile from lse.
// With p = exp(scale q k^T + bias - lse), delta = sum_d dy y:  dv = p^T dy,  ds = p (dy v^T - delta) scale,
// dq = ds k,  dk = ds^T q. (Dao et al., "FlashAttention", 2022, algorithm 4.)
template <class T> struct AttentionGradients {
  const T *y, *dy, *lse;
  T *dq, *dk, *dv;
  HeadStrides y_strides, dy_strides, dq_strides, dk_strides, dv_strides;
};
template <class T> using attention_backward_fn = void (*)(const AttentionArgs<T>* a, const AttentionGradients<T>* g);

}  // namespace dl
