#include "kernels/optim/optim.h"

#include <cmath>
#include <limits>
#include <string>

#include "ops/common.h"

namespace dl {
namespace {

using Tensors = std::vector<Tensor>;

// A tensor that a kernel updates in place: its own memory, or a contiguous copy that goes back afterwards.
class Updated {
 public:
  Updated(const Tensor& x, const char* op) : x_(x), data_(contiguous(x)) { mark_written(x, op); }
  template <class T> T* data() const { return data_.data<T>(); }
  void write_back() const {
    if (!data_.shares_storage(x_)) copy_into(data_, x_);
  }

 private:
  Tensor x_, data_;
};

template <class T> constexpr DType moment_dtype() { return dtype_of<Moment<T>>(); }

void check_lists(const Tensors& w, size_t n, const char* what, const char* op) {
  DL_CHECK(w.size() == n, "[", op, "] expected one entry of ", what, " for each of ", w.size(), " parameters, got ", n);
}

void check_like(const Tensor& w, const Tensor& x, DType dtype, const char* what, size_t i, const char* op) {
  DL_CHECK(x.shape() == w.shape(), "[", op, "] expected a ", what, " of shape ", w.shape(), " for parameter ", i,
           ", got ", x.shape());
  DL_CHECK_TYPE(x.dtype() == dtype, "[", op, "] expected a ", what, " of ", dtype, " for parameter ", i, " of ",
                w.dtype(), ", got ", x.dtype());
}

// Runs body(Type<T>{}) for each floating dtype among the tensors.
template <class Body> void for_each_dtype(const Tensors& x, const char* op, Body&& body) {
  bool present[kNumDTypes] = {};
  for (const Tensor& t : x) {
    check_floating(t, op);
    present[static_cast<int>(t.dtype())] = true;
  }
  if (present[static_cast<int>(DType::float32)]) body(Type<float>{});
  if (present[static_cast<int>(DType::bfloat16)]) body(Type<bfloat16>{});
  if (present[static_cast<int>(DType::float64)]) body(Type<double>{});
}

template <class T> std::string kernel_name(const char* kernel) { return cat(kernel, "/", name(dtype_of<T>())); }

// The list a kernel takes, one entry at a time, with blocks numbered through. Keeps the tensors alive.
template <class Entry> struct Launch {
  std::vector<Entry> entries;
  std::vector<Updated> updated;
  Tensors kept;
  int64_t blocks = 0, elements = 0;

  template <class T> T* update(const Tensor& x, const char* op) {
    updated.emplace_back(x, op);
    return updated.back().data<T>();
  }
  template <class T> const T* read(const Tensor& x) {
    kept.push_back(contiguous(x));
    return kept.back().data<T>();
  }
  void add(Entry entry) {
    entry.first_block = blocks;
    blocks += optim_blocks(entry.n);
    elements += entry.n;
    entries.push_back(entry);
  }
  template <class Body> void run(Body&& body) {
    if (elements == 0) return;
    launch(elements * 4, body);
    for (const Updated& u : updated) u.write_back();
  }
};

void adam_step(const char* op, const Tensors& w, const Tensors& dw, const Tensors& m, const Tensors& v,
               const Tensors& v_max, const std::vector<int64_t>& steps, double lr, double beta1, double beta2,
               double eps, double weight_decay, bool decoupled, double scale) {
  check_lists(w, dw.size(), "gradients", op);
  check_lists(w, m.size(), "exp_avg", op);
  check_lists(w, v.size(), "exp_avg_sq", op);
  check_lists(w, steps.size(), "steps", op);
  if (!v_max.empty()) check_lists(w, v_max.size(), "max_exp_avg_sq", op);
  const AdamOptions options{
      decoupled ? 1 - lr * weight_decay : 1, decoupled ? 0 : weight_decay, beta1, beta2, eps, scale};
  for_each_dtype(w, op, [&](auto type) {
    using T = typename decltype(type)::type;
    using M = Moment<T>;
    Launch<AdamTensor<T>> l;
    for (size_t i = 0; i < w.size(); ++i) {
      if (w[i].dtype() != dtype_of<T>()) continue;
      check_like(w[i], dw[i], dtype_of<T>(), "gradient", i, op);
      check_like(w[i], m[i], moment_dtype<T>(), "first moment", i, op);
      check_like(w[i], v[i], moment_dtype<T>(), "second moment", i, op);
      if (!v_max.empty()) check_like(w[i], v_max[i], moment_dtype<T>(), "largest second moment", i, op);
      DL_CHECK(steps[i] > 0, "[", op, "] expected a step count > 0, got ", steps[i]);
      const double t = static_cast<double>(steps[i]);
      l.add({l.template update<T>(w[i], op), l.template read<T>(dw[i]), l.template update<M>(m[i], op),
             l.template update<M>(v[i], op), v_max.empty() ? nullptr : l.template update<M>(v_max[i], op), w[i].numel(),
             0, lr / (1 - std::pow(beta1, t)), std::sqrt(1 - std::pow(beta2, t))});
    }
    static const Kernel<adam_fn<T>> kernel{kernel_name<T>("adam").c_str()};
    l.run([&] { kernel(l.entries.data(), static_cast<int64_t>(l.entries.size()), &options); });
  });
}

// `m` is empty without momentum; `first` tells which of its buffers hold nothing yet.
void sgd_step(const Tensors& w, const Tensors& dw, const Tensors& m, const std::vector<bool>& first, double lr,
              double momentum, double dampening, double weight_decay, bool nesterov, double scale) {
  constexpr const char* op = "SGD";
  check_lists(w, dw.size(), "gradients", op);
  if (!m.empty()) {
    check_lists(w, m.size(), "momentum buffers", op);
    check_lists(w, first.size(), "first", op);
  }
  const SgdOptions options{lr, momentum, dampening, weight_decay, nesterov, scale};
  for_each_dtype(w, op, [&](auto type) {
    using T = typename decltype(type)::type;
    Launch<SgdTensor<T>> l;
    for (size_t i = 0; i < w.size(); ++i) {
      if (w[i].dtype() != dtype_of<T>()) continue;
      check_like(w[i], dw[i], dtype_of<T>(), "gradient", i, op);
      if (!m.empty()) check_like(w[i], m[i], moment_dtype<T>(), "momentum buffer", i, op);
      l.add({l.template update<T>(w[i], op), l.template read<T>(dw[i]),
             m.empty() ? nullptr : l.template update<Moment<T>>(m[i], op), w[i].numel(), 0, !m.empty() && first[i]});
    }
    static const Kernel<sgd_fn<T>> kernel{kernel_name<T>("sgd").c_str()};
    l.run([&] { kernel(l.entries.data(), static_cast<int64_t>(l.entries.size()), &options); });
  });
}

// `means` is empty where the second moments are not centered, `m` without momentum.
void rmsprop_step(const Tensors& w, const Tensors& dw, const Tensors& v, const Tensors& means, const Tensors& m,
                  double lr, double alpha, double eps, double weight_decay, double momentum, double scale) {
  constexpr const char* op = "RMSprop";
  check_lists(w, dw.size(), "gradients", op);
  check_lists(w, v.size(), "square_avg", op);
  if (!means.empty()) check_lists(w, means.size(), "grad_avg", op);
  if (!m.empty()) check_lists(w, m.size(), "momentum buffers", op);
  const RmspropOptions options{lr, alpha, eps, weight_decay, momentum, scale};
  for_each_dtype(w, op, [&](auto type) {
    using T = typename decltype(type)::type;
    using M = Moment<T>;
    Launch<RmspropTensor<T>> l;
    for (size_t i = 0; i < w.size(); ++i) {
      if (w[i].dtype() != dtype_of<T>()) continue;
      check_like(w[i], dw[i], dtype_of<T>(), "gradient", i, op);
      check_like(w[i], v[i], moment_dtype<T>(), "second moment", i, op);
      if (!means.empty()) check_like(w[i], means[i], moment_dtype<T>(), "mean gradient", i, op);
      if (!m.empty()) check_like(w[i], m[i], moment_dtype<T>(), "momentum buffer", i, op);
      l.add({l.template update<T>(w[i], op), l.template read<T>(dw[i]), l.template update<M>(v[i], op),
             means.empty() ? nullptr : l.template update<M>(means[i], op),
             m.empty() ? nullptr : l.template update<M>(m[i], op), w[i].numel(), 0});
    }
    static const Kernel<rmsprop_fn<T>> kernel{kernel_name<T>("rmsprop").c_str()};
    l.run([&] { kernel(l.entries.data(), static_cast<int64_t>(l.entries.size()), &options); });
  });
}

void adagrad_step(const Tensors& w, const Tensors& dw, const Tensors& v, const std::vector<double>& rates, double eps,
                  double weight_decay, double scale) {
  constexpr const char* op = "Adagrad";
  check_lists(w, dw.size(), "gradients", op);
  check_lists(w, v.size(), "sum", op);
  check_lists(w, rates.size(), "rates", op);
  const AdagradOptions options{eps, weight_decay, scale};
  for_each_dtype(w, op, [&](auto type) {
    using T = typename decltype(type)::type;
    Launch<AdagradTensor<T>> l;
    for (size_t i = 0; i < w.size(); ++i) {
      if (w[i].dtype() != dtype_of<T>()) continue;
      check_like(w[i], dw[i], dtype_of<T>(), "gradient", i, op);
      check_like(w[i], v[i], moment_dtype<T>(), "sum of squares", i, op);
      l.add({l.template update<T>(w[i], op), l.template read<T>(dw[i]), l.template update<Moment<T>>(v[i], op),
             w[i].numel(), 0, rates[i]});
    }
    static const Kernel<adagrad_fn<T>> kernel{kernel_name<T>("adagrad").c_str()};
    l.run([&] { kernel(l.entries.data(), static_cast<int64_t>(l.entries.size()), &options); });
  });
}

double global_norm(const Tensors& x, double p) {
  DL_CHECK(p > 0, "[global_norm] expected norm_type > 0, got ", p);
  const bool is_max = p == std::numeric_limits<double>::infinity();
  double total = 0;
  for_each_dtype(x, "global_norm", [&](auto type) {
    using T = typename decltype(type)::type;
    Launch<OptimTensor<T>> l;
    for (const Tensor& t : x)
      if (t.dtype() == dtype_of<T>()) l.add({const_cast<T*>(l.template read<T>(t)), t.numel(), 0});
    const Tensor partial = Tensor::empty({l.blocks}, DType::float64);
    double* sums = partial.data<double>();
    static const Kernel<norm_partials_fn<T>> kernel{kernel_name<T>("norm_partials").c_str()};
    l.run([&] { kernel(l.entries.data(), static_cast<int64_t>(l.entries.size()), p, sums); });
    const Tensor on_host = to_device(partial, Device::cpu);
    const DeviceScope host(Device::cpu);
    const double* done = on_host.data<double>();
    for (int64_t b = 0; b < l.blocks; ++b)
      total = !is_max ? total + done[b] : done[b] > total || std::isnan(done[b]) ? done[b] : total;
  });
  return is_max ? total : p == 2 ? std::sqrt(total) : std::pow(total, 1 / p);
}

void scale_tensors(const Tensors& x, double factor) {
  for_each_dtype(x, "scale_tensors", [&](auto type) {
    using T = typename decltype(type)::type;
    Launch<OptimTensor<T>> l;
    for (const Tensor& t : x)
      if (t.dtype() == dtype_of<T>()) l.add({l.template update<T>(t, "scale_tensors"), t.numel(), 0});
    static const Kernel<scale_tensors_fn<T>> kernel{kernel_name<T>("scale_tensors").c_str()};
    l.run([&] { kernel(l.entries.data(), static_cast<int64_t>(l.entries.size()), factor); });
  });
}

}  // namespace
}  // namespace dl

