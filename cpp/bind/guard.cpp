#include "bind/guard.h"

#include "core/check.h"

namespace py = pybind11;

namespace dl {

void set_python_error() noexcept {
  try {
    throw;
  } catch (py::error_already_set& e) { e.restore(); } catch (const py::builtin_exception& e) {
    e.set_error();
  } catch (const TypeError& e) { PyErr_SetString(PyExc_TypeError, e.what()); } catch (const std::out_of_range& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const MemoryError& e) { PyErr_SetString(PyExc_MemoryError, e.what()); } catch (const std::bad_alloc& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const UnsupportedError& e) {
    PyErr_SetString(PyExc_NotImplementedError, e.what());
  } catch (const std::logic_error& e) { PyErr_SetString(PyExc_ValueError, e.what()); } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
}

}  // namespace dl
