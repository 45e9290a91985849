// The Python type dlcore._C.Shortcut: a function with two bodies, one that records gradients and a native one for calls
// that have none to record, which saves such calls the way through Python.
#pragma once
#include <pybind11/pybind11.h>

namespace dl {

void bind_shortcut(pybind11::module_& m);

}  // namespace dl
