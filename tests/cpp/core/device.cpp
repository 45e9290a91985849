#include "core/device_library.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "core/allocator.h"
#include "core/check.h"
#include "core/tensor.h"

namespace dl {
namespace {

// A device whose memory is the CPU's, counted.
class Pretended final : public DeviceLibrary {
 public:
  std::string why_not() override { return ""; }
  int count() override { return 1; }
  std::string description() override { return "pretended"; }
  void* allocate(size_t bytes) override {
    live += bytes;
    return std::malloc(bytes);
  }
  void release(void* data, size_t bytes) noexcept override {
    live -= bytes;
    std::free(data);
  }
  void clear(void* data, size_t bytes) override { std::memset(data, 0, bytes); }
  void copy(void* to, Device, const void* from, Device, size_t bytes) override { std::memcpy(to, from, bytes); }
  void synchronize() override {}
  MemoryStats stats() override { return {}; }
  void reset_peak() override {}
  void set_limit(size_t) override {}
  void empty_cache() override {}

  size_t live = 0;
};

class Devices : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = find_device(Device::cuda);
    register_device(Device::cuda, &library_);
  }
  void TearDown() override { register_device(Device::cuda, before_); }

  Pretended library_;
  DeviceLibrary* before_ = nullptr;
};

TEST_F(Devices, TensorsLieWhereTheThreadWorksOrWhereTheyAreAsked) {
  const size_t on_cpu = memory_stats().live;
  {
    const Tensor asked = Tensor::zeros({3}, DType::float32, Device::cuda);
    EXPECT_EQ(asked.device(), Device::cuda);
    EXPECT_EQ(asked.select(0, 1).device(), Device::cuda);
    const DeviceScope scope(Device::cuda);
    const Tensor by_scope = Tensor::empty({5}, DType::float64);
    EXPECT_EQ(by_scope.device(), Device::cuda);
    EXPECT_EQ(library_.live, 3 * sizeof(float) + 5 * sizeof(double));
    EXPECT_EQ(memory_stats().live, on_cpu);
  }
  EXPECT_EQ(library_.live, 0u);
  EXPECT_EQ(running_on, Device::cpu);
}

TEST_F(Devices, TheMemoryOfAnotherDeviceIsRefused) {
  const Tensor there = Tensor::zeros({3}, DType::float32, Device::cuda), here = Tensor::zeros({3}, DType::float32);
  EXPECT_NO_THROW(here.data<float>());
  EXPECT_THROW(there.data<float>(), UnsupportedError);
  EXPECT_NE(there.address(), nullptr);
  const DeviceScope scope(Device::cuda);
  EXPECT_NO_THROW(there.raw());
  EXPECT_THROW(here.raw(), UnsupportedError);
}

TEST(NoDevice, SaysWhy) {
  DeviceLibrary* const before = find_device(Device::cuda);
  register_device(Device::cuda, nullptr);
  EXPECT_NE(why_no_device(Device::cuda), "");
  EXPECT_EQ(why_no_device(Device::cpu), "");
  EXPECT_THROW(Tensor::empty({2}, DType::float32, Device::cuda), UnsupportedError);
  register_device(Device::cuda, before);
}

}  // namespace
}  // namespace dl
