/// @file
/// The cable of one host of a lab, with delay and loss, for kernels without netem: a TAP device on either end, and this
/// process between them. Frames keep their order.
///
///   lab_shape PID TAP FILE
///
/// gives the network of process PID a device eth0, and this one a device TAP. FILE says `DELAY_MS LOSS_PERCENT`, of
/// either direction; it is read at the start and at each SIGHUP. Prints `ready`. Ends when the host does.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

/// In the network that the calling thread is in.
int make_tap(const std::string& name) {
  const int tap = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  if (tap < 0 || ::ioctl(tap, TUNSETIFF, &request) != 0) fail("no TAP " + name);
  return tap;
}

int make_tap_of(const std::string& pid, const std::string& name) {
  const int own = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  const int other = ::open(("/proc/" + pid + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
  if (own < 0 || other < 0 || ::setns(other, CLONE_NEWNET) != 0) fail("no network of process " + pid);
  const int tap = make_tap(name);
  if (::setns(own, CLONE_NEWNET) != 0) fail("no way back");
  ::close(own);
  ::close(other);
  return tap;
}

struct Shape {
  std::chrono::microseconds delay{0};
  double loss = 0;  ///< of 1
};

Shape shape_in(const char* path) {
  double delay_ms = 0, loss_percent = 0;
  std::ifstream(path) >> delay_ms >> loss_percent;
  return {std::chrono::microseconds(static_cast<std::int64_t>(1000 * delay_ms)), loss_percent / 100};
}

/// One direction.
class Way {
 public:
  Way(int from, int to) : from_(from), to_(to) {}

  /// @returns false when a device is gone
  bool take(const Shape& shape, std::minstd_rand& random) {
    std::array<char, 65536> frame;
    for (;;) {
      const auto got = ::read(from_, frame.data(), frame.size());
      if (got < 0) return errno == EAGAIN || errno == EINTR || errno == EIO;  // EIO: it is down, for now
      if (std::uniform_real_distribution<>(0, 1)(random) < shape.loss) continue;
      waiting_.push_back({Clock::now() + shape.delay, std::string(frame.data(), static_cast<std::size_t>(got))});
    }
  }
  void give() {
    for (; !waiting_.empty() && waiting_.front().due <= Clock::now(); waiting_.pop_front())
      (void)!::write(to_, waiting_.front().bytes.data(), waiting_.front().bytes.size());  // what can't go is lost
  }
  Clock::time_point due() const { return waiting_.empty() ? Clock::time_point::max() : waiting_.front().due; }

 private:
  struct Frame {
    Clock::time_point due;
    std::string bytes;
  };
  int from_, to_;
  std::deque<Frame> waiting_;
};

timespec until(Clock::time_point due) {
  const auto left = std::clamp<std::chrono::nanoseconds>(due - Clock::now(), std::chrono::nanoseconds(0),
                                                         std::chrono::milliseconds(100));
  return {0, left.count()};
}

void relay(const char* pid, const char* tap, const char* file) {
  sigset_t hangup;
  sigemptyset(&hangup);
  sigaddset(&hangup, SIGHUP);
  sigprocmask(SIG_BLOCK, &hangup, nullptr);
  const int changed = ::signalfd(-1, &hangup, SFD_CLOEXEC | SFD_NONBLOCK);
  const int outer = make_tap(tap), inner = make_tap_of(pid, "eth0");
  std::puts("ready");
  std::fflush(stdout);
  Shape shape = shape_in(file);
  std::minstd_rand random(1);
  Way in(outer, inner), out(inner, outer);
  for (;;) {
    std::array<pollfd, 3> watched{{{outer, POLLIN, 0}, {inner, POLLIN, 0}, {changed, POLLIN, 0}}};
    const timespec patience = until(std::min(in.due(), out.due()));
    (void)::ppoll(watched.data(), watched.size(), &patience, nullptr);
    signalfd_siginfo signal{};
    if (::read(changed, &signal, sizeof signal) > 0) shape = shape_in(file);
    if (!in.take(shape, random) || !out.take(shape, random)) return;
    in.give();
    out.give();
    const bool down = ((watched[0].revents | watched[1].revents) & POLLERR) != 0;
    if (down) ::usleep(1000);  // a device that is down says so at every poll
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: lab_shape PID TAP FILE\n", stderr);
    return 2;
  }
  try {
    relay(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lab_shape: %s\n", error.what());
    return 1;
  }
  return 0;
}
