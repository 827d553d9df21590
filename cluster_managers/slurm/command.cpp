#include "cluster_managers/slurm/command.hpp"

#include <muster/errors.hpp>

namespace muster::runtime::slurm {

std::string cannot_start(const std::string& why) {
  return why +
         ". SlurmManager uses SLURM's own commands: see that they are installed on this host and on PATH, as on a "
         "login node of the cluster.";
}

CommandOutcome run(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
                   const std::string& input, std::chrono::milliseconds limit) {
  try {
    return run_command(arguments, input, limit, environment);
  } catch (const Error& error) {
    throw Error(cannot_start(error.what()));
  }
}

}  // namespace muster::runtime::slurm
