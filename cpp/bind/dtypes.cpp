// One Python object per dtype, compared by identity: dlcore.float32 and its kin.
#include "bind/py_tensor.h"

namespace py = pybind11;

namespace dl {
namespace {

struct DTypeObject { DType dtype; };
PyObject* dtype_objects[kNumDTypes];

}  // namespace

PyObject* dtype_object(DType t) { return dtype_objects[static_cast<int>(t)]; }

DType dtype_from_object(py::handle object) {
  for (int i = 0; i < kNumDTypes; ++i)
    if (object.ptr() == dtype_objects[i]) return static_cast<DType>(i);
  std::string wanted;
  if (PyUnicode_Check(object.ptr())) {
    wanted = py::cast<std::string>(object);
  } else if (PyType_Check(object.ptr())) {
    wanted = reinterpret_cast<PyTypeObject*>(object.ptr())->tp_name;  // np.float32, float, int, bool
    if (const size_t dot = wanted.rfind('.'); dot != std::string::npos) wanted = wanted.substr(dot + 1);
    if (wanted == "float") wanted = "float32";
    if (wanted == "int") wanted = "int64";
    if (wanted == "bool_") wanted = "bool";
  } else if (py::hasattr(object, "name")) {
    wanted = py::cast<std::string>(py::str(object.attr("name")));  // np.dtype
  }
  for (int i = 0; i < kNumDTypes; ++i)
    if (wanted == name(static_cast<DType>(i))) return static_cast<DType>(i);
  throw TypeError(cat("expected a dtype (float32, bfloat16, float64, int64, int32, uint8 or bool), got ",
                      py::cast<std::string>(py::repr(object))));
}

Device device_from_object(py::handle object) {
  const std::string wanted = py::cast<std::string>(py::str(object));
  for (const Device d : {Device::cpu, Device::cuda})
    if (wanted == name(d)) return d;
  throw ValueError(cat("expected a device ('cpu' or 'cuda'), got '", wanted, "'"));
}

void bind_dtypes(py::module_& m) {
  py::class_<DTypeObject>(m, "dtype", "The type of a tensor's elements.")
      .def_property_readonly(
          "name", [](const DTypeObject& d) { return name(d.dtype); }, "Such as 'float32'.")
      .def_property_readonly(
          "itemsize", [](const DTypeObject& d) { return itemsize(d.dtype); }, "Bytes of one element.")
      .def_property_readonly(
          "is_floating_point", [](const DTypeObject& d) { return is_floating(d.dtype); },
          "True for float32, bfloat16 and float64.")
      .def("__reduce__", [](const DTypeObject& d) { return std::string(name(d.dtype)); })
      .def("__repr__", [](const DTypeObject& d) { return cat("dlcore.", name(d.dtype)); });
  for (int i = 0; i < kNumDTypes; ++i) {
    const DType t = static_cast<DType>(i);
    py::object made = py::cast(DTypeObject{t});
    dtype_objects[i] = made.inc_ref().ptr();
    m.add_object(t == DType::boolean ? "bool_" : name(t), made);
  }
  m.def(
      "promote_types", [](DType a, DType b) { return promote(a, b); }, py::arg("a"), py::arg("b"),
      "The dtype of an operation on two tensors.");
}

}  // namespace dl
