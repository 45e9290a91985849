#!/usr/bin/env bash
# Builds the modules whose device "cuda" runs the CUDA kernels on the CPU, and runs tests/cuda on them: `fast` for values,
# `checked` for every access of every kernel. Further arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/emulated
python=${PYTHON:-python3}

cmake -S . -B "$build" -DDLCORE_CUDA_EMULATED=ON "-DPython_EXECUTABLE=$(command -v "$python")" \
  "-Dpybind11_DIR=$("$python" -m pybind11 --cmakedir)"
cmake --build "$build" --parallel "$(nproc)" --target _C_cuda_fast _C_cuda_checked

# A kernel's fault is raised by its own operation.
export DLCORE_CUDA_SYNC=1
for kind in fast checked; do
  cmake --install "$build" --prefix "$build/$kind" --component "cuda_$kind" > /dev/null
  PYTHONPATH=$build/$kind DLCORE_CUDA_BUILD=$kind "$python" -m pytest tests/cuda --ignore tests/cuda/test_emulator.py "$@"
done
# Another order of threads shows other missing barriers.
PYTHONPATH=$build/checked DLCORE_CUDA_BUILD=checked DLCORE_EMULATOR_ORDER=random "$python" -m pytest tests/cuda/test_opcases.py -k test_values "$@"
