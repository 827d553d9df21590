/// @file
/// How calls reach a process: what the calls room needs to know of the cluster.
#pragma once

#include "runtime/transport/transport.hpp"

#include <muster/errors.hpp>
#include <muster/ids.hpp>

#include <functional>
#include <memory>

namespace muster::runtime {

/// Any thread.
class Router {
 public:
  virtual ~Router() = default;
  /// The link to that process; null while it is still being made (see when_linked).
  /// @throws std::invalid_argument for an unknown pid, ProcessExitedException for one that is gone, Error where the
  /// topology keeps the two apart.
  virtual std::shared_ptr<Link> link_to(Pid pid) = 0;
  /// That process exists, or did: a message names it. The master's word of it may still be on its way.
  virtual void heard_of(Pid pid) = 0;
  /// Calls f once there is a link, or there will be none: then with null. f must not block.
  virtual void when_linked(Pid pid, std::function<void(const std::shared_ptr<Link>&)> f) = 0;
};

}  // namespace muster::runtime
