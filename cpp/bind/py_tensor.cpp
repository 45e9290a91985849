#include "bind/py_tensor.h"

#include <structmember.h>

#include <new>

#include "bind/guard.h"

namespace py = pybind11;

namespace dl {
namespace {

PyTypeObject* tensor_class = &PyTensorType;  // what wrap() makes; Python registers its subclass
PyObject* view_refresher = nullptr;          // gives a view the node that follows from its base's present one

PyTensor* self_of(PyObject* o) { return reinterpret_cast<PyTensor*>(o); }

PyObject* tensor_new(PyTypeObject* type, PyObject*, PyObject*) {
  PyErr_Format(PyExc_TypeError,
               "%s objects are made by dlcore.tensor(data), zeros, from_numpy …, not by calling the class",
               type->tp_name);
  return nullptr;
}

int tensor_traverse(PyObject* o, visitproc visit, void* arg) {
  PyTensor* self = self_of(o);
  Py_VISIT(self->grad);
  Py_VISIT(self->node);
  Py_VISIT(self->hooks);
  Py_VISIT(self->base);
  return 0;
}

int tensor_clear(PyObject* o) {
  PyTensor* self = self_of(o);
  Py_CLEAR(self->grad);
  Py_CLEAR(self->node);
  Py_CLEAR(self->hooks);
  Py_CLEAR(self->base);
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

PyObject* get_shape(PyObject* o, void*) {
  return guarded([&] { return dims_to_tuple(self_of(o)->tensor.shape()).release().ptr(); });
}
PyObject* get_strides(PyObject* o, void*) {
  return guarded([&] { return dims_to_tuple(self_of(o)->tensor.strides()).release().ptr(); });
}
PyObject* get_dtype(PyObject* o, void*) { return py::handle(dtype_object(self_of(o)->tensor.dtype())).inc_ref().ptr(); }
PyObject* get_ndim(PyObject* o, void*) { return PyLong_FromLong(self_of(o)->tensor.ndim()); }
PyObject* get_device(PyObject* o, void*) { return PyUnicode_FromString(name(self_of(o)->tensor.device())); }
PyObject* get_itemsize(PyObject* o, void*) { return PyLong_FromSize_t(itemsize(self_of(o)->tensor.dtype())); }
PyObject* get_nbytes(PyObject* o, void*) { return PyLong_FromSize_t(self_of(o)->tensor.nbytes()); }
PyObject* get_version(PyObject* o, void*) { return PyLong_FromUnsignedLong(self_of(o)->tensor.storage()->version); }
PyObject* get_writable(PyObject* o, void*) { return PyBool_FromLong(self_of(o)->tensor.storage()->writable); }

// False with an exception set when the refresher raised.
bool bring_up_to_date(PyObject* o) {
  PyTensor* self = self_of(o);
  if (!self->base || self_of(self->base)->history == self->history) return true;
  self->history = self_of(self->base)->history;
  PyObject* done = view_refresher ? PyObject_CallOneArg(view_refresher, o) : Py_NewRef(Py_None);
  Py_XDECREF(done);
  return done != nullptr;
}

PyObject* get_node(PyObject* o, void*) {
  if (!bring_up_to_date(o)) return nullptr;
  PyObject* node = self_of(o)->node;
  return Py_NewRef(node ? node : Py_None);
}
int set_node(PyObject* o, PyObject* value, void*) {
  PyObject* before = self_of(o)->node;
  self_of(o)->node = value == Py_None ? nullptr : value;
  Py_XINCREF(self_of(o)->node);
  Py_XDECREF(before);
  return 0;
}
PyObject* get_requires_grad(PyObject* o, void*) {
  return bring_up_to_date(o) ? PyBool_FromLong(self_of(o)->requires_grad) : nullptr;
}
int set_requires_grad(PyObject* o, PyObject* value, void*) {
  const int truth = value ? PyObject_IsTrue(value) : 0;
  if (truth < 0) return -1;
  const DType dtype = self_of(o)->tensor.dtype();
  if (truth && !is_floating(dtype)) {
    PyErr_Format(PyExc_TypeError, "[requires_grad] only floating dtypes can require a gradient, got %s", name(dtype));
    return -1;
  }
  self_of(o)->requires_grad = static_cast<char>(truth);
  return 0;
}

// self is a view of x if it shows the same storage, and then of what x is a view of.
PyObject* method_set_base(PyObject* o, PyObject* x) {
  if (is_tensor(x) && x != o && self_of(o)->tensor.shares_storage(self_of(x)->tensor)) set_base(o, x);
  Py_RETURN_NONE;
}

PyObject* method_numel(PyObject* o, PyObject*) { return PyLong_FromLongLong(self_of(o)->tensor.numel()); }
PyObject* method_is_contiguous(PyObject* o, PyObject*) { return PyBool_FromLong(self_of(o)->tensor.is_contiguous()); }
PyObject* method_data_ptr(PyObject* o, PyObject*) { return PyLong_FromVoidPtr(self_of(o)->tensor.address()); }
PyObject* method_storage_ptr(PyObject* o, PyObject*) { return PyLong_FromVoidPtr(self_of(o)->tensor.storage().get()); }

PyGetSetDef tensor_getset[] = {
    {"shape", get_shape, nullptr, "Sizes of the dimensions, as a tuple.", nullptr},
    {"strides", get_strides, nullptr, "Steps between neighbours along each dimension, in elements.", nullptr},
    {"dtype", get_dtype, nullptr, "The element type, such as dlcore.float32.", nullptr},
    {"ndim", get_ndim, nullptr, "The number of dimensions.", nullptr},
    {"device", get_device, nullptr, "Where the data lies: 'cpu' or 'cuda'.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes of one element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"_version", get_version, nullptr, "How often the storage was written in place.", nullptr},
    {"_node", get_node, set_node, "The Function that made this tensor, or None for a leaf.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad, "Whether gradients flow to this tensor.", nullptr},
    {"_writable", get_writable, nullptr, "False for a view of read-only foreign memory.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef tensor_members[] = {
    {"grad", T_OBJECT, offsetof(PyTensor, grad), 0, "The gradient that backward() accumulated, or None."},
    {"_hooks", T_OBJECT, offsetof(PyTensor, hooks), 0, "Gradient hooks of a leaf."},
    {"_index", T_INT, offsetof(PyTensor, index), 0, "Which output of its node this is."},
    {"_base", T_OBJECT, offsetof(PyTensor, base), READONLY, "The tensor that this one is a view of, or None."},
    {"_history", T_UINT, offsetof(PyTensor, history), 0,
     "How often autograd recorded an in-place change of this tensor."},
    {nullptr, 0, 0, 0, nullptr}};

PyMethodDef tensor_methods[] = {
    {"numel", method_numel, METH_NOARGS, "The number of elements."},
    {"is_contiguous", method_is_contiguous, METH_NOARGS, "Whether the elements lie in row-major order without gaps."},
    {"data_ptr", method_data_ptr, METH_NOARGS, "The address of the first element."},
    {"_storage_ptr", method_storage_ptr, METH_NOARGS, "Identity of the storage: equal for views of the same memory."},
    {"_set_base", method_set_base, METH_O,
     "Makes this tensor a view of another in autograd's eyes, if it shows the same memory."},
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

bool is_tensor(PyObject* object) {
  return Py_IS_TYPE(object, tensor_class) || PyObject_TypeCheck(object, &PyTensorType);
}

bool may_record(PyObject* tensor) {
  const PyTensor* self = self_of(tensor);
  return self->requires_grad || (self->base && self_of(self->base)->history != self->history);
}

bool requires_grad(PyObject* tensor) {
  if (!bring_up_to_date(tensor)) throw py::error_already_set();
  return self_of(tensor)->requires_grad;
}

void set_history(PyObject* tensor, PyObject* node, int index) {
  PyTensor* self = self_of(tensor);
  Py_XSETREF(self->node, Py_NewRef(node));
  self->index = index;
  self->requires_grad = 1;
}

// A view of a view is one of the first tensor.
void set_base(PyObject* tensor, PyObject* x) {
  PyObject* base = self_of(x)->base ? self_of(x)->base : x;
  self_of(tensor)->history = self_of(base)->history;
  Py_XSETREF(self_of(tensor)->base, Py_NewRef(base));
}

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
        if (!PyType_IsSubtype(type, &PyTensorType))
          throw TypeError("[set_tensor_class] expected a subclass of _C.Tensor");
        cls.inc_ref();  // the class outlives every tensor
        tensor_class = type;
      },
      py::arg("cls"), "Sets the class that every native function returns.");
  m.def(
      "set_view_refresher", [](py::object refresher) { view_refresher = refresher.inc_ref().ptr(); },
      py::arg("refresher"), "Sets what is called with a view whose base has got a new history.");
}

}  // namespace dl
