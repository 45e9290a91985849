// Dry runs for Python: see core/plan.h and dlcore/nn/plan.py.
#include "core/plan.h"

#include <map>
#include <stdexcept>
#include <string>

#include "core/allocator.h"
#include "ops/common.h"

namespace dl {
namespace {

PlannedHeap& this_threads_heap() {
  if (!planning()) throw std::runtime_error("[plan] this thread makes no plan");
  return *this_threads_plan()->heap;
}

std::map<std::string, int64_t> plan_figures() {
  const PlannedHeap::Figures f = this_threads_heap().figures();
  return {{"live", static_cast<int64_t>(f.live)},
          {"peak", static_cast<int64_t>(f.peak)},
          {"peak_moment", static_cast<int64_t>(f.peak_moment)},
          {"growth", f.growth},
          {"peak_growth", f.peak_growth}};
}

std::optional<Tensor> plan_stand_in(const Tensor& x) {
  const Storage& s = *x.storage();
  if (s.release_foreign || s.heap || s.device != Device::cpu || s.bytes != x.nbytes() || s.bytes == 0)
    return std::nullopt;
  const auto storage = std::make_shared<Storage>(0, Device::cpu);
  storage->heap = this_threads_plan()->heap;
  storage->bytes = s.bytes;
  storage->data = this_threads_heap().stand_in(s.data, s.bytes);
  return Tensor::from_storage(storage, 0, x.shape(), contiguous_strides(x.shape()), x.dtype());
}

size_t planned_bytes(const Tensor& x) {
  const Storage& s = *x.storage();
  if (s.release_foreign || s.bytes == 0) return 0;
  PlannedHeap& heap = this_threads_heap();
  return s.heap.get() == &heap ? heap.size_at_peak(s.data, s.bytes) : block_size(s.bytes);
}

}  // namespace
}  // namespace dl

DL_BIND(plan) {
  using namespace dl;
  m.def(
      "begin_plan",
      [] {
        const auto heap = std::make_shared<PlannedHeap>();
        heap->start(process_heap());
        begin_plan(heap);
      },
      "From here on what this thread does is a dry run: kernels are not called, tensors have no memory. It counts from "
      "what the process's heap holds now.");
  m.def("end_plan", &end_plan, "Ends this thread's dry run.");
  m.def("planning", &planning, "Whether this thread is in a dry run.");
  m.def("plan_figures", &plan_figures,
        "Bytes: `live` and its `peak`, those of real tensors included, `peak_moment` in allocations so far; `growth` "
        "and `peak_growth` of what is resident.");
  m.def("plan_stand_in", &plan_stand_in, py::arg("x"),
        "For a tensor that the run may drop, before it begins: one whose memory is free to the run when it does. None "
        "where the memory is foreign or others share it.");
  m.def("planned_bytes", &planned_bytes, py::arg("x"),
        "Bytes that a tensor's storage has in the plan's `peak`; 0 for foreign memory and for what came after the "
        "peak.");
}
