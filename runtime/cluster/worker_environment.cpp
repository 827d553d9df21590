#include "runtime/cluster/worker_environment.hpp"

namespace muster::runtime {

namespace {

constexpr const char* thread_variables[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"};

}  // namespace

std::map<std::string, std::string> added_environment(const AddprocsOptions& options) {
  std::map<std::string, std::string> added = options.env;
  if (!options.threaded_blas) {
    for (const char* variable : thread_variables) added.emplace(variable, "1");  // where env does not set it
  }
  return added;
}

}  // namespace muster::runtime
