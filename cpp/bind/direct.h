// Functions of positional arguments that Python calls without pybind11 in between: for ops whose own work is shorter
// than pybind11's.
#pragma once
#include <pybind11/pybind11.h>

namespace dl {

// Returns a new reference; may throw what bound functions throw. There are as many arguments as the signature names. It
// runs on the device that the tensors among them lie on, which must be one.
using DirectFn = PyObject* (*)(const void* state, PyObject* const* arguments);

// `parameters` as in "x: object, dim: int"; names and state live as long as the program.
void def_direct(pybind11::module_& m, const char* name, const char* parameters, DirectFn fn, const void* state,
                const char* doc = "");

}  // namespace dl
