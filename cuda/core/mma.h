// Matrix products of a warp, and copies that go on in the background (sm_80): ldmatrix, mma.sync, cp.async. The layouts
// are those of the PTX manual, sections "Matrix fragments for mma.m16n8k16" and "ldmatrix".
#pragma once
#include "cuda/core/kernel.h"

namespace dl {
namespace cuda {

#if defined(DL_CUDA_EMULATED)
namespace host {
using emulator::Site;

struct LoadMatrices {
  uint32_t* out;    // four registers
  const void* row;  // of matrix lane / 8, row lane % 8: 8 elements of 16 bits
};
template <bool kTransposed> void load_matrices(void** arguments, unsigned) {
  for (int l = 0; l < 32; ++l) emulator::note_lane_access(l, static_cast<LoadMatrices*>(arguments[l])->row, 16, false);
  for (int l = 0; l < 32; ++l)
    for (int m = 0; m < 4; ++m) {
      uint16_t pair[2];
      for (int k = 0; k < 2; ++k) {
        const int row = kTransposed ? l % 4 * 2 + k : l / 4, col = kTransposed ? l / 4 : l % 4 * 2 + k;
        std::memcpy(&pair[k],
                    static_cast<const uint16_t*>(static_cast<LoadMatrices*>(arguments[m * 8 + row])->row) + col, 2);
      }
      std::memcpy(&static_cast<LoadMatrices*>(arguments[l])->out[m], pair, 4);
    }
}
struct Multiply {
  float* c;
  const uint32_t *a, *b;
};
inline float half_of(uint32_t pair, int k) { return __uint_as_float(k ? pair & 0xffff0000u : pair << 16); }
inline void multiply(void** arguments, unsigned) {
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; ++l) {
    const auto* p = static_cast<Multiply*>(arguments[l]);
    const int g = l / 4, t = l % 4 * 2;
    for (int k = 0; k < 2; ++k) {
      for (int r = 0; r < 4; ++r) a[g + r % 2 * 8][t + k + r / 2 * 8] = half_of(p->a[r], k);
      for (int r = 0; r < 2; ++r) b[t + k + r * 8][g] = half_of(p->b[r], k);
    }
  }
  for (int l = 0; l < 32; ++l) {
    auto* p = static_cast<Multiply*>(arguments[l]);
    for (int r = 0; r < 4; ++r) {
      const int row = l / 4 + r / 2 * 8, col = l % 4 * 2 + r % 2;
      float sum = p->c[r];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][col];
      p->c[r] = sum;
    }
  }
}
}  // namespace host
#endif

// Four 8 x 8 matrices of 16-bit elements from shared memory; lane l gives the address of row l % 8 of matrix l / 8.
// Register m gets of matrix m the elements (l / 4, 2 (l % 4)) and the next one, or, transposed, their mirror images.
template <bool kTransposed> DL_DEVICE void load_matrices(uint32_t* r, const bfloat16* row) {
#if defined(DL_CUDA_EMULATED)
  host::LoadMatrices own{r, row};
  emulator::meet_warp(kAllLanes, host::load_matrices<kTransposed>, &own, "ldmatrix", {__FILE__, __LINE__});
#else
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
#endif
}

// c (16 x 8, float) += a (16 x 16) b (16 x 8), bfloat16.
DL_DEVICE void multiply_add(float* c, const uint32_t* a, const uint32_t* b) {
#if defined(DL_CUDA_EMULATED)
  host::Multiply own{c, a, b};
  emulator::meet_warp(kAllLanes, host::multiply, &own, "mma.sync", {__FILE__, __LINE__});
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// 16 bytes from global to shared memory, of which the first `bytes` (0 to 16) are read and the others are zeros.
DL_DEVICE void copy_async(void* shared, const void* global, int bytes) {
#if defined(DL_CUDA_EMULATED)
  emulator::copy_async(shared, global, 16, bytes);
#else
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(global), "r"(bytes) : "memory");
#endif
}
DL_DEVICE void commit_copies() {
#if defined(DL_CUDA_EMULATED)
  emulator::commit_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until at most kLeft of the groups committed last may still be on their way.
template <int kLeft> DL_DEVICE void wait_for_copies() {
#if defined(DL_CUDA_EMULATED)
  emulator::wait_for_copies(kLeft);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

}  // namespace cuda
}  // namespace dl
