// What a device other than the CPU has to offer the core. Its library registers itself when it is linked; the core
// neither knows nor asks how it was built.
#pragma once
#include <cstddef>
#include <string>

#include "core/device.h"
#include "core/heap.h"

namespace dl {

class DeviceLibrary {
 public:
  virtual ~DeviceLibrary() = default;

  virtual std::string why_not() = 0;  // empty where the device can be used
  virtual int count() = 0;
  virtual std::string description() = 0;  // such as "NVIDIA A100, 80 GiB"

  // Every call below first makes sure that the device can be used (UnsupportedError says why it cannot), works in the
  // order of the kernels launched by this process, and raises what earlier kernels did wrong.
  virtual void* allocate(size_t bytes) = 0;  // MemoryError; nullptr for zero bytes
  virtual void release(void* data, size_t bytes) noexcept = 0;
  virtual void clear(void* data, size_t bytes) = 0;  // zeros
  // Between the device and the CPU, or on the device; what is copied to the CPU is there on return.
  virtual void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) = 0;
  virtual void synchronize() = 0;

  virtual MemoryStats stats() = 0;
  virtual void reset_peak() = 0;
  virtual void set_limit(size_t bytes) = 0;  // 0 lifts it
  virtual void empty_cache() = 0;
};

bool register_device(Device d, DeviceLibrary* library);  // which lives as long as the program
DeviceLibrary* find_device(Device d);                    // nullptr when none is linked
DeviceLibrary& device_library(Device d);                 // UnsupportedError then
std::string why_no_device(Device d);                     // empty where it can be used

}  // namespace dl
