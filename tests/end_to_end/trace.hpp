/// @file
/// What workers did, seen from outside: a file they add lines to.
#pragma once

#include <muster/muster.hpp>

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
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

/// What a task does that waits for its end: says when it starts, and how it was stopped.
inline void run_until_stopped(const std::string& path) {
  add_line(path, "started");
  try {
    this_task::sleep_for(std::chrono::minutes(1));
  } catch (const CancelledError&) {
    add_line(path, "cancelled");
    throw;
  } catch (const TimeoutError&) {
    add_line(path, "timed out");
    throw;
  }
}

}  // namespace muster::test
