/// @file
/// A soak: many threads of the master make calls of every kind while workers are killed, removed and added beside them.
///
///     soak --seconds 600 --threads 8 --workers 4 --seed 1
///
/// Each result is checked. A call may fail only by a death that did happen. Whoever makes no progress for a minute,
/// whatever it waits for, ends the soak. At its end nothing may be left: no process, no descriptor, no value kept, no
/// memory to speak of.
#include <muster/muster.hpp>

#include <CLI/CLI.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using muster::Pid;

constexpr std::size_t files_for_backtraces = 8;  ///< opened when the first of each library is met, and kept
constexpr auto patience = 60s;                   ///< for one operation, workers' starts included

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "soak: %s\n", what.c_str());
  std::fflush(nullptr);
  std::abort();  // a core dump or a debugger shows who waits where
}

// -- what is run on workers -------------------------------------------------------------------------------------------

std::uint64_t checksum(const std::vector<std::uint64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::uint64_t{17},
                         [](auto sum, auto value) { return sum * 31 + value; });
}
std::vector<std::uint64_t> numbers(std::uint64_t first, std::size_t count) {
  std::vector<std::uint64_t> all(count);
  std::iota(all.begin(), all.end(), first);
  return all;
}
int triple(int x) { return 3 * x; }
int triple_there(int x, Pid where) { return muster::remotecall_fetch(triple, where, x); }
int refuse(int x) { throw std::range_error("refused " + std::to_string(x)); }
int sleepy(int x) {
  muster::this_task::sleep_for(std::chrono::milliseconds(x % 7));
  return 3 * x;
}
void multiply_all(const muster::RemoteChannel<int>& work, const muster::RemoteChannel<int>& results) {
  for (const int item : work) results.put(3 * item);
}
std::uint64_t checksum_of(const muster::Future<std::vector<std::uint64_t>>& values) { return checksum(values.fetch()); }

// -- one thread -------------------------------------------------------------------------------------------------------

/// What a thread is at, for the watchdog.
struct Activity {
  std::atomic<const char*> what{"start"};
  std::atomic<Clock::rep> since{Clock::now().time_since_epoch().count()};
  std::atomic<std::uint64_t> done{0}, lost{0};
};

class Soaker {
 public:
  Soaker(Activity& activity, std::uint64_t seed) : activity_(activity), random_(seed) {}

  void run_until(Clock::time_point end) {
    while (Clock::now() < end) step();
    at("end");
  }

 private:
  using Operation = void (Soaker::*)();

  void step() {
    struct Named {
      const char* name;
      Operation run;
    };
    static constexpr Named operations[] = {{"fetch", &Soaker::fetch},
                                           {"large arrays", &Soaker::large_arrays},
                                           {"pipeline", &Soaker::pipeline},
                                           {"nested", &Soaker::nested},
                                           {"refused", &Soaker::refused},
                                           {"future travels", &Soaker::future_travels},
                                           {"cancel", &Soaker::cancel},
                                           {"map", &Soaker::map},
                                           {"unordered", &Soaker::unordered},
                                           {"reduce", &Soaker::reduce},
                                           {"promise", &Soaker::promise},
                                           {"timed wait", &Soaker::timed_wait},
                                           {"everyone", &Soaker::everyone},
                                           {"channel", &Soaker::channel},
                                           {"lost channel", &Soaker::lost_channel}};
    const Named& operation = operations[below(std::size(operations))];
    at(operation.name);
    try {
      (this->*operation.run)();
      ++activity_.done;
    } catch (const muster::Error& error) {
      if (!tells_of_a_death(error)) give_up(std::string(operation.name) + " failed: " + error.what());
      ++activity_.lost;
    } catch (const std::exception& error) {
      give_up(std::string(operation.name) + " threw something else: " + error.what());
    }
  }

  void fetch() { expect(muster::remotecall_fetch(triple, anyone(), 5) == 15); }

