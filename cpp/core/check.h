// Errors that reach Python as built-in exceptions. A message reads "[op] what must hold, got what came".
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace dl {

struct ValueError : std::invalid_argument { using std::invalid_argument::invalid_argument; };
struct TypeError : std::invalid_argument { using std::invalid_argument::invalid_argument; };
struct IndexError : std::out_of_range { using std::out_of_range::out_of_range; };
struct MemoryError : std::runtime_error { using std::runtime_error::runtime_error; };
// NotImplementedError in Python.
struct UnsupportedError : std::runtime_error { using std::runtime_error::runtime_error; };

template <class... Parts> std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace dl

#define DL_CHECK_AS(Error, condition, ...)                                      \
  do {                                                                          \
    if (__builtin_expect(!(condition), 0)) throw Error(::dl::cat(__VA_ARGS__)); \
  } while (0)
#define DL_CHECK(condition, ...) DL_CHECK_AS(::dl::ValueError, condition, __VA_ARGS__)
#define DL_CHECK_TYPE(condition, ...) DL_CHECK_AS(::dl::TypeError, condition, __VA_ARGS__)
#define DL_CHECK_INDEX(condition, ...) DL_CHECK_AS(::dl::IndexError, condition, __VA_ARGS__)
