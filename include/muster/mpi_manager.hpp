/// @file
/// Workers that mpirun starts.
#pragma once

#include <muster/cluster_manager.hpp>

#include <memory>
#include <string>
#include <vector>

namespace muster {

/// Options of MpiManager.
struct MpiOptions {
  std::string launcher = "mpiexec";         ///< Open MPI's or MPICH's; a name on PATH, or a path
  std::vector<std::string> flags = {};      ///< further ones of the launcher's, e.g. `{"--hostfile", "hosts"}`
  std::string bind_address = {};            ///< where the master listens for workers; empty: on all its interfaces
  std::vector<std::string> addresses = {};  ///< of this host, in numbers: tried first, where it has several
  std::string shared_directory = {};        ///< that all hosts see, for the secret; empty: the user's cache directory
};

/// Starts workers as the ranks of one `mpiexec -n N`: where ranks can be started, workers can. The program need not use
/// MPI. Each worker connects to the master; the secret is in a file of mode 0600 until all have joined. Open MPI and
/// MPICH (hydra) are told apart by `launcher --version`.
///
/// The other way round, a program started as `mpiexec -n N PROGRAM --muster-mpi auto` has rank 0 for its master and all
/// others for workers.
class MpiManager : public ClusterManager {
 public:
  /// @throws std::invalid_argument for a negative n
  explicit MpiManager(int n, MpiOptions options = {});
  /// Ends what is left of the launcher.
  ~MpiManager() override;
  void launch(LaunchContext& context) override;
  void manage(Pid pid, WorkerConfig& config, ManageOp op) override;
  void kill(Pid pid, const WorkerConfig& config) override;
  /// With the number of workers.
  std::string to_string() const override;

 private:
  class Jobs;
  const int n_;
  const MpiOptions options_;
  std::unique_ptr<Jobs> jobs_;
};

}  // namespace muster
