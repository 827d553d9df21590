/// @file
/// The session: one object in main that makes the process part of a cluster.
#pragma once

#include <muster/cluster.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace muster {

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // `Auto` the number and `Encryption::Auto` never meet
/// Which connections are encrypted. Auto: every one that leaves this host.
enum class Encryption { Auto, On, Off };
#pragma GCC diagnostic pop

/// Options of a session.
struct SessionOptions {
  std::string cookie = {};  ///< what members of the cluster know; empty: random
  std::chrono::nanoseconds heartbeat_interval = std::chrono::seconds(1);  ///< between signs of life on quiet links
  std::chrono::nanoseconds heartbeat_timeout =
      std::chrono::seconds(10);                         ///< silence after which a process counts as lost
  Encryption encryption = Encryption::Auto;             ///< which connections are encrypted
  std::string bind_address = {};                        ///< interface to listen on; empty: 127.0.0.1
  std::uint64_t max_message = std::uint64_t{64} << 30;  ///< bytes of one message
  std::function<std::string(Pid, std::string_view)> worker_output =
      {};  ///< composes the line shown for a worker's line
};

namespace runtime {
class Process;
}

/// Makes this process the master, or, where it was started as a worker, serves and exits. The first thing in main:
/// @code
/// int main(int argc, char** argv) {
///   muster::Session session(argc, argv);
/// @endcode
/// For free in every program: `--muster-procs N|auto`, `--muster-machine-file FILE`, `--muster-log LEVEL`,
/// `--muster-mpi auto|FILE` (under mpirun: rank 0 is the master, the others are its workers),
/// `--muster-help`; each but the last also an environment variable (`MUSTER_PROCS`, ...), which the flag overrides.
class Session {
 public:
  /// Takes the `--muster-*` flags out of argv and leaves the rest. In a process started as a worker it does not return.
  /// @throws std::logic_error when there is a session already.
  Session(int& argc, char**& argv, SessionOptions options = {});
  /// Removes the workers and closes everything, within 5 s.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

 private:
  std::unique_ptr<runtime::Process> process_;
};

}  // namespace muster
