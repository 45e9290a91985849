// The module as DL_BIND hands it to a family. Every function bound here looks at where its tensors lie before it runs:
// plain `def` is for the CPU and refuses others, so that an op nobody has made ready for devices never takes a device's
// memory for the host's; `def(any_device, ...)` runs on the device of its arguments, which must be one.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bind/py_tensor.h"
#include "dispatch/kernel.h"

namespace dl {

struct AnyDevice {};
struct EachDevice {};
constexpr AnyDevice any_device{};    // runs where its tensors lie
constexpr EachDevice each_device{};  // sees to its arguments' devices itself

// A set of devices, a bit for each; arguments that are no tensors have none.
using Devices = unsigned;
constexpr Devices only(Device d) { return 1u << static_cast<int>(d); }
inline Devices devices_of(const Tensor& x) { return only(x.device()); }
Devices devices_in(pybind11::handle sequence);  // of the tensors in a list or tuple
inline Devices devices_of(pybind11::handle x) {
  return is_tensor(x.ptr()) ? devices_of(reinterpret_cast<PyTensor*>(x.ptr())->tensor) : devices_in(x);
}
template <class T, class = std::enable_if_t<!std::is_convertible_v<const T&, pybind11::handle>>>
constexpr Devices devices_of(const T&) {
  return 0;
}
template <class T> Devices devices_of(const std::optional<T>& x) { return x ? devices_of(*x) : 0; }
template <class T> Devices devices_of(const std::vector<T>& xs) {
  Devices found = 0;
  for (const T& x : xs) found |= devices_of(x);
  return found;
}

// What errors call an op and its arguments.
struct OpNames {
  std::string op;
  std::vector<std::string> arguments;
};
// ValueError: arguments on several devices; `of` has each one's.
[[noreturn]] void refuse_mixed_devices(const OpNames& names, const Devices* of);

// The device to run on, of arguments on `found`: the CPU where there are no tensors.
template <class... A> Device common_device(const OpNames& names, Devices found, const A&... arguments) {
  if (__builtin_expect(found <= only(Device::cpu), 1)) return Device::cpu;
  if (found == only(Device::cuda)) return Device::cuda;
  const Devices of[] = {devices_of(arguments)..., 0};
  refuse_mixed_devices(names, of);
}

class Family : public pybind11::module_ {
 public:
  explicit Family(const pybind11::module_& m) : pybind11::module_(m) {}

  template <class F, class... Extra> Family& def(const char* name, F&& f, const Extra&... extra) {
    return def_checked<false>(static_cast<Signature<F>*>(nullptr), name, std::forward<F>(f), extra...);
  }
  template <class F, class... Extra> Family& def(AnyDevice, const char* name, F&& f, const Extra&... extra) {
    return def_checked<true>(static_cast<Signature<F>*>(nullptr), name, std::forward<F>(f), extra...);
  }
  template <class F, class... Extra> Family& def(EachDevice, const char* name, F&& f, const Extra&... extra) {
    pybind11::module_::def(name, std::forward<F>(f), extra...);
    return *this;
  }

 private:
  template <class F> using Signature = pybind11::detail::function_signature_t<F>;

  template <class T> static void add_name(OpNames& names, const T& extra) {
    if constexpr (std::is_base_of_v<pybind11::arg, T>) names.arguments.emplace_back(extra.name);
  }

  template <bool kAnyDevice, class R, class... A, class F, class... Extra>
  Family& def_checked(R (*)(A...), const char* name, F&& f, const Extra&... extra) {
    auto* const names = new OpNames{name, {}};  // lives as long as the function
    (add_name(*names, extra), ...);
    const auto checked = [names, f = std::decay_t<F>(std::forward<F>(f))](A... a) -> R {
      const Devices found = (Devices{0} | ... | devices_of(a));
      if constexpr (kAnyDevice) {
        const DeviceScope scope(common_device(*names, found, a...));
        return f(static_cast<A&&>(a)...);
      } else {
        if (__builtin_expect(found > only(Device::cpu), 0)) throw_no_device_kernel(names->op.c_str());
        return f(static_cast<A&&>(a)...);
      }
    };
    pybind11::module_::def(name, checked, extra...);
    return *this;
  }
};

}  // namespace dl
