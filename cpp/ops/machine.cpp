#include <algorithm>
#include <chrono>

#include "kernels/machine/machine.h"
#include "ops/common.h"

namespace dl {
namespace {

// Floating-point operations per second over about `seconds`, all threads busy: the best of several rounds, since
// another process can only slow one down.
double fma_peak(double seconds) {
  using Clock = std::chrono::steady_clock;
  DL_CHECK(seconds > 0 && seconds <= 60, "[fma_peak] expected between 0 and 60 seconds, got ", seconds);
  static const Kernel<fma_peak_fn> kernel{"fma_peak"};
  const int64_t blocks = 8 * int64_t{num_threads()}, iterations = 20000;
  std::vector<float> sink(static_cast<size_t>(blocks));
  double best = 0;
  launch(blocks * iterations, [&] {
    const auto start = Clock::now();
    for (auto now = start; std::chrono::duration<double>(now - start).count() < seconds;) {
      const int64_t flops = kernel.get()(blocks, iterations, sink.data());
      const auto after = Clock::now();
      best = std::max(best, static_cast<double>(flops) / std::chrono::duration<double>(after - now).count());
      now = after;
    }
  });
  return best;
}

}  // namespace
}  // namespace dl

DL_BIND(machine) {
  m.def("fma_peak", &dl::fma_peak, pybind11::arg("seconds") = 0.1,
        "The machine's peak in float32 operations per second, measured with fused multiply-adds in registers.");
}
