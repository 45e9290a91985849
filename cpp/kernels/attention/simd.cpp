// FlashAttention's tiling on the CPU: a tile of scores lives in scratch between its two products.
#include <cstring>

#include "dispatch/kernel.h"
#include "kernels/attention/tile.h"

namespace dl {
namespace {

using Gradients = AttentionGradients<float>;

constexpr float kLn2 = 0.693147181f;

// Up to this many queries are served by dot products along D: most lanes of a tile would be idle.
constexpr int64_t kFewQueries = 4;

// Hands out parts of the thread's scratch memory. A head of kAttentionMaxHead takes 6 MiB of it.
struct Scratch {
  float* next = static_cast<float*>(thread_scratch());
  float* tile(int64_t rows) {
    float* p = next;
    next += rows * kTile;
    return p;
  }
};

// 2^(s - most) in place of s, for one vector of queries and n keys; most and sum are brought up to date. Returns the
// factor by which what was summed before has shrunk.
DL_INLINE Vec exponentiate(float* s, int64_t n, float* most, float* sum) {
  const Vec before = load(most);
  Vec top = before;
  for (int64_t j = 0; j < n; ++j) top = fast_max(load(s + j * kTile), top);
  // Where nothing was seen yet the maximum is -inf, and -inf - -inf would be NaN.
  const Vec shift = select(eq(top, broadcast(-kInf)), zero(), top);
  Vec total = zero();
  for (int64_t j = 0; j < n; ++j) {
    const Vec e = exp2_flushed(load(s + j * kTile) - shift);
    store(s + j * kTile, e);
    total += e;
  }
  const Vec shrink = exp2_flushed(before - shift);
  store(most, top);
  store(sum, fma(load(sum), shrink, total));
  return shrink;
}

void drop(const Args& a, const Place& p, float* s) {
  for (int64_t i = 0; i < p.lanes; i += Vec::size)
    for (int64_t j = 0; j < p.n; j += 4) {
      const KeptKeys kept = kept_keys(a, p, i, j);
      for (int64_t l = 0; l < 4 && j + l < p.n; ++l) {
        float* x = s + (j + l) * kTile + i;
        store(x, select(kept.key[l], load(x), zero()));
      }
    }
}

// Queries [i0, i0 + kTile) of one head against all keys that they see.
void forward_tile(const Args& a, int64_t b, int64_t h, int64_t i0, float* y, const HeadStrides& y_strides, float* lse) {
  Scratch scratch;
  float *q = scratch.tile(a.D), *out = scratch.tile(a.E), *s = scratch.tile(kTile), *work = scratch.tile(2 * kTile);
  float *most = scratch.tile(1), *sum = scratch.tile(1), *shrink = scratch.tile(1);
  Place p{b, h, i0, least(kTile, a.Tq - i0), 0, 0, 0};
  p.lanes = up_to_lanes(p.m);
  transpose_in(at(a.q, a.q_strides, b, h, i0), a.q_strides.t, p.m, a.D, static_cast<float>(a.scale) * kLog2e, q);
  for (int64_t i = 0; i < p.lanes; ++i) most[i] = -kInf, sum[i] = 0;
  const int64_t keys = visible_keys(a, i0 + p.m);
  if (keys == 0) std::memset(out, 0, static_cast<size_t>(a.E * kTile) * sizeof(float));
  for (p.j0 = 0; p.j0 < keys; p.j0 += kTile) {
    p.n = least(kTile, keys - p.j0);
    tile_scores(a, p, q, s, work);
    for (int64_t i = 0; i < p.lanes; i += Vec::size) store(shrink + i, exponentiate(s + i, p.n, most + i, sum + i));
    if (a.dropout) drop(a, p, s);
    const float* v = at(a.v, a.v_strides, b, h / (a.H / a.G), p.j0);
    const TileStart start = p.j0 == 0 ? TileStart::zero : TileStart::scaled;
    tile_gemm({v, 1, a.v_strides.t}, {s, kTile}, {out, kTile, start, shrink}, a.E, p.lanes, p.n);
  }
  float* row_lse = lse + (b * a.H + h) * a.Tq + i0;
  const float keep_scale = a.dropout ? static_cast<float>(a.keep_scale) : 1.0f;
  for (int64_t i = 0; i < p.lanes; i += Vec::size) {
    const Vec total = load(sum + i);
    const Mask unseen = eq(total, zero());
    const Vec l = fma(load(most + i), broadcast(kLn2), log(total));
    if (p.m > i) store(row_lse + i, select(unseen, broadcast(-kInf), l), least(p.m - i, Vec::size));
    store(shrink + i, select(unseen, zero(), broadcast(keep_scale) / total));
  }
  transpose_out(out, p.m, a.E, shrink, at(y, y_strides, b, h, i0), y_strides.t);
}

float dot(const float* x, const float* y, int64_t n) {
  Vec sum = zero();
  for (int64_t d = 0; d < n; d += Vec::size)
    sum = n - d >= Vec::size ? fma(load(x + d), load(y + d), sum) : fma(load(x + d, n - d), load(y + d, n - d), sum);
  return reduce_add(sum);
}

// One query, its scores side by side in lanes: for decoding, where k and v are streamed once.
void forward_row(const Args& a, int64_t b, int64_t h, int64_t i, float* y, const HeadStrides& y_strides, float* lse) {
  constexpr int64_t kKeys = kTile * kTile;
  float* s = Scratch().tile(kTile);
  const float* q = at(a.q, a.q_strides, b, h, i);
  float* out = at(y, y_strides, b, h, i);
  const int64_t keys = visible_keys(a, i + 1), g = h / (a.H / a.G);
  const int64_t mask = b * a.mask_b + h * a.mask_h + i * a.mask_q;
  const float scale = static_cast<float>(a.scale) * kLog2e;
  std::memset(out, 0, static_cast<size_t>(a.E) * sizeof(float));
  float most = -kInf, sum = 0;
  for (int64_t j0 = 0; j0 < keys; j0 += kKeys) {
    const int64_t n = least(kKeys, keys - j0);
    const float* k = at(a.k, a.k_strides, b, g, j0);
    const float* v = at(a.v, a.v_strides, b, g, j0);
    float top = most;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t m = mask + (j0 + j) * a.mask_k;
      s[j] = dot(q, k + j * a.k_strides.t, a.D) * scale;
      if (a.bias) s[j] += a.bias[m] * kLog2e;
      if (a.allowed && !a.allowed[m]) s[j] = -kInf;
      top = s[j] > top ? s[j] : top;
    }
    const Vec shift = broadcast(top == -kInf ? 0.0f : top);
    Vec total = zero();
    for (int64_t j = 0; j < n; j += Vec::size) {
      const Vec e = select(first_n(least(n - j, Vec::size)), exp2_flushed(load(s + j) - shift), zero());
      store(s + j, e);
      total += e;
    }
    float shrink[Vec::size];
    store(shrink, exp2_flushed(broadcast(most) - shift));
    sum = sum * shrink[0] + reduce_add(total);
    most = top;
    for (int64_t j = 0; a.dropout && j < n; ++j) {
      const uint64_t block = attention_block(b * a.H + h, a.Tq, a.Tk, i, j0 + j);
      if (philox(a.seed, a.stream, block).v[(j0 + j) % 4] < a.threshold) s[j] = 0;
    }
    for (int64_t d = 0; j0 > 0 && d < a.E; ++d) out[d] *= shrink[0];
    tile_gemm({s, 0, 1}, {v, a.v_strides.t}, {out, 0, TileStart::add, nullptr}, 1, a.E, n);
  }
  const float keep_scale = a.dropout ? static_cast<float>(a.keep_scale) : 1.0f;
  for (int64_t d = 0; d < a.E; ++d) out[d] = sum == 0 ? 0 : out[d] * (keep_scale / sum);
  lse[(b * a.H + h) * a.Tq + i] = sum == 0 ? -kInf : most * kLn2 + __builtin_logf(sum);
}

void attention_forward(const Args* args, float* y, HeadStrides y_strides, float* lse) {
  const Args& a = *args;
  const bool few = a.Tq <= kFewQueries;
  const int64_t step = few ? 1 : kTile, steps = (a.Tq + step - 1) / step;
  // At least 2^18 multiply-adds, some 10 µs, a block; later queries see more keys and go first.
  const int64_t work = step * a.Tk * (a.D + a.E) + 1, grain = work >= 1 << 18 ? 1 : (1 << 18) / work;
  parallel_for(a.B * a.H * steps, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t / steps / a.H, h = t / steps % a.H, i = (steps - 1 - t % steps) * step;
      if (few) forward_row(a, b, h, i, y, y_strides, lse);
      else forward_tile(a, b, h, i, y, y_strides, lse);
    }
  });
}

