/// @file
/// What a floor's child process does in `main`.
#pragma once

#include "ring_floor.hpp"
#include "tcp_floor.hpp"
#include "zmq_floor.hpp"

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace bench {

/// True in a process that a floor started; it has then served until its parent was gone, and `main` must return. To be
/// called before the Session is made: a floor's child is no Muster program. A Muster worker is never a floor's child.
inline bool was_floor_child(int argc, char** argv) {
  if (argc < 3 || argv[1] != std::string(floor_child_flag)) return false;
  die_with_parent();
  const std::vector<std::string> arguments(argv + 3, argv + argc);
  try {
    if (argv[2] == std::string("zmq")) {
      serve_zmq_floor(arguments);
    } else if (argv[2] == std::string("ring")) {
      serve_ring_floor(arguments);
    } else {
      serve_tcp_floor(arguments);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "floor's child process: %s\n", error.what());
  }
  return true;
}

}  // namespace bench
