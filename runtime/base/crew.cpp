#include "runtime/base/crew.hpp"

#include "runtime/base/log.hpp"

#include <pthread.h>

namespace muster::runtime {

void Crew::run(const std::string& name, std::function<void()> f) {
  const std::lock_guard lock(mutex_);
  for (auto member = members_.begin(); member != members_.end();) {
    if (member->done) {
      if (member->thread.joinable()) member->thread.join();  // else join() has it
      member = members_.erase(member);
    } else {
      ++member;
    }
  }
  // Made before it is listed: where no thread is left, nothing stays.
  std::list<Member> fresh(1);
  Member& member = fresh.front();
  member.thread = std::thread([this, &member, name, f = std::move(f)]() mutable {
    (void)pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    try {
      f();
    } catch (const std::exception& error) {
      log::error(name + ": " + error.what());
    } catch (...) {
      log::error(name + ": something that is no std::exception was thrown");
    }
    f = nullptr;
    const std::lock_guard done(mutex_);
    member.done = true;
  });
  members_.splice(members_.end(), fresh);
}

void Crew::join() {
  for (;;) {
    std::thread next;
    {
      const std::lock_guard lock(mutex_);
      for (Member& member : members_) {
        if (!member.thread.joinable()) continue;
        next = std::move(member.thread);
        break;
      }
    }
    if (!next.joinable()) return;
    next.join();
  }
}

}  // namespace muster::runtime
