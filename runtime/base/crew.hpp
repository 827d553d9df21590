/// @file
/// Jobs that may block, each on a named thread of its own, all joined in the end.
#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace muster::runtime {

/// Any thread.
class Crew {
 public:
  Crew() = default;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew() { join(); }

  /// Runs f on a thread; what it throws is logged.
  void run(const std::string& name, std::function<void()> f);
  /// Waits for all. No run may follow.
  void join();

 private:
  struct Member {
    std::thread thread;
    bool done = false;
  };
  std::mutex mutex_;  ///< guards members_
  std::list<Member> members_;
};

}  // namespace muster::runtime