  void large_arrays() {
    const auto count = std::size_t{1} << (4 + below(16));
    const auto sent = numbers(below(1000), count);
    expect(muster::remotecall_fetch(checksum, anyone(), sent) == checksum(sent));
    expect(muster::remotecall_fetch(numbers, anyone(), std::uint64_t{7}, count) == numbers(7, count));
  }

  void pipeline() {
    std::vector<muster::Future<int>> futures;
    for (int i = 0; i < 200; ++i) futures.push_back(muster::spawn(triple, i));
    for (int i = 0; i < 200; ++i) expect(futures[static_cast<std::size_t>(i)].fetch() == 3 * i);
  }

  void nested() { expect(muster::remotecall_fetch(triple_there, anyone(), 4, anyone()) == 12); }

  void refused() {
    try {
      (void)muster::remotecall_fetch(refuse, anyone(), 9);
      expect(false);
    } catch (const muster::RemoteException& error) {
      if (!error.is<std::range_error>()) throw;
      expect(error.message() == "refused 9");
    }
  }

  void future_travels() {
    const auto values = muster::spawnat(anyone(), numbers, std::uint64_t{3}, std::size_t{100});
    expect(muster::remotecall_fetch(checksum_of, anyone(), values) == checksum(numbers(3, 100)));
  }

  void cancel() {
    const auto task = muster::spawnat(anyone(), [] { muster::this_task::sleep_for(1h); });
    if (below(2) == 0) std::this_thread::yield();
    const bool cancelled = task.cancel();  // false where its worker died just before, which fetch tells
    try {
      task.fetch();
      expect(false);
    } catch (const muster::CancelledError&) {
      expect(cancelled);
    }
  }

  void map() {
    std::vector<int> input(20 + below(100));
    std::iota(input.begin(), input.end(), 0);
    muster::PmapOptions<> options;
    options.max_restarts = 100;  // more than workers can die meanwhile
    if (below(2) == 0) options.batch_size = 1 + static_cast<int>(below(10));
    const auto output = muster::pmap(sleepy, input, options);
    expect(output.size() == input.size());
    for (std::size_t i = 0; i < input.size(); ++i) expect(output[i] == 3 * input[i]);
  }

  void unordered() {
    std::vector<int> input(50);
    std::iota(input.begin(), input.end(), 0);
    muster::PmapOptions<> options;
    options.max_restarts = 100;
    std::size_t seen = 0;
    const std::size_t enough = below(2) == 0 ? input.size() : 10;
    for (const auto& [index, value] : muster::pmap_unordered(sleepy, input, options)) {
      expect(value == 3 * static_cast<int>(index));
      if (++seen == enough) break;
    }
    expect(seen == enough);
  }

