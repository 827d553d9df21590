/// @file
/// Programs that mpirun started: rank 0 is the master, all others are workers.
#pragma once

#include <muster/cluster_manager.hpp>

#include <optional>
#include <string>

namespace muster::runtime {

/// What mpirun told this process.
struct MpiRank {
  int rank = 0;
  int size = 1;
};
/// By the variables of Open MPI, MPICH and PMIx. None outside an mpirun.
std::optional<MpiRank> mpi_rank();

/// The file by which the ranks of this job find their master. @param given by the user; "auto": one named after the job
/// @throws std::invalid_argument where mpirun does not tell the job apart
std::string meeting_file(const std::string& given);

/// What rank 0 wrote there. Waits for it. @throws Error
std::string read_meeting_file(const std::string& path, std::chrono::seconds limit);

/// Takes the other ranks in, which read the file.
class RankManager : public ClusterManager {
 public:
  RankManager(int n, std::string file);
  ~RankManager() override;
  void launch(LaunchContext& context) override;
  void manage(Pid pid, WorkerConfig& config, ManageOp op) override;
  void kill(Pid pid, const WorkerConfig& config) override;

 private:
  struct Meeting;
  const int n_;
  const std::string file_;
  std::unique_ptr<Meeting> meeting_;
};

}  // namespace muster::runtime
