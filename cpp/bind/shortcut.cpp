#include "bind/shortcut.h"

#include <structmember.h>

#include <vector>

#include "bind/guard.h"
#include "bind/node.h"
#include "bind/py_tensor.h"

namespace py = pybind11;

namespace dl {
namespace {

struct Shortcut {
  PyObject_HEAD
  vectorcallfunc call;
  PyObject* native;
  PyObject* node;      // the Function class that records what native does, or nullptr
  PyObject* function;  // in Python; its names, docstring and signature are the shortcut's
  Py_ssize_t arity;    // of native
  bool gathers;        // the last argument may be given as several numbers
  bool casts;          // under autocast the Python function is asked
};

Shortcut* self_of(PyObject* o) { return reinterpret_cast<Shortcut*>(o); }

bool is_plain(PyObject* o) {
  return PyFloat_CheckExact(o) || PyLong_CheckExact(o) || PyBool_Check(o) || PyTuple_CheckExact(o);
}

// The result, or nullptr where the Python function has to be asked. Throws what Python raised.
PyObject* straight_call(const Shortcut* self, PyObject* const* arguments) {
  if (self->casts && autocast_enabled()) return nullptr;
  bool records = false;
  for (Py_ssize_t i = 0; i < self->arity; ++i) {
    if (!is_tensor(arguments[i])) {
      if (!is_plain(arguments[i])) return nullptr;
    } else if (!records) {
      records = grad_enabled() && requires_grad(arguments[i]);
    }
  }
  if (records && !self->node) return nullptr;
  PyObject* result = records ? record(self->node, arguments, self->arity)
                             : PyObject_Vectorcall(self->native, arguments, static_cast<size_t>(self->arity), nullptr);
  if (!result) throw py::error_already_set();
  if (!records && self->node && grad_enabled()) mark_views(self->node, arguments[0], result);
  return result;
}

// f(x, 2, 3) as f(x, (2, 3))
PyObject* gathered_call(const Shortcut* self, PyObject* const* arguments, Py_ssize_t count) {
  const Py_ssize_t first = self->arity - 1;
  py::tuple numbers(count - first);
  for (Py_ssize_t i = first; i < count; ++i) {
    if (!PyLong_CheckExact(arguments[i])) return nullptr;
    PyTuple_SET_ITEM(numbers.ptr(), i - first, Py_NewRef(arguments[i]));
  }
  std::vector<PyObject*> gathered(arguments, arguments + first);
  gathered.push_back(numbers.ptr());
  return straight_call(self, gathered.data());
}

PyObject* shortcut_call(PyObject* o, PyObject* const* arguments, size_t flags, PyObject* names) {
  const Shortcut* self = self_of(o);
  const Py_ssize_t count = PyVectorcall_NARGS(flags);
  if (!names && (count == self->arity || (self->gathers && count > self->arity))) {
    PyObject* result = guarded(
        [&] { return count == self->arity ? straight_call(self, arguments) : gathered_call(self, arguments, count); });
    if (result) return result;
    // What the native body refuses the function may know how to handle; otherwise it raises the same.
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) return nullptr;
    PyErr_Clear();
  }
  return PyObject_Vectorcall(self->function, arguments, flags, names);
}

PyObject* shortcut_bind(PyObject* o, PyObject* instance, PyObject*) {
  return instance && instance != Py_None ? PyMethod_New(o, instance) : Py_NewRef(o);
}

PyObject* shortcut_getattr(PyObject* o, PyObject* name) {
  PyObject* found = PyObject_GenericGetAttr(o, name);
  if (found || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
  PyErr_Clear();
  return PyObject_GetAttr(self_of(o)->function, name);
}

PyObject* get_doc(PyObject* o, void*) { return PyObject_GetAttrString(self_of(o)->function, "__doc__"); }
PyObject* shortcut_repr(PyObject* o) { return PyObject_Repr(self_of(o)->function); }
PyObject* shortcut_reduce(PyObject* o, PyObject*) {
  return PyObject_GetAttrString(self_of(o)->function, "__qualname__");
}

int shortcut_traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(self_of(o)->native);
  Py_VISIT(self_of(o)->node);
  Py_VISIT(self_of(o)->function);
  return 0;
}

int shortcut_clear(PyObject* o) {
  Py_CLEAR(self_of(o)->native);
  Py_CLEAR(self_of(o)->node);
  Py_CLEAR(self_of(o)->function);
  return 0;
}

void shortcut_dealloc(PyObject* o) {
  PyObject_GC_UnTrack(o);
  shortcut_clear(o);
  Py_TYPE(o)->tp_free(o);
}

PyGetSetDef shortcut_getset[] = {{"__doc__", get_doc, nullptr, nullptr, nullptr},
                                 {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMemberDef shortcut_members[] = {{"__wrapped__", T_OBJECT, offsetof(Shortcut, function), READONLY, nullptr},
                                  {nullptr, 0, 0, 0, nullptr}};
PyMethodDef shortcut_methods[] = {{"__reduce__", shortcut_reduce, METH_NOARGS, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};

PyTypeObject ShortcutType = [] {
  PyTypeObject type{};
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&type), 1);
  type.tp_name = "dlcore._C.Shortcut";
  type.tp_basicsize = sizeof(Shortcut);
  // A method descriptor: `a + b` calls it with both operands, without a bound method in between.
  type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
  type.tp_vectorcall_offset = offsetof(Shortcut, call);
  type.tp_call = PyVectorcall_Call;
  type.tp_descr_get = shortcut_bind;
  type.tp_getattro = shortcut_getattr;
  type.tp_repr = shortcut_repr;
  type.tp_dealloc = shortcut_dealloc;
  type.tp_traverse = shortcut_traverse;
  type.tp_clear = shortcut_clear;
  type.tp_free = PyObject_GC_Del;
  type.tp_getset = shortcut_getset;
  type.tp_members = shortcut_members;
  type.tp_methods = shortcut_methods;
  return type;
}();

py::object shortcut(py::function native, py::object node, py::function function, Py_ssize_t arity, bool gathers,
                    bool casts) {
  Shortcut* self = PyObject_GC_New(Shortcut, &ShortcutType);
  if (!self) throw py::error_already_set();
  self->call = shortcut_call;
  self->native = native.release().ptr();
  self->node = node.is_none() ? nullptr : node.release().ptr();
  self->function = function.release().ptr();
  self->arity = arity;
  self->gathers = gathers;
  self->casts = casts;
  PyObject_GC_Track(self);
  return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(self));
}

}  // namespace

void bind_shortcut(py::module_& m) {
  if (PyType_Ready(&ShortcutType) < 0) throw py::error_already_set();
  m.def(
      "any_may_record",
      [](const py::list& items) {
        for (const py::handle item : items)
          if (is_tensor(item.ptr()) && may_record(item.ptr())) return true;
        return false;
      },
      py::arg("items"), "False if certainly no tensor of a list requires a gradient.");
  m.def("shortcut", &shortcut, py::arg("native"), py::arg("node"), py::arg("function"), py::arg("arity"),
        py::arg("gathers"), py::arg("casts"),
        "`function`, but for calls with `arity` positional arguments that are tensors, numbers and tuples: those go to "
        "`native` or, with a gradient to record, to `node.apply`, and to `function` only if that raises TypeError. "
        "Where it `gathers`, the last may be given as several numbers. One that `casts` stays in Python under "
        "autocast.");
}

}  // namespace dl
