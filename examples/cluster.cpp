/// @file
/// Counts primes, wherever the workers are: on this host, on others over SSH, under SLURM, or as the ranks of mpirun.
/// Where a program runs is one line of it, in add_workers; the rest knows nothing of that.
///
///     cluster                                    # local workers
///     cluster --where ssh --hosts node1,node2    # as many workers on each host as it has hardware threads
///     cluster --where slurm                      # in an allocation a worker per task, else a job of its own
///     cluster --where mpi                        # the ranks of an mpiexec
///     cluster --where elastic                    # whoever joins by the command that is printed
#include "example.hpp"

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace {

constexpr std::uint64_t block_size = 20'000;

struct Counted {
  int primes = 0;
  std::string host;
};

Counted count_primes(std::uint64_t block) {
  Counted counted;
  for (std::uint64_t number = block * block_size; number < (block + 1) * block_size; ++number) {
    bool prime = number > 1;
    for (std::uint64_t factor = 2; prime && factor * factor <= number; ++factor) prime = number % factor != 0;
    if (prime) ++counted.primes;
  }
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  counted.host = name.data();
  return counted;
}

/// The line that says where.
void add_workers(const std::string& where, int count, const std::vector<std::string>& hosts) {
  std::vector<muster::Machine> machines;
  for (const std::string& host : hosts) machines.emplace_back(host, muster::Auto);
  if (where == "local") muster::addprocs(count);
  if (where == "ssh") muster::addprocs(machines);
  if (where == "slurm")
    muster::addprocs(std::getenv("SLURM_JOB_ID") != nullptr ? std::make_shared<muster::SlurmManager>()
                                                            : std::make_shared<muster::SlurmManager>(count));
  if (where == "mpi") muster::addprocs(std::make_shared<muster::MpiManager>(count));
  if (where == "elastic")
    muster::addprocs(std::make_shared<muster::ElasticManager>(muster::ElasticOptions{.at_least = count}));
}

}  // namespace

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);
  CLI::App app("Counts primes, wherever the workers are");
  const example::Options options(app);
  std::string where = "local";
  std::vector<std::string> hosts;
  app.add_option("--where", where, "local, ssh, slurm, mpi or elastic")
      ->check(CLI::IsMember({"local", "ssh", "slurm", "mpi", "elastic"}));
  app.add_option("--hosts", hosts, "of --where ssh")->delimiter(',');
  CLI11_PARSE(app, argc, argv);

  std::vector<std::uint64_t> blocks(options.quick ? 20 : 400);
  std::iota(blocks.begin(), blocks.end(), 0U);
  const auto [expected, serial_seconds] = example::timed([&] {
    int primes = 0;
    for (const std::uint64_t block : blocks) primes += count_primes(block).primes;
    return primes;
  });

  if (muster::other_procs().empty()) add_workers(where, options.workers, hosts);
  const auto [primes, parallel_seconds] = example::timed([&] {
    int sum = 0;
    std::map<std::string, int> by_host;
    for (const auto& [index, counted] : muster::pmap_unordered(count_primes, blocks)) {
      sum += counted.primes;
      ++by_host[counted.host];
    }
    for (const auto& [host, count] : by_host) std::printf("host %s counted %d blocks\n", host.c_str(), count);
    return sum;
  });
  std::printf("%d primes below %llu\n", primes, static_cast<unsigned long long>(block_size * blocks.size()));
  return example::conclude(serial_seconds, parallel_seconds, primes == expected);
}
