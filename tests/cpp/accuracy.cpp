// The program kernel_tests. --accuracy=FILE: the worst errors of the run as a table. docs/accuracy.md is one.
#include <cmath>
#include <fstream>
#include <iomanip>
#include <sstream>

#include "kernel_test.h"

namespace dl::test {
namespace {

const char* path = nullptr;

// With two digits, rounded up.
std::string shown(double units) {
  const double step = units < 1 ? 0.01 : units < 10 ? 0.1 : std::pow(10, std::floor(std::log10(units)) - 1);
  std::ostringstream text;
  text << std::fixed << std::setprecision(units < 1 ? 2 : units < 10 ? 1 : 0) << std::ceil(units / step) * step;
  return units == 0 ? "0" : text.str();
}

void write() {
  std::ofstream out(path);
  out << "# Worst errors\n\n"
         "Of every kernel with each instruction set beside the reference, which computes in float64 and rounds once, "
         "over all\n"
         "inputs of `tests/cpp/kernels`. 1 is the distance between neighbouring numbers of the kernel's type at the "
         "magnitude of\n"
         "what was computed: of the result, or, where terms of a sum cancel, of the terms, as the kernel's test says. "
         "0: no\n"
         "difference. Written by `kernel_tests --accuracy=docs/accuracy.md`; tests fail when an error grows.\n\n| "
         "kernel |";
  constexpr int first = static_cast<int>(Target::baseline), last = static_cast<int>(Target::cuda);
  for (int t = first; t < last; ++t) out << ' ' << target_name(Target(t)) << " |";
  out << "\n| --- |";
  for (int t = first; t < last; ++t) out << " --- |";
  for (const std::string& name : compared_kernels()) {
    std::string row;
    bool any = false;
    for (int t = first; t < last; ++t) {
      const auto found = worst_errors().find({name, Target(t)});
      const bool measured = found != worst_errors().end();
      row += " " + (measured ? shown(found->second) : "") + " |";
      any = any || measured;
    }
    if (any) out << "\n| " << name << " |" << row;
  }
  out << '\n';
  out.close();
  if (!out) ADD_FAILURE() << "cannot write " << path;
}

class Accuracy : public ::testing::Environment {
  void TearDown() override {
    if (path) write();
  }
};

}  // namespace
}  // namespace dl::test

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i)
    if (std::strncmp(argv[i], "--accuracy=", 11) == 0) dl::test::path = argv[i] + 11;
  ::testing::AddGlobalTestEnvironment(new dl::test::Accuracy);
  return RUN_ALL_TESTS();
}