  void reduce() {
    const auto sum =
        muster::distributed_reduce(std::plus<>(), muster::IndexRange{0, 1000}, [](std::size_t i) { return i; });
    expect(sum == 499'500);
  }

  void promise() {
    const muster::Future<int> answer(anyone());
    muster::remote_do([](const muster::Future<int>& to) { to.put(42); }, anyone(), answer);
    // Nobody puts it when that worker died; the one who asks decides how long to wait.
    try {
      expect(answer.fetch(2s) == 42);
    } catch (const muster::TimeoutError&) {
      ++activity_.lost;
    }
  }

  void timed_wait() {
    const auto task = muster::spawnat(anyone(), [] { muster::this_task::sleep_for(20ms); });
    (void)task.wait_for(std::chrono::milliseconds(below(5)));
    task.fetch();
  }

  void everyone() {
    std::vector<muster::Future<int>> all;
    for (const Pid pid : muster::procs()) all.push_back(muster::spawnat(pid, triple, 2));
    for (const auto& future : all) expect(future.fetch() == 6);
  }

  void channel() {
    // The channel lives here; items that a worker took before it died come back.
    const muster::RemoteChannel<int> work(8), results(100);
    const Closes at_end{work};  // should a spawn meet a death, the takers it spawned before must end all the same
    std::vector<muster::Future<void>> takers;
    for (int i = 0; i < 3; ++i) takers.push_back(muster::spawnat(anyone(), multiply_all, work, results));
    for (int i = 0; i < 40; ++i) put_while_somebody_takes(work, i, takers);
    work.close();
    std::size_t lost = 0;
    for (const auto& taker : takers) {
      try {
        taker.fetch();
      } catch (const muster::ProcessExitedException&) {
        ++lost;
      }
    }
    std::vector<int> all;
    while (const auto result = results.try_take()) all.push_back(*result);
    std::sort(all.begin(), all.end());
    expect(std::adjacent_find(all.begin(), all.end()) == all.end());
    // A taker that dies takes along what it worked at, one item each; when none is left, what nobody took.
    expect(lost == takers.size() || all.size() + lost >= 40);
  }

  void put_while_somebody_takes(const muster::RemoteChannel<int>& work, int item,
                                const std::vector<muster::Future<void>>& takers) {
    for (;;) {
      try {
        return work.put(item, 100ms);
      } catch (const muster::TimeoutError&) {
        if (std::all_of(takers.begin(), takers.end(), [](const auto& taker) { return taker.isready(); })) return;
      }
    }
  }

  void lost_channel() {
    const muster::RemoteChannel<int> channel(2, anyone());
    for (int i = 0; i < 20; ++i) {
      channel.put(i);
      expect(channel.take() == i);
    }
    expect(channel.isempty());
  }

  struct Closes {
    const muster::RemoteChannel<int>& channel;
    ~Closes() { channel.close(); }
  };

  static bool tells_of_a_death(const std::exception& error) {
    if (dynamic_cast<const muster::ProcessExitedException*>(&error) != nullptr) return true;
    const auto* remote = dynamic_cast<const muster::RemoteException*>(&error);
    return remote != nullptr && remote->is<muster::ProcessExitedException>();  // a task met it first
  }

  void expect(bool holds) const {
    if (!holds) give_up(std::string("a wrong result of ") + activity_.what.load());
  }
  void at(const char* what) {
    activity_.what = what;
    activity_.since = Clock::now().time_since_epoch().count();
  }
  std::size_t below(std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_); }
  Pid anyone() {
    const auto all = muster::procs();
    return all[below(all.size())];
  }

  Activity& activity_;
  std::mt19937_64 random_;
};

// -- what happens to the workers --------------------------------------------------------------------------------------

/// @param pause between two deaths, on average 1.5 times as long
void trouble(Clock::time_point end, std::size_t workers, std::chrono::milliseconds pause, std::uint64_t seed,
             Activity& activity) {
  std::mt19937_64 random(seed);
  while (Clock::now() < end) {
    activity.since = Clock::now().time_since_epoch().count();
    std::this_thread::sleep_for(pause / 2 + random() % 1000 * pause / 500);
    try {
      auto there = muster::procs();
      there.erase(there.begin());
      if (there.size() > 1 && random() % 3 != 0) {
        const Pid victim = there[random() % there.size()];
        activity.what = "a worker ends";
        if (random() % 2 == 0)
          muster::remote_do([] { ::raise(SIGKILL); }, victim);
        else
          muster::rmprocs(victim);
      }
      activity.what = "workers are added";
      if (there.size() < workers) (void)muster::addprocs(static_cast<int>(workers - there.size()));
      ++activity.done;
    } catch (const muster::ProcessExitedException&) {
    }
  }
  activity.what = "end";
}

// -- what is left -----------------------------------------------------------------------------------------------------

std::size_t open_descriptors() {
  const auto all = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// What they lead to, to be read by people.
std::string descriptor_list() {
  std::string all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    all += "\n  " + entry.path().filename().string() + " " + std::filesystem::read_symlink(entry, gone).string();
  }
  return all;
}

