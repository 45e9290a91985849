// A strided view of reference-counted storage. Knows shapes and lifetimes, no arithmetic.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <string>

#include "core/check.h"
#include "core/dtype.h"

namespace dl {

class PlannedHeap;

constexpr int kMaxDims = 8;

// A short vector of sizes or strides that never allocates.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values) {
    for (int64_t v : values) push_back(v);
  }
  Dims(int n, int64_t value) {
    for (int i = 0; i < n; ++i) push_back(value);
  }

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t& operator[](int i) { return values_[i]; }
  int64_t operator[](int i) const { return values_[i]; }
  int64_t& back() { return values_[size_ - 1]; }
  int64_t back() const { return values_[size_ - 1]; }
  const int64_t* begin() const { return values_.data(); }
  const int64_t* end() const { return values_.data() + size_; }
  int64_t* begin() { return values_.data(); }
  int64_t* end() { return values_.data() + size_; }
  void push_back(int64_t v) {
    DL_CHECK(size_ < kMaxDims, "[shape] at most ", kMaxDims, " dimensions are supported");
    values_[size_++] = v;
  }
  void insert(int at, int64_t v);
  void erase(int at);
  bool operator==(const Dims& o) const;
  bool operator!=(const Dims& o) const { return !(*this == o); }

 private:
  std::array<int64_t, kMaxDims> values_{};
  int size_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Dims& d);  // (2, 3), (4,), ()
std::ostream& operator<<(std::ostream& out, DType t);
std::ostream& operator<<(std::ostream& out, Device d);

int64_t product(const Dims& d);
Dims contiguous_strides(const Dims& shape);
// Refuses negative sizes and element counts whose bytes pass 2^62; `op` names the caller in the message.
int64_t checked_numel(const Dims& shape, DType dtype, const char* op);
Dims broadcast_shapes(const Dims& a, const Dims& b, const char* op);
// Maps -ndim <= axis < ndim onto 0 ... ndim-1, or raises IndexError.
int normalize_axis(int64_t axis, int ndim, const Dims& shape, const char* op);

struct Prepacked;  // core/prepack.h

// Bytes that several tensors may share. `version` counts in-place writes: so autograd can tell a changed saved value.
struct Storage {
  void* data = nullptr;
  size_t bytes = 0;
  bool writable = true;
  Device device = Device::cpu;
  std::atomic<uint32_t> version{0};
  std::function<void()> release_foreign;  // set when the bytes belong to NumPy, DLPack or a mapped file
  std::shared_ptr<Prepacked> prepacked;   // set where kernels may keep a copy in their own order
  std::shared_ptr<PlannedHeap> heap;      // that the bytes come from, if it is not the process's: see core/plan.h

  Storage(size_t n, Device where);
  Storage(void* foreign, size_t n, bool is_writable, std::function<void()> release);
  ~Storage();
  Storage(const Storage&) = delete;
};

class Tensor {
 public:
  Tensor() = default;  // undefined: `if (t)` is false
  static Tensor empty(const Dims& shape, DType dtype, Device device = running_on);
  static Tensor zeros(const Dims& shape, DType dtype, Device device = running_on);
  static Tensor from_storage(std::shared_ptr<Storage> storage, int64_t offset, const Dims& shape, const Dims& strides,
                             DType dtype);

  explicit operator bool() const { return storage_ != nullptr; }
  const Dims& shape() const { return shape_; }
  const Dims& strides() const { return strides_; }  // in elements; may be negative or zero
  int ndim() const { return shape_.size(); }
  int64_t size(int axis) const { return shape_[axis < 0 ? axis + ndim() : axis]; }
  int64_t numel() const { return product(shape_); }
  size_t nbytes() const { return static_cast<size_t>(numel()) * itemsize(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device : Device::cpu; }
  int64_t offset() const { return offset_; }  // in elements
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  bool is_contiguous() const;
  bool shares_storage(const Tensor& o) const { return storage_ == o.storage_; }

  // Of the first element, on the device that this thread works on; any other is refused (UnsupportedError).
  void* raw() const {
    if (__builtin_expect(storage_->device != running_on, 0)) throw_wrong_device();
    return address();
  }
  void* address() const {  // wherever it lies
    return static_cast<char*>(storage_->data) + offset_ * static_cast<int64_t>(itemsize(dtype_));
  }
  template <class T> T* data() const {
    DL_CHECK_TYPE(dtype_ == dtype_of<T>(), "[tensor] expected ", name(dtype_of<T>()), " data, got ", name(dtype_));
    return static_cast<T*>(raw());
  }

  // Views: no copy.
  Tensor as_strided(const Dims& shape, const Dims& strides, int64_t offset) const;
  Tensor expand(const Dims& shape) const;
  Tensor permute(const Dims& axes) const;
  Tensor transpose(int64_t a, int64_t b) const;
  Tensor slice(int64_t axis, int64_t start, int64_t stop, int64_t step) const;  // 0 <= start; step != 0
  Tensor select(int64_t axis, int64_t index) const;
  Tensor squeeze(int64_t axis) const;
  Tensor unsqueeze(int64_t axis) const;
  // One size may be -1. Returns an undefined tensor when no view can show that shape.
  Tensor view_as_shape(const Dims& shape) const;
  // Resolves a -1 and checks the element count.
  Dims resolve_shape(const Dims& shape) const;

 private:
  [[noreturn]] void throw_wrong_device() const;

  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;
  Dims shape_, strides_;
  DType dtype_ = DType::float32;
};

}  // namespace dl
