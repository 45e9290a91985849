// Every version of the mask kernels against the reference: sizes around vectors and blocks, masks that hold nowhere,
// everywhere, now and then and in runs, and true bytes other than 1.
#include "kernels/mask/mask.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

std::vector<int64_t> sizes() {
  std::vector<int64_t> all = sizes_around_simd();
  for (int64_t n : {kMaskBlock - 1, kMaskBlock, kMaskBlock + 1, 2 * kMaskBlock + 17}) all.push_back(n);
  return all;
}

constexpr int kKinds = 5;
void fill_mask(GuardedBuffer<uint8_t>& mask, int kind) {
  uint32_t state = 1;
  for (int64_t p = 0; p < mask.size(); ++p) {
    state = state * 1664525u + 1013904223u;
    const uint8_t values[kKinds] = {0, 1, static_cast<uint8_t>(state >> 31), static_cast<uint8_t>(state >> 27 == 0),
                                    static_cast<uint8_t>(p / 40 % 2 ? 255 : 0)};
    mask[p] = values[kind];
  }
}

struct Counted {
  std::vector<int64_t> starts;
  int64_t total = 0;

  explicit Counted(const GuardedBuffer<uint8_t>& mask) {
    for (int64_t p = 0; p < mask.size(); ++p) {
      if (p % kMaskBlock == 0) starts.push_back(total);
      total += mask[p] != 0;
    }
  }
};

// Calls body(mask, its counts) for every size and kind.
template <class Body> void for_each_mask(const Body& body) {
  for (int64_t n : sizes())
    for (int kind = 0; kind < kKinds; ++kind) {
      GuardedBuffer<uint8_t> mask(n, 1);
      fill_mask(mask, kind);
      body(mask, Counted(mask));
    }
}

TEST(Mask, Count) {
  for_each_version<mask_count_fn>("mask_count", [](mask_count_fn kernel, mask_count_fn reference) {
    for_each_mask([&](const GuardedBuffer<uint8_t>& mask, const Counted&) {
      const int64_t blocks = (mask.size() + kMaskBlock - 1) / kMaskBlock;
      GuardedBuffer<int64_t> counts(blocks), expected(blocks);
      kernel(mask.data(), mask.size(), counts.data());
      reference(mask.data(), mask.size(), expected.data());
      expect_same(counts, expected);
    });
  });
}

TEST(Mask, Places) {
  for_each_version<mask_places_fn>("mask_places", [](mask_places_fn kernel, mask_places_fn reference) {
    for_each_mask([&](const GuardedBuffer<uint8_t>& mask, const Counted& counted) {
      const int64_t n = mask.size();
      const int64_t shapes[][4] = {{n, 0, 0, 0}, {(n + 4) / 5, 5, 0, 0}, {(n + 20) / 21, 7, 3, 1}};
      for (int ndim : {1, 2, 4}) {
        const int64_t* shape = shapes[ndim / 2];
        GuardedBuffer<int64_t> y(counted.total * ndim, 1), expected(counted.total * ndim);
        kernel(mask.data(), n, counted.starts.data(), shape, ndim, y.data());
        reference(mask.data(), n, counted.starts.data(), shape, ndim, expected.data());
        expect_same(y, expected);
      }
    });
  });
}

// Rows of an element, and of fewer and more bytes than a vector; of one length where the mask spans blocks.
std::vector<int64_t> rows_for(const GuardedBuffer<uint8_t>& mask) {
  return mask.size() < kMaskBlock / 2 ? std::vector<int64_t>{1, 3, 17} : std::vector<int64_t>{mask.size() % 2 ? 1 : 3};
}

template <class T> void number(GuardedBuffer<T>& x, uint32_t state) {
  for (T& v : x) v = static_cast<T>((state = state * 1664525u + 1013904223u) >> 8);
}

template <class T> void check_read(const char* name) {
  using Fn = mask_read_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for_each_mask([&](const GuardedBuffer<uint8_t>& mask, const Counted& counted) {
      for (int64_t row : rows_for(mask)) {
        GuardedBuffer<T> x(mask.size() * row, 1), y(counted.total * row, 1), expected(counted.total * row);
        number(x, 1);
        kernel(x.data(), mask.data(), mask.size(), counted.starts.data(), row, y.data());
        reference(x.data(), mask.data(), mask.size(), counted.starts.data(), row, expected.data());
        expect_same(y, expected);
      }
    });
  });
}

template <class T> void check_write(const char* name) {
  using Fn = mask_write_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for_each_mask([&](const GuardedBuffer<uint8_t>& mask, const Counted& counted) {
      for (int64_t row : rows_for(mask))
        for (bool each : {true, false}) {  // a row of values for each place, or one for all
          GuardedBuffer<T> x(mask.size() * row, 1), y((each ? counted.total : 1) * row, 1), expected(x.size());
          number(x, 1);
          number(y, 2);
          expected.copy_from(x);
          kernel(x.data(), mask.data(), mask.size(), counted.starts.data(), row, y.data(), each ? row : 0);
          reference(expected.data(), mask.data(), mask.size(), counted.starts.data(), row, y.data(), each ? row : 0);
          expect_same(x, expected);
        }
    });
  });
}

TEST(Mask, Read) {
  check_read<uint8_t>("mask_read/1");
  check_read<uint16_t>("mask_read/2");
  check_read<uint32_t>("mask_read/4");
  check_read<uint64_t>("mask_read/8");
}

TEST(Mask, Write) {
  check_write<uint8_t>("mask_write/1");
  check_write<uint16_t>("mask_write/2");
  check_write<uint32_t>("mask_write/4");
  check_write<uint64_t>("mask_write/8");
}

}  // namespace
}  // namespace dl::test
