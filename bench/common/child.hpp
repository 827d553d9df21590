/// @file
/// Child processes of the floors: this program again, with other arguments.
#pragma once

#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace bench {

/// The first argument of a floor's child process.
inline constexpr const char* floor_child_flag = "--floor-child";

/// A child process that runs this program with `--floor-child` and further arguments; killed and reaped when the handle
/// goes. Move-only.
class Child {
 public:
  /// Starts it by posix_spawn. Throws std::system_error if that fails.
  explicit Child(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"/proc/self/exe", floor_child_flag});
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int error = posix_spawn(&pid_, "/proc/self/exe", nullptr, nullptr, argv.data(), environ);
    if (error != 0) throw std::system_error(error, std::generic_category(), "can't start a floor's child process");
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  /// The operating system's process number.
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

/// To be called first by a child: it ends with the thread that started it.
inline void die_with_parent() { prctl(PR_SET_PDEATHSIG, SIGKILL); }

}  // namespace bench
