# Fuzzing: each tests/fuzz/<name>.cpp is a libFuzzer target, run for a minute by CTest. They are a project of their own
# (tests/fuzz/CMakeLists.txt), because they take Clang whatever compiler this build uses.
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
if(NOT sources OR NOT MUSTER_CLANGXX)
  return()
endif()
# Compiled with every build, so that a change of what they look at is met at once and not in the slow tests.
add_library(fuzz_sources OBJECT ${sources})
target_include_directories(fuzz_sources PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(fuzz_sources PRIVATE Muster::muster muster_warnings muster_dependencies)

set(fuzz_build ${CMAKE_CURRENT_BINARY_DIR}/fuzz)

add_test(
  NAME fuzz.build
  COMMAND
    ${CMAKE_CTEST_COMMAND} --build-and-test ${CMAKE_CURRENT_LIST_DIR} ${fuzz_build} --build-generator ${CMAKE_GENERATOR}
    --build-noclean --build-options -DCMAKE_CXX_COMPILER=${MUSTER_CLANGXX}
    -DCMAKE_CXX_COMPILER_LAUNCHER=$<$<BOOL:${MUSTER_CCACHE}>:${MUSTER_CCACHE}>)
set_tests_properties(fuzz.build PROPERTIES FIXTURES_SETUP fuzzers TIMEOUT 1500 LABELS "slow;fuzz")

foreach(source IN LISTS sources)
  cmake_path(GET source STEM name)
  # New inputs go to the first folder; the second holds the ones that are kept with the sources.
  set(found ${fuzz_build}/corpus/${name})
  file(MAKE_DIRECTORY ${found} ${fuzz_build}/artifacts)
  set(kept ${CMAKE_CURRENT_LIST_DIR}/corpus/${name})
  if(NOT EXISTS ${kept})
    set(kept)
  endif()
  add_test(NAME fuzz.${name} COMMAND ${fuzz_build}/fuzz_${name} -max_total_time=60 -rss_limit_mb=2048 -print_final_stats=1
                                     -artifact_prefix=${fuzz_build}/artifacts/${name}- ${found} ${kept})
  set_tests_properties(fuzz.${name} PROPERTIES FIXTURES_REQUIRED fuzzers TIMEOUT 180 LABELS "slow;fuzz")
endforeach()
