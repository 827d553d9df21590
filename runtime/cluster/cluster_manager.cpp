/// @file
/// What a cluster manager does unless it is overridden: signals to a process on this host.
#include "runtime/base/demangle.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/unique_fd.hpp"

#include <muster/cluster_manager.hpp>

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <limits>
#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>

namespace muster {

namespace {

using runtime::UniqueFd;
using Clock = std::chrono::steady_clock;
namespace log = runtime::log;

/// Between SIGTERM and SIGKILL.
constexpr std::chrono::seconds patience{2};

/// A process, held so that its number can't come to mean another one meanwhile.
class HeldProcess {
 public:
  explicit HeldProcess(long os_pid) : os_pid_(os_pid) {
    // 0 and negative ones would mean groups, or everybody.
    if (os_pid <= 1 || os_pid > std::numeric_limits<pid_t>::max()) return;
    pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(os_pid), 0)));
    if (!pidfd_ && errno != ESRCH) report("open");
  }
  /// Whether it was there.
  explicit operator bool() const { return static_cast<bool>(pidfd_); }

  /// @return whether it was there to get it.
  bool signal(int number) const {
    if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0) == 0) return true;
    if (errno != ESRCH) report("signal");
    return false;
  }
  /// @return whether it ended within that time.
  bool ends_within(std::chrono::nanoseconds time) const {
    const auto deadline = Clock::now() + time;
    while (true) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      pollfd ended{pidfd_.get(), POLLIN, 0};
      const int result = ::poll(&ended, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
      if (result > 0) return true;
      if (result == 0 || errno != EINTR) return false;
    }
  }

 private:
  void report(const std::string& what) const {
    log::warning("cannot " + what + " worker process " + std::to_string(os_pid_) + ": " +
                 std::generic_category().message(errno) + "; end it by hand if it stays");
  }
  long os_pid_;
  UniqueFd pidfd_;
};

}  // namespace

// NOLINTBEGIN(performance-unnecessary-value-param): a context that can do it keeps them
std::unique_ptr<Invitation> LaunchContext::invite(InviteOptions /*options*/,
                                                  std::function<void(LaunchContext&, Caller)> /*called*/) {
  throw std::logic_error("muster: this LaunchContext takes no workers that connect by themselves");
}
// NOLINTEND(performance-unnecessary-value-param)

void ClusterManager::manage(Pid, WorkerConfig& config, ManageOp op) {
  if (op != ManageOp::Interrupt) return;
  const HeldProcess process(config.os_pid);
  if (process) process.signal(SIGINT);
}

void ClusterManager::kill(Pid, const WorkerConfig& config) {
  const HeldProcess process(config.os_pid);
  if (!process || !process.signal(SIGTERM)) return;
  if (!process.ends_within(patience)) process.signal(SIGKILL);
}

std::string ClusterManager::to_string() const {
  const std::string name = runtime::readable_name(typeid(*this));
  const std::size_t scope = name.substr(0, name.find('<')).rfind("::");  // its own, not an argument's
  return (scope == std::string::npos ? name : name.substr(scope + 2)) + "()";
}

std::ostream& operator<<(std::ostream& out, const ClusterManager& manager) { return out << manager.to_string(); }

}  // namespace muster
