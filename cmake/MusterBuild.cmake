# How Muster's own targets are compiled: language, optimisation, warnings, sanitizers, compiler cache and linker.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Kind of build" FORCE)
  endif()
  # Line tables in release too, so that backtraces from workers name lines.
  set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")

  find_program(MUSTER_CCACHE ccache)
  mark_as_advanced(MUSTER_CCACHE)
  if(MUSTER_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    # Sources are named by absolute paths, so what one build directory compiled serves another.
    set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_NOHASHDIR=1 ${MUSTER_CCACHE})
  endif()
  find_program(MUSTER_MOLD mold)
  mark_as_advanced(MUSTER_MOLD)
  # GCC knows -fuse-ld=mold from 12.1 on.
  if(MUSTER_MOLD AND NOT (CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12.1))
    add_link_options(-fuse-ld=mold)
  endif()
endif()

set(muster_warning_flags -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(MUSTER_WERROR)
  list(APPEND muster_warning_flags -Werror)
endif()
add_library(muster_warnings INTERFACE)
target_compile_options(muster_warnings INTERFACE ${muster_warning_flags})

if(MUSTER_SANITIZE STREQUAL "address")
  set(muster_sanitize_flags -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(MUSTER_SANITIZE STREQUAL "thread")
  set(muster_sanitize_flags -fsanitize=thread)
elseif(MUSTER_SANITIZE)
  message(FATAL_ERROR "MUSTER_SANITIZE is \"${MUSTER_SANITIZE}\"; it must be address, thread or empty.")
endif()
if(MUSTER_SANITIZE)
  add_compile_options(${muster_sanitize_flags} -fno-omit-frame-pointer)
  add_link_options(${muster_sanitize_flags})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC loses track of initialisation between its own sanitizer checks; the builds without sanitizers keep this warning.
    target_compile_options(muster_warnings INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()
