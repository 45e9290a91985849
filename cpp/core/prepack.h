// Constant weights in the order that a kernel reads them, kept beside the weights themselves: see nn.utils.prepack.
#pragma once
#include <mutex>

#include "core/tensor.h"

namespace dl {

// Which weights of a storage were packed, and how.
struct PackedAs {
  uint32_t version;  // of the storage
  int64_t offset;
  Dims shape, strides;
  int64_t variant;   // tells apart what the kernel may be asked for
  void (*kernel)();  // that packed them
  bool operator==(const PackedAs& o) const {
    return version == o.version && offset == o.offset && shape == o.shape && strides == o.strides &&
           variant == o.variant && kernel == o.kernel;
  }
};

// What a storage keeps: made on first use, and anew when the weights were written or are asked for otherwise.
struct Prepacked {
  std::mutex mutex;
  Tensor packed;
  PackedAs as{};
};

// `elements` of `dtype` that pack(Tensor) wrote, or an undefined tensor where w's storage keeps none. May be called
// without the GIL.
template <class Pack>
Tensor prepacked(const Tensor& w, int64_t elements, DType dtype, int64_t variant, void (*kernel)(), const Pack& pack) {
  const std::shared_ptr<Prepacked> kept = w.storage()->prepacked;
  if (!kept) return {};
  const PackedAs as{w.storage()->version.load(), w.offset(), w.shape(), w.strides(), variant, kernel};
  const std::lock_guard<std::mutex> lock(kept->mutex);
  if (!kept->packed || !(kept->as == as)) {
    kept->packed = Tensor();  // first: both at once would take as much memory again
    const Tensor packed = Tensor::empty({elements}, dtype);
    pack(packed);
    kept->packed = packed, kept->as = as;
  }
  return kept->packed;
}

}  // namespace dl
