/// @file
/// What the CAF peers share: an actor of another process that answers each number with itself.
#pragma once

#include "emit.hpp"
#include "forked_server.hpp"
#include "statistics.hpp"
#include "workload.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <memory>

namespace bench {

/// An actor system that can speak to others.
class CafSystem {
 public:
  CafSystem() {
    config_.load<caf::io::middleman>();
    config_.set("scheduler.max-threads", std::size_t{1});
    system_ = std::make_unique<caf::actor_system>(config_);
  }
  caf::actor_system& operator*() { return *system_; }
  caf::actor_system* operator->() { return system_.get(); }

 private:
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
};

inline caf::behavior echo() {
  return {[](std::int32_t value) { return value; }};
}

/// Another process with such an actor.
class CafEcho {
 public:
  CafEcho()
      : server_([](auto tell_port) {
          CafSystem system;
          const auto port = system->middleman().publish(system->spawn(echo), 0, "127.0.0.1", true);
          if (!port || !tell_port(*port)) return;
          system->await_all_actors_done();
        }) {}

  /// The actor, as seen from here. @throws std::runtime_error where it can't be reached
  caf::actor connect(CafSystem& system) const {
    const auto remote = system->middleman().remote_actor("127.0.0.1", server_.port());
    if (!remote) throw std::runtime_error("the other actor system can't be reached");
    return *remote;
  }

 private:
  ForkedServer server_;
};

}  // namespace bench
