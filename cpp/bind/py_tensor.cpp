#include "bind/py_tensor.h"

#include <structmember.h>

#include <new>

namespace py = pybind11;

namespace dl {
namespace {

PyTypeObject* tensor_class = &PyTensorType;  // what wrap() makes; Python registers its subclass

PyTensor* self_of(PyObject* o) { return reinterpret_cast<PyTensor*>(o); }

PyObject* tensor_new(PyTypeObject* type, PyObject*, PyObject*) {
  PyErr_Format(PyExc_TypeError, "%s objects are made by dlcore.tensor(data), zeros, from_numpy …, not by calling the class", type->tp_name);
  return nullptr;
}

int tensor_traverse(PyObject* o, visitproc visit, void* arg) {
  PyTensor* self = self_of(o);
  Py_VISIT(self->grad);
  Py_VISIT(self->node);
  Py_VISIT(self->hooks);
#if PY_VERSION_HEX >= 0x03090000
  if (PyType_HasFeature(Py_TYPE(o), Py_TPFLAGS_HEAPTYPE)) Py_VISIT(Py_TYPE(o));
#endif
  return 0;
}

int tensor_clear(PyObject* o) {
  PyTensor* self = self_of(o);
  Py_CLEAR(self->grad);
  Py_CLEAR(self->node);
  Py_CLEAR(self->hooks);
  return 0;
}

void tensor_dealloc(PyObject* o) {
  PyTensor* self = self_of(o);
  PyObject_GC_UnTrack(o);
  if (self->weakrefs) PyObject_ClearWeakRefs(o);
  tensor_clear(o);
  self->tensor.~Tensor();
  Py_TYPE(o)->tp_free(o);
}

// A getter or method body that may throw: turns our errors into Python's.
template <class F> PyObject* guarded(F&& body) {
  try {
    return body();
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const MemoryError& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  }
  return nullptr;
}

PyObject* get_shape(PyObject* o, void*) { return guarded([&] { return dims_to_tuple(self_of(o)->tensor.shape()).release().ptr(); }); }
PyObject* get_strides(PyObject* o, void*) { return guarded([&] { return dims_to_tuple(self_of(o)->tensor.strides()).release().ptr(); }); }
PyObject* get_dtype(PyObject* o, void*) { return py::handle(dtype_object(self_of(o)->tensor.dtype())).inc_ref().ptr(); }
PyObject* get_ndim(PyObject* o, void*) { return PyLong_FromLong(self_of(o)->tensor.ndim()); }
PyObject* get_device(PyObject* o, void*) { return PyUnicode_FromString(name(self_of(o)->tensor.device())); }
PyObject* get_itemsize(PyObject* o, void*) { return PyLong_FromSize_t(itemsize(self_of(o)->tensor.dtype())); }
PyObject* get_nbytes(PyObject* o, void*) { return PyLong_FromSize_t(self_of(o)->tensor.nbytes()); }
PyObject* get_version(PyObject* o, void*) { return PyLong_FromUnsignedLong(self_of(o)->tensor.storage()->version); }
PyObject* get_writable(PyObject* o, void*) { return PyBool_FromLong(self_of(o)->tensor.storage()->writable); }

PyObject* method_numel(PyObject* o, PyObject*) { return PyLong_FromLongLong(self_of(o)->tensor.numel()); }
PyObject* method_is_contiguous(PyObject* o, PyObject*) { return PyBool_FromLong(self_of(o)->tensor.is_contiguous()); }
PyObject* method_data_ptr(PyObject* o, PyObject*) { return PyLong_FromVoidPtr(self_of(o)->tensor.raw()); }
PyObject* method_storage_ptr(PyObject* o, PyObject*) { return PyLong_FromVoidPtr(self_of(o)->tensor.storage().get()); }
PyObject* method_storage_users(PyObject* o, PyObject*) { return PyLong_FromLong(self_of(o)->tensor.storage().use_count()); }

PyGetSetDef tensor_getset[] = {
    {"shape", get_shape, nullptr, "Sizes of the dimensions, as a tuple.", nullptr},
    {"strides", get_strides, nullptr, "Steps between neighbours along each dimension, in elements.", nullptr},
    {"dtype", get_dtype, nullptr, "The element type, such as dlcore.float32.", nullptr},
    {"ndim", get_ndim, nullptr, "The number of dimensions.", nullptr},
    {"device", get_device, nullptr, "Where the data lies: 'cpu'.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes of one element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"_version", get_version, nullptr, "How often the storage was written in place.", nullptr},
    {"_writable", get_writable, nullptr, "False for a view of read-only foreign memory.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef tensor_members[] = {
    {"grad", T_OBJECT, offsetof(PyTensor, grad), 0, "The gradient that backward() accumulated, or None."},
    {"_node", T_OBJECT, offsetof(PyTensor, node), 0, "The Function that made this tensor, or None for a leaf."},
    {"_hooks", T_OBJECT, offsetof(PyTensor, hooks), 0, "Gradient hooks of a leaf."},
    {"_index", T_INT, offsetof(PyTensor, index), 0, "Which output of its node this is."},
    {"requires_grad", T_BOOL, offsetof(PyTensor, requires_grad), 0, "Whether gradients flow to this tensor."},
    {nullptr, 0, 0, 0, nullptr}};

PyMethodDef tensor_methods[] = {
    {"numel", method_numel, METH_NOARGS, "The number of elements."},
    {"is_contiguous", method_is_contiguous, METH_NOARGS, "Whether the elements lie in row-major order without gaps."},
    {"data_ptr", method_data_ptr, METH_NOARGS, "The address of the first element."},
    {"_storage_ptr", method_storage_ptr, METH_NOARGS, "Identity of the storage: equal for views of the same memory."},
    {"_storage_users", method_storage_users, METH_NOARGS, "How many tensors share the storage."},
    {nullptr, nullptr, 0, nullptr}};

PyBufferProcs tensor_buffer = {tensor_get_buffer, tensor_release_buffer};

}  // namespace

PyTypeObject PyTensorType = [] {
  PyTypeObject type{};
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&type), 1);
  type.tp_name = "dlcore._C.Tensor";
  type.tp_doc = "A strided, typed array in memory: the base of dlcore.Tensor.";
  type.tp_basicsize = sizeof(PyTensor);
  type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
  type.tp_new = tensor_new;
  type.tp_dealloc = tensor_dealloc;
  type.tp_traverse = tensor_traverse;
  type.tp_clear = tensor_clear;
  type.tp_free = PyObject_GC_Del;
  type.tp_weaklistoffset = offsetof(PyTensor, weakrefs);
  type.tp_getset = tensor_getset;
  type.tp_members = tensor_members;
  type.tp_methods = tensor_methods;
  type.tp_as_buffer = &tensor_buffer;
  return type;
}();

bool is_tensor(PyObject* object) { return PyObject_TypeCheck(object, &PyTensorType); }

PyObject* wrap(Tensor tensor) {
  PyObject* o = tensor_class->tp_alloc(tensor_class, 0);
  if (!o) throw py::error_already_set();
  new (&self_of(o)->tensor) Tensor(std::move(tensor));
  return o;
}

const Tensor& unwrap(PyObject* object) {
  if (!is_tensor(object)) throw TypeError(cat("expected a dlcore Tensor, got ", Py_TYPE(object)->tp_name));
  return self_of(object)->tensor;
}

Dims dims_from_object(py::handle object, const char* what) {
  Dims dims;
  auto append = [&](PyObject* item) {
    PyObject* index = PyNumber_Index(item);
    if (!index) {
      PyErr_Clear();
      throw TypeError(cat("expected ", what, " made of integers, got ", Py_TYPE(item)->tp_name));
    }
    const long long v = PyLong_AsLongLong(index);
    Py_DECREF(index);
    if (v == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      throw ValueError(cat("a number in ", what, " does not fit into 64 bits"));
    }
    dims.push_back(v);
  };
  if (PyIndex_Check(object.ptr())) {
    append(object.ptr());
    return dims;
  }
  PyObject* fast = PySequence_Fast(object.ptr(), "");
  if (!fast) {
    PyErr_Clear();
    throw TypeError(cat("expected ", what, " as an int or a sequence of ints, got ", Py_TYPE(object.ptr())->tp_name));
  }
  const py::object keep = py::reinterpret_steal<py::object>(fast);
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast); ++i) append(PySequence_Fast_GET_ITEM(fast, i));
  return dims;
}

py::tuple dims_to_tuple(const Dims& dims) {
  py::tuple out(dims.size());
  for (int i = 0; i < dims.size(); ++i) PyTuple_SET_ITEM(out.ptr(), i, PyLong_FromLongLong(dims[i]));
  return out;
}

void bind_tensor_type(py::module_& m) {
  if (PyType_Ready(&PyTensorType) < 0) throw py::error_already_set();
  m.add_object("Tensor", py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(&PyTensorType)));
  m.def(
      "set_tensor_class",
      [](py::type cls) {
        auto* type = reinterpret_cast<PyTypeObject*>(cls.ptr());
        if (!PyType_IsSubtype(type, &PyTensorType)) throw TypeError("[set_tensor_class] expected a subclass of _C.Tensor");
        cls.inc_ref();  // the class outlives every tensor
        tensor_class = type;
      },
      py::arg("cls"), "Sets the class that every native function returns.");
}

}  // namespace dl
