// For functions that Python calls directly, not through pybind11: exceptions become Python's.
#pragma once
#include <pybind11/pybind11.h>

namespace dl {

void set_python_error() noexcept;  // from within a catch block

template <class Body> PyObject* guarded(Body&& body) noexcept {
  try {
    return body();
  } catch (...) { set_python_error(); }
  return nullptr;
}

}  // namespace dl
