/// @file
/// What workers did, seen from outside: a file they add lines to.
#pragma once

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace muster::test {

inline std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream in(path);
  std::vector<std::string> all;
  for (std::string line; std::getline(in, line);) all.push_back(line);
  return all;
}

class Trace {
 public:
  Trace() : path_(testing::TempDir() + "muster-trace-" + std::to_string(getpid()) + "-" + std::to_string(++made_)) {
    std::remove(path_.c_str());
  }
  ~Trace() { std::remove(path_.c_str()); }
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  const std::string& path() const { return path_; }
  std::vector<std::string> lines() const { return lines_of(path_); }
  std::size_t count(const std::string& line) const {
    const auto all = lines();
    return static_cast<std::size_t>(std::count(all.begin(), all.end(), line));
  }

 private:
  static inline int made_ = 0;
  std::string path_;
};

/// Appended as one write, so that lines of several processes do not mix.
inline void add_line(const std::string& path, const std::string& line) {
  std::ofstream(path, std::ios::app) << line + "\n" << std::flush;
}

}  // namespace muster::test
