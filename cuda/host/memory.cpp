// Device and shared memory, and what the checked build knows of every byte and word of them.
#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "state.h"

namespace dl {
namespace emulator {
namespace {

// The last write and the last read of two bytes: the smallest elements that race (single bytes are not compared).
constexpr size_t kWordBytes = 2;
struct Word {
  unsigned write_epoch, read_epoch;
  unsigned short writer, reader;         // threads; kSeveral: of different warps
  unsigned short write_warp, read_warp;  // epochs of their warps
  unsigned read_elsewhere;               // a launch in which several blocks read it, by its first epoch
};
constexpr unsigned short kSeveral = 0xffff;
constexpr unsigned short kSeveralOfWarp = 0x8000;  // with the number of one of them

struct Space {
  const char* name;
  size_t bytes;
  char* data = nullptr;
  unsigned char* state = nullptr;
  Word* words = nullptr;

  bool holds(const void* p) const { return static_cast<size_t>(static_cast<const char*>(p) - data) < bytes; }
  size_t offset(const void* p) const { return static_cast<size_t>(static_cast<const char*>(p) - data); }
};

Space device{"global", kDeviceBytes}, shared{"shared", kSharedBytes};
char* all_stacks = nullptr;

// Addresses alone: pages are there once they are touched.
char* reserve(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    std::perror("[emulator] mmap");
    std::abort();
  }
  return static_cast<char*>(data);
}

void reserve_space(Space& space) {
  space.data = reserve(space.bytes);
  if (!checked) return;
  space.state = reinterpret_cast<unsigned char*>(reserve(space.bytes));
  space.words = reinterpret_cast<Word*>(reserve(space.bytes / kWordBytes * sizeof(Word)));
}

// This library's own constants and variables may be read, such as tables and threadIdx.
struct Image { const char *begin = nullptr, *end = nullptr; };
const Image& own_image() {
  static const Image image = [] {
    Image found;
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* out) {
          auto& image = *static_cast<Image*>(out);
          const char* const self = reinterpret_cast<const char*>(&own_image);
          const char *begin = nullptr, *end = nullptr;
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
            const char* at = reinterpret_cast<const char*>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
            if (!begin) begin = at;
            end = at + info->dlpi_phdr[i].p_memsz;
          }
          if (self < begin || self >= end) return 0;
          image = {begin, end};
          return 1;
        },
        &found);
    return found;
  }();
  return image;
}

const char* verb(bool write) { return write ? "write" : "read"; }

void check_race(Space& space, size_t first, size_t last, bool write, const Moment& m, const void* code) {
  const unsigned short thread = static_cast<unsigned short>(m.thread), warp = static_cast<unsigned short>(m.warp_epoch);
  const auto race = [&](const char* before, const char* relation) {
    fault("%s race: %s after a %s by %s, in %s", space.name, verb(write), before, relation, place_of(code).c_str());
  };
  // Whether an earlier access in this interval between barriers certainly came before.
  const auto ordered = [&](unsigned short other, unsigned short other_warp) {
    return other == thread || (other / 32 == thread / 32 && other_warp != warp);
  };
  for (size_t i = first; i <= last; ++i) {
    Word& w = space.words[i];
    if (w.write_epoch >= m.launch_start && w.write_epoch < m.block_start) race("write", "another block of this launch");
    if (w.write_epoch == m.epoch && !ordered(w.writer, w.write_warp))
      race("write", "another thread without a barrier between");
    const bool read_in_block = w.read_epoch >= m.block_start;
    const bool read_in_other = w.read_epoch >= m.launch_start && !read_in_block;
    if (write) {
      if (read_in_other || w.read_elsewhere == m.launch_start) race("read", "another block of this launch");
      if (w.read_epoch == m.epoch) {
        const bool of_warp = w.reader != kSeveral && (w.reader & kSeveralOfWarp);
        const auto reader = static_cast<unsigned short>(w.reader & ~kSeveralOfWarp);
        const bool fine = w.reader != kSeveral &&
                          (of_warp ? reader / 32 == thread / 32 && w.read_warp != warp : ordered(reader, w.read_warp));
        if (!fine) race("read", "another thread without a barrier between");
      }
      w.write_epoch = m.epoch, w.writer = thread, w.write_warp = warp;
    } else {
      if (read_in_other) w.read_elsewhere = m.launch_start;
      if (w.read_epoch != m.epoch) {
        w.read_epoch = m.epoch, w.reader = thread, w.read_warp = warp;
      } else if (w.reader != thread && w.reader != kSeveral) {
        const auto reader = static_cast<unsigned short>(w.reader & ~kSeveralOfWarp);
        if (reader / 32 != thread / 32) w.reader = kSeveral;
        else w.reader = static_cast<unsigned short>(thread | kSeveralOfWarp), w.read_warp = warp;
      }
    }
  }
}

