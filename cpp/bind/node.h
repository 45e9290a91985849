// The Python type dlcore._C.Node, base of dlcore.autograd.Function: one recorded operation and the context that its
// forward saves into; and the modes of a thread: whether it records, and autocast.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace dl {

// Where the gradient of one argument goes: an output of a node, a leaf (index -1), or nowhere (no target).
struct Edge {
  pybind11::object target;
  int index = -1;
  Dims shape;  // of the argument
  DType dtype = DType::float32;
  Device device = Device::cpu;

  bool to_leaf() const { return index < 0; }
};

// What is kept for backward: of a tensor, its storage's version then and which output of the very node it is, or -1.
struct Saved {
  pybind11::object value;
  uint32_t version;
  int output;
};

struct Output {
  Dims shape;
  DType dtype;
  Device device;
};

struct Node {
  PyObject_HEAD
  std::vector<Edge> edges;  // one for each argument; none before the node is attached
  std::vector<Saved> saved;
  std::vector<Output> outputs;
  pybind11::object hooks;  // a dict from an output's index to the hooks of its gradient, or none
  Py_ssize_t arguments;
  int64_t sequence;  // above that of every node made earlier
  bool records;      // false: nothing will be asked back
  bool freed;

  pybind11::handle object() { return reinterpret_cast<PyObject*>(this); }
};

extern PyTypeObject NodeType;

std::string name_of(Node* node);  // of its function, for errors

// Of a function's result: one tensor or a tuple of them. The result outlives this.
struct Results {
  PyObject* const* begin;
  size_t count;
  explicit Results(PyObject* const& result);
};

// callable(*args), or its exception.
pybind11::object called(PyObject* callable, PyObject* const* args, size_t count);

// Where a gradient for this value goes. A view of a tensor that was changed in place first gets its new history.
Edge edge_of(PyObject* value);
// cls.apply(*args) for a subclass of dlcore.autograd.Function: calls forward and records the call where it has to.
PyObject* record(PyObject* cls, PyObject* const* args, Py_ssize_t count);
// Outputs that show the memory of the argument x know it as their base, if the function's class says it gives views.
void mark_views(PyObject* cls, PyObject* x, PyObject* result);
// `outs` are outputs of the node from now on, and gradients for them lead to the arguments.
void attach(Node* node, std::vector<Edge> edges, PyObject* const* outs, size_t count);
// Drops what the node saved; to ask for it is an error from now on.
void release(Node* node);

bool grad_enabled();  // of this thread
class GradMode {      // sets it for a block
 public:
  explicit GradMode(bool enabled);
  ~GradMode();
  GradMode(const GradMode&) = delete;

 private:
  bool before_;
};

bool autocast_enabled();  // on this thread; see dlcore.amp
class NoAutocast {        // switches it off for a block
 public:
  NoAutocast();
  ~NoAutocast();
  NoAutocast(const NoAutocast&) = delete;

 private:
  std::optional<DType> before_;
};

void bind_node(pybind11::module_& m);
void bind_engine(pybind11::module_& m);

}  // namespace dl
