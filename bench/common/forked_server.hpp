/// @file
/// The other process of a peer that speaks over TCP.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace bench {

/// A process forked from this one, which serves on a port of 127.0.0.1 that it chose. Make it before any thread.
class ForkedServer {
 public:
  /// @param serve called there with a function that tells the port; what it returns is of no matter
  /// @throws std::system_error where there can be none, or it ended before it had a port
  template <class Serve>
  explicit ForkedServer(Serve serve) {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) throw_error("no pipe");
    pid_ = fork();
    if (pid_ < 0) throw_error("no process");
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      serve([&](std::uint16_t port) { return write(ends[1], &port, sizeof port) == sizeof port; });
      _exit(0);
    }
    close(ends[1]);
    const auto got = read(ends[0], &port_, sizeof port_);
    close(ends[0]);
    if (got != sizeof port_) throw_error("the server did not start");
  }
  ForkedServer(const ForkedServer&) = delete;
  ForkedServer& operator=(const ForkedServer&) = delete;
  ~ForkedServer() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  std::uint16_t port() const { return port_; }

 private:
  [[noreturn]] static void throw_error(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
  }

  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
};

}  // namespace bench
