// The Python type dlcore._C.Shortcut: a Python function that plain calls pass by, straight to a native body or to the
// Function class that records it.
#pragma once
#include <pybind11/pybind11.h>

namespace dl {

void bind_shortcut(pybind11::module_& m);

}  // namespace dl