void check_in(Space& space, const void* p, size_t bytes, bool write, const void* code) {
  if (reinterpret_cast<uintptr_t>(p) % bytes)
    fault("misaligned %s %s of %zu bytes, in %s", space.name, verb(write), bytes, place_of(code).c_str());
  const size_t at = space.offset(p);
  for (size_t i = at; i < at + bytes; ++i) {
    if (space.state[i] == kFree)
      fault("%s %s out of bounds (%zu bytes), in %s", space.name, verb(write), bytes, place_of(code).c_str());
    if (!write && space.state[i] == kUnset)
      fault("read of unset %s memory (%zu bytes), in %s", space.name, bytes, place_of(code).c_str());
  }
  if (write) std::memset(space.state + at, kSet, bytes);
  if (bytes >= kWordBytes) check_race(space, at / kWordBytes, (at + bytes - 1) / kWordBytes, write, now(), code);
}

Space* space_of(const void* p) { return device.holds(p) ? &device : shared.holds(p) ? &shared : nullptr; }

}  // namespace

void reserve_memory() {
  if (all_stacks) return;
  reserve_space(device);
  reserve_space(shared);
  all_stacks = reserve(kStackBytes * kMaxThreads);
}
char* stacks() { return all_stacks; }
char* device_memory() { return device.data; }
char* shared_memory() { return shared.data; }

void mark(const void* p, size_t bytes, Byte state) {
  Space* space = checked ? space_of(p) : nullptr;
  if (!space) return;
  std::memset(space->state + space->offset(p), state, bytes);
  if (state == kUnset)  // new memory has no past
    std::memset(space->words + space->offset(p) / kWordBytes, 0, (bytes + kWordBytes - 1) / kWordBytes * sizeof(Word));
}
bool is_set(const void* p, size_t bytes, size_t& first_unset) {
  if (!checked) return true;
  const Space* space = space_of(p);
  for (first_unset = 0; first_unset < bytes; ++first_unset)
    if (!space || space->state[space->offset(p) + first_unset] != kSet) return false;
  return true;
}
void forget_shared(size_t bytes) {
  if (checked) std::memset(shared.state, kFree, bytes < kSharedBytes ? bytes : kSharedBytes);
}

void check_access(const void* p, size_t bytes, bool write, const void* code) {
  if (Space* space = space_of(p)) return check_in(*space, p, bytes, write, code);
  const auto in_stacks = static_cast<size_t>(static_cast<const char*>(p) - all_stacks);
  if (in_stacks < kStackBytes * kMaxThreads) {
    if (in_stacks / kStackBytes != now().thread)
      fault("%s of another thread's local memory, in %s", verb(write), place_of(code).c_str());
    return;
  }
  if (!write && (is_parameter(p, bytes) || (p >= own_image().begin && p < own_image().end))) return;
  fault("%s of host memory at %p, in %s", verb(write), p, place_of(code).c_str());
}

std::string place_of(const void* code) {
  Dl_info info;
  if (!code || !dladdr(code, &info)) return "a warp operation";
  char command[1200], line[600] = "";
  const auto offset = static_cast<const char*>(code) - static_cast<const char*>(info.dli_fbase) - 1;
  std::snprintf(command, sizeof command, "addr2line -Cpfe '%s' 0x%zx 2> /dev/null", info.dli_fname,
                static_cast<size_t>(offset));
  if (FILE* pipe = popen(command, "r")) {
    if (!std::fgets(line, sizeof line, pipe)) line[0] = '\0';
    pclose(pipe);
  }
  std::string place = line;
  while (!place.empty() && place.back() == '\n') place.pop_back();
  return place.empty() ? "unknown code" : place;
}

}  // namespace emulator
}  // namespace dl
