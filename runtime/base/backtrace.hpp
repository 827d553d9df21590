/// @file
/// Where an exception was thrown. The library's own `__cxa_throw` notes the frames on the way to the standard one; that
/// costs a few nanoseconds where nobody asked for it.
#pragma once

#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <vector>

namespace muster::runtime {

/// While it lives, this thread notes the frames of each throw (about a microsecond a frame). Put around running a task.
/// Scopes nest. What the last few throws noted stays after it, until the thread opens its next outermost scope.
class BacktraceScope {
 public:
  BacktraceScope();
  ~BacktraceScope();
  BacktraceScope(const BacktraceScope&) = delete;
  BacktraceScope& operator=(const BacktraceScope&) = delete;
};

/// Code addresses, innermost first. Each lies inside its call, not behind it.
using Frames = std::vector<std::uintptr_t>;

/// The frames noted when this exception was thrown on this thread; `throw;` and std::rethrow_exception do not change
/// them. Empty where nothing was noted, or more than a handful of other exceptions were thrown since.
Frames frames_of(const std::exception_ptr& exception);

/// Notes the stack of the caller as where this exception was thrown. For one that was made without a throw, or comes
/// from elsewhere, just before std::rethrow_exception. Nothing outside a BacktraceScope.
void note_frames(const std::exception_ptr& exception);

/// Frames in words, one line each: function, file and line as the debug information has them, inlined functions
/// included; `module+offset` where there is none. What the runtime does below a task, and what starts a thread, is left
/// out. Any thread. The first call in a process reads debug information and may take a fraction of a second; addresses
/// seen before cost a look-up.
std::string symbolized(std::span<const std::uintptr_t> frames);

}  // namespace muster::runtime
