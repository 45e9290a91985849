# The CUDA device, optional by linking: its objects register a device and kernels, and nothing in cpp/ asks for them.
#
# DLCORE_CUDA: ON builds it with nvcc, AUTO where nvcc is found, OFF not: the default as long as no GPU has run these
# kernels, and so that a wheel is the same small one wherever it is built. DLCORE_CUDA_EMULATED: for tests; two more
# modules, whose device "cuda" runs the same .cu files on the CPU: `fast`, and `checked`, which looks at every access.

set(DLCORE_CUDA OFF CACHE STRING "Build the CUDA kernels: ON, OFF, or AUTO where nvcc is found")
option(DLCORE_CUDA_EMULATED "Build the modules that run the CUDA kernels on the CPU, for tests" OFF)

file(GLOB DLCORE_CUDA_KERNELS CONFIGURE_DEPENDS cuda/kernels/*.cu)
set(DLCORE_CUDA_OBJECTS "")

macro(dlcore_find_nvcc)
  if(NOT CMAKE_CUDA_COMPILER)
    file(GLOB toolkits /usr/local/cuda-*/bin)
    list(SORT toolkits COMPARE NATURAL ORDER DESCENDING)
    find_program(DLCORE_NVCC nvcc HINTS $ENV{CUDACXX} $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin ${toolkits})
    if(DLCORE_NVCC)
      set(CMAKE_CUDA_COMPILER ${DLCORE_NVCC})
    endif()
  endif()
endmacro()

macro(dlcore_add_cuda)
  if(NOT DLCORE_CUDA STREQUAL "OFF")
    dlcore_find_nvcc()
    if(NOT CMAKE_CUDA_COMPILER AND NOT DLCORE_CUDA STREQUAL "AUTO")
      message(FATAL_ERROR "DLCORE_CUDA=ON, but nvcc was not found: put it on the PATH, or set CUDACXX or CUDA_HOME")
    endif()
  endif()
  if(CMAKE_CUDA_COMPILER AND NOT DLCORE_CUDA STREQUAL "OFF")
    # sm_86, 89 and 100 take the PTX; the others are compiled.
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 120-real 80-virtual)
    endif()
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    find_package(CUDAToolkit REQUIRED)
    add_library(dlcore_cuda OBJECT ${DLCORE_CUDA_KERNELS} cuda/core/library.cpp)
    target_include_directories(dlcore_cuda PRIVATE cpp ${PROJECT_SOURCE_DIR} ${CUDAToolkit_INCLUDE_DIRS})
    target_compile_definitions(dlcore_cuda PRIVATE DL_TARGET=cuda)
    target_compile_options(dlcore_cuda PRIVATE
      $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -diag-suppress=186 -Xfatbin=-compress-all -lineinfo>)
    set_target_properties(dlcore_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static)
    set(DLCORE_CUDA_OBJECTS $<TARGET_OBJECTS:dlcore_cuda> CUDA::cudart_static)
  endif()
endmacro()

# dlcore_emulated_module(fast|checked, flags): a module _C in its own folder beside copies of nothing else.
function(dlcore_emulated_module name)
  if(CMAKE_CUDA_COMPILER_LOADED)
    message(FATAL_ERROR "DLCORE_CUDA_EMULATED compiles the CUDA kernels as C++: use another build folder than for DLCORE_CUDA")
  endif()
  set_source_files_properties(${DLCORE_CUDA_KERNELS} PROPERTIES LANGUAGE CXX)
  file(GLOB runtime_sources CONFIGURE_DEPENDS cuda/host/*.cpp)
  if(NOT name STREQUAL "checked")
    list(FILTER runtime_sources EXCLUDE REGEX "/checks\\.cpp$")
  endif()
  add_library(dlcore_emulator_${name} OBJECT ${runtime_sources} cuda/core/library.cpp)
  add_library(dlcore_emulated_kernels_${name} OBJECT ${DLCORE_CUDA_KERNELS})
  foreach(library dlcore_emulator_${name} dlcore_emulated_kernels_${name})
    target_include_directories(${library} PRIVATE cuda/host/include cpp ${PROJECT_SOURCE_DIR})
    target_compile_definitions(${library} PRIVATE DL_CUDA_EMULATED DL_TARGET=cuda)
  endforeach()
  target_compile_options(dlcore_emulated_kernels_${name} PRIVATE -x c++ -Wno-unknown-pragmas ${ARGN})
  pybind11_add_module(_C_cuda_${name} MODULE NO_EXTRAS $<TARGET_OBJECTS:dlcore_python> ${dlcore_objects}
    $<TARGET_OBJECTS:dlcore_emulator_${name}> $<TARGET_OBJECTS:dlcore_emulated_kernels_${name}>)
  set_target_properties(_C_cuda_${name} PROPERTIES OUTPUT_NAME _C
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/cuda_${name}/dlcore)
  target_link_libraries(_C_cuda_${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  install(TARGETS _C_cuda_${name} DESTINATION dlcore COMPONENT cuda_${name} EXCLUDE_FROM_ALL)
  install(DIRECTORY python/dlcore DESTINATION . COMPONENT cuda_${name} EXCLUDE_FROM_ALL FILES_MATCHING PATTERN "*.py")
endfunction()

macro(dlcore_add_emulated_modules)
  if(DLCORE_CUDA_EMULATED)
    dlcore_emulated_module(fast -O2)
    dlcore_emulated_module(checked -O1 -g1 -fsanitize=thread,alignment,bounds,shift)
  endif()
endmacro()
