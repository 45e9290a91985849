#include "dispatch/kernel.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/check.h"

namespace dl {
namespace {

int called;
void reference_version() { called = 1; }
void baseline_version() { called = 2; }

class KernelTable : public ::testing::Test {
 protected:
  void TearDown() override { set_target(before_); }
  Target before_ = current_target();
};

TEST_F(KernelTable, FallsBackToTheNextLowerVersion) {
  register_kernel("test/fallback", Target::reference, reinterpret_cast<AnyFn>(&reference_version));
  const Kernel<void (*)()> kernel{"test/fallback"};
  set_target(Target::baseline);
  kernel();
  EXPECT_EQ(called, 1);
  register_kernel("test/fallback", Target::baseline, reinterpret_cast<AnyFn>(&baseline_version));
  kernel();
  EXPECT_EQ(called, 2) << "a version that registers later is taken up";
  set_target(Target::reference);
  kernel();
  EXPECT_EQ(called, 1);
}

TEST_F(KernelTable, FindsExactlyTheVersionAsked) {
  register_kernel("test/exact", Target::reference, reinterpret_cast<AnyFn>(&reference_version));
  EXPECT_EQ(find_kernel("test/exact", Target::reference), reinterpret_cast<AnyFn>(&reference_version));
  EXPECT_EQ(find_kernel("test/exact", Target::avx2), nullptr);
  EXPECT_EQ(find_kernel("test/never", Target::reference), nullptr);
}

TEST_F(KernelTable, AMissingKernelIsAnErrorThatNamesIt) {
  const Kernel<void (*)()> kernel{"test/missing"};
  try {
    kernel();
    FAIL() << "expected UnsupportedError";
  } catch (const UnsupportedError& e) {
    EXPECT_STREQ(e.what(), "[test/missing] this build has no kernel of that name");
  }
}

TEST_F(KernelTable, ListsOnlyWhatIsRegistered) {
  register_kernel("test/listed", Target::reference, reinterpret_cast<AnyFn>(&reference_version));
  kernel_slot("test/only_asked_for");
  const char* names[256];
  const int n = registered_kernels(names, 256);
  bool listed = false;
  for (int i = 0; i < n; ++i) {
    listed |= std::strcmp(names[i], "test/listed") == 0;
    EXPECT_STRNE(names[i], "test/only_asked_for");
    if (i > 0) { EXPECT_LT(std::strcmp(names[i - 1], names[i]), 0) << "in alphabetical order"; }
  }
  EXPECT_TRUE(listed);
}

TEST_F(KernelTable, TargetsHaveNames) {
  for (int t = 0; t < static_cast<int>(Target::cuda); ++t)
    EXPECT_EQ(target_from_name(target_name(Target(t))), Target(t));
  EXPECT_THROW(target_from_name("sse2"), ValueError);
  EXPECT_THROW(target_from_name("cuda"), ValueError);
  EXPECT_TRUE(cpu_supports(Target::baseline));
  EXPECT_FALSE(cpu_supports(Target::cuda));
  EXPECT_THROW(set_target(Target::cuda), ValueError);
}

int on_device(int x) { return 100 * x; }

// No kernel of the CPU stands in for a device's, and no device's for the CPU's.
TEST_F(KernelTable, ADeviceHasItsOwnKernels) {
  const Kernel<int (*)(int)> kernel{"test_device/float32"};
  register_kernel("test_device/float32", Target::reference, reinterpret_cast<AnyFn>(+[](int x) { return x; }));
  EXPECT_EQ(kernel.get()(2), 2);
  {
    const DeviceScope scope(Device::cuda);
    try {
      kernel.get();
      FAIL() << "a kernel of the CPU was given";
    } catch (const UnsupportedError& e) {
      EXPECT_STREQ(e.what(),
                   "[test_device] has no CUDA kernel for float32; move the tensor to the CPU with .to('cpu')");
    }
    register_kernel("test_device/float32", Target::cuda, reinterpret_cast<AnyFn>(on_device));
    EXPECT_EQ(kernel.get()(2), 200);
  }
  EXPECT_EQ(kernel.get()(2), 2);
}

}  // namespace
}  // namespace dl
