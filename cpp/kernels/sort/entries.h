// Elements under way: an unsigned key in the order of the elements, and the index. Internal to the including file.
#pragma once
#include <cstring>

#include "kernels/sort/sort.h"

namespace dl {
namespace {

// NaN and zeros of either sign are one key each, so that equal elements keep their order.
uint32_t key_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t key = bits >> 31 ? ~bits : bits | 0x80000000u;
  return x != x ? 0xffffffffu : x == 0 ? 0x80000000u : key;
}
uint64_t key_of(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint64_t key = bits >> 63 ? ~bits : bits | uint64_t{1} << 63;
  return x != x ? ~uint64_t{0} : x == 0 ? uint64_t{1} << 63 : key;
}
uint32_t key_of(bfloat16 x) { return key_of(to_float(x)); }
uint32_t key_of(int32_t x) { return static_cast<uint32_t>(x) ^ 0x80000000u; }
uint64_t key_of(int64_t x) {
  return static_cast<uint64_t>(x) ^ uint64_t { 1 } << 63;
}
uint32_t key_of(uint8_t x) { return x; }

// Unlike as they are, entries of one row never compare equal.
struct Short {
  uint64_t bits;  // key << 32 | index
  static constexpr int kKeyBits = 32;
  static Short make(uint32_t key, int64_t index) { return {uint64_t{key} << 32 | static_cast<uint32_t>(index)}; }
  uint32_t key() const { return static_cast<uint32_t>(bits >> 32); }
  int64_t index() const { return static_cast<int64_t>(bits & 0xffffffffu); }
  bool before(const Short& o) const { return bits < o.bits; }
};
struct Long {
  uint64_t bits, place;
  static constexpr int kKeyBits = 64;
  static Long make(uint64_t key, int64_t index) { return {key, static_cast<uint64_t>(index)}; }
  uint64_t key() const { return bits; }
  int64_t index() const { return static_cast<int64_t>(place); }
  bool before(const Long& o) const { return bits < o.bits || (bits == o.bits && place < o.place); }
};
template <int bytes> struct EntryOf { using type = Short; };
template <> struct EntryOf<8> { using type = Long; };
template <class T> using Entry = typename EntryOf<sizeof(T)>::type;

template <class T> Entry<T> entry_of(T x, int64_t index, bool descending) {
  const auto key = key_of(x);
  return Entry<T>::make(descending ? ~key : key, index);
}

// Few entries: each one's place is the number of entries before it, counted without branches, kLanes at a time in
// registers. That is n^2 comparisons: worth it as long as vectors do them.
#if defined(__AVX512F__)
constexpr int64_t kFew = 128;
#elif defined(__AVX2__)
constexpr int64_t kFew = 64;
#else
constexpr int64_t kFew = 32;
#endif
constexpr int64_t kLanes = 32;
using Eight =
    int64_t __attribute__((vector_size(64)));  // of the compiler's own vectors: there are no int64 lanes in Vec
void sort_few(const Short* a, Short* to, int64_t n) {
  int64_t flipped[kFew];  // signed comparisons are what vectors have
  for (int64_t i = 0; i < n; ++i) flipped[i] = static_cast<int64_t>(a[i].bits ^ uint64_t{1} << 63);
  const int64_t whole = (n + kLanes - 1) / kLanes * kLanes;
  for (int64_t i = n; i < whole; ++i) flipped[i] = INT64_MAX;
  for (int64_t i0 = 0; i0 < n; i0 += kLanes) {
    Eight mine[kLanes / 8], ranks[kLanes / 8] = {};
    std::memcpy(mine, flipped + i0, sizeof mine);
    for (int64_t j = 0; j < n; ++j)
      for (int v = 0; v < kLanes / 8; ++v) ranks[v] -= flipped[j] < mine[v];  // a true lane is -1
    int64_t rank[kLanes];
    std::memcpy(rank, ranks, sizeof rank);
    const int64_t last = n - i0 < kLanes ? n - i0 : kLanes;
    for (int64_t i = 0; i < last; ++i) to[rank[i]] = a[i0 + i];
  }
}
void sort_few(const Long* a, Long* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    int64_t j = i;
    for (; j > 0 && a[i].before(to[j - 1]); --j) to[j] = to[j - 1];
    to[j] = a[i];
  }
}

template <int digit_bits, class E> E* radix_sort_by(E* a, E* b, int64_t n) {
  constexpr int kPasses = (E::kKeyBits + digit_bits - 1) / digit_bits;
  constexpr uint32_t kDigits = 1u << digit_bits;
  uint32_t counts[kPasses][kDigits];
  std::memset(counts, 0, sizeof counts);
  for (int64_t i = 0; i < n; ++i)
    for (int p = 0; p < kPasses; ++p) ++counts[p][a[i].key() >> p * digit_bits & (kDigits - 1)];
  for (int p = 0; p < kPasses; ++p) {
    uint32_t* const at = counts[p];
    const int shift = p * digit_bits;
    if (at[a[0].key() >> shift & (kDigits - 1)] == static_cast<uint32_t>(n)) continue;  // all alike in this digit
    uint32_t sum = 0;
    for (uint32_t d = 0; d < kDigits; ++d) {
      const uint32_t count = at[d];
      at[d] = sum;
      sum += count;
    }
    for (int64_t i = 0; i < n; ++i) b[at[a[i].key() >> shift & (kDigits - 1)]++] = a[i];
    E* const swap = a;
    a = b;
    b = swap;
  }
  return a;
}

// Sorts a[0 … n) with b as room for as many; returns which of the two holds the result. One thread.
template <class E> E* sort_entries(E* a, E* b, int64_t n) {
  if (n <= (E::kKeyBits == 32 ? kFew : 32)) {
    sort_few(a, b, n);
    return b;
  }
  // Wider digits save a pass, and cost more counters.
  return n < 2048 ? radix_sort_by<8>(a, b, n) : radix_sort_by<11>(a, b, n);
}

}  // namespace
}  // namespace dl
