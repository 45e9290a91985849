// Vec: as many float32 lanes as the instruction set being compiled for has; one algorithm serves them all.
//
//   Vec   float lanes      load store stream broadcast + - * / fma fnma min max sqrt round ... reduce_*
//   VecI  int32 lanes      load store broadcast + - * & | ^ shl<k> shr<k> sar<k> eq gt select mul_wide_u32
//   Mask  one bool a lane  lt le gt ge eq ne isnan first_n & | ! any all select
//
// load(p, n) and store(p, v, n) touch the first n lanes only, 0 <= n <= Vec::size; absent lanes load as 0. That is how
// every tail is written: the same vector code under a mask. bfloat16 pointers load into, and store from, float lanes,
// so a kernel `template <class T>` over {float, bfloat16} needs no second body.
//
// Everything is internal to the including file: nothing here may survive as a weak symbol that the linker could
// share between objects compiled for different CPUs.
#pragma once
#include <cstdint>
#include <cstring>

#include "core/bfloat16.h"

#define DL_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include "simd/vec_avx512.h"
#elif defined(__AVX2__)
#include "simd/vec_avx2.h"
#else
#include "simd/vec_baseline.h"
#endif

namespace dl {
namespace {

static_assert(Vec::size == VecI::size, "lanes of Vec and VecI correspond one to one");

DL_INLINE Vec zero() { return broadcast(0.0f); }
DL_INLINE VecI broadcast_bits(uint32_t x) { return broadcast(static_cast<int32_t>(x)); }
DL_INLINE Vec isolate_sign(Vec a) { return bits_as_float(bits_as_int(a) & broadcast_bits(0x80000000u)); }
DL_INLINE Vec copysign(Vec magnitude, Vec sign) {
  return bits_as_float(bits_as_int(abs(magnitude)) | (bits_as_int(sign) & broadcast_bits(0x80000000u)));
}

DL_INLINE Vec& operator+=(Vec& a, Vec b) { return a = a + b; }
DL_INLINE Vec& operator-=(Vec& a, Vec b) { return a = a - b; }
DL_INLINE Vec& operator*=(Vec& a, Vec b) { return a = a * b; }

// bfloat16: widening is exact; narrowing rounds to nearest even and keeps NaN.
DL_INLINE Vec load(const bfloat16* p) { return bits_as_float(shl<16>(load_u16(&p->bits))); }
DL_INLINE Vec load(const bfloat16* p, int64_t n) { return bits_as_float(shl<16>(load_u16(&p->bits, n))); }
DL_INLINE VecI bfloat16_bits(Vec a) {
  const VecI bits = bits_as_int(a);
  const VecI rounded = bits + broadcast(0x7fff) + (shr<16>(bits) & broadcast(1));
  return shr<16>(select(isnan(a), bits | broadcast(0x400000), rounded));
}
DL_INLINE void store(bfloat16* p, Vec a) { store_u16(&p->bits, bfloat16_bits(a)); }
DL_INLINE void store(bfloat16* p, Vec a, int64_t n) { store_u16(&p->bits, bfloat16_bits(a), n); }
// A whole vector past the caches; p is aligned to the vector's bytes. bfloat16 has no such store: it goes the usual
// way.
DL_INLINE void stream(bfloat16* p, Vec a) { store(p, a); }

DL_INLINE Vec broadcast(bfloat16 x) { return broadcast(to_float(x)); }

DL_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }

}  // namespace
}  // namespace dl