DL_BIND(optim) {
  using namespace dl;
  m.def(any_device, "adam_step", &adam_step, py::arg("op"), py::arg("params"), py::arg("grads"), py::arg("exp_avgs"),
        py::arg("exp_avg_sqs"), py::arg("max_exp_avg_sqs"), py::arg("steps"), py::arg("lr"), py::arg("beta1"),
        py::arg("beta2"), py::arg("eps"), py::arg("weight_decay"), py::arg("decoupled"), py::arg("scale"),
        "One step of Adam or AdamW over many parameters, in place, with the gradients times `scale`.");
  m.def(any_device, "sgd_step", &sgd_step, py::arg("params"), py::arg("grads"), py::arg("buffers"), py::arg("first"),
        py::arg("lr"), py::arg("momentum"), py::arg("dampening"), py::arg("weight_decay"), py::arg("nesterov"),
        py::arg("scale"), "One step of SGD over many parameters, in place, with the gradients times `scale`.");
  m.def(any_device, "rmsprop_step", &rmsprop_step, py::arg("params"), py::arg("grads"), py::arg("square_avgs"),
        py::arg("grad_avgs"), py::arg("buffers"), py::arg("lr"), py::arg("alpha"), py::arg("eps"),
        py::arg("weight_decay"), py::arg("momentum"), py::arg("scale"),
        "One step of RMSprop over many parameters, in place, with the gradients times `scale`.");
  m.def(any_device, "adagrad_step", &adagrad_step, py::arg("params"), py::arg("grads"), py::arg("sums"),
        py::arg("rates"), py::arg("eps"), py::arg("weight_decay"), py::arg("scale"),
        "One step of Adagrad over many parameters, in place, with the gradients times `scale`.");
  m.def(any_device, "global_norm", &global_norm, py::arg("tensors"), py::arg("p"),
        "The p-norm of all elements of all tensors.");
  m.def(any_device, "scale_tensors", &scale_tensors, py::arg("tensors"), py::arg("factor"),
        "Multiplies every tensor in place.");
}
