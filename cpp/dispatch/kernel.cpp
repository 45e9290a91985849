#include "dispatch/kernel.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "core/check.h"

namespace dl {
namespace {

constexpr const char* kTargetNames[kNumTargets] = {"reference",   "baseline", "avx2", "avx512",
                                                   "avx512_bf16", "amx",      "cuda"};

struct Table {
  std::mutex mutex;
  std::map<std::string, KernelSlot> slots;  // nodes never move
  int target = -1;                          // not chosen yet
};

Table& table() {
  static Table* const t = new Table;
  return *t;
}

AnyFn best_version(const KernelSlot& slot, int target) {
  for (int t = target; t >= 0; --t)
    if (slot.by_target[t]) return slot.by_target[t];
  return nullptr;
}

Target best_cpu_target() {
  int t = static_cast<int>(Target::cuda) - 1;
  while (!cpu_supports(Target(t)) || !cpu_gains_by(Target(t))) --t;
  return Target(t);
}

// DLCORE_TARGET is read once, by the first caller: the import.
int chosen_target(Table& t) {
  if (t.target < 0) {
    const char* forced = std::getenv("DLCORE_TARGET");
    const Target target = forced && *forced ? target_from_name(forced) : best_cpu_target();
    DL_CHECK(cpu_supports(target), "[DLCORE_TARGET] this CPU does not run ", target_name(target));
    t.target = static_cast<int>(target);
    for (auto& [name, slot] : t.slots) slot.active = best_version(slot, t.target);
  }
  return t.target;
}

KernelSlot& slot_of(Table& t, const char* name) {
  auto [it, made] = t.slots.try_emplace(name);
  if (made) it->second.name = it->first.c_str();
  return it->second;
}

}  // namespace

bool register_kernel(const char* name, Target target, AnyFn fn) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  KernelSlot& slot = slot_of(t, name);
  slot.by_target[static_cast<int>(target)] = fn;
  if (t.target >= 0) slot.active = best_version(slot, t.target);
  return true;
}

AnyFn find_kernel(const char* name, Target target) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  const auto it = t.slots.find(name);
  return it == t.slots.end() ? nullptr : it->second.by_target[static_cast<int>(target)];
}

KernelSlot& kernel_slot(const char* name) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  KernelSlot& slot = slot_of(t, name);
  slot.active = best_version(slot, chosen_target(t));
  return slot;
}

int registered_kernels(const char** names, int capacity) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  int n = 0;
  for (auto& [name, slot] : t.slots) {
    if (!best_version(slot, kNumTargets - 1)) continue;
    if (names && n < capacity) names[n] = name.c_str();
    ++n;
  }
  return n;
}

// "softmax_forward/float64" is spoken of as [softmax_forward] for float64.
void throw_missing_kernel(const char* kernel) {
  if (running_on == Device::cpu) throw UnsupportedError(cat("[", kernel, "] this build has no kernel of that name"));
  const std::string full = kernel;
  const size_t slash = full.find('/');
  throw_no_device_kernel(full.substr(0, slash).c_str(), slash == std::string::npos ? "" : kernel + slash + 1);
}

void throw_no_device_kernel(const char* op, const char* variant) {
  throw UnsupportedError(cat("[", op, "] has no CUDA kernel", *variant ? " for " : "", variant,
                             "; move the tensor to the CPU with .to('cpu')"));
}

Target current_target() {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  return static_cast<Target>(chosen_target(t));
}

void set_target(Target target) {
  DL_CHECK(cpu_supports(target), "[set_target] this CPU does not run ", target_name(target));
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  t.target = static_cast<int>(target);
  for (auto& [name, slot] : t.slots) slot.active = best_version(slot, t.target);
}

const char* target_name(Target target) { return kTargetNames[static_cast<int>(target)]; }

Target target_from_name(const char* name) {
  for (int i = 0; i < static_cast<int>(Target::cuda); ++i)
    if (std::strcmp(name, kTargetNames[i]) == 0) return static_cast<Target>(i);
  throw ValueError(cat("[target] expected reference, baseline, avx2, avx512, avx512_bf16 or amx, got '", name, "'"));
}

}  // namespace dl
