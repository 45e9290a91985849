#include "bind/direct.h"

#include <algorithm>
#include <string>

#include "bind/guard.h"
#include "core/check.h"

namespace py = pybind11;

namespace dl {
namespace {

struct Direct {
  DirectFn fn;
  const void* state;
  Py_ssize_t arity;
  std::string doc;
  PyMethodDef method;
};

PyObject* call(PyObject* capsule, PyObject* const* arguments, Py_ssize_t count) {
  const auto* self = static_cast<const Direct*>(PyCapsule_GetPointer(capsule, nullptr));
  return guarded([&] {
    DL_CHECK_TYPE(count == self->arity, "[", self->method.ml_name, "] expected ", self->arity, " arguments, got ",
                  count);
    return self->fn(self->state, arguments);
  });
}

}  // namespace

void def_direct(py::module_& m, const char* name, const char* parameters, DirectFn fn, const void* state,
                const char* doc) {
  auto* direct = new Direct{fn, state, 0, cat(name, "(", parameters, ", /) -> dlcore._C.Tensor\n\n", doc), {}};
  const std::string listed = parameters;
  direct->arity = 1 + std::count(listed.begin(), listed.end(), ',');
  const auto function = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call));
  direct->method = {name, function, METH_FASTCALL, direct->doc.c_str()};
  const py::capsule self(direct);
  PyObject* made = PyCFunction_NewEx(&direct->method, self.ptr(), m.attr("__name__").ptr());
  if (!made) throw py::error_already_set();
  m.add_object(name, py::reinterpret_steal<py::object>(made));
}

}  // namespace dl
