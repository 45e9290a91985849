// The kernel table. Kernels register themselves under a name and a target at load time; an op holds a Kernel<Fn>
// and calls the best version that the chosen target has. Nothing here puts shared inline code into per-ISA objects.
#pragma once
#include <atomic>

#include "core/device.h"

namespace dl {

// In order of preference: a missing version falls back to the next lower one, down to the reference.
enum class Target { reference, baseline, avx2, avx512, avx512_bf16, amx, cuda };
constexpr int kNumTargets = 7;

using AnyFn = void (*)();

struct KernelSlot {
  const char* name;
  AnyFn by_target[kNumTargets];
  std::atomic<AnyFn> active;
};

bool register_kernel(const char* name, Target target, AnyFn fn);
AnyFn find_kernel(const char* name, Target target);  // nullptr when this build has none; no fallback
KernelSlot& kernel_slot(const char* name);           // made on first use
// Every registered name, in alphabetical order; `names` may be nullptr to ask for the count.
int registered_kernels(const char** names, int capacity);

[[noreturn]] void throw_missing_kernel(const char* name);
// The one error for whatever a device cannot do.
[[noreturn]] void throw_no_device_kernel(const char* op, const char* variant = "");

// The version for the device that this thread works on. No fallback from a device to the CPU.
inline AnyFn chosen_version(const KernelSlot& slot) {
  const AnyFn fn = running_on == Device::cpu ? slot.active.load(std::memory_order_relaxed)
                                             : slot.by_target[static_cast<int>(Target::cuda)];
  if (__builtin_expect(!fn, 0)) throw_missing_kernel(slot.name);
  return fn;
}

// A call site's handle: `static const Kernel<softmax_forward_fn<float>> kernel{"softmax_forward/float32"};`
template <class Fn> class Kernel {
 public:
  explicit Kernel(const char* name) : slot_(kernel_slot(name)) {}
  Fn get() const { return reinterpret_cast<Fn>(chosen_version(slot_)); }
  template <class... Args> void operator()(Args... args) const { get()(args...); }

 private:
  KernelSlot& slot_;
};

Target current_target();
void set_target(Target target);  // ValueError when this CPU cannot run it
bool cpu_supports(Target target);
bool cpu_gains_by(Target target);  // over the next lower one
const char* target_name(Target target);
Target target_from_name(const char* name);  // ValueError names the choices

}  // namespace dl

// DL_REGISTER(contract, "name", function): a function of another signature does not compile.
// The build defines DL_TARGET for every kernel file (reference, baseline, avx2, ...).
#define DL_REGISTER_CAT2(a, b) a##b
#define DL_REGISTER_CAT(a, b) DL_REGISTER_CAT2(a, b)
#define DL_REGISTER(name, function, ...)                                                                 \
  namespace {                                                                                            \
  [[maybe_unused]] const bool DL_REGISTER_CAT(registered_, __COUNTER__) = ::dl::register_kernel(         \
      name, ::dl::Target::DL_TARGET, reinterpret_cast<::dl::AnyFn>(static_cast<__VA_ARGS__>(function))); \
  }
