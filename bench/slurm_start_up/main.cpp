/// @file
/// `slurm_start_up`: addprocs of as many workers as an allocation has tasks, under salloc. Floor: `srun` of as many
/// tasks that do nothing. `slurm_start_up_beyond`: by how much the former takes longer, in each round.
#include "../common/report.hpp"

#include <muster/muster.hpp>

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <vector>

namespace {

struct Times {
  double addprocs, srun;
};

/// An srun that finds the processors of the step before still taken waits for seconds: that is not what is measured.
void wait_until_idle() {
  while (std::system("test -z \"$(squeue -h -s -j $SLURM_JOB_ID)\"") != 0) {
  }
}

Times measure() {
  Times times{};
  wait_until_idle();
  times.srun = bench::seconds_of([] {
    if (std::system("srun --mpi=none --input=none /bin/true") != 0) throw std::runtime_error("srun failed");
  });
  wait_until_idle();
  std::vector<muster::Pid> pids;
  times.addprocs = bench::seconds_of([&] { pids = muster::addprocs(std::make_shared<muster::SlurmManager>()); });
  muster::rmprocs(pids);
  return times;
}

}  // namespace

int main(int argc, char** argv) {
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  bench::add("slurm_start_up", "s", rounds, [] {
    const Times times = measure();
    return bench::Round{times.addprocs, {{"srun", times.srun}}};
  });
  bench::add("slurm_start_up_beyond", "s", rounds, [] {
    const Times times = measure();
    return bench::Round{times.addprocs - times.srun, {}};
  });
  return bench::run(argc, argv);
}
