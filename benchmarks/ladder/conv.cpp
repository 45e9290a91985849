// The way to the shipped convolution, 3 x 3 with a border of one pixel: conv ROUNDS [IMAGES CHANNELS SIZE MADE]
// Small integers make all orders of summation agree, so the results must be the same.
#include "benchmarks/ladder/ladder.h"
#include "kernels/conv/simd.cpp"  // the shipped kernel itself, not a copy
#include "kernels/matmul/gemm.h"

namespace {

using Shape = dl::Conv2dShape;

// 1. The definition.
void naive(const Shape& s, const float* x, const float* w, float* y) {
  for (int64_t n = 0; n < s.N; ++n)
    for (int64_t o = 0; o < s.O; ++o)
      for (int64_t i = 0; i < s.H; ++i)
        for (int64_t j = 0; j < s.W; ++j) {
          double sum = 0;
          for (int64_t c = 0; c < s.C; ++c)
            for (int64_t p = 0; p < 3; ++p)
              for (int64_t q = 0; q < 3; ++q) {
                const int64_t h = i + p - 1, v = j + q - 1;
                if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
                sum += static_cast<double>(w[((o * s.C + c) * 3 + p) * 3 + q]) * x[((n * s.C + c) * s.H + h) * s.W + v];
              }
          y[((n * s.O + o) * s.H + i) * s.W + j] = static_cast<float>(sum);
        }
}

// 2. Rows inside: a weight meets a whole row of pixels, which the compiler vectorises, and the border is outside of the
// loop. Each multiply-add still loads and stores a sum: a vector a cycle, where the definition has an addition every
// four. Predicted: 2 x lanes, for the sums and the tests that are gone.
void rows(const Shape& s, const float* x, const float* w, float* y) {
  std::memset(y, 0, sizeof(float) * s.N * s.O * s.H * s.W);
  for (int64_t n = 0; n < s.N; ++n)
    for (int64_t o = 0; o < s.O; ++o)
      for (int64_t c = 0; c < s.C; ++c)
        for (int64_t i = 0; i < s.H; ++i)
          for (int64_t p = i == 0; p < 3 && i + p - 1 < s.H; ++p)
            for (int64_t q = 0; q < 3; ++q) {
              const float weight = w[((o * s.C + c) * 3 + p) * 3 + q];
              const float* from = x + ((n * s.C + c) * s.H + i + p - 1) * s.W + q - 1;
              float* to = y + ((n * s.O + o) * s.H + i) * s.W;
              const int64_t last = q < 2 ? s.W : s.W - 1;
              for (int64_t j = q == 0; j < last; ++j) to[j] += weight * from[j];
            }
}

// 3. Unfolded (im2col), the sum is a product of matrices, and the best one does it: its sums stay in registers, an
// element read serves many of them. Predicted: 3, as a tile of 14 x 2 vectors loads 16 for 28 multiply-adds instead of
// two and a store for each, less the time to write nine times the image and to read it back.
void unfolded(const Shape& s, const float* x, const float* w, float* y) {
  const int64_t pixels = s.H * s.W, K = s.C * 9;
  static std::vector<float> matrix;
  matrix.assign(static_cast<size_t>(K * pixels), 0.0f);  // the border stays 0
  static Floats workspace(dl::matmul_workspace<float>(s.O, pixels, K, 1));
  for (int64_t n = 0; n < s.N; ++n) {
    for (int64_t k = 0; k < K; ++k) {
      const int64_t down = k / 3 % 3 - 1, right = k % 3 - 1, first = right < 0, last = s.W - (right > 0);
      for (int64_t i = std::max<int64_t>(0, -down); i < std::min(s.H, s.H - down); ++i)
        std::memcpy(&matrix[k * pixels + i * s.W + first],
                    x + ((n * s.C + k / 9) * s.H + i + down) * s.W + first + right, sizeof(float) * (last - first));
    }
    dl::MatmulArgs<float, float> p{};
    p.a = w, p.b = matrix.data(), p.c = y + n * s.O * pixels;
    p.M = s.O, p.K = p.a_row = K, p.N = p.b_row = p.c_row = pixels;
    p.a_col = p.b_col = 1;
    p.workspace = workspace.data();
    dl::matmul(p);
  }
}

// 4. Panels of the unfolded image are made where they are used, 256 terms x 2 vectors, and stay in L1: the matrix never
// exists. Predicted: 1.5, as writing and reading it took about as long as half of the product.
void implicit(const Shape& s, const float* x, const float* w, float* y) {
  static Floats workspace(dl::conv2d_workspace(s));
  dl::implicit_gemm(dl::forward_gather(x, w, static_cast<const float*>(nullptr), y, workspace.data(), s));
}

// 5. Not even panels: tiles read the padded planes in place, where each tap is the plane shifted by a constant, and run
// across the ends of rows. Predicted: 1.1, the copies of nine values for each one that is read: few, as a panel serves
// all channels made.
void direct(const Shape& s, const float* x, const float* w, float* y) {
  static Floats workspace(dl::conv2d_workspace(s));
  const auto job = dl::forward_gather(x, w, static_cast<const float*>(nullptr), y, workspace.data(), s);
  const dl::DirectPlan plan = dl::direct_plan(job);
  if (plan.fits) dl::direct_conv(job, plan);
  else dl::implicit_gemm(job);  // rows so short that their ends would cost more
}

// 6. Shipped: the tile turned over. Its rows are pixels, read one number at a time, its vectors channels made, which
// the weights give without a ragged end. Predicted: 1.02 for rows of 56, 1.3 for rows of 14 and 7, where vectors of
// pixels are not full.
void shipped(const Shape& s, const float* x, const float* w, float* y) {
  static Floats workspace(dl::conv2d_workspace(s));
  const dl::Conv2dEpilogue<float> nothing{};
  dl::conv2d_forward<float>(x, w, nullptr, &nothing, y, workspace.data(), &s);
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments given(argc, argv, {{"images", 8}, {"channels", 64}, {"size", 56}, {"made", 64}});
  const int64_t N = given[0], C = given[1], size = given[2], O = given[3];
  const Shape s = {N, C, size, size, O, 3, 3, size, size, 1, 1, 1, 1, 1, 1, 1};
  Floats x(N * C * size * size), w(O * C * 9), y(N * O * size * size);
  x.fill([](int64_t i) { return static_cast<float>(i * 7 % 5) - 2; });
  w.fill([](int64_t i) { return static_cast<float>(i * 11 % 7) - 3; });
  const auto rung = [&](auto run) { return [&, run] { run(s, x.data(), w.data(), y.data()); }; };
  const int64_t inner = 3 * size - 2;  // taps that lie inside the image, over the pixels of a row
  return climb({"3 x 3 convolution",
                2.0 * static_cast<double>(N * O * C) * static_cast<double>(inner * inner),
                4.0 * static_cast<double>(x.size() + w.size() + y.size()),
                4 * (x.size() + w.size() + y.size()),
                {{y}},
                {{"naive", 0, rung(naive)},
                 {"rows", 2.0 * kLanes, rung(rows)},
                 {"unfolded, a product", 3, rung(unfolded)},
                 {"panels where they are used", 1.5, rung(implicit)},
                 {"planes in place", 1.1, rung(direct)},
                 {"shipped: rows of pixels", 1.02, rung(shipped)},
                 {"shipped, all cores", kAsTheLimits, rung(shipped), dl::available_cores()}}},
               given);
}
