// The recurrence of one layer in one direction over whole sequences. What needs no order in time is left to matmul, as
// products over many steps at once: x w_ih^T before these kernels, dx, dw_ih and dw_hh after them. A sequence may be
// given in several calls, so that what one of the two writes is still in the cache when the other reads it.
//
// Letters: B sequences, H hidden units, G gates a unit: 1 (tanh, relu), 4 (lstm: i f g o), 3 (gru: r z n), in
// PyTorch's order. Step t has the rows [first[t], first[t + 1]) of sequences 0, 1, ...: the longest come first, so a
// step never has more rows than the one before it, and step 0 has B. rows = first[steps].
#pragma once
#include <cstdint>

namespace dl {

enum class RnnCell : int32_t { tanh, relu, lstm, gru };

static constexpr int64_t rnn_gates(RnnCell cell) { return cell == RnnCell::lstm ? 4 : cell == RnnCell::gru ? 3 : 1; }
// Columns of `saved`, in units of H: what backward needs besides the gates.
static constexpr int64_t rnn_saved(RnnCell cell) { return cell == RnnCell::lstm || cell == RnnCell::gru ? 1 : 0; }
// Columns of `dgates`, in units of H.
static constexpr int64_t rnn_dgates(RnnCell cell) { return cell == RnnCell::gru ? 4 : rnn_gates(cell); }

struct RnnShape {
  RnnCell cell;
  bool reverse;  // from each sequence's last step to its first
  int64_t steps, B, H;
  const int64_t* first;  // (steps + 1)
};

// Steps [begin, end) in the order in which forward or backward takes them, and the rows they have. The calls of a
// sequence are made in that order and share the workspace.
struct RnnRange { int64_t begin, end; };
static inline bool rnn_descends(const RnnShape& s, bool backward) { return s.reverse != backward; }
static inline int64_t rnn_first_row(const RnnShape& s, RnnRange r, bool backward) {
  return s.first[rnn_descends(s, backward) ? s.steps - r.end : r.begin];
}
static inline int64_t rnn_end_row(const RnnShape& s, RnnRange r, bool backward) {
  return s.first[rnn_descends(s, backward) ? s.steps - r.begin : r.end];
}

// With pre = gates + h w^T, the contents of `gates` replaced by what follows from them:
//   tanh, relu:  h' = tanh(pre), max(pre, 0): in y alone, `gates` is left in any state
//   lstm:  i f o = sigmoid(pre), g = tanh(pre);  c' = f c + i g,  h' = o tanh(c');  saved: c'
//   gru:   r z = sigmoid(pre), n = tanh(gates_n + r hn) with hn = h w_n^T + b_n;  h' = (1 - z) n + z h;  saved: hn
// Sums along H run in one fixed order. NaN stays NaN. (Hochreiter & Schmidhuber, 1997; Cho et al., 2014)
template <class T> struct RnnForward {
  RnnRange range;
  T* gates;      // (rows of the range, G H): x w_ih^T and the biases, but not gru's b_n
  const T* w;    // (G H, H)
  const T* b_n;  // (H) or null; gru only
  const T* h0;   // (B, H)
  T* c;          // (B, H): c0 at first, the last c of each sequence in the end; lstm only
  T* y;          // (rows, H)
  T* h_n;        // (B, H): the last h of each sequence, written by the last call
  T* saved;      // (rows, rnn_saved H); lstm takes null
  T* workspace;  // rnn_workspace() elements, 64-byte aligned
};
template <class T> using rnn_forward_fn = void (*)(const RnnShape* shape, const RnnForward<T>* args);

// dgates: gradients of pre, in the order of the gates; gru: of r, z, n and of hn, so that x w_ih^T belongs to the first
// three and h w^T to the first two and the last. db sums them over the rows: of each step, then over the steps.
template <class T> struct RnnBackward {
  RnnRange range;
  const T* gates;   // (rows of the range, G H), as forward left them
  const T* saved;   // (rows, rnn_saved H), as well
  const T* y;       // (rows, H); tanh and relu only
  const T* prev;    // (rows, H), the h that each row began with; gru only
  const T* c0;      // (B, H); lstm only
  const T *w, *dy;  // (G H, H), (rows, H)
  T* dh;            // (B, H): of the last h at first, of h0 in the end
  T* dc;            // (B, H): of the last c at first, of c0 in the end; lstm only
  T* dgates;        // (rows of the range, rnn_dgates H)
  T* db;            // (rnn_dgates H): complete in the end
  T* workspace;     // rnn_workspace() elements, 64-byte aligned
};
template <class T> using rnn_backward_fn = void (*)(const RnnShape* shape, const RnnBackward<T>* args);

// The packed weights, and what a step hands on to the next, twice.
static inline int64_t rnn_packed(RnnCell cell, int64_t H) { return (H + 31) / 32 * 32 * rnn_gates(cell) * H; }
// Rows of it begin 64 bytes past a multiple of 128: neighbours never share the sets of a first-level cache.
static inline int64_t rnn_state_row(int64_t cols) { return (cols + 31) / 32 * 32 + 16; }
static inline int64_t rnn_workspace(RnnCell cell, int64_t B, int64_t H) {
  return rnn_packed(cell, H) + 2 * B * rnn_state_row(rnn_gates(cell) * H);
}

}  // namespace dl
