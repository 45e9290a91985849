// Reverse mode: one traversal of the recorded graph, from the latest operation to the earliest, so that every consumer
// of a value runs before its producer.
#include <algorithm>
#include <functional>
#include <map>
#include <unordered_map>
#include <utility>

#include "bind/node.h"
#include "bind/py_tensor.h"
#include "ops/common.h"

namespace dl {
namespace {

PyObject* gradient_fitter = nullptr;  // (gradient, shape, dtype) of an argument -> its gradient, differentiably

using Key = std::pair<PyObject*, int>;
Key key_of(const Edge& edge) { return {edge.target.ptr(), edge.index}; }

const Tensor& tensor_of(const py::object& o) { return unwrap(o.ptr()); }
py::object wrapped(Tensor t) { return py::reinterpret_steal<py::object>(wrap(std::move(t))); }
PyTensor* fields(const py::object& o) { return reinterpret_cast<PyTensor*>(o.ptr()); }

// Whether nobody else has the tensor or its storage, which is not foreign and holds nothing else.
bool is_alone(const py::object& o) {
  const Tensor& t = tensor_of(o);
  const Storage& storage = *t.storage();
  return Py_REFCNT(o.ptr()) == 1 && t.storage().use_count() == 1 && !storage.release_foreign &&
         storage.bytes == t.nbytes();
}

// The sum of two gradients of one shape. A large one that nobody else has is added to: another would be fresh memory.
constexpr size_t kLarge = size_t{1} << 20;
py::object added(const py::object& a, const py::object& b, bool recorded) {
  const auto takes = [&](const py::object& x, const py::object& y) {
    return !recorded && tensor_of(x).nbytes() >= kLarge && is_alone(x) && tensor_of(x).dtype() == tensor_of(y).dtype();
  };
  PyObject* sum = takes(a, b)   ? PyNumber_InPlaceAdd(a.ptr(), b.ptr())
                  : takes(b, a) ? PyNumber_InPlaceAdd(b.ptr(), a.ptr())
                                : PyNumber_Add(a.ptr(), b.ptr());
  if (!sum) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(sum);
}

// The gradient of a tensor of this shape and dtype after its hooks, which may replace it.
py::object call_hooks(PyObject* hooks, py::object dy, const Dims& shape, DType dtype) {
  if (!hooks) return dy;
  for (const py::handle hook : py::tuple(py::reinterpret_borrow<py::object>(hooks))) {  // of a copy: hooks may go
    py::object changed = hook(dy);
    if (changed.is_none()) continue;
    const Tensor& t = tensor_of(changed);
    DL_CHECK(t.shape() == shape && t.dtype() == dtype, "[backward] a hook must give a gradient of shape ", shape,
             " and dtype ", dtype, ", as the tensor's, got shape ", t.shape(), " and dtype ", t.dtype());
    dy = std::move(changed);
  }
  return dy;
}

py::object one(const Dims& shape, DType dtype, Device device) {
  const Tensor y = Tensor::empty(shape, dtype);
  visit_floating(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (std::is_same_v<T, bfloat16>) *y.data<T>() = to_bfloat16(1);
    else *y.data<T>() = 1;
  });
  return wrapped(to_device(y, device));
}

class Engine {
 public:
  Engine(bool retain_graph, bool create_graph, std::map<Key, size_t> wanted, size_t wanted_count)
      : retain_graph_(retain_graph), create_graph_(create_graph), wanted_(std::move(wanted)), found_(wanted_count) {}

  // A gradient on its way along an edge.
  void send(const Edge& edge, py::object dy) {
    if (edge.to_leaf()) return send_to_leaf(edge.target, std::move(dy));
    Node* node = reinterpret_cast<Node*>(edge.target.ptr());
    const auto [at, is_new] = pending_.try_emplace(node->sequence);
    if (is_new) at->second = {edge.target, std::vector<py::object>(node->outputs.size())};
    py::object& slot = at->second.dys[static_cast<size_t>(edge.index)];
    slot = slot ? added(slot, dy, create_graph_) : std::move(dy);
  }

  void run() {
    while (!pending_.empty()) step(std::move(pending_.extract(pending_.begin()).mapped()));
    for (Leaf& leaf : leaves_) finish(leaf);
  }

  const std::vector<py::object>& found() const { return found_; }

 private:
  struct Pending {
    py::object node;
    std::vector<py::object> dys;
  };
  struct Leaf { py::object leaf, dy; };

