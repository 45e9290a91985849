#!/usr/bin/env bash
# The C++ tests for aarch64: compiled by Debian's cross compiler, run under qemu-user.
# Needs g++-aarch64-linux-gnu, qemu-user and libgtest-dev (for GoogleTest's sources). Arguments go to CMake.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/aarch64

cmake -S . -B "$build" -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake -DDLCORE_TESTS=ON -DDLCORE_PYTHON=OFF \
  -DDLCORE_GTEST_SOURCE=/usr/src/googletest "$@"
cmake --build "$build" --parallel "$(nproc)"
file -L "$build/tests/cpp/kernel_tests" | grep -q aarch64
# qemu-user does not survive the fork of a process with threads: its own locks stay locked in the child.
GTEST_FILTER='-*Fork*' ctest --test-dir "$build" --output-on-failure -R core_tests
ctest --test-dir "$build" --output-on-failure -R kernel_tests
