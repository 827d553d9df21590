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
/// @endcode
/// A worker is this program, of this build. Its standard input is the secret, one line, which no command line and no
/// environment holds; `ssh node PROGRAM --muster-worker < SECRET_FILE` brings it along. The file is of mode 0600 and is
/// removed with the manager. on_worker_added tells who came. A worker that gets SIGTERM (or, started from a terminal,
/// SIGINT) leaves gracefully: it is given no more work, and goes when its tasks have ended, after half a minute at
/// most.
class ElasticManager : public ClusterManager {
 public:
  /// @throws std::invalid_argument for a negative number
  explicit ElasticManager(ElasticOptions options = {});
  /// Nobody can join any more; who has joined stays.
  ~ElasticManager() override;
  void launch(LaunchContext& context) override;
  void manage(Pid pid, WorkerConfig& config, ManageOp op) override;
  void kill(Pid pid, const WorkerConfig& config) override;

  /// The command that starts a worker, for a shell. @throws std::logic_error before addprocs
  std::string join_command() const;
  /// The file that its standard input comes from. @throws std::logic_error before addprocs
  std::string secret_file() const;
  /// Where workers find the master, `ADDRESS:PORT`. @throws std::logic_error before addprocs
  std::vector<std::string> endpoints() const;

 private:
  class Door;
  const ElasticOptions options_;
  std::unique_ptr<Door> door_;
};

}  // namespace muster
