# The CUDA library, opened by the core at run time: libcbackend_cuda by nvcc, and libcbackend_cuda_emulated by
# a C++ compiler from the same sources (cuda/emulate.h). Neither is part of an ordinary build: nvcc takes
# minutes.
file(GLOB cb_cuda_kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/cuda/*.cu)
set(cb_cuda_dir ${CMAKE_CURRENT_SOURCE_DIR}/cuda)
set(cb_cuda_host ${cb_cuda_dir}/host.cc ${cb_cuda_dir}/walk.cc ${cb_cuda_dir}/libraries.cc
    ${cb_cuda_dir}/gemm_library.cc ${cb_cuda_dir}/fft_library.cc
    ${cb_cuda_dir}/linalg_library.cc)

# what kernels compiled at run time include, as texts
set(cb_rtc_files ${cb_cuda_dir}/rtc.h ${cb_cuda_dir}/types.h ${cb_cuda_dir}/casts.h ${cb_cuda_dir}/complex.h
    ${cb_cuda_dir}/pack.h ${cb_cuda_dir}/rtc_arguments.h ${cb_cuda_dir}/rtc/math.h ${cb_cuda_dir}/rtc/stdint.h
    ${cb_cuda_dir}/rtc/string.h ${CMAKE_CURRENT_SOURCE_DIR}/include/vmath.h
    ${CMAKE_CURRENT_SOURCE_DIR}/include/vmath_libm.h ${CMAKE_CURRENT_SOURCE_DIR}/include/dtypes.def)
add_custom_command(
  OUTPUT ${cb_generated}/rtc_sources.h
  COMMAND ${CMAKE_COMMAND} -DOUT=${cb_generated}/rtc_sources.h "-DFILES=${cb_rtc_files}" -P ${cb_cuda_dir}/embed.cmake
  DEPENDS ${cb_cuda_dir}/embed.cmake ${cb_rtc_files}
  COMMENT "Generating rtc_sources.h"
  VERBATIM)

if(CB_CUDA_EMULATE)
  enable_language(CXX)
  set(cb_emulated_sources ${cb_cuda_kernels})
  set_source_files_properties(${cb_emulated_sources} PROPERTIES LANGUAGE CXX)
  add_library(cbackend_cuda_emulated MODULE ${cb_emulated_sources} ${cb_cuda_host} ${cb_cuda_dir}/emulate.cc
              ${cb_generated}/rtc_sources.h ${cb_cuda_dir}/emulate_memory.cc ${cb_cuda_dir}/emulate_api.cc ${CMAKE_CURRENT_SOURCE_DIR}/src/special.c)
  target_compile_definitions(cbackend_cuda_emulated PRIVATE CB_EMULATE=1 CB_VMATH_LIBM=1)
  # -x c++: g++ does not know .cu. No strict aliasing, as under nvcc.
  set(cb_emulated_flags -O1 -fvisibility=hidden -fno-strict-aliasing -Wall -Wextra -Wno-unknown-pragmas -Wno-psabi
      -Wno-unused-function -Wno-type-limits -Wno-bool-operation -Wno-int-in-bool-context)
  if(CB_WERROR)
    list(APPEND cb_emulated_flags -Werror)
  endif()
  target_compile_options(cbackend_cuda_emulated PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:${cb_emulated_flags};-std=gnu++17> $<$<COMPILE_LANGUAGE:C>:${cb_flags}>)
  set_property(SOURCE ${cb_emulated_sources} APPEND PROPERTY COMPILE_OPTIONS -xc++)
  # plain stand-ins for NVIDIA's libraries, in a folder to be named by FL_CUDA_LIBRARIES
  foreach(pair cublasLt.so.13 cusolver.so.12 cufft.so.12)
    string(REGEX MATCH "^[^.]*" name ${pair})
    add_library(standin_${name} MODULE ${cb_cuda_dir}/tests/standin_${name}.cc)
    target_compile_options(standin_${name} PRIVATE ${cb_emulated_flags} -std=gnu++17)
    target_include_directories(standin_${name} PRIVATE ${cb_includes})
    set_target_properties(standin_${name} PROPERTIES PREFIX "" OUTPUT_NAME lib${pair} SUFFIX ""
      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/standins)
    add_dependencies(cbackend_cuda_emulated standin_${name})
  endforeach()

  # in place of NCCL, for tests of several ranks
  add_library(nccl_stand_in MODULE EXCLUDE_FROM_ALL ${cb_cuda_dir}/tests/nccl_stand_in.c)
  set_target_properties(nccl_stand_in PROPERTIES C_VISIBILITY_PRESET default)
  target_compile_options(nccl_stand_in PRIVATE -O1 -Wall -Wextra -Werror)
  target_include_directories(cbackend_cuda_emulated PRIVATE ${cb_includes} ${cb_generated})
  target_link_libraries(cbackend_cuda_emulated PRIVATE Threads::Threads ${CMAKE_DL_LIBS})

  # in NVRTC's place, for tests
  add_library(stand_in_nvrtc MODULE ${cb_cuda_dir}/tests/stand_in_nvrtc.cc)
  target_compile_definitions(stand_in_nvrtc PRIVATE CB_STAND_IN_CXX="${CMAKE_CXX_COMPILER}"
                                                    CB_STAND_IN_INCLUDE="${cb_cuda_dir}")
  target_compile_options(stand_in_nvrtc PRIVATE ${cb_emulated_flags} -std=gnu++17)

  # tests of the emulator (kernels with one mistake each) and of the runtime over it
  foreach(name test_emulate test_runtime)
    add_executable(${name} EXCLUDE_FROM_ALL ${cb_cuda_dir}/tests/${name}.cc ${cb_cuda_dir}/emulate.cc
                   ${cb_cuda_dir}/emulate_memory.cc ${cb_cuda_dir}/emulate_api.cc ${cb_cuda_dir}/runtime.cu
                   ${cb_cuda_dir}/allocator.cu ${cb_cuda_dir}/graph.cu)
    target_compile_definitions(${name} PRIVATE CB_EMULATE=1)
    target_compile_options(${name} PRIVATE ${cb_emulated_flags} -std=gnu++17 -g)
    target_include_directories(${name} PRIVATE ${cb_includes})
    target_link_libraries(${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  endforeach()
endif()

if(CB_CUDA STREQUAL "AUTO" OR CB_CUDA)
  find_program(CB_NVCC nvcc HINTS /usr/local/cuda/bin)
  if(NOT CB_NVCC)
    if(NOT CB_CUDA STREQUAL "AUTO")
      message(FATAL_ERROR "\n  functorch-like: CB_CUDA=ON: expected nvcc, found none. "
                          "Install the CUDA toolkit (12.4 or later), or set -DCB_NVCC=/path/to/nvcc.")
    endif()
    message(STATUS "CUDA library: left out, nvcc was not found")
  else()
    set(CB_CUDA_ARCHITECTURES 80 90 CACHE STRING "GPU architectures to compile for; the last one as PTX too")
    set(cb_nvcc_flags -std=c++17 -O3 --fmad=true -Xcompiler=-fPIC,-fvisibility=hidden,-Wno-psabi -Xptxas=-v -I${CMAKE_CURRENT_SOURCE_DIR}/include -I${cb_generated}
        -I${CMAKE_CURRENT_SOURCE_DIR}/src --expt-relaxed-constexpr -Wno-deprecated-gpu-targets -diag-suppress=186) # 186: x < 0 of unsigned x
    if(CB_WERROR)
      list(APPEND cb_nvcc_flags -Werror all-warnings)
    endif()
    set(cb_last "")
    foreach(arch IN LISTS CB_CUDA_ARCHITECTURES)
      list(APPEND cb_nvcc_flags -gencode=arch=compute_${arch},code=sm_${arch})
      set(cb_last ${arch})
    endforeach()
    list(APPEND cb_nvcc_flags -gencode=arch=compute_${cb_last},code=compute_${cb_last})
    set(cb_cuda_objects "")
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/cuda)
    foreach(source IN LISTS cb_cuda_kernels cb_cuda_host)
      get_filename_component(name ${source} NAME)
      set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.o)
      # -Xptxas=-v: registers and spills of every kernel are kept beside the object
      add_custom_command(
        OUTPUT ${object}
        COMMAND sh ${cb_cuda_dir}/nvcc.sh ${object}.txt ${CB_NVCC} ${cb_nvcc_flags} -MD -MF ${object}.d -MT ${object} -x cu -c ${source} -o ${object}
        DEPENDS ${source} ${cb_generated}/rtc_sources.h
        DEPFILE ${object}.d
        COMMENT "nvcc ${name}"
        VERBATIM)
      list(APPEND cb_cuda_objects ${object})
    endforeach()
    set(cb_cuda_library ${CMAKE_CURRENT_BINARY_DIR}/libcbackend_cuda.so)
    add_custom_command(
      OUTPUT ${cb_cuda_library}
      COMMAND ${CB_NVCC} -shared -cudart static -o ${cb_cuda_library} ${cb_cuda_objects} -lpthread -ldl
      DEPENDS ${cb_cuda_objects}
      COMMENT "Linking libcbackend_cuda.so"
      VERBATIM)
    add_custom_target(cbackend_cuda ALL DEPENDS ${cb_cuda_library})
    if(CB_PYTHON)
      install(FILES ${cb_cuda_library} DESTINATION cbackend)
    endif()
  endif()
endif()
