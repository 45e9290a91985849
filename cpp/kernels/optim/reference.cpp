#include <cmath>
#include <limits>

#include "dispatch/kernel.h"
#include "kernels/optim/optim.h"
#include "kernels/reference.h"

namespace dl {
namespace {

template <class T> void adam(const AdamTensor<T>* tensors, int64_t count, const AdamOptions* o) {
  for (const AdamTensor<T>* t = tensors; t < tensors + count; ++t) {
    for (int64_t i = 0; i < t->n; ++i) {
      const double w = value_of(t->w[i]) * o->decay;
      const double g = o->scale * value_of(t->dw[i]) + o->l2 * w;
      const double m = o->beta1 * t->m[i] + (1 - o->beta1) * g;
      double v = o->beta2 * t->v[i] + (1 - o->beta2) * g * g;
      t->m[i] = static_cast<Moment<T>>(m);
      t->v[i] = static_cast<Moment<T>>(v);
      if (t->v_max) {
        if (v > t->v_max[i] || v != v) t->v_max[i] = static_cast<Moment<T>>(v);
        v = t->v_max[i];
      }
      t->w[i] = rounded<T>(w - t->step_size * m / (std::sqrt(v) / t->root_bias2 + o->eps));
    }
  }
}

template <class T> void sgd(const SgdTensor<T>* tensors, int64_t count, const SgdOptions* o) {
  for (const SgdTensor<T>* t = tensors; t < tensors + count; ++t) {
    for (int64_t i = 0; i < t->n; ++i) {
      double g = o->scale * value_of(t->dw[i]) + o->l2 * value_of(t->w[i]);
      if (t->m) {
        const double m = t->first ? g : o->momentum * t->m[i] + (1 - o->dampening) * g;
        t->m[i] = static_cast<Moment<T>>(m);
        g = o->nesterov ? g + o->momentum * m : m;
      }
      t->w[i] = rounded<T>(value_of(t->w[i]) - o->lr * g);
    }
  }
}

template <class T> void rmsprop(const RmspropTensor<T>* tensors, int64_t count, const RmspropOptions* o) {
  for (const RmspropTensor<T>* t = tensors; t < tensors + count; ++t) {
    for (int64_t i = 0; i < t->n; ++i) {
      const double g = o->scale * value_of(t->dw[i]) + o->l2 * value_of(t->w[i]);
      const double v = o->alpha * t->v[i] + (1 - o->alpha) * g * g;
      t->v[i] = static_cast<Moment<T>>(v);
      double spread = v;
      if (t->mean) {
        const double mean = o->alpha * t->mean[i] + (1 - o->alpha) * g;
        t->mean[i] = static_cast<Moment<T>>(mean);
        spread = v - mean * mean < 0 ? 0 : v - mean * mean;
      }
      double step = g / (std::sqrt(spread) + o->eps);
      if (t->m) {
        step += o->momentum * t->m[i];
        t->m[i] = static_cast<Moment<T>>(step);
      }
      t->w[i] = rounded<T>(value_of(t->w[i]) - o->lr * step);
    }
  }
}

template <class T> void adagrad(const AdagradTensor<T>* tensors, int64_t count, const AdagradOptions* o) {
  for (const AdagradTensor<T>* t = tensors; t < tensors + count; ++t) {
    for (int64_t i = 0; i < t->n; ++i) {
      const double g = o->scale * value_of(t->dw[i]) + o->l2 * value_of(t->w[i]);
      const double v = t->v[i] + g * g;
      t->v[i] = static_cast<Moment<T>>(v);
      t->w[i] = rounded<T>(value_of(t->w[i]) - t->rate * g / (std::sqrt(v) + o->eps));
    }
  }
}

template <class T> void norm_partials(const OptimTensor<T>* tensors, int64_t count, double p, double* partial) {
  for (const OptimTensor<T>* t = tensors; t < tensors + count; ++t) {
    for (int64_t i = 0; i < t->n; ++i) {
      double& sum = partial[t->first_block + i / kOptimBlock];
      if (i % kOptimBlock == 0) sum = 0;
      const double a = std::fabs(value_of(t->x[i]));
      if (p == std::numeric_limits<double>::infinity()) sum = a > sum || a != a ? a : sum;
      else sum += p == 2 ? a * a : std::pow(a, p);
    }
  }
}

template <class T> void scale_tensors(const OptimTensor<T>* tensors, int64_t count, double factor) {
  for (const OptimTensor<T>* t = tensors; t < tensors + count; ++t)
    for (int64_t i = 0; i < t->n; ++i) t->x[i] = rounded<T>(value_of(t->x[i]) * factor);
}

#define DL_OPTIM(T, t)                                                \
  DL_REGISTER("adam/" t, adam, adam_fn<T>)                            \
  DL_REGISTER("sgd/" t, sgd, sgd_fn<T>)                               \
  DL_REGISTER("rmsprop/" t, rmsprop, rmsprop_fn<T>)                   \
  DL_REGISTER("adagrad/" t, adagrad, adagrad_fn<T>)                   \
  DL_REGISTER("norm_partials/" t, norm_partials, norm_partials_fn<T>) \
  DL_REGISTER("scale_tensors/" t, scale_tensors, scale_tensors_fn<T>)

DL_OPTIM(float, "float32")
DL_OPTIM(bfloat16, "bfloat16")
DL_OPTIM(double, "float64")

}  // namespace
}  // namespace dl
