// dlcore._C: the native core. Families bind themselves (DL_BIND); this file knows none of them.

#include <pybind11/typing.h>

#include "bind/node.h"
#include "bind/py_tensor.h"
#include "bind/shortcut.h"
#include "core/allocator.h"
#include "ops/common.h"

namespace py = pybind11;

namespace dl {
namespace {

std::vector<void (*)(Family&)>& bindings() {
  static std::vector<void (*)(Family&)> list;
  return list;
}

// True when Python has a pending exception from a signal, such as KeyboardInterrupt.
bool python_was_interrupted() {
  if (!Py_IsInitialized()) return false;
  py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

py::typing::Dict<py::str, py::int_> memory_stats_dict() {
  const MemoryStats s = memory_stats();
  py::typing::Dict<py::str, py::int_> out;
  out["live"] = s.live;
  out["peak"] = s.peak;
  out["cached"] = s.cached;
  out["limit"] = s.limit;
  out["allocations"] = s.allocations;
  out["cache_hits"] = s.cache_hits;
  return out;
}

std::vector<std::string> kernel_names() {
  std::vector<const char*> raw(static_cast<size_t>(registered_kernels(nullptr, 0)));
  registered_kernels(raw.data(), static_cast<int>(raw.size()));
  return {raw.begin(), raw.end()};
}

void bind_runtime(py::module_& m) {
  m.def("num_threads", &num_threads, "How many threads kernels use.");
  m.def("set_num_threads", &set_num_threads, py::arg("n"), "Sets how many threads kernels use.");
  m.def("available_cores", &available_cores, "Cores allowed by the affinity mask and the cgroup quota.");
  m.def("memory_stats", &memory_stats_dict, "Figures of the caching allocator, in bytes and counts.");
  m.def("reset_peak_memory", &reset_peak_memory, "Sets the peak to what is live now.");
  m.def("set_memory_limit", &set_memory_limit, py::arg("bytes"), "Limits the allocator; 0 lifts the limit.");
  m.def("empty_cache", &empty_cache, "Gives free blocks back to the system.");
  m.def("target", [] { return std::string(target_name(current_target())); }, "The instruction set in use.");
  m.def(
      "set_target", [](const std::string& name) { set_target(target_from_name(name.c_str())); }, py::arg("name"),
      "Chooses among reference, baseline, avx2, avx512, avx512_bf16 and amx.");
  m.def(
      "supported_targets",
      [] {
        std::vector<std::string> names;
        for (int t = 0; t < static_cast<int>(Target::cuda); ++t)
          if (cpu_supports(Target(t))) names.emplace_back(target_name(Target(t)));
        return names;
      },
      "The targets that this CPU runs.");
  m.def("kernel_names", &kernel_names, "Names of all registered kernels.");
#if defined(__clang__)
  m.attr("compiler") = __VERSION__;
#else
  m.attr("compiler") = "GCC " __VERSION__;
#endif
  m.attr("version") = DLCORE_VERSION;
}

void translate_errors() {
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const TypeError& e) { PyErr_SetString(PyExc_TypeError, e.what()); } catch (const IndexError& e) {
      PyErr_SetString(PyExc_IndexError, e.what());
    } catch (const MemoryError& e) { PyErr_SetString(PyExc_MemoryError, e.what()); } catch (const UnsupportedError& e) {
      PyErr_SetString(PyExc_NotImplementedError, e.what());
    }
  });
}

}  // namespace

bool register_binding(void (*bind)(Family&)) {
  bindings().push_back(bind);
  return true;
}

}  // namespace dl

PYBIND11_MODULE(_C, m) {
  m.doc() = "Native core of dlcore: tensors, kernels and their Python bindings.";
  dl::translate_errors();
  dl::bind_tensor_type(m);
  dl::bind_node(m);
  dl::bind_engine(m);
  dl::bind_shortcut(m);
  dl::bind_dtypes(m);
  dl::bind_interchange(m);
  dl::bind_runtime(m);
  dl::Family families(m);
  for (auto* bind : dl::bindings()) bind(families);
  dl::set_interrupt_poll(dl::python_was_interrupted);
  dl::current_target();  // reads DLCORE_TARGET, so that a wrong one fails here and not in the first operation
}
