// Every version of the product against the reference: sizes around the register tiles, all transposes, gaps between
// rows, batches, bias, activation, accumulation, and the same bits for any number of threads.
#include "kernels/matmul/matmul.h"

#include <algorithm>

#include "kernel_test.h"

namespace dl::test {
namespace {

struct Shape { int64_t M, N, K; };

// One product with its memory. Rows of every operand have a gap after them, C's must stay as it was.
template <class In, class Out> struct Problem {
  static constexpr int64_t kGap = 3;
  MatmulArgs<In, Out> args{};
  int64_t batch;
  GuardedBuffer<In> a, b;
  GuardedBuffer<Out> c, pre, residual;
  GuardedBuffer<matmul_sum_t<Out>> bias, bias_m, workspace;

  Problem(Shape s, bool a_turned, bool b_turned, int64_t items = 1, int misalign = 1)
      : batch(items),
        a(items * (a_turned ? s.K * (s.M + kGap) : s.M * (s.K + kGap)), misalign),
        b(items * (b_turned ? s.N * (s.K + kGap) : s.K * (s.N + kGap)), misalign),
        c(items * s.M * (s.N + kGap), misalign),
        pre(c.size(), misalign),
        residual(c.size(), misalign),
        bias(s.N, misalign),
        bias_m(s.M, misalign),
        workspace(matmul_workspace<Out>(s.M, s.N, s.K, items)) {
    args.a = a.data(), args.b = b.data(), args.c = c.data(), args.workspace = workspace.data();
    args.M = s.M, args.N = s.N, args.K = s.K;
    args.a_row = a_turned ? 1 : s.K + kGap, args.a_col = a_turned ? s.M + kGap : 1;
    args.b_row = b_turned ? 1 : s.N + kGap, args.b_col = b_turned ? s.K + kGap : 1;
    args.c_row = s.N + kGap;
    if (items > 1) {
      args.batch_dims = 1;
      args.batch[0] = items;
      args.a_batch[0] = a.size() / items, args.b_batch[0] = b.size() / items, args.c_batch[0] = c.size() / items;
    }
  }

  // c and pre start out as 7: to be accumulated on, or left as it is between the rows.
  void run(matmul_fn<In, Out> kernel) {
    c.fill(7);
    pre.fill(7);
    kernel(args);
  }

  void randomise() {
    a.randomise(-1, 1, 1);
    b.randomise(-1, 1, 2);
    bias.randomise(-1, 1, 3);
    residual.randomise(-1, 1, 5);
    bias_m.randomise(-1, 1, 4);
  }

  // Sums of small integers are exact in any order.
  void fill_whole() {
    uint32_t state = 1;
    const double low = std::is_unsigned_v<In> ? 0 : -8;
    const auto next = [&] { return static_cast<double>((state = state * 1664525u + 1013904223u) >> 28) + low; };
    for (In& v : a) v = from_double<In>(next());
    for (In& v : b) v = from_double<In>(next());
    for (auto& v : bias) v = from_double<matmul_sum_t<Out>>(next());
    for (auto& v : bias_m) v = from_double<matmul_sum_t<Out>>(next());
  }

  // What the reference makes of the same arguments, in `expected` (and `expected_pre`, where asked for).
  void run_reference(matmul_fn<In, Out> reference, GuardedBuffer<Out>& expected, GuardedBuffer<Out>& expected_pre) {
    MatmulArgs<In, Out> r = args;
    expected.fill(7);
    expected_pre.fill(7);
    r.c = expected.data();
    if (r.pre) r.pre = expected_pre.data();
    reference(r);
  }

  // For randomise()d operands: a bound of sum |a b|, times how much longer than 8 the sum is (4 units up to there).
  double scale() const { return static_cast<double>(args.K) * std::max(1.0, static_cast<double>(args.K) / 8) + 1; }
};

std::vector<Shape> shapes() {
  return {{1, 1, 1},      {1, 17, 3},   {2, 3, 70},   {5, 8, 1},    {6, 16, 9},   {7, 33, 17}, {13, 31, 5},
          {14, 32, 16},   {15, 65, 33}, {8, 12, 130}, {30, 4, 131}, {9, 130, 70}, {64, 1, 65}, {1, 100, 67},
          {61, 150, 300}, {17, 5, 64},  {3, 1, 64},   {1, 200, 19}, {2, 803, 26}};
}

// Large enough for several blocks: shared panels of B, several steps along K, a K cut in pieces.
std::vector<Shape> large_shapes() {
  return {{350, 70, 300}, {400, 130, 270}, {3, 5, 20000}, {190, 16, 16500}, {40, 700, 129}, {170, 40, 70}};
}

template <class In, class Out> void compare_shapes(const char* name) {
  using Fn = matmul_fn<In, Out>;
  const Fn reference = find_version<Fn>(name, Target::reference);
  for (const Shape s : shapes())
    for (int turned = 0; turned < 4; ++turned) {
      SCOPED_TRACE(::testing::Message() << s.M << "x" << s.N << "x" << s.K << " turned " << turned);
      Problem<In, Out> p(s, turned & 1, turned & 2), whole(s, turned & 1, turned & 2);
      GuardedBuffer<Out> expected(p.c.size()), exact(p.c.size()), unused(p.c.size());
      whole.fill_whole();
      whole.run_reference(reference, exact, unused);
      p.randomise();
      if (!std::is_integral_v<In>) p.run_reference(reference, expected, unused);
      for_each_fast_version<Fn>(name, [&](Fn kernel) {
        whole.run(kernel);
        expect_same(whole.c, exact);
        if (std::is_integral_v<In>) return;
        p.run(kernel);
        expect_close(p.c, expected, 4, [&](int64_t) { return p.scale(); });
      });
    }
}

TEST(Matmul, Float32) { compare_shapes<float, float>("matmul/float32"); }
TEST(Matmul, Bfloat16) { compare_shapes<bfloat16, bfloat16>("matmul/bfloat16"); }
TEST(Matmul, Float64) { compare_shapes<double, double>("matmul/float64"); }
TEST(Matmul, Int64) { compare_shapes<int64_t, int64_t>("matmul/int64"); }
TEST(Matmul, Int32) { compare_shapes<int32_t, int32_t>("matmul/int32"); }
TEST(Matmul, Uint8) { compare_shapes<uint8_t, uint8_t>("matmul/uint8"); }

template <class In, class Out> void compare_large_shapes(const char* name) {
  using Fn = matmul_fn<In, Out>;
  const Fn reference = find_version<Fn>(name, Target::reference);
  for (const Shape s : large_shapes())
    for (int turned = 0; turned < 4; ++turned) {
      SCOPED_TRACE(::testing::Message() << s.M << "x" << s.N << "x" << s.K << " turned " << turned);
      Problem<In, Out> p(s, turned & 1, turned & 2), whole(s, turned & 1, turned & 2);
      GuardedBuffer<Out> expected(p.c.size()), unused(p.c.size()), first(p.c.size());
      p.randomise();
      whole.fill_whole();
      whole.run_reference(reference, expected, unused);
      for_each_fast_version<Fn>(name, [&](Fn kernel) {
        whole.run(kernel);
        expect_same(whole.c, expected);
        const int threads = num_threads();
        p.run(kernel);
        first.copy_from(p.c);
        set_num_threads(threads == 1 ? 5 : 2);
        p.run(kernel);
        expect_same(p.c, first);
        set_num_threads(threads);
      });
    }
}

TEST(Matmul, LargeShapesAndTheirBits) { compare_large_shapes<float, float>("matmul/float32"); }
TEST(Matmul, LargeShapesAndTheirBitsBfloat16) { compare_large_shapes<bfloat16, bfloat16>("matmul/bfloat16"); }

template <class In, class Out> void compare_epilogues(const char* name) {
  using Fn = matmul_fn<In, Out>;
  const Fn reference = find_version<Fn>(name, Target::reference);
  for (const Shape s : {Shape{5, 35, 20}, Shape{3, 5, 90}, Shape{20, 2, 90}, Shape{17, 1, 8}, Shape{30, 33, 270},
                        Shape{3, 4, 0}, Shape{2, 2, 16500}, Shape{2, 210, 9}})
    for (auto activation :
         {MatmulActivation::none, MatmulActivation::relu, MatmulActivation::gelu, MatmulActivation::gelu_tanh})
      for (int options = 0; options < 32; options += s.K > 1000 ? 5 : 1) {
        SCOPED_TRACE(::testing::Message() << s.M << "x" << s.N << "x" << s.K << " activation "
                                          << static_cast<int>(activation) << " options " << options);
        Problem<In, Out> p(s, false, options % 3 == 0);
        p.randomise();
        p.args.activation = activation;
        p.args.bias = options & 1 ? p.bias.data() : nullptr;
        p.args.bias_m = options & 2 ? p.bias_m.data() : nullptr;
        p.args.pre = options & 4 ? p.pre.data() : nullptr;
        p.args.accumulate = options & 8;
        p.args.residual = options & 16 ? p.residual.data() : nullptr;
        GuardedBuffer<Out> expected(p.c.size()), expected_pre(p.c.size());
        p.run_reference(reference, expected, expected_pre);
        const auto scale = [&](int64_t) { return p.scale() + 9; };
        for_each_fast_version<Fn>(name, [&](Fn kernel) {
          p.run(kernel);
          expect_close(p.c, expected, 8, scale);
          expect_close(p.pre, expected_pre, 8, scale);
        });
      }
}

TEST(Matmul, Epilogue) { compare_epilogues<float, float>("matmul/float32"); }
TEST(Matmul, EpilogueBfloat16) { compare_epilogues<bfloat16, bfloat16>("matmul/bfloat16"); }
TEST(Matmul, EpilogueFloat64) { compare_epilogues<double, double>("matmul/float64"); }

// Packed beforehand, b changes where it is read from and nothing else; where it is not shared it is not read at all.
template <class In> void same_from_packed(const std::string& type) {
  compared_kernels().insert("matmul_pack/" + type);
  for (const Shape& s : {Shape{200, 150, 130}, {512, 100, 333}, {170, 4200, 64}, {300, 70, 9000}, {40, 60, 50}})
    for (bool b_turned : {false, true})
      for (int t = static_cast<int>(Target::baseline); t < static_cast<int>(Target::cuda); ++t) {
        const auto pack = find_version<matmul_pack_fn<In, In>>("matmul_pack/" + type, Target(t));
        const auto kernel = find_version<matmul_fn<In, In>>("matmul/" + type, Target(t));
        if (!pack || !cpu_supports(Target(t))) continue;
        SCOPED_TRACE(std::string(target_name(Target(t))) + " " + std::to_string(s.M) + " x " + std::to_string(s.N) +
                     " x " + std::to_string(s.K));
        Problem<In, In> plain(s, false, b_turned), p(s, false, b_turned);
        plain.randomise();
        p.randomise();
        plain.run(kernel);
        GuardedBuffer<matmul_sum_t<In>> packed(matmul_packed(s.N, s.K));
        pack(p.args, packed.data());
        p.args.packed = packed.data();
        p.run(kernel);
        expect_same(p.c, plain.c);
      }
}

TEST(Matmul, Packed) {
  same_from_packed<float>("float32");
  same_from_packed<double>("float64");
  same_from_packed<bfloat16>("bfloat16");
}

TEST(Matmul, BatchesAndBroadcasts) {
  using Fn = matmul_fn<float, float>;
  for_each_version<Fn>("matmul/float32", [](Fn kernel, Fn reference) {
    for (const Shape s : {Shape{5, 9, 20}, Shape{1, 40, 70}, Shape{20, 3, 66}, Shape{340, 20, 30}, Shape{64, 64, 64}})
      for (int broadcast = 0; broadcast < 3; ++broadcast)
        for (bool b_turned : {false, true}) {
          SCOPED_TRACE(::testing::Message() << s.M << "x" << s.N << "x" << s.K << " broadcast " << broadcast);
          Problem<float, float> p(s, false, b_turned, 6);
          p.fill_whole();
          // Six items as 2 x 3; a or b is the same along one of the two.
          auto& q = p.args;
          q.batch_dims = 2;
          q.batch[0] = 2, q.batch[1] = 3;
          const int64_t a = q.a_batch[0], b = q.b_batch[0], c = q.c_batch[0];
          q.a_batch[0] = 3 * a, q.a_batch[1] = broadcast == 1 ? 0 : a;
          q.b_batch[0] = broadcast == 2 ? 0 : 3 * b, q.b_batch[1] = b;
          q.c_batch[0] = 3 * c, q.c_batch[1] = c;
          GuardedBuffer<float> expected(p.c.size()), expected_pre(p.c.size());
          p.run(kernel);
          p.run_reference(reference, expected, expected_pre);
          expect_same(p.c, expected);
        }
  });
}

TEST(Matmul, InfinitiesAndNaN) {
  using Fn = matmul_fn<float, float>;
  const float inf = std::numeric_limits<float>::infinity();
  for_each_version<Fn>("matmul/float32", [&](Fn kernel, Fn reference) {
    for (const Shape s : {Shape{5, 35, 20}, Shape{3, 5, 90}, Shape{30, 3, 90}, Shape{17, 1, 8}})
      for (float special : {inf, -inf, std::numeric_limits<float>::quiet_NaN()}) {
        SCOPED_TRACE(::testing::Message() << s.M << "x" << s.N << "x" << s.K << " with " << special);
        Problem<float, float> p(s, false, false);
        p.fill_whole();
        // The last term of row 1; it meets a zero in column 0.
        p.a[p.args.a_row + s.K - 1] = special;
        p.b[(s.K - 1) * p.args.b_row] = 0;
        GuardedBuffer<float> expected(p.c.size()), expected_pre(p.c.size());
        p.run(kernel);
        p.run_reference(reference, expected, expected_pre);
        expect_close(p.c, expected, 0);
      }
  });
}

// Strides of zero and backwards.
TEST(Matmul, OddStrides) {
  using Fn = matmul_fn<float, float>;
  for_each_version<Fn>("matmul/float32", [&](Fn kernel, Fn reference) {
    for (const Shape s : {Shape{5, 35, 20}, Shape{3, 5, 90}, Shape{30, 3, 90}, Shape{17, 1, 8}, Shape{60, 40, 33}}) {
      Problem<float, float> p(s, false, true);
      p.fill_whole();
      GuardedBuffer<float> expected(p.c.size()), expected_pre(p.c.size());
      const auto compare = [&] {
        p.run(kernel);
        p.run_reference(reference, expected, expected_pre);
        expect_same(p.c, expected);
      };
      p.args.b_col = 0;
      compare();
      p.args.a_col = 0, p.args.a_row = 2;
      compare();
      p.args.a_row = -1, p.args.a_col = 1, p.args.a = p.a.data() + s.M - 1;
      compare();
    }
  });
}

}  // namespace
}  // namespace dl::test
