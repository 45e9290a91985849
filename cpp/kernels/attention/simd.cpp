// FlashAttention's tiling on the CPU: a tile of scores lives in L1/L2 scratch between its two products.
#include <cstring>

#include "core/parallel.h"
#include "core/random.h"
#include "dispatch/kernel.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/tile_gemm.h"
#include "simd/math.h"

namespace dl {
namespace {

// 48 x 64 scores are 12 KiB; with the queries, keys and sums of a head of 64 the working set stays within L2's fast half.
constexpr int64_t kQueries = 48, kKeys = 64;

using Args = AttentionArgs<float>;
using Gradients = AttentionGradients<float>;

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class T> T* at(T* x, const HeadStrides& s, int64_t b, int64_t h, int64_t t) { return x + b * s.b + h * s.h + t * s.t; }

// Keys that queries up to `i_end` can see.
int64_t visible_keys(const Args& a, int64_t i_end) {
  if (!a.causal) return a.Tk;
  const int64_t n = i_end + a.causal_offset;
  return n < 0 ? 0 : least(n, a.Tk);
}

// Turns raw products of query i into masked scores: s = s * scale + mask, -inf beyond the diagonal.
void finish_scores(const Args& a, int64_t b, int64_t h, int64_t i, int64_t j0, int64_t n, float* s) {
  const Vec scale = broadcast(static_cast<float>(a.scale));
  for (int64_t j = 0; j < n; j += Vec::size) {
    const int64_t lanes = least(n - j, Vec::size);
    store(s + j, load(s + j, lanes) * scale, lanes);
  }
  if (a.mask) {
    const float* m = a.mask + b * a.mask_b + h * a.mask_h + i * a.mask_q + j0 * a.mask_k;
    for (int64_t j = 0; j < n; ++j) s[j] += m[j * a.mask_k];
  }
  if (a.causal) {
    const int64_t seen = i + a.causal_offset + 1 - j0;
    for (int64_t j = seen < 0 ? 0 : seen; j < n; ++j) s[j] = -kInf;
  }
}

// Multiplies row i's values at keys [j0, j0 + n) by 0 where dropped and by 1 / (1 - p) where kept.
void drop(const Args& a, int64_t b, int64_t h, int64_t i, int64_t j0, int64_t n, float* p) {
  const double keep = 1 / (1 - a.dropout);
  const uint64_t first = static_cast<uint64_t>(((b * a.H + h) * a.Tq + i) * a.Tk + j0);
  Philox4 words = philox(a.seed, a.stream, first / 4);
  for (int64_t j = 0; j < n; ++j) {
    const uint64_t index = first + static_cast<uint64_t>(j);
    if (j > 0 && index % 4 == 0) words = philox(a.seed, a.stream, index / 4);
    p[j] = words.v[index % 4] * 0x1p-32 < a.dropout ? 0.0f : p[j] * static_cast<float>(keep);
  }
}

// p = exp(s - most) in place; returns the sum. Lanes beyond n are left alone.
float exponentials(float* s, int64_t n, float most) {
  Vec sum = broadcast(0.0f);
  const Vec shift = broadcast(most);
  for (int64_t j = 0; j < n; j += Vec::size) {
    const int64_t lanes = least(n - j, Vec::size);
    const Vec e = exp(load(s + j, lanes) - shift);
    store(s + j, e, lanes);
    sum = sum + select(first_n(lanes), e, broadcast(0.0f));
  }
  return reduce_add(sum);
}

float row_max(const float* s, int64_t n, float most) {
  Vec m = broadcast(most);
  for (int64_t j = 0; j < n; j += Vec::size) {
    const int64_t lanes = least(n - j, Vec::size);
    m = max(m, select(first_n(lanes), load(s + j, lanes), broadcast(-kInf)));
  }
  return reduce_max(m);
}

void scale_row(float* y, int64_t n, float factor) {
  const Vec f = broadcast(factor);
  for (int64_t d = 0; d < n; d += Vec::size) {
    const int64_t lanes = least(n - d, Vec::size);
    store(y + d, load(y + d, lanes) * f, lanes);
  }
}

float dot(const float* x, const float* y, int64_t n) {
  Vec sum = broadcast(0.0f);
  for (int64_t d = 0; d < n; d += Vec::size) {
    const int64_t lanes = least(n - d, Vec::size);
    sum = fma(load(x + d, lanes), load(y + d, lanes), sum);
  }
  return reduce_add(sum);
}

// One tile of queries against all keys that it sees.
void forward_tile(const Args& a, int64_t b, int64_t h, int64_t i0, float* y, const HeadStrides& ys, float* lse) {
  float* scratch = static_cast<float*>(thread_scratch());
  float* s = scratch;                                 // (queries, kKeys)
  float* most = s + kQueries * kKeys;                 // (queries)
  float* sum = most + kQueries;                       // (queries)
  const int64_t m = least(kQueries, a.Tq - i0), g = h / (a.H / a.G), keys = visible_keys(a, i0 + m);
  const float* q = at(a.q, a.q_strides, b, h, i0);
  const float* k = at(a.k, a.k_strides, b, g, 0);
  const float* v = at(a.v, a.v_strides, b, g, 0);
  const float* kt = a.kt ? a.kt + (b * a.G + g) * a.D * a.Tk : nullptr;
  float* out = at(y, ys, b, h, i0);
  for (int64_t i = 0; i < m; ++i) {
    most[i] = -kInf;
    sum[i] = 0;
    std::memset(out + i * ys.t, 0, static_cast<size_t>(a.D) * sizeof(float));
  }
  for (int64_t j0 = 0; j0 < keys; j0 += kKeys) {
    const int64_t n = least(kKeys, keys - j0);
    if (kt) {
      tile_gemm({q, a.q_strides.t, 1}, kt + j0, a.Tk, s, kKeys, m, n, a.D, false);
    } else {
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) s[i * kKeys + j] = dot(q + i * a.q_strides.t, k + (j0 + j) * a.k_strides.t, a.D);
    }
    for (int64_t i = 0; i < m; ++i) {
      float* p = s + i * kKeys;
      finish_scores(a, b, h, i0 + i, j0, n, p);
      const float next = row_max(p, n, most[i]);
      if (next == -kInf) {  // nothing seen yet: exp(-inf - -inf) would be NaN
        std::memset(p, 0, static_cast<size_t>(n) * sizeof(float));
        continue;
      }
      const float tile_sum = exponentials(p, n, next);
      if (most[i] != next) {
        const float shrink = __builtin_expf(most[i] - next);
        sum[i] *= shrink;
        scale_row(out + i * ys.t, a.D, shrink);
        most[i] = next;
      }
      sum[i] += tile_sum;
      if (a.dropout > 0) drop(a, b, h, i0 + i, j0, n, p);
    }
    tile_gemm({s, kKeys, 1}, v + j0 * a.v_strides.t, a.v_strides.t, out, ys.t, m, a.D, n, true);
  }
  for (int64_t i = 0; i < m; ++i) {
    const bool seen = sum[i] != 0;
    if (seen) scale_row(out + i * ys.t, a.D, 1 / sum[i]);
    lse[(b * a.H + h) * a.Tq + i0 + i] = seen ? most[i] + __builtin_logf(sum[i]) : -kInf;
  }
}

void attention_forward(const Args* args, float* y, HeadStrides y_strides, float* lse) {
  const Args& a = *args;
  const int64_t tiles = (a.Tq + kQueries - 1) / kQueries;
  parallel_for(a.B * a.H * tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      forward_tile(a, t / tiles / a.H, t / tiles % a.H, t % tiles * kQueries, y, y_strides, lse);
  });
}

