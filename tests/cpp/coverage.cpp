// After a whole run (no --gtest_filter) every registered kernel must have been compared with its reference.
#include <gtest/gtest.h>

#include "kernel_test.h"

namespace dl::test {

std::set<std::string>& compared_kernels() {
  static std::set<std::string> names;
  return names;
}

std::map<std::pair<std::string, Target>, double>& worst_errors() {
  static std::map<std::pair<std::string, Target>, double> errors;
  return errors;
}

namespace {

class Coverage : public ::testing::Environment {
  void TearDown() override {
    if (::testing::GTEST_FLAG(filter) != "*") return;
    std::vector<const char*> names(static_cast<size_t>(registered_kernels(nullptr, 0)));
    registered_kernels(names.data(), static_cast<int>(names.size()));
    for (const char* name : names)
      if (!compared_kernels().count(name)) ADD_FAILURE() << "kernel " << name << " has no test in tests/cpp/kernels";
  }
};

const auto* const coverage = ::testing::AddGlobalTestEnvironment(new Coverage);

}  // namespace
}  // namespace dl::test
