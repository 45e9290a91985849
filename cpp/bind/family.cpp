#include "bind/family.h"

namespace dl {

Devices devices_in(pybind11::handle sequence) {
  PyObject* s = sequence.ptr();
  Devices found = 0;
  if (!PyList_Check(s) && !PyTuple_Check(s)) return found;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(s); ++i)
    if (PyObject* item = PySequence_Fast_GET_ITEM(s, i); is_tensor(item)) found |= devices_of(unwrap(item));
  return found;
}

void refuse_mixed_devices(const OpNames& names, const Devices* of) {
  const auto named = [&](Device d) -> std::string {
    for (size_t i = 0; i < names.arguments.size(); ++i)
      if (of[i] & only(d)) return names.arguments[i];
    return "one";
  };
  const std::string on_cpu = named(Device::cpu), on_cuda = named(Device::cuda);
  const std::string op = "[" + names.op + "] expected tensors on one device, got ";
  if (on_cpu == on_cuda) throw ValueError(op + on_cpu + " on cpu and on cuda; move them with .to(device)");
  throw ValueError(op + on_cpu + " on cpu and " + on_cuda + " on cuda; move one of them with .to(device)");
}

}  // namespace dl