// All query heads that share key head g, tile by tile in a fixed order: one thread owns dk and dv.
void backward_head(const Args& a, const Gradients& g, int64_t b, int64_t c) {
  float* scratch = static_cast<float*>(thread_scratch());
  float* p = scratch;                     // (queries, kKeys): probabilities
  float* ds = p + kQueries * kKeys;       // (queries, kKeys): gradients of the scores
  float* delta = ds + kQueries * kKeys;   // (queries)
  const int64_t group = a.H / a.G;
  const float* k = at(a.k, a.k_strides, b, c, 0);
  const float* kt = a.kt + (b * a.G + c) * a.D * a.Tk;
  const float* vt = a.vt + (b * a.G + c) * a.D * a.Tk;
  float* dk = at(g.dk, g.dk_strides, b, c, 0);
  float* dv = at(g.dv, g.dv_strides, b, c, 0);
  const size_t row_bytes = static_cast<size_t>(a.D) * sizeof(float);
  for (int64_t j = 0; j < a.Tk; ++j) {
    std::memset(dk + j * g.dk_strides.t, 0, row_bytes);
    std::memset(dv + j * g.dv_strides.t, 0, row_bytes);
  }
  const Vec scale = broadcast(static_cast<float>(a.scale));
  for (int64_t h = c * group; h < (c + 1) * group; ++h)
    for (int64_t i0 = 0; i0 < a.Tq; i0 += kQueries) {
      const int64_t m = least(kQueries, a.Tq - i0), keys = visible_keys(a, i0 + m);
      const float* q = at(a.q, a.q_strides, b, h, i0);
      const float* dy = at(g.dy, g.dy_strides, b, h, i0);
      const float* y = at(g.y, g.y_strides, b, h, i0);
      const float* lse = g.lse + (b * a.H + h) * a.Tq + i0;
      float* dq = at(g.dq, g.dq_strides, b, h, i0);
      for (int64_t i = 0; i < m; ++i) {
        delta[i] = dot(dy + i * g.dy_strides.t, y + i * g.y_strides.t, a.D);
        std::memset(dq + i * g.dq_strides.t, 0, row_bytes);
      }
      for (int64_t j0 = 0; j0 < keys; j0 += kKeys) {
        const int64_t n = least(kKeys, keys - j0);
        tile_gemm({q, a.q_strides.t, 1}, kt + j0, a.Tk, p, kKeys, m, n, a.D, false);
        tile_gemm({dy, g.dy_strides.t, 1}, vt + j0, a.Tk, ds, kKeys, m, n, a.D, false);
        for (int64_t i = 0; i < m; ++i) {
          float *pi = p + i * kKeys, *di = ds + i * kKeys;
          finish_scores(a, b, h, i0 + i, j0, n, pi);
          if (lse[i] == -kInf) {
            std::memset(pi, 0, static_cast<size_t>(n) * sizeof(float));
            std::memset(di, 0, static_cast<size_t>(n) * sizeof(float));
            continue;
          }
          exponentials(pi, n, lse[i]);
          if (a.dropout > 0) drop(a, b, h, i0 + i, j0, n, di);
          const Vec shift = broadcast(delta[i]);
          for (int64_t j = 0; j < n; j += Vec::size) {
            const int64_t lanes = least(n - j, Vec::size);
            store(di + j, load(pi + j, lanes) * (load(di + j, lanes) - shift) * scale, lanes);
          }
          if (a.dropout > 0) drop(a, b, h, i0 + i, j0, n, pi);
        }
        tile_gemm({ds, kKeys, 1}, k + j0 * a.k_strides.t, a.k_strides.t, dq, g.dq_strides.t, m, a.D, n, true);
        tile_gemm({ds, 1, kKeys}, q, a.q_strides.t, dk + j0 * g.dk_strides.t, g.dk_strides.t, n, a.D, m, true);
        tile_gemm({p, 1, kKeys}, dy, g.dy_strides.t, dv + j0 * g.dv_strides.t, g.dv_strides.t, n, a.D, m, true);
      }
    }
}

void attention_backward(const Args* args, const Gradients* g) {
  parallel_for(args->B * args->G, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) backward_head(*args, *g, t / args->G, t % args->G);
  });
}

DL_REGISTER("attention_forward/float32", attention_forward, attention_forward_fn<float>)
DL_REGISTER("attention_backward/float32", attention_backward, attention_backward_fn<float>)

}  // namespace
}  // namespace dl
