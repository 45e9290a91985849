#!/usr/bin/env bash
# tools/sanitize.sh address   AddressSanitizer and UBSan: the C++ tests, then the opcases through the Python extension
# tools/sanitize.sh thread    ThreadSanitizer: pool, allocator and the parallel kernels, by the C++ tests
# Further arguments go to CMake.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?address or thread}
shift
build=build/$kind
python=${PYTHON:-python3}

case $kind in
  address)
    options=(-DDLCORE_SANITIZE=address,undefined -DDLCORE_PYTHON=ON "-DPython_EXECUTABLE=$(command -v "$python")"
             "-Dpybind11_DIR=$("$python" -m pybind11 --cmakedir)")
    ;;
  # Blocks and threads are the same for every instruction set.
  thread) options=(-DDLCORE_SANITIZE=thread -DDLCORE_PYTHON=OFF -DDLCORE_BASELINE_ONLY=ON) ;;
  *) echo "unknown sanitizer '$kind': address or thread" >&2; exit 2 ;;
esac

# -O1 keeps the vector code and the reports readable; frame pointers come from DLCORE_SANITIZE.
cmake -S . -B "$build" -DDLCORE_TESTS=ON -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 "${options[@]}" "$@"
cmake --build "$build" --parallel "$(nproc)"

# The tests ask for more memory than there is, on purpose, and fork.
export UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=allocator_may_return_null=1 TSAN_OPTIONS=die_after_fork=0:allocator_may_return_null=1
# ThreadSanitizer's own bookkeeping of threads does not survive a fork.
filter='*'
[ "$kind" != thread ] || filter='-*Fork*'
"$build/tests/cpp/core_tests" --gtest_brief=1 --gtest_filter="$filter"
"$build/tests/cpp/kernel_tests" --gtest_brief=1 > "$build/kernel_tests.log" 2>&1 &
kernel_tests=$!

if [ "$kind" = address ]; then
  # A copy of the package beside the instrumented extension; the interpreter itself is not instrumented, so the runtime
  # comes first by LD_PRELOAD, and its own allocations at exit are no leaks of ours. Differences of outputs call the same
  # kernels many times; the gradients are computed by the tests beside them as well.
  rm -rf "$build/package"
  mkdir -p "$build/package"
  cp -r python/dlcore "$build/package/"
  rm -f "$build"/package/dlcore/_C*.so
  cmake --install "$build" --prefix "$build/package" --component Unspecified > /dev/null
  LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so.6)" ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 \
    PYTHONPATH=$build/package "$python" -m pytest -q -p no:cacheprovider -k "not against_differences" \
    tests/ops/test_values.py tests/ops/test_layouts.py tests/ops/test_errors.py tests/ops/test_dtypes.py \
    tests/ops/test_gradients.py tests/test_interchange.py
fi
wait "$kernel_tests" || { cat "$build/kernel_tests.log"; exit 1; }
