/// @file
/// The lab of hosts with SSH servers (tests/labs/ssh/lab), up for one test program.
#pragma once

#include "../shell.hpp"

#include <muster/muster.hpp>

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace muster::test {

class SshLab {
 public:
  /// Whether this machine can have one; what() says why not.
  static ShellResult check() { return shell(std::string(MUSTER_SSH_LAB) + " check"); }

  explicit SshLab(int hosts) {
    char name[] = "/tmp/muster-lab.XXXXXX";
    directory_ = std::string(::mkdtemp(name)) + "/lab";
    const ShellResult up = run("up", std::to_string(hosts) + " " + std::to_string(::getpid()));
    if (up.status != 0) throw std::runtime_error("the lab did not come up: " + up.output);
    ::setenv("HOME", home().c_str(), 1);
    ::unsetenv("SSH_AUTH_SOCK");
  }
  ~SshLab() {
    (void)run("down");
    std::error_code ignored;
    std::filesystem::remove_all(std::filesystem::path(directory_).parent_path(), ignored);
  }
  SshLab(const SshLab&) = delete;
  SshLab& operator=(const SshLab&) = delete;

  /// `lab VERB DIR ARGUMENTS`
  ShellResult run(const std::string& verb, const std::string& arguments = {}) const {
    return shell(std::string(MUSTER_SSH_LAB) + " " + verb + " " + directory_ + " " + arguments);
  }
  /// Ends what serves connections there; new ones are still taken.
  void end_connections(const std::string& host) const {
    (void)run("on", host + " sh -c 'kill -KILL $(pgrep -f sshd:.root)'");
  }
  std::string home() const { return directory_ + "/home"; }
  std::string key(const std::string& name) const { return directory_ + "/keys/" + name; }
  std::string known_hosts() const { return home() + "/.ssh/known_hosts"; }
  const std::string& directory() const { return directory_; }
  /// A word of DIR/net: `bridge`, `subnet`.
  std::string network(const std::string& word) const {
    std::ifstream file(directory_ + "/net");
    for (std::string line; std::getline(file, line);)
      if (line.starts_with(word + "=")) return line.substr(word.size() + 1);
    return {};
  }

 private:
  std::string directory_;
};

inline std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Contents of a file, put back at the end.
class ChangedFile {
 public:
  ChangedFile(std::string path, const std::string& contents) : path_(std::move(path)), before_(text_of(path_)) {
    write(contents);
  }
  ~ChangedFile() { write(before_); }
  ChangedFile(const ChangedFile&) = delete;
  ChangedFile& operator=(const ChangedFile&) = delete;
  std::string text() const { return text_of(path_); }

 private:
  void write(const std::string& contents) const { std::ofstream(path_) << contents; }
  std::string path_, before_;
};

}  // namespace muster::test
