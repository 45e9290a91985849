#include "bind/node.h"

#include <unordered_set>
#include <utility>

#include "bind/guard.h"
#include "bind/py_tensor.h"
#include "ops/common.h"

namespace dl {
namespace {

thread_local bool enabled = true;
thread_local std::optional<DType> autocast;
int64_t last_sequence = 0;  // guarded by the GIL

Node* node_of(PyObject* o) { return reinterpret_cast<Node*>(o); }
py::object borrow(PyObject* o) { return py::reinterpret_borrow<py::object>(o); }

// Of a tensor's storage; other values do not change.
uint32_t version_of(PyObject* value) {
  return is_tensor(value) ? unwrap(value).storage()->version.load(std::memory_order_relaxed) : 0;
}

PyObject* node_new(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* o = type->tp_alloc(type, 0);
  if (!o) return nullptr;
  Node* node = node_of(o);
  new (&node->edges) std::vector<Edge>;
  new (&node->saved) std::vector<Saved>;
  new (&node->outputs) std::vector<Output>;
  new (&node->hooks) py::object;
  node->records = true;
  return o;
}

int node_traverse(PyObject* o, visitproc visit, void* arg) {
  for (const Edge& edge : node_of(o)->edges) Py_VISIT(edge.target.ptr());
  for (const Saved& saved : node_of(o)->saved) Py_VISIT(saved.value.ptr());
  Py_VISIT(node_of(o)->hooks.ptr());
  return 0;
}

// What is dropped may run any code on its way out, so it is taken out of the node first.
int node_clear(PyObject* o) {
  const std::vector<Edge> edges = std::move(node_of(o)->edges);
  const std::vector<Saved> saved = std::move(node_of(o)->saved);
  const py::object hooks = std::move(node_of(o)->hooks);
  node_of(o)->edges.clear();
  node_of(o)->saved.clear();
  return 0;
}

void node_dealloc(PyObject* o) {
  PyObject_GC_UnTrack(o);
  Node* node = node_of(o);
  node->edges.~vector();
  node->saved.~vector();
  node->outputs.~vector();
  node->hooks.~object();
  Py_TYPE(o)->tp_free(o);
}

// cls.forward(node, *args)
py::object called_forward(PyObject* cls, Node* node, PyObject* const* args, Py_ssize_t count) {
  static PyObject* const name = PyUnicode_InternFromString("forward");
  const py::object forward = py::reinterpret_steal<py::object>(PyObject_GetAttr(cls, name));
  if (!forward) throw py::error_already_set();
  constexpr Py_ssize_t kFew = 16;
  PyObject* few[kFew + 1];
  std::vector<PyObject*> many(count > kFew ? static_cast<size_t>(count) + 1 : 0);
  PyObject** stack = count > kFew ? many.data() : few;
  stack[0] = node->object().ptr();
  std::copy(args, args + count, stack + 1);
  return called(forward.ptr(), stack, static_cast<size_t>(count) + 1);
}

PyObject* node_apply(PyObject* cls, PyObject* const* args, Py_ssize_t count) {
  return guarded([&] { return record(cls, args, count); });
}

PyObject* node_save(PyObject* o, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&]() -> PyObject* {
    Node* node = node_of(o);
    if (node->records) {
      std::vector<Saved> saved;
      saved.reserve(static_cast<size_t>(count));
      for (Py_ssize_t i = 0; i < count; ++i) saved.push_back({borrow(args[i]), version_of(args[i]), -1});
      node->saved.swap(saved);
    }
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i)
      if (PyObject_SetAttr(o, PyTuple_GET_ITEM(names, i), args[count + i]) < 0) return nullptr;
    Py_RETURN_NONE;
  });
}

PyObject* node_saved(PyObject* o, void*) {
  return guarded([&] {
    Node* node = node_of(o);
    if (node->freed)
      throw std::runtime_error(
          cat("[backward] the values saved by ", name_of(node),
              " were freed by an earlier backward; pass retain_graph=True to that call to go through "
              "the graph again"));
    py::tuple out(node->saved.size());
    for (size_t i = 0; i < node->saved.size(); ++i) {
      const Saved& saved = node->saved[i];
      if (!is_tensor(saved.value.ptr())) {
        PyTuple_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), saved.value.inc_ref().ptr());
        continue;
      }
      const Tensor& t = unwrap(saved.value.ptr());
      const uint32_t version = version_of(saved.value.ptr());
      if (version != saved.version)
        throw std::runtime_error(cat("[backward] ", name_of(node), " saved a tensor of shape ", t.shape(),
                                     " for its gradient, and it was changed in place afterwards (version ", version,
                                     ", expected ", saved.version, "); use an operation that returns a new tensor"));
      py::object item = saved.value;
      if (saved.output >= 0 && enabled && is_floating(t.dtype())) {  // an output of this very node, as such
        item = py::reinterpret_steal<py::object>(wrap(t));
        set_history(item.ptr(), o, saved.output);
      }
      PyTuple_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), item.release().ptr());
    }
    return out.release().ptr();
  });
}

