// The one stream that everything runs on, and errors of launches. Host code.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>

namespace dl {
namespace cuda {

cudaStream_t stream();
// Raises (std::runtime_error) what is wrong with a launch; with DLCORE_CUDA_SYNC=1 waits for its end as well.
void after_launch(const char* op);
void check(cudaError_t error, const char* op);

void* allocate_scratch(size_t bytes);
void release_scratch(void* data, size_t bytes) noexcept;

}  // namespace cuda
}  // namespace dl
