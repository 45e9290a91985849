// On which device this thread works. Tensors made without naming a device lie on it, kernels are its kernels, and the
// memory of any other device is refused (Tensor::raw), so host code cannot take a device's addresses for its own.
#pragma once
#include <cstdint>

namespace dl {

enum class Device : uint8_t { cpu, cuda };
constexpr int kNumDevices = 2;

constexpr const char* name(Device d) { return d == Device::cpu ? "cpu" : "cuda"; }

// Read on every access to a tensor's data: a plain load, not a call that looks for the thread's variables.
extern __thread Device running_on __attribute__((tls_model("initial-exec")));

// Sets it for a block. Bound functions have one that follows their arguments: see ops/bindings.h.
class DeviceScope {
 public:
  explicit DeviceScope(Device d) : before_(running_on) { running_on = d; }
  ~DeviceScope() { running_on = before_; }
  DeviceScope(const DeviceScope&) = delete;

 private:
  const Device before_;
};

}  // namespace dl
