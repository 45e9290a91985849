// The checked build: bodies of the calls that -fsanitize=thread puts before every load and store of the kernels.
// libtsan is not linked, so the extension loads into any Python. Not itself compiled with -fsanitize=thread.
#include "state.h"

namespace dl {
namespace emulator {
namespace {

[[maybe_unused]] const bool on = checked = true;

void note(const void* p, size_t bytes, bool write, const void* code) {
  if (!in_kernel) return;
  in_kernel = false;
  check_access(p, bytes, write, code);
  in_kernel = true;
}
void note_range(const void* p, size_t bytes, bool write, const void* code) {
  const char* at = static_cast<const char*>(p);
  const size_t step = reinterpret_cast<uintptr_t>(p) % 4 == 0 && bytes % 4 == 0 ? 4 : 1;
  for (size_t i = 0; i < bytes; i += step) note(at + i, step, write, code);
}

}  // namespace
}  // namespace emulator
}  // namespace dl

using dl::emulator::note;
using dl::emulator::note_range;
#define DL_CODE __builtin_return_address(0)
#define DL_HOOKS(n)                                                                 \
  extern "C" void __tsan_read##n(void* p) { note(p, n, false, DL_CODE); }           \
  extern "C" void __tsan_write##n(void* p) { note(p, n, true, DL_CODE); }           \
  extern "C" void __tsan_unaligned_read##n(void* p) { note(p, n, false, DL_CODE); } \
  extern "C" void __tsan_unaligned_write##n(void* p) { note(p, n, true, DL_CODE); } \
  extern "C" void __tsan_volatile_read##n(void* p) { note(p, n, false, DL_CODE); }  \
  extern "C" void __tsan_volatile_write##n(void* p) { note(p, n, true, DL_CODE); }
DL_HOOKS(1)
DL_HOOKS(2)
DL_HOOKS(4)
DL_HOOKS(8)
DL_HOOKS(16)
extern "C" void __tsan_read_range(void* p, size_t n) { note_range(p, n, false, DL_CODE); }
extern "C" void __tsan_write_range(void* p, size_t n) { note_range(p, n, true, DL_CODE); }
extern "C" void* __tsan_memcpy(void* to, const void* from, size_t n) {
  note_range(from, n, false, DL_CODE);
  note_range(to, n, true, DL_CODE);
  return __builtin_memcpy(to, from, n);
}
extern "C" void* __tsan_memset(void* to, int value, size_t n) {
  note_range(to, n, true, DL_CODE);
  return __builtin_memset(to, value, n);
}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit(void*) {}
extern "C" void __tsan_init() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}

// -fsanitize=alignment,bounds,shift: no libubsan either.
struct DlLocation {
  const char* file;
  unsigned line, column;
};
static void at_fault(const char* what, const DlLocation* l) {
  if (dl::emulator::in_kernel) dl::emulator::fault("%s, at %s:%u", what, l->file, l->line);
}
extern "C" void __ubsan_handle_type_mismatch_v1(DlLocation* l, uintptr_t) { at_fault("misaligned access", l); }
extern "C" void __ubsan_handle_out_of_bounds(DlLocation* l, uintptr_t) { at_fault("array index out of bounds", l); }
extern "C" void __ubsan_handle_shift_out_of_bounds(DlLocation* l, uintptr_t, uintptr_t) {
  at_fault("shift out of range", l);
}
