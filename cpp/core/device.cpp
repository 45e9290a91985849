#include "core/device.h"

#include "core/check.h"
#include "core/device_library.h"

namespace dl {
namespace {

DeviceLibrary* libraries[kNumDevices];  // filled while libraries are loaded, before any thread

}  // namespace

__thread Device running_on __attribute__((tls_model("initial-exec"))) = Device::cpu;

bool register_device(Device d, DeviceLibrary* library) {
  libraries[static_cast<int>(d)] = library;
  return true;
}

DeviceLibrary* find_device(Device d) { return libraries[static_cast<int>(d)]; }

std::string why_no_device(Device d) {
  if (d == Device::cpu) return "";
  DeviceLibrary* library = find_device(d);
  return library ? library->why_not() : "this build has no CUDA kernels (DLCORE_CUDA=ON builds them)";
}

DeviceLibrary& device_library(Device d) {
  DeviceLibrary* library = find_device(d);
  if (!library) throw UnsupportedError(cat("[", name(d), "] ", why_no_device(d)));
  return *library;
}

}  // namespace dl