PyObject* node_needs(PyObject* o, void*) {
  const Node* node = node_of(o);
  PyObject* out = PyTuple_New(node->arguments);
  for (Py_ssize_t i = 0; out && i < node->arguments; ++i) {
    const bool needed = !node->edges.empty() && node->edges[static_cast<size_t>(i)].target;
    PyTuple_SET_ITEM(out, i, PyBool_FromLong(needed));
  }
  return out;
}

PyObject* node_attach(PyObject* o, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    if (count != 2 || !PyTuple_Check(args[0]) || !PyTuple_Check(args[1]))
      throw TypeError("[_attach] expected a tuple of arguments and one of outputs");
    std::vector<Edge> edges;
    node_of(o)->arguments = PyTuple_GET_SIZE(args[0]);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[0]); ++i) edges.push_back(edge_of(PyTuple_GET_ITEM(args[0], i)));
    const Results outs(args[1]);
    attach(node_of(o), std::move(edges), outs.begin, outs.count);
    Py_RETURN_NONE;
  });
}

PyObject* node_add_hook(PyObject* o, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    if (count != 2) throw TypeError("[add_hook] expected the index of an output and a hook");
    Node* node = node_of(o);
    if (!node->hooks) node->hooks = py::dict();
    py::list hooks = py::dict(node->hooks).attr("setdefault")(py::handle(args[0]), py::list());
    hooks.append(py::handle(args[1]));
    return hooks.release().ptr();
  });
}

PyGetSetDef node_getset[] = {
    {"saved", node_saved, nullptr, "What `save` kept, as a tuple; RuntimeError where it was freed or changed since.",
     nullptr},
    {"needs_input_grad", node_needs, nullptr, "For each argument, whether its gradient is asked for.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

template <class F> PyCFunction method(F* f) { return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f)); }

PyMethodDef node_methods[] = {
    {"apply", method(node_apply), METH_FASTCALL | METH_CLASS,
     "Calls `forward` and records the call where gradients are recorded and an argument requires one."},
    {"save", method(node_save), METH_FASTCALL | METH_KEYWORDS,
     "Keeps tensors (checked against later in-place changes) and plain values for backward, those given by keyword as "
     "attributes."},
    {"add_hook", method(node_add_hook), METH_FASTCALL,
     "Adds a hook for the gradient of an output; returns the list that holds it."},
    {"_attach", method(node_attach), METH_FASTCALL, "Makes tensors outputs of this node."},
    {nullptr, nullptr, 0, nullptr}};

// What the nodes made after `since` saved of x's memory is about to be overwritten: lets them keep copies.
void keep_saved_values(const Tensor& x, py::handle y, int64_t since) {
  std::vector<py::object> todo;
  std::unordered_set<PyObject*> seen;
  if (const Edge edge = edge_of(y.ptr()); !edge.to_leaf()) todo.push_back(edge.target);
  while (!todo.empty()) {
    const py::object item = std::move(todo.back());
    todo.pop_back();
    Node* node = node_of(item.ptr());
    if (node->sequence <= since || !seen.insert(item.ptr()).second) continue;
    for (Saved& saved : node->saved) {
      if (!is_tensor(saved.value.ptr())) continue;
      const Tensor& t = unwrap(saved.value.ptr());
      const Edge made_by = edge_of(saved.value.ptr());
      const bool is_leaf = made_by.target && made_by.to_leaf();
      if (!t.shares_storage(x) || is_leaf) continue;
      const Tensor copy = Tensor::empty(t.shape(), t.dtype(), t.device());
      copy_into(t, copy);
      py::object kept = py::reinterpret_steal<py::object>(wrap(copy));
      if (made_by.target) set_history(kept.ptr(), made_by.target.ptr(), made_by.index);
      saved = {kept, version_of(kept.ptr()), saved.output};
    }
    for (const Edge& edge : node->edges)
      if (!edge.to_leaf()) todo.push_back(edge.target);
  }
}

PyObject* is_grad_enabled(PyObject*, PyObject*) { return PyBool_FromLong(enabled); }
PyObject* get_autocast(PyObject*, PyObject*) { return Py_NewRef(autocast ? dtype_object(*autocast) : Py_None); }
PyMethodDef functions[] = {
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS,
     "is_grad_enabled() -> bool\n\nWhether operations of this thread are recorded for backward()."},
    {"autocast_dtype", get_autocast, METH_NOARGS,
     "autocast_dtype() -> Optional[dtype]\n\nWhat products of this thread are computed in under autocast, else None."}};

}  // namespace

PyTypeObject NodeType = [] {
  PyTypeObject type{};
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&type), 1);
  type.tp_name = "dlcore._C.Node";
  type.tp_doc = "A recorded operation: the base of dlcore.autograd.Function.";
  type.tp_basicsize = sizeof(Node);
  type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
  type.tp_new = node_new;
  type.tp_dealloc = node_dealloc;
  type.tp_traverse = node_traverse;
  type.tp_clear = node_clear;
  type.tp_free = PyObject_GC_Del;
  type.tp_getset = node_getset;
  type.tp_methods = node_methods;
  return type;
}();

std::string name_of(Node* node) { return py::cast<std::string>(node->object().attr("name")); }

