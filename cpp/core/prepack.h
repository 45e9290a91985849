// Constant weights in the order that a kernel reads them, kept beside the weights themselves: see nn.utils.prepack.
#pragma once
#include <mutex>

#include "core/tensor.h"

namespace dl {

// What a storage keeps: made on first use, and anew when the weights were written or another kernel asks.
struct Prepacked {
  std::mutex mutex;
  Tensor packed;
  uint32_t version = 0;        // of the storage, when it was packed
  int64_t offset = 0;          // of the weights in it
  void (*kernel)() = nullptr;  // that packed it
};

// `elements` of w's dtype that pack(T*) wrote, or an undefined tensor where w's storage keeps none. May be called
// without the GIL.
template <class Pack> Tensor prepacked(const Tensor& w, int64_t elements, void (*kernel)(), const Pack& pack) {
  const std::shared_ptr<Prepacked> kept = w.storage()->prepacked;
  if (!kept) return {};
  const std::lock_guard<std::mutex> lock(kept->mutex);
  const uint32_t version = w.storage()->version.load();
  if (!kept->packed || kept->version != version || kept->offset != w.offset() || kept->kernel != kernel ||
      kept->packed.numel() != elements || kept->packed.dtype() != w.dtype()) {
    kept->packed = Tensor();  // first: both at once would take as much memory again
    const Tensor packed = Tensor::empty({elements}, w.dtype());
    pack(packed);
    kept->packed = packed, kept->version = version, kept->offset = w.offset(), kept->kernel = kernel;
  }
  return kept->packed;
}

}  // namespace dl
