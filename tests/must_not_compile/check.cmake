# Compiles SOURCE with COMPILER (headers from INCLUDE). `name.ok.cpp` must compile. Any other must be refused, and what the
# compiler says must contain the text of each of the file's `// expect: text` lines, of which there is at least one.
cmake_minimum_required(VERSION 3.25)

set(ENV{LC_ALL} C)
execute_process(
  COMMAND ${COMPILER} -std=c++20 -fsyntax-only -I${INCLUDE} ${SOURCE}
  RESULT_VARIABLE status
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)

if(SOURCE MATCHES "\\.ok\\.cpp$")
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${SOURCE} must compile, but:\n${output}")
  endif()
  return()
endif()

file(STRINGS ${SOURCE} expectations REGEX "^// expect: ")
if(NOT expectations)
  message(FATAL_ERROR "${SOURCE} has no line \"// expect: <text>\": say what the compiler must tell the user.")
endif()
if(status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} must not compile, but it does.")
endif()
foreach(expectation IN LISTS expectations)
  string(REGEX REPLACE "^// expect: " "" text "${expectation}")
  string(FIND "${output}" "${text}" place)
  if(place EQUAL -1)
    message(FATAL_ERROR "${SOURCE} is refused without the words \"${text}\":\n${output}")
  endif()
endforeach()
