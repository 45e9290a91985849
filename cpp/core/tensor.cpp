#include "core/tensor.h"

#include <algorithm>
#include <cstring>

#include "core/allocator.h"
#include "core/device_library.h"
#include "core/plan.h"

namespace dl {

void Dims::insert(int at, int64_t v) {
  push_back(0);
  for (int i = size_ - 1; i > at; --i) values_[i] = values_[i - 1];
  values_[at] = v;
}

void Dims::erase(int at) {
  for (int i = at; i + 1 < size_; ++i) values_[i] = values_[i + 1];
  --size_;
}

bool Dims::operator==(const Dims& o) const { return size_ == o.size_ && std::equal(begin(), end(), o.begin()); }

std::ostream& operator<<(std::ostream& out, const Dims& d) {
  out << '(';
  for (int i = 0; i < d.size(); ++i) out << (i ? ", " : "") << d[i];
  return out << (d.size() == 1 ? ",)" : ")");
}
std::ostream& operator<<(std::ostream& out, DType t) { return out << name(t); }
std::ostream& operator<<(std::ostream& out, Device d) { return out << name(d); }

int64_t product(const Dims& d) {
  int64_t n = 1;
  for (int64_t v : d) n *= v;
  return n;
}

Dims contiguous_strides(const Dims& shape) {
  Dims strides(shape.size(), 1);
  int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

int64_t checked_numel(const Dims& shape, DType dtype, const char* op) {
  bool empty = false;
  for (int64_t v : shape) {
    DL_CHECK(v >= 0, "[", op, "] sizes must not be negative, got shape ", shape);
    empty |= v == 0;
  }
  if (empty) return 0;
  int64_t n = 1;
  const int64_t most = (int64_t{1} << 62) / static_cast<int64_t>(itemsize(dtype));
  for (int64_t v : shape) {
    if (v > most / n) throw MemoryError(cat("[", op, "] shape ", shape, " of ", dtype, " is beyond the address space"));
    n *= v;
  }
  return n;
}

Dims broadcast_shapes(const Dims& a, const Dims& b, const char* op) {
  if (a == b) return a;
  const int n = std::max(a.size(), b.size());
  Dims out(n, 1);
  for (int i = 1; i <= n; ++i) {
    const int64_t x = i <= a.size() ? a[a.size() - i] : 1;
    const int64_t y = i <= b.size() ? b[b.size() - i] : 1;
    DL_CHECK(x == y || x == 1 || y == 1, "[", op, "] shapes ", a, " and ", b,
             " do not broadcast: sizes along dimension ", -i, " are ", x, " and ", y);
    out[n - i] = x == 1 ? y : x;
  }
  return out;
}

int normalize_axis(int64_t axis, int ndim, const Dims& shape, const char* op) {
  DL_CHECK_INDEX(-ndim <= axis && axis < ndim, "[", op, "] axis ", axis, " is out of range for shape ", shape);
  return static_cast<int>(axis < 0 ? axis + ndim : axis);
}

Storage::Storage(size_t n, Device where) : bytes(n), device(where) {
  if (device != Device::cpu) {
    if (planning()) throw UnsupportedError(cat("[plan] expected tensors on the CPU, got one on ", device));
    data = device_library(device).allocate(n);
    return;
  }
  if (planning()) heap = this_threads_plan()->heap;
  data = heap ? heap->allocate(n) : allocate(n);
}
Storage::Storage(void* foreign, size_t n, bool is_writable, std::function<void()> release)
    : data(foreign), bytes(n), writable(is_writable), release_foreign(std::move(release)) {}
Storage::~Storage() {
  if (release_foreign) release_foreign();
  else if (device != Device::cpu) find_device(device)->release(data, bytes);
  else if (heap) heap->release(data, bytes);
  else release(data, bytes);
}

Tensor Tensor::empty(const Dims& shape, DType dtype, Device device) {
  const int64_t n = checked_numel(shape, dtype, "empty");
  return from_storage(std::make_shared<Storage>(static_cast<size_t>(n) * itemsize(dtype), device), 0, shape,
                      contiguous_strides(shape), dtype);
}

Tensor Tensor::zeros(const Dims& shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  if (!t.nbytes() || t.storage()->heap) return t;
  if (device != Device::cpu) device_library(device).clear(t.address(), t.nbytes());
  else std::memset(t.address(), 0, t.nbytes());
  return t;
}

void Tensor::throw_wrong_device() const {
  throw UnsupportedError(cat("[tensor] expected a tensor on ", running_on, ", got one of shape ", shape_, " on ",
                             device(), "; move it with .to('", running_on, "')"));
}

Tensor Tensor::from_storage(std::shared_ptr<Storage> storage, int64_t offset, const Dims& shape, const Dims& strides,
                            DType dtype) {
  Tensor t;
  t.storage_ = std::move(storage);
  t.offset_ = offset;
  t.shape_ = shape;
  t.strides_ = strides;
  t.dtype_ = dtype;
  return t;
}

bool Tensor::is_contiguous() const {
  int64_t step = 1;
  for (int i = ndim() - 1; i >= 0; --i) {
    if (shape_[i] == 0) return true;
    if (shape_[i] != 1 && strides_[i] != step) return false;
    step *= shape_[i];
  }
  return true;
}

Tensor Tensor::as_strided(const Dims& shape, const Dims& strides, int64_t offset) const {
  return from_storage(storage_, offset, shape, strides, dtype_);
}

Tensor Tensor::expand(const Dims& shape) const {
  const int lead = shape.size() - ndim();
  DL_CHECK(lead >= 0, "[expand] shape ", shape_, " has more dimensions than the target ", shape);
  Dims sizes = shape, strides(shape.size(), 0);
  for (int i = 0; i < shape.size(); ++i) {
    const int64_t have = i < lead ? 1 : shape_[i - lead];
    if (shape[i] == -1 && i >= lead) sizes[i] = have;
    DL_CHECK(sizes[i] >= 0 && (have == sizes[i] || have == 1), "[expand] shape ", shape_, " does not expand to ", shape,
             ": dimension ", i, " has size ", have);
    strides[i] = have == 1 && sizes[i] != 1 ? 0 : (i < lead ? 0 : strides_[i - lead]);
  }
  return as_strided(sizes, strides, offset_);
}

Tensor Tensor::permute(const Dims& axes) const {
  DL_CHECK(axes.size() == ndim(), "[permute] expected ", ndim(), " axes for shape ", shape_, ", got ", axes);
  Dims shape, strides;
  unsigned seen = 0;
  for (int64_t a : axes) {
    const int axis = normalize_axis(a, ndim(), shape_, "permute");
    DL_CHECK(!(seen & (1u << axis)), "[permute] axes must not repeat, got ", axes);
    seen |= 1u << axis;
    shape.push_back(shape_[axis]);
    strides.push_back(strides_[axis]);
  }
  return as_strided(shape, strides, offset_);
}

Tensor Tensor::transpose(int64_t a, int64_t b) const {
  const int i = normalize_axis(a, ndim(), shape_, "transpose"), j = normalize_axis(b, ndim(), shape_, "transpose");
  Tensor t = *this;
  std::swap(t.shape_[i], t.shape_[j]);
  std::swap(t.strides_[i], t.strides_[j]);
  return t;
}

Tensor Tensor::slice(int64_t axis, int64_t start, int64_t stop, int64_t step) const {
  const int a = normalize_axis(axis, ndim(), shape_, "slice");
  DL_CHECK(step != 0, "[slice] step must not be zero");
  const int64_t count = step > 0 ? (stop > start ? (stop - start + step - 1) / step : 0)
                                 : (stop < start ? (start - stop - step - 1) / -step : 0);
  if (count > 0) {
    const int64_t last = start + (count - 1) * step;
    DL_CHECK_INDEX(start >= 0 && start < shape_[a] && last >= 0 && last < shape_[a], "[slice] range ", start, ":", stop,
                   ":", step, " is out of bounds for axis ", axis, " of shape ", shape_);
  }
  Tensor t = *this;
  t.offset_ += count > 0 ? start * strides_[a] : 0;
  t.shape_[a] = count;
  t.strides_[a] *= step;
  return t;
}

Tensor Tensor::select(int64_t axis, int64_t index) const {
  const int a = normalize_axis(axis, ndim(), shape_, "select");
  const int64_t n = shape_[a];
  DL_CHECK_INDEX(-n <= index && index < n, "[index] index ", index, " is out of range for axis ", a, " of shape ",
                 shape_);
  Tensor t = *this;
  t.offset_ += (index < 0 ? index + n : index) * strides_[a];
  t.shape_.erase(a);
  t.strides_.erase(a);
  return t;
}

Tensor Tensor::squeeze(int64_t axis) const {
  const int a = normalize_axis(axis, ndim(), shape_, "squeeze");
  Tensor t = *this;
  if (shape_[a] == 1) {
    t.shape_.erase(a);
    t.strides_.erase(a);
  }
  return t;
}

Tensor Tensor::unsqueeze(int64_t axis) const {
  DL_CHECK_INDEX(-ndim() - 1 <= axis && axis <= ndim(), "[unsqueeze] axis ", axis, " is out of range for shape ",
                 shape_);
  const int a = static_cast<int>(axis < 0 ? axis + ndim() + 1 : axis);
  Tensor t = *this;
  t.strides_.insert(a, a < ndim() ? shape_[a] * strides_[a] : 1);
  t.shape_.insert(a, 1);
  return t;
}

Dims Tensor::resolve_shape(const Dims& shape) const {
  Dims out = shape;
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      DL_CHECK(unknown < 0, "[reshape] only one size may be -1, got ", shape);
      unknown = i;
      continue;
    }
    DL_CHECK(shape[i] >= 0, "[reshape] sizes must not be negative, got ", shape);
    DL_CHECK(!__builtin_mul_overflow(known, shape[i], &known), "[reshape] shape ", shape,
             " is beyond the address space");
  }
  if (unknown >= 0) {
    DL_CHECK(known != 0 && numel() % known == 0, "[reshape] cannot infer the -1 of ", shape, " from shape ", shape_);
    out[unknown] = numel() / known;
    known *= out[unknown];
  }
  DL_CHECK(known == numel(), "[reshape] shape ", shape_, " has ", numel(), " elements, the target ", shape, " has ",
           known);
  return out;
}

Tensor Tensor::view_as_shape(const Dims& wanted) const {
  const Dims shape = resolve_shape(wanted);
  if (numel() == 0 || is_contiguous()) return as_strided(shape, contiguous_strides(shape), offset_);
  // Match runs of old dimensions that step through memory evenly with runs of new ones.
  Dims strides(shape.size(), 0);
  int to = shape.size() - 1;
  int64_t run = 1, made = 1, step = strides_.back();
  for (int from = ndim() - 1; from >= 0; --from) {
    run *= shape_[from];
    const bool run_ends = from == 0 || (shape_[from - 1] != 1 && strides_[from - 1] != run * step);
    if (!run_ends) continue;
    while (to >= 0 && (made < run || shape[to] == 1)) {
      strides[to] = made * step;
      made *= shape[to--];
    }
    if (made != run) return {};
    if (from > 0) {
      step = strides_[from - 1];
      run = made = 1;
    }
  }
  return as_strided(shape, strides, offset_);
}

}  // namespace dl