// Scores become probabilities, and dp their gradients' first part: s = p (dropped), ds = p (dp - delta) scale.
void score_gradients(const Args& a, const Place& p, float* s, float* ds, const float* lse, const float* delta) {
  const Vec scale = broadcast(static_cast<float>(a.scale)), keep_scale = broadcast(static_cast<float>(a.keep_scale));
  for (int64_t i = 0; i < p.lanes; i += Vec::size) {
    const Vec l = load(lse + i), shift = load(delta + i);
    for (int64_t j = 0; j < p.n; j += 4) {
      KeptKeys kept;
      if (a.dropout) kept = kept_keys(a, p, i, j);
      for (int64_t r = 0; r < 4 && j + r < p.n; ++r) {
        const int64_t x = (j + r) * kTile + i;
        const Vec e = exp2_flushed(load(s + x) - l);
        Vec dp = load(ds + x);
        if (a.dropout) {
          dp = select(kept.key[r], dp * keep_scale, zero());
          store(s + x, select(kept.key[r], e * keep_scale, zero()));
        } else {
          store(s + x, e);
        }
        store(ds + x, e * (dp - shift) * scale);
      }
    }
  }
}

// Queries [i0, i0 + kTile) of head h: writes dq, adds to dk and dv.
void backward_tile(const Args& a, const Gradients& g, int64_t b, int64_t h, int64_t i0) {
  Scratch scratch;
  float *q = scratch.tile(a.D), *dy = scratch.tile(a.E), *dq = scratch.tile(a.D);
  float *s = scratch.tile(kTile), *ds = scratch.tile(kTile), *work = scratch.tile(2 * kTile);
  float *lse = scratch.tile(1), *delta = scratch.tile(1), *ones = scratch.tile(1);
  Place p{b, h, i0, least(kTile, a.Tq - i0), 0, 0, 0};
  p.lanes = up_to_lanes(p.m);
  const int64_t c = h / (a.H / a.G), keys = visible_keys(a, i0 + p.m);
  const float* q_rows = at(a.q, a.q_strides, b, h, i0);
  const float* dy_rows = at(g.dy, g.dy_strides, b, h, i0);
  const float* y_rows = at(g.y, g.y_strides, b, h, i0);
  transpose_in(q_rows, a.q_strides.t, p.m, a.D, static_cast<float>(a.scale) * kLog2e, q);
  transpose_in(dy_rows, g.dy_strides.t, p.m, a.E, 1, dy);
  for (int64_t i = 0; i < p.lanes; ++i) {
    const float l = i < p.m ? g.lse[(b * a.H + h) * a.Tq + i0 + i] : -kInf;
    lse[i] = l == -kInf ? kInf : l * kLog2e;  // rows without keys, and lanes without rows, get probabilities of 0
    delta[i] = i < p.m ? dot(dy_rows + i * g.dy_strides.t, y_rows + i * g.y_strides.t, a.E) : 0.0f;
    ones[i] = 1;
  }
  if (keys == 0) std::memset(dq, 0, static_cast<size_t>(a.D * kTile) * sizeof(float));
  for (p.j0 = 0; p.j0 < keys; p.j0 += kTile) {
    p.n = least(kTile, keys - p.j0);
    const float* k = at(a.k, a.k_strides, b, c, p.j0);
    const float* v = at(a.v, a.v_strides, b, c, p.j0);
    tile_scores(a, p, q, s, work);
    tile_gemm({v, a.v_strides.t, 1}, {dy, kTile}, {ds, kTile, TileStart::zero, nullptr}, p.n, p.lanes, a.E);
    score_gradients(a, p, s, ds, lse, delta);
    const TileStart start = p.j0 == 0 ? TileStart::zero : TileStart::add;
    tile_gemm({k, 1, a.k_strides.t}, {ds, kTile}, {dq, kTile, start, nullptr}, a.D, p.lanes, p.n);
    float* dk = at(g.dk, g.dk_strides, b, c, p.j0);
    float* dv = at(g.dv, g.dv_strides, b, c, p.j0);
    tile_gemm({ds, kTile, 1}, {q_rows, a.q_strides.t}, {dk, g.dk_strides.t, TileStart::add, nullptr}, p.n, a.D, p.m);
    tile_gemm({s, kTile, 1}, {dy_rows, g.dy_strides.t}, {dv, g.dv_strides.t, TileStart::add, nullptr}, p.n, a.E, p.m);
  }
  transpose_out(dq, p.m, a.D, ones, at(g.dq, g.dq_strides, b, h, i0), g.dq_strides.t);
}

// All query heads that share key head c, tile by tile in a fixed order: one thread owns dk and dv.
void attention_backward(const Args* args, const Gradients* g) {
  const Args& a = *args;
  parallel_for(a.B * a.G, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t / a.G, c = t % a.G, group = a.H / a.G;
      for (int64_t j = 0; j < a.Tk; ++j) {
        std::memset(at(g->dk, g->dk_strides, b, c, j), 0, static_cast<size_t>(a.D) * sizeof(float));
        std::memset(at(g->dv, g->dv_strides, b, c, j), 0, static_cast<size_t>(a.E) * sizeof(float));
      }
      for (int64_t h = c * group; h < (c + 1) * group; ++h)
        for (int64_t i0 = 0; i0 < a.Tq; i0 += kTile) backward_tile(a, *g, b, h, i0);
    }
  });
}

DL_REGISTER("attention_forward/float32", attention_forward, attention_forward_fn<float>)
DL_REGISTER("attention_backward/float32", attention_backward, attention_backward_fn<float>)

}  // namespace
}  // namespace dl
