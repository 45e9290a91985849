// What dlcore.cuda is made of: questions to the device library, if one is linked.
#include <pybind11/typing.h>

#include "core/device_library.h"
#include "ops/common.h"

namespace dl {
namespace {

py::typing::Dict<py::str, py::int_> as_dict(const MemoryStats& s) {
  py::typing::Dict<py::str, py::int_> out;
  out["live"] = s.live;
  out["peak"] = s.peak;
  out["cached"] = s.cached;
  out["limit"] = s.limit;
  out["allocations"] = s.allocations;
  out["cache_hits"] = s.cache_hits;
  return out;
}

}  // namespace
}  // namespace dl

DL_BIND(device) {
  using namespace dl;
  m.def("why_no_device", &why_no_device, py::arg("device"), "Why a device cannot be used; empty where it can.");
  m.def(
      "device_count", [](Device d) { return why_no_device(d).empty() && find_device(d) ? find_device(d)->count() : 0; },
      py::arg("device"), "How many devices of a kind there are.");
  m.def(
      "device_description", [](Device d) { return device_library(d).description(); }, py::arg("device"),
      "The device's name and memory.");
  m.def(
      "synchronize",
      [](Device d) {
        DeviceLibrary& library = device_library(d);
        py::gil_scoped_release release;
        library.synchronize();
      },
      py::arg("device"), "Waits for all that was launched; raises what went wrong.");
  m.def(
      "device_memory_stats", [](Device d) { return as_dict(device_library(d).stats()); }, py::arg("device"),
      "Figures of the device's allocator, in bytes and counts.");
  m.def(
      "reset_device_peak", [](Device d) { device_library(d).reset_peak(); }, py::arg("device"),
      "Sets the peak to what is live now.");
  m.def(
      "set_device_limit", [](Device d, size_t bytes) { device_library(d).set_limit(bytes); }, py::arg("device"),
      py::arg("bytes"), "Limits the device's allocator; 0 lifts the limit.");
  m.def(
      "empty_device_cache", [](Device d) { device_library(d).empty_cache(); }, py::arg("device"),
      "Gives free memory back to the system.");
  m.def(each_device, "to_device", &to_device, py::arg("x"), py::arg("device"),
        "x on a device: x itself where it lies there, else a contiguous copy.");
}
