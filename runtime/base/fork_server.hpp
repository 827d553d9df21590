/// @file
/// A process that is this program, loaded and linked but not begun, and forks: each child goes on as if it had been
/// started by itself, and costs a fork instead of an exec and the linking of all libraries.
///
/// The server is the program itself, started like a worker, with one end of a socket pair as its standard input. An
/// initialiser of libmuster that runs before all initialisers of the program sees that, and serves: so nothing of the
/// program's own (random numbers seeded as it starts, files it opens, what it prints) is shared by the children, and
/// there is no thread yet. Its children are children of this process (CLONE_PARENT): they are waited for and killed as
/// if it had started them. It ends when its socket does, so with this process.
#pragma once

#include "runtime/base/child_process.hpp"

#include <array>
#include <memory>
#include <optional>
#include <string_view>

namespace muster::runtime {

/// The argument that makes a program a worker.
inline constexpr std::string_view worker_flag = "--muster-worker";

/// What is said over the socket: to the server this text, once, and then a byte for each child that is wanted, with the
/// descriptors of its standard input, output and error; back from it one byte, and then for each child its number as
/// the system counts (i32), or the negative error.
inline constexpr std::array<char, 16> fork_server_greeting{"muster, fork\n"};
inline constexpr char fork_server_ready = 'y', fork_server_unable = 'n';

/// One thread at a time.
class ForkServer {
 public:
  /// Starts one.
  /// @param request what each child will be: this program as a worker, in a session of its own
  /// @returns none where there can't be one: then spawn_process says what is wrong, or can do better
  static std::unique_ptr<ForkServer> start(SpawnRequest request);
  /// Ends the server. Its children go on.
  ~ForkServer();
  ForkServer(const ForkServer&) = delete;
  ForkServer& operator=(const ForkServer&) = delete;

  /// As spawn_process. Costs about 0.2 ms.
  /// @returns none where the server is gone. @throws std::system_error
  std::optional<ChildProcess> spawn();

 private:
  ForkServer(SpawnRequest request, ChildProcess server);

  const SpawnRequest request_;
  ChildProcess server_;
};

}  // namespace muster::runtime