/// In MiB.
double resident_memory() {
  std::ifstream statm("/proc/self/statm");
  double total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

template <class Predicate>
bool eventually(Predicate&& predicate, std::chrono::nanoseconds limit) {
  for (const auto end = Clock::now() + limit; !predicate(); std::this_thread::sleep_for(1ms))
    if (Clock::now() > end) return false;
  return true;
}

/// What the first worker and the first backtrace cost for good is no leak.
void warm_up() {
  const auto pids = muster::addprocs(1);
  for (const Pid pid : muster::procs()) {
    try {
      (void)muster::remotecall_fetch(refuse, pid, 0);
    } catch (const muster::RemoteException&) {
    }
  }
  muster::rmprocs(pids);
}

}  // namespace

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);
  CLI::App app("Calls of every kind, from many threads, while workers come and go");
  int seconds = 600, threads = 8, workers = 4, pause = 1000;
  std::uint64_t seed = 1;
  app.add_option("--seconds", seconds, "how long")->capture_default_str();
  app.add_option("--threads", threads, "that make calls")->capture_default_str();
  app.add_option("--workers", workers, "at most at a time")->capture_default_str();
  app.add_option("--pause", pause, "between deaths of workers, in milliseconds, about")->capture_default_str();
  app.add_option("--seed", seed, "of all that is random")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  warm_up();
  const std::size_t descriptors = open_descriptors();
  const std::size_t values = muster::debug::values_owned(1);
  (void)muster::addprocs(workers);

  const auto start = Clock::now(), end = start + std::chrono::seconds(seconds);
  std::vector<Activity> activities(static_cast<std::size_t>(threads) + 1);
  std::vector<std::thread> all;
  for (std::size_t i = 0; i + 1 < activities.size(); ++i)
    all.emplace_back([&, i] { Soaker(activities[i], seed * 1000 + i).run_until(end); });
  all.emplace_back([&] {
    trouble(end, static_cast<std::size_t>(workers), std::chrono::milliseconds(pause), seed, activities.back());
  });

  double settled_memory = 0;
  for (auto report = start + 10s;;) {
    const bool over = std::all_of(activities.begin(), activities.end(),
                                  [](const Activity& a) { return a.what.load() == std::string("end"); });
    if (over) break;
    std::this_thread::sleep_for(100ms);
    const auto now = Clock::now();
    for (const Activity& activity : activities)
      if (now.time_since_epoch() - Clock::duration(activity.since.load()) > patience &&
          activity.what.load() != std::string("end"))
        give_up(std::string("no progress for a minute: ") + activity.what.load());
    if (settled_memory == 0 && now - start > std::chrono::seconds(seconds) / 4) settled_memory = resident_memory();
    if (now < report) continue;
    report = now + 10s;
    std::uint64_t done = 0, lost = 0;
    for (const Activity& activity : activities) done += activity.done, lost += activity.lost;
    std::printf("%4.0f s: %llu operations, %llu met a death; %.0f MiB, %zu descriptors\n",
                std::chrono::duration<double>(now - start).count(), static_cast<unsigned long long>(done),
                static_cast<unsigned long long>(lost), resident_memory(), open_descriptors());
    std::fflush(stdout);
  }
  for (auto& thread : all) thread.join();

  muster::rmprocs(muster::other_workers());
  int failures = 0;
  const auto must = [&failures](bool holds, const std::string& what) {
    if (holds) return;
    ++failures;
    std::printf("soak: %s\n", what.c_str());
  };
  const bool closed = eventually([&] { return open_descriptors() <= descriptors + files_for_backtraces; }, 5s);
  must(closed, std::to_string(descriptors) + " descriptors were open at the start, now:" + descriptor_list());
  must(eventually([&] { return muster::debug::values_owned(1) <= values; }, 30s),
       std::to_string(muster::debug::values_owned(1)) + " values are still kept, " + std::to_string(values) +
           " at the start");
  must(resident_memory() < settled_memory * 1.2 + 16, std::to_string(resident_memory()) + " MiB of memory, after " +
                                                          std::to_string(settled_memory) +
                                                          " MiB at a quarter of the time");
  std::printf("soak: %s\n", failures == 0 ? "all results right, nothing left" : "failed");
  return failures == 0 ? 0 : 1;
}