Results::Results(PyObject* const& result)
    : begin(PyTuple_Check(result) ? &PyTuple_GET_ITEM(result, 0) : &result),
      count(PyTuple_Check(result) ? static_cast<size_t>(PyTuple_GET_SIZE(result)) : 1) {}

py::object called(PyObject* callable, PyObject* const* args, size_t count) {
  py::object out = py::reinterpret_steal<py::object>(PyObject_Vectorcall(callable, args, count, nullptr));
  if (!out) throw py::error_already_set();
  return out;
}

bool grad_enabled() { return enabled; }
GradMode::GradMode(bool mode) : before_(enabled) { enabled = mode; }
GradMode::~GradMode() { enabled = before_; }

bool autocast_enabled() { return autocast.has_value(); }
NoAutocast::NoAutocast() : before_(std::exchange(autocast, std::nullopt)) {}
NoAutocast::~NoAutocast() { autocast = before_; }

Edge edge_of(PyObject* value) {
  Edge edge;
  if (!is_tensor(value) || !requires_grad(value)) return edge;
  const PyTensor* t = reinterpret_cast<PyTensor*>(value);
  edge.target = borrow(t->node ? t->node : value);
  edge.index = t->node ? t->index : -1;
  edge.shape = t->tensor.shape();
  edge.dtype = t->tensor.dtype();
  edge.device = t->tensor.device();
  return edge;
}

void attach(Node* node, std::vector<Edge> edges, PyObject* const* outs, size_t count) {
  node->sequence = ++last_sequence;
  node->edges = std::move(edges);
  node->outputs.clear();
  node->outputs.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Tensor& y = unwrap(outs[i]);
    node->outputs.push_back({y.shape(), y.dtype(), y.device()});
    // A saved output must not keep its own node alive in a cycle: save another view of it.
    for (Saved& saved : node->saved)
      if (saved.value.ptr() == outs[i])
        saved = {py::reinterpret_steal<py::object>(wrap(y)), saved.version, static_cast<int>(i)};
    if (is_floating(y.dtype())) set_history(outs[i], node->object().ptr(), static_cast<int>(i));
  }
}

PyObject* record(PyObject* cls, PyObject* const* args, Py_ssize_t count) {
  bool records = false;
  for (Py_ssize_t i = 0; i < count && enabled && !records; ++i) records = is_tensor(args[i]) && requires_grad(args[i]);
  const py::object self = called(cls, nullptr, 0);
  if (!PyObject_TypeCheck(self.ptr(), &NodeType))
    throw TypeError(cat("[apply] a Function must make instances of itself, got ", Py_TYPE(self.ptr())->tp_name));
  Node* node = node_of(self.ptr());
  node->records = records;
  node->arguments = count;
  if (records) {  // before forward, which may ask which gradients will be needed
    node->edges.reserve(static_cast<size_t>(count));
    for (Py_ssize_t i = 0; i < count; ++i) node->edges.push_back(edge_of(args[i]));
  }
  const py::object out = called_forward(cls, node, args, count);
  PyObject* const result = out.ptr();
  const Results outs(result);
  if (records) attach(node, std::move(node->edges), outs.begin, outs.count);
  if (enabled && count > 0) mark_views(cls, args[0], result);
  return Py_NewRef(result);
}

void mark_views(PyObject* cls, PyObject* x, PyObject* result) {
  if (!is_tensor(x)) return;
  const Results outs(result);
  for (size_t i = 0; i < outs.count; ++i) {
    PyObject* y = outs.begin[i];
    if (y == x || !is_tensor(y) || !unwrap(y).shares_storage(unwrap(x))) continue;
    if (!py::handle(cls).attr("gives_views").cast<bool>()) return;
    set_base(y, x);
  }
}

void release(Node* node) {
  node->freed = true;
  const std::vector<Saved> dropped = std::move(node->saved);
  node->saved.clear();
}

void bind_node(py::module_& m) {
  if (PyType_Ready(&NodeType) < 0) throw py::error_already_set();
  m.add_object("Node", borrow(reinterpret_cast<PyObject*>(&NodeType)));
  for (PyMethodDef& def : functions) {
    PyObject* function = PyCFunction_NewEx(&def, nullptr, m.attr("__name__").ptr());
    if (!function) throw py::error_already_set();
    m.add_object(def.ml_name, py::reinterpret_steal<py::object>(function));
  }
  m.def(
      "set_autocast_dtype", [](std::optional<DType> dtype) { return std::exchange(autocast, dtype); }, py::arg("dtype"),
      "Lets this thread's products be computed in a dtype, or (None) in that of their arguments; returns what it was.");
  m.def(
      "set_grad_enabled", [](bool mode) { return std::exchange(enabled, mode); }, py::arg("mode"),
      "Switches recording on or off for this thread; returns what it was.");
  m.def("next_sequence", [] { return ++last_sequence; }, "A number above that of every node made so far.");
  m.def("keep_saved_values", &keep_saved_values, py::arg("x"), py::arg("y"), py::arg("since"),
        "What nodes behind y, made after `since`, saved of x's memory is about to be overwritten: they get copies.");
}

}  // namespace dl
