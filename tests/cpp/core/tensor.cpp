#include "core/tensor.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/allocator.h"

namespace dl {
namespace {

// 0, 1, 2 … in row-major order.
Tensor counted(const Dims& shape) {
  Tensor t = Tensor::empty(shape, DType::float32);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(i);
  return t;
}

float at(const Tensor& t, const Dims& index) {
  int64_t offset = 0;
  for (int i = 0; i < index.size(); ++i) offset += index[i] * t.strides()[i];
  return t.data<float>()[offset];
}

// The elements in row-major order of the view.
std::vector<float> values(const Tensor& t) {
  std::vector<float> out;
  Dims index(t.ndim(), 0);
  for (int64_t i = 0; i < t.numel(); ++i) {
    out.push_back(at(t, index));
    for (int d = t.ndim() - 1; d >= 0 && ++index[d] == t.shape()[d]; --d) index[d] = 0;
  }
  return out;
}

std::string message(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::exception& e) { return e.what(); }
  return "nothing was thrown";
}

TEST(Dims, InsertEraseCompare) {
  Dims d{2, 3, 4};
  d.insert(1, 7);
  EXPECT_EQ(d, (Dims{2, 7, 3, 4}));
  d.erase(0);
  EXPECT_EQ(d, (Dims{7, 3, 4}));
  EXPECT_NE(d, (Dims{7, 3}));
  EXPECT_EQ(cat(Dims{}, Dims{4}, Dims{2, 3}), "()(4,)(2, 3)");
  EXPECT_THROW((Dims{1, 1, 1, 1, 1, 1, 1, 1, 1}), ValueError);
}

TEST(Shapes, CountsAreChecked) {
  EXPECT_EQ(checked_numel({2, 3}, DType::float32, "op"), 6);
  EXPECT_EQ(checked_numel({}, DType::float32, "op"), 1);
  EXPECT_EQ(checked_numel({int64_t{1} << 62, 0, int64_t{1} << 62}, DType::float32, "op"), 0);
  EXPECT_EQ(message([] { checked_numel({2, -1}, DType::float32, "op"); }),
            "[op] sizes must not be negative, got shape (2, -1)");
  EXPECT_THROW(checked_numel({int64_t{1} << 31, int64_t{1} << 31}, DType::float32, "op"), MemoryError);
  EXPECT_EQ(checked_numel({int64_t{1} << 40}, DType::uint8, "op"), int64_t{1} << 40);
}

TEST(Shapes, Broadcast) {
  EXPECT_EQ(broadcast_shapes({3, 1}, {4}, "op"), (Dims{3, 4}));
  EXPECT_EQ(broadcast_shapes({}, {2, 0}, "op"), (Dims{2, 0}));
  EXPECT_EQ(broadcast_shapes({1}, {0}, "op"), (Dims{0}));
  EXPECT_EQ(message([] { broadcast_shapes({2, 3}, {4, 3}, "add"); }),
            "[add] shapes (2, 3) and (4, 3) do not broadcast: sizes along dimension -2 are 2 and 4");
}

TEST(Shapes, Axes) {
  EXPECT_EQ(normalize_axis(-1, 3, {1, 2, 3}, "op"), 2);
  EXPECT_EQ(message([] { normalize_axis(3, 3, {1, 2, 3}, "op"); }), "[op] axis 3 is out of range for shape (1, 2, 3)");
  EXPECT_THROW(normalize_axis(0, 0, {}, "op"), IndexError);
}

TEST(Tensor, ViewsShareTheMemory) {
  const Tensor t = counted({2, 3});
  EXPECT_EQ(values(t.transpose(0, 1)), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values(t.permute({-1, 0})), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values(t.select(1, -1)), (std::vector<float>{2, 5}));
  EXPECT_EQ(values(t.slice(1, 2, -1, -2)), (std::vector<float>{2, 0, 5, 3}));
  EXPECT_EQ(values(t.slice(0, 1, 1, 1)), std::vector<float>{});
  EXPECT_EQ(values(t.slice(1, 1, 2, 1).expand({2, 2, 3})), (std::vector<float>{1, 1, 1, 4, 4, 4, 1, 1, 1, 4, 4, 4}));
  EXPECT_TRUE(t.transpose(0, 1).shares_storage(t));
  EXPECT_FALSE(t.transpose(0, 1).is_contiguous());
  EXPECT_TRUE(t.unsqueeze(0).squeeze(0).is_contiguous());
  EXPECT_EQ(t.unsqueeze(-1).shape(), (Dims{2, 3, 1}));
}

TEST(Tensor, ReshapeIsAViewWhereStridesAllowIt) {
  const Tensor t = counted({4, 6});
  EXPECT_EQ(values(t.view_as_shape({2, -1})), values(t));
  const Tensor columns = t.slice(1, 0, 6, 2);  // (4, 3) with strides (6, 2)
  const Tensor flat = columns.view_as_shape({12});
  ASSERT_TRUE(flat) << "rows of even steps that follow each other evenly are one run";
  EXPECT_EQ(values(flat), values(columns));
  EXPECT_FALSE(t.transpose(0, 1).view_as_shape({24}));
  EXPECT_FALSE(t.slice(1, 0, 5, 1).view_as_shape({20}));
  const Tensor split = t.transpose(0, 1).view_as_shape({2, 3, 4});
  ASSERT_TRUE(split);
  EXPECT_EQ(values(split), values(t.transpose(0, 1)));
  EXPECT_EQ(counted({}).view_as_shape({1, 1}).shape(), (Dims{1, 1}));
  EXPECT_EQ(Tensor::empty({0, 3}, DType::float32).view_as_shape({3, 0}).shape(), (Dims{3, 0}));
}

TEST(Tensor, ReshapeErrors) {
  const Tensor t = counted({2, 3});
  EXPECT_EQ(message([&] { t.view_as_shape({4}); }), "[reshape] shape (2, 3) has 6 elements, the target (4,) has 4");
  EXPECT_EQ(message([&] { t.view_as_shape({-1, -1}); }), "[reshape] only one size may be -1, got (-1, -1)");
  EXPECT_EQ(message([&] { t.view_as_shape({-1, 4}); }), "[reshape] cannot infer the -1 of (-1, 4) from shape (2, 3)");
  EXPECT_EQ(message([&] { t.view_as_shape({-2, 3}); }), "[reshape] sizes must not be negative, got (-2, 3)");
  EXPECT_THROW(t.view_as_shape({int64_t{1} << 40, int64_t{1} << 40}), ValueError);
}

TEST(Tensor, BadViewsAreErrors) {
  const Tensor t = counted({2, 3});
  EXPECT_THROW(t.select(0, 2), IndexError);
  EXPECT_THROW(t.select(2, 0), IndexError);
  EXPECT_THROW(t.slice(1, 0, 4, 1), IndexError);
  EXPECT_THROW(t.slice(1, 0, 2, 0), ValueError);
  EXPECT_THROW(t.permute({0, 0}), ValueError);
  EXPECT_THROW(t.permute({0}), ValueError);
  EXPECT_THROW(t.expand({2, 4}), ValueError);
  EXPECT_THROW(t.expand({3}), ValueError);
  EXPECT_THROW(t.unsqueeze(3), IndexError);
  EXPECT_THROW(t.data<double>(), TypeError);
}

TEST(Tensor, TheLastViewFreesTheStorage) {
  const size_t before = memory_stats().live;
  Tensor view;
  {
    const Tensor t = Tensor::zeros({1000}, DType::float64);
    view = t.slice(0, 0, 2, 1);
  }
  EXPECT_GT(memory_stats().live, before);
  view = Tensor();
  EXPECT_EQ(memory_stats().live, before);
  EXPECT_FALSE(view);
}

TEST(Tensor, ForeignMemoryIsGivenBackOnce) {
  int released = 0;
  float data[4] = {1, 2, 3, 4};
  {
    auto storage = std::make_shared<Storage>(data, sizeof data, false, [&] { ++released; });
    const Tensor t = Tensor::from_storage(std::move(storage), 1, {3}, {1}, DType::float32);
    const Tensor view = t.select(0, 0);
    EXPECT_EQ(values(t), (std::vector<float>{2, 3, 4}));
    EXPECT_FALSE(view.storage()->writable);
  }
  EXPECT_EQ(released, 1);
}

TEST(Tensor, EmptyTensorsTakeNoMemory) {
  const size_t before = memory_stats().live;
  const Tensor t = Tensor::empty({3, 0}, DType::float32);
  EXPECT_EQ(memory_stats().live, before);
  EXPECT_EQ(t.numel(), 0);
  EXPECT_TRUE(t.is_contiguous());
}

}  // namespace
}  // namespace dl
