/// @file
/// Workers that come and go by themselves.
#pragma once

#include <muster/cluster_manager.hpp>

#include <memory>
#include <string>
#include <vector>

namespace muster {

/// Options of ElasticManager.
struct ElasticOptions {
  std::string bind_address = {};            ///< where the master listens for workers; empty: on all its interfaces
  int port = 0;                             ///< there; 0: any free one. A fixed one can be let through a firewall
  std::vector<std::string> addresses = {};  ///< of this host, in numbers: tried first, where it has several
  std::string secret_file = {};             ///< what a worker reads; empty: a new one in the user's cache directory
  int at_least = 0;      ///< workers that addprocs waits for; without them it fails, and nobody can join
  bool announce = true;  ///< addprocs logs the join command
};

/// Lets workers join that somebody starts, on any machine, at any time while the session lives:
/// @code
/// auto elastic = std::make_shared<muster::ElasticManager>();
/// muster::addprocs(elastic);                            // returns at once
/// std::cout << elastic->join_command() << "\n";         // PROGRAM --muster-worker < SECRET_FILE
/// std::cout << elastic->connect_command() << "\n";      // muster-worker --connect HOST:PORT --key-file SECRET_FILE
/// @endcode
/// A worker is this program, of this build; `muster-worker`, which is installed with the library, is one that gets it
/// from the master first. Its standard input is the secret, one line, which no command line and no
/// environment holds; `ssh node PROGRAM --muster-worker < SECRET_FILE` brings it along. The file is of mode 0600 and is
/// removed by close(), or when the session ends, which keeps the manager until then. on_worker_added tells who came. A
/// worker that gets SIGTERM (or, started from a terminal, SIGINT) leaves gracefully: it is given no more work, and goes
/// when its tasks have ended, after half a minute at most.
class ElasticManager : public ClusterManager {
 public:
  /// @throws std::invalid_argument for a negative number
  explicit ElasticManager(ElasticOptions options = {});
  /// As close().
  ~ElasticManager() override;
  void launch(LaunchContext& context) override;
  void manage(Pid pid, WorkerConfig& config, ManageOp op) override;
  void kill(Pid pid, const WorkerConfig& config) override;

  /// Nobody can join any more, and the secret file is gone; who has joined stays. Another addprocs opens it anew, with
  /// another secret. Nothing where it is not open.
  void close();
  /// The command that starts a worker, for a shell. @throws std::logic_error before addprocs
  std::string join_command() const;
  /// The command that starts one on a machine that need not have this program, but `muster-worker`, which fetches it
  /// from this process: `muster-worker --connect ADDRESS:PORT --key-file SECRET_FILE`. Elsewhere that file is a copy of
  /// this one's. @throws std::logic_error before addprocs
  std::string connect_command() const;
  /// The file that their standard input comes from, and that holds the key. @throws std::logic_error before addprocs
  std::string secret_file() const;
  /// Where workers find the master, `ADDRESS:PORT`. @throws std::logic_error before addprocs
  std::vector<std::string> endpoints() const;

 private:
  class Door;
  const ElasticOptions options_;
  std::unique_ptr<Door> door_;
};

}  // namespace muster
