/// @file
/// Large arguments of a call to many processes, handed out while the caller does something else.
#pragma once

#include "runtime/session/handouts.hpp"
#include "runtime/session/process.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace muster::runtime {

/// One handing out, which the steward drives, and the call at each process that was served. Any thread.
class BackgroundHandout : public std::enable_shared_from_this<BackgroundHandout> {
 public:
  /// What is heard of it, on the steward; not to call end().
  struct Listener {
    std::function<void(Pid, const detail::CorePointer& call)> called;  ///< it has them; its call was started
    std::function<void(Pid)> failed;                                   ///< it has not got them, and will not
  };
  /// @param arguments without handles; all their parts owned
  /// @param to not this process, none twice
  static std::shared_ptr<BackgroundHandout> begin(Process& process, const detail::Payload& arguments,
                                                  std::vector<Pid> to, detail::Thunk thunk, Listener listener);
  /// Gives up where it is not over: nobody hears of it any more, and calls that have not begun fail.
  void end();

 private:
  BackgroundHandout(Process& process, detail::Thunk thunk, Listener listener)
      : process_(process), thunk_(thunk), listener_(std::move(listener)) {}
  void post(void (BackgroundHandout::*step)());
  void go_on();
  void help_late_ones();
  void call(Pid pid);
  void call_ended();
  void look_again_later();

  Process& process_;
  const detail::Thunk thunk_;
  const Listener listener_;

  std::mutex mutex_;                ///< guards the following; held while the listener hears of it
  std::optional<Handout> handout_;  ///< until it is over
  std::size_t running_ = 0;         ///< calls that have not ended: they need the arguments
};

}  // namespace muster::runtime
