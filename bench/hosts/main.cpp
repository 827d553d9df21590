/// @file
/// `hosts`: workers over SSH, on hosts made of network namespaces (tests/labs/ssh/lab; needs root, and does nothing
/// where the kernel has no namespaces). `hosts_start`: 16 workers on 4 hosts by one addprocs. Floor: the slowest of the
/// four hosts, four workers on it alone. `hosts_round_trip`, `hosts_bandwidth`: an encrypted link between hosts. Floor:
/// the same, not encrypted. `hosts_pmap_100ms`: pmap of 1,000 tasks of 10 ms on 4 workers, 100 ms there and back.
/// Floor: the ideal, 2.5 s.
#include "../common/report.hpp"

#include <muster/muster.hpp>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

int lab(const std::string& arguments) { return std::system((std::string(MUSTER_SSH_LAB) + " " + arguments).c_str()); }

/// Hosts h1, h2, ...; those whose cables can be shaped are slower.
class Hosts {
 public:
  Hosts(int count, bool shaped) {
    char name[] = "/tmp/muster-bench.XXXXXX";
    directory_ = std::string(::mkdtemp(name));
    if (shaped) ::setenv("LAB_SHAPE", MUSTER_LAB_SHAPE, 1);
    if (lab("up " + directory_ + "/lab " + std::to_string(count) + " " + std::to_string(::getpid())) != 0)
      throw std::runtime_error("the hosts did not come up");
    ::unsetenv("LAB_SHAPE");
    before_ = std::getenv("HOME") != nullptr ? std::getenv("HOME") : "";
    ::setenv("HOME", (directory_ + "/lab/home").c_str(), 1);
  }
  ~Hosts() {
    lab("down " + directory_ + "/lab");
    ::setenv("HOME", before_.c_str(), 1);
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;
  void shape(const std::string& host, int milliseconds) const {
    lab("shape " + directory_ + "/lab " + host + " " + std::to_string(milliseconds) + " 0");
  }

 private:
  std::string directory_, before_;
};

double seconds_to_add(const std::vector<muster::Machine>& machines) {
  std::vector<muster::Pid> pids;
  const double seconds = bench::seconds_of([&] { pids = muster::addprocs(machines); });
  muster::rmprocs(pids);
  return seconds;
}

bench::Round start() {
  double slowest = 0;
  std::vector<muster::Machine> all;
  for (const char* const host : {"h1", "h2", "h3", "h4"}) {
    slowest = std::max(slowest, seconds_to_add({{host, 4}}));
    all.emplace_back(host, 4);
  }
  return {seconds_to_add(all), {{"slowest_host", slowest}}};
}

struct LinkFigures {
  double round_trip;  ///< microseconds
  double bandwidth;   ///< GB/s
};

LinkFigures measure_link() {
  const muster::Pid pid = muster::addprocs({"h1"}).front();
  const double trip = bench::median_call([&] { muster::remotecall_fetch(&muster::myid, pid); }, 2000, 1.0, 100);
  const std::vector<double> array(std::size_t{2} << 20, 1.0);
  const double pass = bench::median_call(
      [&] { muster::remotecall_fetch([](const std::vector<double>& all) { return all.size(); }, pid, array); }, 10,
      2.0);
  muster::rmprocs(pid);
  return {trip * 1e6, static_cast<double>(array.size() * sizeof(double)) / pass * 1e-9};
}

bench::Round slow_link() {
  const Hosts hosts(2, true);
  for (const char* const host : {"h1", "h2"}) hosts.shape(host, 50);
  const std::vector<muster::Pid> pids = muster::addprocs({{"h1", 2}, {"h2", 2}});
  std::vector<int> elements(1000);
  std::iota(elements.begin(), elements.end(), 0);
  const double seconds = bench::seconds_of([&] {
    (void)muster::pmap(
        [](int x) {
          std::this_thread::sleep_for(std::chrono::milliseconds(10));
          return x;
        },
        elements);
  });
  muster::rmprocs(pids);
  return {seconds, {{"ideal", 2.5}}};
}

}  // namespace

int main(int argc, char** argv) {
  std::unique_ptr<muster::Session> session = std::make_unique<muster::Session>(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  if (lab("check") != 0) return 0;
  const auto hosts = std::make_unique<Hosts>(4, false);

  bench::add("hosts_start", "s", rounds, start);
  std::vector<LinkFigures> plain, encrypted;
  const auto with = [&](muster::Encryption encryption) {
    session.reset();  // one at a time
    session = std::make_unique<muster::Session>(argc, argv, muster::SessionOptions{.encryption = encryption});
    return measure_link();
  };
  bench::add("hosts_round_trip", "us", rounds, [&] {
    plain.push_back(with(muster::Encryption::Off));
    encrypted.push_back(with(muster::Encryption::Auto));
    return bench::Round{encrypted.back().round_trip, {{"plain", plain.back().round_trip}}};
  });
  bench::add("hosts_bandwidth", "GB/s", rounds, [&] {
    if (plain.empty()) throw std::runtime_error("hosts_bandwidth is measured together with hosts_round_trip");
    const bench::Round round{encrypted.back().bandwidth, {{"plain", plain.back().bandwidth}}};
    if (plain.size() > 1) {
      plain.pop_back();
      encrypted.pop_back();
    }
    return round;
  });
  bench::add("hosts_pmap_100ms", "s", rounds, slow_link);
  return bench::run(argc, argv);
}
