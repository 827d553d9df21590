/// @file
/// The SLURM cluster made of namespaces (tests/labs/slurm/lab), up for one test program.
#pragma once

#include "../shell.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace muster::test {

class SlurmLab {
 public:
  /// Whether this machine can have one; what it says is why not.
  static ShellResult check() { return shell(std::string(MUSTER_SLURM_LAB) + " check"); }

  explicit SlurmLab(int nodes) {
    char name[] = "/tmp/muster-lab.XXXXXX";
    directory_ = std::string(::mkdtemp(name)) + "/lab";
    const ShellResult up = run("up", std::to_string(nodes) + " " + std::to_string(::getpid()));
    if (up.status != 0) throw std::runtime_error("the lab did not come up: " + up.output);
    ::setenv("SLURM_CONF", (directory_ + "/slurm.conf").c_str(), 1);
  }
  ~SlurmLab() {
    (void)run("down");
    std::error_code ignored;
    std::filesystem::remove_all(std::filesystem::path(directory_).parent_path(), ignored);
  }
  SlurmLab(const SlurmLab&) = delete;
  SlurmLab& operator=(const SlurmLab&) = delete;

  /// `lab VERB DIR ARGUMENTS`
  ShellResult run(const std::string& verb, const std::string& arguments = {}) const {
    return shell(std::string(MUSTER_SLURM_LAB) + " " + verb + " " + directory_ + " " + arguments);
  }
  const std::string& directory() const { return directory_; }
  /// First three numbers of the nodes' addresses.
  std::string subnet() const {
    std::ifstream file(directory_ + "/net");
    for (std::string line; std::getline(file, line);)
      if (line.starts_with("subnet=")) return line.substr(7);
    return {};
  }

 private:
  std::string directory_;
};

}  // namespace muster::test
