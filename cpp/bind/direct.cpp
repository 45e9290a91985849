#include "bind/direct.h"

#include <sstream>
#include <string>

#include "bind/family.h"
#include "bind/guard.h"
#include "core/check.h"

namespace py = pybind11;

namespace dl {
namespace {

constexpr Py_ssize_t kMaxArity = 4;

struct Direct {
  DirectFn fn;
  const void* state;
  Py_ssize_t arity;
  OpNames names;
  std::string doc;
  PyMethodDef method;
};

Device device_of(const Direct& self, PyObject* const* arguments) {
  Devices of[kMaxArity], found = 0;
  for (Py_ssize_t i = 0; i < self.arity; ++i) found |= of[i] = devices_of(py::handle(arguments[i]));
  if (__builtin_expect(found <= only(Device::cpu), 1)) return Device::cpu;
  if (found != only(Device::cuda)) refuse_mixed_devices(self.names, of);
  return Device::cuda;
}

PyObject* call(PyObject* capsule, PyObject* const* arguments, Py_ssize_t count) {
  const auto* self = static_cast<const Direct*>(PyCapsule_GetPointer(capsule, nullptr));
  return guarded([&] {
    DL_CHECK_TYPE(count == self->arity, "[", self->method.ml_name, "] expected ", self->arity, " arguments, got ",
                  count);
    const DeviceScope scope(device_of(*self, arguments));
    return self->fn(self->state, arguments);
  });
}

}  // namespace

void def_direct(py::module_& m, const char* name, const char* parameters, DirectFn fn, const void* state,
                const char* doc) {
  auto* direct =
      new Direct{fn, state, 0, {name, {}}, cat(name, "(", parameters, ", /) -> dlcore._C.Tensor\n\n", doc), {}};
  std::istringstream listed(parameters);  // "a: object, b: object"
  for (std::string item; std::getline(listed >> std::ws, item, ',');)
    direct->names.arguments.push_back(item.substr(0, item.find(':')));
  direct->arity = static_cast<Py_ssize_t>(direct->names.arguments.size());
  if (direct->arity > kMaxArity) throw std::logic_error(cat("[", name, "] has more arguments than direct calls take"));
  const auto function = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call));
  direct->method = {name, function, METH_FASTCALL, direct->doc.c_str()};
  const py::capsule self(direct);
  PyObject* made = PyCFunction_NewEx(&direct->method, self.ptr(), m.attr("__name__").ptr());
  if (!made) throw py::error_already_set();
  m.add_object(name, py::reinterpret_steal<py::object>(made));
}

}  // namespace dl
