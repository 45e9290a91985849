// Activations: the layout work of ops/elementwise.h over the activation kernels.
#include "ops/elementwise.h"

namespace dl {
namespace {

const UnaryOp unary_ops[] = {
    {"relu", UnaryRule::floating},    {"gelu", UnaryRule::floating},     {"gelu_tanh", UnaryRule::floating},
    {"silu", UnaryRule::floating},    {"softplus", UnaryRule::floating}, {"sigmoid", UnaryRule::to_floating},
    {"tanh", UnaryRule::to_floating},
};
const UnaryOp unary_param_ops[] = {{"leaky_relu", UnaryRule::floating}, {"elu", UnaryRule::floating}};
const BinaryOp gradients[] = {
    {"relu_backward", BinaryRule::gradient},      {"tanh_backward", BinaryRule::gradient},
    {"sigmoid_backward", BinaryRule::gradient},   {"gelu_backward", BinaryRule::gradient},
    {"gelu_tanh_backward", BinaryRule::gradient}, {"silu_backward", BinaryRule::gradient},
};

}  // namespace
}  // namespace dl

DL_BIND(activation) {
  using namespace dl;
  for (const UnaryOp& op : unary_ops) bind_unary(m, op);
  for (const UnaryOp& op : unary_param_ops) bind_unary_param(m, op);
  for (const BinaryOp& op : gradients) bind_binary(m, op);
}