  void send_to_leaf(const py::object& leaf, py::object dy) {
    const auto [at, is_new] = leaf_places_.try_emplace(leaf.ptr(), leaves_.size());
    if (is_new) {
      leaves_.push_back({leaf, std::move(dy)});
    } else {
      py::object& before = leaves_[at->second].dy;
      before = before ? added(before, dy, create_graph_) : std::move(dy);
    }
  }

  void finish(Leaf& leaf) {
    const Tensor& x = tensor_of(leaf.leaf);
    py::object dy = call_hooks(fields(leaf.leaf)->hooks, std::move(leaf.dy), x.shape(), x.dtype());
    if (!wanted_.empty()) {
      if (const auto at = wanted_.find({leaf.leaf.ptr(), -1}); at != wanted_.end()) found_[at->second] = std::move(dy);
      return;
    }
    PyObject* before = fields(leaf.leaf)->grad;
    if (before && before != Py_None) {
      dy = added(py::reinterpret_borrow<py::object>(before), dy, create_graph_);
    } else if (!create_graph_) {
      // The gradient must be the leaf's own memory: optimisers and clipping write into it, and a slice would keep all
      // of a larger one.
      const Tensor& t = tensor_of(dy);
      if (!is_alone(dy) || !t.is_contiguous()) {
        const Tensor copy = Tensor::empty(t.shape(), t.dtype(), t.device());
        copy_into(t, copy);
        dy = wrapped(copy);
      }
    }
    Py_XSETREF(fields(leaf.leaf)->grad, dy.release().ptr());
  }

  void step(Pending now) {
    Node* node = reinterpret_cast<Node*>(now.node.ptr());
    for (size_t i = 0; i < now.dys.size(); ++i) {
      const Output& output = node->outputs[i];
      py::object& dy = now.dys[i];
      if (dy) {
        if (node->hooks) {
          PyObject* hooks = PyDict_GetItemWithError(node->hooks.ptr(), py::int_(i).ptr());
          dy = call_hooks(hooks, std::move(dy), output.shape, output.dtype);
        }
        if (!wanted_.empty())
          if (const auto at = wanted_.find({now.node.ptr(), static_cast<int>(i)}); at != wanted_.end())
            found_[at->second] = dy;
      } else if (is_floating(output.dtype)) {
        dy = wrapped(Tensor::zeros(output.shape, output.dtype, output.device));
      } else {
        dy = py::none();
      }
    }
    const py::object grads = gradients(node, now.dys);
    if (!retain_graph_) release(node);
    PyObject* const result = grads.ptr();
    const Results each(result);
    const size_t arguments = node->edges.size();  // those left at their defaults have no gradient to give
    DL_CHECK(each.count >= arguments &&
                 std::all_of(each.begin + arguments, each.begin + each.count, [](PyObject* g) { return g == Py_None; }),
             "[backward] ", name_of(node), " gave ", each.count, " gradients for ", arguments, " arguments");
    for (size_t i = 0; i < arguments; ++i) {
      if (!node->edges[i].target || each.begin[i] == Py_None) continue;
      send(node->edges[i], fitting(node, i, py::reinterpret_borrow<py::object>(each.begin[i])));
    }
  }

  // What a leaf has received so far, for a backward that adds to it instead of making another gradient: its class says
  // to which argument's. None, and the leaf keeps it, where others have it too.
  py::object taken_from_leaf(Node* node) {
    if (create_graph_) return {};
    for (size_t i = 0; i < node->edges.size(); ++i) {
      const Edge& edge = node->edges[i];
      if (!edge.target || !edge.to_leaf()) continue;
      const auto at = leaf_places_.find(edge.target.ptr());
      if (at == leaf_places_.end()) continue;
      py::object& dy = leaves_[at->second].dy;
      if (dy && is_alone(dy) && tensor_of(dy).is_contiguous() &&
          node->object().attr("adds_to").cast<int>() == static_cast<int>(i))
        return std::move(dy);
    }
    return {};
  }

  py::object gradients(Node* node, const std::vector<py::object>& dys) {
    const bool blocked = create_graph_ && !node->object().attr("twice_differentiable").cast<bool>();
    py::object grads;
    {
      const GradMode mode(create_graph_ && !blocked);
      static PyObject* const name = PyUnicode_InternFromString("backward");
      const py::object backward = py::reinterpret_steal<py::object>(PyObject_GetAttr(node->object().ptr(), name));
      if (!backward) throw py::error_already_set();
      std::vector<PyObject*> stack{node->object().ptr()};
      for (const py::object& dy : dys) stack.push_back(dy.ptr());
      const py::object into = taken_from_leaf(node);
      if (into) node->object().attr("into") = into;
      grads = called(backward.ptr(), stack.data(), stack.size());
      if (into) node->object().attr("into") = py::none();
    }
    if (blocked) node->object().attr("_block_second_derivative")(dys, grads);
    return grads;
  }

