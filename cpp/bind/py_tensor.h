// The Python type dlcore._C.Tensor and its pybind11 casters. Written against the C API because every op returns one:
// the object made is an instance of the class that Python registers (dlcore.Tensor), in one allocation.
#pragma once
#include <pybind11/pybind11.h>

#include "core/tensor.h"

namespace dl {

struct PyTensor {
  PyObject_HEAD
  Tensor tensor;
  PyObject* grad;   // the accumulated gradient or nullptr
  PyObject* node;   // the Function that made this tensor or nullptr
  PyObject* hooks;  // gradient hooks of a leaf or nullptr
  PyObject* base;   // the tensor this one is a view of, itself not a view; or nullptr
  PyObject* weakrefs;
  int index;  // which output of `node` this is
  // How often autograd recorded an in-place change of this tensor; of a view: the base's count when the view's own
  // node was made. Where the two differ the node is out of date and is made anew when it is next asked for.
  unsigned history;
  char requires_grad;
};

extern PyTypeObject PyTensorType;

bool is_tensor(PyObject* object);
PyObject* wrap(Tensor tensor);                                  // new reference to an instance of the registered class
const Tensor& unwrap(PyObject* object);                         // TypeError unless it is a tensor
bool may_record(PyObject* tensor);                              // false: certainly requires no gradient
bool requires_grad(PyObject* tensor);                           // gives a view of a changed base its new history first
void set_history(PyObject* tensor, PyObject* node, int index);  // the tensor is output `index` of a node
void set_base(PyObject* tensor, PyObject* x);                   // which shows the same storage
void bind_tensor_type(pybind11::module_& m);

PyObject* dtype_object(DType t);  // borrowed: the one object that stands for this dtype
DType dtype_from_object(pybind11::handle object);
Device device_from_object(pybind11::handle object);  // ValueError unless it is "cpu" or "cuda"
void bind_dtypes(pybind11::module_& m);

int tensor_get_buffer(PyObject* self, Py_buffer* view, int flags);
void tensor_release_buffer(PyObject* self, Py_buffer* view);
void bind_interchange(pybind11::module_& m);  // from_buffer, to_dlpack, from_dlpack

// Sizes or axes from an int or a sequence of ints; `what` names the argument in the error.
Dims dims_from_object(pybind11::handle object, const char* what);
pybind11::tuple dims_to_tuple(const Dims& dims);

}  // namespace dl

namespace pybind11::detail {

// Casters raise by themselves: bindings have no overloads, and a TypeError that lists C++ signatures helps nobody.
template <> struct type_caster<dl::Tensor> {
  PYBIND11_TYPE_CASTER(dl::Tensor, const_name("Tensor"));
  bool load(handle source, bool) {
    value = dl::unwrap(source.ptr());
    return true;
  }
  static handle cast(dl::Tensor tensor, return_value_policy, handle) {
    if (!tensor) return none().release();
    return dl::wrap(std::move(tensor));
  }
};

template <> struct type_caster<dl::DType> {
  PYBIND11_TYPE_CASTER(dl::DType, const_name("dtype"));
  bool load(handle source, bool) {
    value = dl::dtype_from_object(source);
    return true;
  }
  static handle cast(dl::DType t, return_value_policy, handle) { return handle(dl::dtype_object(t)).inc_ref(); }
};

template <> struct type_caster<dl::Device> {
  PYBIND11_TYPE_CASTER(dl::Device, const_name("str"));
  bool load(handle source, bool) {
    value = dl::device_from_object(source);
    return true;
  }
  static handle cast(dl::Device d, return_value_policy, handle) { return PyUnicode_FromString(dl::name(d)); }
};

template <> struct type_caster<dl::Dims> {
  PYBIND11_TYPE_CASTER(dl::Dims, const_name("tuple[int, ...]"));
  bool load(handle source, bool) {
    value = dl::dims_from_object(source, "shape");
    return true;
  }
  static handle cast(const dl::Dims& dims, return_value_policy, handle) { return dl::dims_to_tuple(dims).release(); }
};

}  // namespace pybind11::detail
