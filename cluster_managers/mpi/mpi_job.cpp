#include "cluster_managers/mpi/mpi_job.hpp"

#include "runtime/base/log.hpp"
#include "runtime/base/run_command.hpp"

#include <muster/errors.hpp>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <system_error>

namespace muster::runtime::mpi {

namespace {

/// Of the launcher's own words.
constexpr std::size_t most_said = 20;
constexpr auto term_patience = std::chrono::seconds(2);

ChildProcess started(const SpawnRequest& request) {
  try {
    return spawn_process(request);
  } catch (const std::system_error& error) {
    throw Error(std::string("can't run ") + request.arguments.front() + ": " + error.what() +
                ". Install Open MPI or MPICH, or name the launcher (MpiOptions::launcher).");
  }
}

std::string end_of(int status) {
  if (WIFEXITED(status)) return "exited with status " + std::to_string(WEXITSTATUS(status));
  return std::string("was ended by signal ") + (WIFSIGNALED(status) ? ::strsignal(WTERMSIG(status)) : "unknown");
}

/// `[1,RANK]<stdout>:text`, where 1 is the job's number.
std::optional<RankLine> open_mpi_line(std::string_view line) {
  const auto comma = line.find(','), end = line.find("]<std");
  const auto colon = line.find(">:");
  if (!line.starts_with('[') || comma == std::string_view::npos || end == std::string_view::npos ||
      colon == std::string_view::npos || comma > end || colon < end)
    return std::nullopt;
  int rank = -1;
  const auto read = std::from_chars(line.data() + comma + 1, line.data() + end, rank);
  if (read.ec != std::errc() || read.ptr != line.data() + end) return std::nullopt;
  return RankLine{rank, line.substr(colon + 2)};
}

/// `[RANK] text`, as our pattern says.
std::optional<RankLine> mpich_line(std::string_view line) {
  const auto end = line.find("] ");
  if (!line.starts_with('[') || end == std::string_view::npos) return std::nullopt;
  int rank = -1;
  const auto read = std::from_chars(line.data() + 1, line.data() + end, rank);
  if (read.ec != std::errc() || read.ptr != line.data() + end) return std::nullopt;
  return RankLine{rank, line.substr(end + 2)};
}

}  // namespace

Flavor flavor_of(const std::string& launcher) {
  const CommandOutcome version = run_command({launcher, "--version"}, {}, std::chrono::seconds(20));
  if (version.output.find("HYDRA") != std::string::npos) return Flavor::mpich;
  if (version.output.find("Open MPI") != std::string::npos || version.output.find("OpenRTE") != std::string::npos)
    return Flavor::open_mpi;
  throw Error(launcher + " is neither Open MPI's mpiexec nor MPICH's: --version says " + version.said().substr(0, 200));
}

std::optional<RankLine> rank_line(Flavor flavor, std::string_view line) {
  return flavor == Flavor::open_mpi ? open_mpi_line(line) : mpich_line(line);
}

std::vector<std::string> launcher_command(Flavor flavor, const std::string& launcher, int ranks,
                                          const std::vector<std::string>& flags,
                                          const std::map<std::string, std::string>& environment) {
  std::vector<std::string> command{launcher, "-n", std::to_string(ranks)};
  if (flavor == Flavor::open_mpi) {
    // A rank that dies is one worker less, and no reason to end the others.
    for (const char* const word : {"--tag-output", "--mca", "orte_abort_on_non_zero_status", "0", "--enable-recovery"})
      command.emplace_back(word);
    for (const auto& [name, value] : environment) {
      command.emplace_back("-x");
      command.push_back(name);
    }
  } else {
    for (const char* const word : {"-prepend-pattern", "[%r] ", "-disable-auto-cleanup"}) command.emplace_back(word);
  }
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

Job::Job(Flavor flavor, const SpawnRequest& request, int ranks)
    : flavor_(flavor), os_pid_([&] {
        ChildProcess child = started(request);
        out_.from = std::move(child.standard_output);
        err_.from = std::move(child.standard_error);
        return child.os_pid;
      }()) {
  for (auto* const stream : {&out_, &err_}) {
    for (int rank = 0; rank < ranks; ++rank) {
      std::array<int, 2> ends{-1, -1};
      if (::pipe2(ends.data(), O_CLOEXEC) != 0) break;  // what is printed there is shown as the launcher's
      (stream == &out_ ? outputs_ : errors_).emplace_back(ends[0]);
      stream->to.emplace_back(ends[1]);
    }
  }
  has_called_.resize(static_cast<std::size_t>(ranks));
  thread_ = std::thread([this] {
    (void)pthread_setname_np(pthread_self(), "muster-mpi");
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, nullptr);
    run();
  });
}

Job::~Job() {
  finish(std::chrono::milliseconds(0));
  thread_.join();
}

UniqueFd Job::take_output(int rank) {
  const auto index = static_cast<std::size_t>(rank);
  const std::lock_guard lock(mutex_);
  if (rank >= 0 && index < has_called_.size()) has_called_[index] = true;
  return rank >= 0 && index < outputs_.size() ? std::move(outputs_[index]) : UniqueFd();
}

UniqueFd Job::take_errors(int rank) {
  const auto index = static_cast<std::size_t>(rank);
  return rank >= 0 && index < errors_.size() ? std::move(errors_[index]) : UniqueFd();
}

std::string Job::end(std::chrono::milliseconds patience) const {
  std::unique_lock lock(mutex_);
  (void)ended_.wait_for(lock, patience, [this] { return end_.has_value(); });
  return end_.value_or("");
}

bool Job::wait(std::chrono::milliseconds patience) const { return !end(patience).empty(); }

void Job::finish(std::chrono::milliseconds patience) {
  if (wait(patience)) return;
  // Our child, which the thread reaps only when it says so in end_: the number is still its own.
  for (const auto& [number, time] : {std::pair(SIGTERM, term_patience), std::pair(SIGKILL, term_patience)}) {
    {
      const std::lock_guard lock(mutex_);
      if (end_) return;
      ::kill(os_pid_, number);
    }
    if (wait(time)) return;
  }
}

void Job::run() {
  while (out_.from || err_.from) {
    std::array<pollfd, 2> watched{{{out_.from.get(), POLLIN, 0}, {err_.from.get(), POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) break;
    for (Stream* const stream : {&out_, &err_}) {
      const bool ready = watched[stream == &out_ ? 0 : 1].revents != 0;
      if (!stream->from || !ready) continue;
      std::array<char, 16384> part{};
      const auto got = ::read(stream->from.get(), part.data(), part.size());
      if (got < 0 && errno == EINTR) continue;
      const auto emit = [&](std::string_view line) { pass_on(*stream, line); };
      if (got > 0) {
        stream->lines.add({part.data(), static_cast<std::size_t>(got)}, emit);
      } else {
        stream->lines.end(emit);
        stream->from.reset();
      }
    }
  }
  out_.to.clear();
  err_.to.clear();
  siginfo_t ended{};
  while (::waitid(P_PID, static_cast<id_t>(os_pid_), &ended, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
  }
  const std::lock_guard lock(mutex_);
  int status = 0;
  (void)::waitpid(os_pid_, &status, 0);
  std::string said;
  for (const std::string& line : said_) said += "\n" + line;
  end_ = end_of(status) + (said.empty() ? "" : "; it said:" + said);
  ended_.notify_all();
}

void Job::pass_on(Stream& stream, std::string_view line) {
  const auto from = rank_line(flavor_, line);
  if (from) {
    const auto index = static_cast<std::size_t>(from->rank);
    if (index < stream.to.size()) {
      const std::string text = std::string(from->text) + "\n";
      // A whole line at once, or, where nobody reads, not at all: the other ranks' lines wait behind it.
      pollfd writable{stream.to[index].get(), POLLOUT, 0};
      if (::poll(&writable, 1, 1000) > 0) (void)!::write(stream.to[index].get(), text.data(), text.size());
      const std::lock_guard lock(mutex_);
      if (has_called_[index]) return;
    }
  }
  const std::string_view words = from ? from->text : line;
  if (words.empty()) return;
  log::debug("The MPI launcher says: " + std::string(words));
  const std::lock_guard lock(mutex_);
  said_.emplace_back(words);
  if (said_.size() > most_said) said_.pop_front();
}

}  // namespace muster::runtime::mpi