  // Gradient i of a node in the shape and dtype of the argument: what was broadcast is summed up again.
  py::object fitting(Node* node, size_t i, py::object g) {
    const Edge& edge = node->edges[i];
    const Tensor& t = tensor_of(g);
    if (t.dtype() == edge.dtype && t.shape() == edge.shape) return g;
    bool fits = t.ndim() >= edge.shape.size();
    for (int d = 1; fits && d <= edge.shape.size(); ++d) {
      const int64_t size = edge.shape[edge.shape.size() - d];
      fits = size == 1 || size == t.size(-d);
    }
    DL_CHECK(fits, "[backward] ", name_of(node), " gave a gradient of shape ", t.shape(), " for argument ", i,
             " of shape ", edge.shape);
    return py::handle(gradient_fitter)(g, edge.shape, edge.dtype);
  }

  const bool retain_graph_, create_graph_;
  const std::map<Key, size_t> wanted_;  // inputs of grad(); none: accumulate into leaves
  std::vector<py::object> found_;
  std::map<int64_t, Pending, std::greater<int64_t>> pending_;  // by the node's sequence number
  std::unordered_map<PyObject*, size_t> leaf_places_;
  std::vector<Leaf> leaves_;  // in the order in which gradients reached them
};

// The gradient that `y` starts with: the one given, or 1 for a single number.
py::object seed_of(py::handle y, const Edge& edge, py::handle dy, const std::string& op) {
  if (!edge.target)
    throw std::runtime_error(cat("[", op, "] the output of shape ", unwrap(y.ptr()).shape(),
                                 " does not depend on a tensor that requires a gradient"));
  if (dy.is_none()) {
    if (product(edge.shape) != 1)
      throw std::runtime_error(cat("[", op,
                                   "] a gradient is needed for an output that is not a single number, got shape ",
                                   edge.shape, "; reduce it (loss.mean()) or pass one"));
    return one(edge.shape, edge.dtype, edge.device);
  }
  DL_CHECK(unwrap(dy.ptr()).device() == edge.device, "[", op, "] expected a gradient on ", edge.device, ", got one on ",
           unwrap(dy.ptr()).device());
  DL_CHECK(unwrap(dy.ptr()).shape() == edge.shape, "[", op, "] expected a gradient of shape ", edge.shape, ", got ",
           unwrap(dy.ptr()).shape());
  if (unwrap(dy.ptr()).dtype() != edge.dtype) return py::handle(gradient_fitter)(dy, edge.shape, edge.dtype);
  return py::reinterpret_borrow<py::object>(dy);
}

std::vector<py::object> run_backward(const std::vector<py::object>& outputs, const std::vector<py::object>& gradients,
                                     std::optional<bool> retain_graph, bool create_graph,
                                     const std::optional<std::vector<py::object>>& inputs, const std::string& op) {
  std::map<Key, size_t> wanted;
  std::vector<size_t> places;  // the same input may be asked for twice
  for (size_t i = 0; inputs && i < inputs->size(); ++i) {
    const Edge edge = edge_of((*inputs)[i].ptr());
    if (!edge.target)
      throw std::runtime_error(
          cat("[", op, "] input ", i, " of shape ", tensor_of((*inputs)[i]).shape(), " does not require a gradient"));
    places.push_back(wanted.try_emplace(key_of(edge), i).first->second);
  }
  Engine engine(retain_graph.value_or(create_graph), create_graph, std::move(wanted), places.size());
  const GradMode mode(create_graph);
  const NoAutocast as_recorded;  // gradients come in the dtypes of what was computed
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Edge edge = edge_of(outputs[i].ptr());
    engine.send(edge, seed_of(outputs[i], edge, gradients[i], op));
  }
  engine.run();
  std::vector<py::object> found;
  for (const size_t place : places) found.push_back(engine.found()[place] ? engine.found()[place] : py::none());
  return found;
}

}  // namespace

void bind_engine(py::module_& m) {
  m.def(
      "set_gradient_fitter", [](py::object fitter) { gradient_fitter = fitter.inc_ref().ptr(); }, py::arg("fitter"),
      "Sets what sums and casts a gradient to the shape and dtype of an argument that was broadcast or promoted.");
  m.def(
      "run_backward", &run_backward, py::arg("outputs"), py::arg("gradients"), py::arg("retain_graph"),
      py::arg("create_graph"), py::arg("inputs"), py::arg("op"),
      "Propagates from `outputs`; accumulates into leaves, or returns the gradients of `inputs` where they are given.");
}

}  // namespace dl
