/// @file
/// Several workers of one host behind one pair of standard streams, as a connection to that host offers one.
///
/// Their program is started once, with `--muster-worker --muster-worker-group=N` and N start records on its standard
/// input. It is stopped where a fork server is (fork_server.hpp), forks N workers, and stays as what leads the group:
/// it says on its standard output what they print and how they ended, and ends after the last of them. So a host loads
/// and links the program once, starts no shell for each worker, and kills none by a number that may be another's.
///
/// What is said over the streams, once the greeting was said: frames of a header and as many bytes as that says.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace muster::runtime {

/// The argument that makes a worker's program lead a group. What follows is the number of its workers.
inline constexpr std::string_view worker_group_flag = "--muster-worker-group";

/// The first line of the leader's own; login shells may have said something before.
inline constexpr std::string_view worker_group_greeting = "muster_worker_group:1\n";
/// What each worker's output begins with; its process number and a newline follow.
inline constexpr std::string_view worker_process_tag = "muster_process:";

struct GroupFrame {
  enum class Kind : std::uint8_t {
    output = 'o',     ///< from the leader: the worker printed this
    errors = 'e',     ///< and this to its standard error
    ended = 'x',      ///< and ended, with the status (i32) that waitpid gave; nothing more comes from it
    kill = 'k',       ///< to the leader: SIGTERM, and SIGKILL two seconds later
    interrupt = 'i',  ///< SIGINT
  };
  static constexpr std::uint32_t longest = std::uint32_t{1} << 16;

  Kind kind;
  std::uint8_t unused = 0;
  std::uint16_t worker;    ///< from 0, as their start records came
  std::uint32_t size = 0;  ///< of what follows, in bytes; at most `longest`
};
static_assert(sizeof(GroupFrame) == 8 && std::is_trivially_copyable_v<GroupFrame>);

}  // namespace muster::runtime
