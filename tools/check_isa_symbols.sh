#!/usr/bin/env bash
# Fails when a kernel object defines a symbol that the linker may share between instruction sets. Had the AVX-512 object
# a weak copy of, say, std::max, the linker could keep that one for every CPU. Built at -O0, where nothing is inlined away.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/symbols

cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DDLCORE_PYTHON=OFF "$@" > "$build.log" 2>&1 \
  || { cat "$build.log"; exit 1; }
# The reference is compiled for the plain architecture, as core is: sharing there is harmless.
targets=(dlcore_baseline dlcore_avx2 dlcore_avx512)
cmake --build "$build" --parallel "$(nproc)" --target "${targets[@]}" > "$build.log" 2>&1 || { tail -50 "$build.log"; exit 1; }

checked=0 bad=0
while IFS= read -r object; do
  checked=$((checked + 1))
  # The reference to the exception personality is the compiler's own and the same for every instruction set.
  shared=$(nm -C --defined-only --extern-only "$object" | grep -v 'DW\.ref\.__gxx_personality_v0' || true)
  if [ -n "$shared" ]; then
    echo "$object defines symbols with external linkage:"
    echo "$shared" | sed 's/^/    /'
    bad=$((bad + 1))
  fi
done < <(find "$build/CMakeFiles" -path '*dlcore_*.dir*' -name '*.o' -not -path '*dlcore_core*' -not -path '*dlcore_reference*' | sort)

[ "$checked" -gt 0 ] || { echo "no kernel objects were found"; exit 1; }
echo "$checked kernel objects checked, $bad with shared symbols"
[ "$bad" -eq 0 ]
